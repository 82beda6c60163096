//! The world in one thread: the kernel's machines as they ship, in virtual time, with churn, lost
//! frames, slow and lying hosts, owners who come and go, and a server that is killed.
//!
//! One seed makes one run, and the run's trace hash proves it. After the run the checkers look at
//! what the database holds, not at what the machines say.

mod checks;
mod host;
mod report;
mod world;

pub use checks::Failure;
pub use report::Report;
pub use world::{Plan, run};
