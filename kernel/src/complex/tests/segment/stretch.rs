//! Stories of tasks that are run once, stretches of which others run again.

use proptest::prelude::*;

use super::*;

mod refuted;

/// Jobs that have so many stretches checked that these are all of a task.
const ALL: u8 = 32;

fn checked(stretches: u8) -> JobSpec {
    let verify = Verify::Checkpoint { stretches };
    JobSpec { verify, fuel: Fuel(20 * SEGMENT), ..job(1) }
}

/// How a host goes about tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ways {
    Honest,
    /// It makes up all segments from this one on, and the result.
    MakesUp(u32),
    /// It makes up the result alone.
    MakesUpTheEnd,
    /// It tells more segments than there are.
    Goes(u32),
    /// It stops so many segments before the end and makes up the result.
    Stops(u32),
    /// Honest work, but whatever it checks it finds wrong.
    Accuses,
}

/// A task of so many segments, after some of which its host hands a checkpoint over.
struct Chain {
    segments: u32,
    kept: Vec<u32>,
}

impl Chain {
    fn new(segments: u32, kept: &[u32]) -> Self {
        Self { segments, kept: kept.to_vec() }
    }

    fn right(&self) -> TaskResult {
        answer("right", u64::from(self.segments))
    }

    /// The roots and the result of who goes about it so.
    fn run(&self, ways: Ways, checks: bool) -> (Vec<Guid>, TaskResult) {
        let (segments, right) = match ways {
            Ways::Honest | Ways::MakesUpTheEnd => (self.segments, self.segments),
            Ways::MakesUp(right) => (self.segments, right),
            Ways::Goes(more) => (self.segments + more, self.segments),
            Ways::Stops(less) => (self.segments.saturating_sub(less), self.segments),
            Ways::Accuses if checks => (self.segments, 0),
            Ways::Accuses => (self.segments, self.segments),
        };
        let made_up = |nth: u32| if nth < right { "" } else { "made up " };
        let roots = (0..segments).map(|nth| root(&format!("{}{nth}", made_up(nth)))).collect();
        let is_right = ways == Ways::Honest || (ways == Ways::Accuses && !checks);
        let result = match is_right {
            true => self.right(),
            false => answer("wrong", u64::from(segments)),
        };
        (roots, result)
    }
}

impl World {
    /// Host `n` does what it was granted, and tells it.
    fn play(&mut self, n: u8, chain: &Chain, ways: Ways) {
        let (lease, task) = (self.lease(n), self.hosts[&n].grants[0].ranges[0].start);
        let resumes = &self.hosts[&n].resumes;
        let resume = resumes.iter().rev().find(|resume| resume.lease == lease).cloned();
        let (roots, result) = chain.run(ways, resume.is_some());
        let until = resume.as_ref().and_then(|resume| resume.until);
        let part = until.filter(|&until| until as usize <= roots.len());
        if resume.is_none() {
            for &kept in chain.kept.iter().filter(|&&kept| (kept as usize) < roots.len()) {
                self.tell(n, roots[..kept as usize].to_vec(), true);
            }
        }
        let told = part.map_or(roots.len(), |until| until as usize);
        if told > 0 {
            self.tell(n, roots[..told].to_vec(), false);
        }
        let stopped =
            |until: u32| TaskResult { fuel: Fuel(u64::from(until) * SEGMENT + 1), ..answer("", 0) };
        let result = part.map_or(result, stopped);
        self.answer(n, Some(TaskResult { task, ..result }));
    }

    /// Whoever has something to do does it, host 1 in these ways and the others honestly, until
    /// nobody has. Gives the number of grants that were played.
    fn play_all(&mut self, chain: &Chain, ways: Ways) -> usize {
        for played in 0..200 {
            let ready = |host: &TestHost| host.session.is_some() && !host.grants.is_empty();
            let Some(n) = self.hosts.iter().find(|(_, host)| ready(host)).map(|(&n, _)| n) else {
                return played;
            };
            self.now += Span::millis(10);
            self.play(n, chain, if n == 1 { ways } else { Ways::Honest });
        }
        panic!("it never comes to rest");
    }

