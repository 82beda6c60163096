//! How long transfers take, to know which one is late: the 95th percentile of the last ones.
//!
//! A mean would be led astray by the long tail that hedging is about (Dean and Barroso).

use std::collections::VecDeque;

use isos_base::time::Span;

use crate::limits::{PACE_SAMPLES, TRANSFER_SPAN_MAX};

/// Below so many samples the guess counts.
const SAMPLES_LEAST: usize = 8;
/// Nothing is late earlier: timers and schedulers are not finer.
const LATE_LEAST: Span = Span::millis(10);

/// Times of the last transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    samples: VecDeque<Span>,
    late: Span,
}

impl Pace {
    /// Nothing measured yet; `guess` counts until there is.
    #[must_use]
    pub fn new(guess: Span) -> Self {
        Self { samples: VecDeque::new(), late: guess.clamp(LATE_LEAST, TRANSFER_SPAN_MAX) }
    }

    /// A transfer took so long.
    pub fn took(&mut self, span: Span) {
        if self.samples.len() == PACE_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(span);
        if self.is_known() {
            let mut sorted: Vec<Span> = self.samples.iter().copied().collect();
            sorted.sort_unstable();
            let at = (sorted.len() * 95).div_ceil(100) - 1;
            self.late = sorted[at].clamp(LATE_LEAST, TRANSFER_SPAN_MAX);
        }
    }

    /// Whether enough was measured.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.samples.len() >= SAMPLES_LEAST
    }

    /// A transfer that takes longer than this is late.
    #[must_use]
    pub const fn late(&self) -> Span {
        self.late
    }

    /// A transfer that takes so many times longer than a late one is given up.
    #[must_use]
    pub fn patience(&self, times: u64, least: Span) -> Span {
        let span = Span(self.late.0.saturating_mul(times));
        span.max(least).min(TRANSFER_SPAN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_what_one_in_twenty_takes() {
        let mut pace = Pace::new(Span::secs(1));
        (1..=7).for_each(|n| pace.took(Span::millis(n)));
        assert_eq!(pace.late(), Span::secs(1), "too few to know");
        (1..=100).for_each(|n| pace.took(Span::millis(100 + n)));
        assert_eq!(pace.late(), Span::millis(195));
        (1..=200).for_each(|_| pace.took(Span::millis(1)));
        assert_eq!(pace.late(), LATE_LEAST, "it forgets, and is never absurdly short");
        assert_eq!(pace.samples.len(), PACE_SAMPLES);
        assert_eq!(pace.patience(4, Span::secs(2)), Span::secs(2));
        assert_eq!(Pace::new(Span(u64::MAX)).patience(4, Span::secs(2)), TRANSFER_SPAN_MAX);
    }
}
