//! A host: the shipped machine, and a shell whose sandbox is a clock.

mod answer;
mod cheat;

use std::collections::{BTreeMap, VecDeque};

use isos_base::checkpoint::{Resume, segment_fuel};
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::job::Verify;
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::random::Random;
use isos_base::task::{Fault, Output, OutputAt, TaskResult};
use isos_base::wire::{JobOffer, ToComplex, ToHost};
use isos_base::{Bytes, Fuel, Guid, HostId, JobId, LeaseId, Machine, Span, Time};
use isos_kernel::complex::Config;
use isos_kernel::host::{ChamberId, Effect, Ended, Host, HostState, Input, SessionId};
use isos_kernel::verify::Assumed;

use self::answer::task_time;
pub(crate) use self::answer::{TASK_MEAN, right_result};
pub(crate) use self::cheat::{Cheat, Secret};

/// What a host's shell has to do, now or later.
#[derive(Debug, Clone)]
pub(crate) enum Todo {
    /// Open a line to the complex.
    Connect(SessionId),
    /// The line is open.
    Connected(u64, SessionId),
    /// Send a frame.
    Send(SessionId, ToComplex),
    /// Close a line.
    Disconnect(SessionId),
    /// A line is gone.
    Gone(u64, SessionId, String),
    /// A chamber is open.
    Prepared(u64, ChamberId),
    /// A core of a chamber has finished its task.
    Finished(u64, ChamberId, u64),
    /// A core of a chamber has come so far with its task, in thousandths of what there was to do.
    Saved(u64, ChamberId, u64, u64),
    /// The machine's deadline.
    Timer(u64, Time),
    /// The machine is switched on again.
    Boot(u64),
    /// The owner leaves for good.
    OwnerLeaves,
}

struct Chamber {
    offer: JobOffer,
    threads: u16,
    open: bool,
    queue: VecDeque<u32>,
    /// Where tasks go on that are begun next.
    resumes: BTreeMap<u32, Resume>,
    running: BTreeMap<u64, Run>,
}

/// A task that a core works on.
struct Run {
    task: u32,
    began: Time,
    /// Fuel that was used before.
    from: u64,
    /// It ends with so many segments.
    until: Option<u32>,
    /// Segments whose roots were told.
    told: usize,
}

/// A contributed machine.
pub(crate) struct SimHost {
    number: u32,
    machine: Host,
    /// Counts crashes: what belongs to an earlier life is dropped.
    life: u64,
    up: bool,
    random: Random,
    cores: u16,
    /// How much longer tasks take than on the fastest host.
    slowness: f64,
    latency: Span,
    cheat: Option<Cheat>,
    /// Results that it gave.
    answers: u64,
    /// Under which lease it has a task, if it knows what to do with that.
    leases: BTreeMap<(JobId, u32), LeaseId>,
    /// Lies among them.
    told: u64,
    owner_is_here: bool,
    frozen: bool,
    chambers: BTreeMap<ChamberId, Chamber>,
    runs: u64,
    /// Effects of its machine, of all its lives.
    effects: u64,
    /// It dies behind this one.
    dies_behind: Option<u64>,
    /// Tasks that went on somewhere, or were run in part.
    parts: u64,
    timer_at: Option<Time>,
    asks: Price,
    /// Tickets that it had before.
    tickets: u32,
    /// Servers of its ticket, which it never forgets.
    ticket: Vec<u32>,
    /// The servers that it knows, in the order in which it calls them. They are on its disk.
    servers: Vec<u32>,
}

/// Opening a chamber: fetching a small program and compiling it.
const PREPARE: Span = Span::millis(300);
/// A crashed host comes back after this time.
const REBOOT: Span = Span::secs(60);
/// One in so many tasks fails through no fault of its program.
const FAILS_ONE_IN: u64 = 200;
/// The machine looks at itself once in so many inputs.
const CHECK_ONE_IN: u64 = 256;

type Todos = Vec<(Span, Todo)>;

