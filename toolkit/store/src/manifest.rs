//! Manifests: what a stored object is.
//!
//! The open part (class, code, names of all fragments) is enough to find, check and repair the
//! object, and is nobody's secret. The sealed part (chunks, files, sizes) opens with a read
//! capability of this object. The object's GUID is the hash of both as they are stored, ciphertext
//! only: whoever gets a manifest can check it, and a host keeps it as it keeps any fragment. One
//! that is longer than a fragment is stored in pieces under a list of their names. Objects may
//! share segments: a snapshot names those that the one before has stored.

use isos_base::{Guid, codec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::class::Class;
use crate::code::Code;
use crate::key::{SealSecret, Secret};
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNKS_MAX, FILE_NAME_BYTES_MAX, FILES_MAX, FRAGMENT_BYTES_MAX,
    MANIFEST_BYTES_MAX, SEALED_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENTS_MAX,
};
use crate::pack::Place;
use crate::seal::{OVERHEAD_BYTES, OpenError, Sealer};

/// Pieces of the longest manifest.
const PIECES_MAX: usize = MANIFEST_BYTES_MAX.div_ceil(FRAGMENT_BYTES_MAX);

/// A stored object, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which row of the table it was stored by.
    pub class: Class,
    /// Its segments, in order.
    pub segments: Vec<Segment>,
    /// [`Content`], sealed.
    pub sealed: Vec<u8>,
    /// How long that is when opened.
    pub plain: u32,
}

/// A segment, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Segment {
    /// Bytes before coding.
    pub length: u32,
    /// How it was coded.
    pub code: Code,
    /// The names of its fragments, by index: one for each.
    pub fragments: Vec<Guid>,
}

/// What is in an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Where its chunks are, by number.
    pub chunks: Vec<Place>,
    /// Its files.
    pub files: Vec<File>,
}

/// A file in an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name, as its owner gave it. Not a path to be opened unchecked.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Numbers of its chunks, in order.
    pub chunks: Vec<u32>,
}

/// All versions of a manifest that were ever stored.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Manifest),
    Pieces(Vec<Guid>),
}

/// What is stored under an object's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// Its manifest.
    Manifest(Manifest),
    /// The names of the pieces of its manifest, in order.
    Pieces(Vec<Guid>),
}

/// All versions of the sealed part.
#[derive(Serialize, Deserialize)]
enum StoredContent {
    V1(Vec<StoredPlace>, Vec<File>),
}

#[derive(Serialize, Deserialize)]
struct StoredPlace {
    secret: [u8; 32],
    segment: u32,
    offset: u32,
    sealed: u32,
    length: u32,
}

