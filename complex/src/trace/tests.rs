//! Lives put together from effects and hosts' words.

use isos_base::job::JobSpec;
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::record::{Accepted, JobState, ResultBatch};
use isos_base::task::{Exit, Fault, OutputAt, TaskResult};
use isos_base::trace::HostStep;
use isos_base::wire::Grant;
use isos_base::{AccountId, Bytes, Fuel, Guid, MicroCredits, TransferId};
use isos_kernel::complex::SessionId;

use super::*;

const JOB: JobId = JobId(42);

fn at(micros: u64) -> Time {
    Time(1_000_000 + micros)
}

fn host(byte: u8) -> HostId {
    HostId(PublicKey([byte; 32]))
}

fn task(task: u32) -> TaskId {
    TaskId { job: JOB, task }
}

fn job(id: u64, trace: TaskRange) -> JobRecord {
    let spec =
        JobSpec { trace: vec![trace], ..JobSpec::new(Guid::of(b"program"), Bytes(1), 1_000) };
    JobRecord {
        id: JobId(id),
        account: AccountId(100),
        spec,
        state: JobState::Active,
        price: Price(100),
        hold: TransferId(1),
        submitted: at(0),
        ended: None,
        spent: MicroCredits::ZERO,
        done: 0,
        failed: 0,
        given_up: 0,
        why: None,
        pinned: None,
        redone: Vec::new(),
        unchecked: 0,
    }
}

fn lease(id: u64, host: HostId, range: TaskRange, state: LeaseState) -> Effect {
    Effect::Keep(Change::Lease(Box::new(LeaseRecord {
        id: LeaseId(id),
        job: JOB,
        host,
        account: AccountId(101),
        ranges: vec![range],
        state,
        deadline: at(60_000_000),
        accepted: 0,
        rejected: 0,
        fuel: Fuel(0),
        bill: None,
        next_votes: 0,
        price: Price(100),
        held: None,
    })))
}

fn grant(id: u64, range: TaskRange) -> Effect {
    let (lease, job) = (LeaseId(id), JOB);
    let grant = Grant { lease, job, ranges: vec![range], deadline: at(60_000_000) };
    Effect::Send(SessionId(1), ToHost::Grant(vec![grant]))
}

fn result(task: u32) -> TaskResult {
    let output = OutputAt::Inline(Vec::new());
    TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1), output }
}

fn accepted(task: u32) -> Effect {
    let results = vec![Accepted { task, result: Ok(result(task)), host: Some(host(1)) }];
    Effect::Keep(Change::Results(ResultBatch { job: JOB, batch: 0, results }))
}

fn report(id: u64, results: Vec<TaskResult>, faults: Vec<(u32, Fault)>) -> Report {
    let lease =
        LeaseReport { lease: LeaseId(id), results, faults, returned: Vec::new(), busy: Span::ZERO };
    Report { seq: 1, leases: vec![lease], room: isos_base::wire::Room::default() }
}

fn told(lease: u64, task: u32, held: u64) -> HostTrace {
    let step = |step, from, length| HostStep { step, from: Span(from), length: Span(length) };
    let steps = vec![step(Step::Queue, 0, 100), step(Step::Run, 100, held - 100)];
    HostTrace { lease: LeaseId(lease), task, steps, held: Span(held) }
}

fn know(traces: &Traces, record: &JobRecord) {
    traces.decided(at(0), &[Effect::Keep(Change::Job(Box::new(record.clone())))]);
}

/// Effects that are decided now, and on the disk 3 ms later.
fn decide(traces: &Traces, now: u64, effects: &[Effect]) {
    let stamps = traces.decided(at(now), effects);
    traces.stamp(at(now + 3_000), &stamps);
}

fn steps(steps: &[TraceStep]) -> Vec<(Step, u64, u64)> {
    steps.iter().map(|it| (it.step, it.from.0, it.length.map_or(u64::MAX, |it| it.0))).collect()
}

