//! All stages in a row: files in, coded segments and a manifest out; and back.
//!
//! For one thread: a shell with several gives each its own coder and runs the same stages apart. At
//! most one chunk, the segment that is being filled and the one that is handed over are in memory.

use std::collections::BTreeSet;
use std::ops::Range;

use isos_base::Guid;
use thiserror::Error;

use crate::capability::ReadCapability;
use crate::chunk::{Chunker, Profile};
use crate::class::Class;
use crate::code::{Code, Coded, Coder};
use crate::key::{SealSecret, StorageSecret};
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
    segments: Vec<Segment>,
    files: Vec<File>,
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
        let (segments, files) = (Vec::new(), Vec::new());
        Ok(Self { settings, secret, chunker, packer, coder: Coder::new(), segments, files })
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
        let Self { settings, chunker, packer, coder, segments, files, .. } = self;
        let Some(file) = files.last_mut() else { return Ok(()) };
        let mut failed = None;
        feed(chunker, &mut |chunk| {
            if failed.is_some() {
                return;
            }
            match packer.push(chunk) {
                Ok((number, full)) => {
                    file.size += chunk.len() as u64;
                    file.chunks.push(number);
                    ready.extend(full.map(|segment| code(settings.code, coder, segments, segment)));
                }
                Err(error) => failed = Some(error),
            }
        });
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
        mut self,
        secret: impl FnOnce(&[u8]) -> SealSecret,
        ready: &mut Vec<Coded>,
    ) -> Result<(Manifest, ReadCapability), WriteError> {
        let last = self.packer.close();
        ready.extend(
            last.map(|segment| {
                code(self.settings.code, &mut self.coder, &mut self.segments, segment)
            }),
        );
        let content = Content { chunks: self.packer.places().to_vec(), files: self.files };
        let (class, sealer) = (self.settings.class, self.packer.sealer());
        let (manifest, secret) = Manifest::seal(class, self.segments, &content, sealer, secret)?;
        let capability = ReadCapability::of_object(manifest.guid(), &secret);
        Ok((manifest, capability))
    }
}

fn code(code: Code, coder: &mut Coder, segments: &mut Vec<Segment>, segment: Vec<u8>) -> Coded {
    let coded = coder.encode(code, segment);
    segments.push(Segment { length: coded.length() as u32, code, fragments: coded.names() });
    coded
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
