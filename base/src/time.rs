//! Time as a number: machines are told what time it is, they never ask.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ParseIdError;

/// A moment: microseconds since 1970-01-01 00:00 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

/// A length of time in microseconds. Text: `250ms`, `90s`, `5m`, `2h`, `7d`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(from = "SpanText", into = "SpanText")]
pub struct Span(pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` microseconds.
    #[must_use]
    pub const fn micros(n: u64) -> Self {
        Self(n)
    }

    /// `n` milliseconds.
    #[must_use]
    pub const fn millis(n: u64) -> Self {
        Self(n * 1_000)
    }

    /// `n` seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(n * 1_000_000)
    }

    /// As seconds, for ratios and screens.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// As the standard library's duration, for drivers.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }

    /// From the standard library's duration; saturates.
    #[must_use]
    pub fn from_std(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Time {
    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn unix_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// `2026-11-20T16:08:50Z`, in UTC. (Days to civil date: Howard Hinnant's algorithm.)
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let secs = self.unix_secs();
        let (days, rest) = (secs / 86_400, secs % 86_400);
        let z = days + 719_468;
        let era = z / 146_097;
        let day_of_era = z % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (h, m, s) = (rest / 3_600, rest / 60 % 60, rest % 60);
        format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
    }
}

impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Time {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_rfc3339())
    }
}

/// The largest unit that divides the span, so that what is printed parses to the same span.
impl Span {
    /// Rounded for people: to milliseconds below a second, to seconds below an hour, to minutes
    /// below two days, then to hours.
    #[must_use]
    pub const fn rounded(self) -> Self {
        let unit = match self.0 {
            0..1_000 => 1,
            1_000..1_000_000 => 1_000,
            1_000_000..3_600_000_000 => 1_000_000,
            3_600_000_000..172_800_000_000 => 60_000_000,
            _ => 3_600_000_000,
        };
        Self(self.0.saturating_add(unit / 2) / unit * unit)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut size, mut name) = UNITS[0];
        for &(unit, unit_name) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(unit) {
                (size, name) = (unit, unit_name);
            }
        }
        f.pad(&format!("{}{name}", self.0 / size))
    }
}

const UNITS: &[(u64, &str)] = &[
    (1, "us"),
    (1_000, "ms"),
    (1_000_000, "s"),
    (60_000_000, "m"),
    (3_600_000_000, "h"),
    (86_400_000_000, "d"),
];

impl FromStr for Span {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let number: u64 = text[..digits].parse().ok()?;
            let unit = match text[digits..].trim() {
                "" => 1_000_000,
                name => UNITS.iter().find(|(_, unit)| *unit == name)?.0,
            };
            number.checked_mul(unit).map(Self)
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "a length of time, such as 250ms, 90s, 5m, 2h or 7d",
        })
    }
}

/// Text in JSON and TOML, a number on the wire.
struct SpanText(u64);

impl Serialize for SpanText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&Span(self.0))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SpanText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.parse::<Span>().map(|span| Self(span.0)).map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

impl From<Span> for SpanText {
    fn from(span: Span) -> Self {
        Self(span.0)
    }
}

impl From<SpanText> for Span {
    fn from(text: SpanText) -> Self {
        Self(text.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_for_people() {
        let rounded = |micros| Span(micros).rounded().to_string();
        assert_eq!(rounded(15_738_215), "16s");
        assert_eq!(rounded(999_999), "1s");
        assert_eq!(rounded(17), "17us");
        assert_eq!(rounded(3_599_999_999), "1h");
        assert_eq!(rounded(5_000_000_000), "83m");
        assert_eq!(rounded(u64::MAX), Span(u64::MAX).rounded().to_string());
    }

    #[test]
    fn spans_print_as_they_parse() {
        for text in ["0us", "250ms", "90s", "5m", "2h", "7d", "1001us"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("15".parse::<Span>(), Ok(Span::secs(15)));
        for bad in ["", "h", "2 weeks", "-1s", "99999999999999999999s", "9999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_print_in_utc() {
        assert_eq!(Time(0).to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Time(951_827_696_000_000).to_rfc3339(), "2000-02-29T12:34:56Z");
        assert_eq!(Time(1_795_190_930_000_000).to_rfc3339(), "2026-11-20T16:08:50Z");
    }
}
