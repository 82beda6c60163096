//! Stories of a complex and its hosts, with a database in memory and time by hand.

use std::collections::BTreeMap;

use isos_base::api::ProblemCode;
use isos_base::checkpoint::Resume;
use isos_base::fragment::ProofAsked;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::job::{JobSpec, Verify};
use isos_base::key::PublicKey;
use isos_base::peers::Peers;
use isos_base::price::Price;
use isos_base::random::Random;
use isos_base::record::{JobState, Tables, system};
use isos_base::storage::LeaseNews;
use isos_base::storage::MendOrder;
use isos_base::task::{Exit, Fault, Output, OutputAt, TaskResult};
use isos_base::wire::{Grant, Hello, LeaseReport, Report, Room, ToComplex, ToHost};
use isos_base::{
    AccountId, Bytes, Fuel, Guid, HostId, JobId, LeaseId, Machine, MicroCredits, Span, TaskRange,
    Time,
};

use super::*;

mod bank;
mod bonds;
mod bounds;
mod crowd;
mod demurrage;
mod explain;
mod faults;
mod market;
mod parts;
mod peers;
mod rights;
mod segment;
mod slice;
mod storage;
mod trust;

/// A host of the test: what it was granted, and whether it lies.
#[derive(Default, Clone)]
struct TestHost {
    session: Option<SessionId>,
    grants: Vec<Grant>,
    resumes: Vec<Resume>,
    peers: Vec<Peers>,
    news: Vec<LeaseNews>,
    asked: Vec<ProofAsked>,
    orders: Vec<MendOrder>,
    lies: bool,
    barred: bool,
    asleep: bool,
    seq: u64,
}

struct World {
    complex: Complex,
    tables: Tables,
    now: Time,
    hosts: BTreeMap<u8, TestHost>,
    sessions: u64,
    answers: Vec<Result<Reply, Problem>>,
    memory: Bytes,
    /// Time of a task on any host.
    task: Span,
}

fn host_id(n: u8) -> HostId {
    HostId(PublicKey([n; 32]))
}

fn job(count: u32) -> JobSpec {
    let mut spec = JobSpec::new(Guid::of(b"program"), Bytes(7), count);
    spec.fuel = Fuel(1_000_000_000);
    spec.verify = Verify::Trusted;
    spec
}

fn quorum(count: u32) -> JobSpec {
    JobSpec { verify: Verify::Quorum { agree: 2, of: 3 }, ..job(count) }
}

