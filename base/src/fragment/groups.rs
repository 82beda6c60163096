//! Groups of 16 KiB: the leaves of a fragment's hash tree, by which any part of it proves itself.
//!
//! The GUID of a fragment is its plain BLAKE3 hash, which is the root of a tree over 1 KiB chunks.
//! A group is a subtree of 16 of them. Who has the hashes of all groups (32 bytes for 16 KiB, so
//! 512 for the usual fragment) can check one group without the others, and the hashes against the
//! GUID. (The idea is bao's; the hashes of one level are sent whole, since a path is hardly
//! shorter for so few.)

use std::fmt;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::FRAGMENT_BYTES_MAX;
use crate::guid::Guid;

/// Bytes of a group; the last one of a fragment may have fewer.
pub const GROUP_BYTES: u32 = 16 << 10;

/// How many groups a fragment of this length has.
#[must_use]
pub const fn groups_of(length: u32) -> u32 {
    length.div_ceil(GROUP_BYTES)
}

/// The hashes of a fragment's groups; none for a fragment of one group, whose GUID is its hash.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Groups(pub(super) Vec<[u8; 32]>);

/// Some whole groups of a fragment, with what proves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Length of the whole fragment in bytes.
    pub length: u32,
    /// The hashes of all its groups.
    pub groups: Groups,
    /// The number of the first group that is here, from 0.
    pub first: u32,
    /// Whole groups; the last one of the fragment may be shorter.
    pub bytes: Vec<u8>,
}

/// Why a piece is not one of the fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PieceError {
    /// A length, a number of groups or of bytes that no fragment has.
    #[error("the piece has not the shape of one: its numbers do not fit together")]
    Shape,
    /// The hashes are not those of the fragment.
    #[error("the hashes are not those of the fragment")]
    Hashes,
    /// A group is not the one that its hash says.
    #[error("group {0} is not the fragment's")]
    Group(u32),
}

/// The hash of one group, as it stands in the tree of a fragment of several.
fn group_hash(group: u32, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(u64::from(group) * u64::from(GROUP_BYTES));
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// The hash over two or more neighbours below the root; one stands for itself.
fn subtree(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [one] => *one,
        _ => {
            let (left, right) = split(hashes);
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// BLAKE3's trees are full on the left: the largest power of two that leaves something.
fn split(hashes: &[[u8; 32]]) -> (&[[u8; 32]], &[[u8; 32]]) {
    hashes.split_at(hashes.len().next_power_of_two() / 2)
}

impl Groups {
    /// The GUID of a fragment and the hashes of its groups, in one pass.
    #[must_use]
    pub fn of(fragment: &[u8]) -> (Guid, Self) {
        if fragment.len() <= GROUP_BYTES as usize {
            return (Guid::of(fragment), Self::default());
        }
        let groups = fragment.chunks(GROUP_BYTES as usize).enumerate();
        let hashes: Vec<_> = groups.map(|(at, bytes)| group_hash(at as u32, bytes)).collect();
        (merged(&hashes), Self(hashes))
    }

    /// The GUID of the fragment of this length that has these hashes; nothing when their number is
    /// wrong, or the fragment has one group only and is its own proof.
    #[must_use]
    pub fn root(&self, length: u32) -> Option<Guid> {
        let fits = self.0.len() > 1 && self.0.len() == groups_of(length) as usize;
        fits.then(|| merged(&self.0))
    }

    /// The hashes, one after the other.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_flattened()
    }

    /// The hashes that stand in these bytes, of which there must be 32 for each.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        rest.is_empty().then(|| Self(hashes.to_vec()))
    }

    /// How many hashes the fragments of this length have.
    #[must_use]
    pub const fn count(length: u32) -> u32 {
        if length <= GROUP_BYTES { 0 } else { groups_of(length) }
    }
}

/// The root over two or more hashes.
fn merged(hashes: &[[u8; 32]]) -> Guid {
    let (left, right) = split(hashes);
    Guid(*merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes())
}

impl Piece {
    /// Checks that this is a part of the fragment, by nothing but its GUID. How long the fragment
    /// is beyond the group where it ends is proven only by a piece with that group.
    ///
    /// # Errors
    /// [`PieceError`].
    pub fn check(&self, fragment: &Guid) -> Result<(), PieceError> {
        let Self { length, groups, first, bytes } = self;
        let all = groups_of(*length);
        let count = groups_of(u32::try_from(bytes.len()).map_err(|_| PieceError::Shape)?);
        let end = first.checked_add(count).ok_or(PieceError::Shape)?;
        if *length > FRAGMENT_BYTES_MAX || end > all || bytes.len() != span(*length, *first, count)
        {
            return Err(PieceError::Shape);
        }
        if Groups::count(*length) == 0 {
            // One group or nothing at all: there are no hashes, and it must be here to be checked.
            let fits = groups.0.is_empty() && count == all;
            return match fits {
                false => Err(PieceError::Shape),
                true if Guid::of(bytes) == *fragment => Ok(()),
                true => Err(PieceError::Group(0)),
            };
        }
        if groups.root(*length).ok_or(PieceError::Shape)? != *fragment {
            return Err(PieceError::Hashes);
        }
        let parts = bytes.chunks(GROUP_BYTES as usize);
        for (group, part) in (*first..end).zip(parts) {
            if group_hash(group, part) != groups.0[group as usize] {
                return Err(PieceError::Group(group));
            }
        }
        Ok(())
    }

    /// Whether this is the whole fragment.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.length as usize
    }
}

/// Bytes of `count` groups from `first` on, in a fragment that has them.
fn span(length: u32, first: u32, count: u32) -> usize {
    let place = |group: u32| length.min(group.saturating_mul(GROUP_BYTES));
    (place(first.saturating_add(count)) - place(first)) as usize
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Groups({})", self.0.len())
    }
}
