//! The index: where each fragment lies, and the counters that change with it in one transaction.
//!
//! redb rather than an LSM such as fjall: one file, no thread of its own on somebody's idle
//! machine, values of fixed size, and a backend trait that a test can crash. Its weak side, many
//! pages written for few random keys, is bought off by writing some thousand at once: until then
//! the packs themselves are the log.

mod heads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isos_base::fragment::StorageClass;
use isos_base::{AccountId, Guid, LeaseId, Time, codec};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

pub(super) use self::heads::{HeadKey, HeadPlace};
use super::backend::Backend;
use super::error::PackError;
use crate::storage::Storage;

/// Memory for pages of the index.
const CACHE_BYTES: usize = 8 << 20;
/// Copies of one fragment that are looked at: one for each lease.
pub(super) const COPIES_MAX: usize = 8;

const FRAGMENTS: TableDefinition<'_, &[u8; 40], &[u8; 13]> = TableDefinition::new("fragments");
const SURPLUS: TableDefinition<'_, &[u8; 40], ()> = TableDefinition::new("surplus");
const PACKS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("packs");
const LEASES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("leases");
const HOLDINGS: TableDefinition<'_, (u32, u64), (u64, u32)> = TableDefinition::new("holdings");
const ABOUT: TableDefinition<'_, u8, &[u8]> = TableDefinition::new("about");

/// A fragment under a lease: each lease has a copy of its own, so that nobody's removal is
/// another's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) id: Guid,
    pub(super) lease: LeaseId,
}

/// Where a record begins, and how long its fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// The object has more fragments than it needs: this one may go when room is short.
    pub(super) surplus: bool,
}

/// Which fragments lie together: those that will probably end together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Bucket {
    /// Cached copies are given up first, whole packs at a time.
    pub(super) cache: bool,
    /// The week in which the leases end.
    pub(super) week: u64,
}

/// A pack file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pack {
    pub(super) bucket: Bucket,
    /// The end of the last record.
    pub(super) length: u32,
    /// Bytes of the records that the index points to.
    pub(super) live: u32,
    /// How many they are.
    pub(super) count: u32,
    /// Nothing is appended to it any more.
    pub(super) sealed: bool,
}

/// A storage lease and what is kept under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseRow {
    pub(super) account: AccountId,
    pub(super) class: StorageClass,
    pub(super) bytes: u64,
    pub(super) issued: Time,
    pub(super) until: Time,
    /// Bytes of the fragments and heads, without what records add.
    pub(super) used: u64,
    pub(super) count: u64,
}

/// What a pack holds of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Holding {
    pub(super) bytes: u64,
    pub(super) count: u32,
}

/// What is true of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct About {
    /// The number of the next pack: a file below it without a row is rubbish, above it news.
    pub(super) next_pack: u32,
    /// Bytes of surplus fragments.
    pub(super) surplus: u64,
    /// Where the scrub is.
    pub(super) scrub: (u32, u32),
    /// Where the sweep for fragments without a pack is; nothing when none is needed.
    pub(super) sweep: Option<(Guid, LeaseId)>,
}

/// What one transaction changes; nothing in place of a value removes it. Values are absolute, so a
/// transaction of which nobody knows whether it was done is simply done again.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    pub(super) fragments: BTreeMap<Key, Option<Place>>,
    pub(super) heads: BTreeMap<HeadKey, Option<HeadPlace>>,
    pub(super) packs: BTreeMap<u32, Option<Pack>>,
    pub(super) leases: BTreeMap<LeaseId, Option<LeaseRow>>,
    pub(super) holdings: BTreeMap<(u32, LeaseId), Holding>,
    pub(super) about: About,
}

/// What a shelf knows when it is opened.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) packs: BTreeMap<u32, Pack>,
    pub(super) leases: BTreeMap<LeaseId, LeaseRow>,
    pub(super) about: About,
}

