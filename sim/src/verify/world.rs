//! The kernel's complex with hosts that answer at once, some of them wrongly.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::checkpoint::Resume;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::job::{JobSpec, Verify};
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::random::Random;
use isos_base::record::Change;
use isos_base::task::{Exit, OutputAt, TaskResult};
use isos_base::wire::{Grant, Hello, LeaseReport, Report, Room, ToComplex, ToHost};
use isos_base::{
    AccountId, Bytes, Fuel, Guid, HostId, JobId, LeaseId, Machine, MicroCredits, Span, Time,
};
use isos_kernel::complex::{Call, Complex, Config, Effect, Input, Reply, RequestId, SessionId};

use super::stretches::{self, Chains, Ran, STRETCHES};
use super::{Outcome, Setting, Strategy};

const START: Time = Time(1_000_000_000_000);
/// Time of a round, in which each host answers some tasks.
const ROUND: Span = Span::secs(1);
/// Tasks that a host answers in a round at the most.
const TASKS_A_ROUND: u32 = 16;
/// Rounds in which nothing moves before the run is given up.
const STILL_MAX: u32 = 200;
/// Fuel of every task that is really run; the price makes it a thousand micro-credits.
const FUEL: Fuel = Fuel(10_000_000_000);
/// All pay is mature by then.
const MATURE: Span = Span::secs(8 * 86_400);

struct Host {
    session: Option<SessionId>,
    bad: bool,
    /// Answers given under this name.
    given: u64,
    grants: Vec<Grant>,
    resumes: BTreeMap<(LeaseId, u32), Resume>,
    seq: u64,
}

struct World {
    setting: Setting,
    complex: Complex,
    random: Random,
    now: Time,
    hosts: Vec<Host>,
    by_session: BTreeMap<SessionId, usize>,
    sessions: u64,
    names: u32,
    buyer: AccountId,
    /// The result of each task that counts: whether it is right, and whose it is.
    results: BTreeMap<(JobId, u32), (bool, Option<HostId>)>,
    /// Accounts of bad hosts, barred ones too.
    bad_accounts: Vec<AccountId>,
    bad_ids: BTreeSet<HostId>,
    outcome: Outcome,
    last_ended: JobId,
    verify: Verify,
    chains: Chains,
    /// Stretches that were run, or said to be.
    stretches: u64,
    worked_of_bad: u64,
}

pub(super) fn run(setting: &Setting, verify: Verify) -> Outcome {
    let mut world = World::new(*setting, verify);
    let bad = (f64::from(setting.hosts) * setting.bad).round() as u32;
    for n in 0..setting.hosts {
        world.join(n < bad);
    }
    for n in 0..setting.jobs {
        let count = setting.tasks / setting.jobs + u32::from(n < setting.tasks % setting.jobs);
        world.run_job(verify, count);
    }
    world.outcome()
}

/// What an honest host answers.
fn right(task: u32) -> TaskResult {
    let output = OutputAt::Object(Guid::of(&task.to_le_bytes()), 4_096);
    TaskResult { task, exit: Exit::Code(0), fuel: FUEL, output }
}

impl World {
    fn new(setting: Setting, verify: Verify) -> Self {
        let mut random = Random::new(setting.seed);
        let config = Config {
            held_hosts_max: usize::MAX,
            check_secret: Guid::of(&random.next_u64().to_le_bytes()),
            ..Config::default()
        };
        let mut world = Self {
            setting,
            complex: Complex::new(config),
            random,
            now: START,
            hosts: Vec::new(),
            by_session: BTreeMap::new(),
            sessions: 0,
            names: 0,
            buyer: AccountId(0),
            results: BTreeMap::new(),
            bad_accounts: Vec::new(),
            bad_ids: BTreeSet::new(),
            outcome: Outcome::default(),
            last_ended: JobId(0),
            verify,
            chains: Chains::default(),
            stretches: 0,
            worked_of_bad: 0,
        };
        world.buyer = world.account("buyer", MicroCredits::credits(1_000_000_000));
        world
    }

    fn account(&mut self, name: &str, welcome: MicroCredits) -> AccountId {
        let call = Call::OpenAccount { name: name.into(), welcome };
        match self.call(call) {
            Reply::Account(account) => account,
            other => panic!("an account is answered with an account, not {other:?}"),
        }
    }

    fn call(&mut self, call: Call) -> Reply {
        let reply = self.step(Input::Requested { request: RequestId(0), call });
        reply.expect("the calls of these worlds are in order")
    }

