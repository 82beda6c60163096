//! What is simulated: sizes, and how often which fault strikes.

use std::fmt;

use isos_base::Span;
use isos_base::random::Random;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Servers: one over a database of its own, several over one that they share.
    pub servers: u32,
    /// Hosts.
    pub hosts: u32,
    /// Jobs, verified one after the other in each of the ways that there are.
    pub jobs: u32,
    /// Tasks of each job.
    pub tasks: u32,
    /// Share of hosts that lie, all with the same wrong answers.
    pub liars: f64,
    /// How often a liar lies.
    pub lie_rate: f64,
    /// One in two liars lies from the start, the others after less than so many right answers.
    pub lies_after_max: u64,
    /// Share of frames that break their session.
    pub frame_loss: f64,
    /// Mean time between crashes of one host.
    pub host_crash_every: Span,
    /// Mean time between returns of one host's owner.
    pub owner_every: Span,
    /// Mean time between ends of a server, of all of them: killed, or ended in good order.
    pub server_kill_every: Span,
    /// Mean time between stops of a server, which later wakes up and knows nothing of it.
    pub server_stop_every: Span,
    /// Mean time between absences of a database that is shared, for all servers or for one.
    pub database_away_every: Span,
    /// Mean time between cuts in the network, between a server and hosts or another server.
    pub cut_every: Span,
    /// Mean time between jumps of a server's clock.
    pub clock_jump_every: Span,
    /// Hosts ask and jobs bid, instead of one price for all.
    pub market: bool,
    /// Idle hosts that keep their connection; others sleep.
    pub held_hosts_max: usize,
    /// Jobs are submitted within this time.
    pub submitted_within: Span,
    /// Faults end at this time, and everything must then come to rest.
    pub faults_until: Span,
    /// Who dies behind which of its effects, besides.
    pub death: Option<Death>,
}

/// One who dies once, between two of its effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Who.
    pub victim: Victim,
    /// Behind its so-and-so-many-th effect, from 1.
    pub behind: u64,
}

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The server that leads. Its effects are commits, each of which is whole or not at all, and
    /// messages that it lets go.
    Leader,
    /// A host. Its effects are those of its machine.
    Host(u32),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("the leader"),
            Self::Host(n) => write!(f, "host {n}"),
        }
    }
}

impl Plan {
    /// A world of one server with all faults that one can have.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            servers: 1,
            hosts: 1_000,
            jobs: 8,
            tasks: 20_000,
            liars: 0.05,
            lie_rate: 0.5,
            lies_after_max: 60,
            frame_loss: 0.000_5,
            host_crash_every: Span::secs(1_800),
            owner_every: Span::secs(900),
            server_kill_every: Span::secs(120),
            server_stop_every: Span::secs(120),
            database_away_every: Span::secs(150),
            cut_every: Span::secs(60),
            clock_jump_every: Span::secs(150),
            market: false,
            held_hosts_max: 256,
            submitted_within: Span::secs(30),
            faults_until: Span::secs(600),
            death: None,
        }
    }

    /// A world in which nothing goes wrong, but for liars, tasks that fail and answers that are
    /// lost: for faults that are put into it one by one.
    #[must_use]
    pub fn quiet(seed: u64) -> Self {
        Self {
            frame_loss: 0.0,
            host_crash_every: Span::ZERO,
            owner_every: Span::ZERO,
            server_kill_every: Span::ZERO,
            server_stop_every: Span::ZERO,
            database_away_every: Span::ZERO,
            cut_every: Span::ZERO,
            clock_jump_every: Span::ZERO,
            submitted_within: Span::secs(2),
            faults_until: Span::secs(10),
            ..Self::new(seed)
        }
    }

    /// A world of one to three servers in which some kinds of faults are rare or never happen, so
    /// that they do not hide what others do (Groce et al., "Swarm Testing", 2012).
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut plan = Self::new(seed);
        let mut random = Random::new(!seed);
        plan.servers = 1 + random.below(3) as u32;
        for mean in [
            &mut plan.host_crash_every,
            &mut plan.owner_every,
            &mut plan.server_kill_every,
            &mut plan.server_stop_every,
            &mut plan.database_away_every,
            &mut plan.cut_every,
            &mut plan.clock_jump_every,
        ] {
            // Never, often, or as ever.
            *mean = Span([0, mean.0 / 4, mean.0, mean.0][random.below(4) as usize]);
        }
        plan.frame_loss *= [0.0, 10.0, 1.0, 1.0][random.below(4) as usize];
        plan.held_hosts_max = [256, 256, 4][random.below(3) as usize];
        plan.market = random.one_in(3);
        // All at once, or so that each job of a small world meets faults of its own.
        let faults = plan.faults_until;
        plan.submitted_within = [Span::secs(30), faults, faults][random.below(3) as usize];
        plan
    }
}

/// Something that this program must not do, so that the checkers have something to find: a test
/// that cannot fail says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flaw {
    /// There is none.
    #[default]
    None,
    /// The database takes writes of any epoch.
    Fence,
    /// As [`Flaw::Fence`], and the checker of epochs looks away: the rows must tell.
    FenceUnseen,
    /// Messages leave before their records are kept.
    Order,
    /// A commit whose answer was lost counts as kept.
    Answer,
    /// A server that leads again goes on with the machine that it had.
    Memory,
    /// A client that got no answer asks under another key.
    Key,
    /// The first answer to a task is taken, whatever the job asked for.
    Verify,
    /// Liars know which results will be checked.
    Secret,
}

impl Flaw {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("fence", Self::Fence),
        ("fence-unseen", Self::FenceUnseen),
        ("order", Self::Order),
        ("answer", Self::Answer),
        ("memory", Self::Memory),
        ("key", Self::Key),
        ("verify", Self::Verify),
        ("secret", Self::Secret),
    ];

    /// The flaw of this name.
    ///
    /// # Errors
    /// The names that there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|&(_, flaw)| flaw).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|&(name, _)| name).collect();
            format!("it is one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(_, flaw)| flaw == self);
        f.write_str(found.map_or("none", |(name, _)| name))
    }
}
