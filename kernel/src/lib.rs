//! The microkernel: it allocates resources, schedules, accounts, and lets programs be run under
//! their owners' policies, and does nothing else.
//!
//! Two deterministic machines, [`complex`] for the servers and [`host`] for a contributed machine,
//! over smaller parts that know nothing of each other. No socket, file, thread, clock or global
//! randomness: the shells in `complex/` and `agent/` feed them, the simulator runs them by the
//! million.

pub mod complex;
pub mod constraint;
pub mod host;
pub mod lease;
pub mod ledger;
pub mod market;
pub mod policy;
pub mod schedule;
pub mod verify;
