//! Small worlds: they keep their promises, and where something is wrong that is found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// A world that is over in a moment, of this many servers or as many as are drawn.
fn small(seed: u64, servers: Option<u32>) -> Plan {
    let plan = Plan::drawn(seed);
    let servers = servers.unwrap_or(plan.servers);
    Plan { servers, hosts: 12, jobs: 2, tasks: 60, ..plan }
}

#[test]
fn small_worlds_keep_their_promises_and_one_seed_makes_one_run() {
    for seed in 0..15 {
        let plan = small(seed, None);
        let report = run(&plan).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(Ok(report), run(&plan), "seed {seed}");
    }
}

#[test]
fn all_that_can_happen_to_several_servers_happens() {
    let mut sum = Counts::default();
    let mut epochs = 0;
    for seed in 0..10 {
        let report = run(&small(seed, Some(3))).unwrap_or_else(|failure| panic!("{failure}"));
        let counts = report.counts;
        epochs += report.epochs;
        sum.kills += counts.kills;
        sum.ends += counts.ends;
        sum.stops += counts.stops;
        sum.deposed += counts.deposed;
        sum.aways += counts.aways;
        sum.lost_commits += counts.lost_commits;
        sum.cuts += counts.cuts;
        sum.jumps += counts.jumps;
    }
    let each = [sum.kills, sum.ends, sum.stops, sum.deposed, sum.aways, sum.cuts, sum.jumps];
    assert!(each.iter().all(|&times| times >= 5) && sum.lost_commits >= 5, "{sum:?}");
    assert!(epochs >= 30, "{epochs} leaders");
}

#[test]
fn long_tasks_move_and_disputes_are_settled_by_parts_of_them() {
    let parts = |seed| {
        let report = run(&small(seed, None)).unwrap_or_else(|failure| panic!("{failure}"));
        report.counts.parts
    };
    let parts: u64 = (20..36).map(parts).sum();
    assert!(parts >= 20, "{parts} tasks were run in part");
}

/// A checker that finds nothing where something is wrong is none, and nor is one that finds
/// something in the same world where nothing is.
#[test]
fn every_flaw_is_found_in_one_of_few_worlds() {
    const WORLDS: u64 = 40;
    for (name, flaw) in Flaw::ALL {
        let is_found = |seed| {
            let plan = small(seed, Some(3));
            // The machine itself finds some, and panics.
            let ran = catch_unwind(AssertUnwindSafe(|| run_with(&plan, flaw)));
            ran.is_err() || ran.is_ok_and(|ran| ran.is_err())
        };
        let found = (0..WORLDS).find(|&seed| is_found(seed));
        let found = found.unwrap_or_else(|| panic!("{name} is not found in {WORLDS} worlds"));
        let without = run(&small(found, Some(3)));
        assert!(without.is_ok(), "{name}: in world {found} something else is wrong: {without:?}");
    }
}
