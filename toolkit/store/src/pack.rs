//! Packing: sealed chunks, large and small, side by side in segments of at most 4 MiB.
//!
//! ```text
//! segment = record of a chunk .. | record of the index | bytes of that record: u32
//! ```
//!
//! A set of fragments for each tiny file would be 64 requests of 640 bytes; packed, thousands of
//! them share one. A chunk that was packed before is not packed again. The index at the end is for
//! the owner alone: with the storage secret and the segments everything is found again, without any
//! manifest. Whoever has a capability of one object needs it not: the manifest says where chunks
//! are.

use std::collections::BTreeMap;
use std::fmt;

use isos_base::codec;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::{ChunkId, SealSecret, Secret, StorageSecret};
use crate::limits::{CHUNK_BYTES_MAX, CHUNKS_MAX, SEGMENT_BYTES_MAX, SEGMENTS_MAX};
use crate::seal::{OVERHEAD_BYTES, OpenError, Sealer};

/// Bytes that a chunk can take in the index: its secret and three varints.
const ENTRY_BYTES_MAX: usize = 32 + 3 * 4;
/// Bytes that the end of a segment takes besides the entries.
const END_BYTES: usize = OVERHEAD_BYTES + 3 + 4;

/// Where a chunk lies, and what opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The chunk's secret.
    pub secret: SealSecret,
    /// Which segment of the object, from 0.
    pub segment: u32,
    /// Where its record begins.
    pub offset: u32,
    /// How long its record is.
    pub sealed: u32,
    /// How long the chunk is.
    pub length: u32,
}

/// One chunk in the index of a segment.
#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    secret: [u8; 32],
    offset: u32,
    sealed: u32,
    length: u32,
}

/// Too much for one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PackError {
    /// A chunk that fits no segment.
    #[error("a chunk of {0} bytes, the limit is {CHUNK_BYTES_MAX}")]
    Chunk(usize),
    /// Too many chunks.
    #[error("more than {CHUNKS_MAX} chunks in one object: make several objects")]
    Chunks,
    /// Too many segments.
    #[error("more than {SEGMENTS_MAX} segments in one object: make several objects")]
    Segments,
}

/// Why a segment is not what the manifest says, or its index cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnpackError {
    /// The chunk would lie outside.
    #[error("a chunk at {offset}, {sealed} bytes long, in a segment of {bytes} bytes")]
    Outside {
        /// Where it should begin.
        offset: u32,
        /// How long its record should be.
        sealed: u32,
        /// The segment's length.
        bytes: usize,
    },
    /// It is there and does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The index is authentic but not one.
    #[error("the segment's index is of another version of isos")]
    Index(#[source] codec::DecodeError),
}

/// Packs the chunks of one object.
pub struct Packer {
    secret: StorageSecret,
    sealer: Sealer,
    known: BTreeMap<ChunkId, u32>,
    places: Vec<Place>,
    /// How many were handed over.
    segments: u32,
    /// How many numbers are taken: by those, by the one that is being filled, by adopted ones.
    numbers: u32,
    /// The segment that is being filled, its number, and what is in it.
    segment: Vec<u8>,
    number: u32,
    entries: Vec<Entry>,
}

impl Packer {
    /// Packs for the owner of `secret`.
    #[must_use]
    pub fn new(secret: StorageSecret, sealer: Sealer) -> Self {
        let (known, places, entries) = (BTreeMap::new(), Vec::new(), Vec::new());
        let segment = Vec::new();
        Self { secret, sealer, known, places, segments: 0, numbers: 0, segment, number: 0, entries }
    }

    /// Takes a chunk; says its number in the object, and hands over a segment if one became full.
    ///
    /// # Errors
    /// [`PackError`]; then the chunk was not taken and nothing else changed.
    pub fn push(&mut self, plain: &[u8]) -> Result<(u32, Option<Vec<u8>>), PackError> {
        if plain.len() > CHUNK_BYTES_MAX {
            return Err(PackError::Chunk(plain.len()));
        }
        let secret = self.secret.chunk(plain);
        self.push_new(secret, plain)
    }

