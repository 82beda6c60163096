//! The bank of the complex: double entry, holds, and a chain of transfers that nobody rewrites.
//!
//! TigerBeetle's model, reduced: accounts with four balances, immutable transfers with ids that
//! their authors choose, money held before it is final. A batch of linked postings happens whole or
//! not at all, and everything that follows from it is said in [`Change`]s, from which the same
//! ledger can be built again.
//!
//! Not here: what work is worth (`isos_base::price`), who may ask (the complex), durability (the
//! database), statements (a query over transfers). Real money comes in and goes out at the edge.

mod account;
mod audit;
mod balances;
mod batch;
mod chain;
mod currency;
mod posting;
mod recent;
mod rent;
mod settle;
mod transfer_id;

use std::collections::{BTreeMap, BTreeSet};

use isos_base::key::PublicKey;
use isos_base::record::{AccountRecord, Change, HoldRecord, TransferRecord};
use isos_base::{AccountId, Guid, Time, TransferId};

pub use account::{ACCOUNTS_MAX, AccountView, OpenAccountError};
pub use audit::AuditError;
pub use balances::{Balances, fold_transfer};
pub use chain::{ChainError, GENESIS, chain_hash, verify_chain};
pub use currency::{CREDIT, CurrencyError};
pub use posting::{BATCH_POSTINGS_MAX, HOLDS_OPEN_MAX, LedgerError, Posting, REASON_CHARS_MAX};
pub use recent::RECENT_IDS_MAX;
pub use rent::Rent;
pub use settle::{FeeRate, Settlement, SettlementError};
pub use transfer_id::{
    PayoutLeg, asked, deposit, deposit_money, job_forfeit, job_held, job_hold, job_release, payout,
    payout_money, storage_account, storage_hold, storage_release,
};

use batch::{Batch, Staged};
use recent::Recent;

/// Holds that one call of [`Ledger::expire`] closes.
pub const EXPIRE_BATCH_MAX: usize = 1_024;

/// All accounts, all open holds, and the head of the chain.
#[derive(Debug, Clone)]
pub struct Ledger {
    accounts: BTreeMap<AccountId, AccountRecord>,
    names: BTreeMap<String, AccountId>,
    keys: BTreeMap<PublicKey, AccountId>,
    holds: BTreeMap<TransferId, HoldRecord>,
    /// When which open hold expires.
    expiries: BTreeSet<(Time, TransferId)>,
    /// Position of the last transfer, 0 before the first.
    seq: u64,
    /// Its hash.
    head: Guid,
    recent: Recent,
    /// The latest time seen: the ledger's clock never runs backwards.
    latest: Time,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// A ledger with the complex's own accounts and no money. Their rows are said in a [`Change`]
    /// when money first touches them.
    #[must_use]
    pub fn new() -> Self {
        let mut ledger = Self {
            accounts: BTreeMap::new(),
            names: BTreeMap::new(),
            keys: BTreeMap::new(),
            holds: BTreeMap::new(),
            expiries: BTreeSet::new(),
            seq: 0,
            head: GENESIS,
            recent: Recent::default(),
            latest: Time(0),
        };
        for (id, name) in account::SYSTEM {
            ledger.index_account(account::empty(id, name, None));
        }
        ledger
    }

    /// The ledger as the database knows it: all accounts, all open holds, position and hash of the
    /// last transfer. Closed holds are passed over.
    ///
    /// Which ids were used lately is not among that: tell it by [`Ledger::remember`], or leave it
    /// to the database's unique index to refuse a repetition.
    ///
    /// # Errors
    /// [`AuditError`] when the rows are not what a ledger can have left.
    pub fn restore(
        accounts: impl IntoIterator<Item = AccountRecord>,
        holds: impl IntoIterator<Item = HoldRecord>,
        head: Option<(u64, Guid)>,
    ) -> Result<Self, AuditError> {
        let mut ledger = Self::new();
        let mut seen = BTreeSet::new();
        for record in accounts {
            if !seen.insert(record.id) {
                return Err(AuditError::Duplicate(record.id));
            }
            if let Some(empty) = ledger.accounts.remove(&record.id) {
                ledger.names.remove(&empty.name);
            }
            if ledger.names.contains_key(&record.name)
                || record.key.is_some_and(|key| ledger.keys.contains_key(&key))
            {
                return Err(AuditError::Duplicate(record.id));
            }
            ledger.index_account(record);
        }
        for hold in holds.into_iter().filter(|hold| !hold.closed) {
            ledger.expiries.extend(hold.expires.map(|expires| (expires, hold.id)));
            ledger.holds.insert(hold.id, hold);
        }
        (ledger.seq, ledger.head) = head.unwrap_or((0, GENESIS));
        ledger.audit()?;
        Ok(ledger)
    }

