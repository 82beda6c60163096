//! What one account, host or job can take from the others: nothing beyond its bound.

use super::*;
use crate::complex::job::BALLOTS_MAX;

/// A report of a host about the first of its grants.
fn say(world: &mut World, n: u8, change: impl FnOnce(&Grant, &mut LeaseReport)) {
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

fn has_work(world: &World, n: u8) -> bool {
    !world.hosts[&n].grants.is_empty()
}

/// A job that no host of these tests can run.
fn huge() -> JobSpec {
    JobSpec { memory: Bytes::gib(64), ..job(1) }
}

#[test]
fn a_hundred_million_tasks_are_cancelled_as_one() {
    let mut world = World::new();
    world.join(1);
    let spec = JobSpec { price_max: Some(MicroCredits::credits(1)), ..job(100_000_000) };
    let call = Call::Submit { account: world.buyer(), spec: Box::new(spec), key: None };
    let mut effects = Vec::new();
    let request = RequestId(1);
    world.complex.step(world.now, Input::Requested { request, call }, &mut effects);
    let id = JobId(1);
    effects.clear();
    let input = Input::Requested { request, call: Call::Cancel { job: id } };
    world.complex.step(world.now, input, &mut effects);
    let kept = effects.iter().filter(|effect| matches!(effect, Effect::Keep(_))).count();
    assert!(kept < 20, "{kept} rows");
    let view = world.complex.job_view(id).unwrap();
    assert_eq!((view.state, view.tasks.given_up), (JobState::Cancelled, 100_000_000));
    assert_eq!(view.why.as_deref(), Some("cancelled"));
    world.carry_out(effects);
    assert_eq!(world.tables.jobs[&id].given_up, 100_000_000);
}

#[test]
fn the_jobs_of_one_account_do_not_hide_those_of_another() {
    let mut world = World::new();
    let call = Call::OpenAccount { name: "other".into(), welcome: MicroCredits::credits(1_000) };
    let Ok(Reply::Account(other)) = world.call(call) else { panic!("no account") };
    (0..900).for_each(|_| _ = world.submit(huge()));
    let call = Call::Submit { account: other, spec: Box::new(job(4)), key: None };
    world.call(call).unwrap();
    world.join(1);
    assert!(has_work(&world, 1), "at once");
    world.run();
    // And of one account's own jobs, the one that fits is found behind hundreds that do not.
    let fits = world.submit(job(4));
    world.run();
    assert_eq!(world.state(fits), JobState::Done, "news are looked at whatever stands before");
    world.leave(1);
    let fits = world.submit(job(4));
    world.join(1);
    assert!(!has_work(&world, 1), "one look does not get that far");
    world.pass(Span::secs(10));
    assert!(has_work(&world, 1), "but the looks go on");
    world.run();
    assert_eq!(world.state(fits), JobState::Done);
    // Nothing is left that this host could run: nobody looks any more.
    world.pass(Span::secs(60));
    let next = world.complex.deadline();
    assert!(next.is_none_or(|at| at > world.now + Span::secs(1)), "{next:?} at {}", world.now);
}

#[test]
fn money_that_comes_free_is_news_for_hosts_that_wait() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let each = 100;
    let id = world.submit(JobSpec { price_max: Some(MicroCredits(3 * each)), ..job(6) });
    let hosts_with_work = (1..=2).filter(|&n| has_work(&world, n)).count();
    assert!(hosts_with_work >= 1);
    let busy = if has_work(&world, 1) { 1 } else { 2 };
    // It uses a hundredth of what was set aside for it: the rest pays for the others' tasks.
    world.work(busy, 1);
    world.run();
    assert_eq!(world.state(id), JobState::Done);
}

