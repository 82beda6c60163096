//! The routers that a host knows: a bucket for each number of leading bits that they share with its
//! own place.
//!
//! Clients are never in here: somebody who cannot be called is of no use to others. Three kinds of
//! contact are: *proven* ones have answered or asked us, and only they are told to others; *heard*
//! ones stand in places that are free, and are tried; *spare* ones wait for a place.
//!
//! Who is proven leaves only by not answering, as in Kademlia: an attacker cannot flush a table.
//! Two exceptions leave a full bucket more various: somebody of whose owner or address block there
//! are many makes room for somebody else, and the younger half of a bucket for somebody nearer in
//! time. The older half stays, since who was up for long stays up.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::time::{Span, Time};

use crate::contact::Contact;
use crate::position::{BITS, Position};
use crate::rtt::Rtt;

/// Contacts that wait for a place, in each bucket.
const SPARE_MAX: usize = 8;
/// Probes without an answer after which a proven contact is dropped.
const FAILURES_MAX: u8 = 2;
/// Contacts that were dropped and are called again when nobody else is left.
const LOST_MAX: usize = 16;

/// A contact, and what is known of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who, and how to reach it.
    pub contact: Arc<Contact>,
    /// How long it takes to answer.
    pub rtt: Rtt,
    /// When it last answered or asked; the epoch for one that never did.
    pub seen: Time,
    /// When it was last sent a probe.
    pub probed: Time,
    /// When it was last told how to reach us.
    pub told: Time,
    /// Requests in a row without an answer.
    pub failures: u8,
    /// Whether it has shown that it lives.
    pub proven: bool,
}

#[derive(Debug, Default)]
struct Bucket {
    /// The longest known first.
    entries: Vec<Entry>,
    /// The last heard last.
    spare: Vec<Arc<Contact>>,
}

/// All buckets.
#[derive(Debug)]
pub struct Table {
    own: Position,
    size: usize,
    alike_max: usize,
    buckets: Vec<Bucket>,
    lost: Vec<Arc<Contact>>,
    len: usize,
    proven: usize,
}

impl Table {
    /// Nobody yet, around this place.
    #[must_use]
    pub fn new(own: Position, size: usize, alike_max: usize) -> Self {
        let (buckets, lost) = (Vec::new(), Vec::new());
        Self { own, size: size.max(1), alike_max, buckets, lost, len: 0, proven: 0 }
    }

    /// Contacts that have a place.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Contacts that have shown that they live.
    #[must_use]
    pub fn proven(&self) -> usize {
        self.proven
    }