    /// Tells a restored ledger of a transfer that it made before, the latest last, so that a
    /// repetition of it is known as one.
    pub fn remember(&mut self, transfer: &TransferRecord) {
        if let Some(posting) = recent::posting_of(transfer) {
            self.recent.insert(transfer.id, posting.fingerprint());
        }
    }

    /// Applies linked postings: all of them or, on an error, none. Appends what is to be kept: the
    /// accounts touched, the transfers in order, the holds touched.
    ///
    /// A posting that was made before, with the same id and content, is passed over, be it in this
    /// batch or an earlier one. The last [`RECENT_IDS_MAX`] ids are known here; behind that stands
    /// the database's unique index over transfer ids.
    ///
    /// # Errors
    /// [`LedgerError`]; neither the ledger nor `out` has changed then.
    pub fn post(
        &mut self,
        now: Time,
        postings: &[Posting],
        out: &mut Vec<Change>,
    ) -> Result<(), LedgerError> {
        if postings.len() > BATCH_POSTINGS_MAX {
            return Err(LedgerError::BatchTooLong(postings.len()));
        }
        let now = now.max(self.latest);
        let mut batch = Batch::new(self, now);
        for posting in postings {
            batch.apply(posting)?;
        }
        let staged = batch.finish();
        self.commit(now, staged, out);
        Ok(())
    }

    /// Gives back what is left of holds whose time is over, at most [`EXPIRE_BATCH_MAX`] of them,
    /// and says how many. Call again when [`Ledger::next_expiry`] says so.
    pub fn expire(&mut self, now: Time, out: &mut Vec<Change>) -> usize {
        let now = now.max(self.latest);
        let due: Vec<TransferId> = self
            .expiries
            .iter()
            .take_while(|(expires, _)| *expires <= now)
            .take(EXPIRE_BATCH_MAX)
            .map(|(_, hold)| *hold)
            .collect();
        let mut batch = Batch::new(self, now);
        for hold in &due {
            batch.expire(*hold);
        }
        let staged = batch.finish();
        self.commit(now, staged, out);
        due.len()
    }

    /// When the next hold expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    /// Position and hash of the last transfer; (0, [`GENESIS`]) before the first.
    #[must_use]
    pub const fn head(&self) -> (u64, Guid) {
        (self.seq, self.head)
    }

    /// An open hold.
    #[must_use]
    pub fn hold(&self, id: TransferId) -> Option<&HoldRecord> {
        self.holds.get(&id)
    }

    /// All open holds, by id.
    pub fn holds(&self) -> impl Iterator<Item = &HoldRecord> {
        self.holds.values()
    }

    fn commit(&mut self, now: Time, staged: Staged, out: &mut Vec<Change>) {
        self.latest = now;
        for (id, balances) in staged.balances {
            let record = self.accounts.get_mut(&id).expect("a batch only touches known accounts");
            balances.write_to(record);
            out.push(Change::Account(Box::new(record.clone())));
        }
        for (transfer, fingerprint) in staged.transfers {
            (self.seq, self.head) = (transfer.seq, transfer.hash);
            self.recent.insert(transfer.id, fingerprint);
            out.push(Change::Transfer(Box::new(transfer)));
        }
        for (id, hold) in staged.holds {
            let expiry = hold.expires.map(|expires| (expires, id));
            if hold.closed {
                self.holds.remove(&id);
                if let Some(expiry) = expiry {
                    self.expiries.remove(&expiry);
                }
            } else {
                self.holds.insert(id, hold);
                self.expiries.extend(expiry);
            }
            out.push(Change::Hold(hold));
        }
    }

    fn index_account(&mut self, record: AccountRecord) {
        self.names.insert(record.name.clone(), record.id);
        self.keys.extend(record.key.map(|key| (key, record.id)));
        self.accounts.insert(record.id, record);
    }
}

#[cfg(test)]
mod tests;
