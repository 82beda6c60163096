//! From the first connection to the last report.

use expect_test::expect;

use super::*;

#[test]
fn a_host_starts_cold_and_works() {
    let mut rig = Rig::new(2);
    let mut told = rig.allow(2);
    told += &rig.step(Input::Connected { session: SessionId(1) });
    told += &rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) });
    told += &rig.frame(job(7, 10));
    told += &rig.grant(100, 7, 0, 3);
    told += &rig.prepared(1);
    rig.wait(Span::secs(4));
    told += &rig.end(1, &[0], Span::secs(4));
    told += &rig.end(1, &[1], Span::secs(4));
    told += &rig.ack();
    rig.wait(Span::secs(4));
    told += &rig.ack();
    told += &rig.end(1, &[2], Span::secs(4));
    told += &rig.ack();
    told += &rig.frame(ToHost::Sleep(Span::secs(60)));
    told += &rig.wait(Span::secs(70));
    expect![[r#"
        connect s1
        send hello: 2 cores, holding [], idle 2, tasks 0, backlog 0us
        say: connected; account 9 earns
        prepare c1 for job 7, 2 threads
        start in c1: 0..2
        start in c1: 2..3
        send report 1: lease 100 done 0..1; idle 0, tasks 2, backlog 2s
        send report 2: lease 100 done 1..2; idle 1, tasks 1, backlog 4s
        send report 4: lease 100 done 2..3; idle 2, tasks 0, backlog 0us
        disconnect s1
        say: no work; asking again at 1970-01-01T00:17:48Z
        at 38.0 s
        drop c1
        at 68.0 s
        connect s2
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.host.status().done, 3);
}