impl SimHost {
    pub(crate) fn new(number: u32, cheat: Option<Cheat>, servers: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Tickets are of different times: some name one server, some all.
        let first = random.below(servers.into()) as u32;
        let named = 1 + random.below(servers.into()) as u32;
        let ticket: Vec<u32> = (0..named).map(|n| (first + n) % servers).collect();
        let cores = [1, 2, 4, 8][random.below(4) as usize];
        Self {
            number,
            machine: Host::new(spec(number, cores), Some(vec![1]), random.next_u64()),
            life: 0,
            up: true,
            cores,
            // One in twenty is very slow.
            slowness: if random.one_in(20) { 30.0 } else { 1.0 + 3.0 * random.unit() },
            latency: Span::millis(2 + random.below(120)),
            cheat,
            answers: 0,
            leases: BTreeMap::new(),
            told: 0,
            owner_is_here: false,
            frozen: false,
            chambers: BTreeMap::new(),
            runs: 0,
            effects: 0,
            dies_behind: None,
            parts: 0,
            timer_at: None,
            asks: Price(0),
            tickets: 0,
            servers: ticket.clone(),
            ticket,
            random,
        }
    }

    /// Tasks that it works on at a time, as if it were as fast as the fastest.
    pub(crate) fn speed(&self) -> f64 {
        f64::from(self.cores) / self.slowness
    }

    pub(crate) const fn life(&self) -> u64 {
        self.life
    }

    pub(crate) const fn effects(&self) -> u64 {
        self.effects
    }

    /// It will die behind this of its effects.
    pub(crate) const fn dies_behind(&mut self, effect: u64) {
        self.dies_behind = Some(effect);
    }

    /// Whether it is dead, and nobody has noticed.
    pub(crate) fn is_dying(&self) -> bool {
        self.dies_behind.is_some_and(|last| last <= self.effects)
    }

    pub(crate) const fn parts(&self) -> u64 {
        self.parts
    }

    pub(crate) const fn lies(&self) -> bool {
        self.cheat.is_some()
    }

    /// If it lies, it knows what will be checked.
    pub(crate) fn knows(&mut self, config: &Config) {
        let (bad, check_rate_min) = (config.bad_share, config.check_rate_min);
        let error = f64::from(Verify::ERROR_PPM_DEFAULT) / 1e6;
        let assumed = Assumed { bad, check_rate_min };
        if let Some(cheat) = &mut self.cheat {
            cheat.knows = Some(Secret { key: config.check_secret, assumed, error });
        }
    }

    /// It asks for something, each host for another price.
    pub(crate) fn ask(&mut self) {
        self.asks = Price(20 + self.number * 13 % 61);
    }

    /// What it asks for a gigafuel.
    pub(crate) const fn asks(&self) -> Price {
        self.asks
    }

    /// The id of the ticket that it shows.
    pub(crate) fn ticket(&self) -> Vec<u8> {
        [self.number.to_le_bytes(), self.tickets.to_le_bytes()].concat()
    }

    /// From its next life on it shows another.
    pub(crate) const fn new_ticket(&mut self) {
        self.tickets += 1;
    }

    /// Lies that it told.
    pub(crate) const fn told(&self) -> u64 {
        self.told
    }

    pub(crate) fn latency(&mut self) -> Span {
        Span(self.latency.0 + self.random.below(self.latency.0 / 4 + 1))
    }

    /// The servers to call, in this order.
    pub(crate) fn servers(&self) -> &[u32] {
        &self.servers
    }

    /// The server that answered is the first from now on.
    pub(crate) fn reached(&mut self, server: u32) {
        if let Some(place) = self.servers.iter().position(|&known| known == server) {
            self.servers.rotate_left(place);
        }
    }

    /// A frame arrives. Which servers there are is for the shell.
    pub(crate) fn hears(&mut self, now: Time, session: SessionId, frame: ToHost) -> Todos {
        match frame {
            ToHost::Servers(told) if !told.is_empty() => {
                self.servers = told.iter().map(|server| number(&server.key)).collect();
                let known = self.servers.clone();
                let more = self.ticket.iter().filter(|server| !known.contains(server));
                self.servers.extend(more);
                Vec::new()
            }
            frame => {
                if let ToHost::Grant(grants) = &frame
                    && self.cheat.is_some_and(|cheat| cheat.knows.is_some())
                {
                    for grant in grants {
                        let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
                        self.leases.extend(tasks.map(|task| ((grant.job, task), grant.lease)));
                    }
                }
                self.input(now, Input::FrameArrived { session, frame })
            }
        }
    }

