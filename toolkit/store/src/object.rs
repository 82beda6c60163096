//! All stages in a row: files in, coded segments and a manifest out; and back.
//!
//! For one thread: a shell with several gives each its own coder and runs the same stages apart. At
//! most one chunk, the segment that is being filled and the one that is handed over are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use isos_base::Guid;
use thiserror::Error;

use crate::capability::ReadCapability;
use crate::chunk::{Chunker, Profile};
use crate::class::Class;
use crate::code::{Code, Coded, Coder};
use crate::earlier::Earlier;
use crate::key::{ChunkId, SealSecret, StorageSecret};
use crate::limits::{FILE_NAME_BYTES_MAX, FILES_MAX};
use crate::manifest::{Content, File, Manifest, ManifestError, Segment};
use crate::pack::{PackError, Packer, UnpackError, open_chunk};
use crate::seal::{Cipher, LEVEL_DEFAULT, Sealer};

/// How an object is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Goes into the manifest.
    pub class: Class,
    /// How segments are coded.
    pub code: Code,
    /// How files are cut.
    pub profile: Profile,
    /// What seals.
    pub cipher: Cipher,
    /// How hard zstd tries.
    pub level: i32,
}

impl Settings {
    /// For ordinary files.
    #[must_use]
    pub const fn new(class: Class, code: Code, cipher: Cipher) -> Self {
        Self { class, code, profile: Profile::BACKUP, cipher, level: LEVEL_DEFAULT }
    }
}

/// Why an object cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Sizes that cannot be.
    #[error("the profile cannot be: min < average < max, within the limits of a chunk")]
    Profile(Profile),
    /// It is too much.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A name that is too long, or one file too many.
    #[error("a file's name has at most {FILE_NAME_BYTES_MAX} bytes, an object {FILES_MAX} files")]
    File,
    /// It is too much for one manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Makes one object.
#[derive(Debug)]
pub struct Writer {
    settings: Settings,
    secret: StorageSecret,
    chunker: Chunker,
    packer: Packer,
    coder: Coder,
    /// By number; empty where the segment is still being filled.
    segments: Vec<Option<Segment>>,
    files: Vec<File>,
    earlier: Earlier,
    /// Segments of earlier objects that this one names, and their numbers in it.
    adopted: BTreeMap<u32, u32>,
}

/// An object that is complete, and what the next one can build upon.
#[derive(Debug)]
pub struct Finished {
    /// What is stored.
    pub manifest: Manifest,
    /// What opens it.
    pub capability: ReadCapability,
    /// What was there before, and what this object has.
    pub earlier: Earlier,
}

/// Reads one object of which segments were fetched.
#[derive(Debug)]
pub struct Reader {
    content: Content,
    sealer: Sealer,
}

impl Writer {
    /// Makes an object for the owner of `secret`.
    ///
    /// # Errors
    /// [`WriteError::Profile`].
    pub fn new(secret: StorageSecret, settings: Settings) -> Result<Self, WriteError> {
        let profile = settings.profile;
        let chunker = Chunker::new(profile).ok_or(WriteError::Profile(profile))?;
        let sealer = Sealer::new(settings.cipher, settings.level);
        let packer = Packer::new(secret.clone(), sealer);
        Ok(Self {
            settings,
            secret,
            chunker,
            packer,
            coder: Coder::new(),
            segments: Vec::new(),
            files: Vec::new(),
            earlier: Earlier::new(),
            adopted: BTreeMap::new(),
        })
    }

    /// Builds upon earlier objects of this owner: chunks that they have are named where they lie.
    /// Segments are numbered as they are first named, so an object of the same chunks in the same
    /// order is the same object.
    #[must_use]
    pub fn upon(mut self, earlier: Earlier) -> Self {
        self.earlier = earlier;
        self
    }

    /// What is known of earlier objects.
    #[must_use]
    pub const fn earlier(&self) -> &Earlier {
        &self.earlier
    }

