//! How often the table is looked after. One clock for all of it, that follows the churn: a probe
//! that finds a dead host halves the interval, one that finds a living one makes it a little
//! longer. The two balance where one probe in ten finds somebody dead, whatever the hosts' lives
//! are; the price is paid by those worlds only that are restless.

use isos_base::time::{Span, Time};

use crate::tuning::Tuning;

/// Between the exchanges that fill a new table.
const FILL_EVERY: Span = Span::millis(100);
/// The interval grows by this part at each living host: ln 2 / 9, so that one dead in ten balances.
const GROW_PART: u64 = 13;
/// Exchanges about one bucket come every so many ticks; those about neighbours between them.
pub(super) const EXCHANGE_TICKS: u64 = 8;
/// Pointers are handed over every so many ticks.
pub(super) const RECOVER_TICKS: u64 = 16;

/// The clock.
#[derive(Debug)]
pub(super) struct Pace {
    least: Span,
    most: Span,
    interval: Span,
    next: Time,
    ticks: u64,
    /// Buckets of a new table that were not asked about yet, the farthest last.
    filling: Option<usize>,
    joined: bool,
}

impl Pace {
    pub(super) fn new(tuning: &Tuning) -> Self {
        let least = tuning.pace_least.max(Span::millis(1));
        let most = tuning.pace_most.max(least);
        // Begins as for a restless world, and finds out.
        let interval = Span(least.0 * 4).min(most);
        let (next, filling, joined) = (Time(0), None, false);
        Self { least, most, interval, next, ticks: 0, filling, joined }
    }

    pub(super) fn interval(&self) -> Span {
        self.interval
    }

    pub(super) fn next(&self) -> Time {
        self.next
    }

    pub(super) fn is_joined(&self) -> bool {
        self.joined
    }

    /// Something has changed: look at once.
    pub(super) fn hurry(&mut self, now: Time) {
        self.next = self.next.min(now);
    }

    /// There is nobody to ask: not again before this.
    pub(super) fn sleep(&mut self, until: Time) {
        self.next = self.next.max(until);
    }

    /// The place is another: everything begins again.
    pub(super) fn start_over(&mut self) {
        (self.joined, self.filling) = (false, None);
    }

    /// The neighbours are found: the buckets from here outward are asked about next.
    pub(super) fn joined(&mut self, now: Time, depth: usize) {
        (self.joined, self.filling) = (true, Some(depth));
        self.hurry(now);
    }

    /// The walk to the neighbours found nobody.
    pub(super) fn alone(&mut self) {
        self.joined = false;
    }

    /// Walks are begun once; until they end, nothing is joined but nothing more is begun.
    pub(super) fn joining(&mut self) {
        self.joined = true;
    }

    /// The next bucket of a new table to ask about.
    pub(super) fn fill(&mut self) -> Option<usize> {
        let bucket = self.filling?.checked_sub(1);
        self.filling = bucket;
        bucket
    }

    /// Counts a tick, if it is time for one; `many_unproven` makes the next one come sooner.
    pub(super) fn tick(&mut self, now: Time, many_unproven: bool, jitter: u64) -> Option<u64> {
        if now < self.next {
            return None;
        }
        let interval = if self.filling.is_some() {
            FILL_EVERY
        } else if many_unproven {
            Span(self.interval.0 / 4).max(self.least)
        } else {
            self.interval
        };
        // Between 7/8 and 9/8, so that hosts do not fall into step.
        let spread = interval.0 / 4;
        self.next = now + Span(interval.0 - spread / 2 + jitter % spread.max(1)).max(Span(1));
        self.ticks += 1;
        Some(self.ticks)
    }

    /// A probe of somebody who had lived was answered, or was not.
    pub(super) fn learn(&mut self, is_alive: bool) {
        let Span(now) = self.interval;
        let next = if is_alive { now + now / GROW_PART } else { now / 2 };
        self.interval = Span(next.clamp(self.least.0, self.most.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(&Tuning::default())
    }

    #[test]
    fn in_a_quiet_world_the_interval_grows_to_its_limit() {
        let mut pace = pace();
        (0..200).for_each(|_| pace.learn(true));
        assert_eq!(pace.interval(), Tuning::default().pace_most);
        (0..200).for_each(|_| pace.learn(false));
        assert_eq!(pace.interval(), Tuning::default().pace_least);
    }

    #[test]
    fn one_dead_in_ten_balances() {
        let mut pace = pace();
        let start = pace.interval();
        for _ in 0..3 {
            (0..9).for_each(|_| pace.learn(true));
            pace.learn(false);
        }
        let ratio = pace.interval().0 as f64 / start.0 as f64;
        assert!((0.8..1.25).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_new_table_is_filled_from_near_to_far() {
        let mut pace = pace();
        pace.joined(Time(5), 3);
        let asked: Vec<usize> = std::iter::from_fn(|| pace.fill()).collect();
        assert_eq!(asked, [2, 1, 0]);
    }

    #[test]
    fn ticks_keep_their_distance() {
        let mut pace = pace();
        assert_eq!(pace.tick(Time(0), false, 12345), Some(1));
        assert_eq!(pace.tick(Time(0), false, 0), None);
        let wait = pace.next().since(Time(0));
        assert!(wait >= Span::millis(1_750) && wait <= Span::millis(2_250), "{wait}");
    }
}