#[test]
fn a_host_cannot_describe_itself_at_length() {
    let mut world = World::new();
    let long = "x".repeat(65);
    let changes: [fn(&mut HostSpec, String); 6] = [
        |spec, text| spec.name = text,
        |spec, text| spec.agent = text,
        |spec, text| spec.os = text,
        |spec, text| spec.arch = text,
        |spec, text| spec.engine = text,
        |spec, text| spec.country = Some(text),
    ];
    for change in changes {
        world.come(1, "owner1", |hello| change(&mut hello.spec, long.clone()));
        assert!(world.hosts[&1].barred && world.complex.host_view(host_id(1)).is_none());
    }
    world.come(2, "owner2", |hello| {
        hello.offer.reasons = vec!["\u{7}y".repeat(10_000); 1_000];
    });
    let offer = world.complex.host_view(host_id(2)).unwrap().offer.unwrap();
    assert_eq!(offer.reasons.len(), 16);
    assert!(offer.reasons.iter().all(|reason| reason.chars().count() <= 300));
    world.come(3, "owner3", |hello| {
        hello.offer.accept = Accept::Except(vec![Guid::of(b"x"); 1_000]);
    });
    let offer = world.complex.host_view(host_id(3)).unwrap().offer.unwrap();
    assert_eq!(offer.cores, 0, "what cannot be kept whole is not half obeyed");
}

#[test]
fn classes_last_as_long_as_their_hosts() {
    let mut world = World::new();
    for disk in 0..500 {
        world.come(1, "owner1", |hello| hello.spec.disk = Bytes(disk));
    }
    world.join(2);
    world.join(3);
    assert_eq!(world.complex.classes.len(), 2);
    world.restart();
    assert_eq!(world.complex.classes.len(), 2);
}

#[test]
fn an_account_has_so_many_hosts_and_none_new_behind_a_liar() {
    let config = Config { account_hosts_max: 3, ..Config::default() };
    let mut world = World::with(config);
    (1..=4).for_each(|n| world.come(n, "farm", |_| {}));
    assert!(world.hosts[&4].barred && world.complex.host_view(host_id(4)).is_none());
    world.come(3, "farm", |_| {});
    assert!(!world.hosts[&3].barred, "those that are known may come again");

    (5..=6).for_each(|n| world.join(n));
    world.hosts.get_mut(&5).unwrap().lies = true;
    world.submit(quorum(60));
    world.run();
    assert!(world.hosts[&5].barred);
    for restarts in 0..2 {
        world.come(7, "owner5", |_| {});
        assert!(world.hosts[&7].barred, "a new key is no new owner ({restarts})");
        world.hosts.remove(&7);
        world.restart();
    }
}

#[test]
fn one_host_cannot_use_up_the_attempts_of_a_task() {
    let mut world = World::new();
    world.join(1);
    let id = world.submit(JobSpec { attempts_max: 2, ..job(1) });
    world.come(2, "owner2", |hello| hello.offer.cores = 0);
    for _ in 0..3 {
        say(&mut world, 1, |_, news| news.faults.push((0, Fault::NoMemory)));
    }
    assert_eq!(world.state(id), JobState::Active);
    assert!(!has_work(&world, 1), "it is avoided now");
    world.join(2);
    world.run();
    assert_eq!(world.state(id), JobState::Done);
}

#[test]
fn a_task_is_not_given_up_while_somebody_who_is_here_has_not_tried() {
    let mut world = World::new();
    let fail =
        |world: &mut World, n| say(world, n, |_, news| news.faults.push((0, Fault::NoMemory)));
    world.join(1);
    let id = world.submit(JobSpec { attempts_max: 20, ..job(1) });
    for n in 1..=2 {
        world.join(n);
        (0..3).for_each(|_| fail(&mut world, n));
        world.leave(n);
    }
    world.come(4, "owner4", |hello| hello.offer.cores = 0);
    world.join(3);
    for _ in 0..3 {
        fail(&mut world, 3);
        assert_eq!(world.state(id), JobState::Active, "those that failed are not here");
    }
    world.join(4);
    world.run();
    assert_eq!(world.state(id), JobState::Done);
}

#[test]
fn a_host_that_fails_now_and_then_does_not_wash_itself_clean() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    let id = world.submit(JobSpec { attempts_max: 9, ..job(40) });
    world.leave(2);
    let mut rounds = 0;
    while has_work(&world, 1) && rounds < 30 {
        rounds += 1;
        say(&mut world, 1, |grant, news| {
            let tasks: Vec<u32> = grant.ranges.iter().flat_map(|range| range.tasks()).collect();
            news.results.push(right_answer(tasks[0]));
            news.faults.extend(tasks[1..].iter().map(|&task| (task, Fault::NoMemory)));
        });
    }
    assert!(rounds < 10, "{rounds}");
    assert_eq!(world.state(id), JobState::Active);
}