    /// Whether it has no work and no news, or never will.
    pub(crate) fn is_at_rest(&self) -> bool {
        let status = self.machine.status();
        let idle = status.running + status.queued == 0 && !status.unreported;
        self.up && (idle || matches!(status.state, HostState::Refused(_)))
    }

    pub(crate) fn start(&mut self, now: Time) -> Todos {
        let allowed = self.allowed();
        self.input(now, allowed)
    }

    fn allowed(&self) -> Input {
        let offer = if self.owner_is_here {
            Offer::nothing("the owner is here")
        } else {
            Offer {
                cores: self.cores,
                memory: Bytes::gib(8),
                disk: Bytes::gib(8),
                price_min: self.asks,
                accept: Accept::Any,
                reasons: Vec::new(),
            }
        };
        Input::Allowed { offer, until: None }
    }

    /// The machine dies with everything in memory.
    pub(crate) fn crash(&mut self) -> Todos {
        self.life += 1;
        if self.is_dying() {
            self.dies_behind = None;
        }
        self.up = false;
        self.frozen = false;
        self.chambers.clear();
        self.timer_at = None;
        let seed = self.random.next_u64();
        self.machine = Host::new(spec(self.number, self.cores), Some(vec![1]), seed);
        vec![(REBOOT, Todo::Boot(self.life))]
    }

    pub(crate) fn owner_moves(&mut self, now: Time) -> Todos {
        self.owner_is_here = !self.owner_is_here;
        self.tell_owner(now)
    }

    fn tell_owner(&mut self, now: Time) -> Todos {
        if !self.up {
            return Vec::new();
        }
        let allowed = self.allowed();
        self.input(now, allowed)
    }

    pub(crate) fn happen(&mut self, now: Time, todo: Todo) -> Todos {
        match todo {
            Todo::Connected(life, session) if life == self.life => {
                self.input(now, Input::Connected { session })
            }
            Todo::Gone(life, session, why) if life == self.life => {
                self.input(now, Input::Disconnected { session, why })
            }
            Todo::Prepared(life, chamber) if life == self.life => {
                let Some(room) = self.chambers.get_mut(&chamber) else { return Vec::new() };
                room.open = true;
                self.input(now, Input::JobPrepared { chamber })
            }
            Todo::Finished(life, chamber, run) if life == self.life => {
                self.finished(now, chamber, run)
            }
            Todo::Saved(life, chamber, run, share) if life == self.life => {
                self.saved(now, chamber, run, share)
            }
            Todo::Timer(life, at) if life == self.life => {
                if self.timer_at != Some(at) {
                    return Vec::new();
                }
                self.timer_at = None;
                self.input(now, Input::TimerFired)
            }
            Todo::Boot(life) if life == self.life => {
                self.up = true;
                self.start(now)
            }
            Todo::OwnerLeaves => {
                self.owner_is_here = false;
                self.tell_owner(now)
            }
            _ => Vec::new(),
        }
    }

    fn input(&mut self, now: Time, input: Input) -> Todos {
        let mut effects = Vec::new();
        self.machine.step(now, input, &mut effects);
        if self.random.one_in(CHECK_ONE_IN) {
            self.machine.check_invariants();
        }
        let mut todos = Vec::new();
        for effect in effects {
            if self.is_dying() {
                break;
            }
            self.effects += 1;
            self.carry_out(now, effect, &mut todos);
        }
        if let Some(at) = self.machine.deadline()
            && self.timer_at.is_none_or(|armed| at < armed)
        {
            self.timer_at = Some(at);
            todos.push((at.since(now), Todo::Timer(self.life, at)));
        }
        todos
    }

