//! Leases are renewed, made larger or smaller, and given up: all that a request names, or none.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{LeaseChange, Problem, ProblemCode};
use isos_base::audit::Deed;
use isos_base::price::StoragePrice;
use isos_base::record::StorageRecord;
use isos_base::storage::{STORAGE_CHANGES_MAX, StorageState};
use isos_base::{AccountId, HostId, LeaseId, MicroCredits};

use super::super::{Complex, Effect, Reply};
use super::lease::{check_bytes, check_end, refused, too_dear, usage};

impl Complex {
    /// The open leases of an account with these numbers.
    pub(super) fn own_leases(
        &self,
        account: AccountId,
        ids: impl ExactSizeIterator<Item = LeaseId>,
    ) -> Result<Vec<StorageRecord>, Problem> {
        if ids.len() == 0 || ids.len() > STORAGE_CHANGES_MAX {
            return Err(usage(format!("name 1 to {STORAGE_CHANGES_MAX} leases at a time")));
        }
        let mut seen = BTreeSet::new();
        ids.map(|id| {
            if !seen.insert(id) {
                return Err(usage(format!("lease {id} is named twice")));
            }
            let lease = self.storage.leases.get(&id);
            let open = |lease: &&StorageRecord| {
                lease.account == account && lease.state == StorageState::Open
            };
            lease.filter(open).cloned().ok_or_else(|| {
                let message = format!("account {account} has no open storage lease {id}");
                Problem::new(ProblemCode::NotFound, message)
            })
        })
        .collect()
    }

    pub(super) fn change_storage(
        &mut self,
        account: AccountId,
        changes: &[LeaseChange],
        price_max: Option<StoragePrice>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let leases = self.own_leases(account, changes.iter().map(|change| change.lease))?;
        let (mut postings, mut changed) = (Vec::new(), Vec::new());
        let mut grown: BTreeMap<HostId, u64> = BTreeMap::new();
        for (lease, change) in leases.iter().zip(changes) {
            let mut new = self.settled(lease, &mut postings);
            if let Some(bytes) = change.bytes {
                check_bytes(bytes)?;
                new.bytes = bytes;
                *grown.entry(lease.host).or_default() += bytes.0.saturating_sub(lease.bytes.0);
            }
            if let Some(until) = change.until {
                if until < lease.until {
                    return Err(usage(format!(
                        "lease {} lasts until {} already: give it up if it shall end sooner",
                        lease.id, lease.until
                    )));
                }
                check_end(self.now, until)?;
                new.until = until;
            }
            // A settlement in passing is no reason for another price.
            if new.bytes > lease.bytes || new.until > lease.until {
                new.price = self.renewed_price(lease, price_max)?;
            }
            changed.push(new);
        }
        for (host, more) in &grown {
            let free = self.storage.keepers[host].free();
            if *more > free.0 {
                return Err(refused(format!(
                    "host {} has room for {free} more: lease the rest of another",
                    host.short()
                )));
            }
        }
        self.check_account_bytes(account, grown.values().map(|it| u128::from(*it)).sum())?;
        for new in &mut changed {
            new.issued = self.storage.next_word(self.now);
        }
        let cost = sum(changed.iter().map(StorageRecord::reserved));
        let taken = self.take_in(account, changed.clone(), postings, effects);
        taken.map_err(|error| too_dear(&error, cost))?;
        let (held, leases) = (self.storage_held(account), changed.len() as u32);
        let first = changed.iter().map(|lease| lease.id).min().unwrap_or_default();
        self.audit(Some(account), Deed::StorageChanged { first, leases, held }, effects);
        Ok(self.leased(changed))
    }

    /// What a lease costs from now on, if it is to last longer or be larger.
    fn renewed_price(
        &self,
        lease: &StorageRecord,
        price_max: Option<StoragePrice>,
    ) -> Result<StoragePrice, Problem> {
        let (id, short) = (lease.id, lease.host.short());
        if self.hosts[&lease.host].is_out() {
            return Err(refused(format!(
                "host {short} of lease {id} will not come back: give the lease up, and store what \
                 it held elsewhere"
            )));
        }
        let price = self.price_at(&self.storage.keepers[&lease.host].record);
        let most = price_max.unwrap_or(lease.price.max(self.config.storage_price));
        if price > most {
            return Err(refused(format!(
                "host {short} of lease {id} asks {} micro-credits for a GiB and month, at most {} \
                 were offered: offer more, or leave it out",
                price.0, most.0
            )));
        }
        Ok(price)
    }

    pub(super) fn release_storage(
        &mut self,
        account: AccountId,
        ids: Vec<LeaseId>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let leases = self.own_leases(account, ids.into_iter())?;
        let (mut postings, mut released) = (Vec::new(), Vec::new());
        for lease in &leases {
            let mut new = self.settled(lease, &mut postings);
            new.state = StorageState::Released;
            new.issued = self.storage.next_word(self.now);
            released.push(new);
        }
        let taken = self.take_in(account, released.clone(), postings, effects);
        if let Err(error) = taken {
            panic!("the ledger refuses to give back what was set aside for storage: {error}");
        }
        let (held, leases) = (self.storage_held(account), released.len() as u32);
        let first = released.iter().map(|lease| lease.id).min().unwrap_or_default();
        self.audit(Some(account), Deed::StorageReleased { first, leases, held }, effects);
        Ok(self.leased(released))
    }
}

pub(super) fn sum(amounts: impl Iterator<Item = MicroCredits>) -> MicroCredits {
    let all: i128 = amounts.map(|amount| i128::from(amount.0)).sum();
    MicroCredits(i64::try_from(all).unwrap_or(i64::MAX))
}
