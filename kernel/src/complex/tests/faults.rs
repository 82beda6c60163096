//! What happens to a task that is given up while others were asked about it as well, or will be.

use super::*;

/// A host says how one of its tasks ended.
fn say(world: &mut World, n: u8, task: u32, ended: Result<TaskResult, Fault>) {
    let host = world.hosts.get_mut(&n).unwrap();
    let holds = |grant: &Grant| grant.ranges.iter().any(|range| range.tasks().contains(&task));
    let lease = host.grants.iter().find(|grant| holds(grant)).unwrap().lease;
    for grant in &mut host.grants {
        let tasks = grant.ranges.iter().flat_map(|range| range.tasks()).filter(|&it| it != task);
        grant.ranges = tasks.map(|it| TaskRange::new(it, it + 1)).collect();
    }
    host.grants.retain(|grant| !grant.ranges.is_empty());
    host.seq += 1;
    let (results, faults) = match ended {
        Ok(result) => (vec![result], Vec::new()),
        Err(fault) => (Vec::new(), vec![(task, fault)]),
    };
    let (returned, busy) = (Vec::new(), Span::ZERO);
    let leases = vec![LeaseReport { lease, results, faults, returned, busy }];
    let report = Report { seq: host.seq, leases, room: Room::default() };
    let session = host.session.unwrap();
    world.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
}

/// Three must agree on each of two tasks. Two hosts have both; of the third, task 0 has a vote, and
/// task 1 waits for another.
fn waiting_for_a_third() -> (World, JobId) {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let verify = Verify::Quorum { agree: 3, of: 3 };
    let job = world.submit(JobSpec { verify, attempts_max: 1, ..job(2) });
    world.work(2, 1);
    world.leave(2);
    world.pass(Span::secs(60));
    (world, job)
}

fn given_up(world: &World, job: JobId) -> u32 {
    world.complex.job_view(job).unwrap().tasks.given_up
}

#[test]
fn a_task_that_is_given_up_waits_for_nobody_and_who_has_it_may_keep_it() {
    let (mut world, job) = waiting_for_a_third();
    say(&mut world, 1, 1, Err(Fault::NoMemory));
    assert_eq!(given_up(&world, job), 1);
    world.restart();
    (1..=3).for_each(|n| world.join(n));
    world.run();
    assert_eq!(world.state(job), JobState::Failed);
    let record = &world.tables.jobs[&job];
    assert_eq!((record.done, record.given_up), (1, 1));
}

#[test]
fn a_task_on_which_no_agreement_is_possible_waits_for_nobody() {
    let (mut world, job) = waiting_for_a_third();
    say(&mut world, 1, 1, Ok(right_answer(1)));
    assert_eq!(given_up(&world, job), 0);
    let mut wrong = right_answer(1);
    wrong.fuel.0 += 1;
    say(&mut world, 3, 1, Ok(wrong));
    assert_eq!(given_up(&world, job), 1);
    world.run();
    assert_eq!(world.state(job), JobState::Failed);
}
