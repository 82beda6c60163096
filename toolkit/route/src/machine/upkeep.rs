//! The periodic part. Bamboo's rule: what churn has broken is mended in its own time and not at
//! each loss, or a bad minute makes a storm.

use std::sync::Arc;

use isos_base::Guid;
use isos_base::time::Span;

use super::announce::cell;
use super::ask::Errand;
use super::pace::{EXCHANGE_TICKS, RECOVER_TICKS};
use super::{Effect, Route};
use crate::contact::Contact;
use crate::notary::Notary;
use crate::pointer::Pointer;
use crate::position::Position;
use crate::wire::{CONTACTS_MAX, Find, KNOWN_MAX, PUT_MAX, Request};

/// Contacts that an exchange asks for, even if the bucket is full: some of them are dead by now.
const FRESH: usize = 4;
/// Newcomers that wait for what they should keep.
const NEWCOMERS_MAX: usize = 16;
/// GUIDs that are looked at for one newcomer.
const ROWS_MAX: usize = 4_096;
/// So many of the nearest hand a pointer over, since some of them may be silent.
const GIVERS: usize = 3;
/// Until a host that knows nobody calls those again that it knew.
const ALONE: Span = Span::secs(10);

/// Routers that were not there before, near this host.
#[derive(Debug, Default)]
pub(super) struct Newcomers(Vec<Arc<Contact>>);

impl<N: Notary> Route<N> {
    pub(super) fn upkeep(&mut self, effects: &mut Vec<Effect>) {
        let unproven = self.table.len() - self.table.proven();
        let jitter = self.random.next_u64();
        let Some(tick) = self.pace.tick(self.now, unproven > 0, jitter) else { return };
        self.store.expire(self.now);
        if self.table.is_empty() {
            self.call_the_lost();
            if self.table.is_empty() {
                self.pace.sleep(self.now + ALONE);
                return;
            }
        }
        if !self.pace.is_joined() {
            self.pace.joining();
            if !self.join(effects) {
                self.pace.alone();
            }
            return;
        }
        if let Some(bucket) = self.pace.fill() {
            self.exchange_bucket(bucket, effects);
            return;
        }
        self.probe(effects);
        if tick.is_multiple_of(EXCHANGE_TICKS) {
            let depth = self.table.depth() as u64;
            let bucket = self.random.below(depth) as usize;
            self.exchange_bucket(bucket, effects);
        }
        if tick % EXCHANGE_TICKS == EXCHANGE_TICKS / 2 {
            self.exchange_neighbours(effects);
        }
        if tick.is_multiple_of(RECOVER_TICKS) && self.is_router {
            self.recover(effects);
        }
    }

    /// Everybody was silent: perhaps it was this host's own network.
    fn call_the_lost(&mut self) {
        let lost = self.table.lost().to_vec();
        for contact in lost.iter().chain(&self.met) {
            self.table.heard(contact);
        }
        self.pace.start_over();
    }

    fn probe(&mut self, effects: &mut Vec<Effect>) {
        let Some(entry) = self.table.stalest() else { return };
        let recently = entry.seen.max(entry.probed);
        let to = entry.contact.clone();
        if to.certificate().is_over(self.now) {
            self.table.banish(to.position());
            return;
        }
        if self.requests.is_probing(to.position())
            || (entry.proven && self.now.since(recently) < self.pace.interval())
        {
            return;
        }
        self.table.probed(self.now, to.position());
        self.ask(to, Request::Ping, Errand::Probe, effects);
    }

    /// Asks one contact of a bucket, or the nearest to it, whom it knows there.
    fn exchange_bucket(&mut self, shared: usize, effects: &mut Vec<Effect>) {
        let own = self.own.position();
        let target = own.somewhere_at(shared, &mut self.random);
        let near = self.table.closest(target, FRESH, true);
        if near.is_empty() {
            return;
        }
        let chosen = self.random.below(near.len() as u64) as usize;
        let Some(to) = near.get(chosen).map(|entry| entry.contact.clone()) else { return };
        let known: Vec<u32> =
            self.table.bucket(shared).iter().map(|it| it.contact.position().mark()).collect();
        let free = self.tuning.bucket.saturating_sub(known.len());
        let want = free.clamp(FRESH, CONTACTS_MAX) as u8;
        // All that is in the bucket shares one bit more with the target than with this host.
        let within = u64::MAX.checked_shr(shared as u32 + 1).unwrap_or(0);
        let known = known.into_iter().take(KNOWN_MAX).collect();
        self.exchange(to, Find { target, within, want, known, pointers: false }, effects);
    }

    /// Asks one neighbour who else is near.
    fn exchange_neighbours(&mut self, effects: &mut Vec<Effect>) {
        let own = self.own.position();
        let near = self.table.closest(own, self.tuning.bucket, false);
        let alive: Vec<&Arc<Contact>> =
            near.iter().filter(|it| it.proven).map(|it| &it.contact).collect();
        let chosen = self.random.below(alive.len() as u64) as usize;
        let Some(to) = alive.get(chosen).map(|it| Arc::clone(it)) else { return };
        let is_full = near.len() >= self.tuning.bucket;
        let last = near.last().filter(|_| is_full);
        let within = last.map_or(u64::MAX, |it| it.contact.position().distance(own).top());
        let mut known: Vec<u32> = near.iter().map(|it| it.contact.position().mark()).collect();
        known.truncate(KNOWN_MAX - 1);
        known.push(own.mark());
        let want = self.tuning.bucket.min(CONTACTS_MAX) as u8;
        self.exchange(to, Find { target: own, within, want, known, pointers: false }, effects);
    }

    /// A router has shown itself for the first time.
    pub(super) fn newcomer(&mut self, contact: &Arc<Contact>) {
        if self.store.is_empty() {
            return;
        }
        let own = self.own.position();
        let reach = self.spacing * (2 * self.tuning.bucket) as f64;
        let off = contact.position().distance(own).top() as f64;
        let Newcomers(all) = &mut self.newcomers;
        if (self.spacing == 0.0 || off < reach) && all.len() < NEWCOMERS_MAX {
            all.push(contact.clone());
        }
    }

    /// Hands to newcomers the pointers that they should keep, as they are: their holders have
    /// signed them. Three of the nearest do so.
    fn recover(&mut self, effects: &mut Vec<Effect>) {
        let Newcomers(all) = std::mem::take(&mut self.newcomers);
        for newcomer in all {
            let pointers = self.due_to(&newcomer);
            for batch in pointers.chunks(PUT_MAX) {
                let request = Request::Put(batch.to_vec());
                self.ask(newcomer.clone(), request, Errand::HandOver, effects);
            }
        }
    }

    fn due_to(&self, newcomer: &Contact) -> Vec<Pointer> {
        let (own, place) = (self.own.position(), newcomer.position());
        // What is in its region shares about so many bits with it.
        let radius = (self.spacing * self.tuning.replicas as f64) as u64;
        let shared = if self.spacing > 0.0 { radius.leading_zeros() as usize } else { 0 };
        let is_due = |guid: Guid| {
            let target = Position::from(guid);
            let near = self.table.closest(target, self.tuning.replicas, true);
            let places = near.iter().map(|it| it.contact.position());
            let others = places.clone().filter(|it| *it != place);
            let mine = own.distance(target);
            let nearer = others.filter(|it| it.distance(target) < mine).count();
            nearer < GIVERS && places.into_iter().any(|it| it == place)
        };
        let rows = self.store.within(cell(place, shared), ROWS_MAX);
        let due = rows.filter(|(guid, _)| is_due(*guid));
        due.flat_map(|(_, pointers)| pointers).cloned().collect()
    }
}
