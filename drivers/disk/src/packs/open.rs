//! Opening: what the index says, and what the packs say that it missed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use isos_base::fragment::SignedHead;
use isos_base::key::PublicKey;
use isos_base::{Bytes, Time};

use super::compact::next_record;
use super::error::{PackError, is_unreadable, refused};
use super::index::{HeadKey, HeadPlace, Index, Key, LeaseRow, Place};
use super::log::Log;
use super::record::{HEADER_BYTES, Header, Kind, is_right, record_bytes};
use super::state::{State, bucket_of};
use super::{Inner, PackSettings};
use crate::storage::{Storage, create_durably};

const INDEX: &str = "index.redb";
const DAMAGED: &str = "index.damaged";
const SUFFIX: &str = ".pack";

/// What opening a shelf of packs has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Opened {
    /// Fragments and heads that the index had missed, read again from the packs.
    pub replayed: u64,
    /// Bytes of them.
    pub replayed_bytes: Bytes,
    /// Bytes behind the last whole record of a pack: what was being written when a crash came.
    pub torn: Bytes,
    /// Packs whose files are not there; their fragments will be reported as gone.
    pub packs_lost: usize,
    /// Whether the index was of no use and was made again from the packs: removals since they were
    /// written are forgotten, and leases end as they did when it was written.
    pub rebuilt: bool,
}

/// Where the index is.
pub(super) fn index_path(dir: &Path) -> PathBuf {
    dir.join(INDEX)
}

/// Where a pack is.
pub(super) fn pack_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}{SUFFIX}"))
}

