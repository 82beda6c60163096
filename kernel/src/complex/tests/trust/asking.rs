//! Who is asked for a check, who is waited for, and what shows something of a host.

use isos_base::TaskSet;

use super::*;
use crate::complex::Pricing;
use crate::market::Band;

#[test]
fn whoever_comes_back_first_after_a_restart_is_not_believed_for_that() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    // They stay connected for longer than anybody is waited for, and say something now and then.
    for _ in 0..30 {
        world.pass(Span::secs(3_600));
        (1..=3).for_each(|n| _ = world.work(n, 0));
    }
    world.restart();
    world.join(1);
    let job = world.submit(credible(20, 10_000));
    world.run();
    assert_eq!(world.state(job), JobState::Active, "the others may be back soon");
    world.join(2);
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    assert_eq!(world.tables.jobs[&job].unchecked, 0);
}

#[test]
fn after_a_long_outage_all_hosts_are_waited_for_for_a_while() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.now += Span::secs(9 * 86_400);
    world.restart();
    world.join(1);
    let job = world.submit(credible(20, 10_000));
    world.run();
    assert_eq!(world.state(job), JobState::Active);
    world.pass(Span::secs(7_200));
    assert_eq!(world.state(job), JobState::Done, "nobody else came");
    assert_eq!(world.tables.jobs[&job].unchecked, 20);
}

#[test]
fn nobody_waits_for_hosts_that_can_never_run_the_job() {
    let large = |world: &mut World, n: u8, change: fn(&mut Hello)| {
        world.come(n, &format!("owner{n}"), change);
    };
    let obstacles: [fn(&mut Hello); 3] = [
        |hello| hello.spec.memory = Bytes::gib(1),
        |hello| hello.spec.country = Some("SE".into()),
        |hello| hello.offer.accept = Accept::Only(Vec::new()),
    ];
    for obstacle in obstacles {
        let mut world = World::new();
        large(&mut world, 1, |hello| hello.spec.country = Some("FI".into()));
        large(&mut world, 2, obstacle);
        let constraint = Some("host.country != \"SE\"".into());
        let job =
            world.submit(JobSpec { memory: Bytes::gib(2), constraint, ..credible(20, 10_000) });
        world.run();
        assert_eq!(world.state(job), JobState::Done);
        assert_eq!((executions(&world, job), world.tables.jobs[&job].unchecked), (20, 20));
    }
}

#[test]
fn a_host_that_is_too_dear_is_waited_for_for_a_day() {
    let mut world = World::new();
    world.join(1);
    world.come(2, "owner2", |hello| hello.offer.price_min = Price(5_000));
    let job = world.submit(credible(20, 10_000));
    world.run();
    assert_eq!(world.state(job), JobState::Active, "it may become cheaper in the evening");
    for _ in 0..30 {
        world.pass(Span::secs(3_600));
        (1..=2).for_each(|n| _ = world.work(n, 0));
    }
    assert_eq!(world.state(job), JobState::Done, "it did not");
    assert_eq!(world.tables.jobs[&job].unchecked, 20);
}

#[test]
fn a_check_that_nobody_makes_for_the_markets_price_is_paid_what_another_asks() {
    let band = Band { floor: Price(10), ceiling: Price(50) };
    let mut world = World::with(Config { pricing: Pricing::Market(band), ..Config::default() });
    for n in 1..=2 {
        world.come(n, "cheap", |hello| hello.offer.price_min = Price(20));
    }
    world.come(3, "dear", |hello| hello.offer.price_min = Price(60));
    let (spec, account) = (Box::new(credible(4, 10_000)), world.buyer());
    let call = Call::SubmitBid { account, spec, key: None, bid: Price(100) };
    let Ok(Reply::Job(view)) = world.call(call) else { panic!("not submitted") };
    world.run();
    assert_eq!(world.state(view.id), JobState::Active, "one owner has answered");
    for _ in 0..30 {
        world.pass(Span::secs(60));
        world.run();
    }
    assert_eq!(world.state(view.id), JobState::Done);
    assert_eq!((executions(&world, view.id), world.tables.jobs[&view.id].unchecked), (8, 0));
    let (checks, firsts): (Vec<_>, Vec<_>) =
        world.tables.leases.values().partition(|lease| lease.host == host_id(3));
    assert!(!checks.is_empty() && checks.iter().all(|lease| lease.price == Price(60)));
    assert!(firsts.iter().all(|lease| lease.price <= Price(50)));
}

#[test]
fn a_better_host_that_wants_no_checks_leaves_them_to_newer_ones() {
    let mut world = settled_world(3);
    let job = world.submit(credible(200, 100));
    // Its checks wait for others; the better hosts give back whatever they get.
    (4..=8).for_each(|n| world.join(n));
    for _ in 0..400 {
        world.now += Span::secs(1);
        while world.complex.deadline().is_some_and(|at| at <= world.now) {
            world.step(Input::TimerFired);
        }
        for n in 2..=3 {
            decline(&mut world, n);
        }
        (4..=8).for_each(|n| _ = world.work(n, usize::MAX));
        _ = world.work(1, 5);
    }
    assert_eq!(world.state(job), JobState::Done);
}

