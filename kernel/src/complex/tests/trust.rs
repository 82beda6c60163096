//! Credibility: hosts earn trust, are checked now and then, and lose all of it when they are
//! caught.

use isos_base::record::{Accepted, LeaseState};

use super::*;

mod asking;

/// A job under credibility.
fn credible(count: u32, error_ppm: u32) -> JobSpec {
    JobSpec { verify: Verify::Credibility { error_ppm }, ..job(count) }
}

/// What a buyer sees: of several results of a task the last.
fn results(world: &World, job: JobId) -> BTreeMap<u32, Accepted> {
    world.tables.results_of(job).map(|accepted| (accepted.task, accepted.clone())).collect()
}

fn wrong(world: &World, job: JobId) -> usize {
    let is_wrong = |(task, accepted): &(u32, Accepted)| {
        accepted.result.as_ref().is_ok_and(|result| result != &right_answer(*task))
    };
    results(world, job).into_iter().filter(is_wrong).count()
}

fn passed(world: &World, n: u8) -> u64 {
    world.complex.hosts[&host_id(n)].record.trust.passed
}

/// Leases whose pay is held.
fn held(world: &World, n: u8) -> usize {
    world.complex.hosts[&host_id(n)].held.len()
}

/// Executions that were accepted or voted for what was accepted.
fn executions(world: &World, job: JobId) -> u32 {
    let of_job = world.tables.leases.values().filter(|lease| lease.job == job);
    of_job.map(|lease| lease.accepted).sum()
}

/// A world of `hosts` hosts, all of which have shown by a first job that they can be trusted.
fn settled_world(hosts: u8) -> World {
    let mut world = World::new();
    (1..=hosts).for_each(|n| world.join(n));
    let first = world.submit(credible(600 * u32::from(hosts), 10_000));
    world.run();
    assert_eq!(world.state(first), JobState::Done);
    assert!((1..=hosts).all(|n| passed(&world, n) >= 10));
    world
}

/// Hosts work, some tasks at a time and in turn, until nothing moves.
fn run_slowly(world: &mut World, hosts: u8, tasks: usize) {
    for _ in 0..100_000 {
        world.now += Span::millis(10);
        if (1..=hosts).map(|n| world.work(n, tasks)).sum::<usize>() == 0 {
            return;
        }
    }
    panic!("the world never comes to rest");
}

#[test]
fn new_hosts_are_checked_always_and_known_ones_now_and_then() {
    let mut world = World::new();
    (1..=4).for_each(|n| world.join(n));
    let first = world.submit(credible(12, 10_000));
    world.run();
    assert!(executions(&world, first) >= 24, "{}", executions(&world, first));
    let history = world.submit(credible(10_000, 10_000));
    world.run();
    let more = world.submit(credible(10_000, 10_000));
    world.run();
    for id in [first, history, more] {
        assert_eq!(world.state(id), JobState::Done);
        world.assert_all_right(id);
    }
    let executed = executions(&world, more);
    assert!((10_100..10_500).contains(&executed), "{executed}");
}

