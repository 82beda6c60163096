//! What leases cost: set aside when they are made, paid as the time passes.
//!
//! What must be set aside for a lease is its price for the time that is left, rounded up. So the
//! buyer pays the difference of two such amounts, and never more in all than the whole rounded up
//! once; what the host earns is rounded down, at each settlement. For time in which the host has
//! not shown that it is there nobody pays: it goes back to the buyer.

use std::collections::BTreeMap;

use isos_base::price::MONTH;
use isos_base::record::{Change, Reason, StorageRecord, system};
use isos_base::storage::StorageState;
use isos_base::{AccountId, LeaseId, MicroCredits, Span, Time};

use super::super::{Complex, Effect};
use crate::ledger::{LedgerError, Posting, Rent, storage_hold, storage_release};

/// Leases that are settled in one step; the rest in the next.
const SETTLED_MAX: usize = 1_024;

/// When a lease is settled next, or ends, or need no more be told of.
pub(super) fn due_at(lease: &StorageRecord) -> Time {
    match lease.state {
        StorageState::Open => lease.until.min(lease.settled + MONTH),
        StorageState::Released | StorageState::Ended => lease.until,
    }
}

impl Complex {
    /// A lease settled up to now, with the postings that this takes.
    pub(super) fn settled(
        &mut self,
        lease: &StorageRecord,
        postings: &mut Vec<Posting>,
    ) -> StorageRecord {
        self.count_keeper(lease.host);
        let mut new = lease.clone();
        let (keeper, host) = (&self.storage.keepers[&lease.host], &self.hosts[&lease.host]);
        let end = self.now.min(lease.until).max(lease.settled);
        let passed = end.since(lease.settled);
        let shown = Span(keeper.record.present.0.saturating_sub(lease.shown.0));
        // A host that was caught forfeits what it was not paid yet, and the buyer keeps it.
        let time = if host.record.barred.is_some() { Span::ZERO } else { passed.min(shown) };
        (new.settled, new.shown) = (end, keeper.record.present);
        new.settlements += 1;
        let unpaid = Span(lease.until.since(lease.settled).0 - time.0);
        let charge = MicroCredits(lease.reserved().0 - lease.price.charge(lease.bytes, unpaid).0);
        let earning = lease.price.earning(lease.bytes, time).min(charge);
        let fee = self.fee_rate.fee(earning);
        new.charged.0 += charge.0;
        new.paid.0 += earning.0 - fee.0;
        if let Some(hold) = self.storage.purses.get(&lease.account).and_then(|it| it.hold) {
            let (lease, number, earner) = (lease.id, lease.settlements, host.record.account);
            Rent { lease, number, hold, earner, charge, earning, fee }.postings(postings);
        }
        new
    }

    /// Takes leases of one account in as they are now, and has set aside for all of its leases
    /// exactly what they may cost; with the postings that were made for it.
    ///
    /// # Errors
    /// The account has too little. Nothing has changed then.
    pub(super) fn take_in(
        &mut self,
        account: AccountId,
        leases: Vec<StorageRecord>,
        mut postings: Vec<Posting>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LedgerError> {
        let known = &self.storage.leases;
        let before = |lease: &StorageRecord| known.get(&lease.id).map_or(0, |it| it.reserved().0);
        let change =
            |lease: &StorageRecord| i128::from(lease.reserved().0) - i128::from(before(lease));
        let purse = self.storage.purses.get(&account);
        let reserved = i128::from(purse.map_or(0, |purse| purse.reserved.0))
            + leases.iter().map(change).sum::<i128>();
        let reserved = MicroCredits(i64::try_from(reserved).unwrap_or(i64::MAX));
        let old = purse.and_then(|purse| purse.hold);
        let remaining = old.and_then(|hold| self.ledger.hold(hold)).map(|hold| hold.remaining.0);
        let posted: i64 = postings.iter().map(posted).sum();
        let mut hold = old;
        if remaining.unwrap_or(0) - posted != reserved.0 || (old.is_some() && reserved.0 == 0) {
            let (length, _) = self.ledger.head();
            let reason = Reason::Storage;
            if let Some(hold) = old {
                let id = storage_release(account, length);
                postings.push(Posting::Void { id, hold, reason: reason.clone() });
            }
            hold = (reserved > MicroCredits::ZERO).then(|| storage_hold(account, length));
            postings.extend(hold.map(|id| Posting::Hold {
                id,
                debit: account,
                credit: system::ESCROW,
                amount: reserved,
                expires: None,
                reason,
            }));
        }
        let mut changes = Vec::new();
        self.ledger.post(self.now, &postings, &mut changes)?;
        effects.extend(changes.into_iter().map(Effect::Keep));
        if hold.is_some() {
            self.storage.purses.entry(account).or_default().hold = hold;
        } else if let Some(purse) = self.storage.purses.get_mut(&account) {
            purse.hold = None;
        }
        let mut hosts = Vec::new();
        for lease in leases {
            hosts.push(lease.host);
            effects.push(Effect::Keep(Change::Storage(Box::new(lease.clone()))));
            self.storage.put(lease);
        }
        for host in hosts {
            self.watch_keeper(host);
            self.tell_keeper(host, effects);
        }
        Ok(())
    }

    /// Settles the leases for which it is time, ends those that are over, and forgets those of
    /// which nobody need hear any more.
    pub(in crate::complex) fn storage_due(&mut self, effects: &mut Vec<Effect>) {
        self.watch_keepers();
        self.proofs_due(effects);
        self.mend_due(effects);
        let due = self.storage.due.iter().take_while(|(at, _)| *at <= self.now).take(SETTLED_MAX);
        let due: Vec<LeaseId> = due.map(|(_, lease)| *lease).collect();
        let mut by_account: BTreeMap<AccountId, Vec<StorageRecord>> = BTreeMap::new();
        for id in due {
            let lease = self.storage.leases[&id].clone();
            match lease.state {
                StorageState::Open => by_account.entry(lease.account).or_default().push(lease),
                StorageState::Released | StorageState::Ended => {
                    self.forget_lease(StorageRecord { told: true, ..lease }, effects);
                }
            }
        }
        for (account, leases) in by_account {
            let mut postings = Vec::new();
            let settled = leases.iter().map(|lease| {
                let mut new = self.settled(lease, &mut postings);
                if new.until <= self.now {
                    // Its host knows by itself when it ends.
                    (new.state, new.told) = (StorageState::Ended, true);
                }
                new
            });
            let settled = settled.collect();
            if let Err(error) = self.take_in(account, settled, postings, effects) {
                panic!("the ledger refuses the rent of storage that was set aside: {error}");
            }
        }
    }
}

/// What a posting takes of the account's hold.
fn posted(posting: &Posting) -> i64 {
    match posting {
        Posting::Post { amount, .. } => amount.0,
        Posting::Direct { .. } | Posting::Hold { .. } | Posting::Void { .. } => 0,
    }
}
