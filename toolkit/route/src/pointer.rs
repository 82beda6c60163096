//! Pointers: who holds what, for a time, in the holder's own words; and the store of a router.
//!
//! Sloppy, as Coral has it: a router that has enough pointers of one GUID, or is asked for it too
//! often, turns further ones away, and they are put one step further out on the way. So a GUID that
//! all the world holds or wants fills no router: readers meet its pointers before they come to the
//! middle.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use isos_base::codec;
use isos_base::random::Random;
use isos_base::time::{Span, Time};
use isos_base::{AccountId, Guid, HostId};
use serde::{Deserialize, Serialize};

use crate::certificate::{CLOCK_SLACK, Seal};
use crate::contact::Contact;
use crate::notary::{Notary, Verdict};

/// What is signed is tagged with this.
const TAG: &[u8] = b"isos-route-pointer-1";
/// Pointers of one GUID on one router.
pub const PER_GUID_MAX: usize = 16;
/// Questions for one GUID in a minute, above which a router has no room for more of its pointers.
pub const ASKED_PER_MINUTE_MAX: u32 = 240;
/// Pointers on one router: about 60 MB at the most, 25 MB as contacts are.
pub const STORED_MAX: usize = 100_000;
/// Of these, one owner's: a sixteenth, so that nobody fills a router alone.
pub const PER_OWNER_MAX: usize = STORED_MAX / 16;
/// The longest life of a pointer; a router refuses longer ones.
pub const LIFE_MAX: Span = Span::secs(48 * 3_600);

/// That a host holds what a GUID names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// What.
    pub guid: Guid,
    /// Who, and how to reach it.
    pub holder: Arc<Contact>,
    /// Not good after this.
    pub expires: Time,
    /// How busy the holder is, from 0 to 255; a hint.
    pub load: u8,
    /// The holder's signature over all of the above.
    pub seal: Seal,
}

impl Pointer {
    /// The word of a holder, by its own notary.
    #[must_use]
    pub fn sign<N: Notary>(
        guid: Guid,
        holder: Arc<Contact>,
        expires: Time,
        load: u8,
        notary: &mut N,
    ) -> Self {
        let seal = notary.sign(&signed_bytes(guid, &holder, expires, load));
        Self { guid, holder, expires, load, seal }
    }

    /// Whether it is good: of an admitted host, in its own words, and not over.
    pub fn is_good<N: Notary>(&self, notary: &mut N, now: Time) -> bool {
        self.expires > now && notary.judge(self.holder.certificate(), now) == Verdict::Good && {
            let bytes = signed_bytes(self.guid, &self.holder, self.expires, self.load);
            notary.has_signed(&self.holder.host().0, &bytes, &self.seal)
        }
    }
}

fn signed_bytes(guid: Guid, holder: &Contact, expires: Time, load: u8) -> Vec<u8> {
    let mut bytes = TAG.to_vec();
    bytes.extend(codec::encode(&(guid, holder, expires, load)));
    bytes
}

/// What became of a pointer that was to be kept. New kinds are added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Put {
    /// It is kept.
    Kept,
    /// There are enough of this GUID, or it is asked for too often: put it further out.
    Full,
    /// Its owner has enough here, or the router has.
    Quota,
    /// It is not good.
    Refused,
}

/// Pointers of one GUID.
#[derive(Debug, Default)]
struct Row {
    pointers: Vec<Pointer>,
    /// The minute in which questions were last counted, and how many there were.
    minute: u64,
    asked: u32,
}

impl Row {
    fn asked_in(&self, now: Time) -> u32 {
        if self.minute == now.0 / 60_000_000 { self.asked } else { 0 }
    }
}

/// The pointers that a router keeps for others.
#[derive(Debug, Default)]
pub struct Store {
    rows: BTreeMap<Guid, Row>,
    expiry: BTreeSet<(Time, Guid, HostId)>,
    of_owner: BTreeMap<AccountId, usize>,
}

