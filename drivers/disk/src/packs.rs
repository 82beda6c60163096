//! Fragments of other people's objects: in packs, not in files of their own, within limits.
//!
//! A pack is a file of up to [`PackSettings::pack_bytes`] to which records are appended; fragments
//! whose leases end in the same week share one, so that most of the time a pack is unlinked as it
//! is. An index says where each fragment lies. What is appended is synced before it is
//! acknowledged, for all who wait at once; the index follows some thousand fragments later, and
//! after a crash what it missed is read again from the ends of the packs. How much is used is a
//! counter, never a walk.
//!
//! Beside fragments, which never change, packs have heads (`heads`): the newest version of
//! something, each checked by its signature.
//!
//! Every read is checked against the GUID. A fragment whose bytes are not its own any more is
//! dropped from the index and reported as [`Gone`]; it is never served.
//!
//! As all drivers it decides nothing: who may write is told by [`Packs::grant`], what is surplus by
//! [`Packs::spare`], and work that is not urgent is done when [`Packs::upkeep`] is called, at the
//! rates of the settings. One shelf is for one complex, since lease numbers are a complex's own.
//! (One file per piece cost Storj's hosts days of counting; what it and Tahoe learnt is in the
//! layout.)

mod backend;
#[cfg(test)]
mod check;
mod compact;
mod error;
mod heads;
mod index;
mod log;
mod open;
mod read;
mod record;
mod room;
mod state;
mod upkeep;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use isos_base::fragment::{StorageClass, StorageGrant};
use isos_base::storage::LeaseNews;
use isos_base::{AccountId, Bytes, Guid, LeaseId, Time};

pub use error::{Gone, PackError, Why};
pub use open::Opened;
pub use room::Room;
pub use upkeep::Upkept;

use self::index::{Index, Key, LeaseRow};
use self::log::{Job, Log};
use self::state::State;
use crate::shelf::ShelfLimits;
use crate::storage::{Disk, Storage};

/// Packs of one shelf: 8 TiB of the usual size, and as many rows in memory.
pub const PACKS_MAX: usize = 65_536;
/// Storage leases that one shelf knows: some 8 MiB of memory.
pub const LEASES_MAX: usize = 65_536;
/// Fragments that one call may name.
pub const CALL_MAX: usize = 4_096;

/// How a shelf of packs works. All of it can change from one opening to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackSettings {
    /// How much it may take.
    pub limits: ShelfLimits,
    /// A pack that has reached this length is not appended to any more.
    pub pack_bytes: Bytes,
    /// So many fragments may wait for the index to take them in: 200 bytes of memory each.
    pub unsaved_max: usize,
    /// So many bytes may have to be read again after a crash.
    pub unsaved_bytes_max: Bytes,
    /// Bytes per second that are checked again in the background.
    pub scrub_rate: Bytes,
    /// Bytes per second that are moved out of packs of which little is left.
    pub compact_rate: Bytes,
}

impl PackSettings {
    /// Usual settings within these limits: all is checked about every month and a half for each
    /// TiB, which costs a disk 1 % of its time.
    #[must_use]
    pub const fn new(limits: ShelfLimits) -> Self {
        Self {
            limits,
            pack_bytes: Bytes::mib(128),
            unsaved_max: 8_192,
            unsaved_bytes_max: Bytes::mib(256),
            scrub_rate: Bytes::kib(256),
            compact_rate: Bytes::mib(8),
        }
    }
}

/// A storage lease, as far as the disk is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// Who pays for it.
    pub account: AccountId,
    /// What it is for.
    pub class: StorageClass,
    /// How much may be kept under it.
    pub bytes: Bytes,
    /// When it was granted: an older word never replaces a newer one.
    pub issued: Time,
    /// Until when.
    pub until: Time,
}

impl From<&StorageGrant> for Lease {
    fn from(grant: &StorageGrant) -> Self {
        let StorageGrant { lease, account, class, bytes, issued, until, .. } = *grant;
        Self { id: lease, account, class, bytes, issued, until }
    }
}

impl From<&LeaseNews> for Lease {
    fn from(news: &LeaseNews) -> Self {
        let LeaseNews { lease, account, class, bytes, issued, until } = *news;
        Self { id: lease, account, class, bytes, issued, until }
    }
}

/// A fragment to be kept.
#[derive(Debug, Clone)]
pub struct Put {
    /// Under which lease.
    pub lease: LeaseId,
    /// Its name.
    pub id: Guid,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A fragment is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The end of its lease.
    pub until: Time,
    /// Whether it was here before.
    pub had: bool,
}

/// What is kept under a lease: fragments, and heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseUse {
    /// The lease.
    pub lease: Lease,
    /// Bytes of them.
    pub used: Bytes,
    /// How many they are.
    pub count: u64,
}

/// How much there is: counters, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Bytes on disk: packs and index.
    pub disk: Bytes,
    /// Bytes of the fragments and heads.
    pub live: Bytes,
    /// How many fragments and heads.
    pub count: u64,
    /// How many packs.
    pub packs: usize,
    /// How many leases are known.
    pub leases: usize,
}

/// Fragments by GUID and lease. Clones share one shelf; all methods block on the disk and may be
/// called from any thread.
#[derive(Debug, Clone)]
pub struct Packs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    settings: PackSettings,
    /// Puts that wait for whoever has the log.
    queue: Mutex<Vec<Arc<Job>>>,
    /// Whoever has it is the only one who changes anything. Taken before `state`, never after.
    log: Mutex<Log>,
    state: Mutex<State>,
    index: RwLock<Index>,
    /// Packs that are open for reading.
    files: Mutex<BTreeMap<u32, Arc<File>>>,
}