fn right_answer(task: u32) -> TaskResult {
    let output = Output { stdout: task.to_string().into_bytes(), ..Output::default() };
    TaskResult {
        task,
        exit: Exit::Code(0),
        fuel: Fuel(10_000_000 + u64::from(task)),
        output: OutputAt::Inline(output.encode()),
    }
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let mut world = Self {
            complex: Complex::new(config),
            tables: Tables::default(),
            now: Time(1_000_000_000),
            hosts: BTreeMap::new(),
            sessions: 0,
            answers: Vec::new(),
            memory: Bytes::gib(4),
            task: Span::millis(1),
        };
        let welcome = MicroCredits::credits(1_000);
        world.call(Call::OpenAccount { name: "buyer".into(), welcome }).expect("a fresh name");
        world
    }

    fn buyer(&self) -> AccountId {
        self.complex.account_named("buyer").unwrap()
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.complex.step(self.now, input, &mut effects);
        self.carry_out(effects);
        self.complex.check_invariants();
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Keep(change) => self.tables.apply(&change),
                Effect::Answer(_, answer) => self.answers.push(answer),
                Effect::Send(session, frame) => {
                    let host = self.hosts.values_mut().find(|h| h.session == Some(session));
                    let Some(host) = host else { continue };
                    match frame {
                        ToHost::Grant(grants) => host.grants.extend(grants),
                        ToHost::Revoke(leases) => {
                            host.grants.retain(|grant| !leases.contains(&grant.lease));
                        }
                        ToHost::Refused(_) => host.barred = true,
                        ToHost::Sleep(_) => host.asleep = true,
                        ToHost::Welcome { .. }
                        | ToHost::Job(_)
                        | ToHost::Ack { .. }
                        | ToHost::Servers(_) => {}
                        ToHost::Storage(news) => host.news.extend(news),
                        ToHost::Prove(asked) => host.asked.push(asked),
                        ToHost::Mend(order) => host.orders.push(*order),
                        ToHost::Introduced(_) => panic!("the machine introduces nobody"),
                        ToHost::Resume(resumes) => host.resumes.extend(resumes),
                        ToHost::Peers(peers) => host.peers.push(*peers),
                    }
                }
                Effect::Close(session) => {
                    for host in self.hosts.values_mut().filter(|h| h.session == Some(session)) {
                        host.session = None;
                    }
                }
                Effect::JobMoved(_) | Effect::Say(_) => {}
            }
        }
    }

    fn call(&mut self, call: Call) -> Result<Reply, Problem> {
        self.step(Input::Requested { request: RequestId(0), call });
        self.answers.pop().expect("every call is answered")
    }

    fn submit(&mut self, spec: JobSpec) -> JobId {
        let call = Call::Submit { account: self.buyer(), spec: Box::new(spec), key: None };
        match self.call(call) {
            Ok(Reply::Job(view)) => view.id,
            other => panic!("not submitted: {other:?}"),
        }
    }

    fn offer(&self) -> Offer {
        Offer {
            cores: 2,
            memory: self.memory,
            disk: Bytes::gib(1),
            price_min: Price(0),
            accept: Accept::Any,
            reasons: Vec::new(),
        }
    }

    fn join(&mut self, n: u8) {
        self.come(n, &format!("owner{n}"), |_| {});
    }

    /// A host comes, with a token of the account of this name.
    fn come(&mut self, n: u8, owner: &str, change: impl FnOnce(&mut Hello)) {
        let name = owner.to_owned();
        let Ok(Reply::Account(account)) =
            self.call(Call::OpenAccount { name, welcome: MicroCredits::ZERO })
        else {
            panic!("no account")
        };
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let host = self.hosts.entry(n).or_default();
        host.session = Some(session);
        host.asleep = false;
        let holding = host.grants.iter().map(|grant| grant.lease).collect();
        let spec = HostSpec {
            name: format!("host{n}"),
            agent: "0.1.0".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: 2,
            memory: self.memory,
            disk: Bytes::gib(1),
            country: None,
            engine: "test".into(),
        };
        let room = Room { cores_idle: 2, ..Room::default() };
        let mut hello = Hello { spec, offer: self.offer(), token: None, holding, room };
        change(&mut hello);
        self.step(Input::HostCame {
            host: host_id(n),
            session,
            address: None,
            hello: Box::new(hello),
            admission: Some(Ok(account)),
            ticket: vec![vec![n]],
            made: None,
        });
    }

    fn leave(&mut self, n: u8) {
        if let Some(session) = self.hosts.get_mut(&n).unwrap().session.take() {
            self.step(Input::HostWent { session });
        }
    }

    /// A host does all (or some) of what it was granted and reports it.
    fn work(&mut self, n: u8, tasks_max: usize) -> usize {
        let host = self.hosts.get_mut(&n).unwrap();
        let Some(session) = host.session else {
            return 0;
        };
        let lies = host.lies;
        let mut left = tasks_max;
        let mut leases = Vec::new();
        for grant in &mut host.grants {
            let mut results = Vec::new();
            for range in &mut grant.ranges {
                while left > 0 && !range.is_empty() {
                    let mut result = right_answer(range.start);
                    if lies {
                        result.fuel.0 += 1;
                    }
                    results.push(result);
                    range.start += 1;
                    left -= 1;
                }
            }
            grant.ranges.retain(|range| !range.is_empty());
            let busy = Span(self.task.0 * results.len() as u64);
            let (faults, returned) = (Vec::new(), Vec::new());
            leases.push(LeaseReport { lease: grant.lease, results, faults, returned, busy });
        }
        host.grants.retain(|grant| !grant.ranges.is_empty());
        host.seq += 1;
        let tasks: u32 = host.grants.iter().flat_map(|g| &g.ranges).map(TaskRange::len).sum();
        let room = Room { cores_idle: if tasks == 0 { 2 } else { 0 }, tasks, ..Room::default() };
        let report = Report { seq: host.seq, leases, room };
        self.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
        tasks_max - left
    }

    /// Everybody works until nothing moves any more.
    fn run(&mut self) {
        for _ in 0..10_000 {
            self.now += Span::millis(10);
            let hosts: Vec<u8> = self.hosts.keys().copied().collect();
            if hosts.into_iter().map(|n| self.work(n, usize::MAX)).sum::<usize>() == 0 {
                return;
            }
        }
        panic!("the world never comes to rest");
    }

    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(at) = self.complex.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::TimerFired);
        }
        self.now = end;
    }

    /// The server is killed and another starts from the database.
    fn restart(&mut self) {
        let mut effects = Vec::new();
        let config = self.complex.config.clone();
        self.complex = Complex::restore(config, self.now, self.tables.snapshot(), &mut effects)
            .expect("what was kept makes a complex");
        self.complex.check_invariants();
        self.hosts.values_mut().for_each(|host| host.session = None);
        self.carry_out(effects);
    }

    fn state(&self, job: JobId) -> JobState {
        self.tables.jobs[&job].state
    }

    fn balance(&self, name: &str) -> i64 {
        let account = self.complex.account_named(name).unwrap();
        let view = self.complex.account_view(account).unwrap();
        view.available.0 + view.held.0
    }

    fn assert_all_right(&self, job: JobId) {
        let count = self.tables.jobs[&job].spec.count;
        let mut seen = vec![false; count as usize];
        for accepted in self.tables.results_of(job) {
            assert!(!std::mem::replace(&mut seen[accepted.task as usize], true), "accepted twice");
            assert_eq!(accepted.result.as_ref().unwrap(), &right_answer(accepted.task));
        }
        assert!(seen.into_iter().all(|seen| seen), "a task is missing");
    }
}

