//! The machine that runs on a contributed host: it keeps a session with the complex, a queue of
//! granted tasks, a few sandboxed chambers that work through it, and the news about them.
//!
//! It does no I/O and reads no clock: its shell (the agent, or the simulator) carries out
//! [`Effect`]s and reports [`Input`]s. It does not evaluate the owner's policy: the shell does, and
//! feeds the resulting [`Offer`]. It takes nothing from the complex on trust, and nothing that a
//! task does can stop it.
//!
//! * `session`: connect, greet, back off, sleep
//! * `grant`: what of the complex's offers is taken, and why not the rest
//! * `work`: the tables of jobs and leases; where each task is
//! * `plan`: earliest deadline first, packed over cores and memory, with backfill
//! * `chamber`: opening, feeding and closing sandboxes; what their deaths mean
//! * `owner`: the owner returns; deadlines pass
//! * `shelf`: what the complex is told of what is kept for others
//! * `peers`: programs that address others begin when those are there
//! * `saved`: how far tasks have come that save their state, and where granted ones go on
//! * `outbox`: news until the complex has acknowledged it
//!
//! Chambers and sessions are numbered, and each number is used once, so an input that was under way
//! when its chamber or session ended is recognised and dropped here: shells need no filter.

mod chamber;
mod event;
mod grant;
mod invariants;
mod outbox;
mod owner;
mod peers;
mod plan;
mod saved;
mod session;
mod shelf;
mod status;
mod tuning;
mod work;

#[cfg(test)]
mod tests;

use isos_base::checkpoint::Resume;
use isos_base::fragment::{Proof, ProofAsked};
use isos_base::host::{HostSpec, Offer};
use isos_base::peers::Reach;
use isos_base::storage::{LeaseNews, MendOrder, MendReport, ShelfReport};
use isos_base::task::{Fault, TaskResult};
use isos_base::time::{Span, Time};
use isos_base::units::Bytes;
use isos_base::wire::{JobOffer, ToComplex, ToHost};
use isos_base::{Fuel, Guid, JobId, Machine};

pub use event::{HostEvent, TurnDown};
pub use status::{ChamberState, HostState, HostStatus, JobStatus};

use chamber::settle_chambers;
use outbox::Outbox;
use owner::Quiet;
use session::Session;
use work::Work;

/// One opened sandbox. Never used twice by one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChamberId(pub u64);

/// One connection to the complex. Never used twice by one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The owner's policy was evaluated and allows this now; cores 0 asks for quiet.
    Allowed {
        /// What may be used.
        offer: Offer,
        /// The earliest time at which the policy can allow something else by the passing of time
        /// alone, on this host's clock; nothing where that depends on the owner.
        until: Option<Time>,
    },
    /// The owner's policy is another one, and what the host is with it: it names the most that is
    /// ever lent.
    Described {
        /// What the host is from now on.
        spec: Box<HostSpec>,
    },
    /// The session that was asked for exists; nothing was sent yet.
    Connected {
        /// From [`Effect::Connect`].
        session: SessionId,
    },
    /// A session could not be made, or ended without our asking.
    Disconnected {
        /// From [`Effect::Connect`].
        session: SessionId,
        /// For people.
        why: String,
    },
    /// The complex sent something.
    FrameArrived {
        /// Over which session.
        session: SessionId,
        /// What.
        frame: ToHost,
    },
    /// Program fetched, checked, compiled; inputs linked; sandbox open.
    JobPrepared {
        /// From [`Effect::Prepare`].
        chamber: ChamberId,
    },
    /// The program that a chamber is opened for addresses its peers. Told before `JobPrepared`.
    JobSpeaks {
        /// From [`Effect::Prepare`].
        chamber: ChamberId,
        /// Where they can call; the complex is told.
        reach: Box<Reach>,
    },
    /// The chamber could not be opened and holds nothing any more.
    JobUnpreparable {
        /// From [`Effect::Prepare`].
        chamber: ChamberId,
        /// Why.
        fault: Fault,
    },
    /// Tasks in a chamber came to an end, one way or the other. Report them in batches.
    TasksEnded {
        /// Where.
        chamber: ChamberId,
        /// Which, and how.
        ended: Vec<Ended>,
    },
    /// A task in a chamber has come so far.
    TaskSaved {
        /// Where.
        chamber: ChamberId,
        /// Index of the task in its job.
        task: u32,
        /// Fuel used.
        fuel: Fuel,
        /// Roots of all its segments.
        roots: Vec<Guid>,
        /// The size of the checkpoint, if it has been handed over.
        kept: Option<Bytes>,
    },
    /// A chamber is gone with all tasks in it.
    ChamberDied {
        /// Which.
        chamber: ChamberId,
        /// For people.
        why: String,
    },
    /// What the processes of chambers take of memory now. Told every second while there are some.
    Weighed {
        /// Which, and how much.
        chambers: Vec<(ChamberId, Bytes)>,
    },
    /// What is kept for others was looked at.
    ShelfLooked {
        /// What is offered, where, and how far words about leases were taken in; nothing on a host
        /// that is no keeper.
        report: Option<Box<ShelfReport>>,
        /// Whether a session is wanted for its sake, whatever else is offered: the complex pays for
        /// the time in which a keeper has shown that it is there.
        stays: bool,
    },
    /// A batch of [`Effect::TakeIn`] is done with. How far it has come is in what is looked at.
    TookIn,
    /// [`Effect::Prove`] is done.
    Proved {
        /// In which session it was asked for.
        session: SessionId,
        /// What to answer; nothing if nobody can tell now.
        proof: Option<Box<Proof>>,
    },
    /// [`Effect::Mend`] is done, or nothing can be done about it.
    Mended {
        /// In which session it was ordered.
        session: SessionId,
        /// What came of it.
        report: MendReport,
    },
    /// [`Machine::deadline`] has come.
    TimerFired,
    /// The agent shuts down: give everything back.
    Stopping,
}

