//! What the API says of storage: keepers, leases on their disks, what an account holds.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::fragment::StorageClass;
use crate::guid::Guid;
use crate::ids::{AccountId, HostId, LeaseId};
use crate::key::PublicKey;
use crate::price::StoragePrice;
use crate::storage::StorageState;
use crate::time::{Span, Time};
use crate::units::{Bytes, MicroCredits};

/// A host that keeps fragments of others, with all that decides how they are spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeeperView {
    /// Its key.
    pub host: HostId,
    /// The account that earns.
    pub owner: AccountId,
    /// The network that its address belongs to, if that is known: a /24 of IPv4 (`192.0.2.0/24`), a
    /// /48 of IPv6.
    pub block: Option<String>,
    /// Two letters, if it was told.
    pub country: Option<String>,
    /// Its operating system.
    pub os: String,
    /// The version of its agent.
    pub agent: String,
    /// How long it is expected to stay: as long as it has been there, from a day to three years.
    pub lifetime: Span,
    /// Part of the time at which it can be reached, in millionths: measured, from a half on.
    pub up_ppm: u32,
    /// What it offers to keep besides what is leased.
    pub free: Bytes,
    /// What a lease costs there.
    pub price: StoragePrice,
    /// Whether it is there.
    pub standing: Standing,
    /// Where it may be reached, best first, as it says itself. Connections prove its key.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<SocketAddr>,
    /// Its relay, for those who cannot reach it directly.
    pub relay: Option<String>,
}

/// Whether a keeper is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It was heard of lately.
    Here,
    /// It was not, for less than a day.
    Away,
    /// It was not heard of for a day or longer, or an audit failed: what it keeps should be made
    /// anew elsewhere.
    Missing,
    /// It will not come back: it was barred.
    Gone,
}

/// Keepers that one could lease of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeepersView {
    /// What a GiB costs a month at the hosts that do not ask for more.
    pub price: StoragePrice,
    /// All keepers that are known.
    pub known: u32,
    /// Those of them that are here; among very many, as far as a sample tells.
    pub here: u32,
    /// A sample by chance of those that are here, have the room, and cost no more than was said.
    pub hosts: Vec<KeeperView>,
}

/// A request for leases, each on another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StorageRequest {
    /// What for.
    #[serde(default)]
    pub class: StorageClass,
    /// How much on each host.
    pub bytes: Bytes,
    /// How many hosts the complex shall choose; 0 if `on` names them.
    #[serde(default)]
    pub hosts: u16,
    /// These hosts and no others.
    #[serde(default)]
    pub on: Vec<HostId>,
    /// Hosts that hold other fragments of the same objects: not these, and, as far as there are
    /// others, none of their owners and networks.
    #[serde(default)]
    pub beside: Vec<HostId>,
    /// Hosts that are not wanted.
    #[serde(default)]
    pub avoid: Vec<HostId>,
    /// Until when.
    pub until: Time,
    /// Who may write and remove under the leases.
    pub holder: PublicKey,
    /// The most for a GiB and month; the operator's price if not said.
    #[serde(default)]
    pub price_max: Option<StoragePrice>,
    /// The caller's idempotency key: the same request under the same key leases once.
    #[serde(default)]
    pub key: Option<String>,
}

/// A lease on a host's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StorageLeaseView {
    /// Its number.
    pub id: LeaseId,
    /// Who pays.
    pub account: AccountId,
    /// Who may write and remove under it.
    pub holder: PublicKey,
    /// What for.
    pub class: StorageClass,
    /// How much.
    pub bytes: Bytes,
    /// What a GiB of it costs a month.
    pub price: StoragePrice,
    /// Where it stands.
    pub state: StorageState,
    /// When it began.
    pub begun: Time,
    /// When it was granted or renewed last.
    pub issued: Time,
    /// Until when.
    pub until: Time,
    /// Set aside for what is to come.
    pub held: MicroCredits,
    /// Paid so far.
    pub charged: MicroCredits,
    /// The host.
    pub host: KeeperView,
    /// The grant to present to the host, signed by the complex: base64url without padding. Good for
    /// who has the holder's key alone.
    pub grant: Option<String>,
}

/// A page of leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StorageLeases {
    /// In the order of their numbers.
    pub leases: Vec<StorageLeaseView>,
    /// Whether there are more: ask for those after the last of these.
    pub more: bool,
}

/// How a lease is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LeaseChange {
    /// Which.
    pub lease: LeaseId,
    /// How much it shall be, if it shall be more or less.
    #[serde(default)]
    pub bytes: Option<Bytes>,
    /// Until when it shall last, if longer.
    #[serde(default)]
    pub until: Option<Time>,
}

/// A request to renew leases, or make them larger or smaller: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// What to change.
    pub changes: Vec<LeaseChange>,
    /// The most for a GiB and month; what it is now, or the operator's price, if not said.
    #[serde(default)]
    pub price_max: Option<StoragePrice>,
}

/// A request to give leases up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Which.
    pub leases: Vec<LeaseId>,
}

/// A request that the complex asks a host to prove that it has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProveRequest {
    /// Under which lease.
    pub lease: LeaseId,
    /// What: the name of a fragment.
    pub fragment: Guid,
    /// Its length in bytes.
    pub length: u32,
}

/// What an account holds of others' disks, and what that costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaView {
    /// Whose.
    pub account: AccountId,
    /// Leases that are open.
    pub leases: u32,
    /// The most that there may be.
    pub leases_max: u32,
    /// What they amount to.
    pub bytes: Bytes,
    /// The most that they may.
    pub bytes_max: Bytes,
    /// Hosts that they are on.
    pub hosts: u32,
    /// Of these, hosts that are not here.
    pub away: u32,
    /// The same by what it is for.
    pub classes: Vec<ClassQuota>,
    /// What all of it costs a month while all hosts are there.
    pub month: MicroCredits,
    /// Set aside until the leases end.
    pub held: MicroCredits,
    /// When the first of them ends.
    pub next_end: Option<Time>,
    /// What a GiB costs a month now.
    pub price: StoragePrice,
}

/// What an account holds of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClassQuota {
    /// Which.
    pub class: StorageClass,
    /// Leases.
    pub leases: u32,
    /// What they amount to.
    pub bytes: Bytes,
    /// What that costs a month.
    pub month: MicroCredits,
}
