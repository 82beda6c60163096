//! Mending: what lay on hosts that are gone is made anew without its owner.
//!
//! A keeper that was not heard of for long enough is given up, but only when that is worth it: for
//! a quarter of what somebody has leased, or when it has waited long. Each lease on it ends, unpaid
//! since it vanished, and one on another host takes its place, with the same holder, end, and no
//! higher price; so it costs nobody more than what was set aside. A host that is left, the
//! *mender*, is told to make anew what was lost: it keeps manifests, which tell the names of all
//! fragments and open nothing, so it works on ciphertext. It writes by a grant that names it in the
//! holder's stead; what it writes is named by its hash, so it can do no harm but to fill the new
//! lease with something else.
//!
//! No host has something of every object, so the order goes from one holder to the next, the
//! steadiest first: each mends what two of those before it have not seen to. That is one at a time,
//! so that no two make the same, and what is left for the later ones is little.
//!
//! Patience and laziness are Total Recall's and Carbonite's; the sums behind them are in
//! `isos_store::durability`, which this crate does not see. Orders are not kept: a server that
//! starts again gives new ones for all leases that have lately taken the place of others. A mender
//! asks first what is there, so one that was carried out costs a question.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::StorageRequest;
use isos_base::audit::Deed;
use isos_base::fragment::{SignedGrant, StorageClass};
use isos_base::key::{PublicKey, Signature};
use isos_base::record::StorageRecord;
use isos_base::storage::{
    KeeperAddress, MEND_PLACES_MAX, MendOrder, MendPlace, MendReport, STORAGE_HOSTS_MAX,
    StorageState,
};
use isos_base::wire::ToHost;
use isos_base::{AccountId, HostId, LeaseId, Span, Time};

use super::super::{Complex, Effect, SessionId};
use super::Storage;

/// Between two looks: a quarter of the patience, within these.
const LOOK_LEAST: Span = Span::secs(1);
const LOOK_MOST: Span = Span::secs(3_600);
/// Somebody's leases are replaced when at least one of so many is on a host that is gone,
const PART: usize = 4;
/// or when one is gone for so many times the patience.
const LONG_TIMES: u64 = 7;
/// Orders of one look; the others follow with the next.
const ORDERS_MAX: usize = 64;
/// A mender that has not reported within so long is given up; others go on.
const REPORT_WITHIN: Span = Span::secs(6 * 3_600);
/// A lease that took the place of another so long ago was filled, or will be by nobody.
const FILLED_WITHIN: Span = Span(REPORT_WITHIN.0 * 4);
/// When so many were given up, the order is.
const FAILED_MAX: usize = 3;

/// Whose leases belong together: objects of one holder and class are spread over them.
pub(super) type Owner = (AccountId, PublicKey, StorageClass);

/// What is to be mended of one owner, by one holder after the other.
#[derive(Debug)]
struct Errand {
    owner: Owner,
    number: u64,
    places: Vec<MendPlace>,
    /// Who has mended all that it could, and who was given up.
    done: BTreeSet<HostId>,
    failed: BTreeSet<HostId>,
}

/// An order that was given and not reported.
#[derive(Debug)]
pub(super) struct Mending {
    errand: Errand,
    mender: HostId,
    session: SessionId,
    since: Time,
}

impl Complex {
    fn is_given_up(&self, host: HostId) -> bool {
        let Some((it, keeper)) = self.hosts.get(&host).zip(self.storage.keepers.get(&host)) else {
            return true;
        };
        let away = !self.is_here(host) && self.is_silent_for(host, self.config.mend_after);
        it.is_out() || keeper.record.failed.is_some() || away
    }

    /// Whether a keeper was not heard of for so long while somebody was there to hear it: a complex
    /// that was down for days finds nobody gone when it starts.
    fn is_silent_for(&self, host: HostId, span: Span) -> bool {
        let heard = self.storage.keepers.get(&host).map_or(Time(0), |keeper| keeper.record.heard);
        let from = self.storage.hears_since.unwrap_or(self.now);
        heard.max(from) + span <= self.now
    }

