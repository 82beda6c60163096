//! What a shelf of packs knows in memory: packs, leases, what the index does not have yet.
//!
//! Every count here changes in [`State::place`], [`State::place_head`] and [`State::forget_pack`],
//! and nowhere else.

mod heads;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use isos_base::fragment::StorageClass;
use isos_base::{LeaseId, Span, Time};

use super::error::{Gone, PackError, Why};
use super::index::{
    About, Bucket, Changes, HeadKey, HeadPlace, Holding, Index, Key, LeaseRow, Loaded, Pack, Place,
};
use super::record::{Kind, record_bytes};
use crate::shelf::ShelfLimits;

const WEEK: Span = Span::secs(7 * 86_400);
/// News of fragments that have gone, until somebody takes them; more are only counted.
pub(super) const GONE_MAX: usize = 65_536;

/// Behind one lock that is never held over a write.
#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: ShelfLimits,
    pub(super) packs: BTreeMap<u32, Pack>,
    pub(super) leases: BTreeMap<LeaseId, LeaseRow>,
    /// What has changed since the last checkpoint. It is looked at before the index.
    pub(super) recent: BTreeMap<Key, Option<Place>>,
    pub(super) recent_heads: BTreeMap<HeadKey, Option<HeadPlace>>,
    holdings: BTreeMap<(u32, LeaseId), Holding>,
    changed_packs: BTreeSet<u32>,
    changed_leases: BTreeSet<LeaseId>,
    pub(super) about: About,
    /// What the index says of it.
    saved_about: About,
    /// Bytes of all packs.
    pub(super) packed: u64,
    /// Bytes of the index's file.
    pub(super) index_bytes: u64,
    /// Bytes and number of the fragments and heads.
    pub(super) live: u64,
    pub(super) count: u64,
    /// Bytes that a crash would have us read again.
    pub(super) unsaved: u64,
    /// Places whose bytes were found wrong by readers.
    pub(super) damaged: BTreeSet<(u32, u32)>,
    pub(super) damaged_keys: Vec<(Key, Place)>,
    pub(super) gone: VecDeque<Gone>,
    pub(super) gone_uncounted: u64,
}

/// The bucket of what lies under a lease. A head is no copy of anything: it does not go with the
/// cache, whatever its lease is for.
pub(super) fn bucket_of(kind: Kind, class: StorageClass, until: Time) -> Bucket {
    let cache = class == StorageClass::Cache && kind == Kind::Fragment;
    Bucket { cache, week: until.0 / WEEK.0 }
}

impl State {
    pub(super) fn new(limits: ShelfLimits, loaded: Loaded, index_bytes: u64) -> Self {
        let Loaded { packs, leases, about } = loaded;
        let sum = |of: fn(&Pack) -> u32| packs.values().map(|pack| u64::from(of(pack))).sum();
        Self {
            limits,
            packed: sum(|pack| pack.length),
            live: leases.values().map(|lease| lease.used).sum(),
            count: sum(|pack| pack.count),
            packs,
            leases,
            recent: BTreeMap::new(),
            recent_heads: BTreeMap::new(),
            holdings: BTreeMap::new(),
            changed_packs: BTreeSet::new(),
            changed_leases: BTreeSet::new(),
            about,
            saved_about: about,
            index_bytes,
            unsaved: 0,
            damaged: BTreeSet::new(),
            damaged_keys: Vec::new(),
            gone: VecDeque::new(),
            gone_uncounted: 0,
        }
    }

    /// Bytes on disk.
    pub(super) fn used(&self) -> u64 {
        self.packed + self.index_bytes
    }

    /// Bytes in packs that nobody needs: what emptying packs would give.
    pub(super) fn dead(&self) -> u64 {
        self.packs.values().map(|pack| u64::from(pack.length.saturating_sub(pack.live))).sum()
    }

    /// Where the fragment lies, under this lease.
    pub(super) fn find(&self, index: &Index, key: &Key) -> Result<Option<Place>, PackError> {
        let place = match self.recent.get(key) {
            Some(recent) => *recent,
            None => index.find(key)?,
        };
        // The packs are the truth: what is in none has gone, though its row be still there.
        Ok(place.filter(|place| self.packs.contains_key(&place.pack)))
    }

    pub(super) fn pack_mut(&mut self, number: u32) -> Option<&mut Pack> {
        let pack = self.packs.get_mut(&number)?;
        self.changed_packs.insert(number);
        Some(pack)
    }

    pub(super) fn lease_mut(&mut self, lease: LeaseId) -> Option<&mut LeaseRow> {
        let row = self.leases.get_mut(&lease)?;
        self.changed_leases.insert(lease);
        Some(row)
    }

    pub(super) fn put_lease(&mut self, lease: LeaseId, row: LeaseRow) {
        self.leases.insert(lease, row);
        self.changed_leases.insert(lease);
    }

    pub(super) fn drop_lease(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        self.changed_leases.insert(lease);
    }

    /// A new, empty pack.
    pub(super) fn new_pack(&mut self, bucket: Bucket) -> u32 {
        let number = self.about.next_pack;
        self.about.next_pack += 1;
        self.put_pack(number, bucket);
        number
    }

    pub(super) fn put_pack(&mut self, number: u32, bucket: Bucket) {
        let pack = Pack { bucket, length: 0, live: 0, count: 0, sealed: false };
        self.packs.insert(number, pack);
        self.changed_packs.insert(number);
    }

    /// A pack has grown, or was found to be shorter.
    pub(super) fn set_length(&mut self, number: u32, length: u32) {
        if let Some(pack) = self.pack_mut(number) {
            let before = std::mem::replace(&mut pack.length, length);
            self.packed = self.packed + u64::from(length) - u64::from(before);
        }
    }

