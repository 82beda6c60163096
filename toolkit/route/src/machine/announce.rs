//! What this host holds, told to the regions of the GUIDs, again and again.
//!
//! A region is all routers nearer than a distance in which [`crate::Tuning::replicas`] are
//! expected, not the nearest so many: whoever squeezes in at the very front pushes nobody out.
//! GUIDs that lie near each other have their regions in common, and one walk finds it for all of
//! them: a host with a million fragments walks as often as there are regions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use isos_base::Guid;
use isos_base::time::{Span, Time};

use super::ask::Errand;
use super::{Effect, HELD_MAX, Route};
use crate::contact::Contact;
use crate::notary::Notary;
use crate::pointer::{Pointer, Put};
use crate::position::Position;
use crate::wire::{PUT_MAX, Request};

/// Regions that are put to at a time. Walked to is one at a time, since the next GUID may well
/// belong to the same.
const GROUPS_MAX: usize = 4;
/// GUIDs of one region that are put together; the others have their turn next.
const GROUP_MAX: usize = 1_024;
/// Until what was put nowhere is tried again.
const RETRY: Span = Span::secs(30);

/// GUIDs that are put to one region.
#[derive(Debug)]
struct Group {
    /// Routers around, of which each GUID takes the nearest.
    found: Vec<Arc<Contact>>,
    rows: BTreeMap<Guid, Row>,
    /// Puts that are under way.
    puts: usize,
}

#[derive(Debug, Default)]
struct Row {
    copies: u8,
    /// Routers of the group that were chosen so far, by distance.
    tried: usize,
    /// Whether one of them had enough of this GUID.
    is_crowded: bool,
}

/// What is held, and when it is announced next.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    held: BTreeMap<Guid, Time>,
    due: BTreeSet<(Time, Guid)>,
    /// The GUID whose region is on its way to be found.
    walking: Option<Guid>,
    groups: BTreeMap<u64, Group>,
    last: u64,
}

impl Announcer {
    pub(super) fn hold(&mut self, now: Time, guids: Vec<Guid>) {
        for guid in guids {
            if self.held.len() < HELD_MAX && !self.held.contains_key(&guid) {
                self.set_due(guid, now);
            }
        }
    }

    pub(super) fn drop_all(&mut self, guids: &[Guid]) {
        for guid in guids {
            if let Some(at) = self.held.remove(guid) {
                self.due.remove(&(at, *guid));
            }
        }
    }

    pub(super) fn all_again(&mut self, now: Time) {
        self.due.clear();
        self.held.values_mut().for_each(|at| *at = now);
        self.due.extend(self.held.keys().map(|guid| (now, *guid)));
    }

    fn set_due(&mut self, guid: Guid, at: Time) {
        if let Some(old) = self.held.insert(guid, at) {
            self.due.remove(&(old, guid));
        }
        self.due.insert((at, guid));
    }

    fn has_room(&self) -> bool {
        self.walking.is_none() && self.groups.len() < GROUPS_MAX
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().filter(|_| self.has_room()).map(|(at, _)| *at)
    }

    pub(super) fn check(&self) {
        let due: BTreeSet<_> = self.held.iter().map(|(guid, at)| (*at, *guid)).collect();
        assert_eq!(due, self.due, "what is announced when");
        assert!(self.held.len() <= HELD_MAX, "holds too much");
        assert!(self.groups.len() <= GROUPS_MAX, "too many regions");
        assert!(self.groups.values().all(|group| group.puts > 0), "a group that waits for nothing");
    }
}

/// The GUIDs that share so many bits with this place.
pub(super) fn cell(place: Position, shared: usize) -> RangeInclusive<Guid> {
    let (first, last) = place.cell(shared).into_inner();
    first.into()..=last.into()
}

impl<N: Notary> Route<N> {
    /// Walks to the regions of what is due.
    pub(super) fn announce(&mut self, effects: &mut Vec<Effect>) {
        while self.announcer.has_room()
            && let Some(&(at, guid)) = self.announcer.due.first()
            && at <= self.now
        {
            // Whatever comes of the walk, its turn comes again.
            self.announcer.set_due(guid, self.now + RETRY);
            if self.table.is_empty() {
                continue;
            }
            self.announcer.walking = Some(guid);
            if !self.find_region(guid, effects) {
                self.announcer.walking = None;
            }
        }
    }

    /// The region is found: puts what belongs there.
    pub(super) fn put_region(
        &mut self,
        guid: Guid,
        found: Vec<Arc<Contact>>,
        effects: &mut Vec<Effect>,
    ) {
        self.announcer.walking = None;
        if found.is_empty() {
            return;
        }
        // The last one found shares so many bits; one bit more, and all routers are found.
        let is_whole = found.len() < self.tuning.bucket;
        let target = Position::from(guid);
        let reach = found.last().map_or(0, |it| it.position().shared_prefix(target) + 1);
        let cell = cell(target, if is_whole { 0 } else { reach });
        let soon = self.now + Span(self.tuning.republish.0 / 4);
        let held = self.announcer.held.range(cell).filter(|(_, at)| **at <= soon);
        let guids = held.map(|(guid, _)| *guid).take(GROUP_MAX - 1);
        let mut rows: BTreeMap<Guid, Row> = guids.map(|guid| (guid, Row::default())).collect();
        if self.announcer.held.contains_key(&guid) {
            rows.insert(guid, Row::default());
        }
        let group = Group { found, rows, puts: 0 };
        self.announcer.last += 1;
        let id = self.announcer.last;
        let all: Vec<Guid> = group.rows.keys().copied().collect();
        self.announcer.groups.insert(id, group);
        let replicas = all.iter().map(|guid| (*guid, self.replicas(id, *guid))).collect();
        self.put_more(id, replicas, effects);
    }