/// The packs in a folder in the order in which they were begun: what was moved lies in the later
/// one. Files that are not ours are left alone.
fn pack_numbers(dir: &Path) -> Result<Vec<u32>, PackError> {
    let mut numbers = Vec::new();
    for entry in dir.read_dir().map_err(|e| refused("list", dir, e))? {
        let path = entry.map_err(|e| refused("list", dir, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u32>().ok());
        numbers.extend(number.filter(|number| pack_path(dir, *number) == path));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether the index is none, rather than out of reach.
fn is_useless(error: &redb::Error) -> bool {
    match error {
        redb::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => true,
        _ => false,
    }
}

impl Inner {
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        settings: PackSettings,
    ) -> Result<(Self, Opened), PackError> {
        create_durably(&*storage, dir).map_err(|e| refused("create", dir, e))?;
        // A killed predecessor may have made files that it did not live to sync.
        storage.sync_folder(dir).map_err(|e| refused("sync", dir, e))?;
        let mut opened = Opened::default();
        let path = index_path(dir);
        let loading = |index: Index| index.load().map(|loaded| (index, loaded));
        let (index, loaded) = match Index::open(&storage, &path).and_then(loading) {
            Ok(found) => found,
            Err(PackError::Index(error)) if is_useless(&error) => {
                // Without packs it is one that a crash left half made, and nothing is lost with it.
                opened.rebuilt = !pack_numbers(dir)?.is_empty();
                let aside = dir.join(DAMAGED);
                storage.rename(&path, &aside).map_err(|e| refused("rename", &path, e))?;
                Index::open(&storage, &path).and_then(loading)?
            }
            Err(error) => return Err(error),
        };
        storage.sync_folder(dir).map_err(|e| refused("sync", dir, e))?;
        let state = State::new(settings.limits, loaded, index.bytes());
        let inner = Self {
            dir: dir.into(),
            storage,
            settings,
            queue: Mutex::default(),
            log: Mutex::new(Log::default()),
            state: Mutex::new(state),
            index: RwLock::new(index),
            files: Mutex::default(),
        };
        inner.look_at_packs(&mut opened)?;
        inner.checkpoint(&mut inner.log())?;
        Ok((inner, opened))
    }

    fn look_at_packs(&self, opened: &mut Opened) -> Result<(), PackError> {
        let files = pack_numbers(&self.dir)?;
        let next_pack = self.state().about.next_pack;
        for number in &files {
            let known = self.state().packs.contains_key(number);
            if known || *number >= next_pack || opened.rebuilt {
                self.look_at_pack(*number, opened)?;
            } else {
                // Given up before it could be removed.
                let path = self.pack_path(*number);
                self.storage.remove(&path).map_err(|e| refused("remove", &path, e))?;
            }
        }
        let index = self.index();
        let mut state = self.state();
        let lost: Vec<u32> =
            state.packs.keys().copied().filter(|n| files.binary_search(n).is_err()).collect();
        for number in lost {
            opened.packs_lost += usize::from(state.packs[&number].count > 0);
            state.forget_pack(&index, number)?;
        }
        let last = files.last().map_or(0, |last| last.saturating_add(1));
        state.about.next_pack = state.about.next_pack.max(last);
        Ok(())
    }

    fn look_at_pack(&self, number: u32, opened: &mut Opened) -> Result<(), PackError> {
        let path = self.pack_path(number);
        let file = self.storage.open(&path).map_err(|e| refused("open", &path, e))?;
        let length = file.metadata().map_err(|e| refused("look at", &path, e))?.len();
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let from = self.state().packs.get(&number).map_or(0, |pack| pack.length);
        if length < from {
            // Somebody cut it off. What was behind is damaged, which will show when it is read.
            let mut state = self.state();
            state.set_length(number, length);
            if let Some(pack) = state.pack_mut(number) {
                pack.sealed = true;
            }
            return Ok(());
        }
        let (end, readable) = self.replay(&file, number, from, length, opened)?;
        if end == 0 && readable && !opened.rebuilt {
            let index = self.index();
            self.state().forget_pack(&index, number)?;
            return self.storage.remove(&path).map_err(|e| refused("remove", &path, e));
        }
        self.state().set_length(number, end);
        if end < length {
            opened.torn += Bytes(u64::from(length - end));
            if opened.rebuilt || !readable {
                // It may be damage in the middle: nothing is thrown away, nothing comes behind.
                if let Some(pack) = self.state().pack_mut(number) {
                    pack.sealed = true;
                }
                self.state().set_length(number, length);
            } else {
                let cut = self.storage.set_len(&file, &path, end.into());
                cut.map_err(|e| refused("shorten", &path, e))?;
                self.storage.sync(&file, &path).map_err(|e| refused("sync", &path, e))?;
            }
        }
        Ok(())
    }

    /// Takes in the records from `from` on, up to the first that is not whole; gives its place, and
    /// whether the disk could read it.
    fn replay(
        &self,
        file: &File,
        number: u32,
        from: u32,
        length: u32,
        opened: &mut Opened,
    ) -> Result<(u32, bool), PackError> {
        let path = self.pack_path(number);
        let failed = |error| refused("read", &path, error);
        let mut at = from;
        let mut buffer = Vec::new();
        while length - at >= HEADER_BYTES as u32 {
            let next = if opened.rebuilt {
                next_record(file, number, at, length).map_err(failed)?
            } else {
                let mut head = [0; HEADER_BYTES];
                match file.read_exact_at(&mut head, at.into()) {
                    Err(error) if is_unreadable(&error) => return Ok((at, false)),
                    read => read.map_err(failed)?,
                }
                Header::read(&head, number).map(|header| (at, header))
            };
            let Some((offset, header)) = next else { break };
            let bytes = record_bytes(header.length);
            if length - offset < bytes {
                break;
            }
            // A whole shelf would take hours to hash: then only what lies where is taken in, unless
            // it had to be searched for. Of heads the newest counts, not the last.
            if !opened.rebuilt || offset != at || header.kind == Kind::Head {
                buffer.resize(bytes as usize - HEADER_BYTES, 0);
                let behind = u64::from(offset) + HEADER_BYTES as u64;
                match file.read_exact_at(&mut buffer, behind) {
                    Err(error) if is_unreadable(&error) => return Ok((at, false)),
                    read => read.map_err(failed)?,
                }
                if !is_right(&header, &buffer) {
                    if opened.rebuilt {
                        at = offset + HEADER_BYTES as u32;
                        continue;
                    }
                    break;
                }
            }
            at = offset;
            self.take_in(&header, &buffer, number, at)?;
            opened.replayed += 1;
            opened.replayed_bytes += Bytes(bytes.into());
            at += bytes;
            if self.state().waiting() >= self.settings.unsaved_max {
                self.state().set_length(number, at);
                self.checkpoint(&mut self.log())?;
            }
        }
        Ok((at, true))
    }

    fn take_in(
        &self,
        header: &Header,
        behind: &[u8],
        pack: u32,
        offset: u32,
    ) -> Result<(), PackError> {
        let Header { kind, id, length, lease, account, until, class } = *header;
        let index = self.index();
        let mut state = self.state();
        if !state.packs.contains_key(&pack) {
            state.put_pack(pack, bucket_of(kind, class, until));
            state.about.next_pack = state.about.next_pack.max(pack.saturating_add(1));
        }
        if !state.leases.contains_key(&lease) {
            // What the grant allowed is not known: it has to be shown before more is put.
            let (bytes, issued, used, count) = (0, Time(0), 0, 0);
            let row = LeaseRow { account, class, bytes, issued, until, used, count };
            state.put_lease(lease, row);
        }
        let place = Place { pack, offset, length, surplus: false };
        match kind {
            Kind::Fragment => {
                state.place(&index, Key { id, lease }, Some(place))?;
            }
            Kind::Head => {
                let Ok(SignedHead { head, .. }) = SignedHead::from_bytes(behind) else {
                    return Ok(());
                };
                let (key, version) = (HeadKey { lease, key: PublicKey(id.0) }, head.version);
                let old = state.find_head(&index, &key)?;
                // Of one version the last: it was moved, or the one before was not acknowledged.
                if old.is_none_or(|old| old.version <= version) {
                    state.place_head(&index, key, Some(HeadPlace { at: place, version }))?;
                }
            }
        }
        Ok(())
    }
}
