//! Stories of tasks that save their state: they move, and a segment settles who lied.

use isos_base::TaskId;
use isos_base::checkpoint::{Checkpoint, Saved, chain_of};

use super::*;

mod stretch;

const SEGMENT: u64 = 100_000_000;

/// The root of a chain that went so.
fn root(of: &str) -> Guid {
    Guid::of(of.as_bytes())
}

fn roots(names: &[&str]) -> Vec<Guid> {
    names.iter().map(|name| root(name)).collect()
}

/// A result of a task that has some segments and a little more.
fn answer(text: &str, segments: u64) -> TaskResult {
    let output = Output { stdout: text.as_bytes().to_vec(), ..Output::default() };
    TaskResult {
        task: 0,
        exit: Exit::Code(0),
        fuel: Fuel(segments * SEGMENT + 7),
        output: OutputAt::Inline(output.encode()),
    }
}

impl World {
    fn lease(&self, n: u8) -> LeaseId {
        self.hosts[&n].grants.first().expect("it was granted something").lease
    }

    fn say(&mut self, n: u8, frame: ToComplex) {
        let session = self.hosts[&n].session.expect("a session");
        self.step(Input::HostSaid { session, frame });
    }

    /// Host `n` says how far its task has come.
    fn tell(&mut self, n: u8, roots: Vec<Guid>, kept: bool) {
        let fuel = Fuel(roots.len() as u64 * SEGMENT + 1);
        self.tell_fuel(n, roots, fuel, kept);
    }

    fn tell_fuel(&mut self, n: u8, roots: Vec<Guid>, fuel: Fuel, kept: bool) {
        let task = self.hosts[&n].grants[0].ranges[0].start;
        let kept = kept.then_some(Bytes(300));
        let saved = Saved { lease: self.lease(n), task, fuel, roots, kept };
        self.say(n, ToComplex::Saved(Box::new(saved)));
    }

    /// Host `n` answers for its task, or gives it back.
    fn answer(&mut self, n: u8, result: Option<TaskResult>) {
        let lease = self.lease(n);
        let host = self.hosts.get_mut(&n).unwrap();
        host.grants[0].ranges[0].start += 1;
        for grant in &mut host.grants {
            grant.ranges.retain(|range| !range.is_empty());
        }
        host.grants.retain(|grant| !grant.ranges.is_empty());
        host.seq += 1;
        let returned = if result.is_none() { vec![TaskRange::new(0, 1)] } else { Vec::new() };
        let (results, faults) = (result.into_iter().collect(), Vec::new());
        self.report(n, LeaseReport { lease, results, faults, returned, busy: Span::ZERO });
    }

    /// Host `n` fails on its task.
    fn fail(&mut self, n: u8) {
        let lease = self.lease(n);
        let host = self.hosts.get_mut(&n).unwrap();
        host.seq += 1;
        let task = host.grants.remove(0).ranges[0].start;
        let faults = vec![(task, Fault::TimedOut)];
        let (results, returned) = (Vec::new(), Vec::new());
        self.report(n, LeaseReport { lease, results, faults, returned, busy: Span::ZERO });
    }

    fn report(&mut self, n: u8, news: LeaseReport) {
        let room = Room { cores_idle: 2, ..Room::default() };
        let report = Report { seq: self.hosts[&n].seq, leases: vec![news], room };
        self.say(n, ToComplex::Report(report));
    }

    fn resume(&self, n: u8) -> Option<&Resume> {
        self.hosts[&n].resumes.last()
    }

    /// Two hosts vote differently about the only task of a job, with these chains; then a third
    /// comes.
    fn disagree(&mut self, one: &[&str], other: &[&str]) -> JobId {
        self.join(1);
        self.join(2);
        let job = self.submit(quorum(1));
        self.tell(1, roots(&one[..1]), true);
        self.tell(1, roots(one), false);
        self.tell(2, roots(other), false);
        self.answer(1, Some(answer("right", one.len() as u64)));
        self.answer(2, Some(answer("wrong", other.len() as u64)));
        self.join(3);
        job
    }
}

