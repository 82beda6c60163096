//! What an agent can know about its machine at a moment. Missing sensors are said, not guessed.

use serde::{Deserialize, Serialize};

use crate::time::Span;
use crate::units::Bytes;

/// A reading, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// The value.
    Known(T),
    /// There is no such sensor here, and why.
    Unknown(String),
}

impl<T> Reading<T> {
    /// The value, if there is one.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// Power supply.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// On mains, or a machine without battery.
    Mains,
    /// On battery, with this charge in percent.
    Battery(f32),
}

/// The local calendar: policies speak of weekdays and hours where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalClock {
    /// Seconds east of UTC.
    pub utc_offset_secs: i32,
}

/// All readings of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensors {
    /// How long no person has used the machine (keyboard, mouse, terminal).
    pub idle: Reading<Span>,
    /// CPU used by everything but our tasks, in cores.
    pub other_load: Reading<f32>,
    /// Memory that could be had without swapping.
    pub memory_free: Reading<Bytes>,
    /// Free space where our home is.
    pub disk_free: Reading<Bytes>,
    /// Power supply.
    pub power: Reading<Power>,
    /// Whether the network is metered.
    pub metered: Reading<bool>,
    /// The hottest part of the processor, in degrees Celsius.
    pub temperature: Reading<f32>,
    /// Where the clock on the wall stands.
    pub clock: LocalClock,
}

impl Sensors {
    /// A machine that nobody uses, with all sensors: for tests and the simulator.
    #[must_use]
    pub fn idle_machine() -> Self {
        Self {
            idle: Reading::Known(Span::secs(3_600)),
            other_load: Reading::Known(0.0),
            memory_free: Reading::Known(Bytes::gib(16)),
            disk_free: Reading::Known(Bytes::gib(100)),
            power: Reading::Known(Power::Mains),
            metered: Reading::Known(false),
            temperature: Reading::Known(45.0),
            clock: LocalClock { utc_offset_secs: 0 },
        }
    }
}