/// Why bytes are no manifest, or a manifest does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Longer than any.
    #[error("{what} of {length} bytes, the limit is {max}")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// Not of a version that this program knows.
    #[error("not a manifest of a version that this isos knows")]
    Version(#[source] codec::DecodeError),
    /// More of something than there may be.
    #[error("{count} {what}, the limit is {max}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A list of pieces where a manifest is wanted, or an empty one.
    #[error("a list of pieces where a manifest should be")]
    Pieces,
    /// A segment without bytes, with too many, or with more or fewer names than fragments.
    #[error("segment {0} cannot be: its length or its names do not fit its code")]
    Segment(usize),
    /// A chunk that is not inside a segment.
    #[error("chunk {0} cannot be: it is not inside of a segment")]
    Chunk(usize),
    /// A file whose chunks do not exist or do not add up.
    #[error("file {0} cannot be: its name, chunks or size do not fit")]
    File(usize),
    /// Another object's manifest.
    #[error("the manifest is of object {got}, not of {wanted}")]
    OtherObject {
        /// Of which it is.
        got: Guid,
        /// Of which it should be.
        wanted: Guid,
    },
    /// Its sealed part does not open.
    #[error("the capability does not open this object")]
    Sealed(#[source] OpenError),
}

impl Segment {
    /// Names the segment by those of its fragments.
    #[must_use]
    pub fn id(&self) -> Guid {
        let mut hasher = blake3::Hasher::new_derive_key("isos storage 1: segment");
        hasher.update(&self.length.to_le_bytes());
        hasher.update(&self.code.m().to_le_bytes());
        hasher.update(&self.code.n().to_le_bytes());
        for name in &self.fragments {
            hasher.update(&name.0);
        }
        Guid(*hasher.finalize().as_bytes())
    }

    /// Bytes of each of its fragments.
    #[must_use]
    pub fn fragment_bytes(&self) -> usize {
        self.code.fragment_bytes(self.length as usize)
    }

    fn holds_together(&self) -> bool {
        (1..=SEGMENT_BYTES_MAX).contains(&(self.length as usize))
            && self.fragments.len() == usize::from(self.code.n())
    }
}

impl Manifest {
    /// Names the object: the hash of the bytes that are stored, so a manifest travels and is kept
    /// as a fragment is, and whoever has the name can check it.
    #[must_use]
    pub fn guid(&self) -> Guid {
        Guid::of(&self.pieces()[0])
    }

    /// What hosts keep of it, each piece no longer than a fragment. The first is stored under the
    /// object's name; where there are others, it is the list of their names.
    #[must_use]
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        let bytes = self.encode();
        if bytes.len() <= FRAGMENT_BYTES_MAX {
            return vec![bytes];
        }
        let pieces = bytes.chunks(FRAGMENT_BYTES_MAX);
        let names = pieces.clone().map(Guid::of).collect();
        let list = codec::encode(&Stored::Pieces(names));
        std::iter::once(list).chain(pieces.map(<[u8]>::to_vec)).collect()
    }

    /// The bytes that are stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Stored::V1(self.clone()))
    }

    /// Reads a manifest that anybody may have written.
    ///
    /// # Errors
    /// [`ManifestError`] for anything that does not hold together.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        match Root::decode(bytes)? {
            Root::Manifest(manifest) => Ok(manifest),
            Root::Pieces(_) => Err(ManifestError::Pieces),
        }
    }

    /// As [`Manifest::decode`], and it must be this object's.
    ///
    /// # Errors
    /// [`ManifestError`], [`ManifestError::OtherObject`] among them.
    pub fn decode_as(bytes: &[u8], wanted: &Guid) -> Result<Self, ManifestError> {
        is(bytes, wanted)?;
        Self::decode(bytes)
    }

    /// Joins the pieces that a [`Root::Pieces`] named; each was checked against its name.
    ///
    /// # Errors
    /// As [`Manifest::decode`].
    pub fn join(pieces: &[Vec<u8>]) -> Result<Self, ManifestError> {
        limit("a manifest", pieces.iter().map(Vec::len).sum(), MANIFEST_BYTES_MAX)?;
        Self::decode(&pieces.concat())
    }

    /// Stored bytes of all fragments.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let bytes =
            |segment: &Segment| segment.fragment_bytes() as u64 * u64::from(segment.code.n());
        self.segments.iter().map(bytes).sum()
    }

    /// Makes the open part around what is in an object.
    ///
    /// # Errors
    /// [`ManifestError`] when it is too much for one object.
    pub fn seal(
        class: Class,
        segments: Vec<Segment>,
        content: &Content,
        sealer: &mut Sealer,
        secret: impl FnOnce(&[u8]) -> SealSecret,
    ) -> Result<(Self, SealSecret), ManifestError> {
        content.check(&segments)?;
        let mut plain = content.encode();
        limit("what is sealed in a manifest", plain.len(), SEALED_BYTES_MAX)?;
        let secret = secret(&plain);
        let mut sealed = Vec::new();
        // Versions of something named are sealed under secrets that do not follow from the bytes.
        sealer.seal_one_of_many(&secret, &plain, &mut sealed);
        let length = plain.len() as u32;
        zeroize::Zeroize::zeroize(&mut plain);
        let manifest = Self { class, segments, sealed, plain: length };
        manifest.check()?;
        Ok((manifest, secret))
    }

    /// Opens the sealed part.
    ///
    /// # Errors
    /// [`ManifestError`], also when what was sealed does not fit the open part.
    pub fn open(&self, secret: &SealSecret, sealer: &mut Sealer) -> Result<Content, ManifestError> {
        self.check()?;
        let mut plain = Vec::new();
        let opened = sealer.open(secret, &self.sealed, self.plain as usize, &mut plain);
        opened.map_err(ManifestError::Sealed)?;
        let content = Content::decode(&plain);
        zeroize::Zeroize::zeroize(&mut plain);
        let content = content?;
        content.check(&self.segments)?;
        Ok(content)
    }

    fn check(&self) -> Result<(), ManifestError> {
        count("segments", self.segments.len(), SEGMENTS_MAX)?;
        limit("what is sealed in a manifest", self.plain as usize, SEALED_BYTES_MAX)?;
        let sealed_max = self.plain as usize + OVERHEAD_BYTES;
        limit("the sealed part of a manifest", self.sealed.len(), sealed_max)?;
        match self.segments.iter().position(|segment| !segment.holds_together()) {
            Some(at) => Err(ManifestError::Segment(at)),
            None => Ok(()),
        }
    }
}