fn first() -> Checkpoint {
    Checkpoint { guid: root("a"), size: Bytes(300), fuel: Fuel(SEGMENT + 1) }
}

#[test]
fn a_task_goes_on_on_another_host_where_the_first_one_left_it() {
    let mut world = World::new();
    world.join(1);
    let job = world.submit(job(1));
    assert_eq!(world.resume(1), None);
    world.tell(1, roots(&["a", "b"]), true);
    world.tell(1, roots(&["a", "b", "c", "d"]), true);
    let told = world.complex.explain_task(TaskId { job, task: 0 }).unwrap();
    let why = &told.reasons[0].why;
    assert!(why.contains("has saved 4 segments, the last at 40 % (400.0M of at most"), "{why}");
    // The server is killed as well.
    world.restart();
    world.hosts.get_mut(&1).unwrap().grants.clear();
    world.pass(Span::secs(60));
    world.join(2);
    let resume = world.resume(2).expect("it goes on").clone();
    let from = Checkpoint { guid: root("d"), size: Bytes(300), fuel: Fuel(4 * SEGMENT + 1) };
    assert_eq!((resume.lease, resume.from, resume.until), (world.lease(2), Some(from), None));
    assert_eq!(resume.chain, Some(chain_of(&roots(&["a", "b", "c", "d"]))), "and after what");
    let told = world.complex.explain_task(TaskId { job, task: 0 }).unwrap();
    let why = &told.reasons[0].why;
    assert!(why.contains("resumed from 40 % (400.0M of at most 1.0G fuel)"), "{why}");
    world.answer(2, Some(answer("done", 6)));
    assert_eq!(world.state(job), JobState::Done);
    assert!(world.tables.saved.is_empty(), "what was saved goes with its job");
}

#[test]
fn what_a_decided_task_has_saved_is_forgotten_while_its_job_goes_on() {
    let mut world = World::new();
    world.join(1);
    let job = world.submit(job(2));
    world.tell(1, roots(&["a"]), true);
    world.answer(1, Some(answer("done", 1)));
    assert_eq!(world.state(job), JobState::Active);
    assert!(world.tables.saved.values().all(|run| run.roots.is_empty() && run.kept.is_empty()));
    world.restart();
}

#[test]
fn roots_are_given_once_and_by_the_host_that_runs_the_task() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    world.submit(job(1));
    world.tell(1, roots(&["a", "b"]), true);
    let kept = world.tables.saved.clone();
    world.tell(1, roots(&["a", "x", "c"]), true);
    world.tell(1, roots(&["a"]), true);
    let lease = world.lease(1);
    let saved = |roots, fuel, task| Saved { lease, task, fuel: Fuel(fuel), roots, kept: None };
    for bad in [
        saved(roots(&["a", "b", "c"]), 3 * SEGMENT - 1, 0),
        saved(roots(&["a", "b", "c"]), 1 << 40, 0),
        saved(roots(&["a", "b", "c"]), 3 * SEGMENT, 1),
        saved(vec![root("a"); 2_000], SEGMENT, 0),
        // What is told rises by a segment's fuel for each, and once told it stays.
        saved(roots(&["a", "b", "c"]), 3 * SEGMENT, 0),
        Saved { kept: Some(Bytes(9)), ..saved(roots(&["a", "b"]), 3 * SEGMENT, 0) },
    ] {
        world.say(1, ToComplex::Saved(Box::new(bad)));
    }
    let good = saved(roots(&["a", "b", "c"]), 3 * SEGMENT, 0);
    world.say(2, ToComplex::Saved(Box::new(good)));
    assert_eq!(world.tables.saved, kept);
}

#[test]
fn a_result_has_at_least_the_fuel_of_what_its_host_has_saved() {
    let mut world = World::new();
    world.join(1);
    let job = world.submit(job(1));
    world.tell(1, roots(&["a", "b"]), true);
    world.answer(1, Some(answer("cheap", 1)));
    assert_eq!(world.state(job), JobState::Active, "as if it had failed");
    world.pass(Span::secs(1));
    world.answer(1, Some(answer("done", 2)));
    assert_eq!(world.state(job), JobState::Done);
}

