//! Coding: a segment becomes n fragments, any m of which give it back.
//!
//! Reed-Solomon over GF(2^16) by an FFT (reed-solomon-simd; the Leopard algorithm), systematic: the
//! first m fragments are the segment itself, cut, so a read that gets these decodes nothing.
//! Decoding costs the same for one lost fragment as for all, about four times the coding. A
//! fragment that is not what its name says is refused before it can spoil a decode, and its index
//! is named.

use std::fmt;

use bytes::Bytes;
use isos_base::Guid;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{FRAGMENTS_MAX, SEGMENT_BYTES_MAX};

/// The coder works on blocks of so many bytes of each fragment.
const BLOCK_BYTES: usize = 64;

/// So many fragments are made, so many of them are enough. Written `16-of-64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct Code {
    m: u16,
    n: u16,
}

/// There is no such code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a code of {m}-of-{n}: 1 <= m <= n <= {FRAGMENTS_MAX} is needed")]
pub struct BadCode {
    /// Enough.
    pub m: u16,
    /// Made.
    pub n: u16,
}

/// A segment and what was coded from it. Fragments are parts of two buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    code: Code,
    length: usize,
    fragment_bytes: usize,
    data: Bytes,
    parity: Bytes,
    names: Vec<Guid>,
}

/// Codes and decodes; keeps its working memory from one segment to the next.
#[derive(Default)]
pub struct Coder {
    encoder: Option<ReedSolomonEncoder>,
    decoder: Option<ReedSolomonDecoder>,
}

/// Collects fragments of one segment until there are enough.
#[derive(Debug, Clone)]
pub struct Gather {
    code: Code,
    length: usize,
    names: Vec<Guid>,
    fragments: Vec<Option<Bytes>>,
    have: u16,
}

/// Why a fragment was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is no fragment of this index.
    #[error("fragment {index} of {n} does not exist")]
    Index {
        /// What was offered.
        index: u16,
        /// How many there are.
        n: u16,
    },
    /// Not the bytes that the name says: who served them is wrong or lies.
    #[error("fragment {index} is not what its name says")]
    Garbage {
        /// Which.
        index: u16,
    },
}

/// Why there is no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Too few fragments.
    #[error("{have} fragments, {need} are needed")]
    TooFew {
        /// Collected.
        have: u16,
        /// Enough.
        need: u16,
    },
    /// Each fragment is what its name says, but together they are no code word: who stored the
    /// segment made names of something else. (Only a rebuild sees it.)
    #[error("fragment {index} was never coded from this segment: whoever stored it made it up")]
    Inconsistent {
        /// The first that does not fit.
        index: u16,
    },
}

impl Code {
    /// The code m-of-n.
    ///
    /// # Errors
    /// [`BadCode`] outside of 1 <= m <= n <= [`FRAGMENTS_MAX`].
    pub const fn new(m: u16, n: u16) -> Result<Self, BadCode> {
        if m >= 1 && m <= n && n <= FRAGMENTS_MAX {
            Ok(Self { m, n })
        } else {
            Err(BadCode { m, n })
        }
    }

    /// How many fragments are enough.
    #[must_use]
    pub const fn m(self) -> u16 {
        self.m
    }

    /// How many fragments there are.
    #[must_use]
    pub const fn n(self) -> u16 {
        self.n
    }

    /// Stored bytes for each byte of data.
    #[must_use]
    pub fn expansion(self) -> f64 {
        f64::from(self.n) / f64::from(self.m)
    }

    /// Bytes of each fragment of a segment with so many; padded to the coder's blocks.
    #[must_use]
    pub fn fragment_bytes(self, length: usize) -> usize {
        length.div_ceil(usize::from(self.m)).next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-of-{}", self.m, self.n))
    }
}

impl TryFrom<(u16, u16)> for Code {
    type Error = BadCode;
    fn try_from((m, n): (u16, u16)) -> Result<Self, BadCode> {
        Self::new(m, n)
    }
}

impl From<Code> for (u16, u16) {
    fn from(code: Code) -> Self {
        (code.m, code.n)
    }
}