#[test]
fn two_keys_of_one_owner_do_not_condemn_a_program() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.come(n, "liar", |_| {}));
    world.join(3);
    let id = world.submit(job(1_000));
    for n in 1..=2 {
        say(&mut world, n, |grant, news| {
            news.faults.push((grant.ranges[0].start, Fault::BadProgram("no".into())));
        });
    }
    assert_eq!(world.state(id), JobState::Active);
    say(&mut world, 3, |grant, news| {
        news.faults.push((grant.ranges[0].start, Fault::BadProgram("no".into())));
    });
    assert_eq!(world.state(id), JobState::Failed);
}

#[test]
fn one_host_has_one_vote_however_often_the_server_restarts() {
    let mut world = World::new();
    world.join(1);
    let id = world.submit(quorum(4));
    for _ in 0..3 {
        world.work(1, usize::MAX);
        world.restart();
        world.join(1);
    }
    assert_eq!(world.complex.job_view(id).unwrap().tasks.done, 0);
    world.join(2);
    world.run();
    assert_eq!(world.state(id), JobState::Done);
}

#[test]
fn a_task_without_agreement_is_given_up_when_its_last_voter_leaves() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let spec = JobSpec { verify: Verify::Quorum { agree: 3, of: 3 }, ..job(1) };
    let id = world.submit(spec);
    world.hosts.get_mut(&1).unwrap().lies = true;
    world.work(1, 9);
    world.work(2, 9);
    assert_eq!(world.state(id), JobState::Active, "the third could agree with neither");
    world.hosts.get_mut(&3).unwrap().grants.clear();
    world.leave(3);
    world.pass(Span::secs(31));
    assert_eq!(world.state(id), JobState::Failed);
    let why = world.tables.results_of(id).next().unwrap().result.clone().unwrap_err();
    assert!(why.contains("no agreement"), "{why}");
}

#[test]
fn an_hour_that_a_host_claims_for_a_task_does_not_starve_it() {
    let mut world = World::new();
    world.join(1);
    let spec = JobSpec { timeout: Span::secs(1), ..job(1_000) };
    let id = world.submit(spec);
    say(&mut world, 1, |grant, news| {
        let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
        news.results.extend(tasks.map(right_answer));
        news.busy = Span::secs(1_000_000);
    });
    let time = world.complex.jobs[&id].task_time.unwrap();
    assert!(time <= Span::secs(1), "{time:?}");
}

#[test]
fn answers_without_a_second_opinion_do_not_pile_up() {
    let mut world = World::new();
    world.join(1);
    let id = world.submit(JobSpec { fuel: Fuel(20_000_000), ..quorum(100_000) });
    for _ in 0..1_000 {
        world.now += Span::millis(10);
        let effects = {
            let host = world.hosts.get_mut(&1).unwrap();
            let leases = std::mem::take(&mut host.grants)
                .into_iter()
                .map(|grant| LeaseReport {
                    lease: grant.lease,
                    results: grant
                        .ranges
                        .iter()
                        .flat_map(|r| r.tasks())
                        .map(right_answer)
                        .collect(),
                    faults: Vec::new(),
                    returned: Vec::new(),
                    busy: Span(1),
                })
                .collect::<Vec<_>>();
            if leases.is_empty() {
                break;
            }
            let room = Room { cores_idle: 2, ..Room::default() };
            let frame = ToComplex::Report(Report { seq: 1, leases, room });
            let input = Input::HostSaid { session: host.session.unwrap(), frame };
            let mut effects = Vec::new();
            world.complex.step(world.now, input, &mut effects);
            effects
        };
        world.carry_out(effects);
    }
    let begun = world.complex.jobs[&id].ballots.len();
    assert!((BALLOTS_MAX / 2..=BALLOTS_MAX).contains(&begun), "{begun}");
    let why = world.complex.explain_job(id).unwrap();
    assert!(why.reasons.iter().any(|reason| reason.about == "quorum"), "{why:?}");
}

