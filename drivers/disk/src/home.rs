//! A folder that belongs to one running process: its keys, its small files, its shelf.
//!
//! Not a configuration reader, and not shared: a second process is told who has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isos_base::{Bytes, limits};
use thiserror::Error;

use crate::error::ShelfError;
use crate::packs::{Opened, PackError, PackSettings, Packs};
use crate::shelf::{Durability, Shelf, ShelfLimits};
use crate::storage::{Disk, Storage, create_durably};

/// A file of a home: keys, policies, saved machines. Larger things are objects.
pub const HOME_FILE_BYTES_MAX: Bytes = Bytes::mib(64);

const LOCK: &str = "lock";
const OBJECTS: &str = "objects";
const FRAGMENTS: &str = "fragments";
const TEMP_SUFFIX: &str = ".tmp";

/// Why a home, or a file in it, is not to be had. None of these changes what was there.
#[derive(Debug, Error)]
pub enum HomeError {
    /// Another process has the folder.
    #[error(
        "another isos runs in {}{}: stop it, or choose another folder with --home",
        dir.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// The other process, when it said so.
        pid: Option<u32>,
    },
    /// Anyone could change our keys.
    #[error("everybody may write to {}: run chmod o-w on it", dir.display())]
    Open {
        /// The folder.
        dir: PathBuf,
    },
    /// Others could read a secret.
    #[error(
        "the secret {} can be read by others (mode {mode:03o}): run chmod 600 on it, and if they \
         might have read it, remove it so that a new one is made",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret of the wrong length.
    #[error("the secret {} has {size} bytes instead of 32: restore it from a copy", path.display())]
    NotASecret {
        /// The file.
        path: PathBuf,
        /// Its length.
        size: usize,
    },
    /// A name that is no plain file name, or one that the home uses itself.
    #[error(
        "{name:?} is no name for a file of a home: use 1 to {} letters, digits, '-', '_' and \
         '.', not first",
        limits::NAME_CHARS_MAX
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A file that is too large.
    #[error("{} is larger than {HOME_FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A folder of this process alone, for as long as this value lives.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    /// Held, never read again: closing it gives the lock back, even by `kill -9`.
    _lock: File,
}