    /// How many chunks the object has.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.packer.places().len()
    }

    /// Takes one chunk that belongs to no file of the object: for those who keep their own list of
    /// what consists of what. Says its name, and whether it had to be stored.
    ///
    /// # Errors
    /// [`WriteError::Pack`]; then nothing changed. Finish the object and begin another with it.
    pub fn push_chunk(
        &mut self,
        plain: &[u8],
        ready: &mut Vec<Coded>,
    ) -> Result<(ChunkId, bool), WriteError> {
        let secret = self.secret.chunk(plain);
        let id = secret.id();
        if self.number(&id)?.is_some() {
            return Ok((id, false));
        }
        self.take_new(secret, plain, ready)?;
        Ok((id, true))
    }

    /// Names a chunk that this object or an earlier one has; false if none has it.
    ///
    /// # Errors
    /// As [`Writer::push_chunk`].
    pub fn reuse(&mut self, id: &ChunkId) -> Result<bool, WriteError> {
        Ok(self.number(id)?.is_some())
    }

    /// Whether this object or an earlier one has the chunk.
    #[must_use]
    pub fn has(&self, id: &ChunkId) -> bool {
        self.packer.number(id).is_some() || self.earlier.has(id)
    }

    /// The number in this object of a chunk that is stored, which may be given only now.
    fn number(&mut self, id: &ChunkId) -> Result<Option<u32>, PackError> {
        if let Some(number) = self.packer.number(id) {
            return Ok(Some(number));
        }
        let Some(place) = self.earlier.place(id) else { return Ok(None) };
        let known = self.adopted.get(&place.segment).copied();
        let (number, segment) = self.packer.adopt(*id, place, known)?;
        if known.is_none() {
            self.adopted.insert(place.segment, segment);
            keep(&mut self.segments, segment, self.earlier.segment(place.segment).clone());
        }
        Ok(Some(number))
    }

    /// Takes a chunk of whatever it is; says its number.
    fn take(&mut self, plain: &[u8], ready: &mut Vec<Coded>) -> Result<u32, PackError> {
        let secret = self.secret.chunk(plain);
        match self.number(&secret.id())? {
            Some(number) => Ok(number),
            None => self.take_new(secret, plain, ready),
        }
    }

    fn take_new(
        &mut self,
        secret: SealSecret,
        plain: &[u8],
        ready: &mut Vec<Coded>,
    ) -> Result<u32, PackError> {
        let open = self.packer.open_number();
        let (number, full) = self.packer.push_new(secret, plain)?;
        if let Some(segment) = full {
            self.code(open, segment, ready);
        }
        Ok(number)
    }

    fn code(&mut self, number: u32, segment: Vec<u8>, ready: &mut Vec<Coded>) {
        let code = self.settings.code;
        let coded = self.coder.encode(code, segment);
        let (length, fragments) = (coded.length() as u32, coded.names().to_vec());
        keep(&mut self.segments, number, Segment { length, code, fragments });
        ready.push(coded);
    }

    /// Begins a file; what is pushed from now on belongs to it.
    ///
    /// # Errors
    /// [`WriteError::File`]; nothing changed.
    pub fn begin(&mut self, name: &str) -> Result<(), WriteError> {
        if name.len() > FILE_NAME_BYTES_MAX || self.files.len() == FILES_MAX {
            return Err(WriteError::File);
        }
        self.files.push(File { name: name.into(), size: 0, chunks: Vec::new() });
        Ok(())
    }

    /// Takes the next bytes of the file that was begun; hands over what became complete.
    ///
    /// # Errors
    /// [`WriteError::Pack`]: the object is full, and the file in it not complete. Begin another
    /// object with it.
    pub fn push(&mut self, bytes: &[u8], ready: &mut Vec<Coded>) -> Result<(), WriteError> {
        self.cut(|chunker, take| chunker.push(bytes, take), ready)
    }

    /// The file is complete.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn end(&mut self, ready: &mut Vec<Coded>) -> Result<(), WriteError> {
        self.cut(|chunker, take| chunker.finish(take), ready)
    }

    fn cut(
        &mut self,
        feed: impl FnOnce(&mut Chunker, &mut dyn FnMut(&[u8])),
        ready: &mut Vec<Coded>,
    ) -> Result<(), WriteError> {
        if self.files.is_empty() {
            return Ok(());
        }
        // The chunker is apart while its chunks are taken.
        let empty = Chunker::new(self.settings.profile).expect("it was checked in the beginning");
        let mut chunker = std::mem::replace(&mut self.chunker, empty);
        let mut failed = None;
        feed(&mut chunker, &mut |chunk| {
            if failed.is_some() {
                return;
            }
            match (self.take(chunk, ready), self.files.last_mut()) {
                (Ok(number), Some(file)) => {
                    file.size += chunk.len() as u64;
                    file.chunks.push(number);
                }
                (Ok(_), None) => {}
                (Err(error), _) => failed = Some(error),
            }
        });
        self.chunker = chunker;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The object is complete: hands over the last segment, the manifest, and what opens it.
    ///
    /// # Errors
    /// [`WriteError::Manifest`].
    pub fn finish(self, ready: &mut Vec<Coded>) -> Result<(Manifest, ReadCapability), WriteError> {
        let secret = self.secret.clone();
        self.finish_under(|plain| secret.manifest(plain), ready)
    }

    /// As [`Writer::finish`], and whoever reads all versions of something named can read this one.
    ///
    /// # Errors
    /// [`WriteError::Manifest`].
    pub fn finish_under(
        self,
        secret: impl FnOnce(&[u8]) -> SealSecret,
        ready: &mut Vec<Coded>,
    ) -> Result<(Manifest, ReadCapability), WriteError> {
        let (manifest, capability, ..) = self.complete(secret, ready)?;
        Ok((manifest, capability))
    }

    /// As [`Writer::finish`], and the next object can build upon this one too.
    ///
    /// # Errors
    /// [`WriteError::Manifest`].
    pub fn finish_onward(self, ready: &mut Vec<Coded>) -> Result<Finished, WriteError> {
        let secret = self.secret.clone();
        let (manifest, capability, content, mut earlier) =
            self.complete(|plain| secret.manifest(plain), ready)?;
        earlier.add(&manifest, &content);
        Ok(Finished { manifest, capability, earlier })
    }

    fn complete(
        mut self,
        secret: impl FnOnce(&[u8]) -> SealSecret,
        ready: &mut Vec<Coded>,
    ) -> Result<(Manifest, ReadCapability, Content, Earlier), WriteError> {
        let open = self.packer.open_number();
        if let Some(segment) = self.packer.close() {
            self.code(open, segment, ready);
        }
        let segments: Vec<Segment> = self.segments.into_iter().flatten().collect();
        let count = self.packer.numbers() as usize;
        assert_eq!(segments.len(), count, "each number is a segment");
        let content = Content { chunks: self.packer.places().to_vec(), files: self.files };
        let (class, sealer) = (self.settings.class, self.packer.sealer());
        let (manifest, secret) = Manifest::seal(class, segments, &content, sealer, secret)?;
        let capability = ReadCapability::of_object(manifest.guid(), &secret);
        Ok((manifest, capability, content, self.earlier))
    }
}

