//! The event loop: a heap of things to happen, a complex with its database, and many hosts.

mod setup;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use isos_base::key::PublicKey;
use isos_base::random::Random;
use isos_base::record::{Change, JobState, Tables};
use isos_base::wire::{ToComplex, ToHost};
use isos_base::{AccountId, Guid, HostId, JobId, Machine, MicroCredits, Span, Time};
use isos_kernel::complex::{Call, Complex, Config, Effect, Input, Reply, RequestId, SessionId};
use isos_kernel::host;

use crate::checks;
use crate::host::{SimHost, Todo};
use crate::report::Report;

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Everything random follows from it.
    pub seed: u64,
    /// Hosts.
    pub hosts: u32,
    /// Jobs, half of them with a quorum of 2 of 3.
    pub jobs: u32,
    /// Tasks of each job.
    pub tasks: u32,
    /// Share of hosts that lie, all with the same wrong answers.
    pub liars: f64,
    /// How often a liar lies.
    pub lie_rate: f64,
    /// Share of frames that break their session.
    pub frame_loss: f64,
    /// Mean time between crashes of one host.
    pub host_crash_every: Span,
    /// Mean time between returns of one host's owner.
    pub owner_every: Span,
    /// Mean time between kills of the server.
    pub server_kill_every: Span,
    /// Faults end at this time, and everything must then come to rest.
    pub faults_until: Span,
}

impl Plan {
    /// A world with all faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            hosts: 1_000,
            jobs: 8,
            tasks: 20_000,
            liars: 0.05,
            lie_rate: 0.5,
            frame_loss: 0.000_5,
            host_crash_every: Span::secs(1_800),
            owner_every: Span::secs(900),
            server_kill_every: Span::secs(120),
            faults_until: Span::secs(600),
        }
    }
}

/// Something that will happen.
enum Event {
    /// A host's turn: its shell has something to do.
    Host(u32, Todo),
    /// A frame reaches the complex.
    ToComplex(SessionId, ToComplex),
    /// A frame reaches a host.
    ToHost(u32, u64, host::SessionId, ToHost),
    /// The complex's timer.
    ComplexTimer,
    /// The complex hands over what follows from its latest inputs.
    Finished,
    /// The database has committed the batch of this number.
    Committed(u64),
    /// A buyer cancels a job.
    Cancelled(JobId),
    /// The complex notices that a session is gone.
    SessionGone(SessionId),
    /// The server is killed.
    ServerKilled,
    /// A host's machine crashes.
    HostCrashed(u32),
    /// An owner comes or goes.
    OwnerMoved(u32),
}

struct Scheduled {
    at: Time,
    seq: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// One end of a connection: which host, which of its lives, which of its sessions.
#[derive(Debug, Clone, Copy)]
struct Line {
    host: u32,
    life: u64,
    session: host::SessionId,
    greeted: bool,
}

/// What waits for the database.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    outgoing: Vec<Effect>,
}

struct World {
    plan: Plan,
    now: Time,
    random: Random,
    heap: BinaryHeap<Reverse<Scheduled>>,
    seq: u64,
    trace: blake3::Hasher,
    events: u64,
    complex: Complex,
    tables: Tables,
    /// Stepped and not committed: lost when the server is killed.
    batches: BTreeMap<u64, Batch>,
    batch: u64,
    /// When the last of them is on the disk.
    committed_at: Time,
    /// The server is killed as soon as something is committed.
    dies_at_commit: bool,
    /// Inputs were applied whose effects have not been asked for.
    unfinished: bool,
    timer_at: Option<Time>,
    hosts: Vec<SimHost>,
    lines: BTreeMap<SessionId, Line>,
    /// The complex's number of a host's session.
    line_ids: BTreeMap<(u32, u64, u64), SessionId>,
    next_session: u64,
    accounts: Vec<AccountId>,
    kills: u32,
    crashes: u32,
    breaks: u64,
}

const START: Time = Time(1_000_000_000_000);
/// The group commit of a server with an ordinary disk.
const COMMIT: Span = Span::millis(4);
/// One in so many commits finds a disk that stands still.
const STALLS_ONE_IN: u64 = 500;
/// At the most for so long.
const STALL_MAX: Span = Span::secs(3);
/// The longest that inputs wait for others of their batch.
const BATCH: Span = Span::millis(2);
/// A peer that vanished is noticed after this time.
const NOTICE: Span = Span::secs(10);
/// The world must come to rest within this time after the faults end.
const REST: Span = Span::secs(6 * 3_600);

