//! Small worlds: they keep their promises, and where something is wrong that is found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// A world that is over in a moment, of this many servers or as many as are drawn.
fn small(seed: u64, servers: Option<u32>) -> Plan {
    let plan = Plan::drawn(seed);
    let servers = servers.unwrap_or(plan.servers);
    Plan { servers, hosts: 12, jobs: 2, tasks: 60, ..plan }
}

/// A world in which this flaw can show. Whoever knows what is checked has to be trusted first, and
/// there must be more of it than luck explains.
fn flawed(seed: u64, flaw: Flaw) -> Plan {
    if flaw != Flaw::Secret {
        return small(seed, Some(3));
    }
    // One job, by credibility.
    let plan = Plan::quiet(seed * 5 + 1);
    Plan { hosts: 12, jobs: 1, tasks: 3_600, liars: 0.4, lie_rate: 1.0, ..plan }
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

/// Honest hosts, and cheats that lie from the start or after many right answers.
#[test]
fn credit_is_earned_held_paid_and_lost() {
    let mut sum = Counts::default();
    let (mut barred, mut liars) = (0, 0);
    for (seed, share) in [(31, 0.1), (36, 0.2), (40, 0.2)] {
        let plan = Plan { tasks: 600, liars: share, ..small(seed, None) };
        let report = run(&plan).unwrap_or_else(|failure| panic!("{failure}"));
        let counts = report.counts;
        sum.lies += counts.lies;
        sum.redone += counts.redone;
        sum.held += counts.held;
        sum.matured += counts.matured;
        sum.forfeited += counts.forfeited;
        assert!(counts.told > 0 && counts.effects > 0, "{counts:?}");
        (barred, liars) = (barred + report.barred, liars + report.liars);
    }
    let each = [sum.lies, sum.held, sum.matured, sum.forfeited, barred];
    assert!(sum.redone > 0, "what a cheat had accepted is done again: {sum:?}");
    assert!(each.iter().all(|&times| times >= 5), "{sum:?}, {barred} of {liars} barred");
    assert_eq!(sum.held, sum.matured + sum.forfeited, "what was held is paid or forfeited");
}

/// One death a world, behind each effect of who dies there, or each third to keep this short.
#[test]
fn whoever_dies_behind_whichever_effect_no_promise_breaks() {
    let plan = Plan { servers: 2, hosts: 3, jobs: 2, tasks: 4, liars: 0.0, ..Plan::quiet(6) };
    let swept = every_effect(&plan, 3, Flaw::None).unwrap_or_else(|failure| panic!("{failure}"));
    let hosts: u64 = swept.hosts.iter().sum();
    assert!(swept.leader > 60 && swept.hosts.iter().all(|&each| each > 10), "{swept:?}");
    assert!(swept.worlds >= (swept.leader + hosts) / 3, "{swept:?}");
}

/// A checker that finds nothing where something is wrong is none, and nor is one that finds
/// something in the same world where nothing is.
#[test]
fn every_flaw_is_found_in_one_of_few_worlds() {
    const WORLDS: u64 = 40;
    for (name, flaw) in Flaw::ALL {
        let is_found = |seed| {
            let plan = flawed(seed, flaw);
            // The machine itself finds some, and panics.
            let ran = catch_unwind(AssertUnwindSafe(|| run_with(&plan, flaw)));
            ran.is_err() || ran.is_ok_and(|ran| ran.is_err())
        };
        let found = (0..WORLDS).find(|&seed| is_found(seed));
        let found = found.unwrap_or_else(|| panic!("{name} is not found in {WORLDS} worlds"));
        let without = run(&flawed(found, flaw));
        assert!(without.is_ok(), "{name}: in world {found} something else is wrong: {without:?}");
    }
}
