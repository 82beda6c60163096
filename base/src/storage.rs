//! Storage leases as the complex keeps them, and what it and a keeper tell each other about them.
//!
//! A *keeper* is a host that keeps fragments of others. A lease is so many bytes of its disk, for
//! whoever has a key, until a time; its number is that of the grant by which the host believes it
//! ([`StorageGrant`]). What a lease costs from now to its end is a function of its record: the
//! money is set aside for it, and paid for the time in which the host has shown that it is there.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::fragment::{STORAGE_LEASE_MAX, SignedGrant, StorageClass, StorageGrant};
use crate::ids::{AccountId, HostId, LeaseId};
use crate::key::PublicKey;
use crate::price::StoragePrice;
use crate::time::{Span, Time};
use crate::units::{Bytes, MicroCredits};

/// A lease ends at most so long after it was granted or renewed: the clocks of hosts, which check
/// against [`STORAGE_LEASE_MAX`], need not be right to the day.
pub const STORAGE_TERM_MAX: Span = Span(STORAGE_LEASE_MAX.0 - 30 * 86_400 * 1_000_000);
/// And at least so long: shorter ones are not worth the rows.
pub const STORAGE_TERM_MIN: Span = Span::secs(3_600);
/// Bytes of one lease: a disk has no more.
pub const STORAGE_BYTES_MAX: Bytes = Bytes::gib(16 << 10);
/// And at least: hosts keep fragments of up to 4 MiB.
pub const STORAGE_BYTES_MIN: Bytes = Bytes::mib(1);
/// Hosts on which one request leases, and hosts that it names.
pub const STORAGE_HOSTS_MAX: usize = 256;
/// Leases that one request changes or releases.
pub const STORAGE_CHANGES_MAX: usize = 1_024;
/// Places of one order to mend.
pub const MEND_PLACES_MAX: usize = 64;
/// Leases in one frame to a keeper.
pub const STORAGE_NEWS_MAX: usize = 4_096;
/// Addresses that a keeper tells.
pub const KEEPER_ADDRESSES_MAX: usize = 8;
/// Characters of the relay that it tells.
pub const KEEPER_RELAY_CHARS_MAX: usize = 256;

/// What a keeper offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShelfOffer {
    /// Room for all leases together, those that there are included. Never more than the owner's
    /// policy lets us use of the disk.
    pub bytes: Bytes,
    /// The least price.
    pub price_min: StoragePrice,
    /// Where its QUIC socket may be reached, best first; at most [`KEEPER_ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// Its relay, for those who cannot reach it directly.
    pub relay: Option<String>,
}

/// What a keeper tells: in each session once, and again when something changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShelfReport {
    /// What it offers now.
    pub offer: ShelfOffer,
    /// The last word about its leases that it has taken in: [`LeaseNews::issued`] of the last of
    /// them; 0 if it has none. It is told what came later.
    pub heard: Time,
}

/// A word about a lease, for the host whose disk it is. In the order in which they were issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseNews {
    /// Which.
    pub lease: LeaseId,
    /// Who pays.
    pub account: AccountId,
    /// What for.
    pub class: StorageClass,
    /// How much.
    pub bytes: Bytes,
    /// When this was said: of two words about one lease, the later one counts.
    pub issued: Time,
    /// Until when; not after `issued` if the lease was given up.
    pub until: Time,
}

/// Where a keeper can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperAddress {
    /// Its key.
    pub host: HostId,
    /// As it says itself, best first.
    pub addresses: Vec<SocketAddr>,
    /// Its relay.
    pub relay: Option<String>,
}

/// A new place for what lay on a host that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendPlace {
    /// Where.
    pub keeper: KeeperAddress,
    /// The right to write there: that of the lease's holder, made out to whoever mends.
    pub grant: SignedGrant,
}

