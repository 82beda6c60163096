//! Why: each situation a small story, each answer as it is read.

use expect_test::{Expect, expect};
use isos_base::api::Explanation;
use isos_base::sensors::{Power, Reading, Sensors};

use super::*;
use crate::policy::{MachineCaps, Override, Policy, Standing};

mod money;
mod work;

/// Tuesday, 2026-11-17, 12:00 UTC.
const NOON: Time = Time(1_794_916_800_000_000);

fn world() -> World {
    let mut world = World::new();
    world.now = NOON;
    world
}

fn told(explanation: &Explanation, expected: &Expect) {
    let mut text = format!("{}: {}\n", explanation.about, explanation.verdict);
    for reason in &explanation.reasons {
        text += &format!("  {}: {}\n", reason.about, reason.why);
        if let Some(remedy) = &reason.remedy {
            text += &format!("    -> {remedy}\n");
        }
    }
    expected.assert_eq(&text);
}

fn why(world: &mut World, job: JobId, expected: &Expect) {
    told(&world.complex.explain_job(job).expect("a job that is known"), expected);
}

fn why_host(world: &World, n: u8, expected: &Expect) {
    told(&world.complex.explain_host(host_id(n), true).expect("a host that is known"), expected);
}

/// The same for who is neither its owner nor an operator.
fn why_anothers_host(world: &World, n: u8, expected: &Expect) {
    told(&world.complex.explain_host(host_id(n), false).expect("a host that is known"), expected);
}

fn why_account(world: &World, name: &str, expected: &Expect) {
    let account = world.complex.account_named(name).expect("an account that is known");
    told(&world.complex.explain_account(account).expect("as above"), expected);
}

/// A host comes whose owner has this policy, with these readings, and says this.
fn come_by(world: &mut World, n: u8, policy: &str, sensors: &Sensors, word: &Override) {
    let policy = Policy::parse(policy).expect("a policy of these tests");
    let caps = MachineCaps { cpus: 2, memory: Bytes::gib(16), disk: Bytes::gib(500), parts: false };
    let decision = policy.evaluate(sensors, world.now, word, &caps, &Standing::default());
    let offer = policy.offer(&decision);
    world.come(n, &format!("owner{n}"), |hello| hello.offer = offer);
}

/// A host reports something else than results about the first of its grants.
fn report(world: &mut World, n: u8, change: impl FnOnce(&Grant, &mut LeaseReport)) {
    let host = world.hosts.get_mut(&n).unwrap();
    let grant = host.grants.remove(0);
    let mut news = LeaseReport {
        lease: grant.lease,
        results: Vec::new(),
        faults: Vec::new(),
        returned: Vec::new(),
        busy: Span::ZERO,
    };
    change(&grant, &mut news);
    let session = host.session.unwrap();
    let room = Room { cores_idle: 2, ..Room::default() };
    let report = ToComplex::Report(Report { seq: 1, leases: vec![news], room });
    world.step(Input::HostSaid { session, frame: report });
}

fn credible(count: u32, error_ppm: u32) -> JobSpec {
    JobSpec { verify: Verify::Credibility { error_ppm }, ..job(count) }
}

#[test]
fn no_host_has_joined() {
    let mut world = world();
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: waiting: there are no hosts
          hosts: no host has joined this complex
            -> run `isos ticket`, and `isos join TICKET` on a machine
    "#]],
    );
}

#[test]
fn no_host_has_the_memory() {
    let mut world = world();
    (1..=2).for_each(|n| world.join(n));
    let id = world.submit(JobSpec { memory: Bytes::gib(64), ..job(3) });
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: waiting: none of 2 hosts can run it now
          2 hosts (linux x86_64, 2 cores, 4 GiB): a task needs 64 GiB of memory, its owner lends 4 GiB at most
            -> lower --memory, or wait for a larger host
    "#]],
    );
}

#[test]
fn no_host_meets_the_constraint_and_one_lacks_memory_too() {
    let mut world = world();
    world.join(1);
    let constraint = Some("host.country == \"FI\"".into());
    let id = world.submit(JobSpec { constraint, memory: Bytes::gib(8), ..job(3) });
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: waiting: the only host cannot run it now
          1 host (linux x86_64, 2 cores, 4 GiB): a task needs 8 GiB of memory, its owner lends 4 GiB at most
            -> lower --memory, or wait for a larger host
          1 host (linux x86_64, 2 cores, 4 GiB): it does not fit --where "host.country == \"FI\""
            -> relax --where
    "#]],
    );
}

