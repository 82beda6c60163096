//! How well routing does: steps, time, what is found and what it costs, among a thousand to a
//! million hosts, with churn and with liars; beside what papers tell of others.
//!
//! The machine as it ships (`isos-route`), every message through it, in virtual time ([`measure`]).
//! For a million hosts there is a lean mode ([`lean`]): the shipped walk over tables that are not
//! kept but drawn when they are looked at, one walk at a time.

mod chart;
pub mod lean;
mod liar;
mod office;
mod study;
mod tally;
mod world;

use isos_base::time::Span;

pub use chart::chart;
pub use liar::Lie;
pub use study::{LEGEND, Row, Study, csv, head, line, study};
pub use tally::Outcome;
pub use world::measure;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Everything random follows from it.
    pub seed: u64,
    /// Routers.
    pub hosts: u32,
    /// Half of the routers live shorter than this; nothing: all live for ever.
    pub session: Option<Span>,
    /// The share of routers that is bad.
    pub bad: f64,
    /// What these do.
    pub lie: Lie,
    /// Disjoint paths of a walk.
    pub paths: usize,
    /// The share of messages that is lost.
    pub loss: f64,
    /// GUIDs that are announced and searched for.
    pub guids: u32,
    /// Searches: half for holders, half for the nearest router.
    pub searches: u32,
    /// Time to come to rest before anything is measured.
    pub settle: Span,
    /// Time over which searches are spread.
    pub span: Span,
}

impl Setting {
    /// A quiet world of so many.
    #[must_use]
    pub fn quiet(seed: u64, hosts: u32) -> Self {
        Self {
            seed,
            hosts,
            session: None,
            bad: 0.0,
            lie: Lie::Collude,
            paths: isos_route::Tuning::default().paths,
            loss: 0.01,
            guids: 400,
            searches: 2_000,
            settle: Span::secs(600),
            span: Span::secs(600),
        }
    }
}

#[cfg(test)]
mod tests;