/// A host that keeps a part of what somebody stores is to make anew what others have lost of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendOrder {
    /// Its number, for the report.
    pub number: u64,
    /// The lease on this host under which manifests tell what there is to mend.
    pub lease: LeaseId,
    /// Where new fragments go, at most one of a segment each; at most [`MEND_PLACES_MAX`].
    pub places: Vec<MendPlace>,
    /// Who may have others; at most [`STORAGE_HOSTS_MAX`].
    pub hosts: Vec<KeeperAddress>,
    /// The first so many of `hosts` have mended all objects of which they have something; what two
    /// of them have seen to need not be done again.
    pub mended: u16,
}

/// What came of a [`MendOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MendReport {
    /// That of the order.
    pub number: u64,
    /// Manifests that were found and followed.
    pub objects: u32,
    /// Fragments that were made anew, copies of manifests among them.
    pub fragments: u64,
    /// Bytes that came and went for it.
    pub moved: Bytes,
    /// Segments of which too little was found.
    pub lost: u32,
    /// Fragments for which no place took them.
    pub missing: u64,
    /// Whether all objects of the lease were looked at.
    pub is_whole: bool,
}

/// Where a storage lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StorageState {
    /// It is good.
    Open,
    /// It was given up before its end.
    Released,
    /// Its time is over.
    Ended,
}

/// A lease of a part of a host's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageRecord {
    /// Its number.
    pub id: LeaseId,
    /// The first of those that were made by the same request.
    pub first: LeaseId,
    /// Who pays.
    pub account: AccountId,
    /// Whose disk.
    pub host: HostId,
    /// Who may write and remove under it.
    pub holder: PublicKey,
    /// What for.
    pub class: StorageClass,
    /// How much.
    pub bytes: Bytes,
    /// What it costs.
    pub price: StoragePrice,
    /// Where it stands.
    pub state: StorageState,
    /// When it began.
    pub begun: Time,
    /// When its grant was made, or it was given up: no two words about leases have the same time.
    pub issued: Time,
    /// Until when it was granted.
    pub until: Time,
    /// Up to when it is paid for, or was found not to be owed.
    pub settled: Time,
    /// For how long its host had shown that it is there when that was reckoned: see
    /// [`KeeperRecord::present`].
    pub shown: Span,
    /// How often it was settled: numbers the transfers.
    pub settlements: u32,
    /// Taken from the buyer so far.
    pub charged: MicroCredits,
    /// Given to the host's account so far.
    pub paid: MicroCredits,
    /// Whether its host has heard that it was given up, or need not.
    pub told: bool,
}

impl StorageRecord {
    /// What must be set aside for it: what it costs from where it is settled to its end.
    #[must_use]
    pub fn reserved(&self) -> MicroCredits {
        match self.state {
            StorageState::Open => self.price.charge(self.bytes, self.until.since(self.settled)),
            StorageState::Released | StorageState::Ended => MicroCredits::ZERO,
        }
    }

    /// Whether it is good.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == StorageState::Open
    }

    /// Whether it is open, or its host has still to hear that it is not.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        self.is_open() || !self.told
    }

    /// Its grant, for the complex to sign.
    #[must_use]
    pub fn grant(&self, complex: PublicKey) -> StorageGrant {
        let Self { id: lease, account, host, holder, bytes, issued, until, class, .. } = *self;
        StorageGrant { complex, lease, host, account, holder, bytes, issued, until, class }
    }

    /// What its host is told.
    #[must_use]
    pub fn news(&self) -> LeaseNews {
        let Self { id: lease, account, class, bytes, issued, until, .. } = *self;
        let until = if self.state == StorageState::Open { until } else { issued.min(until) };
        LeaseNews { lease, account, class, bytes, issued, until }
    }
}

/// What is known of a keeper besides what is known of it as a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperRecord {
    /// Its key.
    pub host: HostId,
    /// What it offered last.
    pub offer: ShelfOffer,
    /// Since when it is a keeper.
    pub since: Time,
    /// For how long, of the time since then, it has shown that it is there.
    pub present: Span,
    /// Up to when that was counted.
    pub counted: Time,
    /// The last sign of it.
    pub heard: Time,
    /// Since when an audit has found that it does not have what it should: it is paid nothing until
    /// another finds that it does.
    pub failed: Option<Time>,
}