    /// Buckets up to the last one that has somebody.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.buckets.iter().rposition(|bucket| !bucket.entries.is_empty()).map_or(0, |at| at + 1)
    }

    /// Contacts of one bucket.
    #[must_use]
    pub fn bucket(&self, shared: usize) -> &[Entry] {
        self.buckets.get(shared).map_or(&[], |bucket| &bucket.entries)
    }

    /// Whoever was called once and has not answered since; when nobody else is left.
    #[must_use]
    pub fn lost(&self) -> &[Arc<Contact>] {
        &self.lost
    }

    /// Everybody, the farthest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries)
    }

    /// What is known of a contact.
    #[must_use]
    pub fn get(&self, place: Position) -> Option<&Entry> {
        let bucket = self.buckets.get(self.own.shared_prefix(place))?;
        bucket.entries.iter().find(|entry| entry.contact.position() == place)
    }

    fn get_mut(&mut self, place: Position) -> Option<&mut Entry> {
        let bucket = self.buckets.get_mut(self.own.shared_prefix(place))?;
        bucket.entries.iter_mut().find(|entry| entry.contact.position() == place)
    }

    fn bucket_mut(&mut self, place: Position) -> Option<&mut Bucket> {
        let shared = self.own.shared_prefix(place);
        if shared >= BITS {
            return None;
        }
        if self.buckets.len() <= shared {
            self.buckets.resize_with(shared + 1, Bucket::default);
        }
        self.buckets.get_mut(shared)
    }

    /// Somebody spoke of this contact. It gets a place if one is free.
    pub fn heard(&mut self, contact: &Arc<Contact>) {
        let (size, place) = (self.size, contact.position());
        if self.get(place).is_some() {
            return;
        }
        let Some(bucket) = self.bucket_mut(place) else { return };
        if bucket.entries.len() < size {
            bucket.spare.retain(|spare| spare.position() != place);
            bucket.entries.push(Entry::new(contact.clone()));
            self.len += 1;
        } else {
            bucket.keep_spare(contact.clone());
        }
    }

    /// This contact has asked something. Who asks may still not be reachable, so it gets a place
    /// only where one is free, and proves itself by an answer. Says whether it has a place.
    pub fn asked(&mut self, now: Time, contact: &Arc<Contact>) -> bool {
        self.heard(contact);
        let Some(entry) = self.get_mut(contact.position()) else { return false };
        entry.seen = now;
        // Its own words: new addresses, or a certificate that was renewed.
        entry.contact = contact.clone();
        true
    }

    /// This contact has answered after so long. Says whether it is a proven one that was none.
    pub fn answered(&mut self, now: Time, contact: &Arc<Contact>, after: Span) -> bool {
        self.heard(contact);
        let place = contact.position();
        if self.get(place).is_none() && !self.make_room(contact, after) {
            return false;
        }
        let Some(entry) = self.get_mut(place) else { return false };
        let is_new = !entry.proven;
        entry.rtt.add(after);
        entry.seen = now;
        entry.failures = 0;
        entry.proven = true;
        self.proven += usize::from(is_new);
        is_new
    }

    /// A place in a full bucket for somebody who lives; says whether there is one now.
    fn make_room(&mut self, contact: &Arc<Contact>, after: Span) -> bool {
        let (size, alike_max) = (self.size, self.alike_max);
        let Some(bucket) = self.bucket_mut(contact.position()) else { return false };
        let unproven = bucket.entries.iter().rposition(|entry| !entry.proven);
        let is_crowded = bucket.alike(contact) >= alike_max;
        let crowded = || {
            let mut all = bucket.entries.iter().enumerate().rev();
            let found = all.find(|(_, entry)| bucket.alike(&entry.contact) > alike_max);
            found.map(|(at, _)| at).filter(|_| !is_crowded)
        };
        let slower = || {
            let young = bucket.entries.iter().enumerate().skip(size / 2);
            let slowest = young.max_by_key(|(_, entry)| entry.rtt.span());
            let (at, span) = slowest.and_then(|(at, entry)| Some((at, entry.rtt.span()?)))?;
            (after < Span(span.0 / 2) && !is_crowded).then_some(at)
        };
        let Some(at) = unproven.or_else(crowded).or_else(slower) else { return false };
        let gone = bucket.entries.remove(at);
        bucket.keep_spare(gone.contact);
        bucket.spare.retain(|spare| spare.position() != contact.position());
        bucket.entries.push(Entry::new(contact.clone()));
        self.proven -= usize::from(gone.proven);
        true
    }

    /// This contact has not answered. Says whether it lost its place by that.
    pub fn failed(&mut self, place: Position) -> bool {
        let Some(entry) = self.get_mut(place) else {
            if let Some(bucket) = self.bucket_mut(place) {
                bucket.spare.retain(|spare| spare.position() != place);
            }
            return false;
        };
        entry.failures = entry.failures.saturating_add(1);
        let is_gone = !entry.proven || entry.failures >= FAILURES_MAX;
        if is_gone {
            self.drop_entry(place, true);
        }
        is_gone
    }

    /// This contact has lied, or its certificate is over: it is gone, and not called again.
    pub fn banish(&mut self, place: Position) {
        self.drop_entry(place, false);
        self.lost.retain(|lost| lost.position() != place);
    }

    fn drop_entry(&mut self, place: Position, may_return: bool) {
        let size = self.size;
        let Some(bucket) = self.bucket_mut(place) else { return };
        bucket.spare.retain(|spare| spare.position() != place);
        let at = bucket.entries.iter().position(|entry| entry.contact.position() == place);
        let Some(at) = at else { return };
        let gone = bucket.entries.remove(at);
        let mut freed = 1;
        if bucket.entries.len() < size
            && let Some(spare) = bucket.spare.pop()
        {
            bucket.entries.push(Entry::new(spare));
            freed = 0;
        }
        self.len -= freed;
        self.proven -= usize::from(gone.proven);
        if gone.proven && may_return {
            if self.lost.len() >= LOST_MAX {
                self.lost.remove(0);
            }
            self.lost.push(gone.contact);
        }
    }

    /// The nearest to a place, the nearest first; of those that are told to others, all are proven.
    #[must_use]
    pub fn closest(&self, target: Position, most: usize, only_proven: bool) -> Vec<&Entry> {
        let wanted = |entry: &&Entry| entry.proven || !only_proven;
        let shared = self.own.shared_prefix(target).min(self.buckets.len());
        let mut found: Vec<&Entry> = Vec::with_capacity(most + self.size);
        let mut sorted = 0;
        // Hosts of one of these groups are all nearer to the target than those of the next.
        let (below, above) = self.buckets.split_at(shared);
        let near = above.get(..1).unwrap_or_default();
        let own = above.get(1..).unwrap_or_default();
        let groups = [near, own].into_iter().chain(below.chunks(1).rev());
        for group in groups {
            let entries = group.iter().flat_map(|bucket| &bucket.entries);
            found.extend(entries.filter(wanted));
            found[sorted..].sort_unstable_by_key(|it| it.contact.position().distance(target));
            sorted = found.len();
            if sorted >= most {
                break;
            }
        }
        found.truncate(most);
        found
    }

    /// Whom to try next: one that was only heard of, else the one that was silent for the longest.
    #[must_use]
    pub fn stalest(&self) -> Option<&Entry> {
        self.entries().min_by_key(|entry| (entry.proven, entry.seen.max(entry.probed)))
    }

    /// A probe was sent.
    pub fn probed(&mut self, now: Time, place: Position) {
        if let Some(entry) = self.get_mut(place) {
            entry.probed = now;
        }
    }

    /// It is being told how to reach us.
    pub fn told(&mut self, now: Time, place: Position) {
        if let Some(entry) = self.get_mut(place) {
            entry.told = now;
        }
    }

    /// How long this one takes to answer, as far as is known.
    #[must_use]
    pub fn rtt(&self, place: Position) -> Rtt {
        self.get(place).map_or(Rtt::default(), |entry| entry.rtt)
    }

    pub(crate) fn check_invariants(&self) {
        let mut count = (0, 0);
        for (shared, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.entries.len() <= self.size, "a bucket overflows");
            assert!(bucket.spare.len() <= SPARE_MAX, "too many spares");
            for entry in &bucket.entries {
                let place = entry.contact.position();
                assert_eq!(self.own.shared_prefix(place), shared, "in the wrong bucket");
                assert!(bucket.spare.iter().all(|it| it.position() != place), "in and waiting");
                let same = bucket.entries.iter().filter(|it| it.contact.position() == place);
                assert_eq!(same.count(), 1, "twice");
                assert!(entry.failures < FAILURES_MAX, "a dead one");
                count = (count.0 + 1, count.1 + usize::from(entry.proven));
            }
        }
        assert_eq!(count, (self.len, self.proven), "counted");
        assert!(self.lost.len() <= LOST_MAX, "too many lost");
    }
}

impl Entry {
    fn new(contact: Arc<Contact>) -> Self {
        let never = Time(0);
        let (seen, probed, told) = (never, never, never);
        Self { contact, rtt: Rtt::default(), seen, probed, told, failures: 0, proven: false }
    }

    /// Who it is.
    #[must_use]
    pub fn host(&self) -> HostId {
        self.contact.host()
    }
}

impl Bucket {
    /// Contacts of the same owner, or of the same address block, whichever are more.
    fn alike(&self, contact: &Contact) -> usize {
        let new = contact.certificate();
        let of = |is_alike: &dyn Fn(&crate::Certificate) -> bool| {
            self.entries.iter().filter(|entry| is_alike(entry.contact.certificate())).count()
        };
        let owner = of(&|old| old.owner == new.owner);
        owner.max(of(&|old| old.blocks.share(&new.blocks)))
    }

    fn keep_spare(&mut self, contact: Arc<Contact>) {
        self.spare.retain(|spare| spare.position() != contact.position());
        if self.spare.len() >= SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(contact);
    }
}

#[cfg(test)]
mod tests;