impl Home {
    /// Takes the folder, creating it (0700) if need be, and clears what a crash left behind.
    ///
    /// # Errors
    /// Another process has it, everybody may write to it, or the disk refuses.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        Self::open_on(Arc::new(Disk), dir)
    }

    pub(crate) fn open_on(storage: Arc<dyn Storage>, dir: &Path) -> Result<Self, HomeError> {
        let fail = |what| move |source| error(what, dir, source);
        create_durably(&*storage, dir).map_err(fail("create"))?;
        // Absolute, so that a later change of the working directory changes nothing.
        let dir = dir.canonicalize().map_err(fail("find"))?;
        let mode = dir.metadata().map_err(|e| error("look at", &dir, e))?.mode();
        if mode & 0o002 != 0 {
            return Err(HomeError::Open { dir });
        }
        let lock = take_lock(&dir)?;
        let home = Self { dir, storage, _lock: lock };
        home.clear_leftovers()?;
        Ok(home)
    }

    /// The folder, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shelf in this home, under `objects`.
    ///
    /// # Errors
    /// As [`Shelf::open`].
    pub fn shelf(&self, limits: ShelfLimits, durability: Durability) -> Result<Shelf, ShelfError> {
        Shelf::open_on(Arc::clone(&self.storage), &self.dir.join(OBJECTS), limits, durability)
    }

    /// The packs of fragments in this home, under `fragments`.
    ///
    /// # Errors
    /// As [`Packs::open`].
    pub fn packs(&self, settings: PackSettings) -> Result<(Packs, Opened), PackError> {
        Packs::open_on(Arc::clone(&self.storage), &self.packs_dir(), settings)
    }

    /// Where they are, or would be.
    #[must_use]
    pub fn packs_dir(&self) -> PathBuf {
        self.dir.join(FRAGMENTS)
    }

    /// Whether there are packs, be they empty.
    #[must_use]
    pub fn has_packs(&self) -> bool {
        self.packs_dir().is_dir()
    }

    /// The 32-byte secret of this name: read, or made of the system's randomness and kept (0600).
    ///
    /// # Errors
    /// Others can read it, it is no secret, the name is not plain, or the disk refuses. A secret
    /// that is there is never replaced.
    pub fn key(&self, name: &str) -> Result<[u8; 32], HomeError> {
        let path = self.path(name)?;
        match path.metadata() {
            Ok(found) if found.mode() & 0o077 != 0 => {
                let mode = found.mode() & 0o777;
                return Err(HomeError::Exposed { path, mode });
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(error("look at", &path, e)),
        }
        if let Some(bytes) = self.read(name)? {
            let size = bytes.len();
            return bytes.try_into().map_err(|_| HomeError::NotASecret { path, size });
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| error("make", &path, io::Error::other(e)))?;
        self.write(name, &secret)?;
        Ok(secret)
    }

    /// Replaces the file of this name, atomically and durably: after a crash it has the old
    /// content or the new. Only this user can read it.
    ///
    /// # Errors
    /// The content is larger than [`HOME_FILE_BYTES_MAX`], the name is not plain, or the disk
    /// refuses. The old content is still there, except when only the last step failed (the folder
    /// could not be synced): then the new content is there, perhaps not for good.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let path = self.path(name)?;
        if bytes.len() > HOME_FILE_BYTES_MAX.as_usize() {
            return Err(HomeError::TooLarge { path });
        }
        let temp = self.dir.join(format!("{name}{TEMP_SUFFIX}"));
        let written = self.write_temp(&temp, bytes).and_then(|()| {
            self.storage.rename(&temp, &path).map_err(|e| error("replace", &path, e))
        });
        if written.is_err() {
            // Best effort: what stays is removed when the home is opened next.
            let _ = self.storage.remove(&temp);
        }
        written?;
        self.storage.sync_folder(&self.dir).map_err(|e| error("sync", &self.dir, e))
    }

    /// The file of this name, if there is one.
    ///
    /// # Errors
    /// It is larger than [`HOME_FILE_BYTES_MAX`], the name is not plain, or the disk refuses.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let path = self.path(name)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error("open", &path, e)),
        };
        let mut bytes = Vec::new();
        file.take(HOME_FILE_BYTES_MAX.0 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| error("read", &path, e))?;
        if bytes.len() > HOME_FILE_BYTES_MAX.as_usize() {
            return Err(HomeError::TooLarge { path });
        }
        Ok(Some(bytes))
    }

    /// Removes the file of this name; nothing to do if there is none.
    ///
    /// # Errors
    /// The name is not plain, or the disk refuses.
    pub fn remove(&self, name: &str) -> Result<(), HomeError> {
        let path = self.path(name)?;
        match self.storage.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error("remove", &path, e)),
            _ => self.storage.sync_folder(&self.dir).map_err(|e| error("sync", &self.dir, e)),
        }
    }

    fn write_temp(&self, temp: &Path, bytes: &[u8]) -> Result<(), HomeError> {
        let fail = |what| move |source| error(what, temp, source);
        let mut file = self.storage.create(temp).map_err(fail("create"))?;
        self.storage.write(&mut file, temp, bytes).map_err(fail("write"))?;
        self.storage.sync(&file, temp).map_err(fail("sync"))
    }

    fn path(&self, name: &str) -> Result<PathBuf, HomeError> {
        let plain = (1..=limits::NAME_CHARS_MAX).contains(&name.len())
            && !name.starts_with('.')
            && !name.ends_with(TEMP_SUFFIX)
            && ![LOCK, OBJECTS, FRAGMENTS].contains(&name)
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if plain { Ok(self.dir.join(name)) } else { Err(HomeError::Name { name: name.into() }) }
    }

    fn clear_leftovers(&self) -> Result<(), HomeError> {
        let entries = self.dir.read_dir().map_err(|e| error("list", &self.dir, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| error("list", &self.dir, e))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().ends_with(TEMP_SUFFIX) && path.is_file() {
                self.storage.remove(&path).map_err(|e| error("remove", &path, e))?;
            }
        }
        Ok(())
    }
}

/// Locks the folder's lock file and writes our process id into it, for whoever comes second.
fn take_lock(dir: &Path) -> Result<File, HomeError> {
    let path = dir.join(LOCK);
    let fail = |what| {
        let path = path.clone();
        move |source| error(what, &path, source)
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The pid is a courtesy: unreadable, it is left out.
            let _ = (&file).take(16).read_to_string(&mut pid);
            let pid = pid.trim().parse().ok();
            return Err(HomeError::Busy { dir: dir.into(), pid });
        }
        Err(TryLockError::Error(e)) => return Err(error("lock", &path, e)),
    }
    file.set_len(0).map_err(fail("write"))?;
    file.rewind().map_err(fail("write"))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(fail("write"))?;
    Ok(file)
}

fn error(what: &'static str, path: &Path, source: io::Error) -> HomeError {
    HomeError::Disk { what, path: path.into(), source }
}
