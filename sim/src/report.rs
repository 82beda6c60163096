//! What a run was like.

use std::fmt;

use isos_base::{Guid, Span};

/// The outcome of a run that kept all promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Hash over everything that happened: equal for equal plans.
    pub trace: Guid,
    /// Events.
    pub events: u64,
    /// Virtual time until the world came to rest.
    pub virtual_time: Span,
    /// Tasks of all jobs.
    pub tasks: u64,
    /// Wrong results that quorum jobs accepted.
    pub wrong: u64,
    /// How many they might have accepted by the formula.
    pub wrong_bound: f64,
    /// Transfers in the ledger.
    pub transfers: u64,
    /// Times the server was killed.
    pub kills: u32,
    /// Crashes of hosts.
    pub crashes: u32,
    /// Broken sessions.
    pub breaks: u64,
    /// Hosts that were barred.
    pub barred: u64,
    /// Hosts that lie.
    pub liars: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {:>20}  {} tasks in {:.0} virtual s, {} events, {} kills, {} crashes, {} broken \
             sessions, {} of {} liars barred, {} wrong accepted (bound {:.0}), {} transfers, trace {}",
            self.seed,
            self.tasks,
            self.virtual_time.as_secs_f64(),
            self.events,
            self.kills,
            self.crashes,
            self.breaks,
            self.barred,
            self.liars,
            self.wrong,
            self.wrong_bound,
            self.transfers,
            self.trace.short()
        )
    }
}