impl Store {
    /// Keeps a pointer that is good, if there is room.
    pub fn put(&mut self, now: Time, pointer: Pointer) -> Put {
        self.expire(now);
        if pointer.expires <= now || pointer.expires > now + LIFE_MAX + CLOCK_SLACK {
            return Put::Refused;
        }
        let (guid, host, owner) = names(&pointer);
        let full = self.expiry.len() >= STORED_MAX;
        let owned = self.of_owner.get(&owner).copied().unwrap_or(0);
        let row = self.rows.get_mut(&guid);
        let old = row.and_then(|row| {
            let held = row.pointers.iter_mut().find(|held| held.holder.host() == host);
            held.map(|held| {
                if held.expires < pointer.expires {
                    Some(std::mem::replace(held, pointer.clone()))
                } else {
                    None
                }
            })
        });
        match old {
            // An older word, or the same again.
            Some(None) => return Put::Kept,
            Some(Some(old)) => {
                self.expiry.remove(&(old.expires, guid, host));
                self.expiry.insert((pointer.expires, guid, host));
                self.leave(old.holder.certificate().owner);
                *self.of_owner.entry(owner).or_default() += 1;
                return Put::Kept;
            }
            None => {}
        }
        if full || owned >= PER_OWNER_MAX {
            return Put::Quota;
        }
        let row = self.rows.entry(guid).or_default();
        let busy = row.asked_in(now) > ASKED_PER_MINUTE_MAX && !row.pointers.is_empty();
        if row.pointers.len() >= PER_GUID_MAX || busy {
            return Put::Full;
        }
        self.expiry.insert((pointer.expires, guid, host));
        *self.of_owner.entry(owner).or_default() += 1;
        row.pointers.push(pointer);
        Put::Kept
    }

    /// Some of a GUID's pointers, other ones each time, and counts the question.
    pub fn get(&mut self, now: Time, guid: Guid, most: usize, random: &mut Random) -> Vec<Pointer> {
        self.expire(now);
        let Some(row) = self.rows.get_mut(&guid) else { return Vec::new() };
        row.asked = row.asked_in(now).saturating_add(1);
        row.minute = now.0 / 60_000_000;
        let count = row.pointers.len();
        let first = random.below(count as u64) as usize;
        let turned = row.pointers.iter().cycle().skip(first).take(count.min(most));
        turned.cloned().collect()
    }

    /// Up to so many GUIDs of a range, in order, with their pointers.
    pub fn within(
        &self,
        range: RangeInclusive<Guid>,
        most: usize,
    ) -> impl Iterator<Item = (Guid, &[Pointer])> {
        let rows = self.rows.range(range).take(most);
        rows.map(|(guid, row)| (*guid, row.pointers.as_slice()))
    }

    /// When the next pointer ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Time> {
        self.expiry.first().map(|(at, ..)| *at)
    }

    /// Pointers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.expiry.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expiry.is_empty()
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Time) {
        while let Some(&(at, guid, host)) = self.expiry.first()
            && at <= now
        {
            self.expiry.pop_first();
            let Some(row) = self.rows.get_mut(&guid) else { continue };
            let over = row.pointers.iter().position(|held| held.holder.host() == host);
            let gone = over.map(|at| row.pointers.swap_remove(at));
            if row.pointers.is_empty() {
                self.rows.remove(&guid);
            }
            if let Some(gone) = gone {
                self.leave(gone.holder.certificate().owner);
            }
        }
    }

    fn leave(&mut self, owner: AccountId) {
        if let Some(owned) = self.of_owner.get_mut(&owner) {
            *owned -= 1;
            if *owned == 0 {
                self.of_owner.remove(&owner);
            }
        }
    }

    pub(crate) fn check_invariants(&self) {
        let mut of_owner: BTreeMap<AccountId, usize> = BTreeMap::new();
        let mut expiry = BTreeSet::new();
        for (guid, row) in &self.rows {
            assert!(!row.pointers.is_empty(), "a row without pointers");
            assert!(row.pointers.len() <= PER_GUID_MAX, "too many of one GUID");
            for pointer in &row.pointers {
                let (named, host, owner) = names(pointer);
                assert_eq!(named, *guid, "a pointer on another's row");
                assert!(expiry.insert((pointer.expires, named, host)), "one holder twice");
                *of_owner.entry(owner).or_default() += 1;
            }
        }
        assert_eq!(expiry, self.expiry, "what ends when");
        assert_eq!(of_owner, self.of_owner, "whose they are");
        assert!(expiry.len() <= STORED_MAX, "too many pointers");
    }
}

fn names(pointer: &Pointer) -> (Guid, HostId, AccountId) {
    let certificate = pointer.holder.certificate();
    (pointer.guid, certificate.host, certificate.owner)
}

#[cfg(test)]
mod tests;
