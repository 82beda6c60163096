//! A batch on its way: what the ledger would be, beside what it is, until all postings are good.

use std::collections::BTreeMap;

use isos_base::record::{HoldRecord, Reason, TransferKind, TransferRecord, system};
use isos_base::{AccountId, Guid, JobId, MicroCredits, Time, TransferId};

use super::balances::Balances;
use super::chain::{GENESIS, chain_hash};
use super::posting::{HOLDS_OPEN_MAX, LedgerError, Posting, REASON_CHARS_MAX};
use super::{Ledger, transfer_id};

/// What a whole batch changes.
pub(super) struct Staged {
    /// New balances of the accounts touched.
    pub(super) balances: BTreeMap<AccountId, Balances>,
    /// New states of the holds touched.
    pub(super) holds: BTreeMap<TransferId, HoldRecord>,
    /// New transfers in order, each with the fingerprint of its posting.
    pub(super) transfers: Vec<(TransferRecord, Guid)>,
}

pub(super) struct Batch<'a> {
    ledger: &'a Ledger,
    now: Time,
    staged: Staged,
    /// Fingerprints of this batch.
    known: BTreeMap<TransferId, Guid>,
    holds_new: usize,
    head: (u64, Guid),
}

/// A transfer before it has a place in the chain.
struct Movement {
    id: TransferId,
    kind: TransferKind,
    debit: AccountId,
    credit: AccountId,
    amount: MicroCredits,
    hold: Option<TransferId>,
    reason: Reason,
}

impl<'a> Batch<'a> {
    pub(super) fn new(ledger: &'a Ledger, now: Time) -> Self {
        Self {
            ledger,
            now,
            staged: Staged {
                balances: BTreeMap::new(),
                holds: BTreeMap::new(),
                transfers: Vec::new(),
            },
            known: BTreeMap::new(),
            holds_new: 0,
            head: ledger.head(),
        }
    }

    pub(super) fn finish(self) -> Staged {
        self.staged
    }

    /// Applies one posting, unless it is a repetition.
    pub(super) fn apply(&mut self, posting: &Posting) -> Result<(), LedgerError> {
        let id = posting.id();
        let fingerprint = posting.fingerprint();
        let before = self.known.get(&id).copied().or_else(|| self.ledger.recent.get(id));
        if let Some(before) = before {
            return if before == fingerprint { Ok(()) } else { Err(LedgerError::IdTaken(id)) };
        }
        if let Reason::Grant(text)
        | Reason::Gift(text)
        | Reason::Refused(_, text)
        | Reason::Deposit(text) = posting.reason()
        {
            let chars = text.chars().count();
            if chars > REASON_CHARS_MAX {
                return Err(LedgerError::ReasonTooLong { id, chars });
            }
        }
        let movement = match posting {
            Posting::Direct { debit, credit, amount, reason, .. } => {
                self.check_direct(id, *debit, *credit, *amount)?;
                Movement {
                    id,
                    kind: TransferKind::Direct,
                    debit: *debit,
                    credit: *credit,
                    amount: *amount,
                    hold: None,
                    reason: reason.clone(),
                }
            }
            Posting::Hold { debit, credit, amount, expires, reason, .. } => {
                self.check_direct(id, *debit, *credit, *amount)?;
                self.check_new_hold(id, *expires)?;
                Movement {
                    id,
                    kind: TransferKind::Hold,
                    debit: *debit,
                    credit: *credit,
                    amount: *amount,
                    hold: None,
                    reason: reason.clone(),
                }
            }
            Posting::Post { hold, amount, reason, .. } => {
                let held = self.check_post(id, *hold, *amount)?;
                Movement {
                    id,
                    kind: TransferKind::Post,
                    debit: held.debit,
                    credit: held.credit,
                    amount: *amount,
                    hold: Some(*hold),
                    reason: reason.clone(),
                }
            }
            Posting::Void { hold, reason, .. } => {
                let held = self.open_hold(*hold)?;
                release(id, TransferKind::Void, &held, reason.clone())
            }
        };
        self.move_money(&movement)?;
        let expires = if let Posting::Hold { expires, .. } = posting { *expires } else { None };
        self.record(movement, expires, fingerprint);
        Ok(())
    }

    /// Closes an open hold whose time is over.
    pub(super) fn expire(&mut self, hold: TransferId) {
        let held = self.open_hold(hold).expect("the index of expiries names open holds");
        // The reason follows from the id, not from memory: a restored ledger must write the same
        // chain. Job 0 is none.
        let job = transfer_id::job_of_hold(hold).unwrap_or(JobId(0));
        let id = transfer_id::expiry(hold);
        let movement = release(id, TransferKind::Expire, &held, Reason::Release(job));
        self.move_money(&movement).expect("what is held can always go back");
        self.record(movement, None, GENESIS);
    }