#[test]
fn a_host_that_turns_is_caught_and_what_it_did_is_done_again() {
    let mut world = settled_world(4);
    let before = world.balance("owner2");
    world.hosts.get_mut(&2).unwrap().lies = true;
    let job = world.submit(credible(20_000, 10_000));
    run_slowly(&mut world, 4, 50);
    assert_eq!(world.state(job), JobState::Done);
    assert!(world.hosts[&2].barred);
    assert_eq!((wrong(&world, job), results(&world, job).len()), (0, 20_000));
    let record = &world.tables.jobs[&job];
    let redone: u32 = record.redone.iter().map(|range| range.len()).sum();
    assert!(redone > 0, "some of its lies had been accepted");
    assert_eq!((record.done, record.failed, record.given_up), (20_000, 0, 0));
    world.pass(Span::secs(8 * 86_400));
    assert_eq!(world.balance("owner2"), before, "it earned nothing since it turned");
    // The buyer paid for what was right, and for the checks.
    let fuel: u64 = (0..20_000).map(|task| 10_000_000 + task).sum();
    let spent = world.tables.jobs[&job].spent.0 as f64 / (fuel as f64 * 100.0 / 1e9);
    assert!((1.0..1.1).contains(&spent), "{spent}");
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn what_is_done_again_is_known_after_a_restart() {
    let mut world = settled_world(4);
    world.hosts.get_mut(&2).unwrap().lies = true;
    let job = world.submit(credible(20_000, 10_000));
    while !world.hosts[&2].barred {
        world.now += Span::millis(10);
        (1..=4).for_each(|n| _ = world.work(n, 50));
    }
    let redone = world.complex.jobs[&job].record.redone.clone();
    assert!(!redone.is_empty());
    world.restart();
    assert_eq!(world.complex.jobs[&job].record.redone, redone);
    (1..=4).for_each(|n| world.join(n));
    run_slowly(&mut world, 4, 100);
    assert_eq!((world.state(job), wrong(&world, job)), (JobState::Done, 0));
}

#[test]
fn whoever_lies_from_the_start_gets_nothing_accepted() {
    let mut world = World::new();
    (1..=5).for_each(|n| world.join(n));
    world.hosts.get_mut(&3).unwrap().lies = true;
    let job = world.submit(credible(500, 1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.assert_all_right(job);
    assert_eq!((world.balance("owner3"), world.hosts[&3].barred), (0, true));
    assert!(world.tables.jobs[&job].redone.is_empty());
}

#[test]
fn liars_who_agree_and_vote_first_keep_no_task_from_being_decided() {
    let mut world = World::with(Config { bad_share: 0.2, ..Config::default() });
    for n in 1..=20 {
        world.join(n);
        // One more who says the same, and nobody else, would be sure enough for the buyer.
        world.hosts.get_mut(&n).unwrap().lies = n <= 3;
    }
    let job = world.submit(credible(3, 10_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done, "{:?}", world.tables.jobs[&job].why);
    world.assert_all_right(job);
    let barred = world.hosts.values().filter(|host| host.barred).count();
    assert_eq!((barred, world.tables.jobs[&job].unchecked), (3, 0));
}

#[test]
fn pay_for_what_nobody_checked_waits_for_checks_to_come() {
    let mut world = settled_world(3);
    world.pass(Span::secs(8 * 86_400));
    (1..=3).for_each(|n| world.join(n));
    let before = world.balance("owner1");
    let job = world.submit(credible(20_000, 10_000));
    let mut seen = 0;
    for _ in 0..30 {
        world.now += Span::millis(10);
        (1..=3).for_each(|n| _ = world.work(n, 20));
        seen = seen.max(held(&world, 1));
    }
    assert!(seen > 0, "pay is held");
    let view = world.complex.job_view(job).unwrap();
    assert!(view.tasks.done > 0);
    world.restart();
    assert!(held(&world, 1) > 0, "after a restart too");
    (1..=3).for_each(|n| world.join(n));
    let (checks, waiting) = (passed(&world, 1), held(&world, 1));
    run_slowly(&mut world, 3, 100);
    assert_eq!(world.state(job), JobState::Done);
    assert!(passed(&world, 1) >= checks + 10, "checks were passed since");
    assert!(world.balance("owner1") > before, "so what waited was paid: {waiting} leases");
}

#[test]
fn a_job_that_is_over_sets_aside_what_is_held_and_no_more() {
    let mut world = settled_world(3);
    world.pass(Span::secs(8 * 86_400));
    (1..=3).for_each(|n| world.join(n));
    let job = world.submit(credible(300, 10_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    let view = world.complex.job_view(job).unwrap();
    assert!(view.held > MicroCredits::ZERO, "pay is held");
    let all = MicroCredits(view.held.0 + view.spent.0);
    let before: i64 = (1..=3).map(|n| world.balance(&format!("owner{n}"))).sum();
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, view.held);
    world.restart();
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, view.held);
    world.pass(Span::secs(7 * 86_400 + 60));
    let record = &world.tables.jobs[&job];
    assert!(record.spent.0 <= all.0 && record.spent.0 + 3 >= all.0, "{} {all}", record.spent);
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
    let after: i64 = (1..=3).map(|n| world.balance(&format!("owner{n}"))).sum();
    assert!(after > before, "it is paid after a week at the latest");
    let bills: i64 =
        world.tables.bills.values().filter(|bill| bill.job == job).map(|b| b.charged.0).sum();
    assert_eq!(bills, record.spent.0);
    assert!(world.tables.leases.values().all(|lease| lease.state == LeaseState::Settled));
    assert!(world.tables.holds.values().all(|hold| hold.closed));
}

#[test]
fn whoever_is_caught_after_the_job_was_over_is_not_paid_for_it() {
    let mut world = settled_world(4);
    world.pass(Span::secs(8 * 86_400));
    (1..=4).for_each(|n| world.join(n));
    let over = world.submit(credible(400, 10_000));
    world.run();
    let before = world.balance("owner2");
    let owed = world.complex.job_view(over).unwrap().held;
    assert!(held(&world, 2) > 0);
    world.hosts.get_mut(&2).unwrap().lies = true;
    let next = world.submit(credible(20_000, 10_000));
    run_slowly(&mut world, 4, 50);
    assert!(world.hosts[&2].barred);
    assert_eq!(wrong(&world, next), 0);
    world.pass(Span::secs(8 * 86_400));
    assert_eq!(world.balance("owner2"), before);
    let record = world.tables.jobs[&over].clone();
    assert!(record.why.as_ref().unwrap().contains("caught after the job was over"), "{record:?}");
    assert!(record.spent < MicroCredits(owed.0 + record.spent.0));
    let view = world.complex.job_view(over).unwrap();
    assert_eq!((view.held, view.spent), (MicroCredits::ZERO, record.spent));
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn a_complex_of_one_owner_waits_for_nobody() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.come(n, "farm", |_| {}));
    let job = world.submit(credible(100, 1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    assert_eq!(executions(&world, job), 100);
    assert!(world.balance("farm") > 0, "and pays at once");
    assert_eq!(passed(&world, 1), 0, "but it has shown nothing");
}

#[test]
fn a_complex_of_two_owners_compares_them_and_waits_for_no_third() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(credible(100, 1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    assert!(executions(&world, job) > 150, "new hosts are checked");
}

#[test]
fn two_of_two_owners_who_differ_wait_for_a_third() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.hosts.get_mut(&2).unwrap().lies = true;
    let job = world.submit(credible(10, 1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Active);
    let why = world.complex.explain_job(job).unwrap();
    let about = |about: &str| why.reasons.iter().find(|reason| reason.about == about);
    let dispute = about("disputes").expect("a reason");
    assert!(dispute.why.starts_with("hosts gave different results for 10 tasks, and nobody else"));
    assert!(about("checks").is_none(), "nothing is taken as it is");
    (3..=6).for_each(|n| world.join(n));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.assert_all_right(job);
}

#[test]
fn a_check_for_which_nobody_is_left_is_done_without() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.leave(2);
    let job = world.submit(credible(10, 1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Active, "the other may be back soon");
    world.pass(Span::secs(2 * 86_400));
    assert_eq!(world.state(job), JobState::Done);
    assert_eq!(passed(&world, 1), 0);
}

#[test]
fn a_buyers_own_hosts_are_believed() {
    let mut world = World::new();
    world.come(1, "buyer", |_| {});
    world.join(2);
    world.leave(2);
    let job = world.submit(credible(100, 1_000));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    assert_eq!((executions(&world, job), passed(&world, 1)), (100, 0));
}

#[test]
fn hosts_that_a_buyer_picks_cannot_praise_each_other() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let constraint = Some("host.name != \"x\"".into());
    let job = world.submit(JobSpec { constraint, ..credible(100, 10_000) });
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    assert!((1..=3).all(|n| passed(&world, n) == 0));
}

#[test]
fn hosts_are_not_told_how_much_is_checked() {
    let mut world = World::new();
    world.join(1);
    let mut effects = Vec::new();
    let call =
        Call::Submit { account: world.buyer(), spec: Box::new(credible(9, 1_000)), key: None };
    world.complex.step(world.now, Input::Requested { request: RequestId(0), call }, &mut effects);
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Send(_, ToHost::Job(offer)) => Some(offer.spec.verify),
        _ => None,
    });
    assert_eq!(told, Some(Verify::Trusted));
}

#[test]
fn what_is_checked_follows_from_the_secret_alone() {
    let world = |secret: u8| {
        let check_secret = Guid([secret; 32]);
        World::with(Config { check_secret, ..Config::default() })
    };
    let drawn = |world: &World| -> Vec<u32> {
        let standing = crate::complex::trust::Standing::Known { rate: 0.05 };
        (0..10_000).filter(|task| world.complex.must_check(standing, LeaseId(7), *task)).collect()
    };
    let first = drawn(&world(1));
    assert!((400..600).contains(&first.len()), "{}", first.len());
    assert_eq!(first, drawn(&world(1)));
    assert_ne!(first, drawn(&world(2)));
}

#[test]
fn no_task_is_begun_whose_check_the_hold_cannot_pay() {
    for executions in 2..=7 {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        // Tasks that use a gigafuel, all that they may, each.
        let price_max = Some(MicroCredits(100 * executions));
        let id = world.submit(JobSpec { price_max, ..credible(10, 10_000) });
        for _ in 0..100 {
            for n in 1..=3 {
                let host = world.hosts.get_mut(&n).unwrap();
                let Some(session) = host.session else { continue };
                let report = |grant: Grant| LeaseReport {
                    lease: grant.lease,
                    results: (grant.ranges.iter().flat_map(|range| range.tasks()))
                        .map(|task| TaskResult { fuel: Fuel(1_000_000_000), ..right_answer(task) })
                        .collect(),
                    faults: Vec::new(),
                    returned: Vec::new(),
                    busy: Span(1),
                };
                let leases = std::mem::take(&mut host.grants).into_iter().map(report).collect();
                let room = Room { cores_idle: 2, ..Room::default() };
                let frame = ToComplex::Report(Report { seq: 1, leases, room });
                world.step(Input::HostSaid { session, frame });
            }
        }
        assert_eq!(world.state(id), JobState::Failed, "it ends, for {executions}");
        let record = &world.tables.jobs[&id];
        assert_eq!(i64::from(record.done), executions / 2);
        assert_eq!(record.spent.0, executions / 2 * 200, "all work is paid");
    }
}

#[test]
fn a_host_says_what_it_has_shown_and_what_is_held() {
    let mut world = settled_world(3);
    let text = |world: &World, about: &str| {
        let why = world.complex.explain_host(host_id(1), true).unwrap();
        why.reasons.into_iter().find(|reason| reason.about == about).map(|reason| reason.why)
    };
    world.submit(credible(300, 10_000));
    world.run();
    let trust = text(&world, "trust").unwrap();
    assert!(trust.contains("checks passed") && trust.contains("are checked now"), "{trust}");
    let pay = text(&world, "held pay").unwrap();
    assert!(pay.contains("checks more, or until"), "{pay}");
    world.hosts.get_mut(&1).unwrap().lies = true;
    world.submit(credible(20_000, 10_000));
    run_slowly(&mut world, 3, 50);
    assert!(text(&world, "barred").unwrap().contains("independent hosts agree"));
    assert_eq!(text(&world, "held pay"), None);
}

/// Hosts work, lie, vanish, return, restart of the server: whatever the order, no task is lost, the
/// money is conserved, and the database makes the same complex.
#[test]
fn no_order_of_events_breaks_credibility() {
    let (mut caught, mut promised, mut accepted_wrong) = (0, 0.0, 0);
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut world = World::new();
        (1..=6).for_each(|n| world.join(n));
        let asked = [(60, 1_000), (400, 10_000), (900, 100_000)];
        let jobs = asked.map(|(count, error_ppm)| world.submit(credible(count, error_ppm)));
        for round in 0..400 {
            world.now += Span::millis(random.below(2_000));
            let n = 1 + random.below(6) as u8;
            world.hosts.get_mut(&6).unwrap().lies = round > 150 && !seed.is_multiple_of(3);
            match random.below(14) {
                0 => world.leave(n),
                1 => {
                    world.hosts.get_mut(&n).unwrap().grants.clear();
                    world.leave(n);
                }
                2..=4 => world.join(n),
                5 => world.pass(Span::secs(random.below(40))),
                6 if random.one_in(4) => world.restart(),
                7 if random.one_in(60) => {
                    let job = jobs[random.below(3) as usize];
                    let _ = world.call(Call::Cancel { job });
                }
                _ => _ = world.work(n, random.below(30) as usize),
            }
        }
        (1..=6).for_each(|n| world.join(n));
        world.pass(Span::secs(3_600));
        (1..=6).for_each(|n| world.join(n));
        world.run();
        for (job, (count, error_ppm)) in jobs.into_iter().zip(asked) {
            let state = world.state(job);
            assert!(
                matches!(state, JobState::Done | JobState::Cancelled),
                "seed {seed}: {state:?}"
            );
            if state == JobState::Done {
                let results = results(&world, job);
                assert_eq!(results.len(), count as usize);
                promised += f64::from(count) * f64::from(error_ppm) / 1e6;
                accepted_wrong += wrong(&world, job);
            }
        }
        caught += usize::from(world.tables.hosts[&host_id(6)].barred.is_some());
        let barred = world.tables.hosts.values().filter(|host| host.barred.is_some()).count();
        assert!(barred <= 1, "seed {seed}: an honest host is barred");
        world.restart();
        world.pass(Span::secs(8 * 86_400));
        let held: i64 = world.complex.account_views().map(|account| account.held.0).sum();
        assert_eq!(held, 0, "seed {seed}");
        for (id, job) in &world.tables.jobs {
            let bills = world.tables.bills.values().filter(|bill| bill.job == *id);
            let charged: i64 = bills.map(|bill| bill.charged.0).sum();
            assert_eq!(charged, job.spent.0, "seed {seed}: job {id}");
        }
        assert!(world.tables.leases.values().all(|lease| lease.state == LeaseState::Settled));
        let before: Vec<_> = world.complex.account_views().collect();
        world.restart();
        assert_eq!(world.complex.account_views().collect::<Vec<_>>(), before);
    }
    assert!(caught > 5, "the liar is caught in some worlds: {caught}");
    // A sixth of the hosts lies, not a twentieth.
    let bound = promised / 0.05 / 6.0;
    assert!(accepted_wrong as f64 <= bound, "{accepted_wrong} wrong, {promised} promised");
}
