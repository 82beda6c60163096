//! Backups: snapshots of folders, incremental, deduplicated and encrypted, over the objects of
//! `isos-store`.
//!
//! ```text
//! create   scan (exclude) -> read -> contents -> segments, objects     \  Sink
//!                 \-> entry, tree ------------> root object            /
//! restore  Source -> snapshot, tree -> chunks -> place -> files
//! look     browse, diff, verify                    keep  catalogue, retention
//! ```
//!
//! It reads and writes files and blocks while it does; it knows no network. Segments go to a `Sink`
//! and come from a `Source`, which the shell fills. Ideas come from restic (snapshots over one pool
//! of chunks, a parent whose unchanged files are not read), borg (archives as streams of items that
//! are chunked themselves) and git (what was changed in the same tick is looked at again).

pub mod browse;
pub mod catalogue;
mod chunks;
mod contents;
pub mod create;
pub mod entry;
pub mod error;
pub mod exclude;
pub mod limits;
mod look;
mod owners;
pub mod phrase;
mod place;
pub mod progress;
mod read;
pub mod restore;
pub mod retention;
mod scan;
pub mod snapshot;
pub mod transfer;
pub mod tree;
pub mod verify;

pub use browse::{Change, browse, diff};
pub use catalogue::{Catalogue, Listed, repository};
pub use create::{Created, Parent, Plan, create};
pub use error::BackupError;
pub use exclude::Rules;
pub use phrase::Phrase;
pub use place::Overwrite;
pub use progress::{Observer, Problem, Problems, Silent, Stats, Trouble};
pub use restore::{RestorePlan, Restored, restore};
pub use retention::{Garbage, Retention, garbage};
pub use snapshot::{Head, Snapshot};
pub use transfer::{Failure, Sink, Source, Wanted};
pub use verify::{Verified, verify};

#[cfg(test)]
mod tests;
