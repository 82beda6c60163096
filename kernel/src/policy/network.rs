//! What work may move over the network: a meter of days and months, and a pace.
//!
//! Both are pure: the shell tells bytes and time, and does what it is told. The meter keeps the
//! owner's calendar days apart, so a clock that is set forward and back again finds the day as it
//! left it. The pace is a virtual schedule (GCRA with no burst but one piece): what waits is told
//! for how long, and nothing is saved up while nothing moves.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use isos_base::ids::ParseIdError;
use isos_base::sensors::LocalClock;
use isos_base::{Bytes, Span, Time};
use serde::{Deserialize, Serialize};

use super::value::text;

/// With less than this left of a cap, nothing can be fetched: it counts as used up.
pub(super) const CAP_LEAST: Bytes = Bytes(64 << 10);
/// Days that a meter remembers, and months.
const PERIODS_MAX: usize = 64;
const DAY_SECS: i64 = 86_400;

/// Bytes a second. Text: `500KiB/s` or `4Mbit/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub Bytes);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for Rate {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let amount = text.trim().strip_suffix("/s")?.trim_end();
            let lower = amount.to_ascii_lowercase();
            if let Some(bits) = lower.strip_suffix("bit") {
                // `4Mbit` is as many bits as `4MB` are bytes.
                return format!("{bits}b").parse().ok().map(|Bytes(bits)| Self(Bytes(bits / 8)));
            }
            amount.parse().ok().map(Self)
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "a rate, such as 500KiB/s or 4Mbit/s",
        })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

/// What a policy says of the network; nothing where it does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkLimits {
    /// What work may fetch.
    pub rate_down: Option<Rate>,
    /// What work may send.
    pub rate_up: Option<Rate>,
    /// Both ways together on one calendar day of the owner's.
    pub day_max: Option<Bytes>,
    /// And in one calendar month.
    pub month_max: Option<Bytes>,
}

impl NetworkLimits {
    /// What may still be moved, after this; nothing where there is no cap.
    #[must_use]
    pub fn left(&self, moved: &Moved) -> Option<Bytes> {
        let left = |max: Option<Bytes>, moved: Bytes| max.map(|max| max - moved);
        [left(self.day_max, moved.day), left(self.month_max, moved.month)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The rate down, or up.
    #[must_use]
    pub const fn rate(&self, down: bool) -> Option<Rate> {
        if down { self.rate_down } else { self.rate_up }
    }

    /// The smaller cap: more than this can never be moved at once.
    #[must_use]
    pub fn most(&self) -> Option<Bytes> {
        [self.day_max, self.month_max].into_iter().flatten().min()
    }
}

/// Bytes that were moved on the present day and in the present month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moved {
    /// Today.
    pub day: Bytes,
    /// This month.
    pub month: Bytes,
}

/// Over which a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// A calendar day of the owner's.
    Day,
    /// A calendar month of the owner's.
    Month,
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "today",
            Self::Month => "this month",
        })
    }
}

impl Period {
    /// When the next one begins, on this clock.
    pub(super) fn ends(self, now: Time, clock: LocalClock) -> Time {
        let day = local_day(now, clock);
        let next = match self {
            Self::Day => day + 1,
            Self::Month => first_day(month_of(day) + 1),
        };
        let secs = next * DAY_SECS - i64::from(clock.utc_offset_secs);
        Time(u64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000))
    }
}

/// Counts bytes by day and by month. Durable through serde.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// By days since 1970, on the owner's clock.
    days: BTreeMap<i64, Bytes>,
    /// By months since year 0.
    months: BTreeMap<i64, Bytes>,
}

