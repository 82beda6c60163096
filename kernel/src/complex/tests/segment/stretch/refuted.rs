//! Stories in which several hosts lie about one task in different places: nobody is barred for what
//! others have made up.

use super::*;

impl World {
    /// A host is caught over something else.
    fn catch_elsewhere(&mut self, n: u8) {
        let mut effects = Vec::new();
        self.complex.bar(host_id(n), "it was caught elsewhere".into(), &mut effects);
        self.complex.finish(&mut effects);
        self.carry_out(effects);
        self.complex.check_invariants();
    }

    /// A host that is to run a part up to the first segment's end says this of it.
    fn claim(&mut self, n: u8, of: &str) {
        assert_eq!(self.resume(n).and_then(|resume| resume.until), Some(1), "host {n}");
        self.tell(n, roots(&[of]), false);
    }

    fn barred(&self) -> Vec<u8> {
        self.hosts.iter().filter(|(_, host)| host.barred).map(|(&n, _)| n).collect()
    }
}

/// The task is made up from the second segment on, a liar accuses the first, and while that cannot
/// be settled a third host runs all of it, honestly. The referee finds the first segment right:
/// that is no word against the third host, which differs from the second segment on.
#[test]
fn who_has_run_a_task_honestly_is_not_barred_because_another_segment_was_found_right() {
    for restarts in [false, true] {
        let mut world = World::new();
        world.join(1);
        let job = world.submit(checked(ALL));
        world.join(2);
        let chain = Chain::new(6, &[1, 2, 3, 4, 5]);
        world.play(1, &chain, Ways::MakesUp(1));
        world.claim(2, "no, this");
        world.answer(2, Some(TaskResult { fuel: Fuel(SEGMENT + 1), ..answer("", 0) }));
        world.join(3);
        world.claim(3, "neither");
        world.answer(3, None);
        world.leave(3);
        world.join(4);
        assert_eq!(world.resume(4), None, "only whole runs tell anything");
        world.play(4, &chain, Ways::Honest);
        world.join(3);
        world.play(3, &chain, Ways::Goes(1));
        world.catch_elsewhere(3);
        if restarts {
            world.restart();
            [1, 2, 4].into_iter().for_each(|n| world.join(n));
        }
        world.join(5);
        world.play(5, &chain, Ways::Honest);
        assert_eq!(world.barred(), [2, 3], "what the first segment shows");
        world.join(6);
        world.play_all(&chain, Ways::Honest);
        assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
        assert_eq!(world.barred(), [1, 2, 3]);
        assert!((4..=6).all(|n| world.tables.hosts[&host_id(n)].barred.is_none()));
        assert!(world.paid_fuel(4) > 0 && world.paid_fuel(5) > 0);
        assert_eq!(world.paid_fuel(1) + world.paid_fuel(2) + world.paid_fuel(3), 0);
    }
}

/// Else each dispute about a task whose first run was thrown away would cost whole runs.
#[test]
fn what_was_found_of_an_earlier_run_does_not_keep_a_dispute_from_being_settled_by_one_segment() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.join(n));
    let job = world.submit(checked(ALL));
    let chain = Chain::new(6, &[1, 2, 3, 4, 5]);
    world.play(1, &chain, Ways::Honest);
    world.catch_elsewhere(1);
    world.claim(2, "of another world");
    world.answer(2, Some(TaskResult { fuel: Fuel(SEGMENT + 1), ..answer("", 0) }));
    world.play(2, &chain, Ways::MakesUp(0));
    world.join(3);
    world.play(3, &chain, Ways::Honest);
    world.join(4);
    assert_eq!(world.resume(4).and_then(|resume| resume.until), Some(1));
    world.play_all(&chain, Ways::Honest);
    assert_eq!((world.state(job), world.accepted(job)), (JobState::Done, chain.right()));
    assert!(world.hosts[&2].barred && !world.hosts[&3].barred && !world.hosts[&4].barred);
}
