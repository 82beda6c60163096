//! Who really has what, whatever is believed: a fragment is there as long as its host lives.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::Guid;

/// A segment's number, and how often it was stored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) number: u32,
    pub(super) stored: u32,
}

impl Name {
    pub(super) fn guid(self) -> Guid {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&self.number.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.stored.to_be_bytes());
        Guid(bytes)
    }

    pub(super) fn of(guid: &Guid) -> Self {
        let word = |at: usize| {
            let bytes = guid.0[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        Self { number: word(0), stored: word(4) }
    }
}

/// All fragments that there are.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Of each segment: fragment and host.
    holders: BTreeMap<u32, BTreeSet<(u16, u32)>>,
    on_host: BTreeMap<u32, BTreeSet<u32>>,
}

impl Truth {
    pub(super) fn add(&mut self, segment: u32, fragment: u16, host: u32) {
        self.holders.entry(segment).or_default().insert((fragment, host));
        self.on_host.entry(host).or_default().insert(segment);
    }

    pub(super) fn remove(&mut self, segment: u32, fragment: u16, host: u32) {
        if let Some(holders) = self.holders.get_mut(&segment) {
            holders.remove(&(fragment, host));
            if holders.iter().all(|(_, it)| *it != host) {
                self.on_host.get_mut(&host).map(|segments| segments.remove(&segment));
            }
        }
    }

    /// A host has nothing any more; says of which segments it had something.
    pub(super) fn remove_host(&mut self, host: u32) -> BTreeSet<u32> {
        let segments = self.on_host.remove(&host).unwrap_or_default();
        for segment in &segments {
            let holders = self.holders.get_mut(segment).expect("it is listed");
            holders.retain(|(_, it)| *it != host);
        }
        segments
    }

    pub(super) fn remove_segment(&mut self, segment: u32) {
        for (_, host) in self.holders.remove(&segment).unwrap_or_default() {
            self.on_host.get_mut(&host).map(|segments| segments.remove(&segment));
        }
    }

    /// Who has something of a segment.
    pub(super) fn holders(&self, segment: u32) -> impl Iterator<Item = (u16, u32)> + '_ {
        self.holders.get(&segment).into_iter().flatten().copied()
    }

    /// Different fragments of a segment on hosts of this kind.
    pub(super) fn different(&self, segment: u32, is_meant: impl Fn(u32) -> bool) -> u16 {
        let (mut count, mut last) = (0, None);
        for (fragment, host) in self.holders(segment) {
            if last != Some(fragment) && is_meant(host) {
                last = Some(fragment);
                count += 1;
            }
        }
        count
    }
}
