//! The shelf: whole objects on disk, found by their GUID, checked against it, within a quota.
//!
//! Layout: `<dir>/<first byte of the GUID in hex>/<GUID>.<size>`, read-only files, and `<dir>/tmp`
//! for what is being written. The size in the name lets [`Shelf::open`] see a torn file without
//! reading it; a file that was there before this process is hashed when it is first used.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isos_base::guid::GuidHasher;
use isos_base::job::is_plain_path;
use isos_base::{Bytes, Guid, Time};

use crate::error::{ShelfError, error};
use crate::index::{Inner, Object};
use crate::storage::{Disk, Space, Storage};
use crate::writer::ObjectWriter;

const CHUNK: usize = 256 << 10;

/// What must survive a power cut. (A killed process loses nothing either way.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Whatever was kept is there after a power cut: for the only copy, on a server.
    Fsync,
    /// It may be lost or damaged, which is noticed: for copies of what others have, on a host.
    Cache,
}

/// How much a shelf may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShelfLimits {
    /// Bytes of all objects together, those being written included.
    pub quota: Bytes,
    /// Bytes of the file system that stay free, whatever the quota.
    pub free_floor: Bytes,
}

/// Objects by GUID. Clones share one shelf; all methods block on the disk and may be called from
/// any thread.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<Inner>);

/// Keeps an object from eviction and removal while it lives.
#[derive(Debug)]
pub struct Pin {
    shelf: Shelf,
    guid: Guid,
}