#[test]
fn the_price_is_too_low_until_six_in_the_evening() {
    let mut world = world();
    let policy = "[[window]]\nname = \"office\"\nhours = \"09:00-18:00\"\nprice_min = 2000\n";
    come_by(&mut world, 1, policy, &Sensors::idle_machine(), &Override::None);
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: waiting: the only host cannot run it now
              1 host (linux x86_64, 2 cores, 4 GiB): its owner wants 2000 micro-credits per gigafuel (until Tue 18:00), the job pays 100
                -> wait for its cheaper hours, or for hosts that ask less: `isos explain price`
        "#]],
    );
    told(
        &world.complex.explain_price(),
        &expect![[r#"
            price: 100 micro-credits per gigafuel: 0 of 1 host lending something now would work for it, with 0 cores
              posted price: new jobs pay 100 micro-credits per gigafuel, by the operator's --price; what was submitted keeps the price of then
              fee: 2.00 % of what a host earns is the complex's
              1 host: lends 2 cores from 2000 micro-credits per gigafuel on (until Tue 18:00)
                -> not for what new jobs pay: wait for cheaper hours of their policies
        "#]],
    );
    why_anothers_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: idle
          policy: so it is until Tue 18:00
          price: it works from 2000 micro-credits per gigafuel on, new jobs pay 100
            -> wait, or bid more: `isos explain price`
          work: no task at hand
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
    why_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: idle
          policy: window "office" applies until Tue 18:00
          policy: idle for 60m
          policy: 100% of the CPU: 2 of 2 cores
          price: it works from 2000 micro-credits per gigafuel on, new jobs pay 100
            -> lower price_min in its policy, or wait
          work: no task at hand
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
}

#[test]
fn the_owner_is_present() {
    let mut world = world();
    let sensors = Sensors { idle: Reading::Known(Span::secs(12)), ..Sensors::idle_machine() };
    come_by(&mut world, 1, "", &sensors, &Override::None);
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: waiting: the only host cannot run it now
              1 host (linux x86_64, 2 cores, 4 GiB): its owner wants quiet: somebody uses the machine
                -> wait, or ask its owner, whom `isos policy explain` tells all of it
        "#]],
    );
}

#[test]
fn the_owner_has_paused_it_the_battery_is_low_and_the_disk_is_full() {
    let mut world = world();
    let sensors = Sensors {
        power: Reading::Known(Power::Battery(41.5)),
        disk_free: Reading::Known(Bytes::gib(3)),
        ..Sensors::idle_machine()
    };
    let word = Override::Paused { until: Some(NOON + Span::secs(7_200)) };
    come_by(&mut world, 1, "", &sensors, &word);
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: waiting: the only host cannot run it now
              1 host (linux x86_64, 2 cores, 4 GiB): its owner wants quiet: paused; short of power; too little disk is free
                -> wait, or ask its owner, whom `isos policy explain` tells all of it
        "#]],
    );
    why_host(
        &world,
        1,
        &expect![[r#"
            host aeaqcaibae: quiet
              policy: you paused it until Tue 14:00; `isos resume` ends the pause
              policy: on battery (42%); plug in, or set power.on_battery = true
              policy: too little disk: 3 GiB are free, 5 GiB must stay free, the limit is 10 GiB; free some disk, lower disk.free_floor, or raise disk.max
              policy: idle for 60m
              work: no task at hand
              trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
              history: 0 results accepted, 0 rejected, 0 tasks lost
        "#]],
    );
    why_anothers_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: quiet
          policy: its owner wants quiet: paused; short of power; too little disk is free
            -> wait, or use other hosts: it is the owner's to say
          work: no task at hand
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
    assert_eq!(
        world.complex.host_view(host_id(1)).map(|view| view.offer.unwrap().reasons.len()),
        Some(4)
    );
    let seen = view_for_others(world.complex.host_view(host_id(1)).unwrap());
    expect!["paused; short of power; too little disk is free"]
        .assert_eq(&seen.offer.unwrap().reasons.join("; "));
}

#[test]
fn the_owner_does_not_allow_the_program() {
    let mut world = world();
    world.come(1, "owner1", |hello| hello.offer.accept = Accept::Only(Vec::new()));
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: waiting: the only host cannot run it now
              1 host (linux x86_64, 2 cores, 4 GiB): its owner does not allow this program
                -> ask its owner, or wait for other hosts
        "#]],
    );
}