    /// A host has passed so many checks before.
    fn has_passed(&mut self, n: u8, passed: u64) {
        self.tables.hosts.get_mut(&host_id(n)).expect("a known host").trust.passed = passed;
        self.restart();
        let all: Vec<u8> = self.hosts.keys().copied().collect();
        all.into_iter().for_each(|n| self.join(n));
    }

    /// Fuel that a host is paid for.
    fn paid_fuel(&self, n: u8) -> u64 {
        let own = self.tables.leases.values().filter(|lease| lease.host == host_id(n));
        own.map(|lease| lease.fuel.0).sum()
    }

    fn accepted(&self, job: JobId) -> TaskResult {
        self.tables.results_of(job).last().unwrap().result.clone().unwrap()
    }
}

#[test]
fn a_task_is_run_once_and_its_stretches_again_by_another_owners_host() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[2, 4]);
    world.play(1, &chain, Ways::Honest);
    let resume = world.resume(2).expect("a part").clone();
    assert_eq!((resume.from, resume.until), (None, Some(2)));
    let told = world.complex.explain_task(TaskId { job, task: 0 }).unwrap();
    let told = told.reasons.iter().map(|reason| reason.why.as_str()).collect::<Vec<_>>();
    assert!(told.iter().any(|why| why.contains("3 of 3 stretches")), "{told:?}");
    assert!(
        told.iter().any(|why| why.contains("checks another's run up to segment 2")),
        "{told:?}"
    );
    world.play(2, &chain, Ways::Honest);
    let from = Checkpoint { guid: root("1"), size: Bytes(300), fuel: Fuel(2 * SEGMENT + 1) };
    let resume = world.resume(2).unwrap().clone();
    assert_eq!((resume.from, resume.until), (Some(from), Some(4)));
    world.play(2, &chain, Ways::Honest);
    assert_eq!(world.resume(2).unwrap().until, Some(u32::MAX), "to the end");
    assert_eq!(world.state(job), JobState::Active);
    world.play(2, &chain, Ways::Honest);
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert_eq!(world.paid_fuel(2), 6 * SEGMENT + 7, "each part of the work once");
    assert_eq!(world.paid_fuel(1), world.paid_fuel(2));
    assert!(world.tables.saved.is_empty(), "what was saved goes with its job");
    assert_eq!(world.tables.jobs[&job].unchecked, 0);
}

#[test]
fn a_buyer_chooses_how_many_stretches_are_run_again() {
    for stretches in 1..=3 {
        let mut world = World::new();
        (1..=2).for_each(|n| world.join(n));
        let job = world.submit(checked(stretches));
        let played = world.play_all(&Chain::new(9, &[1, 2, 3, 4, 5, 6, 7, 8]), Ways::Honest);
        assert_eq!((world.state(job), played), (JobState::Done, 1 + usize::from(stretches)));
        assert!(world.paid_fuel(2) <= (u64::from(stretches) * SEGMENT) + 7);
    }
}

#[test]
fn a_task_that_hands_nothing_over_is_run_twice() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    let job = world.submit(checked(1));
    assert_eq!(world.play_all(&Chain::new(3, &[]), Ways::Honest), 2);
    assert_eq!(world.state(job), JobState::Done);
    assert_eq!(world.paid_fuel(1) + world.paid_fuel(2) + world.paid_fuel(3), 6 * SEGMENT + 14);
}

#[test]
fn who_made_a_stretch_up_is_barred_and_unpaid_and_its_task_is_run_anew() {
    let cheats = [Ways::MakesUp(3), Ways::MakesUpTheEnd, Ways::Goes(2), Ways::Stops(2)];
    let chains = [Chain::new(6, &[2, 4]), Chain::new(7, &[6])];
    for (ways, chain) in cheats.iter().flat_map(|&ways| chains.iter().map(move |it| (ways, it))) {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        let job = world.submit(checked(ALL));
        world.play_all(chain, ways);
        assert_eq!(world.state(job), JobState::Done, "{ways:?}");
        assert_eq!(world.accepted(job), chain.right(), "{ways:?}");
        assert!(world.hosts[&1].barred, "{ways:?}");
        assert!(!world.hosts[&2].barred && !world.hosts[&3].barred, "{ways:?}");
        assert_eq!(world.paid_fuel(1), 0, "{ways:?}");
        world.pass(Span::secs(11));
        assert!(world.balance("owner2") > 0 && world.balance("owner3") > 0);
    }
}

