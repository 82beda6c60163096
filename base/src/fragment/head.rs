//! Heads: the newest version of something with a name, as far as a host knows.
//!
//! Objects never change, so something that does is a key whose owner signs versions. Hosts that
//! keep fragments keep the newest head that they were shown of a key. They can hold one back or
//! give an old one, but not make one; who asks more than half of those that were told hears the
//! newest (`isos_store::head`). No host knows what is in a body: it is sealed.
//!
//! (Self-verifying data in a register of one writer, as in Malkhi and Reiter, "Byzantine quorum
//! systems", 1998; Tahoe-LAFS has mutable files of this kind.)

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{SignedError, from_bytes, to_bytes};
use crate::key::{PublicKey, SecretKey, Signature};
use crate::time::Time;

/// In front of what the owner of a name signs.
const HEAD_TAG: &[u8] = b"isos storage head 1\0";

/// A body: two capabilities and some room. What is larger is an object.
pub const HEAD_BODY_BYTES_MAX: usize = 512;
/// A head by itself: a body, a key, a signature and two numbers.
pub const SIGNED_HEAD_BYTES_MAX: usize = 640;
/// Heads under one storage lease: with their records, less room than two fragments.
pub const HEADS_OF_LEASE_MAX: usize = 64;

/// A version of something, in its owner's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Who signs: the public half of a write capability.
    pub key: PublicKey,
    /// Its number. Of two, the higher one counts.
    pub version: u64,
    /// When it was written, by the writer's clock. Nothing depends on it.
    pub written: Time,
    /// What only those can read who may; at most [`HEAD_BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// A head with the word of its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// What is said.
    pub head: Head,
    /// The signature of its key.
    pub signature: Signature,
}

/// Why a head is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadError {
    /// More bytes than a head carries.
    #[error("a body of {0} bytes, at most {HEAD_BODY_BYTES_MAX}: put it into an object")]
    TooLong(usize),
    /// The signature does not fit.
    #[error("its signature is not that of its key, or not of these words")]
    Signature,
}

/// What became of a head that a host was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadSet {
    /// This version is on its disk.
    Kept(u64),
    /// It has this one, which is newer, or of the same version and was there first.
    Newer(Box<SignedHead>),
}

impl Head {
    /// The head with the word of its owner, whose key this is.
    #[must_use]
    pub fn sign(mut self, owner: &SecretKey) -> SignedHead {
        self.key = owner.public();
        let signature = owner.sign_as(HEAD_TAG, &self);
        SignedHead { head: self, signature }
    }
}

impl SignedHead {
    /// Checks that the key in it has signed this. Whether it is the key that was asked for, and
    /// whether there is a newer version, is for the caller to see.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn check(&self) -> Result<&Head, HeadError> {
        let Self { head, signature } = self;
        if head.body.len() > HEAD_BODY_BYTES_MAX {
            return Err(HeadError::TooLong(head.body.len()));
        }
        let fits = head.key.verify_as(HEAD_TAG, head, signature);
        fits.map(|()| head).map_err(|_| HeadError::Signature)
    }

    /// The head by itself, as it is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// The inverse of [`Self::to_bytes`]; nothing is checked yet.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedError> {
        from_bytes(bytes, SIGNED_HEAD_BYTES_MAX)
    }
}
