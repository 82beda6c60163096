//! A snapshot: a small root object with a head and a tree, and the objects with file contents that
//! the head names.
//!
//! ```text
//! root object    "tree": frames of entries      "snapshot": Stored::V1(Head)
//!                                                  |
//! objects of about a GiB, chunks without files  <--+  each with what opens it
//! ```
//!
//! Where objects of contents end follows from their chunks, as chunks follow from bytes. So a
//! snapshot names most objects of the one before as they are, and only those in which something
//! changed get a new manifest.

use isos_base::{Guid, Time, codec};
use isos_store::capability::ReadCapability;
use isos_store::earlier::Earlier;
use isos_store::key::{SealSecret, Secret};
use isos_store::manifest::{File, Manifest};
use isos_store::object::Reader;
use serde::{Deserialize, Serialize};

use crate::entry::Record;
use crate::error::BackupError;
use crate::limits::{
    HEAD_BYTES_MAX, LABEL_BYTES_MAX, OBJECTS_MAX, PATH_BYTES_MAX, PATHS_MAX, TAGS_MAX,
};
use crate::progress::Stats;
use crate::transfer::{Segments, Source, Wanted};
use crate::tree::{Decoder, Visit};

/// The file of the root object that has the head.
pub(crate) const HEAD: &str = "snapshot";
/// The file of the root object that has the tree.
pub(crate) const TREE: &str = "tree";
/// Bytes of a tree that are read at a time.
const TREE_PIECE: u64 = 512 << 10;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// When it was begun.
    pub time: Time,
    /// On which machine.
    pub host: String,
    /// By whom.
    pub user: String,
    /// The folders and files that were kept, absolute.
    pub paths: Vec<Vec<u8>>,
    /// What people call it by.
    pub tags: Vec<String>,
    /// The snapshot that it was built upon.
    pub parent: Option<Guid>,
    /// Whether files are missing that could not be read.
    pub partial: bool,
    /// Counts.
    pub stats: Stats,
    /// Where the contents are.
    pub objects: Vec<Part>,
}

/// An object of contents, and what opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub object: Guid,
    /// The secret of its read capability.
    pub secret: [u8; 32],
}

/// All versions of a head that were ever stored.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Head),
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({})", self.object)
    }
}

impl Part {
    pub(crate) fn of(capability: &ReadCapability) -> Self {
        let (object, secret) = capability.object().expect("it is of an object that was finished");
        Self { object, secret: *secret.secret().bytes() }
    }

    /// What opens the object.
    #[must_use]
    pub fn capability(&self) -> ReadCapability {
        let secret = SealSecret::from_secret(Secret::new(self.secret));
        ReadCapability::of_object(self.object, &secret)
    }
}

impl Head {
    /// As it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&Stored::V1(self.clone()))
    }

    /// Reads the head of a snapshot that anybody may have made.
    ///
    /// # Errors
    /// [`BackupError::NotASnapshot`], [`BackupError::Head`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(BackupError::Head("its head is too long"));
        }
        let decoded = codec::decode(bytes);
        let Stored::V1(head) = decoded.map_err(|why| BackupError::NotASnapshot(Some(why)))?;
        head.check()?;
        Ok(head)
    }

    /// Whether it is within all limits.
    ///
    /// # Errors
    /// [`BackupError::Head`].
    pub fn check(&self) -> Result<(), BackupError> {
        let labels = self.tags.iter().chain([&self.host, &self.user]);
        let what = if self.paths.len() > PATHS_MAX {
            "it has more than 1,024 paths"
        } else if self.paths.iter().any(|path| path.len() > PATH_BYTES_MAX) {
            "a path has more than 4,096 bytes"
        } else if self.tags.len() > TAGS_MAX {
            "it has more than 64 tags"
        } else if labels.into_iter().any(|label| label.len() > LABEL_BYTES_MAX) {
            "a tag or the name of a host or user has more than 256 bytes"
        } else if self.objects.len() > OBJECTS_MAX {
            "it has more than 65,536 objects"
        } else {
            return Ok(());
        };
        Err(BackupError::Head(what))
    }
}

/// A snapshot that was opened: its head is here, its tree and its contents can be read.
#[derive(Debug)]
pub struct Snapshot {
    head: Head,
    object: Guid,
    manifest: Manifest,
    ids: Vec<Guid>,
    reader: Reader,
    tree: File,
}