/// The database.
#[derive(Debug)]
pub(super) struct Index {
    /// Nothing between an error and the next attempt.
    database: Option<Database>,
    path: PathBuf,
}

impl Key {
    pub(super) const FIRST: Self = Self { id: Guid([0; 32]), lease: LeaseId(0) };

    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.id.0);
        bytes[32..].copy_from_slice(&self.lease.0.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8; 40]) -> Self {
        let (id, lease) = bytes.split_at(32);
        let id = Guid(*id.first_chunk().expect("the first 32 of 40 bytes"));
        let lease = u64::from_be_bytes(*lease.first_chunk().expect("the last 8 of 40 bytes"));
        Self { id, lease: LeaseId(lease) }
    }
}

impl Place {
    fn bytes(&self) -> [u8; 13] {
        let mut bytes = [0; 13];
        bytes[..4].copy_from_slice(&self.pack.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12] = u8::from(self.surplus);
        bytes
    }

    fn read(bytes: &[u8; 13]) -> Self {
        let four = |at: usize| {
            u32::from_le_bytes(*bytes[at..].first_chunk().expect("12 of the 13 bytes are numbers"))
        };
        Self { pack: four(0), offset: four(4), length: four(8), surplus: bytes[12] != 0 }
    }
}

impl Index {
    /// Opens the index, or makes an empty one. All its pages are checked.
    pub(super) fn open(storage: &Arc<dyn Storage>, path: &Path) -> Result<Self, PackError> {
        let file = storage.open(path).map_err(|e| super::error::refused("open", path, e))?;
        let backend = Backend { storage: Arc::clone(storage), file, path: path.into() };
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(backend)?;
        let index = Self { database: Some(database), path: path.into() };
        // Readers want tables that are there.
        index.commit(None)?;
        Ok(index)
    }

    fn database(&self) -> Result<&Database, PackError> {
        self.database.as_ref().ok_or_else(|| redb::Error::PreviousIo.into())
    }

    /// Lets go of the file.
    pub(super) fn close(&mut self) {
        self.database = None;
    }

