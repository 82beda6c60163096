//! The owner's week: which window applies at which minute, on the clock on the owner's wall.
//!
//! A week has 10,080 minutes; the windows are laid over them once, when the policy is read, and
//! kept as segments. Where windows overlap the first in the file applies, as in a firewall. Not
//! here: dates, holidays, and when summer time begins, which the machine's clock tells.

use std::fmt;
use std::str::FromStr;

use isos_base::Time;
use isos_base::ids::ParseIdError;
use isos_base::sensors::LocalClock;

const DAY_MINUTES: u16 = 24 * 60;
/// Minutes of a week.
pub(super) const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
const MINUTE_MICROS: u64 = 60_000_000;
const WEEK_MICROS: u64 = WEEK_MINUTES as u64 * MINUTE_MICROS;
/// 1970-01-01 was a Thursday, three days after a Monday.
const EPOCH_MICROS: i128 = 3 * DAY_MINUTES as i128 * MINUTE_MICROS as i128;
/// Spans of hours in one window.
const SPANS_MAX: usize = 24;

const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Weekdays, Monday first. Text: `mon-fri`, `sat,sun`, `fri-mon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Days {
    on: [bool; 7],
    /// As the owner wrote it.
    pub(super) text: String,
}

impl Days {
    pub(super) fn every() -> Self {
        Self { on: [true; 7], text: String::new() }
    }
}

impl FromStr for Days {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let day = |name: &str| {
            let name = name.trim();
            DAY_NAMES.iter().position(|day| day.eq_ignore_ascii_case(name))
        };
        let parse = || {
            let mut days = [false; 7];
            for part in text.split(',') {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (day(first)?, day(last)?);
                let count = (last + 7 - first) % 7;
                (0..=count).for_each(|step| days[(first + step) % 7] = true);
            }
            Some(Self { on: days, text: text.trim().into() })
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "days of the week, such as mon-fri or sat,sun",
        })
    }
}

/// Hours of a day, as starts and lengths in minutes. Text: `09:00-17:00`, `22:00-06:00` (which ends
/// on the next day), `08:00-12:00,13:00-17:00`, `00:00-24:00`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hours {
    spans: Vec<(u16, u16)>,
    /// As the owner wrote it.
    pub(super) text: String,
}

impl Hours {
    pub(super) fn whole_day() -> Self {
        Self { spans: vec![(0, DAY_MINUTES)], text: String::new() }
    }
}

impl FromStr for Hours {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let plain = |it: &str| it.len() == 2 && it.bytes().all(|byte| byte.is_ascii_digit());
            if !plain(hour) || !plain(minute) {
                return None;
            }
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            let total = hour * 60 + minute;
            (minute < 60 && total <= DAY_MINUTES).then_some(total)
        };
        let parse = || {
            let mut spans = Vec::new();
            for part in text.split(',') {
                let (start, end) = part.split_once('-')?;
                let (start, end) = (minute(start)?, minute(end)?);
                if start == end || start == DAY_MINUTES || spans.len() == SPANS_MAX {
                    return None;
                }
                let length = if end > start { end - start } else { end + DAY_MINUTES - start };
                spans.push((start, length));
            }
            Some(Self { spans, text: text.trim().into() })
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "hours of the day, such as 09:00-17:00 or 22:00-06:00",
        })
    }
}

/// A stretch of the week in which one window applies, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// First minute of the week.
    start: u16,
    /// Index of the window.
    window: Option<usize>,
}

/// The week, cut into segments: at least one, the first at minute 0, neighbours differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar(Vec<Segment>);

/// What applies at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Index of the window, if one applies.
    pub(super) window: Option<usize>,
    /// When another applies, or none; `None` if that never changes.
    pub(super) ends: Option<Time>,
}

impl Calendar {
    pub(super) fn new(windows: &[(Days, Hours)]) -> Self {
        let mut minutes = vec![None; usize::from(WEEK_MINUTES)];
        // The last goes first, so that the first in the file stays on top.
        for (index, (days, hours)) in windows.iter().enumerate().rev() {
            for day in (0..7u16).filter(|day| days.on[usize::from(*day)]) {
                for (start, length) in &hours.spans {
                    for minute in 0..*length {
                        let at = (day * DAY_MINUTES + start + minute) % WEEK_MINUTES;
                        minutes[usize::from(at)] = Some(index);
                    }
                }
            }
        }
        let mut segments: Vec<Segment> = Vec::new();
        for (start, window) in (0..WEEK_MINUTES).zip(minutes) {
            if segments.last().is_none_or(|last| last.window != window) {
                segments.push(Segment { start, window });
            }
        }
        Self(segments)
    }

    /// Whether a window, or the time outside of all, is ever in force.
    pub(super) fn has(&self, window: Option<usize>) -> bool {
        self.0.iter().any(|segment| segment.window == window)
    }

    /// The window at a minute of the week, which must be below [`WEEK_MINUTES`].
    pub(super) fn window_at(&self, minute: u16) -> Option<usize> {
        self.segment_at(minute).1.window
    }

    fn segment_at(&self, minute: u16) -> (usize, Segment) {
        let after = self.0.partition_point(|segment| segment.start <= minute);
        // The first segment starts at 0, so at least one starts at or before any minute.
        (after - 1, self.0[after - 1])
    }

    pub(super) fn at(&self, now: Time, clock: LocalClock) -> Slot {
        let micros = micros_of_week(now, clock);
        let (index, segment) = self.segment_at((micros / MINUTE_MICROS) as u16);
        if self.0.len() == 1 {
            return Slot { window: segment.window, ends: None };
        }
        let end_minute = match self.0.get(index + 1) {
            Some(next) => u64::from(next.start),
            // On Sunday's last minute: Monday may go on with the same window.
            None if self.0[0].window == segment.window => {
                u64::from(WEEK_MINUTES) + u64::from(self.0[1].start)
            }
            None => u64::from(WEEK_MINUTES),
        };
        let rest = end_minute * MINUTE_MICROS - micros;
        Slot { window: segment.window, ends: Some(Time(now.0.saturating_add(rest))) }
    }
}

/// Microseconds since Monday, 00:00 local time.
fn micros_of_week(now: Time, clock: LocalClock) -> u64 {
    let local = i128::from(now.0) + i128::from(clock.utc_offset_secs) * 1_000_000 + EPOCH_MICROS;
    local.rem_euclid(i128::from(WEEK_MICROS)) as u64
}

/// A moment as the owner would say it: `Mon 17:00` within the next six days, else the date in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The moment.
    pub at: Time,
    /// When it is spoken of.
    pub now: Time,
    /// Where the clock on the wall stands.
    pub clock: LocalClock,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NEAR_MICROS: u64 = 6 * 24 * 60 * MINUTE_MICROS;
        if self.at.since(self.now).0 > NEAR_MICROS {
            return self.at.fmt(f);
        }
        let minute = (micros_of_week(self.at, self.clock) / MINUTE_MICROS) as u16;
        let day =
            ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][usize::from(minute / DAY_MINUTES)];
        write!(f, "{day} {:02}:{:02}", minute % DAY_MINUTES / 60, minute % 60)
    }
}