/// Runs a world to its end and checks it.
///
/// # Errors
/// The first broken promise.
pub fn run(plan: &Plan) -> Result<Report, checks::Failure> {
    let mut world = World::new(plan.clone());
    world.open_accounts();
    world.submit_jobs();
    world.schedule_faults();
    for n in 0..plan.hosts {
        let todo = world.hosts[n as usize].start(START);
        world.host_todos(n, todo);
    }
    world.live();
    checks::check(&world.plan, &world.tables, world.complex.account_views(), &world.hosts)?;
    Ok(world.report())
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let hosts = (0..plan.hosts)
            .map(|n| {
                let lies = random.unit() < plan.liars;
                SimHost::new(n, lies.then_some(plan.lie_rate), random.next_u64())
            })
            .collect();
        let config = Config { held_hosts_max: 256, ..Config::default() };
        Self {
            complex: Complex::new(config),
            tables: Tables::default(),
            batches: BTreeMap::new(),
            batch: 0,
            committed_at: START,
            dies_at_commit: false,
            unfinished: false,
            timer_at: None,
            hosts,
            lines: BTreeMap::new(),
            line_ids: BTreeMap::new(),
            next_session: 0,
            accounts: Vec::new(),
            kills: 0,
            crashes: 0,
            breaks: 0,
            now: START,
            heap: BinaryHeap::new(),
            seq: 0,
            trace: blake3::Hasher::new(),
            events: 0,
            random,
            plan,
        }
    }

    fn at(&mut self, at: Time, event: Event) {
        self.seq += 1;
        self.heap.push(Reverse(Scheduled { at, seq: self.seq, event }));
    }

    /// Something before the world begins: committed at once.
    fn call(&mut self, call: Call) -> Reply {
        let mut effects = Vec::new();
        let request = RequestId(0);
        self.complex.step(self.now, Input::Requested { request, call }, &mut effects);
        let mut reply = None;
        for effect in effects {
            match effect {
                Effect::Keep(change) => self.tables.apply(&change),
                Effect::Answer(_, answer) => reply = answer.ok(),
                _ => {}
            }
        }
        reply.expect("the first calls of a world are in order")
    }

    fn open_accounts(&mut self) {
        for n in 0..self.plan.hosts {
            let call = Call::OpenAccount { name: format!("owner{n}"), welcome: MicroCredits::ZERO };
            if let Reply::Account(account) = self.call(call) {
                self.accounts.push(account);
            }
        }
    }

    fn schedule_faults(&mut self) {
        let end = START + self.plan.faults_until;
        let every = |mean: Span, event: &dyn Fn() -> Event, world: &mut Self| {
            if mean == Span::ZERO {
                return;
            }
            let mut at = START;
            loop {
                // Exponential gaps: faults have no memory.
                let gap = -(1.0 - world.random.unit()).ln() * mean.0 as f64;
                at += Span(gap as u64 + 1);
                if at >= end {
                    return;
                }
                world.at(at, event());
            }
        };
        every(self.plan.server_kill_every, &|| Event::ServerKilled, self);
        for n in 0..self.plan.hosts {
            every(self.plan.host_crash_every, &|| Event::HostCrashed(n), self);
            every(self.plan.owner_every, &|| Event::OwnerMoved(n), self);
        }
        for n in 0..self.plan.hosts {
            // All owners leave in the end, so that the work can be done.
            self.at(end, Event::Host(n, Todo::OwnerLeaves));
        }
    }

    fn live(&mut self) {
        let end = START + self.plan.faults_until + REST;
        self.arm();
        while let Some(Reverse(next)) = self.heap.pop() {
            if next.at > end || self.is_done() {
                return;
            }
            self.now = self.now.max(next.at);
            self.events += 1;
            self.trace.update(&self.now.0.to_le_bytes());
            self.happen(next.event);
            self.arm();
        }
    }

    fn is_done(&self) -> bool {
        self.now > START + self.plan.faults_until
            && self.batches.is_empty()
            && self.tables.jobs.values().all(|job| job.state != JobState::Active)
    }

    fn note(&mut self, what: &str, n: u64) {
        self.trace.update(what.as_bytes());
        self.trace.update(&n.to_le_bytes());
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Host(n, todo) => {
                self.note("host", n.into());
                let todos = self.hosts[n as usize].happen(self.now, todo);
                self.host_todos(n, todos);
            }
            Event::ToComplex(session, frame) => {
                self.note("to complex", session.0);
                self.complex_hears(session, frame);
            }
            Event::ToHost(n, life, session, frame) => {
                self.note("to host", n.into());
                let host = &mut self.hosts[n as usize];
                if host.life() == life {
                    let input = host::Input::FrameArrived { session, frame };
                    let todos = host.input(self.now, input);
                    self.host_todos(n, todos);
                }
            }
            Event::ComplexTimer => {
                self.timer_at = None;
                self.note("timer", 0);
                self.complex_step(Input::TimerFired);
                self.complex_finish();
            }
            Event::Finished => {
                self.note("finished", 0);
                self.complex_finish();
            }
            Event::Cancelled(job) => {
                self.note("cancel", job.0);
                let call = Call::Cancel { job };
                self.complex_step(Input::Requested { request: RequestId(1), call });
            }
            Event::Committed(batch) => {
                self.note("committed", batch);
                if let Some(mut batch) = self.batches.remove(&batch) {
                    batch.changes.iter().for_each(|change| self.tables.apply(change));
                    let dies = std::mem::take(&mut self.dies_at_commit);
                    if dies {
                        let left = self.random.below(batch.outgoing.len() as u64 + 1);
                        batch.outgoing.truncate(left as usize);
                    }
                    self.let_go(batch.outgoing);
                    if dies {
                        self.kill_server();
                    }
                }
            }
            Event::SessionGone(session) => {
                if self.lines.remove(&session).is_some() {
                    self.complex_step(Input::HostWent { session });
                }
            }
            // At any moment, or between what a batch keeps and any of what it lets go.
            Event::ServerKilled if self.random.below(2) == 0 => self.dies_at_commit = true,
            Event::ServerKilled => self.kill_server(),
            Event::HostCrashed(n) => {
                self.crashes += 1;
                self.note("crash", n.into());
                self.cut(n, NOTICE);
                let todos = self.hosts[n as usize].crash(self.now);
                self.host_todos(n, todos);
            }
            Event::OwnerMoved(n) => {
                let todos = self.hosts[n as usize].owner_moves(self.now);
                self.host_todos(n, todos);
            }
        }
    }

    fn complex_hears(&mut self, session: SessionId, frame: ToComplex) {
        let Some(line) = self.lines.get_mut(&session) else { return };
        let host = HostId(key(line.host));
        let first = !std::mem::replace(&mut line.greeted, true);
        let n = line.host as usize;
        match frame {
            ToComplex::Hello(hello) if first => {
                let admission = Some(Ok(self.accounts[n]));
                let came = Input::HostCame { host, session, address: None, hello, admission };
                self.complex_step(came);
            }
            frame => self.complex_step(Input::HostSaid { session, frame }),
        }
    }

    /// Inputs that arrive within a moment of each other are one batch, as in the server.
    fn complex_step(&mut self, input: Input) {
        self.complex.apply(self.now, input);
        if !std::mem::replace(&mut self.unfinished, true) {
            let after = Span(self.random.below(BATCH.0));
            self.at(self.now + after, Event::Finished);
        }
    }

    fn complex_finish(&mut self) {
        if !std::mem::take(&mut self.unfinished) {
            return;
        }
        let mut effects = Vec::new();
        self.complex.finish(&mut effects);
        let mut batch = Batch::default();
        for effect in effects {
            match effect {
                Effect::Keep(change) => batch.changes.push(change),
                other => batch.outgoing.push(other),
            }
        }
        if batch.changes.is_empty() && batch.outgoing.is_empty() {
            return;
        }
        self.batch += 1;
        self.batches.insert(self.batch, batch);
        // The disk stands still now and then; what waits for it is committed in order.
        let stalls =
            self.now < START + self.plan.faults_until && self.random.below(STALLS_ONE_IN) == 0;
        let stall = if stalls { self.random.below(STALL_MAX.0) } else { 0 };
        self.committed_at = self.committed_at.max(self.now + COMMIT + Span(stall));
        self.at(self.committed_at, Event::Committed(self.batch));
    }

    /// What was decided is durable: messages leave.
    fn let_go(&mut self, outgoing: Vec<Effect>) {
        for effect in outgoing {
            match effect {
                Effect::Send(session, frame) => {
                    let Some(line) = self.lines.get(&session).copied() else { continue };
                    if self.breaks_now() {
                        self.break_line(session);
                        continue;
                    }
                    let at = self.now + self.hosts[line.host as usize].latency();
                    self.at(at, Event::ToHost(line.host, line.life, line.session, frame));
                }
                Effect::Close(session) => {
                    if let Some(line) = self.lines.remove(&session) {
                        let at = self.now + self.hosts[line.host as usize].latency();
                        let why = "the complex ended the session".to_owned();
                        let gone = Todo::Gone(line.life, line.session, why);
                        self.at(at + Span(1), Event::Host(line.host, gone));
                    }
                }
                Effect::Keep(_) | Effect::Answer(..) | Effect::JobMoved(_) | Effect::Say(_) => {}
            }
        }
    }

    fn breaks_now(&mut self) -> bool {
        self.now < START + self.plan.faults_until && self.random.unit() < self.plan.frame_loss
    }

    /// A session breaks; each side notices in its own time.
    fn break_line(&mut self, session: SessionId) {
        self.breaks += 1;
        let Some(line) = self.lines.get(&session).copied() else { return };
        let gone = Todo::Gone(line.life, line.session, "timed out".to_owned());
        let host_notices = self.now + Span(self.random.below(NOTICE.0));
        self.at(host_notices, Event::Host(line.host, gone));
        let complex_notices = self.now + Span(self.random.below(NOTICE.0));
        self.at(complex_notices, Event::SessionGone(session));
    }

    fn cut(&mut self, n: u32, notice: Span) {
        let sessions: Vec<SessionId> =
            self.lines.iter().filter(|(_, line)| line.host == n).map(|(id, _)| *id).collect();
        for session in sessions {
            self.at(self.now + notice, Event::SessionGone(session));
        }
    }

    fn kill_server(&mut self) {
        self.kills += 1;
        self.note("kill", self.kills.into());
        // What was not committed is lost, and nobody has heard of it.
        self.batches.clear();
        self.committed_at = self.now;
        self.dies_at_commit = false;
        self.unfinished = false;
        for (_, line) in std::mem::take(&mut self.lines) {
            let gone = Todo::Gone(line.life, line.session, "the server died".to_owned());
            let notice = Span(self.random.below(NOTICE.0));
            self.at(self.now + notice, Event::Host(line.host, gone));
        }
        let config = Config { held_hosts_max: 256, ..Config::default() };
        let mut effects = Vec::new();
        self.complex = Complex::restore(config, self.now, self.tables.snapshot(), &mut effects)
            .expect("what was committed makes a complex");
        self.complex.check_invariants();
        for effect in effects {
            if let Effect::Keep(change) = effect {
                self.tables.apply(&change);
            }
        }
        self.timer_at = None;
    }

    /// Carries out what a host's shell wants.
    fn host_todos(&mut self, n: u32, todos: Vec<(Span, Todo)>) {
        for (after, todo) in todos {
            let life = self.hosts[n as usize].life();
            match todo {
                Todo::Connect(session) => {
                    self.next_session += 1;
                    let id = SessionId(self.next_session);
                    let line = Line { host: n, life, session, greeted: false };
                    self.lines.insert(id, line);
                    self.line_ids.insert((n, life, session.0), id);
                    let latency = self.hosts[n as usize].latency();
                    self.at(self.now + latency, Event::Host(n, Todo::Connected(life, session)));
                }
                Todo::Send(session, frame) => {
                    let Some(id) = self.line_of(n, life, session) else { continue };
                    if self.breaks_now() {
                        self.break_line(id);
                        continue;
                    }
                    let at = self.now + self.hosts[n as usize].latency();
                    self.at(at, Event::ToComplex(id, frame));
                }
                Todo::Disconnect(session) => {
                    if let Some(id) = self.line_of(n, life, session) {
                        let latency = self.hosts[n as usize].latency();
                        self.at(self.now + latency + Span(1), Event::SessionGone(id));
                    }
                }
                todo => self.at(self.now + after, Event::Host(n, todo)),
            }
        }
    }

    fn line_of(&self, n: u32, life: u64, session: host::SessionId) -> Option<SessionId> {
        self.line_ids.get(&(n, life, session.0)).copied().filter(|id| self.lines.contains_key(id))
    }

    /// Sets the complex's timer, if it moved.
    fn arm(&mut self) {
        let deadline = self.complex.deadline();
        if let Some(at) = deadline
            && self.timer_at.is_none_or(|armed| at < armed)
        {
            self.timer_at = Some(at);
            self.at(at.max(self.now), Event::ComplexTimer);
        }
    }

    fn report(&self) -> Report {
        let mut trace = self.trace.clone();
        for (seq, transfer) in &self.tables.transfers {
            trace.update(&seq.to_le_bytes());
            trace.update(&transfer.hash.0);
        }
        let jobs: Vec<JobId> = self.tables.jobs.keys().copied().collect();
        Report {
            seed: self.plan.seed,
            trace: Guid(*trace.finalize().as_bytes()),
            events: self.events,
            virtual_time: self.now.since(START),
            tasks: u64::from(self.plan.jobs) * u64::from(self.plan.tasks),
            wrong: jobs.iter().map(|&job| checks::wrong_results(&self.tables, job)).sum(),
            wrong_bound: checks::wrong_bound(&self.plan),
            transfers: self.tables.transfers.len() as u64,
            kills: self.kills,
            crashes: self.crashes,
            breaks: self.breaks,
            barred: self.tables.hosts.values().filter(|host| host.barred.is_some()).count() as u64,
            liars: self.hosts.iter().filter(|host| host.lies()).count() as u64,
        }
    }
}

/// The key of the host of this number.
pub(crate) fn key(n: u32) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    PublicKey(bytes)
}
