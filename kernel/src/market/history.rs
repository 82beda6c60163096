//! What prices were: ticks for an hour, hours for six weeks, and what that says of hours to come.
//!
//! Bounded: about 30 KiB a class. The forecast of an hour is the mean of the same hour of the past
//! weeks, the last one weighing most; before there is a week, of the same hour of past days.

use std::collections::VecDeque;

use isos_base::Time;
use isos_base::market::{HourPrice, TickPrice};
use isos_base::price::Price;

/// Ticks that are kept: an hour of them.
pub const TICKS_KEPT: usize = 120;
/// Hours that are kept: six weeks of them.
pub const HOURS_KEPT: usize = 6 * 7 * 24;
const HOUR_MICROS: u64 = 3_600_000_000;
const WEEK_HOURS: u64 = 7 * 24;

/// The past of one class.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    ticks: VecDeque<TickPrice>,
    hours: VecDeque<HourPrice>,
}

impl History {
    /// As it was kept; what is too much or out of order is left out.
    #[must_use]
    pub fn restore(ticks: Vec<TickPrice>, hours: Vec<HourPrice>) -> Self {
        let mut history = Self::default();
        for tick in ticks {
            if history.ticks.back().is_none_or(|last| last.at < tick.at) {
                history.ticks.push_back(tick);
            }
        }
        for hour in hours {
            if history.hours.back().is_none_or(|last| last.hour < hour.hour) {
                history.hours.push_back(hour);
            }
        }
        history.ticks.drain(..history.ticks.len().saturating_sub(TICKS_KEPT));
        history.hours.drain(..history.hours.len().saturating_sub(HOURS_KEPT));
        history
    }

    /// Takes a tick in. One that is not after the last is left out.
    pub fn note(&mut self, tick: TickPrice) {
        if self.ticks.back().is_some_and(|last| last.at >= tick.at) {
            return;
        }
        if self.ticks.len() == TICKS_KEPT {
            self.ticks.pop_front();
        }
        self.ticks.push_back(tick);
        let hour = u32::try_from(tick.at.0 / HOUR_MICROS).unwrap_or(u32::MAX);
        let price = tick.price;
        match self.hours.back_mut() {
            Some(last) if last.hour == hour => {
                last.low = last.low.min(price);
                last.high = last.high.max(price);
                last.sum += u64::from(price.0);
                last.ticks += 1;
                last.units += u64::from(tick.units);
            }
            _ => {
                if self.hours.len() == HOURS_KEPT {
                    self.hours.pop_front();
                }
                self.hours.push_back(HourPrice {
                    hour,
                    low: price,
                    high: price,
                    sum: price.0.into(),
                    ticks: 1,
                    units: tick.units.into(),
                });
            }
        }
    }

    /// The last hour's ticks, oldest first.
    pub fn ticks(&self) -> impl DoubleEndedIterator<Item = &TickPrice> {
        self.ticks.iter()
    }

    /// The last weeks' hours, oldest first.
    pub fn hours(&self) -> impl DoubleEndedIterator<Item = &HourPrice> {
        self.hours.iter()
    }

    /// Whether it is within its bounds, as what is read from a disk may not be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let rising = |mut at: Box<dyn Iterator<Item = u64> + '_>| {
            let mut last = None;
            at.all(|it| last.replace(it).is_none_or(|last| last < it))
        };
        self.ticks.len() <= TICKS_KEPT
            && self.hours.len() <= HOURS_KEPT
            && rising(Box::new(self.ticks.iter().map(|tick| tick.at.0)))
            && rising(Box::new(self.hours.iter().map(|hour| hour.hour.into())))
    }

    /// The mean price of the hour before `now`, which is what is shown.
    #[must_use]
    pub fn hour_mean(&self, now: Time) -> Option<Price> {
        let lately = |tick: &&TickPrice| tick.at.0 + HOUR_MICROS > now.0;
        let (mut sum, mut ticks) = (0_u64, 0_u64);
        for tick in self.ticks.iter().filter(lately) {
            sum += u64::from(tick.price.0);
            ticks += 1;
        }
        let mean = (sum + ticks / 2).checked_div(ticks)?;
        u32::try_from(mean).ok().map(Price)
    }

    /// What the price will be in the hour of `at`, as far as the past says; nothing if it does not.
    #[must_use]
    pub fn forecast(&self, at: Time) -> Option<Price> {
        let hour = at.0 / HOUR_MICROS;
        self.of_hours(hour, WEEK_HOURS).or_else(|| self.of_hours(hour, 24))
    }

    /// The mean of the hours that lie whole periods before; each weighs half of the next.
    fn of_hours(&self, hour: u64, period: u64) -> Option<Price> {
        let (mut sum, mut weights, mut weight) = (0_u64, 0_u64, 1_u64 << 16);
        let alike = |it: &&HourPrice| {
            let then = u64::from(it.hour);
            then < hour && (hour - then).is_multiple_of(period)
        };
        for past in self.hours.iter().rev().filter(alike) {
            sum += weight * u64::from(past.mean().0);
            weights += weight;
            weight /= 2;
            if weight == 0 {
                break;
            }
        }
        let mean = (sum + weights / 2).checked_div(weights)?;
        u32::try_from(mean).ok().map(Price)
    }

    /// The hour with the lowest forecast of the `hours` that follow on `now`, and that.
    #[must_use]
    pub fn cheapest(&self, now: Time, hours: u64) -> Option<(Time, Price)> {
        let next = now.0 / HOUR_MICROS + 1;
        let of = (next..next + hours).map(|hour| Time(hour * HOUR_MICROS));
        of.filter_map(|at| Some((at, self.forecast(at)?))).min_by_key(|&(at, price)| (price, at))
    }
}