impl Meter {
    /// Bytes were moved, or are about to be.
    pub fn add(&mut self, now: Time, clock: LocalClock, bytes: Bytes) {
        let day = local_day(now, clock);
        for (periods, this) in [(&mut self.days, day), (&mut self.months, month_of(day))] {
            let count = periods.entry(this).or_default();
            *count += bytes;
            while periods.len() > PERIODS_MAX {
                // The one that is longest ago, unless that is now: then a clock was set back far.
                let far = if periods.keys().next() == Some(&this) {
                    periods.keys().next_back().copied()
                } else {
                    periods.keys().next().copied()
                };
                far.map(|far| periods.remove(&far));
            }
        }
    }

    /// Bytes that were counted at `then` have not been moved after all.
    pub fn take_back(&mut self, then: Time, clock: LocalClock, bytes: Bytes) {
        let day = local_day(then, clock);
        for (periods, then) in [(&mut self.days, day), (&mut self.months, month_of(day))] {
            if let Some(count) = periods.get_mut(&then) {
                *count = *count - bytes;
            }
        }
    }

    /// What was moved in the present periods.
    #[must_use]
    pub fn moved(&self, now: Time, clock: LocalClock) -> Moved {
        let day = local_day(now, clock);
        let of = |periods: &BTreeMap<i64, Bytes>, this| periods.get(&this).copied();
        Moved {
            day: of(&self.days, day).unwrap_or_default(),
            month: of(&self.months, month_of(day)).unwrap_or_default(),
        }
    }
}

/// Spreads pieces so that they keep to a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// When the next piece may go, on a clock that never jumps.
    next: Span,
}

impl Pace {
    /// A piece is to be moved now: after how long it may go. Pieces that ask while others wait
    /// stand in line behind them.
    pub fn take(&mut self, now: Span, piece: Bytes, rate: Rate) -> Span {
        let start = self.next.max(now);
        let cost = u128::from(piece.0) * 1_000_000 / u128::from(rate.0.0.max(1));
        self.next = Span(start.0.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX)));
        Span(start.0 - now.0)
    }

    /// How long a piece that is taken now would wait.
    #[must_use]
    pub fn wait(&self, now: Span) -> Span {
        Span(self.next.0.saturating_sub(now.0))
    }
}

/// Days since 1970 on the owner's clock.
fn local_day(now: Time, clock: LocalClock) -> i64 {
    let secs = i64::try_from(now.unix_secs()).unwrap_or(i64::MAX / 2);
    (secs + i64::from(clock.utc_offset_secs)).div_euclid(DAY_SECS)
}

/// The month of a day, counted since year 0. (H. Hinnant, "chrono-compatible low-level date
/// algorithms".)
fn month_of(day: i64) -> i64 {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Counted from March.
    let month = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + month + 2
}