#[test]
fn a_life_has_every_step_from_submission_to_the_kept_result() {
    let traces = Traces::default();
    know(&traces, &job(42, TaskRange::new(7, 9)));
    let open = traces.show(task(7)).unwrap();
    assert_eq!(steps(&open.steps), [(Step::Waits, 0, u64::MAX)]);
    assert!(traces.show(task(9)).is_none(), "nobody asked for it");
    let range = TaskRange::new(0, 16);
    let granted = [lease(1, host(1), range, LeaseState::Open), grant(1, range)];
    decide(&traces, 5_000, &granted);
    let out = traces.show(task(7)).unwrap();
    assert_eq!(steps(&out.tries[0].steps).last(), Some(&(Step::Host, 8_000, u64::MAX)));
    traces.told(at(29_000), host(1), told(1, 7, 20_000));
    traces.reported(at(29_200), host(1), &report(1, vec![result(7)], Vec::new()));
    decide(&traces, 29_200, &[accepted(7), lease(1, host(1), range, LeaseState::Settled)]);
    let life = traces.show(task(7)).unwrap();
    assert_eq!(life.total, Some(Span(32_200)));
    assert_eq!(steps(&life.steps), [(Step::Waits, 0, 5_000), (Step::KeepResult, 29_200, 3_000)]);
    let tried = &life.tries[0];
    assert_eq!((tried.host, &tried.end), (host(1), &TryEnd::Result));
    let expected = [
        (Step::KeepGrant, 5_000, 3_000),
        (Step::WayThere, 8_000, 500),
        (Step::Queue, 8_500, 100),
        (Step::Run, 8_600, 19_900),
        (Step::WayBack, 28_500, 500),
        (Step::Decide, 29_000, 200),
    ];
    assert_eq!(steps(&tried.steps), expected);
    assert_eq!(traces.show(task(8)).unwrap().tries[0].end, TryEnd::Lost, "its lease ended");
}

#[test]
fn executions_that_must_agree_and_those_that_fail_stand_side_by_side() {
    let traces = Traces::default();
    know(&traces, &job(42, TaskRange::new(0, 1)));
    let range = TaskRange::new(0, 1);
    for number in 1..=3 {
        let open = lease(number, host(number as u8), range, LeaseState::Open);
        decide(&traces, 1_000 * number, &[open, grant(number, range)]);
    }
    traces.reported(at(10_000), host(1), &report(1, Vec::new(), vec![(0, Fault::TimedOut)]));
    traces.reported(at(20_000), host(2), &report(2, vec![result(0)], Vec::new()));
    traces.reported(at(50_000), host(3), &report(3, vec![result(0)], Vec::new()));
    decide(&traces, 50_000, &[accepted(0)]);
    let life = traces.show(task(0)).unwrap();
    let ends: Vec<_> = life.tries.iter().map(|tried| tried.end.clone()).collect();
    let fault = TryEnd::Fault(Fault::TimedOut.to_string());
    assert_eq!(ends, [fault, TryEnd::Result, TryEnd::Result]);
    assert!(steps(&life.steps).contains(&(Step::Agree, 20_000, 30_000)));
}

#[test]
fn what_nobody_asked_for_or_cannot_be_changes_nothing() {
    let traces = Traces::default();
    know(&traces, &job(42, TaskRange::new(0, 1)));
    let range = TaskRange::new(0, 4);
    decide(&traces, 0, &[lease(1, host(1), range, LeaseState::Open), grant(1, range)]);
    let before = traces.show(task(0));
    traces.told(at(9_000), host(2), told(1, 0, 1_000));
    traces.told(at(9_000), host(1), told(1, 3, 1_000));
    traces.told(at(9_000), host(1), told(2, 0, 1_000));
    assert_eq!(traces.show(task(0)), before);
    // A host that claims more time than has passed, and steps beyond it.
    let mut long = told(1, 0, u64::MAX);
    long.steps.resize(10_000, HostStep { step: Step::Run, from: Span(9), length: Span(u64::MAX) });
    traces.told(at(9_000), host(1), long);
    let life = traces.show(task(0)).unwrap();
    let tried = &life.tries[0].steps;
    assert!(tried.len() < HOST_STEPS_MAX + 8);
    let end = |it: &TraceStep| it.from + it.length.unwrap_or(Span::ZERO);
    assert!(tried.iter().all(|step| end(step) <= Span(9_000)), "{tried:?}");
    let kept = traces.book().lives[&task(0)].tries[0].told.as_ref().unwrap().0.steps.capacity();
    assert!(kept <= HOST_STEPS_MAX, "no room stays behind what was cut off");
}

