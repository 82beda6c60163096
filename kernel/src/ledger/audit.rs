//! What must hold for the whole ledger, whatever was posted.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::record::{AccountRecord, HoldRecord, system};
use isos_base::{AccountId, MicroCredits, TransferId};
use thiserror::Error;

use super::Ledger;
use super::balances::Balances;

/// Rows that no ledger leaves behind: they were damaged or altered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuditError {
    /// Two accounts share a number, a name or a key.
    #[error("account {0} has a number, name or key that another account has")]
    Duplicate(AccountId),
    /// What some gave, others did not get.
    #[error(
        "money is not conserved: {side} debits of currency {currency} sum to {debits} millionths, \
         credits to {credits}"
    )]
    NotConserved {
        /// Number of the currency; 0 is credits.
        currency: u64,
        /// `posted` or `pending`.
        side: &'static str,
        /// Sum over all accounts.
        debits: i128,
        /// Sum over all accounts.
        credits: i128,
    },
    /// A balance below zero or too large.
    #[error("account {0} has a balance outside of what a balance can be")]
    BalanceOutOfRange(AccountId),
    /// More spent and held than there was.
    #[error("account {account} is overdrawn: {available} credits are available")]
    Overdrawn {
        /// Whose.
        account: AccountId,
        /// Less than zero.
        available: MicroCredits,
    },
    /// Open holds do not explain what is pending.
    #[error("account {account} has {pending} micro-credits pending, its open holds sum to {held}")]
    HoldsDiffer {
        /// Whose.
        account: AccountId,
        /// Debits and credits pending, together.
        pending: i128,
        /// What is left in its open holds, on both sides.
        held: i128,
    },
    /// A hold of less than nothing, between currencies, or between accounts that are not there.
    #[error("hold {0} is of a negative amount, of two currencies, or of unknown accounts")]
    BadHold(TransferId),
}

impl Ledger {
    /// Checks every rule over all accounts and holds: conservation, ranges, no overdraft, and that
    /// open holds explain what is pending. Sums are exact.
    ///
    /// # Errors
    /// The first [`AuditError`] found.
    pub fn audit(&self) -> Result<(), AuditError> {
        let mut held: BTreeMap<AccountId, (i128, i128)> = BTreeMap::new();
        for hold in self.holds.values() {
            let known =
                self.accounts.contains_key(&hold.debit) && self.accounts.contains_key(&hold.credit);
            let alike = system::currency_of(hold.debit) == system::currency_of(hold.credit);
            if hold.remaining < MicroCredits::ZERO || hold.debit == hold.credit || !known || !alike
            {
                return Err(AuditError::BadHold(hold.id));
            }
            held.entry(hold.debit).or_default().0 += i128::from(hold.remaining.0);
            held.entry(hold.credit).or_default().1 += i128::from(hold.remaining.0);
        }
        // Each currency by itself: no sum over several means anything.
        let mut sums: BTreeMap<u64, [(i128, i128); 2]> = BTreeMap::new();
        for record in self.accounts.values() {
            audit_account(record, held.get(&record.id).copied().unwrap_or_default())?;
            let [posted, pending] = sums.entry(system::currency_of(record.id)).or_default();
            posted.0 += i128::from(record.debits_posted.0);
            posted.1 += i128::from(record.credits_posted.0);
            pending.0 += i128::from(record.debits_pending.0);
            pending.1 += i128::from(record.credits_pending.0);
        }
        for (currency, [posted, pending]) in sums {
            for (side, (debits, credits)) in [("posted", posted), ("pending", pending)] {
                if debits != credits {
                    return Err(AuditError::NotConserved { currency, side, debits, credits });
                }
            }
        }
        Ok(())
    }

    /// Asserts [`Ledger::audit`] and that every index agrees with what it indexes. For tests and
    /// the simulator: it visits everything.
    ///
    /// # Panics
    /// When one of them does not hold, which is a bug.
    pub fn check_invariants(&self) {
        if let Err(error) = self.audit() {
            panic!("the ledger is broken: {error}");
        }
        assert!(self.recent.is_consistent(), "recent ids and their order differ");
        assert_eq!(self.names.len(), self.accounts.len(), "names and accounts differ");
        for record in self.accounts.values() {
            assert_eq!(self.names.get(&record.name), Some(&record.id), "name index");
            if let Some(key) = record.key {
                assert_eq!(self.keys.get(&key), Some(&record.id), "key index");
            }
        }
        let expires = |hold: &HoldRecord| hold.expires.map(|expires| (expires, hold.id));
        let expected: BTreeSet<_> = self.holds.values().filter_map(expires).collect();
        assert_eq!(self.expiries, expected, "expiry index");
        assert!(self.holds.values().all(|hold| !hold.closed), "a closed hold is kept");
    }
}

fn audit_account(record: &AccountRecord, held: (i128, i128)) -> Result<(), AuditError> {
    let account = record.id;
    let balances = Balances::of(record);
    if !balances.is_sound() {
        return Err(AuditError::BalanceOutOfRange(account));
    }
    let pending = (i128::from(record.debits_pending.0), i128::from(record.credits_pending.0));
    if pending != held {
        return Err(AuditError::HoldsDiffer {
            account,
            pending: pending.0 + pending.1,
            held: held.0 + held.1,
        });
    }
    let available = balances.available();
    if available < MicroCredits::ZERO && !system::may_owe(account) {
        return Err(AuditError::Overdrawn { account, available });
    }
    Ok(())
}
