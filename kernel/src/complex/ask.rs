//! Who could be asked to check a result: hosts of other owners that are around, and that nothing
//! lasting keeps from the job. Whoever waits for a check waits for one of these.
//!
//! What lasts is told from what passes by a day: an owner who wanted quiet, or more than the job
//! pays, since this time yesterday is not waited for.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::price::Price;
use isos_base::{AccountId, HostId, JobId, Span, Time};

use super::job::Job;
use super::place::meets;
use super::report::FAILS_FOR_GOOD;
use super::session::Block;
use super::{Complex, Host};
use crate::constraint::Constraint;

/// A host that was not seen, or would not have run the job, for so long is not waited for.
const AWAY_AFTER: Span = Span::secs(86_400);
/// Hosts are looked through again after this time, if there was somebody to ask.
const SURVEY_GOOD_FOR: Span = Span::secs(300);
/// And if there was nobody.
const NOBODY_GOOD_FOR: Span = Span::secs(60);
/// Or if others have come since.
const ARRIVALS_SEEN_AFTER: Span = Span::millis(100);
/// Owners in one place, and places of one owner, that are told apart: more than are asked for any
/// task, so that somebody else is found whoever was asked.
const ALIKE_MAX: usize = VOTERS_MAX + 1;
const VOTERS_MAX: usize = isos_base::limits::DISPUTE_VOTERS_MAX as usize;
/// Places of owners that are remembered: with so many there is always somebody to ask, since each
/// voter rules out no more than those of its owner and those in its place.
const PLACES_MAX: usize = 2 * VOTERS_MAX * ALIKE_MAX + 1;

/// A host on which a job fails.
#[derive(Debug, Default)]
pub(super) struct Avoided {
    /// Failed attempts less those that succeeded.
    pub(super) count: u32,
    /// Why the last of them failed.
    pub(super) why: String,
    /// It gets no more of the job until then.
    pub(super) until: Time,
    /// Others found that it was wrong. What it does right elsewhere does not make up for that.
    pub(super) wrong: bool,
}

impl Avoided {
    /// Whether it gets no more of the job for so long that nobody waits for it: it was wrong, or
    /// has failed so often that it is tried once an hour.
    pub(super) fn lasts(&self, now: Time) -> bool {
        self.until > now && (self.wrong || self.count >= FAILS_FOR_GOOD)
    }
}

/// Who could be asked about a job's tasks.
#[derive(Debug)]
pub(super) struct Survey {
    at: Time,
    /// See [`Complex::arrivals`].
    arrivals: u64,
    places: BTreeSet<(AccountId, Option<Block>)>,
    /// Owners of the hosts that were looked at and are around.
    owners: usize,
    /// Those of them that could be asked.
    able: usize,
}

impl Survey {
    /// Whether there is somebody who is independent of all of these.
    fn has_stranger_to(&self, asked: &[HostId], hosts: &BTreeMap<HostId, Host>) -> bool {
        let asked: Vec<_> = asked.iter().filter_map(|id| hosts.get(id)).collect();
        let is_stranger = |(account, block): &(AccountId, Option<Block>)| {
            asked.iter().all(|host| {
                host.record.account != *account && (block.is_none() || host.block != *block)
            })
        };
        self.places.iter().any(is_stranger)
    }
}

impl Host {
    /// Whether it gets no work, wherever it is.
    pub(super) fn is_out(&self) -> bool {
        let record = &self.record;
        record.barred.is_some() || record.suspended || record.successor.is_some()
    }

    /// Whether it is there, or was lately. Right after a restart all are.
    pub(super) fn is_around(&self, now: Time, back_by: Time) -> bool {
        let was_seen = self.session.is_some() || self.record.seen + AWAY_AFTER > now;
        !self.is_out() && (was_seen || now < back_by)
    }

    /// Takes down what it offers as long as it does: called before that changes, and after.
    pub(super) fn note_offer(&mut self, now: Time) {
        let Some(session) = &self.session else { return };
        let offer = &session.offer;
        if self.accept != offer.accept {
            self.accept = offer.accept.clone();
        }
        let (low, at) = self.lent;
        if offer.cores > 0 && (offer.price_min <= low || at + AWAY_AFTER <= now) {
            self.lent = (offer.price_min, now);
        }
    }

    /// Until when it is waited for if it does not come back, and does not lend again what it lent.
    /// Nothing while both is so now.
    fn awaited_until(&self, price: Price, now: Time, back_by: Time) -> Option<Time> {
        let seen = (self.record.seen + AWAY_AFTER).max(back_by);
        let gone = self.session.is_none().then_some(seen);
        let offer = self.session.as_ref().map(|session| &session.offer);
        let lends = offer.is_some_and(|offer| offer.cores > 0 && offer.price_min <= price);
        let dear = (!lends && now < self.lent.1 + AWAY_AFTER).then_some(self.lent.1 + AWAY_AFTER);
        gone.into_iter().chain(dear).min()
    }