/// How one task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Index of the task in its job.
    pub task: u32,
    /// Time from start to end.
    pub wall: Span,
    /// What to report. An output over `limits::OUTPUT_INLINE_MAX` bytes has been handed over
    /// before.
    pub outcome: Result<TaskResult, Fault>,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make a session with the complex; answered by `Connected` or `Disconnected`.
    Connect {
        /// Its number.
        session: SessionId,
    },
    /// Close a session once what was sent over it has gone out. Needs no answer.
    Disconnect {
        /// Its number.
        session: SessionId,
    },
    /// Send a frame.
    Send {
        /// Over this session.
        session: SessionId,
        /// The frame.
        frame: ToComplex,
    },
    /// Fetch and open all that a job needs; answered by `JobPrepared` or `JobUnpreparable`.
    Prepare {
        /// Number of the new chamber.
        chamber: ChamberId,
        /// The job.
        offer: Box<JobOffer>,
        /// Tasks that it runs at the same time at the most; further ones wait inside, in order.
        threads: u16,
    },
    /// Some of the tasks that are handed over next go on from what was saved of them.
    GoOn {
        /// The chamber.
        chamber: ChamberId,
        /// Where each goes on.
        from: Vec<Resume>,
    },
    /// Hand tasks to an open chamber.
    Start {
        /// The chamber.
        chamber: ChamberId,
        /// Their indices, never empty.
        tasks: Vec<u32>,
    },
    /// Kill a chamber, frozen or not, opening or open; tasks in it are lost.
    Stop {
        /// The chamber.
        chamber: ChamberId,
    },
    /// Hold all chambers together to this from now on, those that run as well.
    Limit {
        /// Cores; none while they are frozen.
        cores: u16,
        /// Memory, also while they are frozen.
        memory: Bytes,
    },
    /// Freeze all chambers at once, those that are opening too: the owner is back.
    Suspend,
    /// Let all chambers go on.
    Resume,
    /// Close an open chamber that has nothing to do; its inputs are not needed any more.
    Drop {
        /// The chamber.
        chamber: ChamberId,
    },
    /// Take in what the complex says of leases on this disk, durably, in this order; answered by
    /// `TookIn`. What cannot be taken in, and all that follows in that session, comes again in the
    /// next.
    TakeIn {
        /// In which it was said.
        session: SessionId,
        /// At most `STORAGE_NEWS_MAX` of them.
        news: Vec<LeaseNews>,
    },
    /// Read a part of a fragment, to show it to the complex; answered by `Proved`.
    Prove {
        /// In which session it was asked for.
        session: SessionId,
        /// What.
        asked: ProofAsked,
    },
    /// Make anew what others have lost of what is kept here; answered by `Mended`.
    Mend {
        /// In which session it was ordered.
        session: SessionId,
        /// What.
        order: Box<MendOrder>,
    },
    /// Tell people, through log and status.
    Say(HostEvent),
}

