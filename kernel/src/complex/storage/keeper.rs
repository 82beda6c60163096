//! Keepers: what they offer, for how long they have shown that they are there, and what they are
//! told of their leases.
//!
//! A sign of life shows that a host is there for as long as the complex lets idle hosts sleep, and
//! some more. A connection is one all the time. So a host that calls when it is told to counts as
//! present all the time, and one that vanishes a quarter of an hour longer than it was.

use isos_base::record::{Change, KeeperRecord, StorageRecord};
use isos_base::storage::{
    KEEPER_ADDRESSES_MAX, KEEPER_RELAY_CHARS_MAX, LeaseNews, STORAGE_NEWS_MAX, ShelfOffer,
    ShelfReport,
};
use isos_base::wire::ToHost;
use isos_base::{Bytes, HostId, LeaseId, Span, Time};

use super::super::{Complex, Effect, SessionId};
use super::Keeper;

/// That a keeper is there is written down so often while that is worth money: more often than a
/// sign of life counts, so that a server that starts again takes nothing from anybody.
const WRITE_EACH: Span = Span::secs(600);
/// And so often else, for the measure of how steady it is.
const WRITE_IDLE_EACH: Span = Span::secs(3_600);
/// What no disk has.
const OFFER_MAX: Bytes = Bytes::gib(1 << 20);

impl Keeper {
    /// For how long it has shown that it is there, and up to when that is counted.
    pub(super) fn shown(&self, now: Time, proof: Span, is_here: bool) -> (Span, Time) {
        let record = &self.record;
        let end = if is_here { now } else { now.min(record.heard + proof) };
        let more = if record.failed.is_some() { Span::ZERO } else { end.since(record.counted) };
        (record.present + more, record.counted.max(end))
    }
}

/// An offer cut to what anybody can have.
fn bounded(mut offer: ShelfOffer) -> ShelfOffer {
    offer.bytes = offer.bytes.min(OFFER_MAX);
    offer.addresses.truncate(KEEPER_ADDRESSES_MAX);
    offer.relay = offer.relay.filter(|relay| relay.chars().count() <= KEEPER_RELAY_CHARS_MAX);
    offer
}

impl Complex {
    /// How long a sign of life shows that a host is there.
    pub(in crate::complex) fn proof(&self) -> Span {
        self.config.sleep_max + self.config.lost_after
    }