/// The first day of a month, in days since 1970.
fn first_day(month: i64) -> i64 {
    let from_march = month - 2;
    let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UTC: LocalClock = LocalClock { utc_offset_secs: 0 };

    /// 2026-11-28, 12:00.
    const NOON: Time = Time(1_795_867_200_000_000);

    #[test]
    fn months_begin_where_the_calendar_says() {
        // The first of January 1970; of March 2000, 2024 and 2100; of November 2026.
        for first in [0, 11_017, 19_783, 47_541, 20_758] {
            assert_eq!(first_day(month_of(first)), first);
            assert_eq!(month_of(first - 1) + 1, month_of(first));
        }
        for day in -1_000..60_000 {
            let month = month_of(day);
            assert!(first_day(month) <= day && day < first_day(month + 1), "{day}");
        }
    }

    #[test]
    fn a_day_ends_at_the_owners_midnight() {
        // 2026-11-30, 22:30.
        let now = NOON + Span::secs(2 * 86_400 + 37_800);
        let helsinki = LocalClock { utc_offset_secs: 7_200 };
        let text = |period: Period, clock| period.ends(now, clock).to_string();
        assert_eq!(text(Period::Day, UTC), "2026-12-01T00:00:00Z");
        // There it is past midnight already.
        assert_eq!(text(Period::Day, helsinki), "2026-12-01T22:00:00Z");
        assert_eq!(text(Period::Month, UTC), "2026-12-01T00:00:00Z");
        assert_eq!(text(Period::Month, helsinki), "2026-12-31T22:00:00Z");
    }

    #[test]
    fn rates_are_read_as_owners_write_them() {
        let read = |text: &str| text.parse::<Rate>().map(|rate| rate.0.0);
        assert_eq!(read("500KiB/s"), Ok(512_000));
        assert_eq!(read("1MB/s"), Ok(1_000_000));
        assert_eq!(read("4Mbit/s"), Ok(500_000));
        assert_eq!(read("64 kbit/s"), Ok(8_000));
        for bad in ["500", "fast", "4M", "/s", "-1KiB/s", "4 bits/s"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clock_that_goes_forward_and_back_finds_the_day_as_it_left_it() {
        let today = NOON;
        let tomorrow = today + Span::secs(86_400);
        let mut meter = Meter::default();
        meter.add(today, UTC, Bytes(700));
        meter.add(tomorrow, UTC, Bytes(5));
        assert_eq!(meter.moved(tomorrow, UTC), Moved { day: Bytes(5), month: Bytes(705) });
        assert_eq!(meter.moved(today, UTC), Moved { day: Bytes(700), month: Bytes(705) });
        meter.take_back(today, UTC, Bytes(600));
        assert_eq!(meter.moved(today, UTC), Moved { day: Bytes(100), month: Bytes(105) });
    }

    proptest! {
        /// A limiter that asks before it moves keeps every day and month of any clock to its caps.
        #[test]
        fn no_day_has_more_than_its_cap_however_the_clock_moves(
            day_max in 1u64..2_000,
            month_max in 1u64..8_000,
            steps in proptest::collection::vec(
                (0i64..40 * 86_400, -50_000i32..50_000, 0u64..900),
                1..80,
            ),
        ) {
            let limits = NetworkLimits {
                day_max: Some(Bytes(day_max)),
                month_max: Some(Bytes(month_max)),
                ..NetworkLimits::default()
            };
            let mut meter = Meter::default();
            let (mut days, mut months) = (BTreeMap::new(), BTreeMap::new());
            for (secs, offset, bytes) in steps {
                let clock = LocalClock { utc_offset_secs: offset };
                let now = Time((1_790_000_000 + secs as u64) * 1_000_000);
                let left = limits.left(&meter.moved(now, clock)).expect("there are caps");
                let moved = Bytes(bytes).min(left);
                meter.add(now, clock, moved);
                let day = (1_790_000_000 + secs + i64::from(offset)).div_euclid(86_400);
                *days.entry(day).or_insert(0) += moved.0;
                *months.entry(month_of(day)).or_insert(0) += moved.0;
            }
            prop_assert!(days.values().all(|&moved| moved <= day_max));
            prop_assert!(months.values().all(|&moved| moved <= month_max));
        }

        /// In any stretch of time no more goes than the rate allows in it, and one piece.
        #[test]
        fn a_pace_is_never_exceeded(
            rate in 1u64..1_000_000,
            asks in proptest::collection::vec((0u64..200_000, 1u64..20_000), 1..60),
        ) {
            let (mut pace, mut now) = (Pace::default(), Span::ZERO);
            let mut gone: Vec<(u64, u64)> = Vec::new();
            for (later, piece) in asks {
                now = now + Span(later);
                let wait = pace.take(now, Bytes(piece), Rate(Bytes(rate)));
                gone.push((now.0 + wait.0, piece));
            }
            for (index, &(from, first)) in gone.iter().enumerate() {
                let mut sum = 0;
                for &(to, piece) in &gone[index..] {
                    sum += piece;
                    let allowed = u128::from(rate) * u128::from(to - from) / 1_000_000;
                    // Rounding a cost down loses less than a byte at any rate up to 1 MB/s.
                    let slack = u128::from(first) + u128::from(piece) + gone.len() as u128;
                    prop_assert!(u128::from(sum) <= allowed + slack);
                }
            }
        }
    }
}