    /// As [`Packer::push`]; the secret is known already.
    pub(crate) fn push_new(
        &mut self,
        secret: SealSecret,
        plain: &[u8],
    ) -> Result<(u32, Option<Vec<u8>>), PackError> {
        if plain.len() > CHUNK_BYTES_MAX {
            return Err(PackError::Chunk(plain.len()));
        }
        let id = secret.id();
        if let Some(number) = self.known.get(&id) {
            return Ok((*number, None));
        }
        if self.places.len() == CHUNKS_MAX {
            return Err(PackError::Chunks);
        }
        let worst = plain.len() + OVERHEAD_BYTES + (self.entries.len() + 1) * ENTRY_BYTES_MAX;
        let is_full = self.segment.len() + worst + END_BYTES > SEGMENT_BYTES_MAX;
        let begins = is_full || self.entries.is_empty();
        if begins && self.numbers as usize == SEGMENTS_MAX {
            return Err(PackError::Segments);
        }
        let full = if is_full { self.close() } else { None };
        if begins {
            self.number = self.numbers;
            self.numbers += 1;
        }
        if self.segment.capacity() == 0 {
            self.segment.reserve_exact(SEGMENT_BYTES_MAX);
        }
        let offset = self.segment.len() as u32;
        let sealed = self.sealer.seal(&secret, plain, &mut self.segment) as u32;
        let length = plain.len() as u32;
        self.entries.push(Entry { secret: *secret.secret().bytes(), offset, sealed, length });
        let number = self.places.len() as u32;
        self.places.push(Place { secret, segment: self.number, offset, sealed, length });
        self.known.insert(id, number);
        Ok((number, full))
    }

    /// The number of a chunk that the object has already.
    pub(crate) fn number(&self, id: &ChunkId) -> Option<u32> {
        self.known.get(id).copied()
    }

    /// Takes a chunk that lies in a segment of an earlier object. `segment` is the number of that
    /// segment in this one, if it has it already. Says the numbers of the chunk and of the segment.
    pub(crate) fn adopt(
        &mut self,
        id: ChunkId,
        place: &Place,
        segment: Option<u32>,
    ) -> Result<(u32, u32), PackError> {
        if self.places.len() == CHUNKS_MAX {
            return Err(PackError::Chunks);
        }
        if segment.is_none() && self.numbers as usize == SEGMENTS_MAX {
            return Err(PackError::Segments);
        }
        let segment = segment.unwrap_or_else(|| {
            self.numbers += 1;
            self.numbers - 1
        });
        let number = self.places.len() as u32;
        self.places.push(Place { segment, ..place.clone() });
        self.known.insert(id, number);
        Ok((number, segment))
    }

    /// The number that the segment has which [`Packer::close`] hands over next.
    pub(crate) const fn open_number(&self) -> u32 {
        self.number
    }

    /// How many numbers of segments are taken.
    pub(crate) const fn numbers(&self) -> u32 {
        self.numbers
    }

    /// Hands over the segment that is being filled, if there is something in it. The next chunk
    /// begins another.
    pub fn close(&mut self) -> Option<Vec<u8>> {
        if self.entries.is_empty() {
            return None;
        }
        let mut index = codec::encode(&self.entries);
        let secret = self.secret.segment_indexes();
        let sealed = self.sealer.seal_one_of_many(&secret, &index, &mut self.segment) as u32;
        zeroize::Zeroize::zeroize(&mut index);
        self.segment.extend_from_slice(&sealed.to_le_bytes());
        assert!(self.segment.len() <= SEGMENT_BYTES_MAX, "the end of a segment was reckoned with");
        self.entries.clear();
        self.segments += 1;
        Some(std::mem::take(&mut self.segment))
    }

    /// Where all chunks lie, by number.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// How many segments were handed over.
    #[must_use]
    pub const fn segments(&self) -> u32 {
        self.segments
    }

    /// For the manifest, which is sealed by the same means.
    pub(crate) const fn sealer(&mut self) -> &mut Sealer {
        &mut self.sealer
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer")
            .field("segments", &self.segments)
            .field("chunks", &self.places.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} bytes at {}+{})", self.length, self.segment, self.offset)
    }
}

/// Appends the plain bytes of a chunk that lies in this segment.
///
/// # Errors
/// [`UnpackError`]; then nothing was appended.
pub fn open_chunk(
    sealer: &mut Sealer,
    segment: &[u8],
    place: &Place,
    plain: &mut Vec<u8>,
) -> Result<(), UnpackError> {
    let Place { offset, sealed, .. } = *place;
    let end = (offset as usize).saturating_add(sealed as usize);
    let record = segment.get(offset as usize..end);
    let outside = UnpackError::Outside { offset, sealed, bytes: segment.len() };
    let record = record.ok_or(outside)?;
    Ok(sealer.open(&place.secret, record, place.length as usize, plain)?)
}