    /// Bytes of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.path.metadata().map_or(0, |file| file.len())
    }

    pub(super) fn load(&self) -> Result<Loaded, PackError> {
        let read = self.database()?.begin_read()?;
        let mut loaded = Loaded::default();
        for row in read.open_table(PACKS)?.iter()? {
            let (number, pack) = row?;
            loaded.packs.insert(number.value(), decoded(pack.value())?);
        }
        for row in read.open_table(LEASES)?.iter()? {
            let (number, lease) = row?;
            loaded.leases.insert(LeaseId(number.value()), decoded(lease.value())?);
        }
        if let Some(about) = read.open_table(ABOUT)?.get(0)? {
            loaded.about = decoded(about.value())?;
        }
        Ok(loaded)
    }

    pub(super) fn find(&self, key: &Key) -> Result<Option<Place>, PackError> {
        let table = self.database()?.begin_read()?.open_table(FRAGMENTS)?;
        Ok(table.get(&key.bytes())?.map(|place| Place::read(place.value())))
    }

    /// The first of a fragment's copies, under whatever leases.
    pub(super) fn copies(&self, id: &Guid) -> Result<Vec<(Key, Place)>, PackError> {
        let (first, last) = (Key { id: *id, lease: LeaseId(0) }, LeaseId(u64::MAX));
        let table = self.database()?.begin_read()?.open_table(FRAGMENTS)?;
        let (first, last) = (first.bytes(), Key { id: *id, lease: last }.bytes());
        let range = table.range::<&[u8; 40]>(&first..=&last)?;
        let mut copies = Vec::new();
        for row in range.take(COPIES_MAX) {
            let (key, place) = row?;
            copies.push((Key::read(key.value()), Place::read(place.value())));
        }
        Ok(copies)
    }

    /// The next fragments from `from` on, by GUID.
    pub(super) fn scan(&self, from: &Key, limit: usize) -> Result<Vec<(Key, Place)>, PackError> {
        let table = self.database()?.begin_read()?.open_table(FRAGMENTS)?;
        let mut rows = Vec::new();
        for row in table.range::<&[u8; 40]>(&from.bytes()..)?.take(limit) {
            let (key, place) = row?;
            rows.push((Key::read(key.value()), Place::read(place.value())));
        }
        Ok(rows)
    }

    /// Some fragments that may go.
    pub(super) fn surplus(&self, limit: usize) -> Result<Vec<Key>, PackError> {
        let table = self.database()?.begin_read()?.open_table(SURPLUS)?;
        let mut keys = Vec::new();
        for row in table.iter()?.take(limit) {
            keys.push(Key::read(row?.0.value()));
        }
        Ok(keys)
    }

    pub(super) fn holding(&self, pack: u32, lease: LeaseId) -> Result<Holding, PackError> {
        let table = self.database()?.begin_read()?.open_table(HOLDINGS)?;
        let found = table.get((pack, lease.0))?.map(|holding| holding.value());
        Ok(found.map_or_else(Holding::default, |(bytes, count)| Holding { bytes, count }))
    }

    /// What a pack holds, by lease.
    pub(super) fn holdings(&self, pack: u32) -> Result<BTreeMap<LeaseId, Holding>, PackError> {
        let table = self.database()?.begin_read()?.open_table(HOLDINGS)?;
        let mut holdings = BTreeMap::new();
        for row in table.range((pack, 0)..=(pack, u64::MAX))? {
            let (key, holding) = row?;
            let (bytes, count) = holding.value();
            holdings.insert(LeaseId(key.value().1), Holding { bytes, count });
        }
        Ok(holdings)
    }

    /// Makes the changes durable, all or none.
    pub(super) fn commit(&self, changes: Option<&Changes>) -> Result<(), PackError> {
        let mut write = self.database()?.begin_write()?;
        // Peers choose the keys: nothing is left to the checksums of one commit.
        write.set_two_phase_commit(true);
        {
            let mut fragments = write.open_table(FRAGMENTS)?;
            let mut surplus = write.open_table(SURPLUS)?;
            let mut packs = write.open_table(PACKS)?;
            let mut leases = write.open_table(LEASES)?;
            let mut holdings = write.open_table(HOLDINGS)?;
            let mut about = write.open_table(ABOUT)?;
            let changes = match changes {
                Some(changes) => changes,
                None => &Changes::default(),
            };
            for (key, place) in &changes.fragments {
                let bytes = key.bytes();
                match place {
                    Some(place) => fragments.insert(&bytes, &place.bytes())?,
                    None => fragments.remove(&bytes)?,
                };
                match place {
                    Some(place) if place.surplus => surplus.insert(&bytes, ())?,
                    _ => surplus.remove(&bytes)?,
                };
            }
            heads::write(&write, &changes.heads)?;
            for (number, pack) in &changes.packs {
                match pack {
                    Some(pack) => packs.insert(number, codec::encode(pack).as_slice())?,
                    None => packs.remove(number)?,
                };
            }
            for (lease, row) in &changes.leases {
                match row {
                    Some(row) => leases.insert(lease.0, codec::encode(row).as_slice())?,
                    None => leases.remove(lease.0)?,
                };
            }
            for ((pack, lease), holding) in &changes.holdings {
                match holding {
                    Holding { count: 0, .. } => holdings.remove((*pack, lease.0))?,
                    Holding { bytes, count } => {
                        holdings.insert((*pack, lease.0), (*bytes, *count))?
                    }
                };
            }
            if changes.about != About::default() {
                about.insert(0, codec::encode(&changes.about).as_slice())?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

/// A row that this version did not write is as good as a damaged one.
fn decoded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, PackError> {
    codec::decode(bytes).map_err(|error| redb::Error::Corrupted(error.to_string()).into())
}