    /// Whether it lends something for this price, or did lately.
    fn lends_for(&self, price: Price, now: Time) -> bool {
        let offer = self.session.as_ref().map(|session| &session.offer);
        let lends_now = offer.is_some_and(|offer| offer.cores > 0 && offer.price_min <= price);
        lends_now || (self.lent.0 <= price && self.lent.1 + AWAY_AFTER > now)
    }
}

/// Whether nothing that lasts keeps a host from a job.
pub(super) fn is_able(job: &mut Job, host: &Host, now: Time) -> bool {
    let spec = &job.record.spec;
    host.record.spec.memory >= spec.memory
        && host.accept.allows(&spec.program)
        && host.lends_for(job.record.price, now)
        && job.avoid.get(&host.record.id).is_none_or(|avoided| !avoided.lasts(now))
        && meets(job, host)
}

impl Complex {
    /// Looks through the hosts for those who could be asked about a job's tasks, in the order of
    /// their keys, which is by chance.
    fn survey(&mut self, id: JobId) -> Option<Survey> {
        let (now, back_by, arrivals) = (self.now, self.back_by, self.arrivals);
        let job = self.jobs.get_mut(&id)?;
        let mut places = BTreeSet::new();
        let (mut owners, mut able) = (BTreeSet::new(), BTreeMap::<AccountId, usize>::new());
        let mut at_place: BTreeMap<Block, usize> = BTreeMap::new();
        for host in self.hosts.values().filter(|host| host.is_around(now, back_by)) {
            let account = host.record.account;
            owners.insert(account);
            let alike = able.get(&account).copied().unwrap_or(0);
            let here = host.block.and_then(|block| at_place.get(&block)).copied().unwrap_or(0);
            let one_more = alike < ALIKE_MAX && here < ALIKE_MAX;
            if (alike > 0 && !one_more) || !is_able(job, host, now) {
                continue;
            }
            let places_of_owner = able.entry(account).or_default();
            if one_more && places.insert((account, host.block)) {
                *places_of_owner += 1;
                if let Some(block) = host.block {
                    *at_place.entry(block).or_default() += 1;
                }
            }
            if places.len() >= PLACES_MAX {
                break;
            }
        }
        Some(Survey { at: now, arrivals, places, owners: owners.len(), able: able.len() })
    }

    /// Whether a host is there, or was lately, that could run the job and is independent of all of
    /// these.
    pub(super) fn could_ask(&mut self, id: JobId, asked: &[HostId]) -> bool {
        if self.owners.len() < 2 {
            return false;
        }
        if let Some(known) = self.jobs.get(&id).and_then(|job| job.survey.as_ref()) {
            let age = self.now.since(known.at);
            let yes = known.has_stranger_to(asked, &self.hosts);
            let no_for = match known.arrivals == self.arrivals {
                true => NOBODY_GOOD_FOR,
                false => ARRIVALS_SEEN_AFTER,
            };
            if age < if yes { SURVEY_GOOD_FOR } else { no_for } {
                return yes;
            }
        }
        let Some(found) = self.survey(id) else { return false };
        let yes = found.has_stranger_to(asked, &self.hosts);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.survey = Some(found);
        }
        yes
    }

    /// Until when those are waited for who could check a job's results and do not do so now.
    pub(super) fn checks_awaited_until(&self, job: &mut Job) -> Option<Time> {
        let (now, back_by) = (self.now, self.back_by);
        let around = self.hosts.values().filter(|host| host.is_around(now, back_by));
        let able: Vec<_> = around.filter(|host| is_able(job, host, now)).collect();
        let price = job.record.price;
        able.iter().filter_map(|host| host.awaited_until(price, now, back_by)).max()
    }

    /// Whether a job leaves less than half of the owners who are around: whoever submits it could
    /// have picked its hosts, to have them praise each other.
    pub(super) fn picks_hosts(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return true };
        if job.constraint.as_ref().is_some_and(Constraint::names_hosts) {
            return true;
        }
        let known = job.survey.as_ref();
        if known.is_none_or(|known| self.now.since(known.at) >= SURVEY_GOOD_FOR) {
            let found = self.survey(id);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.survey = found;
            }
        }
        let known = self.jobs.get(&id).and_then(|job| job.survey.as_ref());
        known.is_none_or(|known| known.able * 2 < known.owners)
    }
}
