//! How far a host is believed, from the checks that it passed; how often to check it further.
//!
//! Sarmenta's credibility (*Sabotage-Tolerance Mechanisms for Volunteer Computing Systems*, 2001)
//! with a rate of checks that falls as a host's work grows. Formulas only: no hosts, no tasks, no
//! dice. They use additions, multiplications and divisions, which give the same bits everywhere.
//!
//! Two promises, with `f` the share of work that is done by hosts that cheat, and `e` the accepted
//! error rate:
//!
//! * *Whoever cheats at a steady rate.* After `k` passed checks, the chance that a result is wrong
//!   is at most `f / ((1-f) k E)`, `E` = 2.718 ([`Assumed::doubt`]): the cheat's best rate is one
//!   lie in `k`, and then it has passed the checks with chance `1/E`.
//! * *Whoever turns.* A host that was honest for `n` results and then lies is caught after `1/q`
//!   lies in the mean. With `q = f / ((1-f) e n)` ([`Assumed::check_rate`]) that is `e (1-f)/f` of
//!   its own work, so at most `e` of all work, whenever it turns, and however often it comes back
//!   under another name. BOINC's rule (a check once in `N` results after `N` right ones) has no `n`
//!   in it, and 47 % of what such a host gets accepted is wrong.
//!
//! Both take the one who checks to be honest. An accomplice lets a lie pass:
//! [`group_credibilities`] weighs that in, and what follows for small error rates is measured by
//! the simulator.

/// Euler's number.
const E: f64 = std::f64::consts::E;

/// What is assumed of all hosts together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumed {
    /// The share of work that is done by hosts that cheat, in (0, 1/2].
    pub bad: f64,
    /// No host is checked less often than this, however much it did: hosts change.
    pub check_rate_min: f64,
}

impl Assumed {
    /// `bad / (1 - bad)`.
    fn odds(self) -> f64 {
        let bad = self.bad.clamp(1e-6, 0.5);
        bad / (1.0 - bad)
    }

    /// The chance that a result of a host is wrong that passed so many checks: one less Sarmenta's
    /// credibility with blacklisting.
    #[must_use]
    pub fn doubt(self, passed: u64) -> f64 {
        let fresh = self.bad.clamp(1e-6, 0.5);
        match passed {
            0 => fresh,
            passed => (self.odds() / (passed as f64 * E)).min(fresh),
        }
    }

    /// The checks that a host must have passed before one result of it is right but for `error`.
    #[must_use]
    pub fn checks_needed(self, error: f64) -> u64 {
        (self.odds() / (error * E)).ceil() as u64
    }

    /// Equal votes of hosts in each of which one doubts so much that decide a task, at most as many
    /// as may be asked.
    #[must_use]
    pub fn votes_needed(self, doubt: f64, error: f64) -> u8 {
        let decide = |votes: u8| {
            let group = vec![doubt; usize::from(votes)];
            group_credibilities(&[group], self.bad)[0] >= 1.0 - error
        };
        let most = isos_base::limits::DISPUTE_VOTERS_MAX;
        (2..most).find(|&votes| decide(votes)).unwrap_or(most)
    }

    /// The share of a host's results that are to be checked, once so many of them were accepted.
    #[must_use]
    pub fn check_rate(self, results: u64, error: f64) -> f64 {
        let needed = self.odds() / (error * (results.max(1) as f64));
        needed.max(self.check_rate_min).min(1.0)
    }

    /// Executions for each accepted result of a host that does `results` of them and never fails.
    #[must_use]
    pub fn cost(self, results: u64, error: f64) -> f64 {
        let checks: f64 = (0..results).map(|n| self.check_rate(n, error)).sum();
        1.0 + checks / results.max(1) as f64
    }
}

