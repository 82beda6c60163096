//! A server: a process with a clock of its own that leads, follows, or is not there.
//!
//! The shell around the kernel's machine as `isos-complex` has it, without sockets and SQL: what
//! happens to it and what it does about it is in `world`.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use isos_base::clock::Clock;
use isos_base::record::Change;
use isos_base::wire::ToComplex;
use isos_base::{PayoutId, Span, Time};
use isos_kernel::complex::{Complex, Effect, RequestId, SessionId};

use crate::database::Answer;

/// What happens to a server. If the process stands still, it happens when it goes on.
#[derive(Debug)]
pub(crate) enum Act {
    /// It asks for its part.
    Stand,
    /// It looks who leads, for the so-and-so-many-th time.
    Look(u64),
    /// A host's frame arrives.
    Frame(SessionId, ToComplex),
    /// It notices that a host's session is gone.
    SessionGone(SessionId),
    /// A client's request arrives, or one that another server passed on.
    Asked { errand: usize, passed_on: bool },
    /// The machine's timer.
    Timer(Time),
    /// The machine hands over what follows from its latest inputs.
    Finish,
    /// The database answers.
    Answered(About, Answer),
    /// The connection to the database is made again.
    Reconnect,
    /// The lease is due for renewal.
    Renew,
    /// It looks which other servers there are.
    KnowServers,
    /// Its sender looks which payouts wait.
    Send,
    /// A rail has answered for good.
    PaidOut(PayoutId, Result<String, String>),
}

impl Act {
    /// Whether a leader whose writer is behind lets it wait: the core takes no more then.
    pub(crate) const fn waits_for_room(&self) -> bool {
        matches!(
            self,
            Self::Frame(..)
                | Self::SessionGone(_)
                | Self::Asked { .. }
                | Self::Timer(_)
                | Self::Send
                | Self::PaidOut(..)
        )
    }
}

/// What a server asked the database for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Its part.
    Part,
    /// The rows to start from.
    Rows,
    /// What the writer keeps.
    Writing,
    /// The other servers.
    Servers,
}

/// A server.
pub(crate) struct Server {
    /// Counts its parts: what belongs to an earlier one is dropped.
    pub(crate) life: u64,
    pub(crate) part: Part,
    /// Microseconds that its wall clock is ahead.
    pub(crate) ahead: i64,
    /// What it makes of that one and of the steady one, as long as the process lives.
    pub(crate) clock: Clock,
    /// It stands still, and what happened to it since, by life.
    pub(crate) held: Option<Vec<(u64, Act)>>,
    /// Counts the times that it stood still.
    pub(crate) stops: u64,
    /// The machine that it had when it led last: see [`Flaw::Memory`](crate::Flaw::Memory).
    pub(crate) remembered: Option<Box<Complex>>,
}

/// What a server does at the moment.
pub(crate) enum Part {
    /// There is no process.
    Down,
    /// It has none yet.
    Stands,
    /// It answers for another.
    Follows(Follower),
    /// It leads, or believes so.
    Leads(Box<Leader>),
}

/// A server that follows.
pub(crate) struct Follower {
    /// Who leads, unless its lease had run out.
    pub(crate) leader: Option<u32>,
    /// Who else there was when that was news.
    pub(crate) servers: Vec<u32>,
    /// How long it waits for a database that is away.
    pub(crate) pause: Span,
    /// Counts looks: only the last that was planned is made.
    pub(crate) look: u64,
    /// A look is under way.
    pub(crate) looks: bool,
    /// It was told meanwhile that there is something to see.
    pub(crate) told: bool,
}

/// A server that leads.
pub(crate) struct Leader {
    pub(crate) epoch: u64,
    /// Nothing before it has the rows, and after it has begun to end.
    pub(crate) machine: Option<Box<Complex>>,
    /// The servers, this one first.
    pub(crate) servers: Vec<u32>,
    /// Inputs were applied whose effects have not been asked for.
    pub(crate) unfinished: bool,
    /// When its timer fires.
    pub(crate) timer_at: Option<Time>,
    /// What waits until there is room for another batch.
    pub(crate) inbox: VecDeque<Act>,
    pub(crate) writer: Writer,
    /// Who waits for an answer.
    pub(crate) requests: BTreeMap<RequestId, usize>,
    /// It ends in good order.
    pub(crate) is_ending: bool,
    /// It is killed as soon as something is committed.
    pub(crate) dies_at_commit: bool,
}

