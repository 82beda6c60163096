//! The world in one thread: the kernel's machines as they ship, in virtual time. Servers over one
//! database are killed, stopped, cut off and replaced; hosts churn, lose frames, are slow and lie;
//! owners come and go; clients ask again.
//!
//! One seed makes one run, and the run's trace hash proves it. What is kept and what is told is
//! checked in every step, and after the run what the database holds, not what the machines say.

mod checks;
mod database;
mod figures;
pub mod gossip;
mod host;
mod luck;
pub mod market;
mod network;
mod plan;
mod plot;
pub mod promise;
mod report;
pub mod route;
mod server;
pub mod store;
pub mod verify;
mod world;

pub use checks::Failure;
pub use plan::{Death, Flaw, Plan, Victim};
pub use report::{Counts, Report};
pub use world::{Swept, every_effect, run, run_with};
