//! Why a policy is refused when it is read.

use std::fmt;

use thiserror::Error;

/// Characters of a policy file.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// Windows of one policy.
pub const WINDOWS_MAX: usize = 64;

/// A policy cannot be used.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PolicyError {
    /// Far too long for a policy.
    #[error("a policy of {0} bytes, the limit is {POLICY_BYTES_MAX}")]
    TooLong(usize),
    /// Not TOML, a field that is unknown, or a value that is no value of its field. The source says
    /// line and column.
    #[error("the policy cannot be read")]
    Syntax(#[source] Box<toml::de::Error>),
    /// Too many of something.
    #[error("the policy has {count} {what}, the limit is {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Fields that cannot both be meant; all of them.
    #[error("the policy contradicts itself:{}", Listed(.0))]
    Contradictory(Vec<Contradiction>),
}

/// Two things that a policy, or a policy and its machine, say against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The one, as field and value: `power.battery_min = 50%`.
    pub first: String,
    /// The other.
    pub second: String,
    /// What is wrong with them together.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second, problem, fix } = self;
        write!(f, "{first} with {second}: {problem}; {fix}")
    }
}

struct Listed<'a>(&'a [Contradiction]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one] => write!(f, " {one}"),
            many => many
                .iter()
                .enumerate()
                .try_for_each(|(index, one)| write!(f, "\n  {}. {one}", index + 1)),
        }
    }
}
