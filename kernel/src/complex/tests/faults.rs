//! What one host's faults do to a task that others were asked about as well.

use super::*;

/// A host says that a task failed there, through no fault of the program.
fn fail(world: &mut World, n: u8, task: u32) {
    let host = world.hosts.get_mut(&n).unwrap();
    let holds = |grant: &Grant| grant.ranges.iter().any(|range| range.tasks().contains(&task));
    let lease = host.grants.iter().find(|grant| holds(grant)).unwrap().lease;
    for grant in &mut host.grants {
        let tasks = grant.ranges.iter().flat_map(|range| range.tasks());
        grant.ranges =
            tasks.filter(|&it| it != task).map(|it| TaskRange::new(it, it + 1)).collect();
    }
    host.grants.retain(|grant| !grant.ranges.is_empty());
    host.seq += 1;
    let (results, returned, busy) = (Vec::new(), Vec::new(), Span::ZERO);
    let faults = vec![(task, Fault::NoMemory)];
    let leases = vec![LeaseReport { lease, results, faults, returned, busy }];
    let report = Report { seq: host.seq, leases, room: Room::default() };
    let session = host.session.unwrap();
    world.step(Input::HostSaid { session, frame: ToComplex::Report(report) });
}

#[test]
fn a_task_that_is_given_up_waits_for_nobody_and_who_has_it_may_keep_it() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let verify = Verify::Quorum { agree: 3, of: 3 };
    let job = world.submit(JobSpec { verify, attempts_max: 1, ..job(2) });
    world.work(2, 1);
    world.leave(2);
    world.pass(Span::secs(60));
    // Task 1 waits for a third host; of the two that have it, one fails.
    assert_eq!(world.complex.job_view(job).unwrap().tasks.given_up, 0);
    fail(&mut world, 1, 1);
    assert_eq!(world.complex.job_view(job).unwrap().tasks.given_up, 1);
    world.restart();
    (1..=3).for_each(|n| world.join(n));
    world.run();
    assert_eq!(world.state(job), JobState::Failed);
    let record = &world.tables.jobs[&job];
    assert_eq!((record.done, record.given_up), (1, 1));
}