/// By it stretches are drawn: else a cheat would have its first stretch checked, and make up the
/// rest.
#[test]
fn who_tells_more_fuel_than_a_stretch_has_taken_is_found_by_whoever_runs_it_again() {
    let chain = Chain::new(6, &[]);
    let (early, end) = (Fuel(17 * SEGMENT), Fuel(19 * SEGMENT));
    let mut first_drawn = 0;
    for secret in 0..8 {
        let mut world =
            World::with(Config { check_secret: Guid([secret; 32]), ..Config::default() });
        (1..=3).for_each(|n| world.join(n));
        let job = world.submit(checked(1));
        world.tell_fuel(1, roots(&["0"]), early, true);
        world.tell_fuel(1, roots(&["0", "made", "up"]), end, false);
        world.answer(1, Some(TaskResult { fuel: end, ..answer("made up", 0) }));
        let until = |n| world.resume(n).and_then(|resume| resume.until);
        first_drawn += u32::from(until(2).or(until(3)) == Some(1));
        world.play_all(&chain, Ways::Honest);
        assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
        assert!(world.hosts[&1].barred && !world.hosts[&2].barred && !world.hosts[&3].barred);
        assert_eq!(world.paid_fuel(1), 0);
    }
    assert!(first_drawn > 2, "most of the work is said to be there: {first_drawn} of 8");
}

#[test]
fn the_same_root_with_other_fuel_is_another_answer_and_a_third_host_tells_which_is_right() {
    for lies in [1, 2] {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        let job = world.submit(checked(ALL));
        let chain = Chain::new(6, &[4]);
        let (told, mut result) = chain.run(Ways::Honest, false);
        let more = if lies == 1 { 5 * SEGMENT } else { 0 };
        world.tell_fuel(1, told[..4].to_vec(), Fuel(4 * SEGMENT + 1 + more), true);
        world.tell_fuel(1, told.clone(), Fuel(6 * SEGMENT + 1 + more), false);
        result.fuel.0 += more;
        world.answer(1, Some(result.clone()));
        let (second, third) = if world.hosts[&2].grants.is_empty() { (3, 2) } else { (2, 3) };
        let more = if lies == 2 { 5 * SEGMENT } else { 0 };
        let fuel = Fuel(4 * SEGMENT + 1 + more);
        world.tell_fuel(second, told[..4].to_vec(), fuel, false);
        world.answer(second, Some(TaskResult { fuel, ..answer("", 0) }));
        assert_eq!(world.resume(third).and_then(|it| it.until), Some(4), "the same part");
        world.play_all(&chain, Ways::Honest);
        assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
        let liar = if lies == 1 { 1 } else { second };
        let barred: Vec<u8> = (1..=3).filter(|n| world.hosts[n].barred).collect();
        assert_eq!(barred, [liar]);
    }
}

#[test]
fn who_finds_a_stretch_wrong_is_paid_no_more_than_that_was_said_to_take() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[2, 4]);
    world.play(1, &chain, Ways::MakesUp(0));
    let (lease, said) = (world.lease(2), Fuel(15 * SEGMENT));
    world.tell_fuel(2, roots(&["0", "1"]), said, false);
    world.answer(2, Some(TaskResult { fuel: said, ..answer("", 0) }));
    world.join(3);
    world.play_all(&chain, Ways::Honest);
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert!(world.hosts[&1].barred);
    assert_eq!(world.tables.leases[&lease].fuel, Fuel(2 * SEGMENT + 1));
}

#[test]
fn who_fails_on_what_another_has_saved_is_followed_by_one_who_begins_at_the_start() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[2, 4]);
    world.play(1, &chain, Ways::Honest);
    world.play(2, &chain, Ways::Honest);
    let resume = world.resume(2).unwrap().clone();
    assert_eq!(resume.chain, Some(chain_of(&roots(&["0", "1"]))));
    world.fail(2);
    let resume = world.resume(2).unwrap().clone();
    assert_eq!((resume.from, resume.until, resume.chain), (None, Some(4), None));
    world.play(2, &chain, Ways::Honest);
    assert!(world.resume(2).unwrap().from.is_some(), "only that one");
    world.play_all(&chain, Ways::Honest);
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert_eq!(world.paid_fuel(2), 6 * SEGMENT + 7, "as for the stretch alone");
}

