//! What a user calls his objects: names, capabilities, how full leases are. A file of his own; who
//! has it can read everything in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use isos_base::{Bytes, Guid, LeaseId, Time};
use isos_store::capability::WriteCapability;
use isos_store::class::Class;
use isos_store::head::Version;
use serde::{Deserialize, Serialize};

use super::{PutFile, PutOptions, Store, StoreError};
use crate::local::write_private;
use crate::objects::Source;

/// A catalogue with more objects is refused: it would be read whole for each command.
const ENTRIES_MAX: usize = 100_000;
/// Characters of a name.
const NAME_CHARS_MAX: usize = 1_024;
/// The version that is written.
const VERSION: u32 = 1;

/// The names of a user's objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    version: u32,
    /// By name.
    pub objects: BTreeMap<String, Entry>,
    /// Bytes that lie under each lease, as far as this user has put them.
    pub used: BTreeMap<LeaseId, Bytes>,
    /// The object as which it was published last.
    #[serde(default)]
    pub published: Option<Guid>,
    /// The version of what was published that is in it.
    #[serde(default)]
    pub seen: u64,
    /// Objects that were given up, so that an older list of another machine does not bring their
    /// names back.
    #[serde(default)]
    pub removed: BTreeSet<Guid>,
}

/// An object with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Opens it: the text of a read capability.
    pub capability: String,
    /// Its name among hosts.
    pub guid: Guid,
    /// How it is kept.
    pub class: Class,
    /// How its segments are coded: m, n.
    pub code: (u16, u16),
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: Bytes,
    /// Bytes that hosts keep for it.
    pub stored: Bytes,
    /// Whether it is a folder; else one file.
    pub is_folder: bool,
    /// When it was put.
    pub put: Time,
}

impl Default for Catalogue {
    fn default() -> Self {
        let (objects, used) = (BTreeMap::new(), BTreeMap::new());
        let (published, seen, removed) = (None, 0, BTreeSet::new());
        Self { version: VERSION, objects, used, published, seen, removed }
    }
}

/// Under which name a catalogue is published, and what its file is called.
const PUBLISHED: &str = "catalogue";
/// What errors call it.
const TITLE: &str = "the list of your objects";
/// A published catalogue.
const BYTES_MAX: Bytes = Bytes::mib(64);

impl Store {
    /// Puts the catalogue where another machine with the same secret finds it. The object that was
    /// published before is given up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn publish_catalogue(&self, catalogue: &mut Catalogue) -> Result<u64, StoreError> {
        let name = self.catalogue_name();
        let newest = self.surely_newest(&name, TITLE).await?;
        let after = newest.as_ref().map_or(0, |version| version.number);
        // Another machine of this user has published since: what it says counts, too.
        if let Some(newest) = newest.filter(|newest| newest.number > catalogue.seen) {
            catalogue.merge(self.read_catalogue(&newest).await?);
        }
        let bytes = catalogue.to_bytes();
        if bytes.len() as u64 > BYTES_MAX.0 || !catalogue.has_room_for(0) {
            return Err(StoreError::InTheWay("the list of objects is too long to publish".into()));
        }
        let (file_name, size) = (PUBLISHED.to_owned(), Bytes(bytes.len() as u64));
        let file = PutFile { name: file_name, source: Source::Bytes(bytes.into()), size };
        let options = PutOptions::default();
        let stored = self.put(vec![file], &options, &catalogue.used, |_| ()).await?;
        catalogue.add_used(&stored.fragments.leases);
        let version = self.publish(&name, TITLE, after, &stored.capability).await?;
        catalogue.seen = version;
        let before = catalogue.published.replace(stored.guid);
        if let Some(before) = before.filter(|before| *before != stored.guid)
            && let Ok(manifest) = self.manifest(&before).await
        {
            // What is left of it goes with its leases.
            if let Ok(removed) = self.remove(&[manifest], &[stored.manifest]).await {
                catalogue.take_used(&removed.leases);
            }
        }
        Ok(version)
    }

    fn catalogue_name(&self) -> WriteCapability {
        WriteCapability::new(self.secret().name_seed(PUBLISHED))
    }

    /// The newest catalogue that was published, if one was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn published_catalogue(&self) -> Result<Option<Catalogue>, StoreError> {
        let Some(version) = self.newest(&self.catalogue_name()).await? else { return Ok(None) };
        self.read_catalogue(&version).await.map(Some)
    }

    /// The same, by the word of more than half of the hosts: for who will change it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn surely_published_catalogue(&self) -> Result<Option<Catalogue>, StoreError> {
        let newest = self.surely_newest(&self.catalogue_name(), TITLE).await?;
        let Some(version) = newest else { return Ok(None) };
        self.read_catalogue(&version).await.map(Some)
    }

    async fn read_catalogue(&self, version: &Version) -> Result<Catalogue, StoreError> {
        let mut object = self.open_object(&version.object).await?;
        let bytes = self.read_file(&mut object, PUBLISHED, BYTES_MAX).await?;
        let mut found = Catalogue::of_bytes(&bytes)
            .map_err(|why| StoreError::InTheWay(format!("the published catalogue: {why}")))?;
        found.published = Some(object.manifest().guid());
        found.seen = version.number;
        Ok(found)
    }
}