/// A host gives back all that it was granted.
fn decline(world: &mut World, n: u8) {
    let host = world.hosts.get_mut(&n).unwrap();
    let Some(session) = host.session else { return };
    let give_back = |grant: Grant| LeaseReport {
        lease: grant.lease,
        results: Vec::new(),
        faults: Vec::new(),
        returned: grant.ranges,
        busy: Span::ZERO,
    };
    let leases = std::mem::take(&mut host.grants).into_iter().map(give_back).collect();
    let room = Room { cores_idle: 2, ..Room::default() };
    let frame = ToComplex::Report(Report { seq: 1, leases, room });
    world.step(Input::HostSaid { session, frame });
}

#[test]
fn work_that_only_a_few_owners_could_do_shows_nothing() {
    let mut world = World::new();
    for n in 1..=2 {
        world.come(n, &format!("owner{n}"), |hello| hello.spec.cpus = 97);
    }
    (3..=8).for_each(|n| world.join(n));
    let constraint = Some("host.cpus == 97".into());
    let job = world.submit(JobSpec { constraint, ..credible(300, 100_000) });
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    for n in 1..=2 {
        let trust = world.complex.hosts[&host_id(n)].record.trust;
        assert_eq!((trust.passed, trust.results), (0, 0), "an accomplice's job can be such");
    }
}

#[test]
fn the_word_of_two_strangers_waits_where_it_is_not_sure_enough() {
    for (error_ppm, waits) in [(10_000, false), (1_000, true)] {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        let job = world.submit(credible(15, error_ppm));
        let mut most = 0;
        let words = |world: &World| -> BTreeMap<LeaseId, TaskSet> {
            let leases = world.complex.leases.iter();
            leases.map(|(id, lease)| (*id, lease.word.clone())).collect()
        };
        let is_empty = |word: &TaskSet| word.is_empty();
        for _ in 0..20 {
            world.now += Span::millis(10);
            (1..=3).for_each(|n| _ = world.work(n, 1));
            most = most.max((1..=3).map(|n| held(&world, n)).sum::<usize>());
            if !words(&world).values().all(is_empty) {
                break;
            }
        }
        let before = words(&world);
        assert!(before.values().any(|word| !word.is_empty()));
        world.restart();
        assert_eq!(words(&world), before, "and is known after a restart");
        (1..=3).for_each(|n| world.join(n));
        run_slowly(&mut world, 3, 1);
        most = most.max((1..=3).map(|n| held(&world, n)).sum::<usize>());
        assert_eq!(most > 0, waits, "{error_ppm}");
        assert_eq!(world.state(job), JobState::Done);
    }
}

#[test]
fn known_hosts_are_not_kept_from_beginning_tasks_by_the_answers_that_wait() {
    let mut world = settled_world(3);
    let job = world.submit(credible(200_000, 100_000));
    let job = world.complex.jobs.get_mut(&job).unwrap();
    let mut begun = |tasks: u32, always: bool| -> u32 {
        let ranges = job.take(host_id(1), tasks, u32::MAX, always, |_| true);
        ranges.iter().map(|range| range.len()).sum()
    };
    assert_eq!(begun(40_000, false), 40_000);
    let new = begun(40_000, true) + begun(40_000, true);
    assert!((new as usize) <= job::BALLOTS_MAX, "{new}");
}

/// Two hosts that differ, and time that passes while they stay connected.
fn tie(spec: JobSpec) -> (World, JobId) {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    world.hosts.get_mut(&2).unwrap().lies = true;
    let job = world.submit(spec);
    world.run();
    pass_hours(&mut world, 12);
    assert_eq!(world.state(job), JobState::Active, "somebody may come");
    (world, job)
}

fn pass_hours(world: &mut World, hours: u32) {
    for _ in 0..hours {
        world.pass(Span::secs(3_600));
        (1..=2).for_each(|n| _ = world.work(n, 0));
    }
}

#[test]
fn where_two_hosts_differ_and_nobody_comes_the_task_is_given_up_after_a_day_with_the_remedy() {
    for spec in [credible(1, 10_000), quorum(1)] {
        let (mut world, job) = tie(spec);
        let told = world.complex.explain_job(job).unwrap();
        let told: Vec<_> = told.reasons.iter().filter(|it| it.about == "disputes").collect();
        assert!(told[0].why.contains("different results for 1 task,"), "{told:?}");
        assert!(told[0].remedy.as_ref().unwrap().contains("`isos job retry"), "{told:?}");
        let told = world.complex.explain_task(isos_base::TaskId { job, task: 0 }).unwrap();
        assert!(told.reasons.iter().any(|it| it.about == "disputes"), "{told:?}");
        pass_hours(&mut world, 13);
        assert_eq!(world.state(job), JobState::Failed);
        let end = world.tables.results_of(job).last().unwrap().result.clone().unwrap_err();
        assert!(end.contains("for a day nobody else was there"), "{end}");
        assert!(world.hosts.values().all(|host| !host.barred));
        assert_eq!(world.balance("owner1") + world.balance("owner2"), 0);
    }
}

