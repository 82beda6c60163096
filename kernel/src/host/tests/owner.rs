//! The owner returns, chambers die, leases end.

use expect_test::expect;

use super::*;

/// Two cores, two long tasks in a chamber, two waiting.
fn at_work() -> Rig {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 4);
    rig.prepared(1);
    rig
}

#[test]
fn all_work_stands_still_in_the_step_in_which_the_owner_returns() {
    let mut rig = at_work();
    rig.wait(Span::secs(30));
    let mut told = rig.allow(0);
    told += &rig.wait(Span::secs(60));
    told += &rig.allow(2);
    told += &rig.end(1, &[0], Span::secs(91));
    expect![[r#"
        suspend
        say: suspended: the owner wants quiet
        send offer: 0 cores
        resume
        say: resumed
        send offer: 2 cores
        start in c1: 2..3
        send report 1: lease 100 done 0..1; idle 0, tasks 3, backlog 1s
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.host.status().jobs[0].mean, None, "a time with a suspension in it says nothing");
}

#[test]
fn an_owner_who_stays_gets_the_machine_back_step_by_step() {
    let mut rig = at_work();
    rig.wait(Span::secs(30));
    let mut told = rig.allow(0);
    told += &rig.grant(101, 7, 50, 52);
    while rig.now < START + Span::secs(1_200) {
        told += &rig.wait(Span::secs(20));
        rig.ack();
    }
    expect![[r#"
        suspend
        say: suspended: the owner wants quiet
        send offer: 0 cores
        say: lease 101 of job 7 turned down: the owner wants quiet
        send report 1: lease 101 returned 50..52; idle 0, tasks 4, backlog 2s
        at 150.0 s
        say: gave 2 tasks back: the owner wants quiet
        send report 2: lease 100 returned 2..4; idle 0, tasks 2, backlog 0us
        at 930.0 s
        stop c1
        say: gave 2 tasks back: the owner wants quiet for long
        send report 3: lease 100 returned 0..2; idle 0, tasks 0, backlog 0us
    "#]]
    .assert_eq(&told);
    assert!(rig.chambers.is_empty());
}

#[test]
fn waiting_tasks_go_back_at_once_when_the_quiet_will_outlast_their_deadline() {
    let mut rig = at_work();
    let until = Some(rig.in_secs(7_200));
    let told = rig.step(Input::Allowed { offer: offer(0), until });
    expect![[r#"
        suspend
        say: suspended: the owner wants quiet
        say: gave 2 tasks back: the owner wants quiet
        send report 1: lease 100 returned 2..4; idle 0, tasks 2, backlog 2s
    "#]]
    .assert_eq(&told);
}

#[test]
fn with_fewer_cores_running_tasks_end_and_no_more_are_started() {
    let mut rig = at_work();
    assert!(!rig.allow(1).contains("suspend"));
    assert!(!rig.end(1, &[0], Span::secs(5)).contains("start"));
    assert!(rig.end(1, &[1], Span::secs(5)).contains("start in c1: 2..3\n"));
}

#[test]
fn waiting_tasks_that_the_new_offer_does_not_allow_go_back() {
    let mut rig = at_work();
    let mut dear = offer(2);
    dear.price_min = Price(500);
    let told = rig.step(Input::Allowed { offer: dear, until: None });
    expect![[r#"
        say: gave 2 tasks back: the policy does not allow them any more
        send report 1: lease 100 returned 2..4; idle 0, tasks 2, backlog 1s
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.tasks_in(1).len(), 2, "what runs may end");
}

#[test]
fn a_task_that_was_alone_is_to_blame_for_the_death_of_its_chamber() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 3);
    rig.prepared(1);
    expect![[r#"
        say: the sandbox died of task 7@0: signal 9
        prepare c2 for job 7, 1 threads
        send report 1: lease 100 fault 0 (the sandbox died: signal 9); idle 0, tasks 2, backlog 2s
    "#]]
    .assert_eq(&rig.die(1));
}

#[test]
fn the_culprit_among_several_is_found_by_running_each_alone() {
    let mut rig = Rig::online(3);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 6);
    rig.prepared(1);
    let mut told = rig.die(1);
    told += &rig.prepared(2);
    told += &rig.end(2, &[0], Span::secs(1));
    told += &rig.die(2);
    told += &rig.prepared(3);
    told += &rig.end(3, &[2], Span::secs(1));
    expect![[r#"
        say: the sandbox of job 7 died: signal 9
        prepare c2 for job 7, 3 threads
        start in c2: 0..1
        start in c2: 1..2
        send report 1: lease 100 done 0..1; idle 2, tasks 5, backlog 5s
        say: the sandbox died of task 7@1: signal 9
        prepare c3 for job 7, 3 threads
        send report 2: lease 100 fault 1 (the sandbox died: signal 9); idle 2, tasks 4, backlog 4s
        start in c3: 2..3
        start in c3: 3..6
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.tasks_in(3), [3, 4, 5]);
}

#[test]
fn a_job_whose_chambers_die_when_several_tasks_run_is_run_one_by_one() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 50);
    let mut chamber = 0;
    for _ in 0..3 {
        chamber += 1;
        rig.prepared(chamber);
        while rig.tasks_in(chamber).len() == 1 {
            let suspect = rig.tasks_in(chamber).to_vec();
            rig.end(chamber, &suspect, Span::secs(1));
        }
        assert_eq!(rig.tasks_in(chamber).len(), 2);
        rig.die(chamber);
    }
    rig.prepared(4);
    for _ in 0..10 {
        let alone = rig.tasks_in(4).to_vec();
        assert_eq!(alone.len(), 1);
        rig.end(4, &alone, Span::secs(1));
    }
}

#[test]
fn a_job_that_only_kills_chambers_is_given_up() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 50);
    let mut told = String::new();
    for chamber in 1..=5 {
        rig.prepared(chamber);
        told = rig.die(chamber);
    }
    expect![[r#"
        say: job 7 cannot run here: the sandbox died: signal 9
    "#]]
    .assert_eq(&told);
    rig.ack();
    expect![[r#"
        say: lease 101 of job 7 turned down: it could not be prepared; again after 1970-01-01T00:21:40Z
        send report 4: lease 101 returned 50..60; idle 1, tasks 0, backlog 0us
    "#]].assert_eq(&rig.grant(101, 7, 50, 60));
}

#[test]
fn a_job_that_cannot_be_prepared_is_a_fault_once_for_each_lease() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 50);
    rig.grant(101, 7, 50, 60);
    let chamber = ChamberId(1);
    rig.chambers.clear();
    let fault = Fault::NoInput("library.fasta: not found".into());
    expect![[r#"
        say: job 7 cannot run here: an input could not be had: library.fasta: not found
        send report 1: lease 100 fault 0 (an input could not be had: library.fasta: not found) returned 1..50; lease 101 fault 50 (an input could not be had: library.fasta: not found) returned 51..60; idle 1, tasks 0, backlog 0us
    "#]].assert_eq(&rig.step(Input::JobUnpreparable { chamber, fault }));
    // Late words about a chamber that is gone change nothing.
    assert_eq!(rig.step(Input::JobPrepared { chamber }), "");
    assert_eq!(rig.step(Input::ChamberDied { chamber, why: "late".into() }), "");
}

#[test]
fn a_fault_of_the_host_is_reported_as_one() {
    let mut rig = at_work();
    rig.chambers.get_mut(&ChamberId(1)).expect("open").tasks.retain(|&task| task != 0);
    let ended = vec![Ended { task: 0, wall: Span::secs(600), outcome: Err(Fault::TimedOut) }];
    expect![[r#"
        start in c1: 2..3
        send report 1: lease 100 fault 0 (the task ran longer than its timeout (raise --timeout)); idle 0, tasks 3, backlog 1500ms
    "#]].assert_eq(&rig.step(Input::TasksEnded { chamber: ChamberId(1), ended }));
}

#[test]
fn a_result_that_breaks_the_rules_is_a_fault() {
    let mut rig = at_work();
    rig.chambers.get_mut(&ChamberId(1)).expect("open").tasks.clear();
    let output = OutputAt::Inline(vec![0; 5_000]);
    let large = TaskResult { task: 1, exit: Exit::Code(0), fuel: Fuel(1), output };
    let ended = vec![
        Ended { task: 0, wall: Span::secs(1), outcome: ok(3) },
        Ended { task: 1, wall: Span::secs(1), outcome: Ok(large) },
        Ended { task: 99, wall: Span::secs(1), outcome: ok(99) },
    ];
    expect![[r#"
        say: ignored: the end of 1 tasks that were not in chamber 1
        start in c1: 2..4
        send report 1: lease 100 fault 0 (the sandbox died: it answered for task 3) fault 1 (the sandbox died: 5000 bytes of output were not stored); idle 0, tasks 2, backlog 1s
    "#]].assert_eq(&rig.step(Input::TasksEnded { chamber: ChamberId(1), ended }));
}

#[test]
fn revoked_tasks_are_dropped_and_a_chamber_with_nothing_else_in_it_is_killed() {
    let mut rig = at_work();
    rig.end(1, &[0], Span::secs(5));
    rig.frame(ToHost::Grant(vec![grant(101, 7, 10, 12, rig.in_secs(9_000))]));
    expect![[r#"
        stop c1
        say: the complex took 3 tasks back
        prepare c2 for job 7, 2 threads
    "#]]
    .assert_eq(&rig.frame(ToHost::Revoke(vec![LeaseId(100), LeaseId(55)])));
    rig.frame(ToHost::Revoke(vec![LeaseId(101)]));
    rig.ack();
    assert!(rig.host.work.leases.is_empty());
}

#[test]
fn a_host_whose_tasks_were_all_revoked_asks_for_others() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 4);
    rig.prepared(1);
    expect![[r#"
        stop c1
        say: the complex took 4 tasks back
        send report 1: idle 2, tasks 0, backlog 0us
    "#]]
    .assert_eq(&rig.frame(ToHost::Revoke(vec![LeaseId(100)])));
    rig.ack();
    assert_eq!(rig.wait(Span::secs(20)), "", "and then it waits");
}

#[test]
fn tasks_past_their_deadline_are_stopped_and_given_back() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.frame(ToHost::Grant(vec![grant(100, 7, 0, 4, rig.in_secs(20))]));
    rig.prepared(1);
    expect![[r#"
        at 20.0 s
        say: the deadline of lease 100 passed with 4 tasks undone
        stop c1
        send report 1: lease 100 returned 0..4; idle 2, tasks 0, backlog 0us
    "#]]
    .assert_eq(&rig.wait(Span::secs(21)));
}

#[test]
fn a_task_that_nobody_wanted_any_more_is_adopted_when_it_is_granted_again() {
    let mut rig = at_work();
    rig.frame(ToHost::Grant(vec![grant(101, 7, 10, 12, rig.in_secs(9_000))]));
    rig.end(1, &[1], Span::millis(900));
    assert_eq!(rig.tasks_in(1), [0, 2]);
    rig.frame(ToHost::Revoke(vec![LeaseId(100)]));
    assert_eq!(rig.tasks_in(1), [0, 2], "they will soon be done, so the chamber lives");
    rig.grant(102, 7, 0, 3);
    let told = rig.end(1, &[0], Span::millis(900));
    assert!(told.contains("lease 102 done 0..1"), "{told}");
}
