//! Walks: what each is for, how it goes on, and what is done when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isos_base::time::{Span, Time};
use isos_base::{Guid, HostId};

use super::ask::Errand;
use super::{Effect, Outcome, Route, SearchId};
use crate::contact::Contact;
use crate::lookup::{Aim, Found, Lookup};
use crate::notary::Notary;
use crate::pointer::Pointer;
use crate::position::Position;
use crate::rtt::Rtt;
use crate::wire::Request;

/// Walks at a time.
pub(super) const WALKS_MAX: usize = 32;
/// A walk that is not over by then ends with what it has.
const WALK_TIME_MAX: Span = Span::secs(60);
/// How much a new measurement of the spacing counts.
const SPACING_PART: f64 = 0.125;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WalkId(u64);

/// What a walk is for.
#[derive(Debug)]
enum Purpose {
    /// To find the neighbours, and be found by them.
    Join,
    /// To find who holds something.
    Search { search: SearchId, holders: u8, seen: BTreeSet<HostId>, first_hops: u8 },
    /// To find who is nearest.
    Seek { search: SearchId },
    /// To find the region of a GUID of ours.
    Announce { guid: Guid },
}

#[derive(Debug)]
struct Walk {
    lookup: Lookup,
    purpose: Purpose,
    begun: Time,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Walks {
    walks: BTreeMap<WalkId, Walk>,
    last: u64,
}

impl Walks {
    pub(super) fn check(&self) {
        assert!(self.walks.len() <= WALKS_MAX, "too many walks");
        self.walks.values().for_each(|walk| walk.lookup.check_invariants());
    }
}

impl<N: Notary> Route<N> {
    pub(super) fn search(
        &mut self,
        search: SearchId,
        guid: Guid,
        holders: u8,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.store.get(self.now, guid, usize::from(holders), &mut self.random);
        let seen: BTreeSet<HostId> = known.iter().map(|it| it.holder.host()).collect();
        let enough = seen.len() >= usize::from(holders);
        if !known.is_empty() {
            effects.push(Effect::Found { search, pointers: known });
        }
        if enough {
            let outcome = Outcome { holders: seen.len() as u32, ..Outcome::default() };
            effects.push(Effect::Ended { search, outcome });
            return;
        }
        let purpose = Purpose::Search { search, holders, seen, first_hops: 0 };
        self.begin_or_refuse(guid.into(), purpose, search, effects);
    }

    pub(super) fn seek(&mut self, search: SearchId, target: Position, effects: &mut Vec<Effect>) {
        self.begin_or_refuse(target, Purpose::Seek { search }, search, effects);
    }

    fn begin_or_refuse(
        &mut self,
        target: Position,
        purpose: Purpose,
        search: SearchId,
        effects: &mut Vec<Effect>,
    ) {
        if !self.begin(target, purpose, effects) {
            let outcome = Outcome { refused: true, ..Outcome::default() };
            effects.push(Effect::Ended { search, outcome });
        }
    }

    /// Finds the neighbours.
    pub(super) fn join(&mut self, effects: &mut Vec<Effect>) -> bool {
        self.begin(self.own.position(), Purpose::Join, effects)
    }

    /// Finds the region of a GUID of ours.
    pub(super) fn find_region(&mut self, guid: Guid, effects: &mut Vec<Effect>) -> bool {
        self.begin(guid.into(), Purpose::Announce { guid }, effects)
    }

    fn begin(&mut self, target: Position, purpose: Purpose, effects: &mut Vec<Effect>) -> bool {
        if self.walks.walks.len() >= WALKS_MAX || !self.requests.has_room_for_a_walk() {
            return false;
        }
        let aim = Aim {
            target,
            pointers: matches!(purpose, Purpose::Search { .. }),
            nearest: self.tuning.bucket,
            paths: self.tuning.paths,
            alpha: self.tuning.alpha,
        };
        // Who was only heard of comes behind those who have shown that they live.
        let mut near = self.table.closest(target, self.tuning.bucket, true);
        if near.len() < self.tuning.bucket {
            near = self.table.closest(target, self.tuning.bucket, false);
        }
        let seeds: Vec<(Arc<Contact>, Rtt)> =
            near.into_iter().map(|entry| (entry.contact.clone(), entry.rtt)).collect();
        let lookup = Lookup::new(self.own.position(), aim, &seeds);
        self.walks.last += 1;
        let id = WalkId(self.walks.last);
        self.walks.walks.insert(id, Walk { lookup, purpose, begun: self.now });
        self.drive(id, effects);
        true
    }