/// The chance, for each group of equal results, that it is the right one, given the doubts in the
/// hosts that stand behind each: one group at the most is right (Bayes).
///
/// Hosts that cheat may know each other: if one host of a group is bad, each further one is so with
/// the chance `accomplice` at the least. With 0 they are independent, as Sarmenta has it:
///
/// `CR(a) = P(a good) prod_{i != a} P(i bad) / (prod_i P(i bad) + sum_j P(j good) prod_{i != j}
/// P(i bad))`, where a group is good if all of its hosts are, and bad if all of them are.
#[must_use]
pub fn group_credibilities(groups: &[Vec<f64>], accomplice: f64) -> Vec<f64> {
    let good: Vec<f64> =
        groups.iter().map(|doubts| doubts.iter().map(|doubt| 1.0 - doubt).product()).collect();
    let all_bad = |doubts: &Vec<f64>| -> f64 {
        let least = doubts.iter().copied().fold(1.0, f64::min);
        let others = doubts.iter().map(|doubt| doubt.max(accomplice)).product::<f64>();
        least * others / least.max(accomplice)
    };
    let bad: Vec<f64> = groups.iter().map(all_bad).collect();
    let others_bad = |a: usize| -> f64 {
        bad.iter().enumerate().filter(|(i, _)| *i != a).map(|(_, bad)| bad).product()
    };
    let weights: Vec<f64> = (0..groups.len()).map(|a| good[a] * others_bad(a)).collect();
    let all = bad.iter().product::<f64>() + weights.iter().sum::<f64>();
    weights.into_iter().map(|weight| if all > 0.0 { weight / all } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assumed(bad: f64) -> Assumed {
        Assumed { bad, check_rate_min: 0.02 }
    }

    #[test]
    fn the_checks_that_an_error_rate_needs_are_the_published_ones() {
        let needed = |bad| [1e-2, 1e-3, 1e-4].map(|error| assumed(bad).checks_needed(error));
        assert_eq!(needed(0.05), [2, 20, 194]);
        assert_eq!(needed(0.2), [10, 92, 920]);
    }

    #[test]
    fn two_hosts_that_agree_are_believed_more_than_either() {
        // 1.2 %, 0.28 %, 1.0e-4, 1e-6 for credibilities of 0.9, 0.95, 0.99, 0.999.
        for (doubt, wrong) in [(0.1, 1.2e-2), (0.05, 2.8e-3), (0.01, 1.0e-4), (0.001, 1e-6)] {
            let credibility = group_credibilities(&[vec![doubt, doubt]], 0.0)[0];
            let published: f64 = 1.0 - credibility;
            assert!((published / wrong - 1.0).abs() < 0.05, "{doubt}: {published} for {wrong}");
        }
        let ten_checks = assumed(0.2).doubt(10);
        assert!(1.0 - group_credibilities(&[vec![ten_checks; 2]], 0.0)[0] < 1e-4);
    }

    #[test]
    fn strangers_decide_by_two_at_the_default_and_by_more_where_less_is_accepted() {
        let assumed = assumed(0.05);
        let needed = |doubt| [1e-2, 1e-3, 1e-4].map(|error| assumed.votes_needed(doubt, error));
        assert_eq!(needed(assumed.doubt(0)), [2, 3, 4]);
        assert_eq!(needed(assumed.doubt(200)), [2, 2, 2]);
    }

    #[test]
    fn one_host_alone_is_believed_as_far_as_its_own_credibility() {
        for accomplice in [0.0, 0.05] {
            assert!((group_credibilities(&[vec![0.05]], accomplice)[0] - 0.95).abs() < 1e-12);
        }
    }

    #[test]
    fn strangers_do_not_outvote_a_host_of_long_standing() {
        let veteran = assumed(0.05).doubt(1_000);
        let groups = [vec![veteran], vec![0.05, 0.05]];
        let [right, wrong] = group_credibilities(&groups, 0.05)[..] else { panic!("two groups") };
        assert!(right > 0.99 && wrong < 0.01, "{right} {wrong}");
    }

    #[test]
    fn hosts_that_may_know_each_other_add_less() {
        let doubt = assumed(0.05).doubt(100);
        let wrong = |accomplice| 1.0 - group_credibilities(&[vec![doubt; 2]], accomplice)[0];
        assert!((wrong(0.05) / (doubt * 0.05) - 1.0).abs() < 0.01);
        assert!(wrong(0.0) < wrong(0.05) / 100.0);
    }

    #[test]
    fn a_host_is_checked_always_at_first_and_less_and_less() {
        let rate = |results| assumed(0.05).check_rate(results, 1e-3);
        assert_eq!((rate(0), rate(52)), (1.0, 1.0));
        assert!((rate(1_000) - 0.0526).abs() < 1e-3);
        assert_eq!(rate(1_000_000), 0.02);
    }

    #[test]
    fn the_expected_cost_is_far_below_that_of_a_quorum() {
        let cost = |results, error| assumed(0.05).cost(results, error);
        assert!((cost(10_000, 1e-3) - 1.04).abs() < 0.01, "{}", cost(10_000, 1e-3));
        assert!((cost(1_000, 1e-3) - 1.21).abs() < 0.01, "{}", cost(1_000, 1e-3));
        assert!((cost(1_000, 1e-2) - 1.04).abs() < 0.01, "{}", cost(1_000, 1e-2));
        assert!((cost(10_000, 1e-4) - 1.21).abs() < 0.01, "{}", cost(10_000, 1e-4));
    }

    proptest! {
        /// Whenever a host turns, what it gets accepted until it is caught is within the promise.
        #[test]
        fn who_turns_gains_no_more_than_the_error_rate(
            results in 1..1_000_000_u64, error in 1e-5..0.1_f64, bad in 0.001..0.5_f64,
        ) {
            let assumed = Assumed { bad, check_rate_min: 0.0 };
            let rate = assumed.check_rate(results, error);
            let wrong = (1.0 - rate) / rate;
            prop_assert!(bad * wrong <= error * (1.0 - bad) * results as f64 * (1.0 + 1e-9));
        }

        #[test]
        fn more_checks_give_less_doubt(passed in 0..10_000_u64, bad in 0.001..0.5_f64) {
            let assumed = assumed(bad);
            prop_assert!(assumed.doubt(passed + 1) <= assumed.doubt(passed));
            prop_assert!(assumed.doubt(assumed.checks_needed(1e-3)) <= 1e-3);
        }

        #[test]
        fn credibilities_are_chances(
            groups in prop::collection::vec(prop::collection::vec(1e-9..0.5_f64, 1..5), 1..5),
            accomplice in prop_oneof![Just(0.0), 0.001..0.5_f64],
        ) {
            let chances = group_credibilities(&groups, accomplice);
            prop_assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
            prop_assert!(chances.iter().sum::<f64>() <= 1.0 + 1e-9);
            // One more host behind a group makes it no less likely.
            let mut more = groups.clone();
            more[0].push(0.05);
            prop_assert!(group_credibilities(&more, accomplice)[0] >= chances[0] - 1e-12);
        }
    }
}