#[test]
fn of_many_checkpoints_some_are_kept_and_the_newest_always() {
    let mut world = World::new();
    world.join(1);
    world.submit(JobSpec { fuel: Fuel(100 * SEGMENT), ..job(1) });
    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for n in 1..=50 {
        let names: Vec<&str> = names[..n].iter().map(String::as_str).collect();
        world.tell(1, roots(&names), true);
        let run = world.tables.saved.values().next().unwrap();
        assert!(run.kept.len() <= 8 && run.kept.last().unwrap().segments == n as u32);
    }
    let run = world.tables.saved.values().next().unwrap();
    assert!(run.kept.len() >= 4 && run.kept[0].segments < 25, "{:?}", run.kept);
}

#[test]
fn under_a_quorum_a_host_goes_on_with_its_own_checkpoint_and_with_no_other() {
    let mut world = World::new();
    world.join(1);
    world.submit(quorum(1));
    world.tell(1, roots(&["a"]), true);
    world.answer(1, None);
    world.pass(Span::secs(1));
    world.join(2);
    assert_eq!(world.resume(2), None, "a false state would be its vote");
    world.leave(1);
    world.hosts.get_mut(&1).unwrap().grants.clear();
    world.join(1);
    assert_eq!(world.resume(1).and_then(|resume| resume.from), Some(first()));
}

#[test]
fn a_liar_is_found_by_the_first_segment_that_it_made_up_and_the_referee_is_paid_for_that() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b", "c", "d"], &["a", "b", "x", "y"]);
    let resume = world.resume(3).expect("a part").clone();
    assert_eq!((resume.from, resume.until), (Some(first()), Some(3)));
    let told = world.complex.explain_task(TaskId { job, task: 0 }).unwrap();
    assert!(told.reasons[0].why.contains("settles a dispute about segment 3"), "{told:?}");
    world.tell(3, roots(&["a", "b", "c"]), false);
    let part = TaskResult { fuel: Fuel(3 * SEGMENT + 1), ..answer("", 0) };
    let lease = world.lease(3);
    world.answer(3, Some(part));
    assert_eq!(world.state(job), JobState::Done);
    let accepted: Vec<_> = world.tables.results_of(job).collect();
    assert_eq!(accepted[0].result, Ok(answer("right", 4)));
    assert!(world.hosts[&2].barred && !world.hosts[&1].barred && !world.hosts[&3].barred);
    world.pass(Span::secs(11));
    assert_eq!(world.tables.leases[&lease].fuel, Fuel(2 * SEGMENT), "what it did");
    let paid = |name| world.balance(name);
    assert_eq!(paid("owner2"), 0);
    assert!(paid("owner1") > paid("owner3") && paid("owner3") > 0);
}

#[test]
fn who_votes_with_a_liar_and_tells_honest_roots_turns_no_referee_round() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let job = world.submit(JobSpec { verify: Verify::Quorum { agree: 3, of: 5 }, ..quorum(1) });
    world.tell(1, roots(&["a", "b", "x", "y"]), false);
    (2..=3).for_each(|n| world.tell(n, roots(&["a", "b", "c", "d"]), false));
    (1..=2).for_each(|n| world.answer(n, Some(answer("wrong", 4))));
    world.answer(3, Some(answer("right", 4)));
    for n in 4..=5 {
        world.join(n);
        assert_eq!(world.resume(n).and_then(|resume| resume.until), Some(3), "{n}");
        world.tell(n, roots(&["a", "b", "c"]), false);
        let part = TaskResult { fuel: Fuel(3 * SEGMENT + 1), ..answer("", 0) };
        world.answer(n, Some(part));
    }
    let accepted: Vec<_> = world.tables.results_of(job).collect();
    assert_eq!(accepted[0].result, Ok(answer("right", 4)));
    assert!(world.hosts[&1].barred && world.hosts[&2].barred && !world.hosts[&3].barred);
}