/// Nothing in here can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pack_path(&self, number: u32) -> PathBuf {
        open::pack_path(&self.dir, number)
    }
}

/// Rows that one look for names sees.
const NAMES_LOOKED_AT: usize = 4_096;

impl Packs {
    /// Opens the shelf in `dir`, creating it if need be; reads again what the index has missed.
    /// Two processes must not share it: go through [`crate::Home::packs`].
    ///
    /// # Errors
    /// The disk refuses. Holding more than the quota is no error: nothing is added, then.
    pub fn open(dir: &Path, settings: PackSettings) -> Result<(Self, Opened), PackError> {
        Self::open_on(Arc::new(Disk), dir, settings)
    }

    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        settings: PackSettings,
    ) -> Result<(Self, Opened), PackError> {
        let (inner, opened) = Inner::open(storage, dir, settings)?;
        Ok((Self(Arc::new(inner)), opened))
    }

    /// Says that there are these leases, or renews them. Of those under which something is kept,
    /// the new end is durable when this returns; others are forgotten by a crash, and come again
    /// with the next grant.
    ///
    /// # Errors
    /// There are [`LEASES_MAX`], or the disk refuses.
    pub fn grant(&self, leases: &[Lease]) -> Result<(), PackError> {
        let mut log = self.0.log();
        let mut matters = false;
        {
            let mut state = self.0.state();
            for lease in leases {
                let known = state.leases.get(&lease.id).copied();
                if known.is_some_and(|known| known.issued >= lease.issued) {
                    continue;
                }
                if known.is_none() && state.leases.len() >= LEASES_MAX {
                    return Err(PackError::TooMany { what: "leases", max: LEASES_MAX });
                }
                let (used, count) = known.map_or((0, 0), |known| (known.used, known.count));
                matters |= count > 0;
                let Lease { id, account, class, bytes, issued, until } = *lease;
                let row = LeaseRow { account, class, bytes: bytes.0, issued, until, used, count };
                state.put_lease(id, row);
            }
        }
        if matters { self.0.checkpoint(&mut log) } else { Ok(()) }
    }

    /// The lease of this number and what is kept under it.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<LeaseUse> {
        let state = self.0.state();
        let row = state.leases.get(&id)?;
        let LeaseRow { account, class, bytes, issued, until, used, count } = *row;
        let lease = Lease { id, account, class, bytes: Bytes(bytes), issued, until };
        Some(LeaseUse { lease, used: Bytes(used), count })
    }

    /// Keeps fragments; each is on the disk when this returns, or its error says why not. Whoever
    /// calls at the same time shares the wait for the disk.
    #[must_use]
    pub fn put(&self, now: Time, puts: Vec<Put>) -> Vec<Result<Kept, PackError>> {
        self.0.put(now, puts)
    }

    /// Whether the fragment is here, under whatever lease. Its bytes are checked when it is read.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn has(&self, id: &Guid) -> Result<bool, PackError> {
        Ok(!self.0.copies(id)?.is_empty())
    }

    /// Some names of what is kept under a lease, in their order, from one on; and where to go on,
    /// if that were not all. The index is brought up to date for it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn names(
        &self,
        lease: LeaseId,
        from: Guid,
    ) -> Result<(Vec<Guid>, Option<Guid>), PackError> {
        self.save()?;
        let rows = self.0.index().scan(&Key { id: from, lease: LeaseId(0) }, NAMES_LOOKED_AT)?;
        let next = rows.last().filter(|_| rows.len() == NAMES_LOOKED_AT).map(|(key, _)| key.id);
        // A name may have copies under more leases than one look sees; none has so many.
        let next = next.filter(|next| *next != from);
        let mine = rows.iter().filter(|(key, _)| key.lease == lease && Some(key.id) != next);
        Ok((mine.map(|(key, _)| key.id).collect(), next))
    }

    /// Removes fragments of a lease, durably; says how many were here.
    ///
    /// # Errors
    /// The disk refuses; they are removed until a crash then.
    pub fn remove(&self, lease: LeaseId, ids: &[Guid]) -> Result<u32, PackError> {
        self.0.remove(lease, ids)
    }

    /// Changes the limits. What is beyond them goes with the next [`Self::upkeep`], as far as it
    /// can be spared.
    pub fn set_limits(&self, limits: ShelfLimits) {
        self.0.state().limits = limits;
    }

    /// How much there is.
    #[must_use]
    pub fn used(&self) -> Used {
        let state = self.0.state();
        Used {
            disk: Bytes(state.used()),
            live: Bytes(state.live),
            count: state.count,
            packs: state.packs.len(),
            leases: state.leases.len(),
        }
    }

    /// Gives up what has gone since the last call, at most [`CALL_MAX`], for the complex to know;
    /// and how many more than could be remembered.
    #[must_use]
    pub fn take_gone(&self) -> (Vec<Gone>, u64) {
        let mut state = self.0.state();
        let count = state.gone.len().min(CALL_MAX);
        let gone = state.gone.drain(..count).collect();
        (gone, std::mem::take(&mut state.gone_uncounted))
    }

    /// Brings the index up to date, so that the next opening has nothing to read again.
    ///
    /// # Errors
    /// The disk refuses; nothing is lost.
    pub fn save(&self) -> Result<(), PackError> {
        self.0.checkpoint(&mut self.0.log())
    }
}
