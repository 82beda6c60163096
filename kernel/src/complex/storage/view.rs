//! What is shown of keepers, leases and quotas.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use isos_base::api::{ClassQuota, KeeperView, QuotaView, Standing};
use isos_base::fragment::StorageClass;
use isos_base::price::MONTH;
use isos_base::record::StorageRecord;
use isos_base::{AccountId, Bytes, HostId, LeaseId, MicroCredits, Span, Time};

use super::super::Complex;
use super::super::session::Block;
use super::change::sum;
use super::{ACCOUNT_LEASES_MAX, Leased};

const DAY: Span = Span::secs(86_400);
/// Who was not heard of for so long is believed to be gone.
const MISSING_AFTER: Span = DAY;
/// A host is expected to stay at least so long,
const LIFETIME_MIN: Span = DAY;
/// and at most so long.
const LIFETIME_MAX: Span = Span::secs(3 * 365 * 86_400);

/// The network of a block, as people write it.
fn network(block: Block) -> String {
    match block {
        [4, a, b, c, 0, 0] => format!("{}/24", Ipv4Addr::new(a, b, c, 0)),
        [a, b, c, d, e, f] => {
            let two = |high: u8, low: u8| u16::from_be_bytes([high, low]);
            format!("{}/48", Ipv6Addr::new(two(a, b), two(c, d), two(e, f), 0, 0, 0, 0, 0))
        }
    }
}

impl Complex {
    /// Whether a keeper is there. The machine may not have been told for long what time it is.
    pub(super) fn keeper_standing(&self, now: Time, id: HostId) -> Standing {
        let now = now.max(self.now);
        let Some((host, keeper)) = self.hosts.get(&id).zip(self.storage.keepers.get(&id)) else {
            return Standing::Gone;
        };
        if host.record.barred.is_some() || host.record.successor.is_some() {
            return Standing::Gone;
        }
        let heard = keeper.record.heard;
        let is_here = host.session.is_some();
        if keeper.record.failed.is_some() || (!is_here && heard + MISSING_AFTER <= now) {
            return Standing::Missing;
        }
        if is_here || now < heard + self.proof() { Standing::Here } else { Standing::Away }
    }

    /// How long a keeper is expected to stay, and at which part of the time it can be reached, in
    /// millionths.
    pub(super) fn steadiness(&self, now: Time, id: HostId) -> (Span, u32) {
        let now = now.max(self.now);
        let Some((host, keeper)) = self.hosts.get(&id).zip(self.storage.keepers.get(&id)) else {
            return (LIFETIME_MIN, 0);
        };
        let age = now.since(host.record.joined);
        let lifetime = age.clamp(LIFETIME_MIN, LIFETIME_MAX);
        let (present, _) = keeper.shown(now, self.proof(), host.session.is_some());
        let known = now.since(keeper.record.since);
        // As if it had been there for half of a day before.
        let up = u128::from(present.0 + DAY.0 / 2) * 1_000_000 / u128::from(known.0 + DAY.0);
        (lifetime, u32::try_from(up.min(1_000_000)).unwrap_or(1_000_000))
    }

    /// A keeper, at `now`.
    #[must_use]
    pub fn keeper_view(&self, now: Time, id: HostId) -> Option<KeeperView> {
        let (host, keeper) = self.hosts.get(&id).zip(self.storage.keepers.get(&id))?;
        let (lifetime, up_ppm) = self.steadiness(now, id);
        let (spec, offer) = (&host.record.spec, &keeper.record.offer);
        Some(KeeperView {
            host: id,
            owner: host.record.account,
            block: host.block.map(network),
            country: spec.country.clone(),
            os: spec.os.clone(),
            agent: spec.agent.clone(),
            lifetime,
            up_ppm,
            free: keeper.free(),
            price: self.price_at(&keeper.record),
            standing: self.keeper_standing(now, id),
            addresses: offer.addresses.clone(),
            relay: offer.relay.clone(),
        })
    }

    /// An account's open leases above `after`, by number, at most so many; and whether there are
    /// more.
    #[must_use]
    pub fn storage_leases(
        &self,
        now: Time,
        account: AccountId,
        after: LeaseId,
        limit: usize,
    ) -> (Vec<Leased>, bool) {
        let purse = self.storage.purses.get(&account);
        let later = purse.into_iter().flat_map(|purse| purse.open.range(LeaseId(after.0 + 1)..));
        let mut leases = later.filter_map(|id| {
            let record = self.storage.leases.get(id)?.clone();
            let keeper = self.keeper_view(now, record.host)?;
            Some(Leased { record, keeper })
        });
        let page: Vec<Leased> = leases.by_ref().take(limit).collect();
        let more = leases.next().is_some();
        (page, more)
    }

    /// What an account holds of storage, and what that costs.
    #[must_use]
    pub fn quota(&self, now: Time, account: AccountId) -> QuotaView {
        let purse = self.storage.purses.get(&account);
        let open: Vec<&StorageRecord> = purse
            .into_iter()
            .flat_map(|purse| &purse.open)
            .filter_map(|id| self.storage.leases.get(id))
            .collect();
        let month = |leases: &mut dyn Iterator<Item = &&StorageRecord>| {
            sum(leases.map(|lease| lease.price.charge(lease.bytes, MONTH)))
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let hosts: BTreeSet<HostId> = open.iter().map(|lease| lease.host).collect();
        let is_away = |host: &&HostId| self.keeper_standing(now, **host) != Standing::Here;
        let mut classes: BTreeMap<StorageClass, Vec<&StorageRecord>> = BTreeMap::new();
        for lease in &open {
            classes.entry(lease.class).or_default().push(lease);
        }
        let classes = classes.into_iter().map(|(class, leases)| ClassQuota {
            class,
            leases: count(leases.len()),
            bytes: Bytes(leases.iter().map(|lease| lease.bytes.0).sum()),
            month: month(&mut leases.iter()),
        });
        QuotaView {
            account,
            leases: count(open.len()),
            leases_max: count(ACCOUNT_LEASES_MAX),
            bytes: purse.map_or(Bytes::ZERO, |purse| purse.bytes),
            bytes_max: self.config.account_storage_max,
            hosts: count(hosts.len()),
            away: count(hosts.iter().filter(is_away).count()),
            classes: classes.collect(),
            month: month(&mut open.iter()),
            held: purse.map_or(MicroCredits::ZERO, |purse| purse.reserved),
            next_end: open.iter().map(|lease| lease.until).min(),
            price: self.config.storage_price,
        }
    }
}
