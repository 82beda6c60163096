//! Proofs for the complex: a host shows it a part of a fragment that it is paid for.
//!
//! Which part, chance decides, and only when it is asked for. The fragment's length comes with the
//! question, not with the answer: a host that has a half of it could else call another length its
//! own, in whose tree that half is more.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::groups::{Piece, PieceError, groups_of};
use crate::guid::Guid;
use crate::ids::LeaseId;

/// What the complex asks of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofAsked {
    /// For which lease.
    pub lease: LeaseId,
    /// The fragment's name.
    pub fragment: Guid,
    /// Its length in bytes.
    pub length: u32,
    /// A random number: see [`Self::group`].
    pub drawn: u32,
}

/// What the host answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// For which lease it was asked.
    pub lease: LeaseId,
    /// About which fragment.
    pub fragment: Guid,
    /// The group that was drawn; nothing if the fragment is not there.
    pub piece: Option<Piece>,
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unproven {
    /// The host says so.
    #[error("the host does not have it")]
    Missing,
    /// It said nothing in time.
    #[error("the host did not answer")]
    Silent,
    /// It is a part of the fragment, but not the one that was asked for.
    #[error("the host showed another part, or one of another length")]
    Other,
    /// It is no part of the fragment: no honest host sends that, since it can check it as well.
    #[error("the host showed something else: {0}")]
    Wrong(PieceError),
}

impl ProofAsked {
    /// Which group is to be shown.
    #[must_use]
    pub const fn group(&self) -> u32 {
        let all = groups_of(self.length);
        if all == 0 { 0 } else { self.drawn % all }
    }

    /// Whether this is what was asked for.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn check(&self, proof: &Proof) -> Result<(), Unproven> {
        let piece = proof.piece.as_ref().ok_or(Unproven::Missing)?;
        piece.check(&self.fragment).map_err(Unproven::Wrong)?;
        let one = groups_of(u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX)) == 1;
        let fits = piece.length == self.length && piece.first == self.group() && one;
        if fits { Ok(()) } else { Err(Unproven::Other) }
    }
}