    /// Looks whether something is to be mended, if it is time.
    pub(super) fn mend_due(&mut self, effects: &mut Vec<Effect>) {
        if self.storage.mend_at.is_none_or(|at| at > self.now) {
            return;
        }
        let hears_since = *self.storage.hears_since.get_or_insert(self.now);
        let every = Span(self.config.mend_after.0 / 4).clamp(LOOK_LEAST, LOOK_MOST);
        let any = !self.storage.leases.is_empty();
        self.storage.mend_at = any.then(|| self.now + every);
        self.remind_menders(effects);
        // Not before hosts have had the time to come back.
        if hears_since + every <= self.now {
            self.order_again(effects);
        }
        let mut lost: BTreeMap<Owner, Vec<LeaseId>> = BTreeMap::new();
        let keepers = self.storage.keepers.iter().filter(|(_, keeper)| keeper.open > 0);
        for (_, keeper) in keepers.filter(|(host, _)| self.is_given_up(**host)) {
            for lease in keeper.words.values().map(|id| &self.storage.leases[id]) {
                // Copies of what is kept elsewhere are nobody's loss.
                if lease.is_open() && lease.class != StorageClass::Cache {
                    lost.entry(owner(lease)).or_default().push(lease.id);
                }
            }
        }
        for (owner, lost) in lost {
            if self.storage.mending.len() >= ORDERS_MAX {
                break;
            }
            self.mend(owner, lost, effects);
        }
    }

    /// Hosts that are here and have leases of this owner, those that are there most first.
    fn holders(&self, owner: &Owner) -> Vec<HostId> {
        let open = self.storage.purses.get(&owner.0).into_iter().flat_map(|purse| &purse.open);
        let leases = open.map(|id| &self.storage.leases[id]).filter(|it| self::owner(it) == *owner);
        let hosts: BTreeSet<HostId> = leases.map(|lease| lease.host).collect();
        let mut here: Vec<HostId> = hosts
            .into_iter()
            .filter(|host| self.is_here(*host) && !self.is_given_up(*host))
            .collect();
        here.sort_by_key(|host| std::cmp::Reverse(self.storage.keepers[host].record.present));
        here
    }

    /// Replaces leases of one owner, and has somebody fill the new ones.
    fn mend(&mut self, owner: Owner, mut lost: Vec<LeaseId>, effects: &mut Vec<Effect>) {
        let here = self.holders(&owner);
        let long = Span(self.config.mend_after.0.saturating_mul(LONG_TIMES));
        let is_long = |id: &LeaseId| self.is_silent_for(self.storage.leases[id].host, long);
        let is_worth_it = lost.len() * PART >= here.len() + lost.len() || lost.iter().any(is_long);
        if !is_worth_it || self.storage.mending.values().any(|it| it.errand.owner == owner) {
            return;
        }
        // Nothing is given up for nothing.
        if !here.iter().any(|host| self.session_to_mend(*host).is_some()) {
            return;
        }
        lost.truncate(MEND_PLACES_MAX);
        let mut beside = here;
        beside.truncate(STORAGE_HOSTS_MAX - MEND_PLACES_MAX);
        // Not on another that is gone: with little patience it may seem to be asleep.
        let gone: Vec<HostId> =
            self.storage.keepers.keys().filter(|host| self.is_given_up(**host)).copied().collect();
        let mut places = Vec::new();
        for old in lost {
            let Some(new) = self.replace(old, &mut beside, &gone, effects) else { break };
            let keeper = self.keeper_address(new.host);
            places.push(MendPlace { keeper, grant: unsigned(&new) });
        }
        if places.is_empty() {
            return;
        }
        self.begin(owner, places, effects);
    }

    fn begin(&mut self, owner: Owner, places: Vec<MendPlace>, effects: &mut Vec<Effect>) {
        // No number of a server that ran before comes again: its menders may still report.
        self.storage.mendings = self.now.0.max(self.storage.mendings + 1);
        let (number, done, failed) = (self.storage.mendings, BTreeSet::new(), BTreeSet::new());
        self.order(Errand { owner, number, places, done, failed }, effects);
    }