    fn carry_out(&mut self, now: Time, effect: Effect, todos: &mut Todos) {
        match effect {
            Effect::Connect { session } => todos.push((Span::ZERO, Todo::Connect(session))),
            Effect::Disconnect { session } => todos.push((Span::ZERO, Todo::Disconnect(session))),
            Effect::Send { session, frame } => {
                todos.push((Span::ZERO, Todo::Send(session, frame)));
            }
            Effect::Prepare { chamber, offer, threads } => {
                let (queue, running, resumes) = Default::default();
                let room = Chamber { offer: *offer, threads, open: false, queue, resumes, running };
                self.chambers.insert(chamber, room);
                todos.push((PREPARE, Todo::Prepared(self.life, chamber)));
            }
            Effect::GoOn { chamber, from } => {
                if let Some(room) = self.chambers.get_mut(&chamber) {
                    self.parts += from.len() as u64;
                    room.resumes.extend(from.into_iter().map(|resume| (resume.task, resume)));
                }
            }
            Effect::Start { chamber, tasks } => {
                if let Some(room) = self.chambers.get_mut(&chamber) {
                    room.queue.extend(tasks);
                }
                self.run_next(now, chamber, todos);
            }
            Effect::Stop { chamber } | Effect::Drop { chamber } => {
                self.chambers.remove(&chamber);
            }
            Effect::Suspend => self.frozen = true,
            Effect::Resume => {
                self.frozen = false;
                // What stood still begins anew: pessimistic, and simple.
                let chambers: Vec<ChamberId> = self.chambers.keys().copied().collect();
                for id in chambers {
                    if let Some(room) = self.chambers.get_mut(&id) {
                        for run in std::mem::take(&mut room.running).into_values().rev() {
                            room.queue.push_front(run.task);
                        }
                    }
                    self.run_next(now, id, todos);
                }
            }
            // Memory and cores are counted by the plan; nothing here takes more.
            // No host of these worlds keeps fragments.
            Effect::Limit { .. }
            | Effect::TakeIn { .. }
            | Effect::Prove { .. }
            | Effect::Mend { .. }
            | Effect::Say(_) => {}
        }
    }

    /// Idle threads of a chamber take the next tasks.
    fn run_next(&mut self, now: Time, id: ChamberId, todos: &mut Todos) {
        if self.frozen {
            return;
        }
        let Some(room) = self.chambers.get_mut(&id) else { return };
        while room.open && room.running.len() < usize::from(room.threads) {
            let Some(task) = room.queue.pop_front() else { break };
            self.runs += 1;
            let resume = room.resumes.get(&task);
            let from = resume.and_then(|resume| resume.from).map_or(0, |from| from.fuel.0);
            let until = resume.and_then(|resume| resume.until);
            let all = right_result(room.offer.job, task).fuel.0;
            let end = until.map_or(all, |until| {
                u64::from(until).saturating_mul(segment(&room.offer)).min(all)
            });
            let share = end.saturating_sub(from) as f64 / all as f64;
            let time = task_time(room.offer.job, task).0 as f64 * self.slowness * share;
            room.running.insert(self.runs, Run { task, began: now, from, until, told: 0 });
            if saves(room.offer.job) && until.is_none() {
                let at = 200 + self.random.below(600);
                let then = Todo::Saved(self.life, id, self.runs, at);
                todos.push((Span((time * at as f64 / 1e3) as u64), then));
            }
            todos.push((Span(time as u64), Todo::Finished(self.life, id, self.runs)));
        }
    }