#[test]
fn a_cheat_of_long_standing_is_barred_once_enough_others_have_found_it_wrong() {
    let mut world = World::new();
    (1..=6).for_each(|n| world.join(n));
    world.has_passed(1, 500);
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[2, 4]);
    world.play_all(&chain, Ways::MakesUp(0));
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    let barred: Vec<u8> = (1..=6).filter(|n| world.hosts[n].barred).collect();
    assert_eq!(barred, [1]);
}

#[test]
fn who_was_outvoted_gets_no_more_of_the_job_whatever_it_does_right() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.join(n));
    world.has_passed(1, 500);
    let job = world.submit(JobSpec { count: 2, ..checked(ALL) });
    let chain = Chain::new(6, &[2, 4]);
    let worker = (1..=3).find(|n| !world.hosts[n].grants.is_empty()).unwrap();
    assert_eq!(worker, 1);
    world.play(1, &chain, Ways::MakesUp(0));
    for _ in 0..2 {
        let n = if world.hosts[&2].grants.is_empty() { 3 } else { 2 };
        world.play(n, &chain, Ways::Honest);
    }
    let job = world.complex.jobs.get_mut(&job).unwrap();
    assert!(!world.hosts[&1].barred, "two strangers are not sure enough");
    let until = job.avoid[&host_id(1)].until;
    assert!(until > world.now);
    (0..9).for_each(|_| job.succeeded_on(host_id(1)));
    assert_eq!(job.avoid[&host_id(1)].until, until);
}

/// Else the host of long standing would win by its hold alone, or the job be lost.
#[test]
fn what_nothing_is_left_to_make_surer_is_decided_by_those_who_have_answered() {
    let mut world = World::new();
    (1..=6).for_each(|n| world.join(n));
    world.has_passed(1, 500);
    let fuel = Fuel(6 * SEGMENT + 7);
    let job = world.submit(JobSpec { fuel, ..checked(1) });
    let chain = Chain::new(6, &[]);
    assert_eq!(world.play_all(&chain, Ways::MakesUpTheEnd), 4, "what is set aside");
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert!(!world.hosts[&1].barred);
    assert_eq!(world.paid_fuel(1), 0);
}

#[test]
fn liars_who_all_say_something_else_spend_the_hold_and_the_job_ends_with_a_reason() {
    let mut world = World::new();
    (1..=6).for_each(|n| world.join(n));
    let fuel = Fuel(6 * SEGMENT + 7);
    let job = world.submit(JobSpec { fuel, ..checked(1) });
    for _ in 0..4 {
        let ready = |host: &TestHost| host.session.is_some() && !host.grants.is_empty();
        let n = world.hosts.iter().find(|(_, host)| ready(host)).map(|(&n, _)| n).unwrap();
        world.answer(n, Some(TaskResult { fuel, ..answer(&n.to_string(), 0) }));
    }
    assert_eq!(world.state(job), JobState::Failed);
    let why = world.tables.jobs[&job].why.clone().unwrap();
    assert!(why.contains("hosts disagreed too often: `isos job retry"), "{why}");
}

#[test]
fn an_old_dispute_does_not_keep_the_next_from_being_settled_by_one_segment() {
    let mut world = World::new();
    world.join(1);
    let job = world.submit(checked(ALL));
    world.join(2);
    let chain = Chain::new(6, &[2, 4]);
    world.play(1, &chain, Ways::Honest);
    world.play(2, &chain, Ways::Accuses);
    world.join(3);
    world.play(3, &chain, Ways::Honest);
    assert!(world.hosts[&2].barred && !world.hosts[&1].barred);
    world.play(3, &chain, Ways::Accuses);
    world.join(4);
    let resume = world.resume(4).expect("a part").clone();
    assert!(resume.until.is_some_and(|until| until < 6), "{resume:?}");
    world.play_all(&chain, Ways::Honest);
    assert!(world.hosts[&3].barred && !world.hosts[&4].barred);
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert_eq!(world.paid_fuel(1), 6 * SEGMENT + 7);
}