    fn step(&mut self, input: Input) -> Option<Reply> {
        let mut effects = Vec::new();
        self.complex.step(self.now, input, &mut effects);
        let mut reply = None;
        for effect in effects {
            match effect {
                Effect::Keep(Change::Results(batch)) => {
                    for accepted in batch.results {
                        let key = (batch.job, accepted.task);
                        match accepted.result {
                            Ok(result) => {
                                let is_right = result == self.right(accepted.task);
                                self.results.insert(key, (is_right, accepted.host));
                            }
                            Err(_) => _ = self.results.remove(&key),
                        }
                    }
                }
                Effect::Keep(Change::Job(job)) if job.state.is_over() => {
                    self.last_ended = self.last_ended.max(job.id);
                }
                Effect::Send(session, frame) => self.hear(session, frame),
                Effect::Close(session) => {
                    if let Some(&n) = self.by_session.get(&session) {
                        self.hosts[n].session = None;
                    }
                }
                Effect::Answer(_, answer) => reply = answer.ok(),
                Effect::Keep(_) | Effect::JobMoved(_) | Effect::Say(_) => {}
            }
        }
        reply
    }

    fn hear(&mut self, session: SessionId, frame: ToHost) {
        let Some(&n) = self.by_session.get(&session) else { return };
        match frame {
            ToHost::Grant(grants) => self.hosts[n].grants.extend(grants),
            ToHost::Resume(resumes) => {
                let resumes = resumes.into_iter().map(|it| ((it.lease, it.task), it));
                self.hosts[n].resumes.extend(resumes);
            }
            ToHost::Revoke(leases) => {
                self.hosts[n].grants.retain(|grant| !leases.contains(&grant.lease));
            }
            _ => {}
        }
    }

    /// A host of a new owner comes.
    fn join(&mut self, bad: bool) {
        self.names += 1;
        let name = format!("host{}", self.names);
        let account = self.account(&name, MicroCredits::ZERO);
        let id = HostId(PublicKey(Guid::of(name.as_bytes()).0));
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let spec = HostSpec {
            name,
            agent: "sim".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: 4,
            memory: Bytes::gib(16),
            disk: Bytes::gib(100),
            country: None,
            engine: "sim".into(),
        };
        let offer = Offer {
            cores: 4,
            memory: Bytes::gib(16),
            disk: Bytes::gib(100),
            price_min: Price(0),
            accept: Accept::Any,
            reasons: Vec::new(),
        };
        let room = Room { cores_idle: 4, ..Room::default() };
        let hello = Box::new(Hello { spec, offer, token: None, holding: Vec::new(), room });
        if bad {
            self.bad_accounts.push(account);
            self.bad_ids.insert(id);
        }
        self.by_session.insert(session, self.hosts.len());
        let (session_id, grants, resumes) = (Some(session), Vec::new(), BTreeMap::new());
        self.hosts.push(Host { session: session_id, bad, given: 0, grants, resumes, seq: 0 });
        let admission = Some(Ok(account));
        let (address, ticket) = (None, Vec::new());
        self.step(Input::HostCame {
            host: id,
            session,
            address,
            hello,
            admission,
            ticket,
            made: None,
        });
    }

    fn run_job(&mut self, verify: Verify, count: u32) {
        let mut spec = JobSpec::new(Guid::of(b"program"), Bytes(1), count);
        spec.fuel = FUEL;
        spec.verify = verify;
        let call = Call::Submit { account: self.buyer, spec: Box::new(spec), key: None };
        let Reply::Job(job) = self.call(call) else { return };
        let mut still = 0;
        while self.last_ended < job.id && still < STILL_MAX {
            self.now += ROUND;
            while self.complex.deadline().is_some_and(|at| at <= self.now) {
                self.step(Input::TimerFired);
            }
            let mut moved = false;
            for n in self.by_lot() {
                moved |= self.work(n);
            }
            self.come_back();
            still = if moved { 0 } else { still + 1 };
        }
        self.chains.clear();
    }

    /// Hosts that are there, in the order in which they speak this time. In a fixed one, cheats
    /// that came back together would stand next to each other, and be given the same tasks.
    fn by_lot(&mut self) -> Vec<usize> {
        let here = |n: &usize| self.hosts[*n].session.is_some();
        let mut order: Vec<usize> = (0..self.hosts.len()).filter(here).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        order
    }