#[test]
fn a_quorum_without_enough_owners_says_so_before_and_after_it_is_submitted() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.come(n, "farm", |_| {}));
    let plan = world.complex.plan(world.buyer(), &quorum(4)).unwrap();
    let id = world.submit(quorum(4));
    world.run();
    let why = world.complex.explain_job(id).unwrap();
    for reasons in [plan.obstacles, why.reasons] {
        let reason = reasons.iter().find(|reason| reason.about == "quorum").unwrap();
        expect_test::expect![
            "2 hosts of different owners and networks must agree on every task; 2 hosts can run \
             it now, 1 of them independent"
        ]
        .assert_eq(&reason.why);
    }
}

#[test]
fn a_key_whose_job_ended_long_ago_still_names_it() {
    let mut world = World::new();
    world.join(1);
    let account = world.buyer();
    let submit = || Call::Submit { account, spec: Box::new(job(2)), key: Some("once".into()) };
    let Ok(Reply::Job(view)) = world.call(submit()) else { panic!("not submitted") };
    world.run();
    world.restart();
    assert_eq!(world.call(submit()), Ok(Reply::Ended(view.id)));
}

#[test]
fn tiny_leases_are_paid_together_so_that_rounding_swallows_nothing() {
    let mut world = World::new();
    world.join(1);
    let id = world.submit(job(1_000));
    for _ in 0..20 {
        // A lease each: a hundred-thousandth of a gigafuel is a thousandth of a micro-credit.
        say(&mut world, 1, |grant, news| {
            let task = grant.ranges[0].start;
            news.results.push(TaskResult { fuel: Fuel(1_000_000), ..right_answer(task) });
            news.returned = vec![TaskRange::new(task + 1, u32::MAX)];
        });
    }
    let view = world.complex.job_view(id).unwrap();
    assert_eq!((view.tasks.done, view.spent), (20, MicroCredits(2)));
    assert_eq!(world.balance("owner1"), 0, "not yet");
    world.restart();
    world.pass(Span::secs(11));
    assert_eq!(world.balance("owner1"), 2, "one bill of twenty leases, after a restart too");
    let bill = world.tables.bills.values().next().unwrap();
    assert_eq!((bill.leases, bill.tasks, bill.fuel), (20, 20, Fuel(20_000_000)));
    assert!(bill.posted.is_some());
    let Ok(_) = world.call(Call::Cancel { job: id }) else { panic!("not cancelled") };
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn a_host_that_gives_everything_back_is_asked_again_later_and_later() {
    let mut world = World::new();
    world.join(1);
    let declined = world.submit(job(8));
    let mut asked = Vec::new();
    for _ in 0..4 {
        let before = world.now;
        while !has_work(&world, 1) {
            world.pass(Span::millis(250));
        }
        asked.push(world.now.since(before).0 / 1_000_000);
        say(&mut world, 1, |grant, news| news.returned.clone_from(&grant.ranges));
        assert!(!has_work(&world, 1), "not at once");
    }
    assert_eq!(asked, [0, 2, 4, 8]);
    let other = world.submit(job(2));
    world.run();
    assert_eq!(world.state(other), JobState::Done, "other jobs are not concerned");
    // What it offers has changed, so its reason may be gone.
    let session = world.hosts[&1].session.unwrap();
    let offer = world.offer();
    world.step(Input::HostSaid { session, frame: ToComplex::Offer(offer) });
    world.run();
    assert_eq!(world.state(declined), JobState::Done);
}

#[test]
fn a_job_is_cancelled_whatever_its_votes() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let spec = JobSpec { verify: Verify::Quorum { agree: 3, of: 3 }, ..job(1) };
    let id = world.submit(spec);
    world.hosts.get_mut(&2).unwrap().lies = true;
    // The lowest lease is out; the two behind it differ.
    let first = (1..=3u8).min_by_key(|n| world.hosts[n].grants[0].lease).unwrap();
    (1..=3).filter(|&n| n != first).for_each(|n| _ = world.work(n, 1));
    let Ok(Reply::Job(view)) = world.call(Call::Cancel { job: id }) else { panic!("no reply") };
    assert_eq!(view.state, JobState::Cancelled);
    assert_eq!(world.complex.account_view(world.buyer()).unwrap().held, MicroCredits::ZERO);
}