/// The machine of one contributed host.
#[derive(Debug)]
pub struct Host {
    now: Time,
    spec: HostSpec,
    offer: Offer,
    session: Session,
    outbox: Outbox,
    work: Work,
    quiet: Quiet,
    /// The last [`Effect::Limit`].
    limit: Option<(u16, Bytes)>,
    tally: Tally,
    stopped: bool,
}

/// Counts since the machine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    /// Tasks with a result.
    done: u64,
    /// Tasks with a fault.
    failed: u64,
    /// Tasks given back.
    returned: u64,
}

impl Host {
    /// A host that offers nothing yet. `token` comes from the ticket and links the host to an
    /// account; `seed` spreads the retries of many hosts and should differ between them.
    #[must_use]
    pub fn new(spec: HostSpec, token: Option<Vec<u8>>, seed: u64) -> Self {
        Self {
            now: Time(0),
            spec,
            offer: Offer::nothing("the policy was not evaluated yet"),
            session: Session::new(token, seed),
            outbox: Outbox::default(),
            work: Work::default(),
            quiet: Quiet::new(),
            limit: None,
            tally: Tally::default(),
            stopped: false,
        }
    }

    /// What the policy allowed last.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Allowed { offer, until } => self.allowed(offer, until, effects),
            Input::Described { spec } => self.described(*spec),
            Input::Connected { session } => self.connected(session, effects),
            Input::Disconnected { session, why } => self.disconnected(session, why, effects),
            Input::FrameArrived { session, frame } => self.frame_arrived(session, frame, effects),
            Input::JobPrepared { chamber } => self.work.prepared(self.now, chamber),
            Input::JobSpeaks { chamber, reach } => self.speaks(chamber, *reach, effects),
            Input::JobUnpreparable { chamber, fault } => {
                self.unpreparable(chamber, fault, effects);
            }
            Input::TasksEnded { chamber, ended } => self.ended(chamber, ended, effects),
            Input::TaskSaved { chamber, task, fuel, roots, kept } => {
                self.task_saved(chamber, task, (fuel, roots, kept), effects);
            }
            Input::ChamberDied { chamber, why } => self.chamber_died(chamber, &why, effects),
            Input::Weighed { chambers } => self.work.weighed(&chambers),
            Input::ShelfLooked { report, stays } => {
                self.shelf_looked(report.map(|report| *report), stays);
            }
            Input::TookIn => self.took_in(),
            Input::Mended { session, report } => self.mended(session, report, effects),
            Input::Proved { session, proof } => self.proved(session, proof, effects),
            Input::TimerFired => {}
            Input::Stopping => self.stop(effects),
        }
    }

    /// Gives everything back and says goodbye.
    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.give_back_everything(effects);
        self.part(effects);
        self.abandon_everything(effects);
        self.stopped = true;
    }
}

impl Machine for Host {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.take(input, effects);
        if self.stopped {
            return;
        }
        // Whatever came in, everything that is due happens now: timers have no code of their own.
        self.settle_turned_down();
        self.settle_deadlines(effects);
        self.settle_quiet(effects);
        self.settle_memory(effects);
        self.settle_limit(effects);
        settle_chambers(self, effects);
        self.settle_session(effects);
    }

    fn deadline(&self) -> Option<Time> {
        if self.stopped {
            return None;
        }
        let news = !self.outbox.is_empty();
        [
            self.session.deadline(&self.offer, news, self.outbox.oldest_unacked()),
            self.work.deadline(),
            self.quiet.deadline(&self.work),
            self.session.room_check(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn check_invariants(&self) {
        self.check();
    }
}

/// The job of a chamber, or nothing when the chamber is not one of ours any more.
fn job_of(work: &Work, chamber: ChamberId) -> Option<JobId> {
    work.chambers.get(&chamber).copied()
}
