//! What a user calls his objects: names, capabilities, how full leases are. A file of his own; who
//! has it can read everything in it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use isos_base::{Bytes, Guid, LeaseId, Time};
use isos_store::capability::WriteCapability;
use isos_store::class::Class;
use serde::{Deserialize, Serialize};

use super::{PutFile, PutOptions, Store, StoreError};
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
        Self { version: VERSION, objects, used, published: None }
    }
}

/// Under which name a catalogue is published, and what its file is called.
const PUBLISHED: &str = "catalogue";
/// A published catalogue.
const BYTES_MAX: Bytes = Bytes::mib(64);

impl Store {
    /// Puts the catalogue where another machine with the same secret finds it. The object that was
    /// published before is given up.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn publish_catalogue(&self, catalogue: &mut Catalogue) -> Result<u64, StoreError> {
        let bytes = catalogue.to_bytes();
        let (name, size) = (PUBLISHED.to_owned(), Bytes(bytes.len() as u64));
        let file = PutFile { name, source: Source::Bytes(bytes.into()), size };
        let options = PutOptions::default();
        let stored = self.put(vec![file], &options, &catalogue.used, |_| ()).await?;
        catalogue.add_used(&stored.fragments.leases);
        let name = self.catalogue_name();
        let after = self.newest(&name).await?.map_or(0, |version| version.number);
        let version = self.publish(&name, "the catalogue", after, &stored.capability).await?;
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
        let mut object = self.open_object(&version.object).await?;
        let bytes = self.read_file(&mut object, PUBLISHED, BYTES_MAX).await?;
        let mut found = Catalogue::of_bytes(&bytes)
            .map_err(|why| StoreError::InTheWay(format!("the published catalogue: {why}")))?;
        found.published = Some(object.manifest().guid());
        Ok(Some(found))
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
        let fail = |source| StoreError::file("write", path)(source);
        let text = self.to_bytes();
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let beside = path.with_extension("part");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&beside).map_err(fail)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(fail)?;
        std::fs::rename(&beside, path).map_err(fail)
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
    fn names_are_names() {
        assert!(Catalogue::check_name("holiday photos 2026").is_ok());
        for bad in ["", "a\nb", "isosr1abc"] {
            assert!(Catalogue::check_name(bad).is_err(), "{bad:?}");
        }
    }
}
