//! The list of all snapshots of a repository: the one thing that changes.
//!
//! It is the content of a named head that the owner's machines share. Two that write at a time each
//! write a list without the other's snapshot, so lists are merged by union; what was forgotten is
//! remembered by name, or another machine's list would bring it back.

use std::collections::BTreeMap;

use isos_base::{Guid, Time, codec};
use isos_store::capability::{ReadCapability, WriteCapability};
use isos_store::key::{SealSecret, StorageSecret};
use isos_store::object::{Reader, Settings, Writer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::contents::send;
use crate::create::Created;
use crate::error::BackupError;
use crate::limits::{
    CATALOGUE_BYTES_MAX, FORGOTTEN_MAX, LABEL_BYTES_MAX, PATH_BYTES_MAX, PATHS_MAX, SNAPSHOTS_MAX,
    TAGS_MAX,
};
use crate::progress::Stats;
use crate::snapshot::{Head, Part, fetch};
use crate::transfer::{Segments, Sink, Source, Wanted};

/// The file of a catalogue's object.
const FILE: &str = "catalogue";

/// All snapshots of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    /// By the names of their root objects.
    pub snapshots: BTreeMap<Guid, Listed>,
    /// Snapshots that are gone, and when they went.
    pub forgotten: BTreeMap<Guid, Time>,
}

/// A snapshot, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its root object, and what opens it.
    pub root: Part,
    /// When it was begun.
    pub time: Time,
    /// On which machine.
    pub host: String,
    /// By whom.
    pub user: String,
    /// What was kept.
    pub paths: Vec<Vec<u8>>,
    /// What people call it by.
    pub tags: Vec<String>,
    /// Whether files are missing in it.
    pub partial: bool,
    /// Counts.
    pub stats: Stats,
}

/// All versions of a catalogue that were ever stored.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1 { snapshots: Vec<Listed>, forgotten: Vec<(Guid, Time)> },
}

