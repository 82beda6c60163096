//! Slices as the complex keeps them: hosts that an account holds together by a name, as one
//! distributed virtual machine. What is on one of the hosts is a *sliver*.
//!
//! The word and the idea are PlanetLab's (Peterson, Anderson, Culler, Roscoe, "A Blueprint for
//! Introducing Disruptive Technology into the Internet", 2002). There a sliver is a part of the
//! machine; here it is the right to run there, and what runs is paid as any work is.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, HostId, SliceId};
use crate::limits;
use crate::time::{Span, Time};

/// Hosts of one slice.
pub const SLICE_HOSTS_MAX: usize = 256;
/// A slice ends at most so long after it was made or renewed.
pub const SLICE_TERM_MAX: Span = Span::secs(28 * 86_400);
/// And at least so long.
pub const SLICE_TERM_MIN: Span = Span::secs(60);
/// Hosts that were replaced in a slice and are still told of, the last ones.
pub const SLICE_REPLACED_MAX: usize = 32;
/// What [`is_slice_name`] wants, for messages.
pub const SLICE_NAME: &str = "a name of 1 to 64 letters, digits, '-', '_' or '.', of which the \
     first is a letter or digit";

/// Whether a text can be the name of a slice: it stands in addresses and on command lines.
#[must_use]
pub fn is_slice_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= limits::NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// Where a slice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SliceState {
    /// It has its hosts.
    Open,
    /// It was given up.
    Dropped,
    /// Its time came.
    Over,
}

/// A slice on one host. Its rank is its place among the slivers, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sliver {
    /// The host.
    pub host: HostId,
    /// Since when it has this rank.
    pub since: Time,
}

/// A host whose rank another has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Replaced {
    /// The rank.
    pub rank: u32,
    /// The host that had it.
    pub host: HostId,
    /// When another took it.
    pub at: Time,
    /// Why.
    pub why: String,
}

/// A slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRecord {
    /// Its number.
    pub id: SliceId,
    /// Whose.
    pub account: AccountId,
    /// Its name, which no other open slice of the account has.
    pub name: String,
    /// CEL over `host`, true of each host that may be of it.
    pub constraint: Option<String>,
    /// When it was made.
    pub made: Time,
    /// When it ends by itself.
    pub until: Time,
    /// Where it stands.
    pub state: SliceState,
    /// When it ended.
    pub ended: Option<Time>,
    /// Its hosts, by rank.
    pub slivers: Vec<Sliver>,
    /// Those that were replaced, the last ones; at most [`SLICE_REPLACED_MAX`].
    pub replaced: Vec<Replaced>,
}

impl SliceRecord {
    /// Which rank a host has.
    #[must_use]
    pub fn rank_of(&self, host: HostId) -> Option<u32> {
        let found = self.slivers.iter().position(|sliver| sliver.host == host);
        found.and_then(|rank| u32::try_from(rank).ok())
    }
}

/// Where the tasks of a job run: as the slice was when the job was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The slice.
    pub slice: SliceId,
    /// Its hosts then, by rank: task n runs on the n-th of them.
    pub hosts: Vec<HostId>,
}

#[cfg(test)]
mod tests {
    use super::is_slice_name;

    #[test]
    fn a_name_is_plain_and_short() {
        for good in ["a", "lab-1", "7.x_Y", &"n".repeat(64)] {
            assert!(is_slice_name(good), "{good}");
        }
        for bad in ["", "-a", ".", "a b", "a/b", "\u{e4}", "a\n", &"n".repeat(65)] {
            assert!(!is_slice_name(bad), "{bad:?}");
        }
    }
}
