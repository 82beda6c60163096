//! Jobs of some of the tasks that another one numbered, and of very many.

use isos_base::record::{CHUNK_TASKS, TaskState, states};

use super::*;

fn range(start: u32, end: u32) -> TaskRange {
    TaskRange::new(start, end)
}

/// A job of six of a hundred tasks, some in another chunk than the others.
fn part(verify: Verify) -> JobSpec {
    let tasks = vec![range(3, 5), range(7, 8), range(4_200, 4_203)];
    JobSpec { tasks, verify, ..job(10_000) }
}

fn accepted(world: &World, job: JobId) -> Vec<u32> {
    let mut tasks: Vec<u32> = world.tables.results_of(job).map(|result| result.task).collect();
    tasks.sort_unstable();
    tasks
}

#[test]
fn a_job_of_some_tasks_runs_these_and_no_others() {
    for verify in [Verify::Trusted, Verify::Quorum { agree: 2, of: 3 }] {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        let id = world.submit(part(verify));
        let view = world.complex.job_view(id).unwrap();
        assert_eq!(view.tasks.total, 6);
        let each = 100 * i64::from(verify.replicas_max());
        assert_eq!(view.held, MicroCredits(6 * each), "what six tasks can cost");
        world.work(1, 2);
        world.restart();
        let view = world.complex.job_view(id).unwrap();
        assert_eq!(view.tasks.total, 6);
        let counts = view.tasks;
        let sum = counts.waiting + counts.running + counts.checking + counts.done;
        assert_eq!(sum, 6, "{counts:?}");
        (1..=3).for_each(|n| world.join(n));
        world.run();
        assert_eq!(world.state(id), JobState::Done);
        assert_eq!(accepted(&world, id), [3, 4, 7, 4_200, 4_201, 4_202]);
        let view = world.complex.job_view(id).unwrap();
        assert_eq!((view.tasks.done, view.tasks.total), (6, 6));
    }
}

#[test]
fn a_job_of_some_tasks_can_be_cancelled_and_explained() {
    let mut world = World::new();
    let id = world.submit(part(Verify::Trusted));
    let task = |task| isos_base::TaskId { job: id, task };
    assert!(world.complex.explain_task(task(7)).is_some());
    assert!(world.complex.explain_task(task(8)).is_none(), "there is no such task");
    world.call(Call::Cancel { job: id }).unwrap();
    let view = world.complex.job_view(id).unwrap();
    assert_eq!((view.tasks.total, view.tasks.given_up), (6, 6));
    assert_eq!(world.state(id), JobState::Cancelled);
}

#[test]
fn hosts_are_not_told_which_tasks_others_have() {
    let mut world = World::new();
    world.join(1);
    let mut effects = Vec::new();
    let spec = Box::new(part(Verify::Trusted));
    let call = Call::Submit { account: world.buyer(), spec, key: None };
    world.complex.step(world.now, Input::Requested { request: RequestId(0), call }, &mut effects);
    let offered = effects.iter().find_map(|effect| match effect {
        Effect::Send(_, ToHost::Job(offer)) => Some(&offer.spec),
        _ => None,
    });
    let offered = offered.expect("the host is told of the job");
    assert_eq!((offered.count, offered.tasks.len()), (10_000, 0));
}

#[test]
fn a_part_of_tasks_that_is_none_is_refused() {
    let mut world = World::new();
    let mut refused = |tasks| {
        let spec = Box::new(JobSpec { tasks, ..job(10) });
        let call = Call::Submit { account: world.buyer(), spec, key: None };
        world.call(call).unwrap_err()
    };
    for tasks in [vec![range(4, 4)], vec![range(5, 6), range(1, 2)], vec![range(0, 11)]] {
        assert_eq!(refused(tasks).code, ProblemCode::Usage);
    }
    let many = (0..5_000).map(|n| range(2 * n, 2 * n + 1)).collect();
    assert!(refused(many).message.contains("make several jobs"));
}

#[test]
fn ten_million_tasks_are_submitted_begun_restored_and_cancelled_by_ranges() {
    const COUNT: u32 = 10_000_000;
    let mut world = World::new();
    world.join(1);
    let price_max = Some(MicroCredits::credits(100));
    let id = world.submit(JobSpec { price_max, ..job(COUNT) });
    for _ in 0..20 {
        world.now += Span::secs(1);
        world.work(1, 400);
    }
    let before = world.complex.job_view(id).unwrap().tasks;
    assert!(before.done > 100, "{before:?}");
    world.restart();
    let after = world.complex.job_view(id).unwrap().tasks;
    assert_eq!((after.done, after.total), (before.done, COUNT));
    world.call(Call::Cancel { job: id }).unwrap();
    let end = world.complex.job_view(id).unwrap().tasks;
    assert_eq!((end.done, end.given_up), (before.done, COUNT - before.done));
    // What is written of it are the chunks in which something was done.
    let written = world.tables.states.range((id, 0)..=(id, u32::MAX));
    let mut done = 0;
    for (&(_, chunk), chunk_states) in written {
        assert!(chunk <= before.done / CHUNK_TASKS + 1);
        let runs = states::runs(&chunk_states.bits, CHUNK_TASKS);
        let runs = runs.filter(|(state, _)| *state == TaskState::Done);
        done += runs.map(|(_, range)| range.len()).sum::<u32>();
    }
    assert_eq!(done, before.done);
}