    /// Routers that a GUID is put to: all in its region, but not too few.
    fn replicas(&self, group: u64, guid: Guid) -> usize {
        let Some(group) = self.announcer.groups.get(&group) else { return 0 };
        let (least, target) = (self.tuning.replicas * 2 / 3, Position::from(guid));
        let radius = self.spacing * self.tuning.replicas as f64;
        let within = |it: &&Arc<Contact>| (it.position().distance(target).top() as f64) < radius;
        group.found.iter().filter(within).count().max(least).min(group.found.len())
    }

    /// Puts each of these to so many routers more, and ends the group if nothing is under way.
    fn put_more(&mut self, id: u64, more: Vec<(Guid, usize)>, effects: &mut Vec<Effect>) {
        let Some(mut group) = self.announcer.groups.remove(&id) else { return };
        let mut batches: BTreeMap<Position, (Arc<Contact>, Vec<Guid>)> = BTreeMap::new();
        let (now, expires) = (self.now, self.now + self.tuning.life);
        let mut pointers: BTreeMap<Guid, Pointer> = BTreeMap::new();
        for (guid, count) in more {
            let Some(row) = group.rows.get_mut(&guid) else { continue };
            let target = Position::from(guid);
            let mut near: Vec<&Arc<Contact>> = group.found.iter().collect();
            near.sort_by_key(|it| it.position().distance(target));
            let chosen = near.into_iter().skip(row.tried).take(count);
            let (mut last, mut chosen_count) = (None, 0);
            for contact in chosen {
                let batch = batches.entry(contact.position());
                batch.or_insert_with(|| (contact.clone(), Vec::new())).1.push(guid);
                (last, chosen_count) =
                    (Some(contact.position().distance(target)), chosen_count + 1);
            }
            if chosen_count == 0 {
                continue;
            }
            let notary = &mut self.notary;
            let pointer = Pointer::sign(guid, self.own.clone(), expires, 0, notary);
            // A router is in its own region as well.
            let own = self.own.position().distance(target);
            if self.is_router && row.tried == 0 && last.is_some_and(|last| own < last) {
                row.copies += u8::from(self.store.put(now, pointer.clone()) == Put::Kept);
            }
            row.tried += chosen_count;
            pointers.insert(guid, pointer);
        }
        for (contact, guids) in batches.into_values() {
            for guids in guids.chunks(PUT_MAX) {
                let items = guids.iter().filter_map(|guid| pointers.get(guid)).cloned().collect();
                let errand = Errand::Announce { group: id, guids: guids.to_vec() };
                if self.ask(contact.clone(), Request::Put(items), errand, effects) {
                    group.puts += 1;
                }
            }
        }
        if group.puts > 0 {
            self.announcer.groups.insert(id, group);
            return;
        }
        self.end_group(group, effects);
    }

    /// A put has ended; no verdict stands for one that failed. Who was turned away goes on to the
    /// next router further out.
    pub(super) fn announced(
        &mut self,
        id: u64,
        guids: &[Guid],
        puts: &[Put],
        effects: &mut Vec<Effect>,
    ) {
        let Some(group) = self.announcer.groups.get_mut(&id) else { return };
        group.puts = group.puts.saturating_sub(1);
        let mut more = Vec::new();
        for (at, guid) in guids.iter().enumerate() {
            let Some(row) = group.rows.get_mut(guid) else { continue };
            match puts.get(at) {
                Some(Put::Kept) => row.copies = row.copies.saturating_add(1),
                Some(Put::Full) => {
                    row.is_crowded = true;
                    more.push((*guid, 1));
                }
                Some(Put::Quota) | None => more.push((*guid, 1)),
                Some(Put::Refused) => {}
            }
        }
        if !more.is_empty() || group.puts == 0 {
            self.put_more(id, more, effects);
        }
    }

    fn end_group(&mut self, group: Group, effects: &mut Vec<Effect>) {
        let mut copies = Vec::with_capacity(group.rows.len());
        for (guid, row) in group.rows {
            if !self.announcer.held.contains_key(&guid) {
                continue;
            }
            let wait = if row.copies == 0 && !row.is_crowded {
                RETRY
            } else if row.copies == 0 {
                // All routers around have enough of it, and readers do without this holder.
                Span(self.tuning.republish.0 / 4)
            } else {
                // Up to an eighth earlier, so that what was announced together spreads a little.
                let early = self.random.below(self.tuning.republish.0 / 8);
                Span(self.tuning.republish.0 - early)
            };
            self.announcer.set_due(guid, self.now + wait);
            copies.push((guid, row.copies));
        }
        effects.push(Effect::Announced { copies });
    }
}
