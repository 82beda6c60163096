//! Fragments: what hosts keep. A fragment is named by the BLAKE3 hash of its bytes, and any 16 KiB
//! of it can be proved against that name.
//!
//! BLAKE3 is a tree of 1 KiB chunks already. A proof is a group of 16 of them with the hashes of
//! the siblings on the way to the root: 4 times 32 bytes for a fragment of 256 KiB. The verifier
//! needs the name and the length of the fragment, which stand in every manifest; no challenge is
//! prepared beforehand, no second holder is asked. (Storj asks all holders of a stripe for that.)
//!
//! Own code over `blake3::hazmat`, which has the two operations needed, rather than bao-tree: that
//! stores outboards and streams responses, and our fragments are hashed anew in 30 microseconds.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use isos_base::Guid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::Secret;

/// What one proof proves, less at the end of a fragment: 2^4 chunks of BLAKE3.
pub const GROUP_BYTES: usize = 16 << 10;

/// What an auditor asks of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Challenge {
    /// Which group of the fragment, from 0.
    pub group: u32,
    /// Comes back in the answer, so that it belongs to this challenge.
    pub nonce: [u8; 16],
}

/// What the holder answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The challenge's.
    pub nonce: [u8; 16],
    /// The group.
    pub bytes: Vec<u8>,
    /// Hashes of the siblings on the way from the root to the group.
    pub path: Vec<[u8; 32]>,
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// It belongs to another challenge.
    #[error("the answer belongs to another challenge")]
    Nonce,
    /// The fragment has no such group.
    #[error("group {group} of a fragment of {length} bytes does not exist")]
    Group {
        /// What was asked for.
        group: u32,
        /// The fragment's length.
        length: usize,
    },
    /// Not as many bytes or hashes as the fragment's length asks for.
    #[error("{bytes} bytes and {path} hashes, expected {bytes_wanted} and {path_wanted}")]
    Shape {
        /// Bytes in the answer.
        bytes: usize,
        /// Bytes of the group.
        bytes_wanted: usize,
        /// Hashes in the answer.
        path: usize,
        /// Hashes between root and group.
        path_wanted: usize,
    },
    /// The bytes are not those of the fragment.
    #[error("the bytes do not lead to the fragment's name")]
    Root,
}

/// Groups of a fragment with so many bytes; at least one.
#[must_use]
pub fn groups(length: usize) -> u32 {
    length.div_ceil(GROUP_BYTES).max(1) as u32
}

/// The challenge of a round: which one it is only the holder of the seed can tell beforehand.
#[must_use]
pub fn challenge(seed: &Secret, fragment: &Guid, round: u64, length: usize) -> Challenge {
    let mut input = [0; 40];
    input[..32].copy_from_slice(&fragment.0);
    input[32..].copy_from_slice(&round.to_le_bytes());
    let drawn = seed.keyed(&input);
    let (number, rest) = drawn.bytes().split_first_chunk::<8>().expect("it has 32 bytes");
    // Of 64 random bits modulo at most a few thousand: the bias cannot be seen.
    let group = u64::from_le_bytes(*number) % u64::from(groups(length));
    let nonce = rest.first_chunk().expect("24 bytes are left");
    Challenge { group: group as u32, nonce: *nonce }
}

/// The holder's answer, made of the whole fragment.
///
/// # Errors
/// [`ProofError::Group`] when the fragment is shorter than the challenge thinks.
pub fn answer(fragment: &[u8], challenge: &Challenge) -> Result<Answer, ProofError> {
    let turns = way(fragment.len(), challenge.group)?;
    let mut path = Vec::with_capacity(turns.len());
    for turn in &turns {
        let sibling = &fragment[turn.sibling.0..turn.sibling.1];
        path.push(subtree(sibling, turn.sibling.0));
    }
    let start = challenge.group as usize * GROUP_BYTES;
    let end = (start + GROUP_BYTES).min(fragment.len());
    Ok(Answer { nonce: challenge.nonce, bytes: fragment[start..end].to_vec(), path })
}

/// Checks an answer for the fragment of this name and length.
///
/// # Errors
/// [`ProofError`]: the holder has not shown that it has the bytes.
pub fn check(
    name: &Guid,
    length: usize,
    challenge: &Challenge,
    answer: &Answer,
) -> Result<(), ProofError> {
    if answer.nonce != challenge.nonce {
        return Err(ProofError::Nonce);
    }
    let turns = way(length, challenge.group)?;
    let start = challenge.group as usize * GROUP_BYTES;
    let bytes_wanted = GROUP_BYTES.min(length - start);
    if answer.bytes.len() != bytes_wanted || answer.path.len() != turns.len() {
        return Err(ProofError::Shape {
            bytes: answer.bytes.len(),
            bytes_wanted,
            path: answer.path.len(),
            path_wanted: turns.len(),
        });
    }
    let mut hash = if turns.is_empty() {
        *blake3::hash(&answer.bytes).as_bytes()
    } else {
        subtree(&answer.bytes, start)
    };
    for (depth, (turn, sibling)) in turns.iter().zip(&answer.path).enumerate().rev() {
        let (left, right) = if turn.goes_left { (&hash, sibling) } else { (sibling, &hash) };
        hash = if depth == 0 {
            *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
        } else {
            merge_subtrees_non_root(left, right, Mode::Hash)
        };
    }
    if hash == name.0 { Ok(()) } else { Err(ProofError::Root) }
}