/// However many have found it right, who is caught may have been lucky; also after a restart.
#[test]
fn what_was_found_right_is_done_again_if_its_host_is_caught_over_another_task_of_the_lease() {
    for restarts in [false, true] {
        let mut world = World::new();
        world.join(1);
        let job = world.submit(JobSpec { count: 2, ..checked(ALL) });
        assert_eq!(world.hosts[&1].grants[0].ranges, [TaskRange::new(0, 2)], "one lease");
        (2..=3).for_each(|n| world.join(n));
        let chain = Chain::new(6, &[2, 4]);
        let (told, result) = chain.run(Ways::Honest, false);
        [2, 4].into_iter().for_each(|kept| world.tell(1, told[..kept].to_vec(), true));
        world.tell(1, told, false);
        world.answer(1, Some(result));
        let left = std::mem::take(&mut world.hosts.get_mut(&1).unwrap().grants);
        world.play_all(&chain, Ways::Honest);
        assert_eq!(world.tables.results_of(job).count(), 1);
        world.hosts.get_mut(&1).unwrap().grants = left;
        if restarts {
            world.restart();
            (1..=3).for_each(|n| world.join(n));
        }
        world.play(1, &chain, Ways::MakesUp(0));
        world.play_all(&chain, Ways::Honest);
        assert_eq!(world.state(job), JobState::Done);
        assert!(world.hosts[&1].barred);
        assert_eq!(world.tables.jobs[&job].redone, [TaskRange::new(0, 1)]);
        world.pass(Span::secs(11));
        assert_eq!(world.balance("owner1"), 0);
    }
}

#[test]
fn who_finds_fault_with_honest_work_is_barred_and_the_work_counts() {
    let mut world = World::new();
    // Host 1 is not there yet when the task is granted.
    (2..=3).for_each(|n| world.join(n));
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[2, 4]);
    let worker = if world.hosts[&2].grants.is_empty() { 3 } else { 2 };
    world.leave(5 - worker);
    world.join(1);
    world.play(worker, &chain, Ways::Honest);
    world.play(1, &chain, Ways::Accuses);
    assert_eq!(world.state(job), JobState::Active);
    assert!(world.hosts[&1].session.is_some(), "one word against another");
    world.join(5 - worker);
    world.play_all(&chain, Ways::Accuses);
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert!(world.hosts[&1].barred);
    assert_eq!((world.paid_fuel(1), world.paid_fuel(worker)), (0, 6 * SEGMENT + 7));
}

#[test]
fn nobody_who_could_check_is_said_and_not_waited_for() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.come(n, "farm", |_| {}));
    let job = world.submit(checked(3));
    assert_eq!(world.play_all(&Chain::new(6, &[2, 4]), Ways::Honest), 1);
    assert_eq!(world.state(job), JobState::Done);
    assert_eq!(world.tables.jobs[&job].unchecked, 1);
}

#[test]
fn what_is_found_of_a_run_that_is_in_question_no_more_is_no_word_against_another() {
    for restarts in [false, true] {
        let mut world = World::new();
        (1..=3).for_each(|n| world.join(n));
        let job = world.submit(checked(ALL));
        let chain = Chain::new(6, &[]);
        world.play(1, &chain, Ways::MakesUp(3));
        world.play(2, &chain, Ways::Honest);
        assert_eq!(world.resume(3).and_then(|resume| resume.until), Some(4), "it is to settle it");
        if restarts {
            world.restart();
            (1..=3).for_each(|n| world.join(n));
        }
        let mut effects = Vec::new();
        world.complex.bar(host_id(1), "it was caught elsewhere".into(), &mut effects);
        world.complex.finish(&mut effects);
        world.carry_out(effects);
        world.complex.check_invariants();
        // It went on with what the first had made up, say.
        world.play(3, &chain, Ways::MakesUp(0));
        let ballot = &world.complex.jobs[&job].ballots[&0];
        assert!(ballot.is_of_one_mind() && ballot.votes.len() == 1, "{restarts}: {ballot:?}");
        world.play_all(&chain, Ways::Honest);
        assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
        assert!(!world.hosts[&2].barred && !world.hosts[&3].barred);
    }
}