    /// Gives the orders again that a server before this one may have given.
    fn order_again(&mut self, effects: &mut Vec<Effect>) {
        for owner in self.storage.unfilled.keys().copied().collect::<Vec<Owner>>() {
            let leases = self.storage.unfilled[&owner].iter();
            let leases = leases.filter_map(|id| self.storage.leases.get(id));
            let places: Vec<MendPlace> = leases
                .filter(|lease| lease.is_open())
                .map(|lease| {
                    let keeper = self.keeper_address(lease.host);
                    MendPlace { keeper, grant: unsigned(lease) }
                })
                .collect();
            // A new place has nothing to mend from: somebody else must be back.
            let new: BTreeSet<HostId> = places.iter().map(|place| place.keeper.host).collect();
            let can_mend =
                |host: &HostId| !new.contains(host) && self.session_to_mend(*host).is_some();
            let is_full = self.storage.mending.len() >= ORDERS_MAX;
            if !places.is_empty() && (is_full || !self.holders(&owner).iter().any(can_mend)) {
                continue;
            }
            self.storage.unfilled.remove(&owner);
            if !places.is_empty() {
                self.begin(owner, places, effects);
            }
        }
    }

    /// Tells the next holder to mend; nobody is left when all have, or too many were given up.
    fn order(&mut self, mut errand: Errand, effects: &mut Vec<Effect>) {
        let (number, account) = (errand.number, errand.owner.0);
        if errand.failed.len() >= FAILED_MAX {
            let (done, failed) = (errand.done.len(), errand.failed.len());
            let text =
                format!("order {number} to mend ends: {done} hosts did it, {failed} could not");
            effects.push(Effect::Say(text));
            return;
        }
        let new: BTreeSet<HostId> = errand.places.iter().map(|place| place.keeper.host).collect();
        let mut old = self.holders(&errand.owner);
        old.retain(|host| !new.contains(host));
        let left = old.iter().filter(|it| !errand.done.contains(it) && !errand.failed.contains(it));
        let next = left.copied().find_map(|host| {
            let session = self.session_to_mend(host)?;
            Some((host, session, self.lease_at(&errand.owner, host)?))
        });
        let Some((mender, session, lease)) = next else { return };
        old.retain(|host| *host != mender);
        // Those that have mended come first, so that none of them is left out.
        old.sort_by_key(|host| !errand.done.contains(host));
        old.truncate(STORAGE_HOSTS_MAX);
        let mended = old.iter().filter(|host| errand.done.contains(host)).count() as u16;
        let hosts = old.into_iter().map(|host| self.keeper_address(host)).collect();
        for place in &mut errand.places {
            place.grant.grant.holder = mender.0;
        }
        let places = errand.places.clone();
        effects.push(Effect::Say(format!(
            "host {} mends {} leases of {account}",
            mender.short(),
            places.len()
        )));
        let order = Box::new(MendOrder { number, lease, places, hosts, mended });
        effects.push(Effect::Send(session, ToHost::Mend(order)));
        let mending = Mending { errand, mender, session, since: self.now };
        self.storage.mending.insert(number, mending);
    }

    /// Its session, in which it has told of its shelf.
    fn session_to_mend(&self, host: HostId) -> Option<SessionId> {
        self.storage.keepers.get(&host)?.told?;
        Some(self.hosts.get(&host)?.session.as_ref()?.id)
    }

    fn lease_at(&self, owner: &Owner, host: HostId) -> Option<LeaseId> {
        let leases = self.storage.keepers.get(&host)?.words.values();
        let leases = leases.map(|id| &self.storage.leases[id]);
        leases.filter(|it| it.is_open() && self::owner(it) == *owner).map(|it| it.id).min()
    }

    fn keeper_address(&self, host: HostId) -> KeeperAddress {
        let offer = self.storage.keepers.get(&host).map(|keeper| keeper.record.offer.clone());
        let offer = offer.unwrap_or_default();
        KeeperAddress { host, addresses: offer.addresses, relay: offer.relay }
    }

    /// Another lease in place of one on a host that is gone, beside these hosts; nothing if nobody
    /// else has the room at that price.
    fn replace(
        &mut self,
        id: LeaseId,
        beside: &mut Vec<HostId>,
        gone: &[HostId],
        effects: &mut Vec<Effect>,
    ) -> Option<StorageRecord> {
        let old = self.storage.leases.get(&id)?.clone();
        let account = old.account;
        let request = StorageRequest {
            class: old.class,
            bytes: old.bytes,
            hosts: 1,
            on: Vec::new(),
            beside: beside.clone(),
            avoid: gone.to_vec(),
            until: old.until,
            holder: old.holder,
            price_max: Some(old.price),
            key: None,
        };
        // One that ends within the hour is not worth it; nor is the account's limit passed.
        super::lease::check_end(self.now, old.until).ok()?;
        let host = self.choose_keepers(account, &request).ok()?.pop()?;
        let mut postings = Vec::new();
        let settled = self.settled(&old, &mut postings);
        let issued = self.storage.next_word(self.now);
        let over = StorageRecord { state: StorageState::Released, issued, ..settled };
        let new_id = LeaseId(self.last_lease.0 + 1);
        let new = self.new_lease((new_id, old.first), account, host, &request);
        let taken = self.take_in(account, vec![over, new.clone()], postings, effects);
        if let Err(error) = taken {
            let text = format!("storage lease {id} cannot be replaced: {error}");
            effects.push(Effect::Say(text));
            return None;
        }
        self.last_lease = new_id;
        beside.push(host);
        let (from, held) = (old.host, self.storage_held(account));
        let deed = Deed::StorageReplaced { old: id, from, new: new_id, to: host, held };
        self.audit(Some(account), deed, effects);
        Some(new)
    }

