//! What programs that use ISOS link: a typed client of the complex's API.
//!
//! [`Client`] speaks HTTP/1.1 to a complex, over a loopback socket or, with a ticket, over a stream
//! to the complex's key. [`Submission`] turns local files and options into uploaded objects and a
//! job; [`JobEvents`] follows it through restarts of the server; [`Results`] and
//! [`Client::save_results`] bring home what it left, every byte checked against its hash, and
//! [`Client::pack_results`] does so as one stream. [`store::Store`] keeps objects on hosts' disks.
//!
//! Not here: decisions, prices, printing, configuration. The shapes are `isos_base::api`'s.

mod address;
mod bank;
mod body;
mod call;
mod client;
mod error;
mod events;
mod inputs;
pub mod limits;
mod objects;
mod pack;
mod rerun;
mod results;
mod save;
mod slices;
mod sse;
mod storage;
pub mod store;
mod submission;
mod transport;
mod ustar;

pub use address::{Address, AddressError};
pub use client::{Client, StatementPart};
pub use error::{Cause, ClientError, EXIT_UNREACHABLE};
pub use events::{JobEvents, Progress};
pub use inputs::Input;
pub use objects::{Object, Source, UploadProgress};
pub use pack::{LINE_STDOUT_MAX, Pack, PackTo, PackedLine, check_results_file};
pub use rerun::Rerun;
pub use results::{Outcome, Results, Wanted};
pub use save::{ResultLine, ResultsFolder, Saved, check_results_folder};
pub use submission::{Prepared, Submission, SubmissionError, Tasks};

#[cfg(test)]
mod tests;
