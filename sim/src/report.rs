//! What a run was like.

use std::fmt;

use isos_base::{Guid, Span};

/// The outcome of a run that kept all promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Servers.
    pub servers: u32,
    /// Hash over everything that happened: equal for equal plans.
    pub trace: Guid,
    /// Virtual time until the world came to rest.
    pub virtual_time: Span,
    /// Tasks of all jobs.
    pub tasks: u64,
    /// Wrong results that quorum jobs accepted.
    pub wrong: u64,
    /// How many they might have accepted by the formula.
    pub wrong_bound: u64,
    /// Wrong results that jobs accepted which are verified by credibility.
    pub credited_wrong: u64,
    /// How many they might have accepted by their promise.
    pub credited_bound: u64,
    /// Transfers in the ledger.
    pub transfers: u64,
    /// Leaders, one after the other.
    pub epochs: u64,
    /// How often what happened.
    pub counts: Counts,
    /// Hosts that were barred.
    pub barred: u64,
    /// Hosts that lie.
    pub liars: u64,
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Servers that were killed.
    pub kills: u32,
    /// Leaders that ended in good order.
    pub ends: u32,
    /// Servers that stopped for a while.
    pub stops: u32,
    /// Leaders that found that they lead no more.
    pub deposed: u32,
    /// Absences of the database, for all servers or for one.
    pub aways: u32,
    /// Commits of which their server did not know whether they were kept.
    pub lost_commits: u64,
    /// Cuts in the network.
    pub cuts: u32,
    /// Jumps of clocks.
    pub jumps: u32,
    /// Tasks that went on from a checkpoint, or were run in part by a referee.
    pub parts: u64,
    /// Crashes of hosts.
    pub crashes: u32,
    /// Broken sessions.
    pub breaks: u64,
    /// Commits of leaders and messages that they let go.
    pub effects: u64,
    /// Results that were acknowledged and looked up in the rows.
    pub told: u64,
    /// Lies that hosts told.
    pub lies: u64,
    /// Ranges of tasks whose results were taken back.
    pub redone: u64,
    /// Leases whose pay was held,
    pub held: u64,
    /// let go later,
    pub matured: u64,
    /// or forfeited.
    pub forfeited: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { events, kills, ends, stops, deposed, .. } = self.counts;
        let Counts { aways, lost_commits, cuts, jumps, crashes, breaks, .. } = self.counts;
        let Counts { lies, held, forfeited, .. } = self.counts;
        write!(
            f,
            "seed {:>20}  {} tasks in {:.0} virtual s, {events} events; {} servers: {} leaders, \
             {deposed} deposed, {kills} kills, {ends} ends, {stops} stops, {aways} times no \
             database, {lost_commits} commits in doubt, {cuts} cuts, {jumps} clock jumps; {crashes} \
             host crashes, {breaks} broken sessions, {} of {} liars barred, {lies} lies, wrong \
             accepted by quorums {} (bound {}), by credibility {} (bound {}), pay of {held} leases \
             held, {forfeited} forfeited, {} transfers, trace {}",
            self.seed,
            self.tasks,
            self.virtual_time.as_secs_f64(),
            self.servers,
            self.epochs,
            self.barred,
            self.liars,
            self.wrong,
            self.wrong_bound,
            self.credited_wrong,
            self.credited_bound,
            self.transfers,
            self.trace.short()
        )
    }
}
