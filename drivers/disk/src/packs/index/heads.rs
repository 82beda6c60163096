//! The rows of heads: by lease and key, since a lease has few of them; and by key, to find the
//! newest whoever pays for it.

use std::collections::BTreeMap;

use isos_base::LeaseId;
use isos_base::key::PublicKey;
use redb::{ReadableDatabase, TableDefinition, WriteTransaction};

use super::{Index, Place};
use crate::packs::error::PackError;

/// Lease and key: place and version.
const HEADS: TableDefinition<'_, &[u8; 40], &[u8; 21]> = TableDefinition::new("heads");
/// Key and lease: version.
const VERSIONS: TableDefinition<'_, &[u8; 40], u64> = TableDefinition::new("head versions");

/// A head under a lease: as for fragments, each lease has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::packs) struct HeadKey {
    pub(in crate::packs) lease: LeaseId,
    pub(in crate::packs) key: PublicKey,
}

/// Where a head lies, and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::packs) struct HeadPlace {
    pub(in crate::packs) at: Place,
    pub(in crate::packs) version: u64,
}

impl HeadKey {
    /// The first of a lease, and the last.
    pub(in crate::packs) const fn range(lease: LeaseId) -> std::ops::RangeInclusive<Self> {
        Self { lease, key: PublicKey([0; 32]) }..=Self { lease, key: PublicKey([255; 32]) }
    }

    fn by_lease(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.lease.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.key.0);
        bytes
    }

    fn by_key(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.key.0);
        bytes[32..].copy_from_slice(&self.lease.0.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8; 40]) -> Self {
        let (lease, key) = bytes.split_at(8);
        let lease = u64::from_be_bytes(*lease.first_chunk().expect("the first 8 of 40 bytes"));
        Self {
            lease: LeaseId(lease),
            key: PublicKey(*key.first_chunk().expect("the last 32 of 40 bytes")),
        }
    }
}

impl HeadPlace {
    fn bytes(&self) -> [u8; 21] {
        let mut bytes = [0; 21];
        bytes[..13].copy_from_slice(&self.at.bytes());
        bytes[13..].copy_from_slice(&self.version.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; 21]) -> Self {
        let (at, version) = bytes.split_at(13);
        let version = *version.first_chunk().expect("the last 8 of 21 bytes");
        Self {
            at: Place::read(at.first_chunk().expect("the first 13 of 21 bytes")),
            version: u64::from_le_bytes(version),
        }
    }
}

impl Index {
    pub(in crate::packs) fn find_head(
        &self,
        key: &HeadKey,
    ) -> Result<Option<HeadPlace>, PackError> {
        let table = self.database()?.begin_read()?.open_table(HEADS)?;
        Ok(table.get(&key.by_lease())?.map(|place| HeadPlace::read(place.value())))
    }

    /// The heads of a lease, which are few.
    pub(in crate::packs) fn heads_of_lease(
        &self,
        lease: LeaseId,
    ) -> Result<BTreeMap<HeadKey, HeadPlace>, PackError> {
        let table = self.database()?.begin_read()?.open_table(HEADS)?;
        let (first, last) = HeadKey::range(lease).into_inner();
        let (first, last) = (first.by_lease(), last.by_lease());
        let mut heads = BTreeMap::new();
        for row in table.range::<&[u8; 40]>(&first..=&last)? {
            let (key, place) = row?;
            heads.insert(HeadKey::read(key.value()), HeadPlace::read(place.value()));
        }
        Ok(heads)
    }

    /// Which leases have a head of this key, and of which version: somebody pays for each.
    pub(in crate::packs) fn versions(
        &self,
        key: &PublicKey,
    ) -> Result<BTreeMap<HeadKey, u64>, PackError> {
        let table = self.database()?.begin_read()?.open_table(VERSIONS)?;
        let row_of = |lease| HeadKey { lease: LeaseId(lease), key: *key }.by_key();
        let (first, last) = (row_of(0), row_of(u64::MAX));
        let mut versions = BTreeMap::new();
        for row in table.range::<&[u8; 40]>(&first..=&last)? {
            let (row, version) = row?;
            let lease = *row.value().last_chunk().expect("the last 8 of 40 bytes");
            let lease = LeaseId(u64::from_be_bytes(lease));
            versions.insert(HeadKey { lease, key: *key }, version.value());
        }
        Ok(versions)
    }

    /// All heads.
    #[cfg(test)]
    pub(in crate::packs) fn all_heads(&self) -> BTreeMap<HeadKey, HeadPlace> {
        use redb::ReadableTable;

        let table = self.database().unwrap().begin_read().unwrap().open_table(HEADS).unwrap();
        let rows = table.iter().unwrap().map(|row| row.unwrap());
        rows.map(|(key, place)| (HeadKey::read(key.value()), HeadPlace::read(place.value())))
            .collect()
    }
}

/// The part of a transaction that is about heads.
pub(super) fn write(
    write: &WriteTransaction,
    changes: &BTreeMap<HeadKey, Option<HeadPlace>>,
) -> Result<(), PackError> {
    let mut heads = write.open_table(HEADS)?;
    let mut versions = write.open_table(VERSIONS)?;
    for (key, place) in changes {
        match place {
            Some(place) => {
                heads.insert(&key.by_lease(), &place.bytes())?;
                versions.insert(&key.by_key(), place.version)?;
            }
            None => {
                heads.remove(&key.by_lease())?;
                versions.remove(&key.by_key())?;
            }
        }
    }
    Ok(())
}
