//! How well objects survive: years of hosts that come, sleep, return and go for good, singly and
//! together; what is lost, beside what the formulas say; what repair moves, beside repair that
//! waits for nothing and an oracle that knows who will return.
//!
//! What decides is what ships: `isos_store::class` chooses codes, `spread` hosts, `repair` when;
//! `durability` says what is to be expected. Here is what they cannot know: who really has what
//! (`truth`), and how hosts live (`pool`). Bytes are counted, not moved.

mod chart;
mod pool;
mod study;
mod tally;
#[cfg(test)]
mod tests;
mod truth;
mod world;

use std::fmt;

use isos_base::time::Span;
use isos_store::durability::{Hosts, Scheme};

pub use chart::chart;
pub use pool::up;
pub use study::{LEGEND, Row, Study, csv, head, line, study};
pub use tally::Outcome;
pub use world::measure;

/// A day.
const DAY: Span = Span::secs(86_400);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Everything random follows from it.
    pub seed: u64,
    /// How long it goes.
    pub years: u32,
    /// Hosts; each that goes for good is replaced by a new one.
    pub hosts: u32,
    /// How long they stay on average.
    pub lifetime: Span,
    /// The share of hosts that are off at night; the others seldom are.
    pub sleepers: f64,
    /// Segments; one that is lost is counted and stored anew.
    pub segments: u32,
    /// How they are kept.
    pub scheme: Scheme,
    /// Who decides on repair.
    pub policy: Policy,
    /// What fails together.
    pub disaster: Disaster,
    /// Where fragments go.
    pub placing: Placing,
    /// Times what the model says of traffic, this is what repair may move.
    pub budget: f64,
}

impl Setting {
    /// What is known of these hosts beforehand, if a repair takes so long.
    #[must_use]
    pub fn hosts_with(&self, repair_delay: Span) -> Hosts {
        Hosts { lifetime: self.lifetime, up: up(self.sleepers), repair_delay }
    }
}

/// Who decides on repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// As it ships: a day of patience at least, and a threshold.
    Shipped,
    /// A host that is away for five minutes is believed to be gone. No budget.
    Impatient,
    /// Patient, but each loss is repaired at once. No budget.
    Unlazy,
    /// Neither patient nor lazy. No budget.
    Eager,
    /// Hears at once who is gone for good, and of nobody else. With the threshold that ships.
    Oracle,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shipped => "as it ships",
            Self::Impatient => "no patience",
            Self::Unlazy => "no threshold",
            Self::Eager => "eager",
            Self::Oracle => "oracle",
        })
    }
}

/// What fails together, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disaster {
    /// Nothing: hosts go one by one.
    None,
    /// Each month all hosts of one owner who has several.
    Owner,
    /// Each month all hosts of one address block.
    Block,
    /// Each second year all hosts with one operating system: a worm, a bad update.
    System,
}

impl fmt::Display for Disaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "one by one",
            Self::Owner => "owners at once",
            Self::Block => "blocks at once",
            Self::System => "a system at once",
        })
    }
}

/// Where fragments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// As it ships: apart from what fails with them.
    Spread,
    /// By chance alone, one a host.
    Chance,
}

impl fmt::Display for Placing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spread => "spread",
            Self::Chance => "by chance",
        })
    }
}