    /// Gives orders of menders that are gone, or say nothing, to others.
    fn remind_menders(&mut self, effects: &mut Vec<Effect>) {
        let is_idle = |mending: &&Mending| {
            let session = self.hosts.get(&mending.mender).and_then(|it| it.session.as_ref());
            session.is_none_or(|session| session.id != mending.session)
                || mending.since + REPORT_WITHIN <= self.now
        };
        let idle: Vec<u64> =
            self.storage.mending.values().filter(is_idle).map(|it| it.errand.number).collect();
        for number in idle {
            let Some(Mending { mut errand, mender, .. }) = self.storage.mending.remove(&number)
            else {
                continue;
            };
            errand.failed.insert(mender);
            self.order(errand, effects);
        }
    }

    /// A host says what came of an order.
    pub(in crate::complex) fn host_mended(
        &mut self,
        host: HostId,
        report: &MendReport,
        effects: &mut Vec<Effect>,
    ) {
        let MendReport { number, objects, fragments, moved, lost, missing, is_whole } = *report;
        if self.storage.mending.get(&number).is_none_or(|mending| mending.mender != host) {
            return;
        }
        let Some(Mending { mut errand, .. }) = self.storage.mending.remove(&number) else { return };
        let rest = if is_whole { "" } else { "; it could not do all" };
        effects.push(Effect::Say(format!(
            "host {} has mended {objects} objects: {fragments} fragments, {moved} moved; {lost} \
             segments are lost, {missing} fragments have no place{rest}",
            host.short()
        )));
        // What it has not come to is left for the others, who have most of it too.
        let which = if is_whole { &mut errand.done } else { &mut errand.failed };
        which.insert(host);
        self.order(errand, effects);
    }
}

impl Storage {
    /// Open leases that have lately taken the place of others, as far as that can be told: one that
    /// did has inherited whose request it was, and began later than the others of it. If none of
    /// those is left, one more is taken for one that did, which costs a question.
    pub(super) fn replaced_lately(&self, now: Time) -> BTreeMap<Owner, Vec<LeaseId>> {
        let open = || self.leases.values().filter(|lease| lease.is_open());
        let mut begun: BTreeMap<LeaseId, Time> = BTreeMap::new();
        for lease in open() {
            let first = begun.entry(lease.first).or_insert(lease.begun);
            *first = lease.begun.min(*first);
        }
        let mut replaced: BTreeMap<Owner, Vec<LeaseId>> = BTreeMap::new();
        for lease in open() {
            let is_later = lease.begun > begun[&lease.first];
            let is_first_gone = !self.leases.get(&lease.first).is_some_and(StorageRecord::is_open);
            let is_replaced = is_later || (lease.id != lease.first && is_first_gone);
            if is_replaced && now.since(lease.begun) < FILLED_WITHIN {
                let of_owner = replaced.entry(owner(lease)).or_default();
                if of_owner.len() < MEND_PLACES_MAX {
                    of_owner.push(lease.id);
                }
            }
        }
        replaced
    }

    /// Something may have to be mended one day.
    pub(super) fn may_mend(&mut self, from: Time) {
        self.mend_at.get_or_insert(from);
    }
}

fn owner(lease: &StorageRecord) -> Owner {
    (lease.account, lease.holder, lease.class)
}

/// The grant of a lease, to be made out to who mends, and signed by the shell.
fn unsigned(lease: &StorageRecord) -> SignedGrant {
    SignedGrant { grant: lease.grant(PublicKey([0; 32])), signature: Signature([0; 64]) }
}
