//! What the API says of slices.

use serde::{Deserialize, Serialize};

use super::HostState;
use crate::ids::{AccountId, HostId, SliceId};
use crate::slice::{Replaced, SliceState};
use crate::time::Time;

/// A request for a slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SliceRequest {
    /// Its name: 1 to 64 letters, digits, `-`, `_` or `.`, of which the first is a letter or digit.
    pub name: String,
    /// How many hosts.
    pub hosts: u32,
    /// CEL over `host`, true of each host that may be of it.
    #[serde(default)]
    pub constraint: Option<String>,
    /// When it ends, from a minute to four weeks from now.
    pub until: Time,
    /// Chosen by the caller: the same key makes one slice, however often it is sent.
    #[serde(default)]
    pub key: Option<String>,
}

/// A request to change a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SliceChange {
    /// How many hosts it has from now on; those of the highest ranks leave it.
    #[serde(default)]
    pub hosts: Option<u32>,
    /// When it ends, from a minute to four weeks from now.
    #[serde(default)]
    pub until: Option<Time>,
}

/// A slice on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SliverView {
    /// Its rank, from 0.
    pub rank: u32,
    /// The host.
    pub host: HostId,
    /// The host's name.
    pub name: String,
    /// Whose host it is.
    pub owner: AccountId,
    /// Two letters, if it was told.
    pub country: Option<String>,
    /// How the host takes part.
    pub state: HostState,
    /// Since when it has this rank.
    pub since: Time,
    /// Since when it is not there, if it is not.
    pub away: Option<Time>,
    /// What is amiss with it, and what will be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SliceView {
    /// Its number.
    pub id: SliceId,
    /// Its name.
    pub name: String,
    /// Whose.
    pub account: AccountId,
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
    pub slivers: Vec<SliverView>,
    /// Hosts whose ranks others have taken, the last ones.
    pub replaced: Vec<Replaced>,
}