#[test]
fn no_task_is_begun_that_the_hold_cannot_finish() {
    for executions in 2..=7 {
        let mut world = World::new();
        world.join(1);
        // A price that a task uses up wholly: a gigafuel is 100 micro-credits.
        let spec = JobSpec { price_max: Some(MicroCredits(100 * executions)), ..quorum(10) };
        let id = world.submit(spec);
        let report = |world: &mut World, n: u8| {
            while has_work(world, n) {
                say(world, n, |grant, news| {
                    let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
                    news.results.extend(tasks.map(|task| TaskResult {
                        fuel: Fuel(1_000_000_000),
                        ..right_answer(task)
                    }));
                });
            }
        };
        report(&mut world, 1);
        assert_eq!(world.complex.jobs[&id].ballots.len() as i64, executions / 2);
        world.join(2);
        report(&mut world, 2);
        report(&mut world, 1);
        assert_eq!(world.state(id), JobState::Failed, "it ends, for {executions}");
        let record = &world.tables.jobs[&id];
        assert_eq!(i64::from(record.done), executions / 2);
        assert!(record.why.as_ref().unwrap().contains("--max-price"));
        assert_eq!(record.spent.0, executions / 2 * 200, "all work is paid");
    }
}

#[test]
fn what_was_spent_survives_a_restart() {
    let mut world = World::new();
    world.join(1);
    let id = world.submit(job(100));
    world.work(1, usize::MAX);
    world.pass(Span::secs(11));
    let spent = world.complex.job_view(id).unwrap().spent;
    assert!(spent > MicroCredits::ZERO);
    world.restart();
    assert_eq!(world.complex.job_view(id).unwrap().spent, spent);
    world.join(1);
    world.run();
    let bills: i64 = world.tables.bills.values().map(|bill| bill.charged.0).sum();
    assert_eq!(world.tables.jobs[&id].spent.0, bills);
}

#[test]
fn a_complex_may_be_free() {
    let mut world = World::with(Config { price: Price(0), ..Config::default() });
    (1..=2).for_each(|n| world.join(n));
    let ids = [world.submit(job(20)), world.submit(quorum(20))];
    world.work(1, 5);
    world.restart();
    (1..=2).for_each(|n| world.join(n));
    world.run();
    for id in ids {
        assert_eq!(world.state(id), JobState::Done);
        world.assert_all_right(id);
    }
}

#[test]
fn a_host_is_not_granted_more_than_it_holds() {
    let mut world = World::new();
    world.come(1, "owner1", |hello| {
        hello.spec.cpus = 64;
        hello.offer.cores = 64;
        hello.offer.memory = Bytes::gib(1_000);
        hello.room.cores_idle = 64;
    });
    world.submit(job(1_000_000));
    let session = world.hosts[&1].session.unwrap();
    // Tasks of a microsecond: two seconds of work for 64 cores would be millions.
    say(&mut world, 1, |grant, news| {
        let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
        news.results.extend(tasks.map(right_answer));
        news.busy = Span(news.results.len() as u64);
    });
    for _ in 0..200 {
        let tasks: u32 =
            world.hosts[&1].grants.iter().flat_map(|g| &g.ranges).map(TaskRange::len).sum();
        assert!(tasks <= isos_base::limits::HOST_TASKS_MAX, "{tasks}");
        let backlog = Span(u64::from(tasks) / 64);
        let room = Room { tasks, backlog, ..Room::default() };
        let report = Report { seq: 1, leases: Vec::new(), room };
        world.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
    }
}

#[test]
fn a_job_on_which_all_hosts_fail_ends_in_the_end() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let id = world.submit(JobSpec { attempts_max: 3, ..job(30) });
    for _ in 0..2_000 {
        for n in 1..=3 {
            while has_work(&world, n) {
                say(&mut world, n, |grant, news| {
                    let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
                    news.faults.extend(tasks.map(|task| (task, Fault::NoMemory)));
                });
            }
        }
        world.pass(Span::secs(30));
    }
    assert_eq!(world.state(id), JobState::Failed);
    assert_eq!(world.tables.jobs[&id].given_up, 30);
}

