//! Places in the keyspace, and the XOR metric between them.
//!
//! Kept as four words, because comparing distances is what a router does most.

use std::fmt;
use std::ops::RangeInclusive;

use isos_base::Guid;
use isos_base::random::Random;
use serde::{Deserialize, Serialize};

/// Bits of a position.
pub const BITS: usize = 256;

/// A place in the keyspace: of a host, by its certificate, or of a GUID, which is its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "[u8; 32]", into = "[u8; 32]")]
pub struct Position([u64; 4]);

/// How far two places are apart: their XOR, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u64; 4]);

impl Position {
    /// The XOR of both.
    #[must_use]
    pub fn distance(self, other: Self) -> Distance {
        let [a, b, c, d] = self.0;
        let [e, f, g, h] = other.0;
        Distance([a ^ e, b ^ f, c ^ g, d ^ h])
    }

    /// Bits that both begin with; [`BITS`] for one and the same.
    #[must_use]
    pub fn shared_prefix(self, other: Self) -> usize {
        self.distance(other).zeros()
    }

    /// The first 64 bits.
    #[must_use]
    pub fn top(self) -> u64 {
        self.0[0]
    }

    /// 32 bits that tell hosts near one place apart, where all first bits are the same.
    #[must_use]
    pub fn mark(self) -> u32 {
        self.0[3] as u32
    }

    /// All places that share so many bits with this one, from the first to the last.
    #[must_use]
    pub fn cell(self, shared: usize) -> RangeInclusive<Self> {
        let (mut first, mut last) = (self.0, self.0);
        for (at, (low, high)) in first.iter_mut().zip(&mut last).enumerate() {
            let kept = shared.saturating_sub(at * 64).min(64);
            let free = u64::MAX.checked_shr(kept as u32).unwrap_or(0);
            *low &= !free;
            *high |= free;
        }
        Self(first)..=Self(last)
    }

    /// Some place that shares exactly so many bits with this one; of [`BITS`] or more there is
    /// only this one.
    #[must_use]
    pub fn somewhere_at(self, shared: usize, random: &mut Random) -> Self {
        let mut words = self.0;
        for (at, word) in words.iter_mut().enumerate() {
            let first = at * 64;
            if shared >= first + 64 {
                continue;
            }
            let drawn = random.next_u64();
            if shared < first {
                *word = drawn;
                continue;
            }
            let flip = 1_u64 << (63 - (shared - first));
            let below = flip - 1;
            *word = ((*word ^ flip) & !below) | (drawn & below);
        }
        Self(words)
    }

    /// Anywhere.
    #[must_use]
    pub fn anywhere(random: &mut Random) -> Self {
        Self(std::array::from_fn(|_| random.next_u64()))
    }
}

impl Distance {
    /// Leading zero bits.
    #[must_use]
    pub fn zeros(self) -> usize {
        let words = self.0.iter().enumerate();
        let mut set = words.filter(|(_, word)| **word != 0);
        set.next().map_or(BITS, |(at, word)| at * 64 + word.leading_zeros() as usize)
    }

    /// The first 64 bits: all that matters among fewer than a billion hosts.
    #[must_use]
    pub fn top(self) -> u64 {
        self.0[0]
    }
}

impl From<[u8; 32]> for Position {
    fn from(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Self(words)
    }
}

impl From<Position> for [u8; 32] {
    fn from(position: Position) -> Self {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(position.0) {
            *bytes = word.to_be_bytes();
        }
        bytes
    }
}

impl From<Guid> for Position {
    fn from(guid: Guid) -> Self {
        guid.0.into()
    }
}

impl From<Position> for Guid {
    fn from(position: Position) -> Self {
        Self(position.into())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({:016x})", self.0[0])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_of_distances_is_that_of_their_bytes(a: [u8; 32], b: [u8; 32], to: [u8; 32]) {
            let xor = |x: [u8; 32]| -> [u8; 32] { std::array::from_fn(|at| x[at] ^ to[at]) };
            let (near, far) = (Position::from(a), Position::from(b));
            let to = Position::from(to);
            prop_assert_eq!(near.distance(to).cmp(&far.distance(to)), xor(a).cmp(&xor(b)));
            prop_assert_eq!(<[u8; 32]>::from(near), a);
        }

        #[test]
        fn somewhere_at_shares_so_many_bits(bytes: [u8; 32], shared in 0..=BITS, seed: u64) {
            let place = Position::from(bytes);
            let other = place.somewhere_at(shared, &mut Random::new(seed));
            prop_assert_eq!(place.shared_prefix(other), shared);
        }

        #[test]
        fn a_cell_is_all_that_begins_alike(a: [u8; 32], b: [u8; 32], shared in 0..=BITS) {
            let place = Position::from(a);
            for other in [Position::from(b), place.somewhere_at(shared, &mut Random::new(1))] {
                let alike = place.shared_prefix(other) >= shared;
                prop_assert_eq!(place.cell(shared).contains(&other), alike);
            }
        }

        #[test]
        fn two_of_three_places_are_equally_far_where_they_part(
            a: [u8; 32],
            b: [u8; 32],
            c: [u8; 32],
        ) {
            let [a, b, c] = [a, b, c].map(Position::from);
            let mut shared = [a.shared_prefix(b), b.shared_prefix(c), a.shared_prefix(c)];
            shared.sort_unstable();
            prop_assert_eq!(shared[0], shared[1]);
        }
    }
}