/// Batches on their way to the disk: `BATCHES_MAX` of `complex/src/core.rs`.
const BATCHES_MAX: usize = 32;

/// What is decided and not kept yet.
pub(crate) struct Writer {
    pub(crate) waiting: Vec<Batch>,
    /// What the database was asked to keep, each row once.
    pub(crate) group: Option<Group>,
    /// When it was asked.
    pub(crate) asked: Time,
    /// When the lease was last extended.
    pub(crate) renewed: Time,
    /// Since when the connection is lost, and how long it waits before it tries again.
    pub(crate) lost: Option<(Time, Span)>,
}

/// What a step of the machine decided: rows, and what may leave when they are kept.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) outgoing: Vec<Effect>,
}

/// Batches that are kept together, or word of the lease alone.
#[derive(Default)]
pub(crate) struct Group {
    /// Each row once. The database reads the same ones.
    pub(crate) changes: Rc<[Change]>,
    pub(crate) outgoing: Vec<Effect>,
    /// It gives the lease up, as the last thing of an ending leader.
    pub(crate) is_release: bool,
}

impl Server {
    pub(crate) const fn new() -> Self {
        Self {
            life: 0,
            part: Part::Down,
            ahead: 0,
            clock: Clock::new(),
            held: None,
            stops: 0,
            remembered: None,
        }
    }

    /// What time it takes it to be: `complex/src/clock.rs`. The steady clock is right.
    pub(crate) fn tell(&mut self, now: Time) -> Time {
        let wall = Time(now.0.saturating_add_signed(self.ahead));
        self.clock.tell(wall, now.since(Time(0)))
    }

    /// When it wakes that sleeps until its clock shows this time, if that goes on as fast as time.
    pub(crate) fn when(&mut self, now: Time, until: Time) -> Time {
        now + until.since(self.tell(now))
    }

    pub(crate) const fn is_up(&self) -> bool {
        !matches!(self.part, Part::Down)
    }

    /// Whether it takes connections.
    pub(crate) fn answers(&self) -> bool {
        self.held.is_none()
            && match &self.part {
                Part::Down | Part::Stands => false,
                Part::Follows(_) => true,
                Part::Leads(leader) => leader.machine.is_some(),
            }
    }

    pub(crate) fn leader(&mut self) -> Option<&mut Leader> {
        match &mut self.part {
            Part::Leads(leader) => Some(leader),
            _ => None,
        }
    }

    /// Its machine, while it leads.
    pub(crate) fn machine(&self) -> Option<&Complex> {
        match &self.part {
            Part::Leads(leader) => leader.machine.as_deref(),
            _ => None,
        }
    }
}

impl Follower {
    pub(crate) const fn new(leader: Option<u32>, servers: Vec<u32>) -> Self {
        let (pause, look) = (Self::PAUSE_MIN, 0);
        Self { leader, servers, pause, look, looks: false, told: false }
    }

    /// It looks no more often: `LOOK_MIN` of `drivers/db/src/lead.rs`.
    pub(crate) const PAUSE_MIN: Span = Span::secs(1);
    /// It asks again for a database that is away: `PAUSE_MAX` of that file.
    pub(crate) const PAUSE_MAX: Span = Span::secs(10);
}

impl Leader {
    pub(crate) const fn new(epoch: u64, server: Vec<u32>, now: Time) -> Self {
        Self {
            epoch,
            machine: None,
            servers: server,
            unfinished: false,
            timer_at: None,
            inbox: VecDeque::new(),
            writer: Writer {
                waiting: Vec::new(),
                group: None,
                asked: now,
                renewed: now,
                lost: None,
            },
            requests: BTreeMap::new(),
            is_ending: false,
            dies_at_commit: false,
        }
    }

    /// Whether the core waits for the writer.
    pub(crate) fn is_full(&self) -> bool {
        self.writer.waiting.len() >= BATCHES_MAX
    }

    /// Whether everything that was decided is kept.
    pub(crate) fn is_idle(&self) -> bool {
        !self.unfinished && self.writer.waiting.is_empty() && self.writer.group.is_none()
    }
}