#[test]
fn what_is_on_its_way_to_a_host_counts_as_its_work() {
    let mut world = World::new();
    world.task = Span::millis(100);
    world.join(1);
    world.submit(job(1_000_000));
    let report = |world: &mut World, seen: LeaseId| {
        let session = world.hosts[&1].session.unwrap();
        let room = Room { cores_idle: 2, seen, ..Room::default() };
        let frame = ToComplex::Report(Report { seq: 1, leases: Vec::new(), room });
        world.step(Input::HostSaid { session, frame });
        world.hosts[&1].grants.len()
    };
    let granted = world.hosts[&1].grants.len();
    assert!(granted > 0);
    // It crossed the grants on its way: the host will have enough.
    assert_eq!(report(&mut world, LeaseId(0)), granted);
    assert_eq!(report(&mut world, LeaseId(0)), granted);
    // It has heard of them, and is idle nevertheless.
    let seen = world.hosts[&1].grants.last().unwrap().lease;
    assert!(report(&mut world, seen) > granted);
}

#[test]
fn a_host_is_not_granted_more_leases_than_it_holds() {
    use isos_base::limits::HOST_LEASES_MAX;
    let mut world = World::new();
    world.join(1);
    world.submit(job(1_000_000));
    let session = world.hosts[&1].session.unwrap();
    // It says that it is idle again and again, and reports nothing.
    for seq in 1..=2 * HOST_LEASES_MAX as u64 {
        let room = Room { cores_idle: 2, ..Room::default() };
        let frame = ToComplex::Report(Report { seq, leases: Vec::new(), room });
        world.step(Input::HostSaid { session, frame });
    }
    assert_eq!(world.hosts[&1].grants.len(), HOST_LEASES_MAX);
    // Nothing is stuck: what it reports makes room.
    say(&mut world, 1, |grant, news| {
        let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
        news.results.extend(tasks.map(right_answer));
    });
    assert_eq!(world.hosts[&1].grants.len(), HOST_LEASES_MAX);
}

#[test]
fn one_account_leaves_tasks_to_others() {
    let config = Config { account_tasks_max: 10, ..Config::default() };
    let mut world = World::with(config);
    let submit = |world: &mut World, count| {
        let account = world.buyer();
        world.call(Call::Submit { account, spec: Box::new(job(count)), key: None })
    };
    let Ok(Reply::Job(view)) = submit(&mut world, 8) else { panic!("not submitted") };
    let refused = submit(&mut world, 3).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Refused);
    assert!(refused.message.contains("have 8 tasks and this one 3"), "{}", refused.message);
    assert!(submit(&mut world, 2).is_ok());
    world.call(Call::Cancel { job: view.id }).unwrap();
    assert!(submit(&mut world, 3).is_ok(), "what is over counts no more");
}

#[test]
fn no_request_is_done_twice_because_its_key_found_no_room() {
    let mut world = World::new();
    let account = world.buyer();
    let submit = |world: &mut World, key: u32| {
        let key = Some(format!("key {key}"));
        world.call(Call::Submit { account, spec: Box::new(job(1)), key })
    };
    let done = (0..100).take_while(|&key| submit(&mut world, key).is_ok()).count() as u32;
    assert!(done < 100, "there is a limit");
    let jobs = world.complex.jobs.len();
    assert_eq!(submit(&mut world, done).unwrap_err().code, ProblemCode::Busy);
    assert!(submit(&mut world, done - 1).is_ok(), "it is known");
    assert_eq!(world.complex.jobs.len(), jobs, "neither made a job");
    let mint = |world: &mut World| {
        let (amount, why) = (MicroCredits(5), "a prize".to_owned());
        world.call(Call::Mint { account, amount, why, key: Some("once".into()), by: account })
    };
    let (Ok(first), Ok(again)) = (mint(&mut world), mint(&mut world)) else { panic!("not given") };
    assert_eq!(first, again, "those of the operator are always remembered");
}