#[test]
fn a_task_whose_whole_run_is_in_question_no_more_waits_again_once_its_part_has_answered() {
    for restarts in [false, true] {
        let mut world = World::new();
        (1..=2).for_each(|n| world.join(n));
        let job = world.submit(checked(ALL));
        let chain = Chain::new(6, &[2, 4]);
        world.play(1, &chain, Ways::Honest);
        assert_eq!(world.resume(2).and_then(|resume| resume.until), Some(2), "it checks a stretch");
        let mut effects = Vec::new();
        world.complex.bar(host_id(1), "it was caught elsewhere".into(), &mut effects);
        world.complex.finish(&mut effects);
        world.carry_out(effects);
        if restarts {
            world.restart();
            world.join(2);
        }
        world.play(2, &chain, Ways::Honest);
        let waits = world.complex.jobs[&job].is_waiting(0);
        assert!(waits || !world.hosts[&2].grants.is_empty(), "{restarts}: it is nowhere");
        world.join(3);
        world.play_all(&chain, Ways::Honest);
        assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    }
}

#[test]
fn what_was_found_right_is_not_run_again_after_a_restart() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[2, 4]);
    let mut played = 0;
    while world.state(job) == JobState::Active {
        world.restart();
        (1..=2).for_each(|n| world.join(n));
        let n = if world.hosts[&1].grants.is_empty() { 2 } else { 1 };
        world.play(n, &chain, Ways::Honest);
        played += 1;
    }
    assert_eq!((played, world.accepted(job)), (4, chain.right()));
    assert_eq!(world.paid_fuel(2), 6 * SEGMENT + 7);
}

fn any_ways() -> impl Strategy<Value = Ways> {
    prop_oneof![
        Just(Ways::Honest),
        (0..9u32).prop_map(Ways::MakesUp),
        Just(Ways::MakesUpTheEnd),
        (1..4u32).prop_map(Ways::Goes),
        (1..9u32).prop_map(Ways::Stops),
        Just(Ways::Accuses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever one host of four does, and whenever the server is killed.
    #[test]
    fn one_cheat_gets_nothing_through_where_all_is_checked_and_no_honest_host_is_barred(
        segments in 0..9u32, kept in prop::collection::btree_set(1..9u32, 0..6),
        stretches in prop_oneof![1..4u8, Just(ALL)], ways in any_ways(), first in any::<bool>(),
        restarts in prop::collection::btree_set(0..40usize, 0..3),
    ) {
        let kept: Vec<u32> = kept.into_iter().collect();
        let chain = Chain::new(segments, &kept);
        let mut world = World::new();
        if first {
            world.join(1);
        }
        (2..=4).for_each(|n| world.join(n));
        let job = world.submit(checked(stretches));
        if !first {
            world.join(1);
        }
        let mut played = 0;
        loop {
            if restarts.contains(&played) {
                world.restart();
                let back: Vec<u8> = (1..=4).filter(|n| !world.hosts[n].barred).collect();
                back.into_iter().for_each(|n| world.join(n));
            }
            let ready = |host: &TestHost| host.session.is_some() && !host.grants.is_empty();
            let next = world.hosts.iter().find(|(_, host)| ready(host)).map(|(&n, _)| n);
            let Some(n) = next else { break };
            world.now += Span::millis(10);
            world.play(n, &chain, if n == 1 { ways } else { Ways::Honest });
            played += 1;
            prop_assert!(played < 200, "it never comes to rest");
        }
        let (why, ends) = (&world.tables.jobs[&job].why, world.tables.results_of(job));
        let ends: Vec<_> = ends.map(|it| it.result.as_ref().err()).collect();
        prop_assert_eq!(world.state(job), JobState::Done, "{:?} {:?}", why, ends);
        prop_assert!((2..=4).all(|n| world.tables.hosts[&host_id(n)].barred.is_none()));
        let (right, wrong) = (chain.right(), world.tables.hosts[&host_id(1)].barred.is_some());
        if stretches == ALL || wrong {
            prop_assert_eq!(world.accepted(job), right);
        }
        // As a checker it may have been right before.
        prop_assert!(!(wrong && first) || world.paid_fuel(1) == 0, "who was caught is not paid");
    }
}