/// One step from the root towards a group.
struct Turn {
    goes_left: bool,
    /// Where the bytes of the other side are.
    sibling: (usize, usize),
}

/// The way from the root to a group.
fn way(length: usize, group: u32) -> Result<Vec<Turn>, ProofError> {
    if group >= groups(length) {
        return Err(ProofError::Group { group, length });
    }
    let target = group as usize * GROUP_BYTES;
    let (mut start, mut end) = (0, length);
    let mut turns = Vec::new();
    while end - start > GROUP_BYTES {
        let middle = start + left_subtree_len((end - start) as u64) as usize;
        let goes_left = target < middle;
        turns.push(Turn {
            goes_left,
            sibling: if goes_left { (middle, end) } else { (start, middle) },
        });
        (start, end) = if goes_left { (start, middle) } else { (middle, end) };
    }
    Ok(turns)
}

/// The hash of a part of the tree that is not all of it.
fn subtree(bytes: &[u8], start: usize) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(start as u64);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn asked(group: u32) -> Challenge {
        Challenge { group, nonce: [group as u8; 16] }
    }

    #[test]
    fn each_group_of_fragments_of_odd_lengths_is_proved() {
        let odd = [1, 1_023, 1_024, 16_384, 16_385, 17_409, 49_152, 65_536, 100_001, 262_144];
        for length in odd {
            let fragment = noise(length);
            let name = Guid::of(&fragment);
            for group in 0..groups(length) {
                let answer = answer(&fragment, &asked(group)).unwrap();
                assert_eq!(
                    check(&name, length, &asked(group), &answer),
                    Ok(()),
                    "{length} {group}"
                );
            }
        }
    }

    #[test]
    fn a_proof_of_256_kib_has_four_hashes() {
        let fragment = noise(256 << 10);
        let answer = answer(&fragment, &asked(9)).unwrap();
        assert_eq!((answer.bytes.len(), answer.path.len()), (GROUP_BYTES, 4));
    }

    #[test]
    fn another_group_challenge_or_length_proves_nothing() {
        let fragment = noise(100_000);
        let name = Guid::of(&fragment);
        let good = answer(&fragment, &asked(2)).unwrap();
        let of_three = answer(&fragment, &asked(3)).unwrap();
        let passed_off = Answer { nonce: asked(2).nonce, ..of_three };
        assert_eq!(check(&name, 100_000, &asked(2), &passed_off), Err(ProofError::Root));
        assert_eq!(check(&name, 100_000, &asked(3), &good), Err(ProofError::Nonce));
        assert!(check(&name, 40_000, &asked(2), &good).is_err());
        assert_eq!(
            answer(&fragment, &asked(7)),
            Err(ProofError::Group { group: 7, length: 100_000 })
        );
        let mut long = good;
        long.path.push([0; 32]);
        assert!(matches!(
            check(&name, 100_000, &asked(2), &long),
            Err(ProofError::Shape { path: 4, path_wanted: 3, .. })
        ));
    }

    #[test]
    fn challenges_reach_every_group_and_follow_from_the_seed() {
        let (seed, name) = (Secret::new([3; 32]), Guid::of(b"x"));
        let all: std::collections::BTreeSet<u32> =
            (0..200).map(|round| challenge(&seed, &name, round, 256 << 10).group).collect();
        assert_eq!(all.len(), 16);
        assert_eq!(challenge(&seed, &name, 5, 1), challenge(&seed, &name, 5, 1));
        assert_ne!(challenge(&seed, &name, 5, 1).nonce, challenge(&seed, &name, 6, 1).nonce);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_anywhere_in_an_answer_is_found(
            length in 1_usize..150_000,
            group: proptest::sample::Index,
            at: proptest::sample::Index,
            bit in 0_u8..8,
        ) {
            let fragment = noise(length);
            let challenge = asked(group.index(groups(length) as usize) as u32);
            let mut answer = answer(&fragment, &challenge).unwrap();
            let at = at.index(answer.bytes.len() + 32 * answer.path.len());
            match at.checked_sub(answer.bytes.len()) {
                None => answer.bytes[at] ^= 1_u8 << bit,
                Some(at) => answer.path[at / 32][at % 32] ^= 1_u8 << bit,
            }
            let said = check(&Guid::of(&fragment), length, &challenge, &answer);
            prop_assert_eq!(said, Err(ProofError::Root));
        }
    }
}
