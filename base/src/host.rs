//! What a host is and what it offers.

use serde::{Deserialize, Serialize};

use crate::guid::Guid;
use crate::price::Price;
use crate::units::Bytes;

/// A description of a host as its agent measured it. Claims, not truth: money rests on none of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// The owner's name for it.
    pub name: String,
    /// Version of the agent.
    pub agent: String,
    /// `linux`, `macos`, ...
    pub os: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// Cores that the owner ever lets us use.
    pub cpus: u16,
    /// Memory that the owner ever lets us use.
    pub memory: Bytes,
    /// Disk that the owner ever lets us use.
    pub disk: Bytes,
    /// Two-letter country, where the owner told it.
    pub country: Option<String>,
    /// What results depend on besides the program: engine and fuel schedule, `wasmtime-48`.
    pub engine: String,
}

/// Which programs an owner lets run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Accept {
    /// Any.
    #[default]
    Any,
    /// These alone.
    Only(Vec<Guid>),
    /// Any but these.
    Except(Vec<Guid>),
}

impl Accept {
    /// Whether `program` may run.
    #[must_use]
    pub fn allows(&self, program: &Guid) -> bool {
        match self {
            Self::Any => true,
            Self::Only(programs) => programs.contains(program),
            Self::Except(programs) => !programs.contains(program),
        }
    }
}

/// What the policy allows now. The complex grants within it; the host enforces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offer {
    /// Cores now; 0 when the owner wants quiet.
    pub cores: u16,
    /// Memory for all tasks together.
    pub memory: Bytes,
    /// Disk for programs, inputs and outputs together.
    pub disk: Bytes,
    /// The least price.
    pub price_min: Price,
    /// Which programs.
    pub accept: Accept,
    /// Why it is what it is, in the owner's words: shown by `explain`. At most a few lines.
    pub reasons: Vec<String>,
}

impl Offer {
    /// Nothing, for the given reason.
    #[must_use]
    pub fn nothing(reason: &str) -> Self {
        Self {
            cores: 0,
            memory: Bytes::ZERO,
            disk: Bytes::ZERO,
            price_min: Price(0),
            accept: Accept::Any,
            reasons: vec![reason.into()],
        }
    }
}
