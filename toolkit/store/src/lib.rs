//! Objects that survive: what happens to bytes between their owner and many hosts that nobody
//! trusts, and what brings them back.
//!
//! ```text
//! put   chunk -> seal -> pack -> code -> put (spread) -> receipts, manifest, capability
//! get   capability -> manifest -> get -> code -> pack -> seal -> bytes
//! keep  repair, durability
//! ```
//!
//! * `key` `capability`: secrets, and the rights that follow from them
//! * `chunk` `seal` `pack` `code`: the stages of the pipeline, functions over buffers
//! * `manifest` `object`: what a stored object is; all stages in a row
//! * `earlier`: what was stored before and need not be again
//! * `class` `durability`: how much redundancy, and what it is worth
//! * `spread`: which hosts, so that they fail one by one
//! * `put` `get` `repair`: machines; time and facts in, effects out
//! * `head`: which version of something named is the newest, by more than half of its hosts
//! * `pace`: how fast hosts are
//!
//! Pure: no I/O, no clock, no randomness of its own. Threads, sockets and the database that
//! remembers who holds what belong to the shells. Ideas come from OceanStore and Pond (fragments
//! that name themselves), Tahoe-LAFS (capabilities, convergence under a secret), Storj (early
//! commit, hedged reads, lazy repair), Carbonite and Total Recall (hosts that come back, redundancy
//! from measured availability).

pub mod capability;
pub mod chunk;
pub mod class;
pub mod code;
pub mod durability;
pub mod earlier;
pub mod get;
pub mod head;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod object;
pub mod pace;
pub mod pack;
pub mod put;
pub mod repair;
pub mod seal;
pub mod spread;