    fn finished(&mut self, now: Time, id: ChamberId, run: u64) -> Todos {
        if self.frozen {
            return Vec::new();
        }
        let Some(room) = self.chambers.get_mut(&id) else { return Vec::new() };
        let Some(run) = room.running.remove(&run) else { return Vec::new() };
        room.resumes.remove(&run.task);
        let (task, began) = (run.task, run.began);
        let mut result = right_result(room.offer.job, task);
        let fails = self.random.one_in(FAILS_ONE_IN);
        let lies = self.cheat.is_some_and(|cheat| {
            let turned = self.answers >= cheat.after;
            let dares = self.random.unit() < cheat.rate;
            let seen = cheat.knows.is_some_and(|secret| {
                let lease = self.leases.get(&(room.offer.job, task));
                lease.is_none_or(|&lease| secret.may_check(lease, task, self.answers))
            });
            turned && dares && !seen
        });
        self.answers += 1;
        self.told += u64::from(lies);
        let mut saved = None;
        if saves(room.offer.job) {
            let each = segment(&room.offer);
            let mut segments = (result.fuel.0 - 1) / each;
            if let Some(until) = run.until.map(u64::from)
                && until <= segments
            {
                segments = until;
                let output = OutputAt::Inline(Output::default().encode());
                result = TaskResult { fuel: Fuel(segments * each), output, ..result };
            }
            let made_up = lies.then_some(run.told as u64);
            let roots = roots(room.offer.job, task, segments, made_up);
            let fuel = Fuel(segments * each);
            saved = Some(Input::TaskSaved { chamber: id, task, fuel, roots, kept: None });
        }
        if lies {
            // All liars tell the same lie, which is the worst that they can do.
            let output = Output { stdout: b"wrong".to_vec(), ..Output::default() };
            result.output = OutputAt::Inline(output.encode());
        }
        let fault = || Fault::SandboxDied("signal 9".to_owned());
        let outcome = if fails { Err(fault()) } else { Ok(result) };
        let ended = vec![Ended { task, wall: now.since(began), outcome }];
        let mut todos = match saved {
            Some(saved) if !fails => self.input(now, saved),
            _ => Vec::new(),
        };
        todos.extend(self.input(now, Input::TasksEnded { chamber: id, ended }));
        self.run_next(now, id, &mut todos);
        todos
    }

    /// A task has come so far, and its checkpoint is handed over.
    fn saved(&mut self, now: Time, id: ChamberId, run: u64, share: u64) -> Todos {
        if self.frozen {
            return Vec::new();
        }
        let Some(room) = self.chambers.get_mut(&id) else { return Vec::new() };
        let Some(run) = room.running.get_mut(&run) else { return Vec::new() };
        let all = right_result(room.offer.job, run.task).fuel.0 - 1;
        let used = run.from + all.saturating_sub(run.from) * share / 1_000;
        let segments = used / segment(&room.offer);
        if segments == 0 {
            return Vec::new();
        }
        run.told = segments as usize;
        // As with any host: a root and the fuel at its end belong together.
        let (task, fuel) = (run.task, Fuel(segments * segment(&room.offer)));
        let roots = roots(room.offer.job, task, segments, None);
        let kept = Some(Bytes(1_000));
        self.input(now, Input::TaskSaved { chamber: id, task, fuel, roots, kept })
    }
}

/// Fuel of a segment.
fn segment(offer: &JobOffer) -> u64 {
    segment_fuel(offer.spec.fuel).0
}

/// Whether the tasks of a job save their state: those of two jobs of three do.
const fn saves(job: JobId) -> bool {
    !job.0.is_multiple_of(3)
}

/// The roots of a task's segments; all behind the first `right` ones are made up, if that is said.
fn roots(job: JobId, task: u32, segments: u64, right: Option<u64>) -> Vec<Guid> {
    let root = |nth| {
        let made_up = right.is_some_and(|right| nth >= right);
        // No hash: there are a hundred of them in a task.
        let of_task = Random::new(job.0 << 32 | u64::from(task)).next_u64();
        let mut random = Random::new(of_task ^ (nth << 1 | u64::from(made_up)));
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        Guid(bytes)
    };
    (0..segments).map(root).collect()
}

/// The key of the host or server of this number.
pub(crate) fn key(n: u32) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    PublicKey(bytes)
}

/// The number of whoever has this key.
pub(crate) fn number(key: &PublicKey) -> u32 {
    u32::from_be_bytes([key.0[0], key.0[1], key.0[2], key.0[3]])
}

/// The host of this number.
pub(crate) fn id(n: u32) -> HostId {
    HostId(key(n))
}

fn spec(number: u32, cores: u16) -> HostSpec {
    HostSpec {
        name: format!("host{number}"),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: cores,
        memory: Bytes::gib(8),
        disk: Bytes::gib(8),
        country: None,
        engine: "sim".into(),
    }
}
