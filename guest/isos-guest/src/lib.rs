//! What a program that runs *on* ISOS links: which task it is, its files, seeded randomness.
//!
//! A host gives a program its arguments, the variables `ISOS_TASK` and `ISOS_TASKS` (on a slice
//! also `ISOS_RANK` and `ISOS_SIZE`), a read-only folder `/in`, a collected folder `/out` and
//! scratch space in `/tmp`; there is no network but that of [`peers`], the clock stands still, and
//! two hosts must produce the same bytes. Nothing here is needed to run on ISOS: any WASI command
//! will do. The crate only saves its users from writing these pages again, and runs natively too,
//! so programs can be tested with plain `cargo test`.
//!
//! Of the interface to the host there are [`checkpoint`]s and [`peers`]; progress is not here.

pub mod checkpoint;
mod error;
mod files;
pub mod peers;
mod rng;
mod task;

pub use error::{Failure, finish};
pub use files::{IN, OUT, TMP, read_bytes, read_text, write};
pub use rng::Rng;
pub use task::{Task, rank, task, tasks};
