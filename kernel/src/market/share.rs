//! The share that is everybody's in turn: a tenth of each class goes round robin over accounts,
//! so that nobody who bids what the cheapest hosts ask waits for ever.
//!
//! Over *accounts*, not jobs, so many jobs get no more than one. An account's turn is worth its
//! weight, which comes from what it has earned: many accounts with nothing behind them get little.
//! With `A` accounts of equal weight that wait and `Q` units a tick, who wants `d` units has them
//! after `ceil(d A / Q)` ticks at the latest.

use std::collections::BTreeMap;

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share<K> {
    /// The account that was served last, and what is left of its turn.
    last: Option<(K, u64)>,
}

impl<K> Default for Share<K> {
    fn default() -> Self {
        Self { last: None }
    }
}

/// A weight is at most so many times another: nobody's turn is too long for the others to wait.
const WEIGHT_MAX: u64 = 16;

impl<K: Ord + Copy> Share<K> {
    /// Gives up to `quota` units to those that wait: `wants` has for each account how many units it
    /// wants and its weight. Who got how much; all of `wants` is served when it is less.
    pub fn serve(&mut self, quota: u64, wants: &BTreeMap<K, (u64, u64)>) -> BTreeMap<K, u64> {
        let mut open: BTreeMap<K, (u64, u64)> = wants
            .iter()
            .filter(|(_, (units, _))| *units > 0)
            .map(|(key, (units, weight))| (*key, (*units, (*weight).clamp(1, WEIGHT_MAX))))
            .collect();
        let mut given = BTreeMap::new();
        let mut left = quota;
        let mut give = |open: &mut BTreeMap<K, (u64, u64)>, key: K, most: u64| {
            let Some((wanted, _)) = open.get_mut(&key) else { return 0 };
            let some = most.min(*wanted);
            *wanted -= some;
            if *wanted == 0 {
                open.remove(&key);
            }
            if some > 0 {
                *given.entry(key).or_insert(0) += some;
            }
            some
        };
        // What was left of a turn when the last tick ended.
        if let Some((key, rest)) = self.last {
            let some = give(&mut open, key, rest.min(left));
            left -= some;
            self.last = Some((key, rest - some));
        }
        // Whole rounds at once, while everybody that waits wants a whole turn of each.
        while left > 0 && !open.is_empty() {
            let round: u64 = open.values().map(|(_, weight)| weight).sum();
            let short = open.values().map(|(wanted, weight)| wanted / weight).min().unwrap_or(0);
            let rounds = (left / round).min(short);
            if rounds == 0 {
                break;
            }
            for (key, weight) in open.iter().map(|(k, of)| (*k, of.1)).collect::<Vec<_>>() {
                left -= give(&mut open, key, rounds * weight);
            }
        }
        // Then turn by turn, behind whoever was last.
        while left > 0 && !open.is_empty() {
            let after = self.last.map(|(key, _)| key);
            let next = after.and_then(|after| {
                let behind = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
                open.range(behind).next()
            });
            let Some((&key, &(_, weight))) = next.or_else(|| open.first_key_value()) else { break };
            let some = give(&mut open, key, weight.min(left));
            left -= some;
            self.last = Some((key, weight - some));
        }
        given
    }
}
