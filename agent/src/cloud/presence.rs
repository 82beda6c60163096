//! How reliably this host is there: the share of the last weeks in which its agent has run, over
//! restarts.
//!
//! What is further back counts less, half of it each two weeks; and a day before the beginning
//! counts as absent, so that a newcomer is not the most reliable of all.

use isos_base::{Span, Time};
use serde::{Deserialize, Serialize};

/// What is so far back counts half.
const HALF_LIFE: Span = Span::secs(14 * 86_400);
/// Counts as absent, at the beginning.
const DOUBT: Span = Span::secs(86_400);

/// Time that is weighed by how far back it is, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Presence {
    here: f64,
    of: f64,
    at: Time,
}

impl Presence {
    /// Nothing is known yet.
    pub(super) fn begin(now: Time) -> Self {
        Self { here: 0.0, of: DOUBT.as_secs_f64(), at: now }
    }

    /// Time has passed, in which it was there or not.
    pub(super) fn passed(&mut self, now: Time, was_here: bool) {
        let decay = std::f64::consts::LN_2 / HALF_LIFE.as_secs_f64();
        let kept = (-decay * now.since(self.at).as_secs_f64()).exp();
        let new = (1.0 - kept) / decay;
        self.here = self.here * kept + if was_here { new } else { 0.0 };
        self.of = self.of * kept + new;
        // A clock that was set back makes no time pass twice.
        self.at = self.at.max(now);
    }

    /// From 0 to 1.
    pub(super) fn share(&self) -> f64 {
        let share = self.here / self.of;
        // A file can hold anything.
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(days: &[(u64, bool)]) -> f64 {
        let mut now = Time(1_000_000_000_000);
        let mut presence = Presence::begin(now);
        for (days, was_here) in days {
            now += Span::secs(86_400 * days);
            presence.passed(now, *was_here);
        }
        presence.share()
    }

    #[test]
    fn who_is_there_for_long_is_reliable_and_newcomers_are_not_yet() {
        assert_eq!(after(&[]), 0.0);
        assert!((after(&[(1, true)]) - 0.5).abs() < 0.02);
        assert!(after(&[(30, true)]) > 0.95);
        assert!(after(&[(30, true), (30, false)]) < 0.25);
        let each_second_day = [(1, true), (1, false)].repeat(30);
        assert!((after(&each_second_day) - 0.5).abs() < 0.03);
        let file = Presence { here: f64::NAN, of: 0.0, at: Time(0) };
        assert_eq!(file.share(), 0.0);
    }
}