#[test]
fn whoever_lends_more_at_best_says_so_in_a_new_session_and_keeps_its_work() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 3);
    rig.prepared(1);
    let spec = |gib: u64| Box::new(HostSpec { memory: Bytes::gib(gib), ..host_spec(2) });
    let same = rig.step(Input::Described { spec: Box::new(host_spec(2)) });
    assert_eq!(same, "", "nothing has changed");
    // While its owner wants quiet it would be taken for lost.
    rig.allow(0);
    assert_eq!(rig.step(Input::Described { spec: spec(16) }), "");
    let mut told = rig.allow(2);
    told += &rig.wait(Span::secs(1));
    expect![[r#"
        resume
        say: resumed
        disconnect s1
        say: session lost: the policy lends more at best, or less: the complex is told; again at 1970-01-01T00:16:40Z
        at 0.2 s
        connect s2
    "#]].assert_eq(&told);
    let session = rig.session.expect("it calls again");
    let hello = rig.step(Input::Connected { session });
    assert!(hello.contains("holding [100]"), "{hello}");
}

#[test]
fn tiny_tasks_are_streamed_ahead_of_the_chamber() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100_000));
    rig.grant(100, 7, 0, 1_000);
    assert_eq!(rig.prepared(1), "start in c1: 0..2\n");
    // 50 ms for two threads at 1 ms a task is 100 tasks.
    let told = rig.end(1, &[0, 1], Span::millis(1));
    expect![[r#"
        start in c1: 2..102
        send report 1: lease 100 done 0..2; idle 0, tasks 998, backlog 499ms
    "#]]
    .assert_eq(&told);
    // A batch that leaves three quarters inside brings no more tasks, a larger one does.
    let told = rig.end(1, &(2..10).collect::<Vec<_>>(), Span::millis(1));
    expect![[r#"
        send report 2: lease 100 done 2..10; idle 0, tasks 990, backlog 495ms
    "#]]
    .assert_eq(&told);
    let told = rig.end(1, &(10..40).collect::<Vec<_>>(), Span::millis(1));
    expect![[r#"
        start in c1: 102..140
    "#]]
    .assert_eq(&told);
}

#[test]
fn long_tasks_are_fed_one_for_each_core() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 10);
    rig.prepared(1);
    rig.end(1, &[0], Span::secs(5));
    assert_eq!(rig.tasks_in(1), [1, 2]);
}

#[test]
fn the_earliest_deadline_goes_first_and_the_next_job_is_prepared_meanwhile() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.frame(job(8, 100));
    let (late, soon) = (rig.in_secs(1_000), rig.in_secs(500));
    rig.frame(ToHost::Grant(vec![grant(100, 7, 0, 4, late)]));
    rig.prepared(1);
    let told = rig.frame(ToHost::Grant(vec![grant(101, 8, 0, 2, soon)]));
    assert_eq!(told, "prepare c2 for job 8, 2 threads\n");
    assert_eq!(rig.prepared(2), "", "running tasks keep their cores");
    assert!(rig.end(1, &[0], Span::secs(5)).starts_with("start in c2: 0..1\n"));
    assert!(rig.end(1, &[1], Span::secs(5)).starts_with("start in c2: 1..2\n"));
    assert!(rig.end(2, &[0], Span::secs(5)).starts_with("start in c1: 2..3\n"));
}

#[test]
fn a_task_that_does_not_fit_does_not_leave_cores_idle_for_ever_nor_wait_for_ever() {
    let mut rig = Rig::online(4);
    rig.frame(big_job(7, 1_000, Bytes::gib(1)));
    rig.frame(big_job(8, 10, Bytes::gib(3)));
    let (late, soon) = (rig.in_secs(3_000), rig.in_secs(500));
    rig.frame(ToHost::Grant(vec![grant(100, 7, 0, 100, late)]));
    rig.prepared(1);
    assert_eq!(rig.tasks_in(1).len(), 4);
    rig.frame(ToHost::Grant(vec![grant(101, 8, 0, 1, soon)]));
    rig.prepared(2);
    // Cores that become free are filled with small tasks, because the big one does not fit.
    for task in 0..4 {
        rig.wait(Span::secs(5));
        rig.end(1, &[task], Span::secs(20));
        assert_eq!(rig.tasks_in(1).len(), 4, "backfilled");
    }
    // But not for longer than the big one may starve.
    rig.wait(Span::secs(30));
    for task in 4..7 {
        rig.end(1, &[task], Span::secs(20));
    }
    assert_eq!(rig.tasks_in(2), [0]);
    assert_eq!(rig.tasks_in(1).len(), 1);
}

#[test]
fn at_most_four_chambers_are_open_and_an_idle_one_makes_place() {
    let mut rig = Rig::online(2);
    for id in 1..=5 {
        rig.frame(job(id, 10));
        rig.frame(ToHost::Grant(vec![grant(100 + id, id, 0, 1, rig.in_secs(1_000 + id))]));
    }
    assert_eq!(rig.chambers.len(), 4);
    (1..=4).for_each(|chamber| drop(rig.prepared(chamber)));
    let told = rig.end(1, &[0], Span::secs(1));
    expect![[r#"
        drop c1
        prepare c5 for job 5, 2 threads
        start in c3: 0..1
        send report 1: lease 101 done 0..1; idle 0, tasks 4, backlog 2s
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_chamber_without_work_is_dropped_after_a_grace_time() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 1);
    rig.prepared(1);
    rig.end(1, &[0], Span::secs(1));
    rig.ack();
    expect![[r#"
        at 30.0 s
        drop c1
    "#]]
    .assert_eq(&rig.wait(Span::secs(40)));
}

#[test]
fn results_gather_while_two_reports_are_under_way() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 10);
    rig.prepared(1);
    for task in 0..5 {
        rig.end(1, &[task], Span::millis(20));
    }
    assert_eq!(rig.reports.len(), 2);
    let told = rig.frame(ToHost::Ack { seq: 1, earned: MicroCredits(5) });
    expect![[r#"
        send report 3: lease 100 done 2..5; idle 0, tasks 5, backlog 100ms
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.host.status().earned, MicroCredits(5));
}

#[test]
fn a_report_is_bounded_in_tasks_and_bytes() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 100_000));
    rig.frame(ToHost::Grant(
        (0..5)
            .map(|i| grant(100 + i, 7, 1_000 * i as u32, 1_000 * (i as u32 + 1), rig.in_secs(99)))
            .collect(),
    ));
    rig.prepared(1);
    rig.end(1, &[0], Span::micros(1));
    rig.end(1, &[1], Span::micros(1));
    // Both reports are under way; the rest gathers.
    while !rig.tasks_in(1).is_empty() {
        let tasks = rig.tasks_in(1).to_vec();
        let chamber = ChamberId(1);
        let output = OutputAt::Inline(vec![0; 2_000]);
        let full = |task| {
            Ok(TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1), output: output.clone() })
        };
        let ended = tasks.iter().map(|&task| Ended { task, wall: Span(1), outcome: full(task) });
        let ended = ended.collect();
        rig.chambers.get_mut(&chamber).expect("open").tasks.clear();
        rig.step(Input::TasksEnded { chamber, ended });
    }
    let mut done = 2;
    while rig.host.status().unreported {
        rig.ack();
        let report = rig.reports.last().expect("a report");
        let bytes = isos_base::codec::encode(&ToComplex::Report(report.clone())).len();
        assert!(bytes <= 5 << 19, "{bytes} bytes");
        assert!(report.leases.iter().map(|news| news.results.len()).sum::<usize>() <= 2_048);
    }
    done += rig.reports[2..].iter().flat_map(|r| &r.leases).map(|n| n.results.len()).sum::<usize>();
    assert_eq!(done, 5_000);
}