impl Catalogue {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("names and numbers only")
    }

    fn of_bytes(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if read.version != VERSION {
            return Err(format!("version {}, this isos knows {VERSION}", read.version));
        }
        if read.objects.len() > ENTRIES_MAX {
            return Err(format!("more than {ENTRIES_MAX} objects"));
        }
        Ok(read)
    }

    /// Reads a catalogue; an empty one, if there is none.
    ///
    /// # Errors
    /// [`StoreError::File`] or [`StoreError::InTheWay`].
    pub fn load(path: &Path) -> Result<Self, StoreError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(StoreError::file("read", path)(error)),
        };
        let bad = |why: String| {
            StoreError::InTheWay(format!(
                "{} is no catalogue of objects ({why}): put back a copy of it, or move it away",
                path.display()
            ))
        };
        Self::of_bytes(&text).map_err(bad)
    }

    /// Writes it, whole or not at all, for its owner's eyes only.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub fn save(&self, path: &Path) -> Result<(), StoreError> {
        write_private(path, &self.to_bytes()).map_err(StoreError::file("write", path))
    }

    /// Whether something may be called so.
    ///
    /// # Errors
    /// [`StoreError::InTheWay`].
    pub fn check_name(name: &str) -> Result<(), StoreError> {
        let is_plain = !name.is_empty()
            && name.chars().count() <= NAME_CHARS_MAX
            && !name.chars().any(char::is_control);
        if is_plain && !name.starts_with("isosr1") {
            return Ok(());
        }
        let why = format!(
            "{name:?} cannot be the name of an object: 1 to {NAME_CHARS_MAX} characters, no control \
             characters, and not the beginning of a capability; say another with --name"
        );
        Err(StoreError::InTheWay(why))
    }

    /// Whether so many more objects can be listed.
    #[must_use]
    pub fn has_room_for(&self, more: usize) -> bool {
        self.objects.len().saturating_add(more) <= ENTRIES_MAX
    }

    /// Takes a name off the list, and remembers that its object was given up if no other name is
    /// for it.
    pub fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.objects.remove(name)?;
        if self.objects.values().all(|other| other.guid != entry.guid) {
            while self.removed.len() >= ENTRIES_MAX {
                self.removed.pop_first();
            }
            self.removed.insert(entry.guid);
        }
        Some(entry)
    }

    /// Takes in what another machine of the same user has published.
    pub fn merge(&mut self, theirs: Self) {
        self.removed.extend(theirs.removed);
        for (name, entry) in theirs.objects {
            // Of two that have one name, that stays which is here; the other one under another.
            let is_other = self.objects.get(&name).is_some_and(|ours| ours.guid != entry.guid);
            let name = if is_other { format!("{name} ({})", entry.guid.short()) } else { name };
            self.objects.entry(name).or_insert(entry);
        }
        let removed = std::mem::take(&mut self.removed);
        self.objects.retain(|_, entry| !removed.contains(&entry.guid));
        self.removed = removed;
        for (lease, bytes) in theirs.used {
            let used = self.used.entry(lease).or_default();
            *used = (*used).max(bytes);
        }
        (self.published, self.seen) = (theirs.published, theirs.seen);
    }

    /// Counts what was added to leases.
    pub fn add_used(&mut self, leases: &BTreeMap<LeaseId, Bytes>) {
        for (lease, bytes) in leases {
            self.used.entry(*lease).or_default().0 += bytes.0;
        }
    }

    /// Counts what became free.
    pub fn take_used(&mut self, leases: &BTreeMap<LeaseId, Bytes>) {
        for (lease, bytes) in leases {
            if let Some(used) = self.used.get_mut(lease) {
                used.0 = used.0.saturating_sub(bytes.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            capability: "isosr1x".into(),
            guid: Guid::of(b"x"),
            class: Class::Standard,
            code: (3, 10),
            files: 1,
            bytes: Bytes(5),
            stored: Bytes(50),
            is_folder: false,
            put: Time(1),
        }
    }

    #[test]
    fn a_catalogue_is_read_as_it_was_written_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/objects.json");
        assert_eq!(Catalogue::load(&path).unwrap(), Catalogue::default());
        let mut catalogue = Catalogue::default();
        catalogue.objects.insert("a b".into(), entry());
        catalogue.add_used(&BTreeMap::from([(LeaseId(3), Bytes(7))]));
        catalogue.take_used(&BTreeMap::from([(LeaseId(3), Bytes(9)), (LeaseId(4), Bytes(1))]));
        catalogue.save(&path).unwrap();
        catalogue.save(&path).unwrap();
        assert_eq!(Catalogue::load(&path).unwrap(), catalogue);
        #[cfg(unix)]
        {
            let mode = std::fs::metadata(&path).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(&path, "{").unwrap();
        assert!(Catalogue::load(&path).unwrap_err().to_string().contains("no catalogue"));
        std::fs::write(&path, r#"{"version":9,"objects":{},"used":{}}"#).unwrap();
        assert!(Catalogue::load(&path).unwrap_err().to_string().contains("version 9"));
    }

    #[test]
    fn two_lists_become_one_and_what_was_removed_does_not_return() {
        let named = |text: &[u8]| Entry { guid: Guid::of(text), ..entry() };
        let mut ours = Catalogue::default();
        ours.objects.insert("a".into(), named(b"a"));
        ours.objects.insert("both".into(), named(b"ours"));
        ours.objects.insert("gone".into(), named(b"gone"));
        let mut theirs = ours.clone();
        assert!(ours.remove("gone").is_some());
        theirs.objects.insert("b".into(), named(b"b"));
        theirs.objects.insert("both".into(), named(b"theirs"));
        theirs.remove("a");
        theirs.seen = 7;
        ours.merge(theirs);
        let names: Vec<&str> = ours.objects.keys().map(String::as_str).collect();
        let other = format!("both ({})", Guid::of(b"theirs").short());
        assert_eq!(names, ["b", "both", &other]);
        assert_eq!(ours.seen, 7);
    }

    #[test]
    fn names_are_names() {
        assert!(Catalogue::check_name("holiday photos 2026").is_ok());
        for bad in ["", "a\nb", "isosr1abc"] {
            assert!(Catalogue::check_name(bad).is_err(), "{bad:?}");
        }
    }
}
