//! Typed identifiers, one file so that none is forgotten.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::PublicKey;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not {wanted}")]
pub struct ParseIdError {
    /// What was given.
    pub text: String,
    /// What would have been right, with an example.
    pub wanted: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let number = text.parse().map(Self);
                number.map_err(|_| ParseIdError { text: text.into(), wanted: $wanted })
            }
        }
    };
}

number_id!(
    /// A job of one complex; counts up from 1.
    JobId,
    "a job number, such as 42"
);
number_id!(
    /// An account of one complex; the first few are the complex's own (see `record::system`).
    AccountId,
    "an account number, such as 7"
);
number_id!(
    /// A right to one host's resources for a time; counts up from 1 over the whole complex.
    LeaseId,
    "a lease number, such as 1009"
);

number_id!(
    /// What one job owes one account for some leases; counts up from 1 over the whole complex.
    BillId,
    "a bill number, such as 77"
);

number_id!(
    /// An order to pay out over a rail; counts up from 1 over the whole complex.
    PayoutId,
    "a payout number, such as 12"
);
number_id!(
    /// Something that more than one operator decides; counts up from 1 over the whole complex.
    ProposalId,
    "a proposal number, such as 3"
);
number_id!(
    /// A firm reservation of one complex; counts up from 1.
    ReservationId,
    "a reservation number, such as 3"
);
number_id!(
    /// Hosts that one account holds together by a name; counts up from 1 over the whole complex.
    SliceId,
    "a slice number, such as 3"
);

/// One task of a job, written `42@7`: task 7 of job 42.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The task's index in the job, from 0.
    pub task: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.job, self.task)
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let parse = || {
            let (job, task) = text.split_once('@')?;
            Some(Self { job: JobId(job.parse().ok()?), task: task.parse().ok()? })
        };
        parse().ok_or_else(|| ParseIdError { text: text.into(), wanted: "a task, such as 42@7" })
    }
}

/// A contributed machine: the public key of its agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub PublicKey);

impl HostId {
    /// The first and the last host that there can be whose text begins so; nothing if there is
    /// none.
    #[must_use]
    pub fn beginning_with(prefix: &str) -> Option<RangeInclusive<Self>> {
        let (mut first, mut last) = ([0_u8; 32], [u8::MAX; 32]);
        for (at, letter) in prefix.bytes().enumerate() {
            let value = match letter {
                b'a'..=b'z' => letter - b'a',
                b'2'..=b'7' => letter - b'2' + 26,
                _ => return None,
            };
            for bit in 0..5 {
                let place = at * 5 + bit;
                let is_set = value & (16 >> bit) != 0;
                let mask = 128 >> (place % 8);
                match (first.get_mut(place / 8), last.get_mut(place / 8)) {
                    (Some(low), _) if is_set => *low |= mask,
                    (_, Some(high)) if !is_set => *high &= !mask,
                    // The last letter stands for a single bit, and text has no more letters.
                    _ if is_set || at >= 52 => return None,
                    _ => {}
                }
            }
        }
        Some(Self(PublicKey(first))..=Self(PublicKey(last)))
    }

    /// The first ten characters: enough to tell hosts apart on a screen.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(10).collect()
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostId({})", self.short())
    }
}

impl FromStr for HostId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self).map_err(|_| ParseIdError {
            text: text.into(),
            wanted: "a host key: 52 letters and digits, as `isos host list --json` prints it",
        })
    }
}

/// A transfer of the ledger; unique for ever, chosen by whoever asks for the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(pub u128);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hosts_that_begin_with_a_text_stand_together(
            key: [u8; 32],
            other: [u8; 32],
            letters in 0..=52_usize,
        ) {
            let (host, other) = (HostId(PublicKey(key)), HostId(PublicKey(other)));
            let prefix: String = host.to_string().chars().take(letters).collect();
            let range = HostId::beginning_with(&prefix).expect("there is one");
            prop_assert!(range.contains(&host));
            prop_assert_eq!(range.contains(&other), other.to_string().starts_with(&prefix));
            for end in [range.start(), range.end()] {
                prop_assert!(end.to_string().starts_with(&prefix));
            }
        }
    }

    #[test]
    fn no_host_begins_with_what_is_no_key() {
        let whole = HostId(PublicKey([7; 32])).to_string();
        let last = format!("{}b", &whole[..51]);
        for text in ["host1", "A", "a b", &format!("{whole}a"), &last] {
            assert_eq!(HostId::beginning_with(text), None, "{text}");
        }
    }
}