#[test]
fn a_job_runs_on_two_hosts_and_the_money_adds_up() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(job(1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.assert_all_right(job);
    let fuel: u64 = (0..1_000).map(|task| 10_000_000 + task).sum();
    let spent = MicroCredits::credits(1_000).0 - world.balance("buyer");
    let exact = fuel as f64 * 100.0 / 1e9;
    assert!(spent as f64 >= exact && (spent as f64) < exact + 100.0, "{spent} for {exact}");
    let earned = world.balance("owner1") + world.balance("owner2");
    assert!(earned > spent * 95 / 100 && earned < spent);
    let system = [system::ESCROW, system::FEES, system::ROUNDING]
        .map(|id| world.complex.account_view(id).unwrap().available.0);
    assert_eq!(system[0], 0, "nothing stays in escrow");
    assert_eq!(spent, earned + system[1] + system[2]);
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn a_host_that_dies_loses_its_tasks_to_others_and_no_task_is_lost() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let job = world.submit(job(300));
    world.work(1, 2);
    world.hosts.get_mut(&1).unwrap().grants.clear();
    world.leave(1);
    world.run();
    assert_eq!(world.state(job), JobState::Active);
    world.pass(Span::secs(31));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.assert_all_right(job);
    assert_eq!(world.complex.host_view(host_id(1)).unwrap().good, 2);
}

#[test]
fn a_host_that_comes_back_in_time_keeps_its_tasks() {
    let mut world = World::new();
    world.join(1);
    let job = world.submit(job(8));
    world.leave(1);
    world.pass(Span::secs(5));
    world.join(1);
    world.run();
    world.assert_all_right(job);
    assert_eq!(world.complex.host_view(host_id(1)).unwrap().lost, 0);
}

#[test]
fn a_liar_is_found_by_the_quorum_unpaid_and_barred() {
    let mut world = World::new();
    (1..=4).for_each(|n| world.join(n));
    world.hosts.get_mut(&3).unwrap().lies = true;
    let job = world.submit(quorum(200));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.assert_all_right(job);
    assert_eq!(world.balance("owner3"), 0);
    let liar = world.complex.host_view(host_id(3)).unwrap();
    assert!(liar.barred.unwrap().contains("2 independent hosts agree"));
    assert!(world.hosts[&3].barred);
    for honest in ["owner1", "owner2", "owner4"] {
        assert!(world.balance(honest) > 0);
    }
    world.join(3);
    assert_eq!(world.hosts[&3].session, None, "it may not come back");
}

#[test]
fn two_hosts_of_one_owner_are_not_independent() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    let account = world.complex.account_named("owner1").unwrap();
    world.complex.hosts.get_mut(&host_id(2)).unwrap().record.account = account;
    world.complex.recount(host_id(2));
    let job = world.submit(quorum(20));
    world.run();
    assert_eq!(world.state(job), JobState::Active);
    let waiting = world.complex.explain_job(job).unwrap();
    assert!(waiting.verdict.contains("20"), "{}", waiting.verdict);
    world.join(3);
    world.run();
    assert_eq!(world.state(job), JobState::Done);
}