#[test]
fn a_referee_is_paid_no_more_than_those_who_agree_have_told_for_the_same() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b", "c", "d"], &["a", "b", "x", "y"]);
    // Of four segments the third cannot have taken what the fourth has.
    let said = Fuel(4 * SEGMENT + 1);
    world.tell_fuel(3, roots(&["a", "b", "c"]), said, false);
    let lease = world.lease(3);
    world.answer(3, Some(TaskResult { fuel: said, ..answer("", 0) }));
    assert_eq!(world.state(job), JobState::Done);
    world.pass(Span::secs(11));
    assert_eq!(world.tables.leases[&lease].fuel, Fuel(2 * SEGMENT));
}

/// A host that told not all of its roots, since there was no room for them, must not lose to one
/// whose first roots are right.
#[test]
fn where_one_list_of_roots_is_the_beginning_of_the_other_the_end_is_looked_at() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b"], &["a", "b", "c", "made up"]);
    let resume = world.resume(3).expect("a part").clone();
    assert_eq!((resume.from, resume.until), (Some(first()), None), "to the end");
    world.tell(3, roots(&["a", "b", "c", "d"]), false);
    world.answer(3, Some(answer("right", 2)));
    assert_eq!(world.state(job), JobState::Done);
    let barred: Vec<u8> = (1..=3).filter(|n| world.hosts[n].barred).collect();
    assert_eq!(barred, [2]);
}

#[test]
fn a_dispute_is_settled_by_the_part_alone_after_a_restart_as_well() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b", "c", "d"], &["a", "x", "y", "z"]);
    assert_eq!(world.resume(3).map(|resume| resume.until), Some(Some(2)));
    world.restart();
    world.join(3);
    world.tell(3, roots(&["a", "b"]), false);
    world.answer(3, Some(TaskResult { fuel: Fuel(2 * SEGMENT + 1), ..answer("", 0) }));
    assert_eq!(world.state(job), JobState::Done);
    assert!(world.hosts[&3].session.is_some() && !world.hosts[&3].barred);
    assert!(world.tables.hosts[&host_id(2)].barred.is_some());
}

#[test]
fn what_referees_find_is_no_result_even_if_two_find_the_same() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b"], &["a", "x"]);
    world.tell(3, roots(&["a", "third"]), false);
    let part = TaskResult { fuel: Fuel(2 * SEGMENT + 1), ..answer("", 0) };
    world.answer(3, Some(part));
    assert_eq!(world.state(job), JobState::Active);
    world.pass(Span::secs(1));
    // Asked again, for the whole: it was the only one that could be.
    assert_eq!(world.hosts[&3].resumes.len(), 1);
    world.tell(3, roots(&["a", "third"]), false);
    world.answer(3, Some(answer("third", 2)));
    assert_eq!(world.state(job), JobState::Failed, "no agreement");
    assert!(world.hosts.values().all(|host| !host.barred));
}

#[test]
fn a_referee_without_roots_has_failed() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b"], &["a", "x"]);
    let part = || Some(TaskResult { fuel: Fuel(2 * SEGMENT + 1), ..answer("", 0) });
    world.answer(3, part());
    assert_eq!(world.state(job), JobState::Active);
    world.pass(Span::secs(1));
    assert_eq!(world.hosts[&3].resumes.len(), 2, "it is asked again");
    world.tell(3, roots(&["a", "b"]), false);
    world.answer(3, part());
    assert_eq!(world.state(job), JobState::Done);
    assert!(world.hosts[&2].barred && !world.hosts[&3].barred);
}

#[test]
fn hosts_that_agree_on_all_segments_are_told_apart_by_what_is_left() {
    let mut world = World::new();
    let job = world.disagree(&["a", "b"], &["a", "b"]);
    let resume = world.resume(3).expect("a part").clone();
    assert_eq!((resume.from, resume.until), (Some(first()), None), "to the end");
    world.tell(3, roots(&["a", "b"]), false);
    let lease = world.lease(3);
    world.answer(3, Some(answer("right", 2)));
    assert_eq!(world.state(job), JobState::Done);
    assert!(world.hosts[&2].barred);
    world.pass(Span::secs(11));
    assert_eq!(world.tables.leases[&lease].fuel, Fuel(SEGMENT + 6), "from the checkpoint on");
}