    /// The fragment lies there now, and not where it did; nowhere: it is removed.
    pub(super) fn place(
        &mut self,
        index: &Index,
        key: Key,
        new: Option<Place>,
    ) -> Result<Option<Place>, PackError> {
        let old = self.find(index, &key)?;
        // What can fail comes first.
        for place in [old, new].into_iter().flatten() {
            self.load_holding(index, place.pack, key.lease)?;
        }
        if let Some(old) = old {
            self.count_place(key.lease, old, false);
        }
        if let Some(new) = new {
            self.count_place(key.lease, new, true);
        }
        self.recent.insert(key, new);
        Ok(old)
    }

    fn load_holding(&mut self, index: &Index, pack: u32, lease: LeaseId) -> Result<(), PackError> {
        if let Entry::Vacant(place) = self.holdings.entry((pack, lease)) {
            place.insert(index.holding(pack, lease)?);
        }
        Ok(())
    }

    fn count_place(&mut self, lease: LeaseId, place: Place, comes: bool) {
        let length = u64::from(place.length);
        let change = |total: &mut u64, by: u64| {
            *total = if comes { *total + by } else { total.saturating_sub(by) };
        };
        let one = |total: &mut u32, by: u32| {
            *total = if comes { *total + by } else { total.saturating_sub(by) };
        };
        if let Some(pack) = self.pack_mut(place.pack) {
            one(&mut pack.live, record_bytes(place.length));
            one(&mut pack.count, 1);
        }
        if let Some(row) = self.lease_mut(lease) {
            change(&mut row.used, length);
            change(&mut row.count, 1);
        }
        if let Some(holding) = self.holdings.get_mut(&(place.pack, lease)) {
            change(&mut holding.bytes, length);
            one(&mut holding.count, 1);
        }
        if place.surplus {
            change(&mut self.about.surplus, length);
        }
        change(&mut self.live, length);
        change(&mut self.count, 1);
    }

    /// What a pack holds, by lease.
    pub(super) fn holdings(
        &self,
        index: &Index,
        number: u32,
    ) -> Result<BTreeMap<LeaseId, Holding>, PackError> {
        let mut holdings = index.holdings(number)?;
        let range = (number, LeaseId(0))..=(number, LeaseId(u64::MAX));
        for ((_, lease), holding) in self.holdings.range(range) {
            holdings.insert(*lease, *holding);
        }
        holdings.retain(|_, holding| holding.count > 0);
        Ok(holdings)
    }

    /// The pack is no more, and nothing that was in it. Rows of its fragments may be left in the
    /// index, where they point to nothing, until they are swept.
    pub(super) fn forget_pack(&mut self, index: &Index, number: u32) -> Result<(), PackError> {
        let holdings = self.holdings(index, number)?;
        let heads = self.heads_in(index, number, holdings.keys())?;
        let Some(pack) = self.packs.remove(&number) else { return Ok(()) };
        self.changed_packs.insert(number);
        self.packed -= u64::from(pack.length);
        for (lease, holding) in holdings {
            if let Some(row) = self.lease_mut(lease) {
                row.used = row.used.saturating_sub(holding.bytes);
                row.count = row.count.saturating_sub(u64::from(holding.count));
            }
            self.live = self.live.saturating_sub(holding.bytes);
            self.count = self.count.saturating_sub(u64::from(holding.count));
            self.holdings.insert((number, lease), Holding::default());
        }
        for key in heads {
            self.recent_heads.insert(key, None);
        }
        if pack.count > 0 {
            self.about.sweep = Some((Key::FIRST.id, Key::FIRST.lease));
        }
        Ok(())
    }

    /// Tells that a fragment has gone, if its lease has not.
    pub(super) fn report(&mut self, now: Time, key: Key, length: u32, why: Why) {
        if self.leases.get(&key.lease).is_none_or(|lease| lease.until <= now) {
            return;
        }
        if self.gone.len() >= GONE_MAX {
            self.gone_uncounted += 1;
            return;
        }
        self.gone.push_back(Gone { id: key.id, lease: key.lease, length, why });
    }

    /// All that the index does not have yet.
    pub(super) fn changes(&self) -> Changes {
        let packs = self.changed_packs.iter();
        let leases = self.changed_leases.iter();
        Changes {
            fragments: self.recent.clone(),
            heads: self.recent_heads.clone(),
            packs: packs.map(|number| (*number, self.packs.get(number).copied())).collect(),
            leases: leases.map(|lease| (*lease, self.leases.get(lease).copied())).collect(),
            holdings: self.holdings.clone(),
            about: self.about,
        }
    }

    /// The index has it all.
    pub(super) fn saved(&mut self, index_bytes: u64) {
        self.recent.clear();
        self.recent_heads.clear();
        self.holdings.clear();
        self.changed_packs.clear();
        self.changed_leases.clear();
        self.saved_about = self.about;
        self.unsaved = 0;
        self.index_bytes = index_bytes;
    }

    /// How many places the index does not have.
    pub(super) fn waiting(&self) -> usize {
        self.recent.len() + self.recent_heads.len()
    }

    /// Whether there is anything about fragments or heads that the index does not have.
    pub(super) fn is_changed(&self) -> bool {
        let others = !self.changed_packs.is_empty() || !self.changed_leases.is_empty();
        others || self.waiting() > 0
    }

    /// Whether there is anything that it does not have, be it only how far some work is.
    pub(super) fn is_unsaved(&self) -> bool {
        self.is_changed() || self.about != self.saved_about
    }
}
