//! The four balances of an account, and the arithmetic that can say no.

use isos_base::MicroCredits;
use isos_base::record::{AccountRecord, TransferKind, TransferRecord};

/// TigerBeetle's four balances, all zero or more. Each side (pending and posted together) always
/// fits an `i64`, so making a hold final can never overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balances {
    /// Debits that are held.
    pub debits_pending: MicroCredits,
    /// Debits that are final.
    pub debits_posted: MicroCredits,
    /// Credits that are held.
    pub credits_pending: MicroCredits,
    /// Credits that are final.
    pub credits_posted: MicroCredits,
}

impl Balances {
    /// Those of a record.
    #[must_use]
    pub const fn of(record: &AccountRecord) -> Self {
        Self {
            debits_pending: record.debits_pending,
            debits_posted: record.debits_posted,
            credits_pending: record.credits_pending,
            credits_posted: record.credits_posted,
        }
    }

    pub(super) const fn write_to(self, record: &mut AccountRecord) {
        record.debits_pending = self.debits_pending;
        record.debits_posted = self.debits_posted;
        record.credits_pending = self.credits_pending;
        record.credits_posted = self.credits_posted;
    }

    /// What can be spent: final credits less final and held debits. Negative for the mint alone.
    #[must_use]
    pub const fn available(&self) -> MicroCredits {
        // Both terms are in 0..=i64::MAX, so the difference fits.
        MicroCredits(self.credits_posted.0 - (self.debits_posted.0 + self.debits_pending.0))
    }

    /// Whether all four are zero or more and each side fits.
    pub(super) fn is_sound(&self) -> bool {
        let all =
            [self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted];
        all.iter().all(|balance| balance.0 >= 0)
            && self.debits_pending.checked_add(self.debits_posted).is_some()
            && self.credits_pending.checked_add(self.credits_posted).is_some()
    }

    /// What a transfer of `amount` does to the giver; `None` when a balance would leave its range.
    pub(super) fn debited(mut self, kind: TransferKind, amount: MicroCredits) -> Option<Self> {
        move_money(&mut self.debits_pending, &mut self.debits_posted, kind, amount)?;
        self.is_sound().then_some(self)
    }

    /// What a transfer of `amount` does to the getter; `None` when a balance would leave its range.
    pub(super) fn credited(mut self, kind: TransferKind, amount: MicroCredits) -> Option<Self> {
        move_money(&mut self.credits_pending, &mut self.credits_posted, kind, amount)?;
        self.is_sound().then_some(self)
    }
}

/// The one place where a transfer becomes arithmetic: for one side of one account.
fn move_money(
    pending: &mut MicroCredits,
    posted: &mut MicroCredits,
    kind: TransferKind,
    amount: MicroCredits,
) -> Option<()> {
    match kind {
        TransferKind::Direct => *posted = posted.checked_add(amount)?,
        TransferKind::Hold => *pending = pending.checked_add(amount)?,
        TransferKind::Post => {
            *pending = pending.checked_sub(amount)?;
            *posted = posted.checked_add(amount)?;
        }
        TransferKind::Void | TransferKind::Expire => *pending = pending.checked_sub(amount)?,
    }
    Some(())
}

/// Adds `transfer` to the balances of both its accounts, for audits that start from nothing.
/// `false` when a balance would leave its range, which no transfer of a sound ledger does.
#[must_use]
pub fn fold_transfer(debit: &mut Balances, credit: &mut Balances, it: &TransferRecord) -> bool {
    match (debit.debited(it.kind, it.amount), credit.credited(it.kind, it.amount)) {
        (Some(giver), Some(getter)) => {
            (*debit, *credit) = (giver, getter);
            true
        }
        _ => false,
    }
}
