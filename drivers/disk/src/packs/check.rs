//! All counters counted again, for tests.

use std::collections::BTreeMap;

use isos_base::{Guid, LeaseId};

use super::Packs;
use super::index::{Key, Place};
use super::record::record_bytes;

impl Packs {
    /// Every fragment that the shelf says it has.
    fn all(&self) -> Vec<(Key, Place)> {
        let index = self.0.index();
        let state = self.0.state();
        let kept = index.scan(&Key::FIRST, usize::MAX).unwrap();
        let mut all: BTreeMap<Key, Option<Place>> =
            kept.into_iter().map(|(key, place)| (key, Some(place))).collect();
        all.extend(state.recent.iter().map(|(key, place)| (*key, *place)));
        let all = all.into_iter().filter_map(|(key, place)| Some((key, place?)));
        all.filter(|(_, place)| state.packs.contains_key(&place.pack)).collect()
    }

    /// What there is: names, leases, packs and places in them.
    pub(crate) fn list(&self) -> Vec<(Guid, LeaseId, u32, u32)> {
        let row = |(key, place): (Key, Place)| (key.id, key.lease, place.pack, place.offset);
        self.all().into_iter().map(row).collect()
    }

    /// Panics if a counter is not what it counts.
    pub(crate) fn check_invariants(&self) {
        let all = self.all();
        let index = self.0.index();
        let state = self.0.state();
        let mut packs = BTreeMap::<u32, (u32, u32)>::new();
        let mut leases = BTreeMap::<LeaseId, (u64, u64)>::new();
        let mut holdings = BTreeMap::<(u32, LeaseId), (u64, u32)>::new();
        let mut surplus = 0;
        for (key, place) in &all {
            let pack = packs.entry(place.pack).or_default();
            *pack = (pack.0 + record_bytes(place.length), pack.1 + 1);
            let lease = leases.entry(key.lease).or_default();
            *lease = (lease.0 + u64::from(place.length), lease.1 + 1);
            let holding = holdings.entry((place.pack, key.lease)).or_default();
            *holding = (holding.0 + u64::from(place.length), holding.1 + 1);
            surplus += if place.surplus { u64::from(place.length) } else { 0 };
            let end = u64::from(place.offset) + u64::from(record_bytes(place.length));
            assert!(end <= u64::from(state.packs[&place.pack].length), "{key:?} is behind the end");
        }
        assert_eq!(state.count, all.len() as u64);
        assert_eq!(state.live, all.iter().map(|(_, place)| u64::from(place.length)).sum::<u64>());
        assert_eq!(state.packed, state.packs.values().map(|p| u64::from(p.length)).sum::<u64>());
        if state.about.sweep.is_none() {
            assert_eq!(state.about.surplus, surplus);
        }
        for (number, pack) in &state.packs {
            let counted = packs.get(number).copied().unwrap_or_default();
            assert_eq!((pack.live, pack.count), counted, "pack {number}");
            assert!(pack.live <= pack.length, "pack {number}");
            assert!(*number < state.about.next_pack);
            for (lease, holding) in state.holdings(&index, *number).unwrap() {
                let counted = holdings.remove(&(*number, lease)).unwrap_or_default();
                assert_eq!((holding.bytes, holding.count), counted, "{lease:?} in {number}");
            }
        }
        assert_eq!(holdings, BTreeMap::new());
        for (lease, row) in &state.leases {
            let counted = leases.remove(lease).unwrap_or_default();
            assert_eq!((row.used, row.count), counted, "{lease:?}");
        }
        assert_eq!(leases, BTreeMap::new());
    }
}