    /// Sends what the walk wants sent, and ends it when there is nothing more.
    fn drive(&mut self, id: WalkId, effects: &mut Vec<Effect>) {
        loop {
            let Some(walk) = self.walks.walks.get_mut(&id) else { return };
            if self.now.since(walk.begun) > WALK_TIME_MAX {
                break;
            }
            let Some(query) = walk.lookup.next_query() else {
                if walk.lookup.is_idle() {
                    break;
                }
                return;
            };
            let place = query.to.position();
            if !self.ask(query.to, Request::Find(query.find), Errand::Walk(id), effects)
                && let Some(walk) = self.walks.walks.get_mut(&id)
            {
                walk.lookup.failed(place);
            }
        }
        self.end(id, effects);
    }

    pub(super) fn walk_on(
        &mut self,
        id: WalkId,
        from: &Contact,
        contacts: &[Arc<Contact>],
        pointers: Vec<Pointer>,
        effects: &mut Vec<Effect>,
    ) {
        let (now, notary, table) = (self.now, &mut self.notary, &self.table);
        let Some(walk) = self.walks.walks.get_mut(&id) else { return };
        let place = from.position();
        let judge = |contact: &Contact| notary.judge(contact.certificate(), now);
        let heard = walk.lookup.answered(place, contacts, judge, |place| table.rtt(place));
        let mut is_over = false;
        if let Purpose::Search { search, holders, seen, first_hops } = &mut walk.purpose {
            let guid = Guid::from(walk.lookup.aim().target);
            let mut new = Vec::new();
            for pointer in pointers {
                let is_new = pointer.guid == guid && !seen.contains(&pointer.holder.host());
                if is_new && pointer.is_good(notary, now) {
                    seen.insert(pointer.holder.host());
                    new.push(pointer);
                }
            }
            if !new.is_empty() {
                if *first_hops == 0 {
                    *first_hops = walk.lookup.hops(place).max(1);
                }
                effects.push(Effect::Found { search: *search, pointers: new });
                is_over = seen.len() >= usize::from(*holders);
            }
        }
        self.punish(heard, place);
        if is_over { self.end(id, effects) } else { self.drive(id, effects) }
    }

    pub(super) fn walk_failed(&mut self, id: WalkId, place: Position, effects: &mut Vec<Effect>) {
        if let Some(walk) = self.walks.walks.get_mut(&id) {
            walk.lookup.failed(place);
            self.drive(id, effects);
        }
    }

    pub(super) fn walk_late(&mut self, id: WalkId, place: Position, effects: &mut Vec<Effect>) {
        if let Some(walk) = self.walks.walks.get_mut(&id) {
            walk.lookup.late(place);
            self.drive(id, effects);
        }
    }

    fn end(&mut self, id: WalkId, effects: &mut Vec<Effect>) {
        let Some(Walk { lookup, purpose, begun }) = self.walks.walks.remove(&id) else { return };
        let found = lookup.found();
        if !matches!(purpose, Purpose::Search { .. }) {
            self.measure_spacing(lookup.aim().target, &found);
        }
        let outcome = |holders: u32, hops: u8| Outcome {
            nearest: found.iter().map(|it| it.contact.clone()).collect(),
            holders,
            hops,
            asked: lookup.asked() as u32,
            lies: lookup.lies(),
            took: self.now.since(begun),
            refused: false,
        };
        let nearest_hops = found.first().map_or(0, |it| it.hops);
        match purpose {
            Purpose::Join if found.is_empty() => self.pace.alone(),
            Purpose::Join => self.pace.joined(self.now, self.table.depth()),
            Purpose::Seek { search } => {
                let outcome = outcome(0, nearest_hops);
                effects.push(Effect::Ended { search, outcome });
            }
            Purpose::Search { search, seen, first_hops, .. } => {
                let hops = if first_hops > 0 { first_hops } else { nearest_hops };
                let outcome = outcome(seen.len() as u32, hops);
                effects.push(Effect::Ended { search, outcome });
            }
            Purpose::Announce { guid } => {
                let found = found.into_iter().map(|it| it.contact).collect();
                self.put_region(guid, found, effects);
            }
        }
    }

    /// Learns from the hosts around a place how close together hosts are.
    fn measure_spacing(&mut self, target: Position, found: &[Found]) {
        if found.len() < self.tuning.bucket {
            return;
        }
        let Some(last) = found.last() else { return };
        let reach = last.contact.position().distance(target).top() as f64;
        let sample = reach / found.len() as f64;
        self.spacing = if self.spacing > 0.0 {
            self.spacing + (sample - self.spacing) * SPACING_PART
        } else {
            sample
        };
    }
}