impl Coder {
    /// A coder without memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The fragments of a segment, which has at least one byte and at most [`SEGMENT_BYTES_MAX`].
    pub fn encode(&mut self, code: Code, mut segment: Vec<u8>) -> Coded {
        let length = segment.len();
        assert!((1..=SEGMENT_BYTES_MAX).contains(&length), "a segment of {length} bytes");
        let (m, n) = (usize::from(code.m), usize::from(code.n));
        let fragment_bytes = code.fragment_bytes(length);
        segment.resize(m * fragment_bytes, 0);
        let parity = if m == 1 || m == n {
            Vec::new()
        } else {
            self.parity(m, n - m, fragment_bytes, &segment)
        };
        let names = if m == 1 {
            vec![Guid::of(&segment); n]
        } else {
            let parts = [&segment, &parity];
            parts.iter().flat_map(|part| part.chunks_exact(fragment_bytes)).map(Guid::of).collect()
        };
        let (data, parity) = (Bytes::from(segment), Bytes::from(parity));
        Coded { code, length, fragment_bytes, data, parity, names }
    }

    fn parity(&mut self, m: usize, extra: usize, fragment_bytes: usize, data: &[u8]) -> Vec<u8> {
        const FITS: &str = "counts and sizes are within the coder's limits";
        let encoder = match &mut self.encoder {
            Some(encoder) => {
                encoder.reset(m, extra, fragment_bytes).expect(FITS);
                encoder
            }
            empty => empty.insert(ReedSolomonEncoder::new(m, extra, fragment_bytes).expect(FITS)),
        };
        for fragment in data.chunks_exact(fragment_bytes) {
            encoder.add_original_shard(fragment).expect("as many as were announced");
        }
        let coded = encoder.encode().expect("all were added");
        let mut parity = Vec::with_capacity(extra * fragment_bytes);
        coded.recovery_iter().for_each(|fragment| parity.extend_from_slice(fragment));
        parity
    }
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coder")
    }
}

impl Coded {
    /// By which code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Bytes of the segment.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// One fragment; no bytes are copied.
    #[must_use]
    pub fn fragment(&self, index: u16) -> Bytes {
        assert!(index < self.code.n, "fragment {index} of {}", self.code);
        let at = usize::from(index);
        let m = usize::from(self.code.m);
        let (buffer, at) = match at {
            _ if m == 1 => (&self.data, 0),
            at if at < m => (&self.data, at),
            at => (&self.parity, at - m),
        };
        buffer.slice(at * self.fragment_bytes..(at + 1) * self.fragment_bytes)
    }

    /// The names of all fragments, in order. Those of copies (m = 1) are the same.
    #[must_use]
    pub fn names(&self) -> &[Guid] {
        &self.names
    }
}

impl Gather {
    /// Collects for a segment with so many bytes, whose fragments have these names: one for each of
    /// the code's n.
    #[must_use]
    pub fn new(code: Code, length: usize, names: Vec<Guid>) -> Self {
        assert_eq!(names.len(), usize::from(code.n), "a name for each fragment");
        assert!((1..=SEGMENT_BYTES_MAX).contains(&length), "a segment of {length} bytes");
        Self { code, length, names, fragments: vec![None; usize::from(code.n)], have: 0 }
    }

    /// Takes a fragment; says whether there are enough now. One that is there already changes
    /// nothing, nor does one that is refused.
    ///
    /// # Errors
    /// [`Refused`], with the index.
    pub fn offer(&mut self, index: u16, bytes: Bytes) -> Result<bool, Refused> {
        let at = usize::from(index);
        let Some(name) = self.names.get(at) else {
            return Err(Refused::Index { index, n: self.code.n });
        };
        if Guid::of(&bytes) != *name {
            return Err(Refused::Garbage { index });
        }
        self.put(index, bytes)
    }