    /// A host answers what it has time for. Says whether it answered anything.
    fn work(&mut self, n: usize) -> bool {
        let Some(session) = self.hosts[n].session else { return false };
        let mut left = 1 + self.random.below(u64::from(TASKS_A_ROUND)) as u32;
        let mut grants = std::mem::take(&mut self.hosts[n].grants);
        let mut leases = Vec::new();
        for grant in &mut grants {
            let mut results = Vec::new();
            for range in &mut grant.ranges {
                while left > 0 && !range.is_empty() {
                    results.push(match self.verify {
                        Verify::Checkpoint { stretches } => {
                            self.run_stretches(n, (grant.lease, range.start), stretches)
                        }
                        _ => self.answer(n, range.start),
                    });
                    range.start += 1;
                    left -= 1;
                }
            }
            grant.ranges.retain(|range| !range.is_empty());
            if !results.is_empty() {
                let busy = Span(results.len() as u64 * 250_000);
                let (lease, faults, returned) = (grant.lease, Vec::new(), Vec::new());
                leases.push(LeaseReport { lease, results, faults, returned, busy });
            }
        }
        grants.retain(|grant| !grant.ranges.is_empty());
        let host = &mut self.hosts[n];
        grants.append(&mut host.grants);
        host.seq += 1;
        let tasks: u32 =
            grants.iter().flat_map(|grant| &grant.ranges).map(|range| range.len()).sum();
        host.grants = grants;
        let answered = !leases.is_empty();
        let backlog = Span(u64::from(tasks) * 62_500);
        let room =
            Room { cores_idle: if tasks == 0 { 4 } else { 0 }, tasks, backlog, ..Room::default() };
        let report = Report { seq: host.seq, leases, room };
        self.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
        answered
    }

    fn answer(&mut self, n: usize, task: u32) -> TaskResult {
        let host = &mut self.hosts[n];
        let mut result = right(task);
        let strategy: Strategy = self.setting.strategy;
        let lies = host.bad && strategy.lies(host.given, &mut self.random);
        host.given += 1;
        self.outcome.executions += 1;
        self.outcome.worked_of_bad += u64::from(host.bad && !lies);
        if lies {
            let by = if strategy.colludes() { 0 } else { n as u64 };
            let made_up = [by, u64::from(task)].map(u64::to_le_bytes).concat();
            result.output = OutputAt::Object(Guid::of(&made_up), 4_096);
        }
        result
    }

    /// A host runs a long task or a part of it, and tells how far it comes.
    fn run_stretches(&mut self, n: usize, of: (LeaseId, u32), looked_at: u8) -> TaskResult {
        let host = &mut self.hosts[n];
        let resume = host.resumes.remove(&of);
        let share = if host.bad { self.setting.strategy.skipped() } else { 0.0 };
        let (who, random) = ((n as u64, share), &mut self.random);
        let ran = self.chains.run(of, resume.as_ref(), FUEL, who, random);
        let Ran { saved, result, stretches, worked, whole } = ran;
        self.stretches += u64::from(stretches);
        self.worked_of_bad += if host.bad { u64::from(worked) } else { 0 };
        if whole && worked < stretches {
            self.outcome.made_up += 1;
            self.outcome.made_up_through +=
                stretches::chance_through(stretches - worked, looked_at);
        }
        if let Some(session) = host.session {
            for saved in saved {
                let frame = ToComplex::Saved(Box::new(saved));
                self.step(Input::HostSaid { session, frame });
            }
        }
        result
    }

    fn right(&self, task: u32) -> TaskResult {
        match self.verify {
            Verify::Checkpoint { .. } => stretches::right(task, FUEL),
            _ => right(task),
        }
    }

    /// Bad hosts that were barred come back as others, if that is what they do.
    fn come_back(&mut self) {
        if !self.setting.strategy.rejoins() {
            return;
        }
        let gone = self.hosts.iter_mut().filter(|host| host.bad && host.session.is_none());
        let gone = gone.map(|host| host.bad = false).count();
        (0..gone).for_each(|_| self.join(true));
    }

    fn outcome(mut self) -> Outcome {
        self.now += MATURE;
        self.step(Input::TimerFired);
        while self.complex.deadline().is_some_and(|at| at <= self.now) {
            self.step(Input::TimerFired);
        }
        let mut outcome = self.outcome;
        outcome.executions += self.stretches.div_ceil(u64::from(STRETCHES));
        outcome.worked_of_bad += self.worked_of_bad / u64::from(STRETCHES);
        for (is_right, host) in self.results.values() {
            outcome.accepted += 1;
            outcome.wrong += u64::from(!is_right);
            outcome.of_bad += u64::from(host.is_some_and(|host| self.bad_ids.contains(&host)));
        }
        for host in self.complex.host_views(None).filter(|host| host.barred.is_some()) {
            let bad = self.bad_ids.contains(&host.id);
            *if bad { &mut outcome.caught } else { &mut outcome.barred_wrongly } += 1;
        }
        let earned = |account| self.complex.account_view(account).map_or(0, |view| view.received.0);
        let paid: i64 = self.bad_accounts.iter().map(|&account| earned(account)).sum();
        let earning = Config::default().price.earning(FUEL).0;
        let each = earning - earning * i64::from(Config::default().fee_bps) / 10_000;
        outcome.paid_of_bad = paid as f64 / each as f64;
        outcome
    }
}
