//! Stories told to the machine, and a rig that plays its shell.

mod hostile;
mod limits;
mod owner;
mod peers;
mod saved;
mod shelf;
mod stories;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use isos_base::guid::Guid;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::job::JobSpec;
use isos_base::price::Price;
use isos_base::ranges::{TaskRange, TaskSet};
use isos_base::task::{Exit, Fault, OutputAt, TaskResult};
use isos_base::time::{Span, Time};
use isos_base::units::{Bytes, Fuel, MicroCredits};
use isos_base::wire::{Grant, JobOffer, Report, ToComplex, ToHost};
use isos_base::{AccountId, JobId, LeaseId, Machine};

use super::tuning::{OUTBOX_BYTES_MAX, STARVED_AFTER};
use super::{ChamberId, Effect, Ended, Host, HostState, Input, SessionId};

/// A machine, its time, and what its shell knows.
struct Rig {
    host: Host,
    now: Time,
    session: Option<SessionId>,
    chambers: BTreeMap<ChamberId, Room>,
    frozen: bool,
    /// What the shell holds chambers to.
    limit: Option<(u16, Bytes)>,
    /// Reports of this session.
    reports: Vec<Report>,
}

/// A chamber as the shell sees it.
struct Room {
    job: JobId,
    memory: Bytes,
    threads: usize,
    open: bool,
    /// Tasks in the order they start.
    tasks: Vec<u32>,
}

impl Room {
    fn running(&self) -> usize {
        self.tasks.len().min(self.threads)
    }
}

const START: Time = Time(1_000_000_000);

fn host_spec(cpus: u16) -> HostSpec {
    HostSpec {
        name: "attic".into(),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus,
        memory: Bytes::gib(4),
        disk: Bytes::gib(10),
        country: None,
        engine: "wasmtime-48".into(),
    }
}

fn offer(cores: u16) -> Offer {
    Offer {
        cores,
        memory: Bytes::gib(4),
        disk: Bytes::gib(10),
        price_min: Price(10),
        accept: Accept::Any,
        reasons: vec![],
    }
}

fn job_offer(job: u64, count: u32) -> JobOffer {
    let program = Guid::of(&job.to_le_bytes());
    let mut spec = JobSpec::new(program, Bytes::mib(1), count);
    spec.name = format!("job{job}");
    JobOffer { job: JobId(job), spec, price: Price(100), buyer: AccountId(9) }
}

fn job(job: u64, count: u32) -> ToHost {
    ToHost::Job(Box::new(job_offer(job, count)))
}

fn big_job(job: u64, count: u32, memory: Bytes) -> ToHost {
    let mut offer = job_offer(job, count);
    offer.spec.memory = memory;
    ToHost::Job(Box::new(offer))
}

fn grant(lease: u64, job: u64, start: u32, end: u32, deadline: Time) -> Grant {
    let ranges = vec![TaskRange::new(start, end)];
    Grant { lease: LeaseId(lease), job: JobId(job), ranges, deadline }
}

fn ok(task: u32) -> Result<TaskResult, Fault> {
    let output = OutputAt::Inline(vec![0, 0, 0]);
    Ok(TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1), output })
}

impl Rig {
    fn new(cpus: u16) -> Self {
        Self {
            host: Host::new(host_spec(cpus), Some(vec![7]), 1),
            now: START,
            session: None,
            chambers: BTreeMap::new(),
            frozen: false,
            limit: None,
            reports: Vec::new(),
        }
    }

    /// Connected and welcomed, with so many cores to give.
    fn online(cores: u16) -> Self {
        let mut rig = Self::new(cores);
        rig.allow(cores);
        rig.come_online();
        rig
    }

    fn come_online(&mut self) {
        let session = self.session.expect("a session was asked for");
        self.step(Input::Connected { session });
        self.frame(ToHost::Welcome { now: self.now, account: AccountId(9) });
    }

    fn allow(&mut self, cores: u16) -> String {
        self.step(Input::Allowed { offer: offer(cores), until: None })
    }

    fn frame(&mut self, frame: ToHost) -> String {
        let session = self.session.unwrap_or(SessionId(0));
        self.step(Input::FrameArrived { session, frame })
    }

    /// A lease of tasks `start..end` that is due in an hour.
    fn grant(&mut self, lease: u64, job: u64, start: u32, end: u32) -> String {
        self.frame(ToHost::Grant(vec![grant(lease, job, start, end, self.in_secs(3_600))]))
    }

    fn ack(&mut self) -> String {
        let seq = self.reports.last().map_or(0, |report| report.seq);
        self.frame(ToHost::Ack { seq, earned: MicroCredits(seq as i64) })
    }

    fn in_secs(&self, secs: u64) -> Time {
        self.now + Span::secs(secs)
    }

    fn prepared(&mut self, chamber: u64) -> String {
        let chamber = ChamberId(chamber);
        self.chambers.get_mut(&chamber).expect("a chamber is opening").open = true;
        self.step(Input::JobPrepared { chamber })
    }

