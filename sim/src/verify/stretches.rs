//! Tasks that are chains of segments: what hosts tell of those that they run, and how often a run
//! gets through in which stretches were made up.
//!
//! A root is the hash of the root before it and of whether the segment was worked for, so that
//! whoever goes on from a checkpoint finds what its host has found from there on: only who runs a
//! made-up stretch again sees it, as with real tasks.

use std::collections::BTreeMap;

use isos_base::checkpoint::{Resume, Saved};
use isos_base::job::Verify;
use isos_base::random::Random;
use isos_base::task::{Exit, Output, OutputAt, TaskResult};
use isos_base::{Bytes, Fuel, Guid, LeaseId};
use isos_kernel::verify::segments::chance_to_catch;

use super::{Outcome, Policy, Setting, Strategy, measure};

/// Stretches of each task, all alike: a checkpoint is handed over after each but the last.
pub(super) const STRETCHES: u32 = 20;
/// How many of them are run again, in turn.
const LOOKED_AT: [u8; 5] = [1, 3, 5, 10, 20];
/// Shares of its stretches that a lazy host makes up.
const SHARES: [f64; 3] = [0.05, 0.1, 0.5];
/// A task of the others is one of these: so many fewer are enough.
const TASKS_PER_TASK: u32 = 20;

/// What has been handed over: the roots up to each checkpoint.
#[derive(Default)]
pub(super) struct Chains(BTreeMap<Guid, Vec<Guid>>);

/// A run of a task, or of a part of it.
pub(super) struct Ran {
    pub(super) saved: Vec<Saved>,
    pub(super) result: TaskResult,
    /// Stretches, of them those that were worked for.
    pub(super) stretches: u32,
    pub(super) worked: u32,
    pub(super) whole: bool,
}

fn start(task: u32) -> Guid {
    Guid::of(&task.to_le_bytes())
}

/// The root behind `before`; a made-up one is another for each host.
fn next(before: Guid, made_up_by: Option<u64>) -> Guid {
    let mut bytes = before.0.to_vec();
    bytes.extend(made_up_by.map_or(0, |host| host + 1).to_le_bytes());
    Guid::of(&bytes)
}

/// What an honest host answers, of tasks with so much fuel.
pub(super) fn right(task: u32, fuel: Fuel) -> TaskResult {
    let end = (0..STRETCHES).fold(start(task), |root, _| next(root, None));
    TaskResult { task, exit: Exit::Code(0), fuel, output: OutputAt::Object(end, 4_096) }
}

impl Chains {
    /// A host runs what it was granted of a task, and makes up a share of the stretches.
    pub(super) fn run(
        &mut self,
        (lease, task): (LeaseId, u32),
        resume: Option<&Resume>,
        fuel: Fuel,
        (host, share): (u64, f64),
        random: &mut Random,
    ) -> Ran {
        let each = fuel.0 / u64::from(STRETCHES);
        let from = resume.and_then(|resume| resume.from);
        let mut roots = from.map_or_else(Vec::new, |from| self.0[&from.guid].clone());
        let until = resume.and_then(|resume| resume.until).unwrap_or(u32::MAX);
        let (mut saved, mut stretches, mut worked) = (Vec::new(), 0, 0);
        let mut root = roots.last().copied().unwrap_or_else(|| start(task));
        let mut told = |roots: &[Guid], kept: Option<Bytes>| {
            let (fuel, roots) = (Fuel(roots.len() as u64 * each), roots.to_vec());
            saved.push(Saved { lease, task, fuel, roots, kept });
        };
        while (roots.len() as u32) < until {
            let made_up = random.unit() < share;
            stretches += 1;
            worked += u32::from(!made_up);
            root = next(root, made_up.then_some(host));
            if roots.len() as u32 == STRETCHES - 1 {
                if resume.is_some() {
                    told(&roots, None);
                }
                let output = OutputAt::Object(root, 4_096);
                let result = TaskResult { task, exit: Exit::Code(0), fuel, output };
                return Ran { saved, result, stretches, worked, whole: resume.is_none() };
            }
            roots.push(root);
            if resume.is_none() {
                self.0.insert(root, roots.clone());
                told(&roots, Some(Bytes(1_000)));
            }
        }
        told(&roots, None);
        let output = OutputAt::Inline(Output::default().encode());
        let fuel = Fuel(roots.len() as u64 * each);
        let result = TaskResult { task, exit: Exit::Code(0), fuel, output };
        Ran { saved, result, stretches, worked, whole: false }
    }

    /// A job is over.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The chance that a run gets through in which so many stretches were made up.
pub(super) fn chance_through(made_up: u32, looked_at: u8) -> f64 {
    let share = f64::from(made_up) / f64::from(STRETCHES);
    1.0 - chance_to_catch(STRETCHES, made_up, share, looked_at.into())
}

/// Hosts that make up a share of each task's stretches, and come back when they were caught,
/// against some or many looks.
#[must_use]
pub fn compare(base: &Setting) -> Vec<(Setting, Outcome)> {
    let settings = SHARES.into_iter().flat_map(|share| {
        LOOKED_AT.into_iter().map(move |stretches| Setting {
            strategy: Strategy::Skips { share },
            policy: Policy::Kernel(Verify::Checkpoint { stretches }),
            tasks: base.tasks.div_ceil(TASKS_PER_TASK),
            ..*base
        })
    });
    settings.map(|setting| (setting, measure(&setting))).collect()
}

/// What that came to, as a table.
#[must_use]
pub fn table(rows: &[(Setting, Outcome)]) -> String {
    let mut text = format!(
        "{:<34} {:<17} {:>9} {:>9} {:>9} {:>6} {:>7} {:>7} {:>6} {:>6}\n",
        "bad hosts",
        "verified by",
        "through",
        "formula",
        "wrong",
        "cost",
        "formula",
        "caught",
        "honest",
        "pay"
    );
    for (setting, outcome) in rows {
        let looked_at = match setting.policy {
            Policy::Kernel(Verify::Checkpoint { stretches }) => f64::from(stretches),
            _ => 0.0,
        };
        text += &format!(
            "{:<34} {:<17} {:>8.1}% {:>8.1}% {:>9.1e} {:>6.3} {:>7.3} {:>7} {:>6} {:>6.2}\n",
            setting.strategy.to_string(),
            setting.policy.to_string(),
            outcome.through() * 100.0,
            outcome.through_expected() * 100.0,
            outcome.error(),
            outcome.cost(),
            1.0 + looked_at / f64::from(STRETCHES),
            outcome.caught,
            outcome.barred_wrongly,
            outcome.pay(),
        );
    }
    text + "\nthrough: share of the runs with made-up stretches that was accepted, and what `chance_to_catch`\n\
            leaves at the most. wrong: share of accepted results. cost: executions for each accepted\n\
            task, and `1 + K/20`, as a task has 20 stretches; runs that were found out are on top.\n"
}