impl Shelf {
    /// Opens the shelf in `dir`, creating it if need be: drops what was being written and what is
    /// torn, counts the rest. Two processes must not share it: go through [`crate::Home::shelf`].
    ///
    /// # Errors
    /// The disk refuses. Holding more than the quota is no error: nothing is added, then.
    pub fn open(
        dir: &Path,
        limits: ShelfLimits,
        durability: Durability,
    ) -> Result<Self, ShelfError> {
        Self::open_on(Arc::new(Disk), dir, limits, durability)
    }

    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        limits: ShelfLimits,
        durability: Durability,
    ) -> Result<Self, ShelfError> {
        Ok(Self(Arc::new(Inner::open(storage, dir, limits, durability)?)))
    }

    /// Changes the limits. Objects beyond a smaller quota stay until they are evicted.
    pub fn set_limits(&self, limits: ShelfLimits) {
        self.0.lock().limits = limits;
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> ShelfLimits {
        self.0.lock().limits
    }

    /// Keeps `bytes`; nothing to do if they are here.
    ///
    /// # Errors
    /// No room, too large ([`isos_base::limits::OBJECT_BYTES_MAX`]), or the disk refuses.
    pub fn put(&self, bytes: &[u8]) -> Result<Guid, ShelfError> {
        let guid = Guid::of(bytes);
        if !self.contains(&guid) {
            let mut writer = self.writer(guid, Bytes(bytes.len() as u64))?;
            writer.write_hashed(bytes)?;
            writer.keep(guid)?;
        }
        Ok(guid)
    }

    /// Takes the object `guid` of exactly `size` bytes, piece by piece. Its room is reserved now.
    ///
    /// # Errors
    /// No room, too large ([`isos_base::limits::OBJECT_BYTES_MAX`]), or the disk refuses.
    pub fn writer(&self, guid: Guid, size: Bytes) -> Result<ObjectWriter, ShelfError> {
        ObjectWriter::new(self, Some(guid), size)
    }

    /// Takes an object that will get the GUID of whatever is written, at most `size_max` bytes.
    /// That much room is reserved until the writer is finished or dropped.
    ///
    /// # Errors
    /// As [`Shelf::writer`].
    pub fn writer_unnamed(&self, size_max: Bytes) -> Result<ObjectWriter, ShelfError> {
        ObjectWriter::new(self, None, size_max)
    }

    /// Whether the object is here. Its bytes are checked when it is used.
    #[must_use]
    pub fn contains(&self, guid: &Guid) -> bool {
        self.0.lock().objects.contains_key(guid)
    }

    /// Its size, if it is here.
    #[must_use]
    pub fn size(&self, guid: &Guid) -> Option<Bytes> {
        self.0.lock().objects.get(guid).map(|object| Bytes(object.size))
    }

    /// As [`Shelf::size`], and says that the object is needed at `now`.
    #[must_use]
    pub fn need(&self, guid: &Guid, now: Time) -> Option<Bytes> {
        let mut state = self.0.lock();
        let object = state.objects.get_mut(guid)?;
        object.needed = object.needed.max(now);
        Some(Bytes(object.size))
    }

    /// The first `limit` objects above `after`, by GUID, that came before `time` and that nobody
    /// has said to need since.
    #[must_use]
    pub fn unneeded(&self, time: Time, after: Option<Guid>, limit: usize) -> Vec<Guid> {
        let state = self.0.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let objects = state.objects.range((from, Bound::Unbounded));
        let old = objects.filter(|(_, object)| object.needed < time);
        old.map(|(guid, _)| *guid).take(limit).collect()
    }

    /// Removes the object if [`Shelf::unneeded`] would still list it and nothing pins it; says how
    /// many bytes went.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_unneeded(&self, guid: &Guid, time: Time) -> Result<Bytes, ShelfError> {
        let mut state = self.0.lock();
        let old = state.objects.get(guid).filter(|object| object.needed < time);
        let Some(size) = old.map(|object| Bytes(object.size)) else { return Ok(Bytes::ZERO) };
        if state.pins.contains_key(guid) {
            return Ok(Bytes::ZERO);
        }
        self.0.drop_object(&mut state, guid)?;
        Ok(size)
    }

    /// All bytes of an object of at most `max`, hashed again.
    ///
    /// # Errors
    /// It is not here, larger, damaged (and gone), or the disk refuses.
    pub fn read(&self, guid: &Guid, max: Bytes) -> Result<Vec<u8>, ShelfError> {
        let (object, path) = self.touch(guid)?;
        if object.size > max.0 {
            return Err(ShelfError::TooLarge { size: Bytes(object.size), max });
        }
        let file = self.open_file(guid, &path)?;
        let mut bytes = Vec::with_capacity(Bytes(object.size).as_usize());
        file.take(object.size + 1).read_to_end(&mut bytes).map_err(|e| error("read", &path, e))?;
        if Guid::of(&bytes) != *guid {
            return Err(self.quarantine(guid));
        }
        self.mark_checked(guid);
        Ok(bytes)
    }

    /// The object as an open file, with its size. Hashed if this process has not done so before.
    ///
    /// # Errors
    /// It is not here, damaged (and gone), or the disk refuses.
    pub fn open_object(&self, guid: &Guid) -> Result<(File, Bytes), ShelfError> {
        let (object, path) = self.checked(guid)?;
        Ok((self.open_file(guid, &path)?, Bytes(object.size)))
    }

    /// Where the object lies, for those who map or run it: read-only, and gone when evicted, so pin
    /// it. Hashed if this process has not done so before.
    ///
    /// # Errors
    /// As [`Shelf::open_object`].
    pub fn path(&self, guid: &Guid) -> Result<PathBuf, ShelfError> {
        Ok(self.checked(guid)?.1)
    }

    /// Hashes the object again.
    ///
    /// # Errors
    /// As [`Shelf::open_object`].
    pub fn verify(&self, guid: &Guid) -> Result<Bytes, ShelfError> {
        let (object, path) = self.touch(guid)?;
        self.hash(guid, &path, object.size)?;
        Ok(Bytes(object.size))
    }

    /// Puts the object at `folder`/`path`, read-only, creating the folders between: a hard link
    /// where the file system can, else a copy.
    ///
    /// A hard link shares its bytes with the shelf: only give it to programs that cannot write.
    ///
    /// # Errors
    /// The path is not plain or is taken; as [`Shelf::open_object`].
    pub fn link_into(&self, guid: &Guid, folder: &Path, path: &str) -> Result<(), ShelfError> {
        if !is_plain_path(path) {
            return Err(ShelfError::Path { path: path.into() });
        }
        let (_, from) = self.checked(guid)?;
        let to = folder.join(path);
        let parent = to.parent().unwrap_or(folder);
        let storage = &self.0.storage;
        storage.create_folder(parent).map_err(|e| error("create", parent, e))?;
        match std::fs::hard_link(&from, &to) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(error("create", &to, e)),
            // Another file system, too many links, none at all: the kinds differ by system.
            Err(_) => self.copy(guid, &from, &to),
        }
    }

    /// Removes the object; `false` if it was not here.
    ///
    /// # Errors
    /// It is pinned, or the disk refuses.
    pub fn remove(&self, guid: &Guid) -> Result<bool, ShelfError> {
        let mut state = self.0.lock();
        if state.pins.contains_key(guid) {
            return Err(ShelfError::Pinned { guid: *guid });
        }
        self.0.drop_object(&mut state, guid)
    }

    /// Keeps the object, which may come later, from eviction and removal.
    #[must_use = "the pin holds while it lives"]
    pub fn pin(&self, guid: &Guid) -> Pin {
        *self.0.lock().pins.entry(*guid).or_insert(0) += 1;
        Pin { shelf: self.clone(), guid: *guid }
    }

    /// Removes the least recently used objects that are not pinned until all objects together have
    /// at most `target` bytes. Returns how many they have: more than `target` if pins prevent it.
    ///
    /// # Errors
    /// The disk refuses; what was removed before is gone.
    pub fn evict_to(&self, target: Bytes) -> Result<Bytes, ShelfError> {
        let mut state = self.0.lock();
        let mut after = 0;
        while state.used > target.0 {
            let next = state
                .order
                .range(after..)
                .find(|(_, guid)| !state.pins.contains_key(guid))
                .map(|(&used_at, &guid)| (used_at, guid));
            let Some((used_at, guid)) = next else { break };
            self.0.drop_object(&mut state, &guid)?;
            after = used_at + 1;
        }
        Ok(Bytes(state.used))
    }

    /// Evicts as much as an object of `size` needs, and no more.
    ///
    /// # Errors
    /// Even so it does not fit: then nothing was evicted, unless others wrote meanwhile or hard
    /// links outside keep the bytes of what was evicted.
    pub fn make_room(&self, size: Bytes) -> Result<(), ShelfError> {
        let (target, pinned, refusal) = {
            let state = self.0.lock();
            let space = self.0.space()?;
            let Err(refusal) = self.0.check_room(&state, size, space) else {
                return Ok(());
            };
            let needed = size.0.saturating_add(state.reserved);
            let over = (state.used.saturating_add(needed)).saturating_sub(state.limits.quota.0);
            let short = state.limits.free_floor.0.saturating_add(needed);
            let excess = over.max(short.saturating_sub(space.free.0));
            let pinned: u64 = state
                .pins
                .keys()
                .filter_map(|guid| state.objects.get(guid))
                .map(|object| object.size)
                .sum();
            (state.used.checked_sub(excess), pinned, refusal)
        };
        match target {
            Some(target) if target >= pinned && !matches!(refusal, ShelfError::TooLarge { .. }) => {
                self.evict_to(Bytes(target))?;
                let space = self.0.space()?;
                self.0.check_room(&self.0.lock(), size, space)
            }
            _ => Err(refusal),
        }
    }

    /// Bytes of all objects: a counter, not a walk.
    #[must_use]
    pub fn used(&self) -> Bytes {
        Bytes(self.0.lock().used)
    }

    /// Bytes promised to objects that are being written.
    #[must_use]
    pub fn reserved(&self) -> Bytes {
        Bytes(self.0.lock().reserved)
    }

    /// All objects with their sizes, by GUID.
    #[must_use]
    pub fn list(&self) -> Vec<(Guid, Bytes)> {
        let state = self.0.lock();
        state.objects.iter().map(|(guid, object)| (*guid, Bytes(object.size))).collect()
    }

    /// Room on the shelf's file system.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn space(&self) -> Result<Space, ShelfError> {
        self.0.space()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Finds the object and counts a use.
    fn touch(&self, guid: &Guid) -> Result<(Object, PathBuf), ShelfError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        let Some(object) = state.objects.get_mut(guid) else {
            return Err(ShelfError::Missing { guid: *guid });
        };
        state.order.remove(&object.used_at);
        state.clock += 1;
        object.used_at = state.clock;
        state.order.insert(state.clock, *guid);
        Ok((*object, self.0.object_path(guid, object.size)))
    }

    /// As [`Self::touch`], and its bytes are right.
    fn checked(&self, guid: &Guid) -> Result<(Object, PathBuf), ShelfError> {
        let (object, path) = self.touch(guid)?;
        if !object.checked {
            self.hash(guid, &path, object.size)?;
        }
        Ok((object, path))
    }

    fn hash(&self, guid: &Guid, path: &Path, size: u64) -> Result<(), ShelfError> {
        let mut file = self.open_file(guid, path)?.take(size + 1);
        let mut hasher = GuidHasher::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => hasher.update(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(error("read", path, e)),
            }
        }
        if hasher.finish() != *guid {
            return Err(self.quarantine(guid));
        }
        self.mark_checked(guid);
        Ok(())
    }

    fn open_file(&self, guid: &Guid, path: &Path) -> Result<File, ShelfError> {
        File::open(path).map_err(|e| {
            if e.kind() != io::ErrorKind::NotFound {
                return error("open", path, e);
            }
            // Evicted since we looked, or removed behind our back.
            let mut state = self.0.lock();
            if !path.exists() {
                state.forget(guid);
            }
            ShelfError::Missing { guid: *guid }
        })
    }

    fn mark_checked(&self, guid: &Guid) {
        if let Some(object) = self.0.lock().objects.get_mut(guid) {
            object.checked = true;
        }
    }

    /// Removes damaged bytes, pinned or not: they are nobody's object.
    fn quarantine(&self, guid: &Guid) -> ShelfError {
        let mut state = self.0.lock();
        match self.0.drop_object(&mut state, guid) {
            Ok(_) => ShelfError::Damaged { guid: *guid },
            Err(error) => error,
        }
    }

    fn copy(&self, guid: &Guid, from: &Path, to: &Path) -> Result<(), ShelfError> {
        let mut source = self.open_file(guid, from)?;
        let storage = &self.0.storage;
        let mut file = storage.create(to).map_err(|e| error("create", to, e))?;
        io::copy(&mut source, &mut file).and_then(|_| storage.seal(&file)).map_err(|e| {
            // Best effort: half a file would be worse than none.
            let _ = storage.remove(to);
            error("write", to, e)
        })
    }
}

impl Pin {
    /// What it holds.
    #[must_use]
    pub const fn guid(&self) -> &Guid {
        &self.guid
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.shelf.0.lock();
        if let Some(count) = state.pins.get_mut(&self.guid) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.guid);
            }
        }
    }
}
