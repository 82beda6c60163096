//! Where heads lie, and what of that the index does not have yet.

use std::collections::BTreeMap;

use isos_base::LeaseId;
use isos_base::key::PublicKey;

use super::State;
use crate::packs::error::PackError;
use crate::packs::index::{HeadKey, HeadPlace, Index};

impl State {
    /// Where the head of this key lies, under this lease.
    pub(in crate::packs) fn find_head(
        &self,
        index: &Index,
        key: &HeadKey,
    ) -> Result<Option<HeadPlace>, PackError> {
        let place = match self.recent_heads.get(key) {
            Some(recent) => *recent,
            None => index.find_head(key)?,
        };
        Ok(place.filter(|place| self.packs.contains_key(&place.at.pack)))
    }

    /// The heads of a lease.
    pub(in crate::packs) fn heads_of_lease(
        &self,
        index: &Index,
        lease: LeaseId,
    ) -> Result<BTreeMap<HeadKey, HeadPlace>, PackError> {
        let mut heads = index.heads_of_lease(lease)?;
        for (key, recent) in self.recent_heads.range(HeadKey::range(lease)) {
            match recent {
                Some(place) => heads.insert(*key, *place),
                None => heads.remove(key),
            };
        }
        heads.retain(|_, place| self.packs.contains_key(&place.at.pack));
        Ok(heads)
    }

    /// The heads of a key under all leases, the newest first.
    pub(in crate::packs) fn heads_of_key(
        &self,
        index: &Index,
        key: &PublicKey,
    ) -> Result<Vec<(HeadKey, u64)>, PackError> {
        let mut versions = index.versions(key)?;
        for (key, recent) in self.recent_heads.iter().filter(|(recent, _)| recent.key == *key) {
            match recent {
                Some(place) => versions.insert(*key, place.version),
                None => versions.remove(key),
            };
        }
        let mut newest: Vec<_> = versions.into_iter().collect();
        newest.sort_by_key(|(_, version)| std::cmp::Reverse(*version));
        Ok(newest)
    }

    /// The heads that lie in a pack, under these leases.
    pub(super) fn heads_in<'a>(
        &self,
        index: &Index,
        pack: u32,
        leases: impl Iterator<Item = &'a LeaseId>,
    ) -> Result<Vec<HeadKey>, PackError> {
        let mut found = Vec::new();
        for lease in leases {
            let heads = self.heads_of_lease(index, *lease)?;
            found.extend(
                heads.iter().filter(|(_, place)| place.at.pack == pack).map(|(key, _)| *key),
            );
        }
        Ok(found)
    }

    /// As [`State::place`], for a head.
    pub(in crate::packs) fn place_head(
        &mut self,
        index: &Index,
        key: HeadKey,
        new: Option<HeadPlace>,
    ) -> Result<(), PackError> {
        let old = self.find_head(index, &key)?;
        for place in [old, new].into_iter().flatten() {
            self.load_holding(index, place.at.pack, key.lease)?;
        }
        if let Some(old) = old {
            self.count_place(key.lease, old.at, false);
        }
        if let Some(new) = new {
            self.count_place(key.lease, new.at, true);
        }
        self.recent_heads.insert(key, new);
        Ok(())
    }
}