/// Nobody answers any more: who has answered is waited with.
#[test]
fn a_quorum_whose_other_host_is_lost_is_given_up_a_day_after_that_host_may_be_back() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(quorum(1));
    _ = world.work(1, 1);
    world.leave(2);
    for (hours, state) in [(46, JobState::Active), (4, JobState::Failed)] {
        for _ in 0..hours {
            world.pass(Span::secs(3_600));
            _ = world.work(1, 0);
        }
        assert_eq!(world.state(job), state, "{hours}");
    }
    let end = world.tables.results_of(job).last().unwrap().result.clone().unwrap_err();
    assert!(end.contains("1 of the 2 hosts that must agree answered"), "{end}");
}

/// Two hosts that agree where the buyer wants three.
fn too_few() -> (World, JobId) {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(JobSpec { verify: Verify::Quorum { agree: 3, of: 3 }, ..job(2) });
    world.run();
    pass_hours(&mut world, 20);
    assert_eq!(world.state(job), JobState::Active, "these two agree, and a third may come");
    (world, job)
}

#[test]
fn hosts_that_agree_and_are_too_few_are_joined_by_a_third_within_the_day() {
    let (mut world, job) = too_few();
    world.join(3);
    world.run();
    assert_eq!(world.state(job), JobState::Done);
}

#[test]
fn under_a_quorum_fewer_than_the_buyer_asked_for_decide_nothing_and_are_waited_with_for_a_day() {
    let (mut world, job) = too_few();
    let told = world.complex.explain_job(job).unwrap().reasons;
    let lacks = told.iter().find(|it| it.why.contains("for 2 tasks fewer have answered")).unwrap();
    assert!(lacks.why.contains("than the 3 hosts that must agree"), "{lacks:?}");
    assert!(lacks.why.contains("is given up from"), "{lacks:?}");
    assert!(lacks.remedy.as_ref().unwrap().contains("join before that"), "{lacks:?}");
    let of_task = world.complex.explain_task(isos_base::TaskId { job, task: 1 }).unwrap();
    assert!(of_task.reasons.contains(lacks), "{of_task:?}");
    pass_hours(&mut world, 5);
    assert_eq!(world.state(job), JobState::Failed);
    let record = &world.tables.jobs[&job];
    assert_eq!((record.done, record.given_up), (0, 2));
    let end = world.tables.results_of(job).last().unwrap().clone();
    let id = isos_base::TaskId { job, task: end.task };
    let told = Complex::explain_accepted(id, &end).verdict;
    assert!(told.contains("2 of the 3 hosts that must agree answered, and for a day"), "{told}");
    assert!(told.contains(&format!("`isos job retry {job}`")), "{told}");
    assert!(world.hosts.values().all(|host| !host.barred));
    assert_eq!(world.balance("owner1") + world.balance("owner2"), 0);
    world.complex.check_invariants();
}

#[test]
fn a_quorum_waits_for_who_has_the_task_however_long_that_takes() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let timeout = Span::secs(40 * 3_600);
    let job = JobSpec { verify: Verify::Quorum { agree: 3, of: 3 }, timeout, ..job(1) };
    let job = world.submit(job);
    _ = world.work(1, 1);
    // The other one works on it for a day and longer.
    pass_hours(&mut world, 30);
    assert_eq!(world.state(job), JobState::Active);
    _ = world.work(2, 1);
    pass_hours(&mut world, 22);
    assert_eq!(world.state(job), JobState::Active, "the day begins when it has answered");
    pass_hours(&mut world, 3);
    assert_eq!(world.state(job), JobState::Failed);
}

#[test]
fn who_comes_and_leaves_has_the_day_begin_anew() {
    let (mut world, job) = too_few();
    // It is given the tasks, and is gone with them within two hours.
    world.join(3);
    pass_hours(&mut world, 2);
    world.leave(3);
    pass_hours(&mut world, 23);
    assert_eq!(world.state(job), JobState::Active, "somebody was there, and may be back");
    pass_hours(&mut world, 48);
    assert_eq!(world.state(job), JobState::Failed);
}

#[test]
fn nobody_waits_for_a_host_that_gets_no_more_of_the_job() {
    for (count, wrong, waits) in [(3, false, true), (9, false, false), (3, true, false)] {
        let mut world = World::new();
        world.join(1);
        let job = world.submit(credible(1, 10_000));
        let until = world.now + Span::secs(3_600);
        let avoided = ask::Avoided { count, why: String::new(), until, wrong };
        world.complex.jobs.get_mut(&job).unwrap().avoid.insert(host_id(2), avoided);
        world.join(2);
        world.run();
        world.pass(Span::secs(1_300));
        let state = if waits { JobState::Active } else { JobState::Done };
        assert_eq!(world.state(job), state, "{count} {wrong}");
    }
}

#[test]
fn who_comes_within_the_day_says_which_of_two_is_right() {
    for spec in [credible(1, 10_000), quorum(1)] {
        let (mut world, job) = tie(spec);
        world.join(3);
        world.run();
        assert_eq!(world.state(job), JobState::Done);
        assert!(world.hosts[&2].barred);
    }
}