/// Walks over the tree of a snapshot.
#[derive(Debug)]
pub struct Cursor {
    at: u64,
    decoder: Decoder,
}

impl Snapshot {
    /// Opens the snapshot with this root object.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(source: &mut dyn Source, capability: &ReadCapability) -> Result<Self, BackupError> {
        let (object, _) = capability.object().ok_or(isos_store::object::ReadError::Capability)?;
        let manifest = fetch(source, &object)?;
        let reader = Reader::open(&manifest, capability)?;
        let file = |name| reader.content().file(name).cloned();
        let (Some(tree), Some(file)) = (file(TREE), file(HEAD)) else {
            return Err(BackupError::NotASnapshot(None));
        };
        let ids = manifest.segments.iter().map(|segment| segment.id()).collect();
        let head = Head::default();
        let mut snapshot = Self { head, object, manifest, ids, reader, tree };
        if file.size > HEAD_BYTES_MAX as u64 {
            return Err(BackupError::Head("its head is too long"));
        }
        let mut segments = Segments::new(source);
        let bytes = snapshot.read(&mut segments, &file, 0..file.size)?;
        snapshot.head = Head::decode(&bytes)?;
        Ok(snapshot)
    }

    /// What it says of itself.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Its name: that of its root object.
    #[must_use]
    pub const fn id(&self) -> Guid {
        self.object
    }

    /// The open part of its root object.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its tree, from the beginning.
    #[must_use]
    pub fn walk(&self) -> Cursor {
        Cursor { at: 0, decoder: Decoder::default() }
    }

    /// What its root object has, for the next one to build upon.
    pub(crate) fn earlier(&self) -> Earlier {
        let mut earlier = Earlier::new();
        earlier.add(&self.manifest, self.reader.content());
        earlier
    }

    fn read(
        &mut self,
        segments: &mut Segments<'_>,
        file: &File,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<u8>, BackupError> {
        let needed = self.reader.needed(file, &range);
        let mut fetched = std::collections::BTreeMap::new();
        for number in needed {
            let at = number as usize;
            let segment = &self.manifest.segments[at];
            let wanted = Wanted { object: self.object, number, segment };
            let bytes = segments.get(self.ids[at], &wanted).map_err(BackupError::Source)?;
            fetched.insert(number, bytes);
        }
        let mut plain = Vec::new();
        let given = |number: u32| fetched.get(&number).map(|bytes| &bytes[..]);
        self.reader.read(file, &range, given, &mut plain)?;
        Ok(plain)
    }
}

impl Cursor {
    /// What comes next in the tree; nothing at its end.
    ///
    /// # Errors
    /// [`BackupError`].
    pub(crate) fn next(
        &mut self,
        snapshot: &mut Snapshot,
        segments: &mut Segments<'_>,
    ) -> Result<Option<Visit>, BackupError> {
        loop {
            if let Some(visit) = self.decoder.visit()? {
                return Ok(Some(visit));
            }
            let size = snapshot.tree.size;
            if self.at == size {
                self.decoder.end()?;
                return Ok(None);
            }
            let end = size.min(self.at + TREE_PIECE);
            let tree = snapshot.tree.clone();
            let bytes = snapshot.read(segments, &tree, self.at..end)?;
            self.decoder.push(&bytes);
            self.at = end;
        }
    }

    /// As [`Cursor::next`], but for the contents of the folder that was entered last: they are
    /// passed over.
    pub(crate) fn pass_over(
        &mut self,
        snapshot: &mut Snapshot,
        segments: &mut Segments<'_>,
    ) -> Result<(), BackupError> {
        let mut depth = 1_u32;
        while depth > 0 {
            match self.next(snapshot, segments)? {
                Some(Visit::Entry(visited)) => depth += u32::from(visited.entry.is_folder()),
                Some(Visit::Up) => depth -= 1,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// The bytes of a tree that these records make.
#[must_use]
pub fn tree_bytes(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| crate::entry::put(record.clone(), &mut bytes));
    bytes
}

/// The manifest of an object, checked to be it.
pub(crate) fn fetch(source: &mut dyn Source, object: &Guid) -> Result<Manifest, BackupError> {
    let manifest = source.manifest(object).map_err(BackupError::Source)?;
    let got = manifest.guid();
    if got == *object {
        Ok(manifest)
    } else {
        Err(BackupError::Manifest(
            *object,
            isos_store::manifest::ManifestError::OtherObject { got, wanted: *object },
        ))
    }
}
