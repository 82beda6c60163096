//! Fragments: pieces of coded, sealed objects on other people's disks, and the words about them.
//!
//! A complex gives a host's disk away by a [`StorageGrant`] that it signs: so many bytes, until
//! then, to whoever has this key. The host checks it alone, keeps fragments for it, and gives a
//! [`Receipt`] for each, which anybody can check. What fragments hold is no business of those who
//! keep them. (Storj's order limits are the nearest relative.) Beside fragments, which never
//! change, it keeps [`Head`]s: which version of something is the newest.
//!
//! Not here: how objects become fragments, and where a host keeps them.

mod groups;
mod head;
mod proof;
pub mod wire;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use groups::{GROUP_BYTES, Groups, Piece, PieceError, groups_of};
pub use head::{
    HEAD_BODY_BYTES_MAX, HEADS_OF_LEASE_MAX, Head, HeadError, HeadSet, SIGNED_HEAD_BYTES_MAX,
    SignedHead,
};
pub use proof::{Proof, ProofAsked, Unproven};

use crate::codec::{self, DecodeError};
use crate::guid::Guid;
use crate::ids::{AccountId, HostId, LeaseId};
use crate::key::{PublicKey, SecretKey, Signature};
use crate::time::{Span, Time};
use crate::units::Bytes;

/// In front of what a complex signs when it gives storage away.
const GRANT_TAG: &[u8] = b"isos storage grant 1\0";
/// In front of what a host signs when it has kept a fragment.
const RECEIPT_TAG: &[u8] = b"isos fragment receipt 1\0";
/// The first byte of a grant, a receipt or a head that stands by itself.
const VERSION: u8 = 1;

/// A fragment: a quarter of the largest segment, so that a handful of them fits any memory.
pub const FRAGMENT_BYTES_MAX: u32 = 4 << 20;
/// A grant or a receipt by itself: three keys, a signature and some numbers.
pub const SIGNED_BYTES_MAX: usize = 512;
/// A storage lease is granted for this long at the most and then renewed: hosts that are forgotten
/// have their disk back.
pub const STORAGE_LEASE_MAX: Span = Span::secs(400 * 86_400);
/// What a host keeps after a lease has ended, unless it needs the room: whoever forgot to renew
/// finds it still there.
pub const GRACE: Span = Span::secs(7 * 86_400);

/// What an object is kept for, which decides how it is spread; a host only knows that it gives up
/// [`StorageClass::Cache`] before the others.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StorageClass {
    /// Kept for years, seldom read.
    Archive,
    /// What people put by default.
    #[default]
    Standard,
    /// Much, cheaply: backups.
    Bulk,
    /// Read often, on fast and steady hosts.
    Hot,
    /// A copy of what is kept elsewhere: may go at any time.
    Cache,
}

impl StorageClass {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Archive, Self::Standard, Self::Bulk, Self::Hot, Self::Cache];

    /// The word for it in the API and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Standard => "standard",
            Self::Bulk => "bulk",
            Self::Hot => "hot",
            Self::Cache => "cache",
        }
    }
}

/// A right to a part of one host's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageGrant {
    /// The complex that grants it; lease numbers are its own.
    pub complex: PublicKey,
    /// Its number. A renewed lease has the same.
    pub lease: LeaseId,
    /// Whose disk.
    pub host: HostId,
    /// Who pays.
    pub account: AccountId,
    /// Who may write and remove under it.
    pub holder: PublicKey,
    /// How much.
    pub bytes: Bytes,
    /// When it was granted: of two with one number, the later one counts.
    pub issued: Time,
    /// Until when.
    pub until: Time,
    /// What for.
    pub class: StorageClass,
}

/// A grant with the word of the complex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGrant {
    /// What is granted.
    pub grant: StorageGrant,
    /// The complex's signature.
    pub signature: Signature,
}

/// A host has a fragment, on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The complex whose lease it is.
    pub complex: PublicKey,
    /// Under which lease.
    pub lease: LeaseId,
    /// The host.
    pub host: HostId,
    /// Which fragment.
    pub fragment: Guid,
    /// Its length in bytes.
    pub length: u32,
    /// When it was kept.
    pub at: Time,
    /// The end of the lease then.
    pub until: Time,
}

