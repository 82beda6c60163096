//! Why work waits, failed, or is not paid yet.

use super::*;

#[test]
fn others_who_used_less_come_first() {
    let mut world = world();
    let names = ["other", "third"];
    let others = names.map(|name| {
        let welcome = MicroCredits::credits(1_000);
        match world.call(Call::OpenAccount { name: name.into(), welcome }) {
            Ok(Reply::Account(account)) => account,
            other => panic!("no account: {other:?}"),
        }
    });
    let mine = world.submit(job(4_000));
    for account in others {
        world.call(Call::Submit { account, spec: Box::new(job(900)), key: None }).unwrap();
    }
    world.join(1);
    why(
        &mut world,
        mine,
        &expect![[r#"
            job 1: running: 0 of 4000 tasks ended, 8 with 1 host, 3992 waiting
              fair share: 2 accounts with jobs that used less lately come first
                -> wait: its turn comes as the others use more
        "#]],
    );
    why_account(
        &world,
        "buyer",
        &expect![[r#"
            account buyer (100): 999.600000 credits available, 0.400000 held
              job 1: 0.400000 credits are held for it, 0.000800 of them for what runs and what is owed; open are 4000 of 4000 tasks
                -> what is not used comes back at its end; `isos job cancel 1` ends it now
              jobs: 1 are not over, of 1000 at the most
              hosts: 0 have joined, of 10000 at the most
              fair share: 2 accounts with jobs that used less lately come first
                -> wait: its turn comes as the others use more
        "#]],
    );
}

#[test]
fn a_result_waits_for_a_check() {
    let mut world = world();
    (1..=2).for_each(|n| world.join(n));
    world.leave(2);
    let id = world.submit(credible(6, 1_000));
    world.run();
    assert_eq!(world.state(id), JobState::Active);
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: running: 0 of 6 tasks ended, 0 with 0 hosts, 0 waiting
              1 host (linux x86_64, 2 cores, 4 GiB): not connected
                -> `isos host list` shows when it was seen
              checks: 6 tasks wait for one more independent host, which is to say whether their results are right; 1 host can run the job now, none of them is independent of those that answered; who was there within a day is waited for, until 2026-11-18T12:00:00Z at the latest
                -> wait: the results are taken as they are once nobody is left who could check, and counted as unchecked; or submit with --verify trusted
        "#]],
    );
    let task = isos_base::TaskId { job: id, task: 2 };
    told(
        &world.complex.explain_task(task).unwrap(),
        &expect![[r#"
        task 1@2: running or being checked
          host aeaqcaibae: answered exit code 0, digest vh4rapakn7
          check: its best answer is wrong with a chance of 5.0e-2, the job accepts 1e-3 and two equal answers at least: it waits for a check by an independent host
    "#]],
    );
}

#[test]
fn a_vote_waits_for_another_owner() {
    let mut world = world();
    (1..=2).for_each(|n| world.come(n, "farm", |_| {}));
    let id = world.submit(quorum(6));
    world.run();
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: running: 0 of 6 tasks ended, 0 with 0 hosts, 0 waiting
              quorum: 2 hosts of different owners and networks must agree on every task; 2 hosts can run it now, 1 of them independent
                -> wait for hosts of other owners, or submit with --verify trusted
              quorum: for 6 tasks fewer have answered than the 2 hosts that must agree, and nobody else is there who is independent of them; what is still open so is given up from 2026-11-18T12:00:00Z on
                -> have hosts of other owners and networks join before that; `isos job retry 1` runs again what was given up
        "#]],
    );
    let task = isos_base::TaskId { job: id, task: 2 };
    told(
        &world.complex.explain_task(task).unwrap(),
        &expect![[r#"
            task 1@2: running or being checked
              host aibaeaqcai: answered exit code 0, digest vh4rapakn7
              quorum: for 6 tasks fewer have answered than the 2 hosts that must agree, and nobody else is there who is independent of them; what is still open so is given up from 2026-11-18T12:00:00Z on
                -> have hosts of other owners and networks join before that; `isos job retry 1` runs again what was given up
        "#]],
    );
}

#[test]
fn pay_is_held_until_checks_are_passed() {
    let mut world = world();
    (1..=3).for_each(|n| world.join(n));
    let first = world.submit(credible(1_800, 10_000));
    world.run();
    assert_eq!(world.state(first), JobState::Done);
    let id = world.submit(credible(300, 10_000));
    world.run();
    assert_eq!(world.state(id), JobState::Done);
    why_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: idle
          work: no task at hand
          trust: 532 checks passed, 1177 results accepted under verification; 2 % of its results are checked now for an error rate of 1e-2
          held pay: 0.000642 for 22 leases are held; the first of it until it has passed 2 checks more, or until 2026-11-24T12:00:00Z
            -> it is paid by itself: checks come with work
          history: 1177 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
    why_account(
        &world,
        "owner1",
        &expect![[r#"
        account owner1 (101): 0.000518 credits available, 0.000000 held
          jobs: 0 are not over, of 1000 at the most
          hosts: 1 have joined, of 10000 at the most
          held pay: 0.000642 credits for 22 leases that nobody checked are held; the first of it until 2026-11-24T12:00:00Z
            -> sooner if its hosts pass checks, which come with work
    "#]],
    );
    why_account(
        &world,
        "buyer",
        &expect![[r#"
        account buyer (100): 999.996836 credits available, 0.001527 held
          job 1: it is over; 0.001194 credits are held for hosts whose results nobody checked, until these have passed further checks, or until 2026-11-24T12:00:00Z
            -> nothing: they are paid, or come back if a host is caught
          job 2: it is over; 0.000333 credits are held for hosts whose results nobody checked, until these have passed further checks, or until 2026-11-24T12:00:00Z
            -> nothing: they are paid, or come back if a host is caught
          jobs: 0 are not over, of 1000 at the most
          hosts: 0 have joined, of 10000 at the most
    "#]],
    );
}

#[test]
fn nobody_independent_is_there() {
    let mut world = world();
    (1..=2).for_each(|n| world.come(n, "farm", |_| {}));
    let id = world.submit(credible(100, 1_000));
    (1..=2).for_each(|n| _ = world.work(n, 3));
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: running: 6 of 100 tasks ended, 40 with 2 hosts, 54 waiting
          checks: 6 results are as good as one owner's word: no host of another owner and network was there that could have run the job and checked them
            -> have hosts of other owners join, and submit it again if it matters
    "#]],
    );
    world.run();
    assert_eq!(world.state(id), JobState::Done);
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: done: all 100 tasks
          checks: 100 results are as good as one owner's word: no host of another owner and network was there that could have run the job and checked them
            -> have hosts of other owners join, and submit it again if it matters
    "#]],
    );
}

#[test]
fn the_hold_is_set_aside_for_others_and_then_spent() {
    let mut world = world();
    world.join(1);
    let id = world.submit(JobSpec { price_max: Some(MicroCredits(500)), ..job(100) });
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: running: 0 of 100 tasks ended, 5 with 1 host, 95 waiting
          budget: 0.000500 of the hold is left, 0.000500 of it set aside for running tasks; one task may cost 0.000100, so 0 more can start now
            -> lower --fuel, or submit with a higher --max-price
    "#]],
    );
    for _ in 0..9 {
        let spent = |grant: &Grant, news: &mut LeaseReport| {
            news.results = (grant.ranges.iter().flat_map(|range| range.tasks()))
                .map(|task| TaskResult { fuel: Fuel(1_000_000_000), ..right_answer(task) })
                .collect();
        };
        if !world.hosts[&1].grants.is_empty() {
            report(&mut world, 1, spent);
        }
    }
    assert_eq!(world.state(id), JobState::Failed);
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: ended: 5 done, 0 failed, 95 given up of 100
          end: its hold is spent: submit again with a higher --max-price
          tasks: 0 programs failed, 95 tasks given up
            -> `isos job results 1` shows why, task by task; `isos job retry 1` runs them again
    "#]],
    );
}

#[test]
fn attempts_fail_on_a_host_and_are_used_up() {
    let mut world = world();
    world.join(1);
    let id = world.submit(JobSpec { attempts_max: 4, ..job(2) });
    for _ in 0..3 {
        report(&mut world, 1, |grant, news| {
            let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
            news.faults = tasks.map(|task| (task, Fault::TimedOut)).collect();
        });
        if world.hosts[&1].grants.is_empty() {
            break;
        }
    }
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: waiting: the only host cannot run it now
              1 host (linux x86_64, 2 cores, 4 GiB): the task ran longer than its timeout (raise --timeout)
              host aeaqcaibae: 4 failed attempts in a row; the last: the task ran longer than its timeout (raise --timeout); it gets more at 2026-11-17T12:02:00Z
                -> other hosts may have more luck; it is tried again by itself
        "#]],
    );
    let task = isos_base::TaskId { job: id, task: 0 };
    told(
        &world.complex.explain_task(task).unwrap(),
        &expect![[r#"
        task 1@0: running or being checked
          attempts: 2 of 4 failed
    "#]],
    );
    world.pass(Span::secs(600));
    for _ in 0..6 {
        if !world.hosts[&1].grants.is_empty() {
            report(&mut world, 1, |grant, news| {
                let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
                news.faults = tasks.map(|task| (task, Fault::TimedOut)).collect();
            });
        }
        world.pass(Span::secs(600));
    }
    why(
        &mut world,
        id,
        &expect![[r#"
            job 1: ended: 0 done, 0 failed, 2 given up of 2
              tasks: 0 programs failed, 2 tasks given up
                -> `isos job results 1` shows why, task by task; `isos job retry 1` runs them again
        "#]],
    );
    let accepted = world.tables.results_of(id).next().expect("given up").clone();
    told(
        &Complex::explain_accepted(task, &accepted),
        &expect![[r#"
        task 1@0: given up: gave up after 4 attempts; the last: the task ran longer than its timeout (raise --timeout)
    "#]],
    );
}

#[test]
fn the_program_cannot_run() {
    let mut world = world();
    world.join(1);
    let id = world.submit(job(9));
    report(&mut world, 1, |grant, news| {
        let why = "unknown import env.foo: compile it for wasm32-wasip1";
        news.faults = vec![(grant.ranges[0].start, Fault::BadProgram(why.into()))];
    });
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: ended: 0 done, 0 failed, 9 given up of 9
          end: the program cannot run: unknown import env.foo: compile it for wasm32-wasip1
          tasks: 0 programs failed, 9 tasks given up
            -> `isos job results 1` shows why, task by task; `isos job retry 1` runs them again
    "#]],
    );
}

#[test]
fn it_was_cancelled() {
    let mut world = world();
    world.join(1);
    let id = world.submit(job(100));
    world.work(1, 3);
    world.call(Call::Cancel { job: id }).unwrap();
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: cancelled: done were 3 of 100 tasks
          end: cancelled
          tasks: 0 programs failed, 97 tasks given up
            -> `isos job results 1` shows why, task by task; `isos job retry 1` runs them again
    "#]],
    );
}

#[test]
fn a_program_fails_by_itself() {
    let mut world = world();
    world.join(1);
    let id = world.submit(job(2));
    report(&mut world, 1, |grant, news| {
        let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
        news.results =
            tasks.map(|task| TaskResult { exit: Exit::OutOfFuel, ..right_answer(task) }).collect();
    });
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: ended: 0 done, 2 failed, 0 given up of 2
          tasks: 2 programs failed, 0 tasks given up
            -> `isos job results 1` shows why, task by task; `isos job retry 1` runs them again
    "#]],
    );
    let accepted = world.tables.results_of(id).next().expect("it failed").clone();
    let task = isos_base::TaskId { job: id, task: 0 };
    told(
        &Complex::explain_accepted(task, &accepted),
        &expect![[r#"
        task 1@0: the program failed: out of fuel (raise --fuel)
          host aeaqcaibae: gave the accepted result
    "#]],
    );
}

#[test]
fn it_runs_and_who_has_it() {
    let mut world = world();
    (1..=2).for_each(|n| world.join(n));
    let id = world.submit(job(6));
    why(
        &mut world,
        id,
        &expect![[r#"
        job 1: running: 0 of 6 tasks ended, 4 with 2 hosts, 2 waiting
    "#]],
    );
    let task = isos_base::TaskId { job: id, task: 0 };
    told(
        &world.complex.explain_task(task).unwrap(),
        &expect![[r#"
        task 1@0: running or being checked
          host aeaqcaibae: has it under lease 1 until 2026-11-17T12:11:00Z
    "#]],
    );
    why_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: working
          work: 2 tasks at hand, 0us of work
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
}

#[test]
fn an_account_has_nothing_left() {
    let mut world = world();
    let call = Call::OpenAccount { name: "poor".into(), welcome: MicroCredits::ZERO };
    let Ok(Reply::Account(account)) = world.call(call) else { panic!("no account") };
    let call = Call::Submit { account, spec: Box::new(job(1)), key: None };
    expect!["the job may cost up to 0.000100 credits, account 101 has 0.000000: lower --fuel or --count, or set --max-price"].assert_eq(&world.call(call).unwrap_err().message);
    why_account(
        &world,
        "poor",
        &expect![[r#"
        account poor (101): 0.000000 credits available, 0.000000 held
          balance: nothing is available: a job that costs anything is refused
            -> earn by hosts, wait for holds to end, or ask the operator
          jobs: 0 are not over, of 1000 at the most
          hosts: 0 have joined, of 10000 at the most
    "#]],
    );
    why_account(
        &world,
        "buyer",
        &expect![[r#"
        account buyer (100): 1000.000000 credits available, 0.000000 held
          jobs: 0 are not over, of 1000 at the most
          hosts: 0 have joined, of 10000 at the most
    "#]],
    );
}

/// What a buyer is told of the checks of a job of the default rule.
fn assured(world: &World) -> String {
    let spec = JobSpec { verify: Verify::default(), ..job(10) };
    let told = world.complex.plan(world.buyer(), &spec).unwrap().assured;
    format!("{} {}: {}", told.now, told.later, told.why)
}

#[test]
fn a_buyer_is_told_how_often_its_tasks_are_run_for_being_sure() {
    let mut world = world();
    expect!["200 104: each result is made sure of by about 2.0 hosts at first; that falls to 1.04 as hosts earn trust"].assert_eq(&assured(&world));
    world.come(1, "farm", |_| {});
    world.come(2, "farm", |_| {});
    expect!["100 104: nobody independent is there who could check: each result is one owner's word until hosts of another owner and network join"].assert_eq(&assured(&world));
    (3..=4).for_each(|n| world.join(n));
    expect!["200 104: each result is made sure of by about 2.0 hosts now; that falls to 1.04 as hosts earn trust"].assert_eq(&assured(&world));
    let first = world.submit(credible(4_000, 10_000));
    world.run();
    assert_eq!(world.state(first), JobState::Done);
    expect!["102 104: each result is made sure of by about 1.02 hosts"].assert_eq(&assured(&world));
}

#[test]
fn own_hosts_are_believed_and_a_buyer_is_told_so_when_it_submits() {
    let mut world = world();
    (1..=2).for_each(|n| world.come(n, "buyer", |_| {}));
    let spec = JobSpec { verify: Verify::default(), ..job(10) };
    let call = Call::Submit { account: world.buyer(), spec: Box::new(spec), key: None };
    let Ok(Reply::Job(view)) = world.call(call) else { panic!("not submitted") };
    expect!["your own hosts are believed: each task is run once"]
        .assert_eq(&view.assured.unwrap().why);
    world.run();
    assert_eq!(world.state(view.id), JobState::Done);
}
