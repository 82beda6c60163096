//! Quantities with their unit in the type: bytes, fuel, money.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::ParseIdError;

/// A number of bytes. Text: `512MiB`, `2GB`, `4096`; `K`, `M`, `G`, `T` alone mean 1024-based.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Deterministic work: what wasmtime calls fuel, about one per executed instruction.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Fuel(pub u64);

/// Money: a millionth of a credit. Arithmetic on balances is checked, never wrapping.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MicroCredits(pub i64);

impl Bytes {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `n` KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// As a length in memory; saturates on small machines.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut unit = 0;
        while unit + 1 < NAMES.len() && self.0 >> (10 * (unit + 1)) > 0 {
            unit += 1;
        }
        let size = 1u64 << (10 * unit);
        let text = if self.0.is_multiple_of(size) {
            format!("{} {}", self.0 / size, NAMES[unit])
        } else {
            format!("{:.1} {}", self.0 as f64 / size as f64, NAMES[unit])
        };
        f.pad(&text)
    }
}

impl FromStr for Bytes {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
                "" | "b" => 1,
                "k" | "kib" => 1 << 10,
                "m" | "mib" => 1 << 20,
                "g" | "gib" => 1 << 30,
                "t" | "tib" => 1 << 40,
                "kb" => 1_000,
                "mb" => 1_000_000,
                "gb" => 1_000_000_000,
                "tb" => 1_000_000_000_000,
                _ => return None,
            };
            scaled(&text[..digits], unit).map(Self)
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "a size, such as 512MiB, 2GB or 4096",
        })
    }
}

impl fmt::Display for Fuel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        let text = match n {
            0..1_000 => format!("{n}"),
            1_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
            1_000_000..1_000_000_000 => format!("{:.1}M", n as f64 / 1e6),
            1_000_000_000..1_000_000_000_000 => format!("{:.1}G", n as f64 / 1e9),
            _ => format!("{:.1}T", n as f64 / 1e12),
        };
        f.pad(&text)
    }
}

impl FromStr for Fuel {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let unit = match text[digits..].trim() {
                "" => 1,
                "k" | "K" => 1_000,
                "m" | "M" => 1_000_000,
                "g" | "G" => 1_000_000_000,
                "t" | "T" => 1_000_000_000_000,
                _ => return None,
            };
            scaled(&text[..digits], unit).map(Self)
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "an amount of fuel, such as 500M, 20G or 1T",
        })
    }
}

/// `1.5` times a unit, exactly, or nothing: at most nine decimals, no overflow.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || number.ends_with('.') {
        return None;
    }
    let mut value = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit);
    if !fraction.is_empty() {
        let digits = u128::from(fraction.parse::<u64>().ok()?);
        value += digits * u128::from(unit) / 10u128.pow(fraction.len() as u32);
    }
    u64::try_from(value).ok()
}

impl MicroCredits {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One credit.
    pub const CREDIT: Self = Self(1_000_000);

    /// `n` credits; `n` is a constant of ours, not input.
    #[must_use]
    pub const fn credits(n: i64) -> Self {
        Self(n * 1_000_000)
    }

    /// A sum that was made where it fits; the nearest amount if it is none.
    #[must_use]
    pub fn clamped(sum: i128) -> Self {
        let fits = sum.clamp(i64::MIN.into(), i64::MAX.into());
        Self(i64::try_from(fits).unwrap_or(i64::MAX))
    }

    /// The sum, or nothing when it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or nothing when it does not fit.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for MicroCredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let n = self.0.unsigned_abs();
        f.pad(&format!("{sign}{}.{:06}", n / 1_000_000, n % 1_000_000))
    }
}

impl FromStr for MicroCredits {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
            if fraction.len() > 6 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return None;
            }
            scaled(text, 1_000_000).and_then(|n| i64::try_from(n).ok()).map(Self)
        };
        parse().ok_or_else(|| ParseIdError {
            text: text.into(),
            wanted: "an amount of credits, such as 5 or 0.25",
        })
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Add for Fuel {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Fuel {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_in_both_families() {
        assert_eq!("512MiB".parse(), Ok(Bytes::mib(512)));
        assert_eq!("2G".parse(), Ok(Bytes::gib(2)));
        assert_eq!("1.5 KiB".parse(), Ok(Bytes(1536)));
        assert_eq!("2GB".parse(), Ok(Bytes(2_000_000_000)));
        for bad in ["", "MiB", "1.", ".5", "-1", "1e9", "12 parsecs", "99999999999T"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes::gib(64).to_string(), "64 GiB");
    }

    #[test]
    fn money_is_exact() {
        assert_eq!("0.000001".parse(), Ok(MicroCredits(1)));
        assert_eq!("12.5".parse(), Ok(MicroCredits(12_500_000)));
        assert_eq!(MicroCredits(-1_500_000).to_string(), "-1.500000");
        assert!("0.0000001".parse::<MicroCredits>().is_err());
        assert!("9300000000000".parse::<MicroCredits>().is_err());
        assert!("-3".parse::<MicroCredits>().is_err());
    }

    #[test]
    fn fuel_has_decimal_units() {
        assert_eq!("1.5G".parse(), Ok(Fuel(1_500_000_000)));
        assert_eq!(Fuel(3_871_965_333).to_string(), "3.9G");
    }
}
