//! The values of a policy file: shares, amounts, numbers of cores, prices.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use isos_base::Bytes;
use isos_base::ids::ParseIdError;
use isos_base::price::Price;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A share of a whole in percent: 0 to 100. Text: `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// Nothing of it.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const ALL: Self = Self(100);

    /// `percent` of 100; `None` above 100.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        if percent > 100 { None } else { Some(Self(percent)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// This share of `whole`, rounded down: a limit is never exceeded by rounding.
    #[must_use]
    pub const fn of(self, whole: u64) -> u64 {
        (whole as u128 * self.0 as u128 / 100) as u64
    }
}

/// Thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millicores(pub u32);

impl Millicores {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// So many whole cores.
    #[must_use]
    pub const fn whole(cores: u16) -> Self {
        Self(cores as u32 * 1_000)
    }

    /// Tasks that it is room for at a time: a part of a core is room for one.
    #[must_use]
    pub const fn cores(self) -> u16 {
        self.0.div_ceil(1_000) as u16
    }

    /// As a number of cores.
    #[must_use]
    pub fn as_cores(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1_000, self.0 % 1_000) {
            (1, 0) => f.write_str("1 core"),
            (whole, 0) => write!(f, "{whole} cores"),
            (0, part) => write!(f, "{}.{:02} of a core", 0, part / 10),
            (whole, part) => write!(f, "{whole}.{:02} cores", part / 10),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.strip_suffix('%').map(str::trim_end);
        let plain = digits.filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        plain
            .and_then(|it| it.parse().ok())
            .and_then(Self::new)
            .ok_or_else(|| ParseIdError { text: text.into(), wanted: "a share, from 0% to 100%" })
    }
}

/// A part of the machine's memory or disk. Text: `50%` or `8GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Of what the machine has.
    Share(Percent),
    /// Whatever the machine has.
    Size(Bytes),
}

impl Amount {
    /// On a machine that has `whole`; never more than that.
    #[must_use]
    pub fn of(self, whole: Bytes) -> Bytes {
        match self {
            Self::Share(share) => Bytes(share.of(whole.0)),
            Self::Size(size) => size.min(whole),
        }
    }

    /// Whether it is nothing on every machine.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        matches!(self, Self::Share(Percent(0)) | Self::Size(Bytes(0)))
    }

    /// Whether it is more than `other` on every machine.
    pub(super) fn surely_exceeds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Share(this), Self::Share(that)) => this > that,
            (Self::Size(this), Self::Size(that)) => this > that,
            _ => other.is_zero() && !self.is_zero(),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Size(size) => size.fmt(f),
        }
    }
}

impl FromStr for Amount {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let share = text.parse().map(Self::Share);
        share.or_else(|_| text.parse().map(Self::Size)).map_err(|_| ParseIdError {
            text: text.into(),
            wanted: "a share, such as 25%, or a size, such as 8GiB",
        })
    }
}

/// A number of cores: a number, or a share of those that the machine has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cores {
    /// So many, finite and not negative.
    Number(f32),
    /// Of the machine's.
    Share(Percent),
}

impl Cores {
    /// On a machine with `cpus` cores.
    #[must_use]
    pub fn of(self, cpus: u16) -> f32 {
        match self {
            Self::Number(number) => number,
            Self::Share(share) => f32::from(cpus) * f32::from(share.get()) / 100.0,
        }
    }
}

/// A size that is the same on every machine. Text: `5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) Bytes);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

/// Up to which temperature work runs: degrees Celsius, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeatMax {
    /// Nobody looks.
    Off,
    /// Whole degrees, 30 to 120.
    At(u8),
}

impl<'de> Deserialize<'de> for HeatMax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let max = match &value {
            toml::Value::Integer(it @ 30..=120) => u8::try_from(*it).ok().map(Self::At),
            toml::Value::String(it) if it == "off" => Some(Self::Off),
            _ => None,
        };
        max.ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is no temperature: whole degrees Celsius from 30 to 120, or \"off\""
            ))
        })
    }
}

/// A window's price: as a multiple of the base price, or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowPrice {
    /// In thousandths of the base price. Text: `20x` or `1.5x`.
    Times(u32),
    /// Micro-credits per gigafuel.
    Exactly(Price),
}

impl WindowPrice {
    /// The price over `base`, rounded up; `None` when it is larger than a price can be.
    pub(super) fn over(self, base: Price) -> Option<Price> {
        match self {
            Self::Exactly(price) => Some(price),
            Self::Times(thousandths) => {
                let exact = u64::from(base.0) * u64::from(thousandths);
                u32::try_from(exact.div_ceil(1_000)).ok().map(Price)
            }
        }
    }
}

impl fmt::Display for WindowPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(thousandths) => write!(f, "{}x", f64::from(*thousandths) / 1e3),
            Self::Exactly(price) => write!(f, "{}", price.0),
        }
    }
}

/// `1.5x` in thousandths: at most three decimals, nothing but digits.
fn times(text: &str) -> Option<u32> {
    let number = text.strip_suffix('x')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || number.ends_with('.') || decimals.len() > 3 || !plain(decimals) {
        return None;
    }
    let thousandths = format!("{decimals:0<3}").parse::<u32>().ok()?;
    let whole = Some(whole).filter(|whole| plain(whole))?.parse::<u32>().ok()?;
    whole.checked_mul(1_000)?.checked_add(thousandths)
}

/// A value that is text in the file.
pub(super) fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = ParseIdError>,
{
    <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let number = |number: f64| (0.0..=65_535.0).contains(&number).then_some(number as f32);
        let cores = match &value {
            toml::Value::Integer(it) => number(*it as f64).map(Self::Number),
            toml::Value::Float(it) => number(*it).map(Self::Number),
            toml::Value::String(it) => it.parse().ok().map(Self::Share),
            _ => None,
        };
        cores.ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is not a number of cores, such as 1.5, or a share of them, such as \"50%\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for WindowPrice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let price = match &value {
            toml::Value::Integer(it) => u32::try_from(*it).ok().map(|it| Self::Exactly(Price(it))),
            toml::Value::String(it) => times(it).map(Self::Times),
            _ => None,
        };
        price.ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is not a price: micro-credits per gigafuel, such as 2000, or a multiple \
                 of the base price, such as \"20x\""
            ))
        })
    }
}