impl Root {
    fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        limit("a manifest", bytes.len(), MANIFEST_BYTES_MAX)?;
        match codec::decode(bytes).map_err(ManifestError::Version)? {
            Stored::V1(manifest) => manifest.check().map(|()| Self::Manifest(manifest)),
            Stored::Pieces(names) => {
                count("pieces of a manifest", names.len(), PIECES_MAX)?;
                if names.is_empty() { Err(ManifestError::Pieces) } else { Ok(Self::Pieces(names)) }
            }
        }
    }

    /// Whether bytes that begin so may be what is stored under an object's name: tells nearly all
    /// other fragments apart without reading on.
    #[must_use]
    pub const fn may_begin(bytes: &[u8]) -> bool {
        // The number of the variant; of a manifest then its class.
        match bytes {
            [0, class, _, ..] => *class <= Class::Small as u8,
            [1, _, ..] => true,
            _ => false,
        }
    }

    /// What is stored under this name, as somebody sent it.
    ///
    /// # Errors
    /// [`ManifestError`], also for other bytes than those of the name.
    pub fn decode_as(bytes: &[u8], wanted: &Guid) -> Result<Self, ManifestError> {
        is(bytes, wanted)?;
        Self::decode(bytes)
    }
}

fn is(bytes: &[u8], wanted: &Guid) -> Result<(), ManifestError> {
    let got = Guid::of(bytes);
    if got == *wanted { Ok(()) } else { Err(ManifestError::OtherObject { got, wanted: *wanted }) }
}

impl Content {
    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    fn encode(&self) -> Vec<u8> {
        let stored = |place: &Place| StoredPlace {
            secret: *place.secret.secret().bytes(),
            segment: place.segment,
            offset: place.offset,
            sealed: place.sealed,
            length: place.length,
        };
        let places = self.chunks.iter().map(stored).collect();
        codec::encode(&StoredContent::V1(places, self.files.clone()))
    }

    fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let StoredContent::V1(places, files) =
            codec::decode(bytes).map_err(ManifestError::Version)?;
        let place = |stored: StoredPlace| Place {
            secret: SealSecret::from_secret(Secret::new(stored.secret)),
            segment: stored.segment,
            offset: stored.offset,
            sealed: stored.sealed,
            length: stored.length,
        };
        Ok(Self { chunks: places.into_iter().map(place).collect(), files })
    }

    /// Whether it fits the segments: a reader can then trust each number.
    fn check(&self, segments: &[Segment]) -> Result<(), ManifestError> {
        count("chunks", self.chunks.len(), CHUNKS_MAX)?;
        count("files", self.files.len(), FILES_MAX)?;
        let inside = |place: &Place| {
            let end = u64::from(place.offset) + u64::from(place.sealed);
            let segment = segments.get(place.segment as usize);
            let bytes = segment.map_or(0, |segment| u64::from(segment.length));
            end <= bytes && place.length as usize <= CHUNK_BYTES_MAX
        };
        if let Some(at) = self.chunks.iter().position(|place| !inside(place)) {
            return Err(ManifestError::Chunk(at));
        }
        let adds_up = |file: &File| {
            let length = |chunk: &u32| self.chunks.get(*chunk as usize).map(|it| it.length);
            let lengths = file.chunks.iter().map(|chunk| length(chunk).map(u64::from));
            let sum: Option<u64> = lengths.sum();
            file.name.len() <= FILE_NAME_BYTES_MAX && sum == Some(file.size)
        };
        match self.files.iter().position(|file| !adds_up(file)) {
            Some(at) => Err(ManifestError::File(at)),
            None => Ok(()),
        }
    }
}

const fn limit(what: &'static str, length: usize, max: usize) -> Result<(), ManifestError> {
    if length > max { Err(ManifestError::TooLong { what, length, max }) } else { Ok(()) }
}

const fn count(what: &'static str, count: usize, max: usize) -> Result<(), ManifestError> {
    if count > max { Err(ManifestError::TooMany { what, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
