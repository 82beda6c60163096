//! Tasks that save their state.

use expect_test::expect;
use isos_base::checkpoint::{Checkpoint, Resume};

use super::*;

const SEGMENT: u64 = 100_000_000;

fn saved(task: u32, segments: usize, kept: bool) -> Input {
    Input::TaskSaved {
        chamber: ChamberId(1),
        task,
        fuel: Fuel(segments as u64 * SEGMENT),
        roots: vec![Guid::of(b"root"); segments],
        kept: kept.then_some(Bytes(300)),
    }
}

fn resume(lease: u64, task: u32) -> Resume {
    let from = Checkpoint { guid: Guid::of(b"root"), size: Bytes(300), fuel: Fuel(SEGMENT) };
    Resume { lease: LeaseId(lease), task, from: Some(from), until: None, chain: None }
}

#[test]
fn how_far_a_task_has_come_is_told_at_once_and_again_in_the_next_session() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 10));
    rig.grant(100, 7, 0, 2);
    rig.prepared(1);
    let mut told = rig.step(saved(0, 1, true));
    told += &rig.step(saved(0, 2, true));
    told += &rig.step(saved(0, 3, false));
    told += &rig.step(saved(5, 3, false));
    told += "a new session\n";
    let session = rig.session.take().unwrap();
    rig.step(Input::Disconnected { session, why: "lost".into() });
    rig.wait(Span::secs(60));
    let session = rig.session.expect("a session was asked for");
    rig.step(Input::Connected { session });
    told += &rig.frame(ToHost::Welcome { now: rig.now, account: AccountId(9) });
    told += "its result is acknowledged\n";
    rig.end(1, &[0], Span::secs(60));
    rig.ack();
    rig.end(1, &[1], Span::secs(60));
    rig.ack();
    rig.host.check_invariants();
    assert!(rig.host.work.leases.is_empty());
    expect![[r#"
        send saved: lease 100 task 0, 1 roots, 100.0M fuel, kept 300 B
        send saved: lease 100 task 0, 2 roots, 200.0M fuel, kept 300 B
        send saved: lease 100 task 0, 3 roots, 300.0M fuel
        a new session
        say: connected; account 9 earns
        send saved: lease 100 task 0, 2 roots, 200.0M fuel, kept 300 B
        send saved: lease 100 task 0, 3 roots, 300.0M fuel
        its result is acknowledged
    "#]]
    .assert_eq(&told);
}

#[test]
fn tasks_go_on_where_the_complex_says_and_the_others_begin() {
    let mut rig = Rig::online(2);
    rig.frame(job(7, 10));
    rig.frame(ToHost::Resume(vec![resume(100, 1), resume(999, 1)]));
    rig.grant(100, 7, 0, 3);
    let mut told = rig.prepared(1);
    told += &rig.end(1, &[0, 1], Span::secs(4));
    expect![[r#"
        go on in c1: 1..2
        start in c1: 0..2
        start in c1: 2..3
        send report 1: lease 100 done 0..2; idle 1, tasks 1, backlog 4s
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_complex_that_says_too_much_about_tasks_does_not_fill_the_memory() {
    let mut rig = Rig::online(2);
    let many: Vec<_> = (0..10_000).map(|task| resume(100, task)).collect();
    rig.frame(ToHost::Resume(many));
    rig.frame(job(7, 10));
    rig.grant(101, 7, 0, 1);
    assert_eq!(rig.prepared(1), "start in c1: 0..1\n");
}