#[test]
fn the_complex_is_told_in_time_that_cores_will_be_idle() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 100));
    rig.grant(100, 7, 0, 4);
    rig.prepared(1);
    rig.wait(Span::secs(10));
    rig.end(1, &[0, 1], Span::secs(10));
    rig.ack();
    expect![[r#"
        at 15.0 s
        send report 2: idle 0, tasks 2, backlog 5s
    "#]]
    .assert_eq(&rig.wait(Span::secs(9)));
}

#[test]
fn a_lost_session_is_made_again_and_what_was_not_acknowledged_is_said_again() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 4);
    rig.prepared(1);
    rig.end(1, &[0], Span::secs(1));
    let session = rig.session.take().expect("online");
    let mut told = rig.step(Input::Disconnected { session, why: "the network is gone".into() });
    told += "-- work goes on\n";
    told += &rig.end(1, &[1], Span::secs(1));
    told += &rig.wait(Span::secs(2));
    told += &rig.step(Input::Connected { session: SessionId(2) });
    told += &rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) });
    told += "-- late words of the old session change nothing\n";
    let late = ToHost::Ack { seq: 1, earned: MicroCredits(1) };
    told += &rig.step(Input::FrameArrived { session, frame: late });
    told += &rig.step(Input::Disconnected { session, why: "late".into() });
    expect![[r#"
        say: session lost: the network is gone; again at 1970-01-01T00:16:40Z
        -- work goes on
        start in c1: 2..3
        at 0.8 s
        connect s2
        send hello: 1 cores, holding [100], idle 0, tasks 2, backlog 1s
        say: connected; account 9 earns
        send report 1: lease 100 done 0..2; idle 0, tasks 2, backlog 1s
        -- late words of the old session change nothing
    "#]]
    .assert_eq(&told);
    rig.ack();
    assert!(!rig.host.status().unreported);
}

#[test]
fn retries_come_later_and_later_but_not_for_ever_later() {
    let mut rig = Rig::new(1);
    rig.allow(1);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let session = rig.session.take().expect("an attempt");
        let lost_at = rig.now;
        rig.step(Input::Disconnected { session, why: "nobody there".into() });
        let at = rig.host.deadline().expect("another attempt");
        waits.push(at.since(lost_at).0 / 100_000);
        rig.now = at;
        rig.step(Input::TimerFired);
    }
    expect!["[7, 17, 39, 57, 115, 282, 600, 974, 1645, 2690, 2106, 2408] tenths of a second"]
        .assert_eq(&format!("{waits:?} tenths of a second"));
}

#[test]
fn a_host_that_is_barred_drops_everything_and_stops_trying() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 4);
    rig.prepared(1);
    let told = rig.frame(ToHost::Refused(isos_base::wire::Refusal::Barred("it cheated".into())));
    expect![[r#"
        disconnect s1
        say: refused: this host is barred: it cheated
        stop c1
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.host.deadline(), None);
    assert!(matches!(rig.host.status().state, HostState::Refused(_)));
}

#[test]
fn a_busy_complex_is_left_alone_for_as_long_as_it_asks() {
    let mut rig = Rig::new(1);
    rig.allow(1);
    rig.step(Input::Connected { session: SessionId(1) });
    rig.frame(ToHost::Refused(isos_base::wire::Refusal::Busy(Span::secs(40))));
    assert_eq!(rig.wait(Span::secs(39)), "");
    assert!(rig.wait(Span::secs(12)).contains("connect s2"));
}