/// Why bytes are no catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CatalogueError {
    /// Longer than any, or more in it than there may be.
    #[error("a catalogue that is larger than any: {0}")]
    TooMuch(&'static str),
    /// Of another version.
    #[error("not a catalogue of a version that this isos knows")]
    Version(#[source] codec::DecodeError),
}

impl Listed {
    /// What a snapshot is listed by.
    #[must_use]
    pub fn of(capability: &ReadCapability, head: &Head) -> Self {
        Self {
            root: Part::of(capability),
            time: head.time,
            host: head.host.clone(),
            user: head.user.clone(),
            paths: head.paths.clone(),
            tags: head.tags.clone(),
            partial: head.partial,
            stats: head.stats,
        }
    }

    fn check(&self) -> Result<(), CatalogueError> {
        let mut labels = self.tags.iter().chain([&self.host, &self.user]);
        if self.paths.len() > PATHS_MAX
            || self.paths.iter().any(|path| path.len() > PATH_BYTES_MAX)
            || self.tags.len() > TAGS_MAX
            || labels.any(|label| label.len() > LABEL_BYTES_MAX)
        {
            return Err(CatalogueError::TooMuch("the paths, tags or names of a snapshot"));
        }
        Ok(())
    }
}

impl Catalogue {
    /// Lists a snapshot that was made.
    pub fn add(&mut self, created: &Created) {
        let listed = Listed::of(&created.capability, &created.head);
        self.snapshots.insert(listed.root.object, listed);
    }

    /// Takes a snapshot off the list, for all machines; false if it was not on it.
    pub fn remove(&mut self, id: &Guid, now: Time) -> bool {
        let was_there = self.snapshots.remove(id).is_some();
        if was_there {
            self.forgotten.insert(*id, now);
        }
        was_there
    }

    /// The snapshot to build upon: the last one of this machine with these paths.
    #[must_use]
    pub fn parent(&self, host: &str, paths: &[Vec<u8>]) -> Option<&Listed> {
        let alike = self.snapshots.values().filter(|it| it.host == host && it.paths == paths);
        alike.max_by_key(|it| (it.time, it.root.object))
    }

    /// By time, the oldest first.
    #[must_use]
    pub fn by_time(&self) -> Vec<&Listed> {
        let mut all: Vec<&Listed> = self.snapshots.values().collect();
        all.sort_by_key(|it| (it.time, it.root.object));
        all
    }

    /// Takes in what another machine wrote. In which order lists are merged makes no difference.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (id, time) in other.forgotten {
            let known = self.forgotten.entry(id).or_insert(time);
            *known = (*known).max(time);
        }
        self.snapshots.extend(other.snapshots);
        self.snapshots.retain(|id, _| !self.forgotten.contains_key(id));
        self
    }

    /// The bytes that are stored. Of more forgotten names than are kept, the oldest are left out.
    ///
    /// # Errors
    /// [`CatalogueError::TooMuch`].
    pub fn encode(&self) -> Result<Vec<u8>, CatalogueError> {
        let snapshots: Vec<Listed> = self.snapshots.values().cloned().collect();
        if snapshots.len() > SNAPSHOTS_MAX {
            return Err(CatalogueError::TooMuch("65,536 snapshots are the most: forget some"));
        }
        snapshots.iter().try_for_each(Listed::check)?;
        let mut forgotten: Vec<(Guid, Time)> =
            self.forgotten.iter().map(|(id, time)| (*id, *time)).collect();
        forgotten.sort_by_key(|(id, time)| (std::cmp::Reverse(*time), *id));
        forgotten.truncate(FORGOTTEN_MAX);
        forgotten.sort_unstable();
        let bytes = codec::encode(&Stored::V1 { snapshots, forgotten });
        if bytes.len() > CATALOGUE_BYTES_MAX {
            return Err(CatalogueError::TooMuch("64 MiB are the most: forget some snapshots"));
        }
        Ok(bytes)
    }

    /// Reads a catalogue.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogueError> {
        if bytes.len() > CATALOGUE_BYTES_MAX {
            return Err(CatalogueError::TooMuch("64 MiB are the most"));
        }
        let decoded = codec::decode(bytes).map_err(CatalogueError::Version)?;
        let Stored::V1 { snapshots, forgotten } = decoded;
        if snapshots.len() > SNAPSHOTS_MAX || forgotten.len() > FORGOTTEN_MAX {
            return Err(CatalogueError::TooMuch("65,536 snapshots are the most"));
        }
        snapshots.iter().try_for_each(Listed::check)?;
        let snapshots = snapshots.into_iter().map(|it| (it.root.object, it)).collect();
        Ok(Self { snapshots, forgotten: forgotten.into_iter().collect() })
    }

    /// Stores the catalogue as an object whose manifest is sealed under `secret`, which is that of
    /// the next version of the repository's head ([`ReadCapability::version_secret`]).
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn store(
        &self,
        owner: &StorageSecret,
        settings: Settings,
        secret: &SealSecret,
        sink: &mut dyn Sink,
    ) -> Result<ReadCapability, BackupError> {
        let bytes = self.encode().map_err(|_| BackupError::TooMuch("its catalogue"))?;
        let mut ready = Vec::new();
        let mut writer = Writer::new(owner.clone(), settings)?;
        writer.begin(FILE)?;
        writer.push(&bytes, &mut ready)?;
        writer.end(&mut ready)?;
        let (manifest, capability) = writer.finish_under(|_| secret.clone(), &mut ready)?;
        send(&mut ready, sink, &mut Stats::default())?;
        sink.object(&manifest, &capability).map_err(BackupError::Sink)?;
        Ok(capability)
    }

    /// Reads a catalogue that was stored as this object.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn load(source: &mut dyn Source, capability: &ReadCapability) -> Result<Self, BackupError> {
        let (object, _) = capability.object().ok_or(isos_store::object::ReadError::Capability)?;
        let manifest = fetch(source, &object)?;
        let mut reader = Reader::open(&manifest, capability)?;
        let file = reader.content().file(FILE).cloned();
        let file = file.ok_or(BackupError::NotASnapshot(None))?;
        if file.size > CATALOGUE_BYTES_MAX as u64 {
            return Err(BackupError::Head("its catalogue is larger than any"));
        }
        let mut segments = Segments::new(source);
        let mut fetched = BTreeMap::new();
        for number in reader.needed(&file, &(0..file.size)) {
            let segment = &manifest.segments[number as usize];
            let wanted = Wanted { object, number, segment };
            let bytes = segments.get(segment.id(), &wanted).map_err(BackupError::Source)?;
            fetched.insert(number, bytes);
        }
        let mut plain = Vec::new();
        let given = |number: u32| fetched.get(&number).map(|bytes| &bytes[..]);
        reader.read(&file, &(0..file.size), given, &mut plain)?;
        Self::decode(&plain).map_err(BackupError::Catalogue)
    }
}

/// What signs the versions of a repository's catalogue: found again from the storage secret alone.
#[must_use]
pub fn repository(owner: &StorageSecret, name: &str) -> WriteCapability {
    WriteCapability::new(owner.name_seed(&format!("backup/{name}")))
}
