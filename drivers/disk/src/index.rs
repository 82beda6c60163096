//! What is on the shelf, and the steps that keep the count and the disk one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use isos_base::{Bytes, Guid, Time, limits};

use crate::error::{ShelfError, error};
use crate::shelf::{Durability, ShelfLimits};
use crate::storage::{Space, Storage, create_durably};

const TMP: &str = "tmp";

/// What the clones of a shelf share.
#[derive(Debug)]
pub(crate) struct Inner {
    dir: PathBuf,
    durability: Durability,
    pub(crate) storage: Arc<dyn Storage>,
    state: Mutex<State>,
}

/// The index. Lost with the process, found again by [`Inner::open`].
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: ShelfLimits,
    pub(crate) objects: BTreeMap<Guid, Object>,
    /// Least recently used first. Same keys as `used_at` of the objects.
    pub(crate) order: BTreeMap<u64, Guid>,
    pub(crate) pins: BTreeMap<Guid, u32>,
    /// Bytes of `objects`.
    pub(crate) used: u64,
    /// Bytes promised to writers.
    pub(crate) reserved: u64,
    /// Counts uses, to order them.
    pub(crate) clock: u64,
    next_temp: u64,
}

/// One object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object {
    pub(crate) size: u64,
    pub(crate) used_at: u64,
    /// Whether this process has seen that the bytes are right.
    pub(crate) checked: bool,
    /// When it came, or somebody last said that it is needed.
    pub(crate) needed: Time,
}

