//! What gossip knows of a thousand to a million hosts, and how soon: how fast sums come together,
//! who is known by how many, how soon the dead are forgotten, how many find their slice and how
//! well coordinates tell distances; beside what papers tell.
//!
//! Twice: the arithmetic of the protocols (`isos-gossip`) over plain arrays, one cycle after the
//! other, for up to a million hosts ([`Study::Sums`] to [`Study::Rings`]); and the machine as it
//! ships, every message through it in virtual time, with loss, churn, crashes and liars
//! ([`Study::Machine`], [`Study::Queries`]).

mod distances;
mod flat;
mod liar;
mod office;
mod queries;
mod rings;
mod slices;
mod sums;
mod table;
mod tally;
mod views;
mod whole;
mod world;

pub use queries::{Asked, ask};
pub use table::{Column, Drawn, Row, Table};
pub use tally::Look;
pub use world::{Setting, measure};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Study {
    /// Averages and counts.
    Sums,
    /// Who knows whom.
    Views,
    /// Who belongs to which part.
    Slices,
    /// Round trips.
    Distances,
    /// Who comes next, in a part of all.
    Rings,
    /// The machine as it ships.
    Machine,
    /// Questions to all, by the machine as it ships.
    Queries,
}

impl Study {
    /// The table that comes of it.
    #[must_use]
    pub fn table(self) -> Table {
        match self {
            Self::Sums => sums::table(),
            Self::Views => views::table(),
            Self::Slices => slices::table(),
            Self::Distances => distances::table(),
            Self::Rings => rings::table(),
            Self::Machine => whole::table(),
            Self::Queries => queries::table(),
        }
    }

    /// Runs it for these numbers of hosts; what is compared otherwise is for the first of them.
    /// Each line is handed over as soon as it is there.
    pub fn run(self, seed: u64, hosts: &[u32], tell: impl FnMut(Row)) {
        match self {
            Self::Sums => sums::study(seed, hosts, tell),
            Self::Views => views::study(seed, hosts, tell),
            Self::Slices => slices::study(seed, hosts, tell),
            Self::Distances => distances::study(seed, hosts, tell),
            Self::Rings => rings::study(seed, hosts, tell),
            Self::Machine => whole::study(seed, hosts, tell),
            Self::Queries => queries::study(seed, hosts, tell),
        }
    }
}

#[cfg(test)]
mod tests;