    fn balances(&self, account: AccountId) -> Result<Balances, LedgerError> {
        let staged = self.staged.balances.get(&account).copied();
        staged
            .or_else(|| self.ledger.accounts.get(&account).map(Balances::of))
            .ok_or(LedgerError::UnknownAccount(account))
    }

    fn open_hold(&self, hold: TransferId) -> Result<HoldRecord, LedgerError> {
        let staged = self.staged.holds.get(&hold);
        let found = staged.or_else(|| self.ledger.holds.get(&hold)).filter(|held| !held.closed);
        found.copied().ok_or(LedgerError::HoldNotOpen(hold))
    }

    /// What [`Posting::Direct`] and [`Posting::Hold`] share: fresh money leaves an account.
    fn check_direct(
        &self,
        id: TransferId,
        debit: AccountId,
        credit: AccountId,
        amount: MicroCredits,
    ) -> Result<(), LedgerError> {
        if amount <= MicroCredits::ZERO {
            return Err(LedgerError::AmountNotPositive { id, amount });
        }
        if debit == credit {
            return Err(LedgerError::SameAccount { id, account: debit });
        }
        if system::currency_of(debit) != system::currency_of(credit) {
            return Err(LedgerError::OtherCurrency { id, debit, credit });
        }
        self.balances(credit)?;
        let available = self.balances(debit)?.available();
        if available < amount && !system::may_owe(debit) {
            return Err(LedgerError::InsufficientFunds {
                account: debit,
                available,
                needed: amount,
            });
        }
        Ok(())
    }

    fn check_new_hold(&self, id: TransferId, expires: Option<Time>) -> Result<(), LedgerError> {
        if let Some(expires) = expires.filter(|expires| *expires <= self.now) {
            return Err(LedgerError::ExpiryInThePast { hold: id, expires, now: self.now });
        }
        // Older than the recent ids, but plainly there.
        if self.ledger.holds.contains_key(&id) {
            return Err(LedgerError::IdTaken(id));
        }
        if self.ledger.holds.len() + self.holds_new >= HOLDS_OPEN_MAX {
            return Err(LedgerError::TooManyHolds);
        }
        Ok(())
    }

    fn check_post(
        &self,
        id: TransferId,
        hold: TransferId,
        amount: MicroCredits,
    ) -> Result<HoldRecord, LedgerError> {
        if amount <= MicroCredits::ZERO {
            return Err(LedgerError::AmountNotPositive { id, amount });
        }
        let held = self.open_hold(hold)?;
        if let Some(expired) = held.expires.filter(|expires| *expires <= self.now) {
            return Err(LedgerError::HoldExpired { hold, expired });
        }
        if amount > held.remaining {
            let remaining = held.remaining;
            return Err(LedgerError::HoldExceeded { hold, remaining, needed: amount });
        }
        Ok(held)
    }

    fn move_money(&mut self, movement: &Movement) -> Result<(), LedgerError> {
        let Movement { id, kind, debit, credit, amount, .. } = *movement;
        let overflow = |account| LedgerError::BalanceOverflow { id, amount, account };
        let giver = self.balances(debit)?.debited(kind, amount).ok_or(overflow(debit))?;
        let getter = self.balances(credit)?.credited(kind, amount).ok_or(overflow(credit))?;
        self.staged.balances.insert(debit, giver);
        self.staged.balances.insert(credit, getter);
        Ok(())
    }

    /// Chains a movement whose money has moved, and updates its hold.
    fn record(&mut self, movement: Movement, expires: Option<Time>, fingerprint: Guid) {
        let Movement { id, kind, debit, credit, amount, hold, reason } = movement;
        if kind == TransferKind::Hold {
            self.holds_new += 1;
            let held = HoldRecord { id, debit, credit, remaining: amount, expires, closed: false };
            self.staged.holds.insert(id, held);
        } else if let Some(hold) = hold {
            let mut held = self.open_hold(hold).expect("it was open when the posting was checked");
            // At most what was left: `check_post` has looked, and a release is of all of it.
            held.remaining = MicroCredits(held.remaining.0 - amount.0);
            held.closed = kind != TransferKind::Post;
            self.staged.holds.insert(hold, held);
        }
        let seq = self.head.0 + 1;
        let at = self.now;
        let mut transfer = TransferRecord {
            seq,
            id,
            kind,
            debit,
            credit,
            amount,
            hold,
            reason,
            at,
            hash: GENESIS,
        };
        transfer.hash = chain_hash(self.head.1, &transfer);
        self.head = (seq, transfer.hash);
        self.known.insert(id, fingerprint);
        self.staged.transfers.push((transfer, fingerprint));
    }
}

/// What is left of a hold goes back.
fn release(id: TransferId, kind: TransferKind, held: &HoldRecord, reason: Reason) -> Movement {
    Movement {
        id,
        kind,
        debit: held.debit,
        credit: held.credit,
        amount: held.remaining,
        hold: Some(held.id),
        reason,
    }
}