#[test]
fn a_killed_server_loses_nothing_that_it_had_acknowledged() {
    for spec in [job(500), quorum(500)] {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        let job = world.submit(spec);
        for round in 0..40 {
            world.now += Span::millis(10);
            let n = 1 + round % 3;
            world.work(n, 7);
            if round % 5 == 4 {
                world.restart();
                (1..=3).for_each(|n| world.join(n));
            }
        }
        world.run();
        assert_eq!(world.state(job), JobState::Done);
        world.assert_all_right(job);
        let views: i64 = world.complex.account_views().map(|a| a.received.0 - a.paid.0).sum();
        assert_eq!(views, 0);
    }
}

#[test]
fn failing_attempts_are_retried_elsewhere_and_given_up_in_the_end() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(job(1));
    for _ in 0..5 {
        let n = if world.hosts[&1].grants.is_empty() { 2 } else { 1 };
        let host = world.hosts.get_mut(&n).unwrap();
        let Some(grant) = host.grants.pop() else {
            break;
        };
        let leases = vec![LeaseReport {
            lease: grant.lease,
            results: Vec::new(),
            faults: vec![(0, Fault::NoMemory)],
            returned: Vec::new(),
            busy: Span::ZERO,
        }];
        let room = Room { cores_idle: 2, ..Room::default() };
        let session = host.session.unwrap();
        let report = ToComplex::Report(Report { seq: 1, leases, room });
        world.step(Input::HostSaid { session, frame: report });
    }
    assert_eq!(world.state(job), JobState::Failed);
    let given_up = world.tables.results_of(job).next().unwrap().result.clone().unwrap_err();
    assert!(given_up.contains("5 attempts") && given_up.contains("memory"), "{given_up}");
}

