//! How many wrong results get through, and what that costs: cheats of several kinds against several
//! ways to verify, measured and beside what the formulas promise.
//!
//! The kernel's complex as it ships, driven by hosts that need no network: each takes its grants
//! and answers, rightly or not. BOINC's adaptive replication, which the kernel has not, is a small
//! model of its own. Nothing crashes here and nothing is lost: for that there is `run`.

mod adaptive;
mod chart;
mod cheat;
pub mod stretches;
mod world;

use std::fmt;

use isos_base::job::Verify;
use isos_kernel::verify::wrong_accept_probability;

pub use chart::chart;
pub use cheat::Strategy;

/// How results are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// As a job of the kernel's complex asks.
    Kernel(Verify),
    /// As BOINC does: a result of a host with `N >= 10` valid ones in a row is checked with a
    /// chance of `1/N`.
    Adaptive,
}

impl Policy {
    /// Those that are compared.
    pub const ALL: [Self; 6] = [
        Self::Kernel(Verify::Credibility { error_ppm: 10_000 }),
        Self::Kernel(Verify::Credibility { error_ppm: 1_000 }),
        Self::Kernel(Verify::Credibility { error_ppm: 100 }),
        Self::Kernel(Verify::Quorum { agree: 2, of: 3 }),
        Self::Kernel(Verify::Quorum { agree: 3, of: 5 }),
        Self::Adaptive,
    ];

    /// The error rate that it promises for this share of bad work, if it promises one.
    #[must_use]
    pub fn bound(self, bad: f64) -> Option<f64> {
        match self {
            Self::Kernel(Verify::Credibility { error_ppm }) => Some(f64::from(error_ppm) / 1e6),
            Self::Kernel(Verify::Quorum { agree, .. }) => {
                Some(wrong_accept_probability(agree, bad))
            }
            Self::Kernel(Verify::Trusted | Verify::Checkpoint { .. }) | Self::Adaptive => None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(verify) => f.pad(&verify.to_string()),
            Self::Adaptive => f.pad("BOINC adaptive"),
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Everything random follows from it.
    pub seed: u64,
    /// How results are verified.
    pub policy: Policy,
    /// What the bad hosts do.
    pub strategy: Strategy,
    /// Hosts, each of an owner of its own.
    pub hosts: u32,
    /// The share of them that is bad, at any time.
    pub bad: f64,
    /// Tasks of all jobs.
    pub tasks: u32,
    /// Jobs, one after the other.
    pub jobs: u32,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// Tasks whose results were accepted.
    pub accepted: u64,
    /// Of these, wrong ones.
    pub wrong: u64,
    /// Accepted results that a bad host gave.
    pub of_bad: u64,
    /// Executions, or what was said to be one.
    pub executions: u64,
    /// Bad hosts that were barred; one that comes back under another name counts again.
    pub caught: u64,
    /// Good hosts that were barred.
    pub barred_wrongly: u64,
    /// Results that bad hosts gave, for what they were paid as good ones are, in tasks.
    pub paid_of_bad: f64,
    /// Results that bad hosts really worked for.
    pub worked_of_bad: u64,
    /// Runs of long tasks in which something was made up.
    pub made_up: u64,
    /// Those of them that get through as the formula has it.
    pub made_up_through: f64,
}

impl Outcome {
    /// The share of accepted results that is wrong.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.wrong as f64 / self.accepted.max(1) as f64
    }

    /// The same among those of bad hosts alone.
    #[must_use]
    pub fn error_of_bad(&self) -> f64 {
        self.wrong as f64 / self.of_bad.max(1) as f64
    }

    /// The share of runs with something made up that was accepted.
    #[must_use]
    pub fn through(&self) -> f64 {
        self.wrong as f64 / self.made_up.max(1) as f64
    }

    /// The same as it is to be expected.
    #[must_use]
    pub fn through_expected(&self) -> f64 {
        self.made_up_through / self.made_up.max(1) as f64
    }

    /// Executions for each accepted task.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.executions as f64 / self.accepted.max(1) as f64
    }

    /// What a bad host was paid for each task that it really worked for; a good one gets 1.
    #[must_use]
    pub fn pay(&self) -> f64 {
        self.paid_of_bad / self.worked_of_bad.max(1) as f64
    }
}

/// Runs one setting to its end.
#[must_use]
pub fn measure(setting: &Setting) -> Outcome {
    match setting.policy {
        Policy::Kernel(verify) => world::run(setting, verify),
        Policy::Adaptive => adaptive::run(setting),
    }
}

/// Every strategy against every policy.
#[must_use]
pub fn compare(base: &Setting) -> Vec<(Setting, Outcome)> {
    let settings = Strategy::ALL.into_iter().flat_map(|strategy| {
        Policy::ALL.into_iter().map(move |policy| Setting { strategy, policy, ..*base })
    });
    settings.map(|setting| (setting, measure(&setting))).collect()
}

/// The outcomes as a table.
#[must_use]
pub fn table(rows: &[(Setting, Outcome)]) -> String {
    let mut text = format!(
        "{:<34} {:<17} {:>9} {:>9} {:>9} {:>6} {:>7} {:>6} {:>6}\n",
        "bad hosts",
        "verified by",
        "wrong",
        "promised",
        "of bad's",
        "cost",
        "caught",
        "honest",
        "pay"
    );
    for (setting, outcome) in rows {
        let bound = setting.policy.bound(setting.bad).map(|bound| format!("{bound:.1e}"));
        text += &format!(
            "{:<34} {:<17} {:>9.1e} {:>9} {:>8.1}% {:>6.3} {:>7} {:>6} {:>6.2}\n",
            setting.strategy.to_string(),
            setting.policy.to_string(),
            outcome.error(),
            bound.unwrap_or_else(|| "-".into()),
            outcome.error_of_bad() * 100.0,
            outcome.cost(),
            outcome.caught,
            outcome.barred_wrongly,
            outcome.pay(),
        );
    }
    text + "\nwrong: share of accepted results that is wrong, and what the rule promises. of bad's: the \
            same among\nresults of bad hosts. cost: executions for each accepted task. caught: bad \
            hosts barred; honest: good ones.\npay: what a bad host got for each task that it really \
            worked for; a good one gets 1.\n"
}

#[cfg(test)]
mod tests;