    /// As [`Self::offer`], of bytes that were compared with the fragment's name before.
    ///
    /// # Errors
    /// [`Refused`], with the index.
    pub fn put(&mut self, index: u16, bytes: Bytes) -> Result<bool, Refused> {
        let at = usize::from(index);
        if index >= self.code.n {
            return Err(Refused::Index { index, n: self.code.n });
        }
        if bytes.len() != self.code.fragment_bytes(self.length) {
            return Err(Refused::Garbage { index });
        }
        if self.fragments[at].is_none() {
            self.fragments[at] = Some(bytes);
            self.have += 1;
        }
        Ok(self.is_enough())
    }

    /// Whether the segment can be decoded.
    #[must_use]
    pub const fn is_enough(&self) -> bool {
        // Copies have one name for all; the others count one by one.
        self.have >= self.code.m
    }

    /// By which code the segment was coded.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The name of a fragment.
    #[must_use]
    pub fn name(&self, index: u16) -> Guid {
        self.names[usize::from(index)]
    }

    /// How many fragments were taken.
    #[must_use]
    pub const fn have(&self) -> u16 {
        self.have
    }

    /// Whether this one was taken.
    #[must_use]
    pub fn has(&self, index: u16) -> bool {
        self.fragments.get(usize::from(index)).is_some_and(Option::is_some)
    }

    /// The segment.
    ///
    /// # Errors
    /// [`DecodeError::TooFew`].
    pub fn decode(&self, coder: &mut Coder) -> Result<Vec<u8>, DecodeError> {
        let (m, n) = (usize::from(self.code.m), usize::from(self.code.n));
        if !self.is_enough() {
            return Err(DecodeError::TooFew { have: self.have, need: self.code.m });
        }
        let fragment_bytes = self.code.fragment_bytes(self.length);
        let mut segment = Vec::with_capacity(m * fragment_bytes);
        if m == 1 {
            let any = self.fragments.iter().flatten().next().expect("there are enough");
            segment.extend_from_slice(any);
        } else if self.fragments[..m].iter().all(Option::is_some) {
            self.fragments[..m].iter().flatten().for_each(|part| segment.extend_from_slice(part));
        } else {
            self.restore(coder, m, n - m, fragment_bytes, &mut segment);
        }
        segment.truncate(self.length);
        Ok(segment)
    }

    fn restore(
        &self,
        coder: &mut Coder,
        m: usize,
        extra: usize,
        fragment_bytes: usize,
        segment: &mut Vec<u8>,
    ) {
        const FITS: &str = "counts and sizes are within the coder's limits";
        let decoder = match &mut coder.decoder {
            Some(decoder) => {
                decoder.reset(m, extra, fragment_bytes).expect(FITS);
                decoder
            }
            empty => empty.insert(ReedSolomonDecoder::new(m, extra, fragment_bytes).expect(FITS)),
        };
        let mut added = 0;
        for (at, fragment) in self.fragments.iter().enumerate() {
            let Some(fragment) = fragment.as_ref().filter(|_| added < m) else { continue };
            let taken = if at < m {
                decoder.add_original_shard(at, fragment)
            } else {
                decoder.add_recovery_shard(at - m, fragment)
            };
            taken.expect("each index once, all of one length");
            added += 1;
        }
        let restored = decoder.decode().expect("there are enough");
        for (at, fragment) in self.fragments[..m].iter().enumerate() {
            match fragment {
                Some(fragment) => segment.extend_from_slice(fragment),
                None => segment.extend_from_slice(
                    restored.restored_original(at).expect("what was not added is restored"),
                ),
            }
        }
    }

    /// All fragments again, for a repair. Needs no secret.
    ///
    /// # Errors
    /// [`DecodeError`], also when the names are no code word's.
    pub fn rebuild(&self, coder: &mut Coder) -> Result<Coded, DecodeError> {
        let segment = self.decode(coder)?;
        let coded = coder.encode(self.code, segment);
        let names = coded.names();
        match names.iter().zip(&self.names).position(|(made, told)| made != told) {
            Some(at) => Err(DecodeError::Inconsistent { index: at as u16 }),
            None => Ok(coded),
        }
    }
}

#[cfg(test)]
mod tests;