/// A receipt with the word of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What is said.
    pub receipt: Receipt,
    /// The host's signature.
    pub signature: Signature,
}

/// Why a grant or a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GrantError {
    /// Of another complex.
    #[error("it is of the complex {found}, this host belongs to {expected}")]
    OtherComplex {
        /// This one.
        expected: PublicKey,
        /// The one in it.
        found: PublicKey,
    },
    /// For another host.
    #[error("it is for the host {0}, not for this one: write there")]
    OtherHost(HostId),
    /// The signature does not fit.
    #[error("its signature is not that key's, or not of these words")]
    Signature,
    /// Its time is over.
    #[error("it ended at {until}, it is {now}: ask the complex to renew it")]
    Ended {
        /// When it ended.
        until: Time,
        /// The time here.
        now: Time,
    },
    /// It lasts longer than any lease may.
    #[error("it lasts until {until}, longer than {STORAGE_LEASE_MAX}")]
    TooLong {
        /// When it would end.
        until: Time,
    },
}

/// Why bytes are no grant, receipt or head.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignedError {
    /// Longer than any.
    #[error("{length} bytes, at most {max}")]
    TooLong {
        /// How many there are.
        length: usize,
        /// How many there may be.
        max: usize,
    },
    /// Of another version of isos.
    #[error("version {0} is not known: a newer isos has written it")]
    Version(u8),
    /// Something else.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Nothing.
    #[error("it is empty")]
    Empty,
}

fn to_bytes<T: Serialize>(what: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(codec::encode(what));
    bytes
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, SignedError> {
    if bytes.len() > max {
        return Err(SignedError::TooLong { length: bytes.len(), max });
    }
    match bytes.split_first() {
        None => Err(SignedError::Empty),
        Some((&VERSION, rest)) => Ok(codec::decode(rest)?),
        Some((&version, _)) => Err(SignedError::Version(version)),
    }
}

impl StorageGrant {
    /// The grant with the word of the complex, whose key this is.
    #[must_use]
    pub fn sign(mut self, complex: &SecretKey) -> SignedGrant {
        self.complex = complex.public();
        let signature = complex.sign_as(GRANT_TAG, &self);
        SignedGrant { grant: self, signature }
    }
}

impl SignedGrant {
    /// Checks, without asking anybody, that this complex has granted this to this host, for now.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn check(
        &self,
        complex: &PublicKey,
        host: &HostId,
        now: Time,
    ) -> Result<&StorageGrant, GrantError> {
        let grant = &self.grant;
        if grant.complex != *complex {
            return Err(GrantError::OtherComplex { expected: *complex, found: grant.complex });
        }
        if grant.host != *host {
            return Err(GrantError::OtherHost(grant.host));
        }
        if grant.until <= now {
            return Err(GrantError::Ended { until: grant.until, now });
        }
        if grant.until.since(now) > STORAGE_LEASE_MAX {
            return Err(GrantError::TooLong { until: grant.until });
        }
        let fits = complex.verify_as(GRANT_TAG, grant, &self.signature);
        fits.map(|()| grant).map_err(|_| GrantError::Signature)
    }

    /// The grant by itself, as it is kept in files.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The inverse of [`Self::to_bytes`]; nothing is checked yet.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        from_bytes(bytes, SIGNED_BYTES_MAX)
    }
}

impl Receipt {
    /// The receipt with the word of the host, whose key this is.
    #[must_use]
    pub fn sign(mut self, host: &SecretKey) -> SignedReceipt {
        self.host = HostId(host.public());
        let signature = host.sign_as(RECEIPT_TAG, &self);
        SignedReceipt { receipt: self, signature }
    }
}

impl SignedReceipt {
    /// Checks that the host in it has said this.
    ///
    /// # Errors
    /// [`GrantError::Signature`].
    pub fn check(&self) -> Result<&Receipt, GrantError> {
        let Self { receipt, signature } = self;
        let fits = receipt.host.0.verify_as(RECEIPT_TAG, receipt, signature);
        fits.map(|()| receipt).map_err(|_| GrantError::Signature)
    }

    /// The receipt by itself, as it is kept in files.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The inverse of [`Self::to_bytes`]; nothing is checked yet.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        from_bytes(bytes, SIGNED_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests;
