//! Whether what [`verify`](crate::verify) measured is what the rules promise, with the luck of one
//! run in a million.

use isos_base::job::Verify;

use crate::luck;
use crate::verify::{Outcome, Policy, Setting, Strategy};

/// The promises that these rows break, in words.
#[must_use]
pub fn broken(rows: &[(Setting, Outcome)]) -> Vec<String> {
    rows.iter().filter_map(|(setting, outcome)| breaks(setting, outcome)).collect()
}

fn breaks(setting: &Setting, outcome: &Outcome) -> Option<String> {
    let Setting { policy, strategy, bad, hosts, tasks, .. } = *setting;
    let Policy::Kernel(verify) = policy else { return None };
    let about = |what: String| Some(format!("{strategy}, verified by {policy}: {what}"));
    let bound = policy.bound(bad).map(|bound| bound * f64::from(tasks));
    // A quorum gives a task up where the lies of as many as would get one through differ.
    let given_up = match (verify, bound) {
        (Verify::Quorum { .. }, Some(bound)) if strategy != Strategy::Honest => luck::singly(bound),
        _ => 0,
    };
    // A run that stood still has nothing wrong in what it did not do.
    if outcome.accepted + given_up < u64::from(tasks) {
        return about(format!("{} of {tasks} tasks were accepted", outcome.accepted));
    }
    let mean = match verify {
        // Of each run in which something was made up, the chance that it gets through.
        Verify::Checkpoint { .. } => outcome.made_up_through,
        _ => bound?,
    };
    let most = match verify {
        // Each cheat lies until it is caught, under each of its names.
        Verify::Credibility { .. } => {
            let names = u64::from(hosts).max(1) as f64 * bad;
            luck::in_runs(mean, (names.ceil() as u64).max(outcome.caught))
        }
        _ => luck::singly(mean),
    };
    if outcome.wrong > most {
        return about(format!("{} wrong results, {most} at the most", outcome.wrong));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(policy: Policy, strategy: Strategy, wrong: u64) -> (Setting, Outcome) {
        let (hosts, bad, tasks, jobs) = (100, 0.05, 10_000, 1);
        let setting = Setting { seed: 1, policy, strategy, hosts, bad, tasks, jobs };
        let accepted = u64::from(tasks);
        (setting, Outcome { accepted, wrong, caught: 5, ..Outcome::default() })
    }

    #[test]
    fn more_wrong_results_than_luck_explains_break_a_promise() {
        let credibility = Policy::Kernel(Verify::Credibility { error_ppm: 1_000 });
        let quorum = Policy::Kernel(Verify::Quorum { agree: 2, of: 3 });
        let (turns, back) = (Strategy::OnOff { right: 10 }, Strategy::Rejoining { right: 10 });
        for (policy, wrong) in [(credibility, 45), (quorum, 116)] {
            let good = broken(&[row(policy, turns, wrong)]);
            assert_eq!(good, Vec::<String>::new());
            let bad = broken(&[row(policy, turns, 2 * wrong)]);
            assert!(bad.len() == 1 && bad[0].contains("at the most"), "{bad:?}");
        }
        assert!(broken(&[row(Policy::Adaptive, back, 1_000)]).is_empty(), "it promises nothing");
        assert_eq!(broken(&[row(credibility, back, 1_000), row(quorum, back, 1_000)]).len(), 2);
    }

    #[test]
    fn more_made_up_runs_than_the_formula_lets_through_break_a_promise() {
        let stretches = Policy::Kernel(Verify::Checkpoint { stretches: 2 });
        let through = |wrong| {
            let mut row = row(stretches, Strategy::Skips { share: 0.1 }, wrong);
            row.1.made_up_through = 10.0;
            broken(&[row]).len()
        };
        assert_eq!((through(28), through(29)), (0, 1));
    }

    #[test]
    fn a_run_that_stood_still_keeps_no_promise() {
        for policy in Policy::ALL {
            let mut still = row(policy, Strategy::Honest, 0);
            still.1.accepted = 9_999;
            assert_eq!(broken(&[still]).is_empty(), policy == Policy::Adaptive);
        }
        let mut given_up = row(Policy::ALL[3], Strategy::Always, 0);
        for (accepted, keeps) in [(9_900, true), (9_800, false)] {
            given_up.1.accepted = accepted;
            assert_eq!(broken(&[given_up]).is_empty(), keeps, "72 of 10,000, and luck");
        }
    }
}