#[test]
fn a_host_that_is_sent_elsewhere_goes_there_soon_but_not_round_in_circles() {
    let mut rig = Rig::new(1);
    rig.allow(1);
    let mut waits = Vec::new();
    for session in 1..=40 {
        rig.step(Input::Connected { session: SessionId(session) });
        rig.frame(ToHost::Refused(isos_base::wire::Refusal::Elsewhere));
        let before = rig.now;
        rig.wait(rig.host.deadline().unwrap().since(before));
        waits.push(rig.now.since(before));
    }
    let soon = Span::millis(50);
    assert_eq!(waits[..4], [soon; 4], "the first words are taken");
    let slow = Span::secs(1)..Span::secs(2);
    assert!(waits[4..34].iter().all(|wait| slow.contains(wait)), "a leader is awaited: {waits:?}");
    assert!(*waits.last().unwrap() > Span::secs(10), "there is none: {waits:?}");
    rig.step(Input::Connected { session: SessionId(41) });
    rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) });
    rig.frame(ToHost::Refused(isos_base::wire::Refusal::Elsewhere));
    assert_eq!(rig.host.deadline(), Some(rig.now + soon), "that was long ago");
}

#[test]
fn a_silent_complex_is_given_up() {
    let mut rig = Rig::new(1);
    rig.allow(1);
    rig.step(Input::Connected { session: SessionId(1) });
    expect![[r#"
        at 30.0 s
        disconnect s1
        say: session lost: the complex did not answer the greeting; again at 1970-01-01T00:17:10Z
        at 30.8 s
        connect s2
    "#]]
    .assert_eq(&rig.wait(Span::secs(31)));
    rig.step(Input::Connected { session: SessionId(2) });
    rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) });
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 1);
    rig.prepared(1);
    rig.end(1, &[0], Span::secs(1));
    assert!(rig.wait(Span::secs(61)).contains("does not acknowledge reports"));
}

#[test]
fn a_host_without_work_sleeps_but_wakes_for_a_new_offer() {
    let mut rig = Rig::online(1);
    rig.wait(Span::secs(1));
    rig.allow(0);
    rig.frame(ToHost::Sleep(Span::secs(3_000)));
    rig.wait(Span::secs(10));
    assert_eq!(rig.allow(1), "connect s2\n");
}