#[test]
fn hosts_that_tell_no_roots_are_settled_by_a_whole_run() {
    let mut world = World::new();
    world.join(1);
    world.join(2);
    let job = world.submit(quorum(1));
    world.tell(1, roots(&["a"]), true);
    world.answer(1, Some(answer("right", 1)));
    world.answer(2, Some(answer("wrong", 1)));
    world.join(3);
    assert_eq!(world.resume(3), None);
    world.answer(3, Some(answer("right", 1)));
    assert_eq!(world.state(job), JobState::Done);
    assert!(world.hosts[&2].barred);
}

/// A task moves twice; each host has told so many segments when it gives it back.
fn moved(world: &mut World, restarts: bool) -> JobId {
    (1..=3).for_each(|n| world.join(n));
    let job = world.submit(job(1));
    world.tell(1, roots(&["a", "b"]), true);
    world.answer(1, None);
    if restarts {
        world.restart();
        (2..=3).for_each(|n| world.join(n));
    }
    assert_eq!(
        world.resume(2).and_then(|it| it.from).map(|it| it.fuel),
        Some(Fuel(2 * SEGMENT + 1))
    );
    let view = world.complex.job_view(job).unwrap();
    let shown: Vec<_> = view.resumed.iter().map(|it| (it.task, it.host, it.fuel)).collect();
    assert_eq!(shown, [(0, host_id(2), Fuel(2 * SEGMENT + 1))]);
    world.tell(2, roots(&["a", "b", "c"]), true);
    world.answer(2, None);
    world.answer(3, Some(answer("right", 5)));
    job
}

#[test]
fn each_host_of_a_task_that_moved_is_paid_for_its_part_once_the_whole_is_accepted() {
    for restarts in [false, true] {
        let mut world = World::new();
        let job = moved(&mut world, restarts);
        assert_eq!(world.state(job), JobState::Done);
        let fuel = |n: u8| {
            let own = world.tables.leases.values().filter(|lease| lease.host == host_id(n));
            own.map(|lease| lease.fuel.0).sum::<u64>()
        };
        let all = [fuel(1), fuel(2), fuel(3)];
        // All parts cost what the whole does, to the micro-credit: what is less of the first is not
        // paid for.
        assert_eq!(all, [2 * SEGMENT, SEGMENT, 2 * SEGMENT + 6], "the whole, once: {all:?}");
        world.pass(Span::secs(11));
        assert_eq!(world.complex.ledger.holds().count(), 0);
        assert!((1..=3).all(|n| world.balance(&format!("owner{n}")) > 0));
    }
}

#[test]
fn who_saved_what_nobody_went_on_with_is_paid_for_nothing_and_waits_for_nothing() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let id = world.submit(job(1));
    world.tell(1, roots(&["a"]), true);
    world.answer(1, None);
    let waits = world.tables.leases.values().find(|it| it.host == host_id(1)).unwrap();
    assert_eq!(waits.state, isos_base::record::LeaseState::Returned);
    world.call(Call::Cancel { job: id }).unwrap();
    assert!(world.tables.leases.values().all(|it| it.fuel == Fuel(0)));
    assert!(world.complex.leases.is_empty());
    world.pass(Span::secs(11));
    assert_eq!(world.balance("owner1"), 0);
}

#[test]
fn who_told_more_fuel_than_those_after_it_is_paid_for_what_these_have_told() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let id = world.submit(job(1));
    // It says that two segments took four.
    world.tell_fuel(1, roots(&["a", "b"]), Fuel(4 * SEGMENT), true);
    world.answer(1, None);
    world.tell_fuel(2, roots(&["a", "b", "c"]), Fuel(3 * SEGMENT + 1), false);
    world.answer(2, Some(answer("right", 3)));
    assert_eq!(world.state(id), JobState::Done);
    let first = world.tables.leases.values().find(|it| it.host == host_id(1)).unwrap();
    assert_eq!(first.fuel, Fuel(2 * SEGMENT), "the third took as much as any does at least");
    let all: u64 = world.tables.leases.values().map(|it| it.fuel.0).sum();
    assert_eq!(all, 3 * SEGMENT + 6);
}