impl Inner {
    /// Drops what was being written and what is torn, and counts the rest.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        limits: ShelfLimits,
        durability: Durability,
    ) -> Result<Self, ShelfError> {
        let tmp = dir.join(TMP);
        if durability == Durability::Fsync {
            create_durably(&*storage, dir).map_err(|e| error("create", dir, e))?;
            // A killed predecessor may have made folders that it did not live to sync.
            storage.sync_folder(dir).map_err(|e| error("sync", dir, e))?;
        }
        storage.create_folder(&tmp).map_err(|e| error("create", &tmp, e))?;
        for entry in list(&tmp)? {
            storage.remove(&entry).map_err(|e| error("remove", &entry, e))?;
        }
        let state = State {
            limits,
            objects: BTreeMap::new(),
            order: BTreeMap::new(),
            pins: BTreeMap::new(),
            used: 0,
            reserved: 0,
            clock: 0,
            next_temp: 0,
        };
        let inner = Self { dir: dir.into(), durability, storage, state: Mutex::new(state) };
        inner.scan()?;
        Ok(inner)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn object_path(&self, guid: &Guid, size: u64) -> PathBuf {
        self.fan_out(guid).join(format!("{guid}.{size}"))
    }

    fn fan_out(&self, guid: &Guid) -> PathBuf {
        self.dir.join(format!("{:02x}", guid.0[0]))
    }

    pub(crate) fn space(&self) -> Result<Space, ShelfError> {
        self.storage.space(&self.dir).map_err(|e| error("measure", &self.dir, e))
    }

    /// Counts what is there, oldest first; drops files whose length is not the one in their name.
    fn scan(&self) -> Result<(), ShelfError> {
        let mut found = Vec::new();
        for byte in 0..=u8::MAX {
            let folder = self.dir.join(format!("{byte:02x}"));
            if !folder.is_dir() {
                continue;
            }
            for path in list(&folder)? {
                // Files that are not ours are left alone.
                let Some((guid, size)) = parse_name(&path).filter(|(guid, _)| guid.0[0] == byte)
                else {
                    continue;
                };
                let file = path.symlink_metadata().map_err(|e| error("look at", &path, e))?;
                if file.is_file() && file.len() == size {
                    found.push((written(&file), guid, size));
                } else {
                    self.storage.remove(&path).map_err(|e| error("remove", &path, e))?;
                }
            }
        }
        found.sort();
        let mut state = self.lock();
        for (at, guid, size) in found {
            state.insert(guid, size, false, at);
        }
        Ok(())
    }

    pub(crate) fn check_room(
        &self,
        state: &State,
        size: Bytes,
        space: Space,
    ) -> Result<(), ShelfError> {
        if size > limits::OBJECT_BYTES_MAX {
            return Err(ShelfError::TooLarge { size, max: limits::OBJECT_BYTES_MAX });
        }
        let ShelfLimits { quota, free_floor: floor } = state.limits;
        let used = Bytes(state.used) + Bytes(state.reserved);
        if used + size > quota {
            return Err(ShelfError::Quota { wanted: size, used, quota });
        }
        let (free, dir) = (space.free - Bytes(state.reserved), self.dir.clone());
        if size > free {
            return Err(ShelfError::DiskFull { wanted: size, free, dir });
        }
        if floor + size > free {
            return Err(ShelfError::Floor { wanted: size, free, floor, dir });
        }
        Ok(())
    }

    /// Promises `size` bytes and gives the name of a temporary file.
    pub(crate) fn reserve(&self, size: Bytes) -> Result<PathBuf, ShelfError> {
        let space = self.space()?;
        let mut state = self.lock();
        self.check_room(&state, size, space)?;
        state.reserved += size.0;
        state.next_temp += 1;
        Ok(self.dir.join(TMP).join(state.next_temp.to_string()))
    }

    /// Takes a promise back.
    pub(crate) fn release(&self, size: u64) {
        let mut state = self.lock();
        debug_assert!(state.reserved >= size, "a reservation is released once");
        state.reserved = state.reserved.saturating_sub(size);
    }

    /// Makes a complete, right file the object `guid`. Afterwards `temp` is gone if this is `Ok`.
    pub(crate) fn adopt(
        &self,
        file: &File,
        temp: &Path,
        guid: Guid,
        size: u64,
    ) -> Result<(), ShelfError> {
        let storage = &self.storage;
        let durable = self.durability == Durability::Fsync;
        storage.seal(file).map_err(|e| error("seal", temp, e))?;
        if durable {
            storage.sync(file, temp).map_err(|e| self.refusal("sync", temp, size, e))?;
        }
        let folder = self.fan_out(&guid);
        let created = if durable {
            create_durably(&**storage, &folder)
        } else {
            storage.create_folder(&folder)
        };
        created.map_err(|e| self.refusal("create", &folder, size, e))?;
        let path = self.object_path(&guid, size);
        let at = file.metadata().map_or(Time(u64::MAX), |file| written(&file));
        {
            // The lock makes the name and the index one; an object that is there already is
            // replaced by its equal.
            let mut state = self.lock();
            storage.rename(temp, &path).map_err(|e| self.refusal("keep", &path, size, e))?;
            state.insert(guid, size, true, at);
        }
        if durable {
            storage.sync_folder(&folder).map_err(|e| error("sync", &folder, e))?;
        }
        Ok(())
    }

    /// A full disk is told apart from other refusals.
    pub(crate) fn refusal(
        &self,
        what: &'static str,
        path: &Path,
        wanted: u64,
        source: io::Error,
    ) -> ShelfError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ShelfError::DiskFull {
                wanted: Bytes(wanted),
                free: self.space().map_or(Bytes::ZERO, |space| space.free),
                dir: self.dir.clone(),
            },
            _ => error(what, path, source),
        }
    }

    pub(crate) fn drop_object(&self, state: &mut State, guid: &Guid) -> Result<bool, ShelfError> {
        let Some(object) = state.objects.get(guid) else {
            return Ok(false);
        };
        let path = self.object_path(guid, object.size);
        match self.storage.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error("remove", &path, e)),
            _ => {
                state.forget(guid);
                Ok(true)
            }
        }
    }
}

impl State {
    fn insert(&mut self, guid: Guid, size: u64, checked: bool, needed: Time) {
        self.forget(&guid);
        self.clock += 1;
        self.used += size;
        self.order.insert(self.clock, guid);
        self.objects.insert(guid, Object { size, used_at: self.clock, checked, needed });
    }

    pub(crate) fn forget(&mut self, guid: &Guid) {
        if let Some(object) = self.objects.remove(guid) {
            self.order.remove(&object.used_at);
            self.used -= object.size;
        }
    }
}

/// When a file was written; the end of time where the file system does not know.
fn written(file: &std::fs::Metadata) -> Time {
    let since = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let micros = since.and_then(|since| u64::try_from(since.as_micros()).ok());
    Time(micros.unwrap_or(u64::MAX))
}

/// `<GUID>.<size>`, or nothing.
fn parse_name(path: &Path) -> Option<(Guid, u64)> {
    let name = path.file_name()?.to_str()?;
    let (guid, size) = name.split_once('.')?;
    let (guid, size) = (guid.parse::<Guid>().ok()?, size.parse::<u64>().ok()?);
    // One spelling only, so that two files are never one object.
    (name == format!("{guid}.{size}")).then_some((guid, size))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, ShelfError> {
    let entries = folder.read_dir().map_err(|e| error("list", folder, e))?;
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(|e| error("list", folder, e))
}
