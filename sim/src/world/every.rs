//! One small world again and again: each time somebody dies behind another of its effects.
//!
//! What [`Plan`] draws by lot meets a moment once in many worlds; this meets all of them. A run is
//! the same up to the death as the run without it, so that every effect of that one is met.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::lived;
use crate::checks::Failure;
use crate::host::SimHost;
use crate::plan::{Death, Flaw, Plan, Victim};
use crate::report::Counts;

/// What was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Commits of the leader and messages that it let go, where nobody died.
    pub leader: u64,
    /// Effects of each host there.
    pub hosts: Vec<u64>,
    /// Worlds in which somebody died.
    pub worlds: u64,
}

/// Kills the server that leads behind each `stride`-th of its effects, and each host behind each
/// `stride`-th of its own: one death a world. All checkers are on.
///
/// # Errors
/// The first broken promise; who died in that world, and when.
pub fn every_effect(plan: &Plan, stride: u64, flaw: Flaw) -> Result<Swept, Failure> {
    let whole = lived(&Plan { death: None, ..plan.clone() }, flaw)?;
    let hosts: Vec<u64> = whole.hosts.iter().map(SimHost::effects).collect();
    let mut swept = Swept { leader: whole.counts.effects, hosts, worlds: 0 };
    let hosts = (0..).zip(&swept.hosts).map(|(n, &effects)| (Victim::Host(n), effects));
    let victims = std::iter::once((Victim::Leader, swept.leader)).chain(hosts);
    let step = usize::try_from(stride.max(1)).unwrap_or(usize::MAX);
    for (victim, effects) in victims {
        for behind in (1..=effects).step_by(step) {
            die(plan, Death { victim, behind }, flaw, &whole.counts).map_err(|what| Failure {
                seed: plan.seed,
                what: format!("{victim} died behind effect {behind} of {effects}: {what}"),
            })?;
            swept.worlds += 1;
        }
    }
    Ok(swept)
}

/// Runs the world with this death, and makes sure that it happened.
fn die(plan: &Plan, death: Death, flaw: Flaw, before: &Counts) -> Result<(), String> {
    let plan = Plan { death: Some(death), ..plan.clone() };
    let ran = catch_unwind(AssertUnwindSafe(|| lived(&plan, flaw)));
    let world = ran.map_err(|_| "a panic".to_owned())?.map_err(|failure| failure.what)?;
    let died = match death.victim {
        Victim::Leader => world.counts.kills > before.kills,
        Victim::Host(_) => world.counts.crashes > before.crashes,
    };
    died.then_some(()).ok_or_else(|| "nobody died".to_owned())
}
