//! Cutting a stream into chunks whose boundaries move with the content: an inserted byte changes
//! one chunk or two, not all that follow.
//!
//! FastCDC as of 2020 (Xia et al.). Bytes are pushed as they come; at most one chunk of the largest
//! size is held back. Hosts see no boundaries: chunks are packed into segments before they leave.

use fastcdc::v2020::FastCDC;

use crate::limits::CHUNK_BYTES_MAX;

/// How large chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// No boundary is looked for below it. A stream that is shorter is one chunk.
    pub min: usize,
    /// What chunks of random bytes come to, about.
    pub average: usize,
    /// A boundary is set here at the latest.
    pub max: usize,
}

impl Profile {
    /// Backups and ordinary files: an index of 60 bytes a chunk stays below a ten-thousandth.
    pub const BACKUP: Self = Self { min: 256 << 10, average: 1 << 20, max: CHUNK_BYTES_MAX };
    /// Files of which parts are read and written at random, such as disks of virtual machines.
    pub const RANDOM_ACCESS: Self = Self { min: 16 << 10, average: 64 << 10, max: 256 << 10 };

    /// Whether the sizes are in order and within what the algorithm and a segment can take.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        // The algorithm takes two bytes at a time.
        self.min >= 64
            && self.min <= 1 << 20
            && self.min < self.average
            && self.average >= 256
            && self.average < self.max
            && self.average <= 4 << 20
            && self.max >= 1_024
            && self.max <= CHUNK_BYTES_MAX
            && (self.min | self.average | self.max).is_multiple_of(2)
    }
}

/// Cuts one stream after the other.
#[derive(Debug)]
pub struct Chunker {
    profile: Profile,
    /// What is not cut yet, from `start` on.
    held: Vec<u8>,
    start: usize,
}

impl Chunker {
    /// Cuts by `profile`; nothing if that is not valid.
    #[must_use]
    pub fn new(profile: Profile) -> Option<Self> {
        profile.is_valid().then(|| Self { profile, held: Vec::new(), start: 0 })
    }

    /// Takes the next bytes of the stream and hands out each chunk that is complete.
    pub fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let max = self.profile.max;
        while !bytes.is_empty() {
            // What is there already goes without a copy when nothing is held back.
            if self.held.len() == self.start && bytes.len() >= max {
                let cut = self.cut(&bytes[..max]);
                take(&bytes[..cut]);
                bytes = &bytes[cut..];
                continue;
            }
            let room = max - (self.held.len() - self.start);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() - self.start == max {
                let cut = self.cut(&self.held[self.start..]);
                take(&self.held[self.start..self.start + cut]);
                self.start += cut;
                self.compact();
            }
        }
    }

    /// The stream has ended: hands out what is left. The next push begins another stream.
    pub fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        while self.start < self.held.len() {
            let cut = self.cut(&self.held[self.start..]);
            take(&self.held[self.start..self.start + cut]);
            self.start += cut;
        }
        self.held.clear();
        self.start = 0;
    }

    /// Bytes held back now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len() - self.start
    }

    /// Where the first boundary is in bytes that are as many as a chunk can have, or the last ones.
    fn cut(&self, bytes: &[u8]) -> usize {
        let Profile { min, average, max } = self.profile;
        let (_, end) = FastCDC::new(bytes, min, average, max).cut(0, bytes.len());
        end.clamp(1, bytes.len())
    }

    /// Moves the rest to the front once the hole is as large as what can be held.
    fn compact(&mut self) {
        if self.start >= self.profile.max {
            self.held.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Profile = Profile { min: 256, average: 1_024, max: 4_096 };

    fn noise(seed: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn chunks(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::new(SMALL).unwrap();
        let mut chunks = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            chunker.push(piece, |chunk| chunks.push(chunk.to_vec()));
            assert!(chunker.held() <= SMALL.max);
            assert!(chunker.held.len() <= 2 * SMALL.max, "memory is bounded");
        }
        chunker.finish(|chunk| chunks.push(chunk.to_vec()));
        assert_eq!(chunker.held(), 0);
        chunks
    }

    #[test]
    fn an_inserted_byte_changes_few_chunks() {
        let mut bytes = noise(1, 200_000);
        let before = chunks(&bytes, 10_000);
        bytes.insert(100_000, 7);
        let after = chunks(&bytes, 10_000);
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(before.len() > 100 && (1..=3).contains(&new), "{new} of {}", after.len());
    }

    #[test]
    fn a_small_file_is_one_chunk_and_an_empty_one_none() {
        assert_eq!(chunks(&noise(1, 256), 100), [noise(1, 256)]);
        assert_eq!(chunks(&[], 1), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn profiles_that_cannot_work_are_refused() {
        assert!(Profile::BACKUP.is_valid() && Profile::RANDOM_ACCESS.is_valid());
        for bad in [
            Profile { min: 2_000, ..SMALL },
            Profile { max: 1_000, ..SMALL },
            Profile { min: 0, ..SMALL },
            Profile { max: CHUNK_BYTES_MAX + 1, ..Profile::BACKUP },
        ] {
            assert!(Chunker::new(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_are_the_stream_however_it_was_pushed(
            seed: u8,
            length in 0_usize..40_000,
            piece in 1_usize..9_000,
        ) {
            let bytes = noise(seed, length);
            let cut = chunks(&bytes, piece);
            prop_assert_eq!(&cut, &chunks(&bytes, length.max(1)));
            prop_assert_eq!(cut.concat(), bytes);
            prop_assert!(cut.iter().all(|chunk| chunk.len() <= SMALL.max));
            let whole = cut.len().saturating_sub(1);
            prop_assert!(cut[..whole].iter().all(|chunk| chunk.len() >= SMALL.min));
        }
    }
}
