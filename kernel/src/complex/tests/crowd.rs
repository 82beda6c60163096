//! Questions about where work could run, among very many hosts: they look at kinds, not at hosts.

use super::*;
use crate::complex::crowd::KINDS_LOOKED_AT_MAX;
use crate::complex::place::LOOKED_AT;

/// As many hosts are kept connected.
const HELD: usize = 500;

/// The number of a host among many, in front of its key.
fn key(n: u32) -> HostId {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    HostId(PublicKey(key))
}

/// A complex to which so many hosts have come, of a hundred owners and four kinds of machine.
fn crowd(hosts: u32, change: impl Fn(u32, &mut Hello)) -> World {
    let mut world = World::with(Config { held_hosts_max: HELD, ..Config::default() });
    let account = |world: &mut World, n: u32| {
        let call = Call::OpenAccount { name: format!("owner{n}"), welcome: MicroCredits::ZERO };
        let Ok(Reply::Account(account)) = world.call(call) else { panic!("no account") };
        account
    };
    let accounts: Vec<AccountId> = (0..100).map(|n| account(&mut world, n)).collect();
    let ToComplex::Hello(hello) = hello(&world) else { unreachable!("it is one") };
    for n in 0..hosts {
        let mut hello = hello.clone();
        hello.spec.name = format!("host{n}");
        hello.spec.cpus = 2 + n as u16 % 4;
        change(n, &mut hello);
        let account = accounts[n as usize % 100];
        let (host, session) = (key(n), SessionId(u64::from(n) + 1_000));
        let admission = Some(Ok(account));
        let ticket = Vec::new();
        let came =
            Input::HostCame { host, session, address: None, hello, admission, ticket, made: None };
        world.complex.step(world.now, came, &mut Vec::new());
    }
    world.complex.check_crowd_anew();
    world
}

fn hello(world: &World) -> ToComplex {
    let spec = HostSpec {
        name: String::new(),
        agent: "0.1.0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 2,
        memory: world.memory,
        disk: Bytes::gib(1),
        country: None,
        engine: "test".into(),
    };
    let room = Room { cores_idle: 2, ..Room::default() };
    let (offer, holding) = (world.offer(), Vec::new());
    ToComplex::Hello(Box::new(Hello { spec, offer, token: None, holding, room }))
}

/// How many hosts, or many alike, a question looks at.
fn looks<T>(ask: impl FnOnce() -> T) -> (usize, T) {
    LOOKED_AT.set(0);
    let answer = ask();
    (LOOKED_AT.get(), answer)
}

/// What each question looks at, by its name.
fn looks_of_questions(hosts: u32) -> Vec<(&'static str, usize)> {
    let mut world = crowd(hosts, |_, _| {});
    let buyer = world.buyer();
    let spec = || JobSpec { constraint: Some("host.cpus >= 4".into()), ..quorum(10) };
    let (planned, plan) = looks(|| world.complex.plan(buyer, &spec()).unwrap());
    let here = world.complex.sessions.values();
    let able = here.filter(|id| world.complex.hosts[id].record.spec.cpus >= 4);
    assert_eq!(plan.hosts, able.count() as u32, "and still all of them are counted");
    assert_eq!(plan.cores, plan.hosts * 2);
    let unseen = |reason: &&isos_base::api::ReasonView| reason.about.contains("not looked at");
    assert_eq!(plan.obstacles.iter().find(unseen), None);
    let id = world.submit(JobSpec { memory: Bytes::gib(64), ..spec() });
    let (explained, why) = looks(|| world.complex.explain_job(id).unwrap());
    assert_eq!(why.verdict, format!("waiting: none of {hosts} hosts can run it now"));
    let (named, found) = looks(|| world.complex.hosts_like("host7"));
    assert_eq!(found, [key(7)]);
    let prefix: String = key(9).to_string().chars().take(7).collect();
    let (begun, found) = looks(|| world.complex.hosts_like(&prefix));
    assert_eq!(found, [key(9)]);
    let owner = world.complex.account_named("owner99").unwrap();
    let (earned, first) = looks(|| world.complex.hosts_of(owner).take(1).count());
    assert_eq!(first, 1);
    vec![
        ("plan", planned),
        ("explain a job", explained),
        ("a host by name", named),
        ("a host by its key's beginning", begun),
        ("earnings", earned),
    ]
}

#[test]
fn ten_thousand_hosts_matter_to_no_question() {
    let few = looks_of_questions(600);
    let many = looks_of_questions(10_000);
    assert_eq!(few, many);
    assert!(many.iter().all(|(_, looked)| *looked < 50), "{many:?}");
    // And that of an account to its own hosts alone.
    let world = crowd(10_000, |_, _| {});
    let owner = world.complex.account_named("owner99").unwrap();
    let (looked, _) = looks(|| world.complex.explain_account(owner).unwrap());
    assert_eq!(looked, 200, "a hundred hosts, for bars and for pay");
}