#[test]
fn all_hosts_are_asleep_or_gone() {
    let mut world = World::with(Config { held_hosts_max: 0, ..Config::default() });
    world.now = NOON;
    (1..=2).for_each(|n| world.join(n));
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: waiting: none of 2 hosts can run it now
          2 hosts (linux x86_64, 2 cores, 4 GiB): asleep until 2026-11-17T12:00:02Z at the latest: more hosts are idle than connections kept
            -> wait: it asks for work when it wakes
    "#]],
    );
    why_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: asleep
          connection: asleep until 2026-11-17T12:00:02Z at the latest: nothing waited for it
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
    world.pass(Span::secs(3_600));
    world.step(Input::TimerFired);
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: waiting: none of 2 hosts can run it now
              2 hosts (linux x86_64, 2 cores, 4 GiB): not connected
                -> `isos host list` shows when it was seen
        "#]],
    );
}

#[test]
fn the_engine_is_too_old() {
    let mut world = world();
    world.join(1);
    world.complex.config.engine = Some("wasmtime-99".into());
    world.leave(1);
    world.pass(Span::secs(60));
    world.join(1);
    assert!(world.hosts[&1].barred, "it is refused at the door");
    let id = world.submit(job(3));
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: waiting: the only host cannot run it now
          1 host (linux x86_64, 2 cores, 4 GiB): its engine is test, this complex compares results of wasmtime-99
            -> its owner has to update isos
          1 host (linux x86_64, 2 cores, 4 GiB): not connected
            -> `isos host list` shows when it was seen
    "#]],
    );
    why_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: asleep
          engine: it has test, this complex compares results of wasmtime-99
            -> update isos on it
          connection: not connected; last seen 2026-11-17T12:00:00Z
            -> look after it: `isos status` there
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
}

#[test]
fn a_host_and_its_account_are_barred() {
    let mut world = world();
    (1..=4).for_each(|n| world.join(n));
    world.hosts.get_mut(&3).unwrap().lies = true;
    let id = world.submit(quorum(60));
    world.run();
    assert_eq!(world.state(id), JobState::Done);
    why_host(
        &world,
        3,
        &expect![[r#"
            host ambqgaydam: barred
              barred: its result for task 1@7 differs from what 2 independent hosts agree on
                -> its unpaid work is forfeit; it cannot come back
              history: 0 results accepted, 1 rejected, 4 tasks lost
        "#]],
    );
    why_account(
        &world,
        "owner3",
        &expect![[r#"
        account owner3 (103): 0.000000 credits available, 0.000000 held
          balance: nothing is available: a job that costs anything is refused
            -> earn by hosts, wait for holds to end, or ask the operator
          jobs: 0 are not over, of 1000 at the most
          hosts: 1 have joined, of 10000 at the most
          host ambqgaydam: barred: its result for task 1@7 differs from what 2 independent hosts agree on
          barred: a host of account 103 was caught: it can add no others
            -> hosts that it has go on; only the operator can help
    "#]],
    );
    let id = world.submit(JobSpec { memory: Bytes::gib(64), ..job(1) });
    why(
        &mut world,
        id,
        &expect![[r#"
        job 2: waiting: none of 4 hosts can run it now
          3 hosts (linux x86_64, 2 cores, 4 GiB): a task needs 64 GiB of memory, its owner lends 4 GiB at most
            -> lower --memory, or wait for a larger host
          1 host (linux x86_64, 2 cores, 4 GiB): barred: its result for task 1@7 differs from what 2 independent hosts agree on
    "#]],
    );
}

#[test]
fn an_account_has_as_many_jobs_and_hosts_as_it_may() {
    let config = Config { account_jobs_max: 2, account_hosts_max: 1, ..Config::default() };
    let mut world = World::with(config);
    world.now = NOON;
    world.come(1, "buyer", |hello| hello.offer = Offer::nothing("quiet"));
    (0..2).for_each(|_| _ = world.submit(job(2)));
    let call = Call::Submit { account: world.buyer(), spec: Box::new(job(1)), key: None };
    expect!["account 100 has 2 unfinished jobs, the limit is 2: wait for some, or use one job with more tasks"].assert_eq(&world.call(call).unwrap_err().message);
    why_account(
        &world,
        "buyer",
        &expect![[r#"
        account buyer (100): 999.999600 credits available, 0.000400 held
          job 1: 0.000200 credits are held for it, 0.000000 of them for what runs and what is owed; open are 2 of 2 tasks
            -> what is not used comes back at its end; `isos job cancel 1` ends it now
          job 2: 0.000200 credits are held for it, 0.000000 of them for what runs and what is owed; open are 2 of 2 tasks
            -> what is not used comes back at its end; `isos job cancel 2` ends it now
          jobs: 2 are not over, of 2 at the most
            -> no more are taken: wait for some, or use one job with more tasks
          hosts: 1 have joined, of 1 at the most
            -> no more may join: use another account, or ask the operator for more --account-hosts
    "#]],
    );
}
