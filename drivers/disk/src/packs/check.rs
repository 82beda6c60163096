//! All counters counted again, for tests.

use std::collections::BTreeMap;

use isos_base::key::PublicKey;
use isos_base::{Guid, LeaseId};

use super::Packs;
use super::index::{HeadKey, HeadPlace, Key, Place};
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

    /// Every head that the shelf says it has.
    fn all_heads(&self) -> BTreeMap<HeadKey, HeadPlace> {
        let index = self.0.index();
        let state = self.0.state();
        let mut all = index.all_heads();
        let saved = all.clone();
        for (key, recent) in &state.recent_heads {
            match recent {
                Some(place) => all.insert(*key, *place),
                None => all.remove(key),
            };
        }
        for (key, place) in &saved {
            assert_eq!(index.versions(&key.key).unwrap().get(key), Some(&place.version));
        }
        for (key, place) in &all {
            assert!(state.packs.contains_key(&place.at.pack), "{key:?} is in no pack");
        }
        all
    }

    /// What there is: names, leases, packs and places in them.
    pub(crate) fn list(&self) -> Vec<(Guid, LeaseId, u32, u32)> {
        let row = |(key, place): (Key, Place)| (key.id, key.lease, place.pack, place.offset);
        self.all().into_iter().map(row).collect()
    }

    /// The heads there are: keys, leases, packs and places in them.
    pub(crate) fn list_heads(&self) -> Vec<(PublicKey, LeaseId, u32, u32)> {
        let row = |(key, HeadPlace { at, .. }): (HeadKey, HeadPlace)| {
            (key.key, key.lease, at.pack, at.offset)
        };
        self.all_heads().into_iter().map(row).collect()
    }

    /// Panics if a counter is not what it counts.
    pub(crate) fn check_invariants(&self) {
        let all = self.all();
        let heads = self.all_heads();
        let index = self.0.index();
        let state = self.0.state();
        let mut packs = BTreeMap::<u32, (u32, u32)>::new();
        let mut leases = BTreeMap::<LeaseId, (u64, u64)>::new();
        let mut holdings = BTreeMap::<(u32, LeaseId), (u64, u32)>::new();
        let mut surplus = 0;
        let fragments = all.iter().map(|(key, place)| (key.lease, place));
        let places = fragments.chain(heads.iter().map(|(key, place)| (key.lease, &place.at)));
        let places: Vec<_> = places.collect();
        for (lease, place) in &places {
            let pack = packs.entry(place.pack).or_default();
            *pack = (pack.0 + record_bytes(place.length), pack.1 + 1);
            let of_lease = leases.entry(*lease).or_default();
            *of_lease = (of_lease.0 + u64::from(place.length), of_lease.1 + 1);
            let holding = holdings.entry((place.pack, *lease)).or_default();
            *holding = (holding.0 + u64::from(place.length), holding.1 + 1);
            surplus += if place.surplus { u64::from(place.length) } else { 0 };
            let end = u64::from(place.offset) + u64::from(record_bytes(place.length));
            let length = u64::from(state.packs[&place.pack].length);
            assert!(end <= length, "of {lease:?} at {} is behind the end", place.offset);
        }
        assert_eq!(state.count, places.len() as u64);
        let live = places.iter().map(|(_, place)| u64::from(place.length));
        assert_eq!(state.live, live.sum::<u64>());
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
