//! A clock for machines, made of two that are each no good alone.
//!
//! The wall clock says what day it is, but people and programs set it, to and fro. The steady clock
//! (`Instant`) only counts. Machines take times that do not go back; were they given the wall clock
//! as it is, one that was set back by an hour would stop their deadlines for an hour.

use crate::time::{Span, Time};

/// How much slower than the steady clock time passes until a wall clock that was set back has
/// caught up: at half speed, so an hour is made good in two.
const BEHIND_DIVISOR: u64 = 2;

/// A wall clock that was set back by more than this is worth telling somebody.
const BEHIND_TOLD: Span = Span::secs(60);

/// Wall time that neither goes back nor stands still.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    last: Option<(Time, Span)>,
    /// Whether it was said that the wall clock is behind.
    is_behind: bool,
}

impl Clock {
    /// One that was never read.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None, is_behind: false }
    }

    /// What time it is, when the wall clock says `wall` and the steady one has counted `steady`
    /// since some moment that stays the same.
    ///
    /// As a rule it is `wall`, also after it was set ahead. When the wall clock was set back, time
    /// goes on from where it was at half speed until the wall clock is there too.
    pub fn tell(&mut self, wall: Time, steady: Span) -> Time {
        let now = match self.last {
            None => wall,
            Some((time, then)) => {
                wall.max(time + Span(steady.0.saturating_sub(then.0) / BEHIND_DIVISOR))
            }
        };
        // Read twice in a microsecond: the half would be lost each time.
        if self.last.is_none_or(|(time, _)| now > time) {
            self.last = Some((now, steady));
        }
        now
    }

    /// Whether the wall clock, which says `wall` where this one said `now`, was set back by more
    /// than a minute. Said once, until it has caught up.
    pub fn fell_behind(&mut self, wall: Time, now: Time) -> bool {
        let is_behind = now.since(wall) > BEHIND_TOLD;
        let was_behind = std::mem::replace(&mut self.is_behind, is_behind);
        is_behind && !was_behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_wall_clock_that_goes_ahead_or_jumps_ahead() {
        let mut clock = Clock::default();
        assert_eq!(clock.tell(Time(1_000), Span(5)), Time(1_000));
        assert_eq!(clock.tell(Time(1_010), Span(15)), Time(1_010));
        assert_eq!(clock.tell(Time(9_000_000), Span(20)), Time(9_000_000));
        // A little slower than the steady one, as a wall clock that is being corrected.
        assert_eq!(clock.tell(Time(9_000_090), Span(120)), Time(9_000_090));
    }

    #[test]
    fn it_goes_on_at_half_speed_while_the_wall_clock_is_behind() {
        let mut clock = Clock::default();
        clock.tell(Time(10_000), Span(0));
        for step in 1..=2_000 {
            let now = clock.tell(Time(9_000 + step), Span(step));
            let halved = 10_000 + step / 2;
            assert_eq!(now, Time(halved.max(9_000 + step)), "step {step}");
        }
        assert_eq!(clock.tell(Time(11_001), Span(2_001)), Time(11_001), "they are together again");
    }

    #[test]
    fn a_clock_that_was_set_back_is_told_of_once() {
        let mut clock = Clock::default();
        let minutes = |count: u64| Time(count * 60_000_000);
        assert!(!clock.fell_behind(minutes(10), minutes(10)));
        assert!(!clock.fell_behind(minutes(9), minutes(10)));
        assert!(clock.fell_behind(minutes(8), minutes(10)));
        assert!(!clock.fell_behind(minutes(7), minutes(10)));
        assert!(!clock.fell_behind(minutes(11), minutes(11)));
        assert!(clock.fell_behind(minutes(5), minutes(12)));
    }

    #[test]
    fn no_sequence_of_readings_makes_it_go_back() {
        let mut clock = Clock::default();
        let (mut seed, mut steady, mut before) = (1u64, 0, Time(0));
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            steady += (seed >> 40) % 1_000;
            let now = clock.tell(Time((seed >> 20) % 1_000_000), Span(steady));
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
        assert_eq!(clock.tell(Time(u64::MAX), Span(u64::MAX)), Time(u64::MAX));
    }
}