#[test]
fn nobody_speaks_for_another_host_or_for_the_server() {
    let traces = Traces::default();
    know(&traces, &job(42, TaskRange::new(0, 1)));
    let range = TaskRange::new(0, 4);
    decide(&traces, 0, &[lease(1, host(1), range, LeaseState::Open), grant(1, range)]);
    let why = Fault::SandboxDied("x".repeat(1 << 20));
    traces.reported(at(5_000), host(2), &report(1, vec![result(0)], Vec::new()));
    assert_eq!(traces.show(task(0)).unwrap().tries[0].end, TryEnd::Open);
    let mut lie = told(1, 0, 1_000);
    let forged = [Step::Decide, Step::WayBack, Step::KeepResult];
    let forged = forged.map(|step| HostStep { step, from: Span(1), length: Span(900) });
    lie.steps.extend(forged);
    traces.told(at(5_000), host(1), lie);
    traces.reported(at(6_000), host(1), &report(1, Vec::new(), vec![(0, why)]));
    let tried = &traces.show(task(0)).unwrap().tries[0];
    let ours = |step: &&TraceStep| step.step == Step::Decide;
    assert_eq!(tried.steps.iter().filter(ours).count(), 1, "the server's own");
    assert!(!tried.steps.iter().any(|step| step.step == Step::KeepResult));
    let TryEnd::Fault(why) = &tried.end else { panic!("{:?}", tried.end) };
    assert_eq!(why.chars().count(), FAULT_CHARS_MAX);
}

#[test]
fn between_executions_a_task_waits_and_with_its_job_it_ends() {
    let traces = Traces::default();
    know(&traces, &job(42, TaskRange::new(0, 1)));
    let range = TaskRange::new(0, 4);
    decide(&traces, 1_000, &[lease(1, host(1), range, LeaseState::Open), grant(1, range)]);
    decide(&traces, 9_000, &[lease(1, host(1), range, LeaseState::Returned)]);
    let lost = traces.show(task(0)).unwrap();
    assert_eq!(lost.tries[0].end, TryEnd::Lost);
    assert_eq!(steps(&lost.steps), [(Step::Waits, 0, 1_000), (Step::Waits, 9_000, u64::MAX)]);
    decide(&traces, 20_000, &[lease(2, host(2), range, LeaseState::Open), grant(2, range)]);
    let again = traces.show(task(0)).unwrap();
    assert_eq!(steps(&again.steps)[1], (Step::Waits, 9_000, 11_000));
    let cancelled = JobRecord { state: JobState::Cancelled, ..job(42, TaskRange::new(0, 1)) };
    decide(&traces, 30_000, &[Effect::Keep(Change::Job(Box::new(cancelled)))]);
    assert_eq!(traces.show(task(0)).unwrap().total, Some(Span(33_000)));
}

#[test]
fn a_grant_that_ends_before_it_is_kept_does_not_go_on_for_ever() {
    let traces = Traces::default();
    know(&traces, &job(42, TaskRange::new(0, 1)));
    let range = TaskRange::new(0, 4);
    let granted = [lease(1, host(1), range, LeaseState::Open), grant(1, range)];
    let stamps = traces.decided(at(1_000), &granted);
    traces.decided(at(2_000), &[lease(1, host(1), range, LeaseState::Returned)]);
    let ended = traces.show(task(0)).unwrap();
    assert_eq!(steps(&ended.tries[0].steps), [(Step::KeepGrant, 1_000, 1_000)]);
    traces.stamp(at(4_000), &stamps);
    let kept = traces.show(task(0)).unwrap();
    assert_eq!(steps(&kept.tries[0].steps)[0], (Step::KeepGrant, 1_000, 3_000));
}

#[test]
fn what_was_before_this_server_led_is_not_made_up() {
    let traces = Traces::after(LeaseId(5), &[job(42, TaskRange::new(0, 1))]);
    assert!(traces.show(task(0)).is_none(), "it may be done long ago");
    let range = TaskRange::new(0, 4);
    decide(&traces, 1_000, &[lease(5, host(1), range, LeaseState::Open)]);
    assert!(traces.show(task(0)).is_none());
    decide(&traces, 2_000, &[lease(6, host(1), range, LeaseState::Open), grant(6, range)]);
    assert_eq!(traces.show(task(0)).unwrap().tries.len(), 1);
}

#[test]
fn only_so_many_lives_are_kept() {
    let traces = Traces::default();
    let count = LIVES_MAX as u64 + 10;
    let range = TaskRange::new(0, 1);
    for id in 0..count {
        know(&traces, &job(id, range));
        let Effect::Keep(Change::Lease(mut record)) = lease(id, host(1), range, LeaseState::Open)
        else {
            unreachable!("a lease is a change")
        };
        record.job = JobId(id);
        traces.decided(at(id), &[Effect::Keep(Change::Lease(record))]);
    }
    assert_eq!(traces.book().lives.len(), LIVES_MAX);
    assert!(traces.show(TaskId { job: JobId(count - 1), task: 0 }).is_some());
}