/// Segments are complete in another order than their numbers are given.
fn keep(segments: &mut Vec<Option<Segment>>, number: u32, segment: Segment) {
    let number = number as usize;
    if segments.len() <= number {
        segments.resize(number + 1, None);
    }
    segments[number] = Some(segment);
}

/// Why an object cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The capability names another object, or something with versions.
    #[error(
        "the capability is not for this object but for another, or for something with versions"
    )]
    Capability,
    /// The manifest does not open.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A part was asked for that the file does not have.
    #[error("bytes {}..{} of a file with {size}", range.start, range.end)]
    Range {
        /// Asked for.
        range: Range<u64>,
        /// The file's size.
        size: u64,
    },
    /// A segment is needed that was not given.
    #[error("segment {0} is not there")]
    Segment(u32),
    /// A chunk does not open.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl Reader {
    /// Opens an object.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(manifest: &Manifest, capability: &ReadCapability) -> Result<Self, ReadError> {
        let (guid, secret) = capability.object().ok_or(ReadError::Capability)?;
        if manifest.guid() != guid {
            return Err(ReadError::Capability);
        }
        let mut sealer = Sealer::new(Cipher::ChaCha20Poly1305, LEVEL_DEFAULT);
        let content = manifest.open(&secret, &mut sealer)?;
        Ok(Self { content, sealer })
    }

    /// What is in it.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The segments that are needed to read this part of a file.
    #[must_use]
    pub fn needed(&self, file: &File, range: &Range<u64>) -> BTreeSet<u32> {
        let parts = self.parts(file, range);
        parts.map(|(chunk, _)| self.content.chunks[chunk as usize].segment).collect()
    }

    /// Appends a part of a file. `segment` gives the segments that [`Reader::needed`] named.
    ///
    /// # Errors
    /// [`ReadError`]; some of the bytes may have been appended.
    pub fn read<'a>(
        &mut self,
        file: &File,
        range: &Range<u64>,
        segment: impl Fn(u32) -> Option<&'a [u8]>,
        plain: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        if range.start > range.end || range.end > file.size {
            return Err(ReadError::Range { range: range.clone(), size: file.size });
        }
        let parts: Vec<(u32, Range<usize>)> = self.parts(file, range).collect();
        for (chunk, part) in parts {
            let place = &self.content.chunks[chunk as usize];
            let bytes = segment(place.segment).ok_or(ReadError::Segment(place.segment))?;
            let start = plain.len();
            open_chunk(&mut self.sealer, bytes, place, plain)?;
            plain.truncate(start + part.end);
            plain.drain(start..start + part.start);
        }
        Ok(())
    }

    /// The chunks that a part of a file touches, and which bytes of each.
    fn parts<'a>(
        &'a self,
        file: &'a File,
        range: &'a Range<u64>,
    ) -> impl Iterator<Item = (u32, Range<usize>)> + use<'a> {
        let mut at = 0;
        file.chunks.iter().filter_map(move |number| {
            let length = u64::from(self.content.chunks.get(*number as usize)?.length);
            let (from, until) = (at, at + length);
            at = until;
            let (start, end) = (range.start.max(from), range.end.min(until));
            (start < end).then(|| (*number, (start - from) as usize..(end - from) as usize))
        })
    }
}

/// The GUIDs under which the parts of an object are looked for: its own, and those of its
/// fragments.
#[must_use]
pub fn names(manifest: &Manifest) -> BTreeSet<Guid> {
    let fragments = manifest.segments.iter().flat_map(|segment| &segment.fragments);
    fragments.copied().chain([manifest.guid()]).collect()
}

#[cfg(test)]
mod tests;