#[test]
fn offers_are_not_sent_more_often_than_they_are_of_use() {
    let mut rig = Rig::online(4);
    rig.wait(Span::secs(60));
    assert_eq!(rig.allow(3), "send offer: 3 cores\n");
    assert_eq!(rig.allow(2), "");
    assert_eq!(rig.allow(1), "");
    expect![[r#"
        at 60.2 s
        send offer: 1 cores
    "#]]
    .assert_eq(&rig.wait(Span::secs(5)));
    let mut chatty = offer(1);
    chatty.reasons = vec!["another word".into()];
    chatty.memory = chatty.memory - Bytes::mib(1);
    rig.step(Input::Allowed { offer: chatty, until: None });
    expect![[r#"
        at 90.2 s
        send offer: 1 cores
    "#]]
    .assert_eq(&rig.wait(Span::secs(60)));
}

#[test]
fn a_host_that_stops_gives_everything_back() {
    let mut rig = Rig::online(1);
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 4);
    rig.prepared(1);
    rig.end(1, &[0], Span::secs(1));
    let told = rig.step(Input::Stopping);
    expect![[r#"
        stop c1
        send report 2: lease 100 returned 1..4; idle 1, tasks 0, backlog 0us
        send goodbye
        disconnect s1
    "#]]
    .assert_eq(&told);
    assert_eq!(rig.step(Input::TimerFired), "");
    assert_eq!(rig.host.status().state, HostState::Stopped);
}

#[test]
fn deadlines_are_read_on_the_clock_of_the_complex() {
    let mut rig = Rig::new(1);
    rig.allow(1);
    rig.step(Input::Connected { session: SessionId(1) });
    let theirs = rig.now + Span::secs(50_000);
    rig.frame(ToHost::Welcome { now: theirs, account: AccountId(9) });
    rig.frame(job(7, 10));
    rig.frame(ToHost::Grant(vec![grant(100, 7, 0, 2, theirs + Span::secs(5))]));
    rig.prepared(1);
    expect![[r#"
        at 5.0 s
        say: the deadline of lease 100 passed with 2 tasks undone
        stop c1
        send report 1: lease 100 returned 0..2; idle 1, tasks 0, backlog 0us
    "#]]
    .assert_eq(&rig.wait(Span::secs(6)));
}

#[test]
fn a_complex_that_grants_what_is_turned_down_is_answered_once_a_second() {
    let mut rig = Rig::online(1);
    rig.frame(big_job(7, 1_000, Bytes::gib(4)));
    let mut small = offer(1);
    small.memory = Bytes::gib(1);
    rig.step(Input::Allowed { offer: small, until: None });
    let mut told = rig.grant(1, 7, 0, 10);
    rig.ack();
    for lease in 2..5 {
        rig.wait(Span::millis(10));
        told += &rig.grant(lease, 7, 0, 10);
        rig.ack();
        told += &rig.wait(Span::millis(1_500));
        rig.ack();
    }
    expect![[r#"
        say: lease 1 of job 7 turned down: a task needs 4 GiB of memory, offered are 1 GiB
        send report 1: lease 1 returned 0..10; idle 1, tasks 0, backlog 0us
        say: lease 2 of job 7 turned down: a task needs 4 GiB of memory, offered are 1 GiB
        at 0.2 s
        send offer: 1 cores
        at 1.0 s
        send report 2: lease 2 returned 0..10; idle 1, tasks 0, backlog 0us
        say: lease 3 of job 7 turned down: a task needs 4 GiB of memory, offered are 1 GiB
        at 2.0 s
        send report 3: lease 3 returned 0..10; idle 1, tasks 0, backlog 0us
        say: lease 4 of job 7 turned down: a task needs 4 GiB of memory, offered are 1 GiB
        send report 4: lease 4 returned 0..10; idle 1, tasks 0, backlog 0us
    "#]]
    .assert_eq(&told);
}

#[test]
fn short_tasks_get_another_chamber_when_there_are_more_cores() {
    let mut rig = Rig::new(8);
    rig.allow(2);
    rig.come_online();
    rig.frame(job(7, 100_000));
    rig.grant(100, 7, 0, 1_000);
    rig.prepared(1);
    assert_eq!(rig.chambers[&ChamberId(1)].threads, 8, "nothing is known about its tasks");
    rig.end(1, &[0], Span::millis(1));
    assert_eq!(rig.tasks_in(1).len(), 2, "width is kept by feeding");
    rig.wait(Span::secs(11));
    // Short tasks want to be streamed, which needs as many threads as cores.
    let left = rig.tasks_in(1).to_vec();
    rig.end(1, &left[..1], Span::millis(1));
    assert!(rig.end(1, &left[1..], Span::millis(1)).contains("prepare c2 for job 7, 2 threads"));
    rig.prepared(2);
    assert_eq!(rig.tasks_in(2).len(), 100);
}

#[test]
fn a_host_that_has_done_all_takes_more_before_that_is_acknowledged() {
    use isos_base::limits::{HOST_TASKS_MAX, LEASE_TASKS_MAX};
    let mut rig = Rig::online(4);
    rig.frame(job(1, 2 * HOST_TASKS_MAX));
    let each = LEASE_TASKS_MAX.min(HOST_TASKS_MAX);
    let leases = HOST_TASKS_MAX / each;
    for lease in 0..leases {
        let said = rig.grant(u64::from(lease) + 1, 1, lease * each, (lease + 1) * each);
        assert!(!said.contains("there is enough to do"), "{said}");
    }
    let said = rig.grant(1_000, 1, HOST_TASKS_MAX, HOST_TASKS_MAX + 1);
    assert!(said.contains("there is enough to do"), "{said}");
    // Done, and told in a report that nobody has acknowledged.
    rig.prepared(1);
    let inside: Vec<u32> = rig.tasks_in(1).to_vec();
    rig.end(1, &inside, Span::micros(20));
    assert!(!inside.is_empty());
    let (from, to) = (HOST_TASKS_MAX + 1, HOST_TASKS_MAX + 1 + inside.len() as u32);
    let said = rig.grant(1_001, 1, from, to);
    assert!(!said.contains("there is enough to do"), "{said}");
}