    pub(super) fn is_here(&self, host: HostId) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.session.is_some())
    }

    /// Counts up to now for how long a keeper was there; says so to the database if it is time.
    pub(super) fn count_keeper(&mut self, host: HostId) {
        let (now, proof, is_here) = (self.now, self.proof(), self.is_here(host));
        let write_each = self.write_each();
        let Some(keeper) = self.storage.keepers.get_mut(&host) else { return };
        let (present, counted) = keeper.shown(now, proof, is_here);
        (keeper.record.present, keeper.record.counted) = (present, counted);
        if is_here {
            keeper.record.heard = now;
        }
        let each = if keeper.open > 0 { write_each } else { WRITE_IDLE_EACH };
        if keeper.written + each <= now {
            self.storage.dirty_keepers.insert(host);
        }
    }

    /// A session of a host begins.
    pub(in crate::complex) fn keeper_came(&mut self, host: HostId) {
        let (now, proof) = (self.now, self.proof());
        let Some(keeper) = self.storage.keepers.get_mut(&host) else { return };
        let (present, _) = keeper.shown(now, proof, false);
        // What lies between what it has shown and now is lost.
        (keeper.record.present, keeper.record.counted) = (present, now);
        keeper.record.heard = now;
        keeper.told = None;
        self.count_keeper(host);
        self.watch_keeper(host);
    }

    /// Whether a keeper has something to say in this session for which it is not sent away: what it
    /// keeps, if others pay for that, or a proof.
    pub(in crate::complex) fn is_keeper_awaited(&self, host: HostId) -> bool {
        let Some(keeper) = self.storage.keepers.get(&host) else { return false };
        let has_told = keeper.told.is_some();
        (keeper.open > 0 && !has_told) || !keeper.asked.is_empty()
    }

    /// Its session ends, and is still there.
    pub(in crate::complex) fn keeper_leaves(&mut self, host: HostId) {
        self.count_keeper(host);
        if let Some(keeper) = self.storage.keepers.get_mut(&host) {
            keeper.told = None;
            if keeper.open > 0 {
                self.storage.dirty_keepers.insert(host);
            }
        }
    }

    /// How often it is written down that a keeper with leases is there.
    fn write_each(&self) -> Span {
        WRITE_EACH.min(Span(self.proof().0 / 2))
    }

    /// Sees to it that this is written down while it is connected and has leases: it need not say
    /// anything meanwhile.
    pub(super) fn watch_keeper(&mut self, host: HostId) {
        let (is_here, each) = (self.is_here(host), self.write_each());
        let now = self.now;
        let is_dirty = self.storage.dirty_keepers.contains(&host);
        let Some(keeper) = self.storage.keepers.get_mut(&host) else { return };
        if is_here && keeper.open > 0 && !keeper.watched {
            keeper.watched = true;
            let written = if is_dirty { now } else { keeper.written };
            self.storage.watches.insert((written + each, host));
        }
    }

    /// Looks at the keepers for which that is due.
    pub(super) fn watch_keepers(&mut self) {
        while let Some(&(at, host)) = self.storage.watches.first()
            && at <= self.now
        {
            self.storage.watches.pop_first();
            if let Some(keeper) = self.storage.keepers.get_mut(&host) {
                keeper.watched = false;
            }
            if self.is_here(host) {
                self.count_keeper(host);
                self.watch_keeper(host);
            }
        }
    }

    /// A host says what it keeps for others, and how far it has heard of its leases.
    pub(in crate::complex) fn shelf_told(
        &mut self,
        host: HostId,
        report: ShelfReport,
        effects: &mut Vec<Effect>,
    ) {
        let ShelfReport { offer, heard } = report;
        let offer = bounded(offer);
        let now = self.now;
        let is_new = !self.storage.keepers.contains_key(&host);
        let keeper = self.storage.keepers.entry(host).or_insert_with(|| {
            let (offer, present) = (ShelfOffer::default(), Span::ZERO);
            let (since, counted, heard) = (now, now, now);
            Keeper::new(KeeperRecord { host, offer, since, present, counted, heard, failed: None })
        });
        if is_new || keeper.record.offer != offer {
            keeper.record.offer = offer;
            self.storage.dirty_keepers.insert(host);
        }
        // Words that were never issued are those of another history: it hears all.
        let heard = if heard <= self.storage.last_word { heard } else { Time(0) };
        let told = keeper.told.map_or(heard, |told| told.max(heard));
        keeper.told = Some(told);
        let over: Vec<LeaseId> = keeper.over.range(..=heard).map(|(_, lease)| *lease).collect();
        for lease in over {
            let lease = &self.storage.leases[&lease];
            self.forget_lease(StorageRecord { told: true, ..lease.clone() }, effects);
        }
        self.count_keeper(host);
        self.watch_keeper(host);
        self.tell_keeper(host, effects);
        self.ask_keeper(host, effects);
        // It may go now.
        self.feed(host, effects);
    }

    /// A lease is over, and its host need not hear of it any more.
    pub(super) fn forget_lease(&mut self, record: StorageRecord, effects: &mut Vec<Effect>) {
        effects.push(Effect::Keep(Change::Storage(Box::new(record.clone()))));
        self.storage.put(record);
    }

    /// Tells a connected keeper what it has not been told of its leases.
    pub(super) fn tell_keeper(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        let session: Option<SessionId> =
            self.hosts.get(&host).and_then(|host| Some(host.session.as_ref()?.id));
        let Some(keeper) = self.storage.keepers.get_mut(&host) else { return };
        let Some((session, told)) = session.zip(keeper.told) else { return };
        let later = keeper.words.range(Time(told.0 + 1)..).take(STORAGE_NEWS_MAX);
        let news: Vec<LeaseNews> =
            later.map(|(_, lease)| self.storage.leases[lease].news()).collect();
        let Some(last) = news.last() else { return };
        keeper.told = Some(last.issued);
        effects.push(Effect::Send(session, ToHost::Storage(news)));
    }

    /// A host has another key: what it keeps for others, and what it has shown, are the new one's.
    /// Its leases get new grants, since the old ones name the old key.
    pub(in crate::complex) fn move_keeper(
        &mut self,
        old: HostId,
        new: HostId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(keeper) = self.storage.keepers.get_mut(&old) else { return };
        let record = KeeperRecord { host: new, ..keeper.record.clone() };
        keeper.record.offer = ShelfOffer::default();
        let leases: Vec<LeaseId> = keeper.words.values().copied().collect();
        self.storage.keepers.insert(new, Keeper::new(record));
        self.storage.dirty_keepers.extend([old, new]);
        for id in leases {
            let lease = self.storage.leases[&id].clone();
            let issued = self.storage.next_word(self.now);
            let lease = StorageRecord { host: new, issued, ..lease };
            effects.push(Effect::Keep(Change::Storage(Box::new(lease.clone()))));
            self.storage.put(lease);
        }
    }

    /// Writes the rows of keepers of which something has changed.
    pub(in crate::complex) fn write_keepers(&mut self, effects: &mut Vec<Effect>) {
        for host in std::mem::take(&mut self.storage.dirty_keepers) {
            if let Some(keeper) = self.storage.keepers.get_mut(&host) {
                keeper.written = self.now;
                let record = Box::new(keeper.record.clone());
                effects.push(Effect::Keep(Change::Keeper(record)));
            }
        }
    }
}