#[test]
fn who_oversleeps_is_away_and_who_comes_is_there_again() {
    let mut world = crowd(600, |_, _| {});
    let buyer = world.buyer();
    let spec = JobSpec { memory: Bytes::gib(1), ..job(1) };
    let about = |world: &World, what: &str| {
        let plan = world.complex.plan(buyer, &spec).unwrap();
        plan.obstacles.iter().filter(|reason| reason.why.starts_with(what)).count()
    };
    assert_eq!((about(&world, "asleep"), about(&world, "not connected")), (4, 0));
    world.pass(Span::secs(1_000));
    world.step(Input::TimerFired);
    assert_eq!((about(&world, "asleep"), about(&world, "not connected")), (0, 4));
    world.complex.check_crowd_anew();
}

#[test]
fn hosts_that_all_differ_are_not_all_looked_at_and_that_is_said() {
    let extra = 50;
    let hosts = KINDS_LOOKED_AT_MAX as u32 + extra;
    let differ = |n: u32, hello: &mut Hello| hello.offer.memory = Bytes(1 << 30 | u64::from(n));
    let mut world = crowd(0, |_, _| {});
    world.complex.config.held_hosts_max = 10_000;
    let ToComplex::Hello(hello) = hello(&world) else { unreachable!("it is one") };
    for n in 0..hosts {
        let mut hello = hello.clone();
        differ(n, &mut hello);
        let (host, session) = (key(n), SessionId(u64::from(n) + 1_000));
        let admission = Some(Ok(world.buyer()));
        let ticket = Vec::new();
        let came =
            Input::HostCame { host, session, address: None, hello, admission, ticket, made: None };
        world.complex.step(world.now, came, &mut Vec::new());
    }
    let spec = JobSpec { memory: Bytes::gib(1), ..job(1) };
    let (looked, plan) = looks(|| world.complex.plan(world.buyer(), &spec).unwrap());
    assert_eq!(plan.hosts, KINDS_LOOKED_AT_MAX as u32);
    assert_eq!(looked, 2 * KINDS_LOOKED_AT_MAX, "once for what is in the way, once for who fits");
    let told: Vec<_> =
        plan.obstacles.iter().map(|it| format!("{}: {}", it.about, it.why)).collect();
    expect_test::expect![
        "50 more hosts were not looked at: they differ in too many ways to look at all of them"
    ]
    .assert_eq(&told.join("\n"));
    let by_name = JobSpec { constraint: Some("host.name != 'x'".into()), ..spec };
    let plan = world.complex.plan(world.buyer(), &by_name).unwrap();
    assert_eq!(plan.hosts, 1_024);
    let told: Vec<_> =
        plan.obstacles.iter().map(|it| format!("{}: {}", it.about, it.why)).collect();
    expect_test::expect![
        "50 more hosts were not looked at: the constraint speaks of names, so that each host would \
         have to be looked at"
    ]
    .assert_eq(&told.join("\n"));
}

#[test]
fn a_host_that_a_job_avoids_is_told_apart_from_those_that_are_like_it() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let id = world.submit(JobSpec { memory: Bytes::gib(64), ..job(5) });
    let avoided = ask::Avoided {
        count: 3,
        why: "its disk is full".into(),
        until: world.now + Span::secs(60),
        wrong: false,
    };
    world.complex.jobs.get_mut(&id).unwrap().avoid.insert(host_id(2), avoided);
    let why = world.complex.explain_job(id).unwrap();
    let short = |why: &str| why.split(", its").next().unwrap_or_default().to_owned();
    let hosts = why.reasons.iter().map(|it| format!("{}: {}", it.about, short(&it.why)));
    let hosts: Vec<_> = hosts.filter(|it| it.contains("linux")).collect();
    expect_test::expect![[r#"
        2 hosts (linux x86_64, 2 cores, 4 GiB): a task needs 64 GiB of memory
        1 host (linux x86_64, 2 cores, 4 GiB): a task needs 64 GiB of memory
        1 host (linux x86_64, 2 cores, 4 GiB): its disk is full"#]]
    .assert_eq(&hosts.join("\n"));
    assert_eq!(why.verdict, "waiting: none of 3 hosts can run it now");
}

#[test]
fn whatever_hosts_do_each_is_counted_as_what_it_is() {
    let mut random = Random::new(7);
    let mut world = World::with(Config { held_hosts_max: 3, ..Config::default() });
    world.submit(JobSpec { memory: Bytes::gib(64), ..job(5) });
    for _ in 0..600 {
        let n = random.below(12) as u8 + 1;
        match random.below(5) {
            0 | 1 => {
                let cores = random.below(3) as u16;
                let owner = format!("owner{}", random.below(3));
                world.come(n, &owner, |hello| hello.offer.cores = cores);
            }
            2 if world.hosts.contains_key(&n) => world.leave(n),
            3 => {
                let session = world.hosts.get(&n).and_then(|host| host.session);
                let reasons = vec![format!("until {}", random.below(2))];
                let offer = Offer { cores: random.below(3) as u16, reasons, ..world.offer() };
                if let Some(session) = session {
                    world.step(Input::HostSaid { session, frame: ToComplex::Offer(offer) });
                }
            }
            _ => {
                world.now += Span::millis(random.below(3_000));
                world.step(Input::TimerFired);
            }
        }
        world.complex.check_crowd_anew();
    }
    let sleeps = world.complex.hosts.values().any(|host| host.wakes > world.complex.now);
    assert!(sleeps || world.hosts.values().any(|host| host.asleep), "some were sent to sleep");
}