#[test]
fn a_job_that_no_host_can_run_says_why_for_every_class() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.memory = Bytes::gib(1);
    world.join(3);
    let job = world.submit(JobSpec { memory: Bytes::gib(64), ..job(2) });
    world.run();
    let why = world.complex.explain_job(job).unwrap();
    let text: Vec<_> =
        why.reasons.iter().map(|reason| format!("{}: {}", reason.about, reason.why)).collect();
    expect_test::expect![[r#"
        waiting: none of 3 hosts can run it now
        2 hosts (linux x86_64, 2 cores, 4 GiB): a task needs 64 GiB of memory, its owner lends 4 GiB at most
        1 host (linux x86_64, 2 cores, 1 GiB): a task needs 64 GiB of memory, its owner lends 1 GiB at most"#]]
    .assert_eq(&format!("{}\n{}", why.verdict, text.join("\n")));
}

#[test]
fn money_limits_what_runs_at_once_but_not_what_can_be_done() {
    let mut world = World::new();
    world.join(1);
    let each = 100;
    let job = world.submit(JobSpec { price_max: Some(MicroCredits(5 * each)), ..job(100) });
    let out = world.complex.host_view(host_id(1)).unwrap().tasks;
    assert_eq!(out, 5);
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    let spec = JobSpec { price_max: Some(MicroCredits(99)), ..self::job(1) };
    let call = Call::Submit { account: world.buyer(), spec: Box::new(spec), key: None };
    assert!(world.call(call).unwrap_err().message.contains("--max-price"));
    let spec = JobSpec { fuel: Fuel(1_000_000_000_000_000), ..self::job(100_000) };
    let call = Call::Submit { account: world.buyer(), spec: Box::new(spec), key: None };
    assert!(world.call(call).unwrap_err().message.contains("account 100 has"));
}

#[test]
fn the_same_key_gives_the_same_job() {
    let mut world = World::new();
    let account = world.buyer();
    let submit =
        |spec: JobSpec| Call::Submit { account, spec: Box::new(spec), key: Some("once".into()) };
    let first = world.call(submit(job(3))).unwrap();
    assert_eq!(world.call(submit(job(3))).unwrap(), first);
    world.restart();
    assert_eq!(world.call(submit(job(3))).unwrap(), first);
    assert_eq!(world.call(submit(job(4))).unwrap_err().code, ProblemCode::Usage);
}

#[test]
fn the_same_key_grants_credits_once_and_is_no_key_of_a_job() {
    let mut world = World::new();
    let account = world.buyer();
    let grant = |amount: i64| Call::Mint {
        account,
        amount: MicroCredits(amount),
        why: "a prize".into(),
        key: Some("once".into()),
        by: account,
    };
    let received = |world: &World| world.complex.account_view(account).unwrap().received.0;
    let before = received(&world);
    let Ok(Reply::Credited(view)) = world.call(grant(5)) else { panic!("not granted") };
    assert_eq!(view.received.0, before + 5);
    world.call(grant(5)).unwrap();
    world.restart();
    world.call(grant(5)).unwrap();
    assert_eq!(received(&world), before + 5);
    assert_eq!(world.call(grant(6)).unwrap_err().code, ProblemCode::Usage);
    let submit = Call::Submit { account, spec: Box::new(job(3)), key: Some("once".into()) };
    assert!(world.call(submit).is_ok(), "keys of jobs are apart");
}

#[test]
fn a_cancelled_job_pays_what_was_done_and_releases_the_rest() {
    let mut world = World::new();
    world.join(1);
    let job = world.submit(job(100));
    world.work(1, 3);
    let Ok(Reply::Job(view)) = world.call(Call::Cancel { job }) else { panic!("not cancelled") };
    assert_eq!((view.state, view.tasks.done, view.tasks.given_up), (JobState::Cancelled, 3, 97));
    assert!(world.hosts[&1].grants.is_empty(), "its lease was revoked");
    assert!(world.balance("owner1") > 0);
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn idle_hosts_beyond_the_limit_are_sent_to_sleep() {
    let config = Config { held_hosts_max: 2, ..Config::default() };
    let mut world = World::with(config);
    (1..=5).for_each(|n| world.join(n));
    assert_eq!(world.hosts.values().filter(|host| host.asleep).count(), 3);
    let job = world.submit(job(10));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
}

#[test]
fn a_program_that_cannot_run_ends_the_job_once_two_hosts_say_so() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let job = world.submit(job(1_000));
    for n in 1..=2 {
        let host = world.hosts.get_mut(&n).unwrap();
        let Some(grant) = host.grants.pop() else {
            continue;
        };
        let task = grant.ranges[0].start;
        let leases = vec![LeaseReport {
            lease: grant.lease,
            results: Vec::new(),
            faults: vec![(task, Fault::BadProgram("unknown import env.foo".into()))],
            returned: grant.ranges,
            busy: Span::ZERO,
        }];
        let session = host.session.unwrap();
        let report = Report { seq: 1, leases, room: Room::default() };
        world.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
    }
    assert_eq!(world.state(job), JobState::Failed);
    let why = world.tables.jobs[&job].why.clone().unwrap();
    assert!(why.contains("unknown import env.foo"), "{why}");
    assert_eq!(world.tables.results_of(job).count(), 0, "no row a task");
}

/// Hosts that work, lie, vanish, return, restart of the server: whatever the order, no task is
/// lost, none is accepted twice, the money is conserved, and the database makes the same complex.
#[test]
fn no_order_of_events_breaks_it() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut world = World::new();
        (1..=6).for_each(|n| world.join(n));
        world.hosts.get_mut(&6).unwrap().lies = true;
        let jobs = [quorum(40), quorum(150)].map(|spec| world.submit(spec));
        let trusted = world.submit(job(60));
        world.hosts.get_mut(&6).unwrap().lies = !seed.is_multiple_of(3);
        for _ in 0..300 {
            world.now += Span::millis(random.below(2_000));
            let n = 1 + random.below(6) as u8;
            match random.below(12) {
                0 => world.leave(n),
                1 => {
                    world.hosts.get_mut(&n).unwrap().grants.clear();
                    world.leave(n);
                }
                2..=3 => world.join(n),
                4 => world.pass(Span::secs(random.below(40))),
                5 if random.one_in(4) => world.restart(),
                _ => _ = world.work(n, random.below(30) as usize),
            }
        }
        (1..=6).for_each(|n| world.join(n));
        world.pass(Span::secs(3_600));
        (1..=6).for_each(|n| world.join(n));
        world.run();
        for job in jobs {
            assert_eq!(world.state(job), JobState::Done, "seed {seed}");
            world.assert_all_right(job);
        }
        assert_eq!(world.state(trusted), JobState::Done, "seed {seed}");
        let held: i64 = world.complex.account_views().map(|account| account.held.0).sum();
        assert_eq!(held, 0, "seed {seed}");
        let before: Vec<_> = world.complex.account_views().collect();
        world.restart();
        assert_eq!(world.complex.account_views().collect::<Vec<_>>(), before);
    }
}

#[test]
fn garbage_from_hosts_changes_nothing() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(job(50));
    let before = world.complex.job_view(job).unwrap();
    let lease = world.hosts[&1].grants[0].lease;
    let session = world.hosts[&2].session.unwrap();
    for (lease, task) in [(lease, 0), (LeaseId(999), 0), (lease, u32::MAX)] {
        let mut result = right_answer(0);
        result.task = task;
        let leases = vec![LeaseReport {
            lease,
            results: vec![result],
            faults: vec![(u32::MAX, Fault::NoMemory)],
            returned: vec![TaskRange::new(9, 2), TaskRange::new(0, u32::MAX)],
            busy: Span(u64::MAX),
        }];
        let room = Room {
            cores_idle: u16::MAX,
            tasks: u32::MAX,
            backlog: Span(u64::MAX),
            ..Room::default()
        };
        let report = Report { seq: u64::MAX, leases, room };
        world.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
    }
    assert_eq!(world.complex.job_view(job).unwrap().tasks.done, before.tasks.done);
    world.step(Input::HostSaid { session: SessionId(77), frame: ToComplex::Goodbye });
    world.run();
    assert_eq!(world.state(job), JobState::Done);
}