    fn end(&mut self, chamber: u64, tasks: &[u32], wall: Span) -> String {
        let chamber = ChamberId(chamber);
        let room = self.chambers.get_mut(&chamber).expect("a chamber is open");
        room.tasks.retain(|task| !tasks.contains(task));
        let ended = tasks.iter().map(|&task| Ended { task, wall, outcome: ok(task) }).collect();
        self.step(Input::TasksEnded { chamber, ended })
    }

    fn die(&mut self, chamber: u64) -> String {
        let chamber = ChamberId(chamber);
        self.chambers.remove(&chamber).expect("a chamber to die");
        self.step(Input::ChamberDied { chamber, why: "signal 9".into() })
    }

    fn tasks_in(&self, chamber: u64) -> &[u32] {
        &self.chambers[&ChamberId(chamber)].tasks
    }

    /// Lets time pass; timers fire when they are due.
    fn wait(&mut self, span: Span) -> String {
        let end = self.now + span;
        let mut told = String::new();
        while let Some(at) = self.host.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            let secs = self.now.since(START).as_secs_f64();
            let text = self.step(Input::TimerFired);
            if !text.is_empty() {
                let _ = write!(told, "at {secs:.1} s\n{text}");
            }
        }
        self.now = end;
        told
    }

    fn step(&mut self, input: Input) -> String {
        let mut effects = Vec::new();
        self.host.step(self.now, input, &mut effects);
        self.host.check_invariants();
        let mut told = String::new();
        for effect in effects {
            self.carry_out(&effect);
            // It is in most stories, and checked in all of them below.
            if matches!(effect, Effect::Limit { .. }) {
                continue;
            }
            let _ = writeln!(told, "{}", describe(&effect));
        }
        self.check_held();
        self.check_packing();
        told
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Connect { session } => {
                assert!(self.session.is_none(), "two sessions");
                self.session = Some(*session);
                self.reports.clear();
            }
            Effect::Disconnect { session } => {
                assert_eq!(self.session.take(), Some(*session));
            }
            Effect::Send { session, frame } => {
                assert_eq!(self.session, Some(*session));
                if let ToComplex::Report(report) = frame {
                    self.reports.push(report.clone());
                }
            }
            Effect::Prepare { chamber, offer, threads } => {
                assert!(!self.frozen, "a chamber is opened in the owner's quiet");
                let room = Room {
                    job: offer.job,
                    memory: offer.spec.memory,
                    threads: usize::from(*threads),
                    open: false,
                    tasks: Vec::new(),
                };
                assert!(self.chambers.values().all(|other| other.job != room.job), "two chambers");
                assert!(self.chambers.insert(*chamber, room).is_none());
            }
            Effect::GoOn { chamber, from } => {
                assert!(!from.is_empty() && self.chambers[chamber].open);
            }
            Effect::Start { chamber, tasks } => {
                assert!(!self.frozen && !tasks.is_empty());
                let before = self.running();
                let room = self.chambers.get_mut(chamber).expect("tasks go to a chamber");
                assert!(room.open, "tasks go to an open chamber");
                room.tasks.extend(tasks);
                let distinct: BTreeSet<_> = room.tasks.iter().collect();
                assert_eq!(distinct.len(), room.tasks.len(), "a task is started twice");
                self.check_started(before);
            }
            Effect::Stop { chamber } => {
                assert!(self.chambers.remove(chamber).is_some());
            }
            Effect::Drop { chamber } => {
                let room = self.chambers.remove(chamber).expect("a chamber is dropped");
                assert!(room.open && room.tasks.is_empty(), "a busy chamber is dropped");
            }
            Effect::Suspend => self.frozen = true,
            Effect::Resume => self.frozen = false,
            Effect::Limit { cores, memory } => self.limit = Some((*cores, *memory)),
            Effect::TakeIn { .. } | Effect::Prove { .. } | Effect::Mend { .. } | Effect::Say(_) => {
            }
        }
    }

    /// Whatever runs is held to what the owner allows now, and nothing runs in the owner's quiet.
    fn check_held(&self) {
        let offer = self.host.offer();
        if !self.host.stopped {
            assert_eq!(self.limit, Some((offer.cores, offer.memory)), "chambers are not held");
        }
        assert!(self.frozen || offer.cores > 0 || self.chambers.is_empty(), "work in the quiet");
    }

    /// Cores and memory in use.
    fn running(&self) -> (usize, Bytes) {
        self.chambers.values().fold((0, Bytes::ZERO), |(cores, memory), room| {
            let running = room.running();
            (cores + running, memory + Bytes(room.memory.0 * running as u64))
        })
    }

    /// Nothing is started over what the owner allows. More may run since there was more to have.
    fn check_started(&self, before: (usize, Bytes)) {
        let ((cores, memory), offer) = (self.running(), self.host.offer());
        let most = usize::from(offer.cores).max(before.0);
        assert!(cores <= most, "{cores} tasks on {} cores", offer.cores);
        assert!(memory <= offer.memory.max(before.1), "{memory} of {} in use", offer.memory);
    }

    /// No core stays idle while there is a task that fits it, in a chamber that may have it.
    fn check_packing(&self) {
        let offer = self.host.offer();
        if offer.cores == 0 || self.host.outbox.bytes() >= OUTBOX_BYTES_MAX {
            return;
        }
        let jobs = &self.host.work.jobs;
        let starves = |since: Time| self.now.since(since) >= STARVED_AFTER;
        if jobs.values().any(|job| job.starved_since.is_some_and(starves)) {
            return;
        }
        let (cores, memory) = self.running();
        for (id, room) in self.chambers.iter().filter(|(_, room)| room.open) {
            let job = &jobs[&room.job];
            let closing = job.chamber.as_ref().is_some_and(|chamber| chamber.closing);
            let alone = job.chamber.as_ref().is_some_and(|chamber| chamber.alone);
            let waits = job.waits_for_peers();
            if closing || alone || waits || job.queued == 0 || room.running() == room.threads {
                continue;
            }
            let one_by_one = job.one_by_one() && room.running() > 0;
            let fits = cores < usize::from(offer.cores) && memory + room.memory <= offer.memory;
            assert!(one_by_one || !fits, "a core is idle and {id:?} has tasks");
        }
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Connect { session } => format!("connect s{}", session.0),
        Effect::Disconnect { session } => format!("disconnect s{}", session.0),
        Effect::Send { frame, .. } => match frame {
            ToComplex::Hello(hello) => {
                let holding: Vec<_> = hello.holding.iter().map(|lease| lease.0).collect();
                format!(
                    "send hello: {} cores, holding {holding:?}, {}",
                    hello.offer.cores,
                    room(hello.room)
                )
            }
            ToComplex::Offer(offer) => format!("send offer: {} cores", offer.cores),
            ToComplex::Report(report) => {
                let mut text = format!("send report {}:", report.seq);
                for news in &report.leases {
                    let _ = write!(text, " lease {}", news.lease);
                    if !news.results.is_empty() {
                        let done: Vec<_> = news.results.iter().map(|result| result.task).collect();
                        let _ = write!(text, " done {}", list(&done));
                    }
                    for (task, fault) in &news.faults {
                        let _ = write!(text, " fault {task} ({fault})");
                    }
                    let returned: Vec<_> =
                        news.returned.iter().flat_map(|range| range.tasks()).collect();
                    if !returned.is_empty() {
                        let _ = write!(text, " returned {}", list(&returned));
                    }
                    text.push(';');
                }
                format!("{text} {}", room(report.room))
            }
            ToComplex::Goodbye => "send goodbye".into(),
            ToComplex::Traced(trace) => format!("send {trace:?}"),
            ToComplex::Described(_) => "send a description".into(),
            ToComplex::Reach(reach) => {
                format!(
                    "send reach: job {}, run {}, begun {}",
                    reach.job, reach.place.run, reach.begun
                )
            }
            ToComplex::Shelf(report) => {
                format!("send shelf: {} offered, heard {}", report.offer.bytes, report.heard.0)
            }
            ToComplex::Mended(report) => format!("send mended: {}", report.number),
            ToComplex::Proved(proof) => {
                format!("send proof: lease {}, {}", proof.lease, proof.piece.is_some())
            }
            ToComplex::Saved(saved) => format!(
                "send saved: lease {} task {}, {} roots, {} fuel{}",
                saved.lease,
                saved.task,
                saved.roots.len(),
                saved.fuel,
                saved.kept.map_or(String::new(), |size| format!(", kept {size}"))
            ),
        },
        Effect::Prepare { chamber, offer, threads } => {
            format!("prepare c{} for job {}, {threads} threads", chamber.0, offer.job)
        }
        Effect::GoOn { chamber, from } => {
            let tasks: Vec<u32> = from.iter().map(|resume| resume.task).collect();
            format!("go on in c{}: {}", chamber.0, list(&tasks))
        }
        Effect::Start { chamber, tasks } => format!("start in c{}: {}", chamber.0, list(tasks)),
        Effect::Stop { chamber } => format!("stop c{}", chamber.0),
        Effect::Suspend => "suspend".into(),
        Effect::Resume => "resume".into(),
        Effect::Limit { cores, memory } => format!("limit: {cores} cores, {memory}"),
        Effect::Drop { chamber } => format!("drop c{}", chamber.0),
        Effect::TakeIn { news, .. } => {
            let leases: Vec<_> = news.iter().map(|news| news.lease.to_string()).collect();
            format!("take in {}", leases.join(" "))
        }
        Effect::Mend { order, .. } => format!("mend {}", order.number),
        Effect::Prove { asked, .. } => {
            format!("prove lease {}, group {}", asked.lease, asked.group())
        }
        Effect::Say(event) => format!("say: {event}"),
    }
}

fn room(room: isos_base::wire::Room) -> String {
    format!("idle {}, tasks {}, backlog {}", room.cores_idle, room.tasks, room.backlog)
}

/// `0..4 7..8`
fn list(tasks: &[u32]) -> String {
    let set: TaskSet = tasks.iter().map(|&task| TaskRange::new(task, task + 1)).collect();
    assert_eq!(set.count() as usize, tasks.len(), "a task is named twice");
    let ranges: Vec<_> =
        set.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
    ranges.join(" ")
}
