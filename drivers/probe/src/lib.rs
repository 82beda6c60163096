//! The sensor driver: what an agent can know about its machine, at a cost that an idle machine does
//! not notice.
//!
//! It reads; it does not judge. Whether five minutes of idle time are enough is the policy's
//! business, and a sensor that is missing is said to be missing, with the reason, never guessed.
//! All sources are files of Linux (`/proc`, `/sys`, `/dev`), read in microseconds; on other systems
//! they are missing. What only another program can tell (is the network metered?) is asked once a
//! minute, and when the network changes, in the background. No D-Bus library, no X11, no right to
//! read what people type.
//!
//! [`Probe::read`] is for the agent's regular look (once a second or so), [`Watch`] for the quick
//! one that stops all work within a second of the owner's return. [`give_back`] is about how much
//! the agent itself weighs.

#![allow(
    clippy::disallowed_methods,
    reason = "a driver reads clocks and files: that is what it is for"
)]

mod asked;
mod cpu;
mod files;
mod heat;
mod input;
mod machine;
mod memory;
mod network;
mod overrides;
mod power;
mod probe;
mod sources;
mod spare;
mod watch;
mod zone;

#[cfg(test)]
mod tests;

pub use machine::MachineFacts;
pub use probe::{Probe, ProbeConfig};
pub use spare::give_back;
pub use watch::{WATCH_EVERY, Watch};
