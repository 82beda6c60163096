//! Eyes without a server: each host knows a few others, meets one of them every ten seconds, and so
//! learns how many there are, what they have, how fast and how busy they are, and where it stands
//! among them; in a million as in a hundred, and while the complex is away.
//!
//! Peer sampling is Cyclon's swap in Croupier's shape, so that only hosts are called that can be;
//! numbers are averaged by push-pull in epochs; ranks come from a sketch of shares; distances are
//! Vivaldi's. Each file is one protocol and says whose idea it is. Money never rests on any of it:
//! what liars can do to an average is measured (docs/internals/gossip.md), not prevented.
//!
//! * [`attribute`]: the numbers that hosts tell, and their scales
//! * [`view`]: the few that one knows, swapped
//! * [`sampler`]: draws that nobody can lead
//! * [`ratio`]: the share of hosts that can be called
//! * [`average`]: sums, counts, extremes
//! * [`sketch`]: shares by bucket: quantiles and ranks
//! * [`epoch`]: when sums begin anew, and exchanges that count once
//! * [`slicing`]: which part of all a host belongs to
//! * [`ring`]: who comes next, among a part of all
//! * [`vivaldi`]: how far hosts are from each other
//! * [`suspicion`]: who is gone
//! * [`witness`]: a count that nobody can forge, to doubt the other by
//! * [`estimate`]: what comes of it
//! * [`query`]: questions to all hosts, and what comes back
//! * [`wire`]: the requests and answers of `isos/gossip/1`
//! * [`tuning`]: the numbers, and why
//! * [`machine`]: all of it together, between inputs and effects
//!
//! The arithmetic of each stands apart from the machine, because the simulator runs it for a
//! million hosts over plain arrays.

pub mod attribute;
pub mod average;
pub mod epoch;
pub mod estimate;
pub mod machine;
pub mod query;
pub mod ratio;
pub mod ring;
pub mod sampler;
pub mod sketch;
pub mod slicing;
pub mod suspicion;
pub mod tuning;
pub mod view;
pub mod vivaldi;
pub mod wire;
pub mod witness;

#[cfg(test)]
mod testing;

pub use attribute::{Attribute, Told};
pub use estimate::Estimate;
pub use machine::{Effect, Gossip, Input};
pub use tuning::Tuning;