/// The chunks of a segment, from its own index; the number of the segment is for the caller to say.
///
/// # Errors
/// [`UnpackError`], if the segment is another owner's or damaged.
pub fn read_index(
    sealer: &mut Sealer,
    owner: &StorageSecret,
    segment: &[u8],
    number: u32,
) -> Result<Vec<Place>, UnpackError> {
    let short = || UnpackError::Open(OpenError::Short(segment.len()));
    let (rest, tail) = segment.split_last_chunk::<4>().ok_or_else(short)?;
    let sealed = u32::from_le_bytes(*tail) as usize;
    let start = rest.len().checked_sub(sealed).ok_or_else(short)?;
    let length = sealed.checked_sub(OVERHEAD_BYTES).ok_or_else(short)?;
    let mut index = Vec::new();
    sealer.open(&owner.segment_indexes(), &rest[start..], length, &mut index)?;
    let entries: Vec<Entry> = codec::decode(&index).map_err(UnpackError::Index)?;
    zeroize::Zeroize::zeroize(&mut index);
    let place = |entry: Entry| Place {
        secret: SealSecret::from_secret(Secret::new(entry.secret)),
        segment: number,
        offset: entry.offset,
        sealed: entry.sealed,
        length: entry.length,
    };
    Ok(entries.into_iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Cipher, LEVEL_DEFAULT};

    fn user(byte: u8) -> StorageSecret {
        StorageSecret::new(&Secret::new([byte; 32]))
    }

    fn sealer() -> Sealer {
        Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT)
    }

    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn thousands_of_small_files_share_a_segment_and_each_opens_by_its_place() {
        let mut packer = Packer::new(user(1), sealer());
        for number in 0..3_000 {
            assert_eq!(packer.push(&noise(number, 100)), Ok((number, None)));
        }
        let segment = packer.close().unwrap();
        assert_eq!(packer.close(), None);
        for number in [0, 1_234, 2_999] {
            let mut plain = Vec::new();
            let place = &packer.places()[number as usize];
            open_chunk(&mut sealer(), &segment, place, &mut plain).unwrap();
            assert_eq!(plain, noise(number, 100));
        }
    }

    #[test]
    fn a_full_segment_is_handed_over_and_none_is_too_long() {
        let mut packer = Packer::new(user(1), sealer());
        let mut segments = Vec::new();
        for number in 0..5 {
            let chunk = noise(number, CHUNK_BYTES_MAX);
            segments.extend(packer.push(&chunk).unwrap().1);
        }
        segments.extend(packer.close());
        assert_eq!((segments.len(), packer.segments()), (5, 5));
        assert!(segments.iter().all(|segment| segment.len() <= SEGMENT_BYTES_MAX));
        let long = vec![0; CHUNK_BYTES_MAX + 1];
        assert_eq!(packer.push(&long), Err(PackError::Chunk(long.len())));
    }

    #[test]
    fn a_chunk_that_was_packed_before_is_not_packed_again() {
        let mut packer = Packer::new(user(1), sealer());
        assert_eq!(packer.push(b"twice").unwrap().0, 0);
        assert_eq!(packer.push(b"once").unwrap().0, 1);
        assert_eq!(packer.push(b"twice").unwrap().0, 0);
        assert_eq!(packer.places().len(), 2);
    }

    #[test]
    fn the_owner_finds_all_chunks_in_a_segment_and_nobody_else_does() {
        let mut packer = Packer::new(user(1), sealer());
        packer.push(b"one").unwrap();
        packer.push(&[7; 1_000]).unwrap();
        let segment = packer.close().unwrap();
        let places = read_index(&mut sealer(), &user(1), &segment, 0).unwrap();
        assert_eq!(places, packer.places());
        let other = read_index(&mut sealer(), &user(2), &segment, 0);
        assert_eq!(other, Err(UnpackError::Open(OpenError::Sealed)));
        for cut in 0..40 {
            assert!(read_index(&mut sealer(), &user(1), &segment[..cut], 0).is_err());
        }
    }

    #[test]
    fn a_place_outside_of_the_segment_is_an_error() {
        let mut place =
            Place { secret: user(1).chunk(b""), segment: 0, offset: 90, sealed: 11, length: 0 };
        let open = |place: &Place| open_chunk(&mut sealer(), &[0; 100], place, &mut Vec::new());
        assert!(matches!(open(&place), Err(UnpackError::Outside { bytes: 100, .. })));
        place.offset = u32::MAX;
        assert!(matches!(open(&place), Err(UnpackError::Outside { .. })));
    }
}
