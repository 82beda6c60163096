//! Demurrage: credits that were earned long ago and not spent lose a little each day.
//!
//! In a barter of machine time a credit is a claim on somebody's machine; whoever hoards claims
//! takes room from those who come later. So where an operator wants it, what an account has above
//! what it earned in the last three months loses a part a month, by the day. What was paid in, or
//! granted, and not paid out is nobody's hoard, and neither is what is set aside. What is taken
//! goes back to the mint: nobody gains by it. (Silvio Gesell's idea, 1916; the town of Woergl had
//! such money.)

use std::collections::BTreeMap;
use std::ops::Bound;

use isos_base::api::ReasonView;
use isos_base::record::{Change, EarnedRecord, Reason, TransferKind, TransferRecord, system};
use isos_base::{AccountId, MicroCredits, Span, Time};

use super::{Complex, Effect};
use crate::ledger::{Posting, asked};

const DAY: Span = Span::secs(86_400);
const DAYS_OF_MONTH: i128 = 30;
const WHOLE_BPS: i128 = 10_000;
/// Accounts that are looked at each time the market is cleared.
const ACCOUNTS_PER_TICK: usize = 4_096;
/// What was paid in, among months.
const PAID_IN: u32 = 0;
/// Rows of the mint: the last day that is done, and the account that was looked at last.
const DAY_DONE: (AccountId, u32) = (system::MINT, 0);
const LOOKED_AT: (AccountId, u32) = (system::MINT, 1);

/// What accounts earned in the last months.
#[derive(Debug, Default)]
pub(super) struct Demurrage {
    rows: BTreeMap<(AccountId, u32), MicroCredits>,
}

const fn month_of(at: Time) -> u32 {
    // A u32 of months is more than a u64 of microseconds.
    (at.0 / EarnedRecord::MONTH.0) as u32 + 1
}

impl Demurrage {
    pub(super) fn restore(rows: Vec<EarnedRecord>) -> Self {
        Self { rows: rows.into_iter().map(|it| ((it.account, it.month), it.amount)).collect() }
    }

    fn get(&self, key: (AccountId, u32)) -> MicroCredits {
        self.rows.get(&key).copied().unwrap_or_default()
    }

    fn set(&mut self, key: (AccountId, u32), amount: MicroCredits, effects: &mut Vec<Effect>) {
        self.rows.insert(key, amount);
        let (account, month) = key;
        effects.push(Effect::Keep(Change::Earned(EarnedRecord { account, month, amount })));
    }

    /// What an account may have without losing any of it.
    fn free(&self, account: AccountId, now: Time) -> MicroCredits {
        let newest = month_of(now);
        let oldest = newest.saturating_sub(EarnedRecord::KEPT).max(1);
        let months = self.rows.range((account, oldest)..=(account, newest));
        let earned = months.fold(0_i64, |sum, (_, amount)| sum.saturating_add(amount.0));
        MicroCredits(earned.saturating_add(self.get((account, PAID_IN)).0))
    }

    /// Takes down that an account earned, or paid in.
    fn add(&mut self, account: AccountId, month: u32, amount: i64, effects: &mut Vec<Effect>) {
        let sum = self.get((account, month)).0.saturating_add(amount).max(0);
        self.set((account, month), MicroCredits(sum), effects);
        if month > EarnedRecord::KEPT {
            let old: Vec<_> = self
                .rows
                .range((account, 1)..(account, month - EarnedRecord::KEPT))
                .map(|(key, _)| *key)
                .collect();
            old.into_iter().for_each(|key| _ = self.rows.remove(&key));
        }
    }
}

impl Complex {
    fn has_demurrage(&self) -> bool {
        self.config.demurrage_bps > 0 && self.market.band().is_some()
    }

    /// Takes down what accounts earned, paid in and were paid out, by the transfers of a step.
    pub(super) fn note_earned(&mut self, effects: &mut Vec<Effect>) {
        if !self.has_demurrage() {
            return;
        }
        let mut news: BTreeMap<(AccountId, u32), i64> = BTreeMap::new();
        for effect in &*effects {
            let Effect::Keep(Change::Transfer(it)) = effect else { continue };
            if let Some((account, month, amount)) = earned(it)
                && account >= system::FIRST_PERSON
            {
                let sum = news.entry((account, month)).or_default();
                *sum = sum.saturating_add(amount);
            }
        }
        for ((account, month), amount) in news {
            self.demurrage.add(account, month, amount, effects);
        }
    }

    /// Takes the part of a day, once a day, of some accounts at a time. When it is switched on,
    /// what accounts have counts as paid in.
    pub(super) fn take_demurrage(&mut self, effects: &mut Vec<Effect>) {
        let (today, done) = (self.now.0 / DAY.0, self.demurrage.rows.get(&DAY_DONE).copied());
        let today = i64::try_from(today).unwrap_or(i64::MAX);
        let is_due = done.is_none_or(|done| done.0 < today);
        if !self.has_demurrage() || self.now < self.market.due() || !is_due {
            return;
        }
        let after = AccountId(self.demurrage.get(LOOKED_AT).0.unsigned_abs());
        let after = after.max(AccountId(system::FIRST_PERSON.0 - 1));
        let next = self.ledger.accounts_behind(Bound::Excluded(after));
        let some: Vec<AccountId> = next.take(ACCOUNTS_PER_TICK).collect();
        let mut postings = Vec::new();
        for &account in &some {
            let available = self.ledger.account_view(account).map_or(0, |view| view.available.0);
            if done.is_none() {
                let key = (account, PAID_IN);
                let held = self.ledger.account_view(account).map_or(0, |view| view.held.0);
                let has = MicroCredits(available.saturating_add(held));
                if has > MicroCredits::ZERO {
                    self.demurrage.set(key, has, effects);
                }
                continue;
            }
            let amount = self.loses_today(account);
            if amount > MicroCredits::ZERO {
                postings.push(Posting::Direct {
                    id: asked(system::MINT, &format!("demurrage {today} {account}")),
                    debit: account,
                    credit: system::MINT,
                    amount,
                    reason: Reason::Demurrage(today.unsigned_abs()),
                });
            }
        }
        self.post_or_halt(&postings, effects);
        let last = some.last().filter(|_| some.len() == ACCOUNTS_PER_TICK);
        let at = last.map_or(0, |last| i64::try_from(last.0).unwrap_or(i64::MAX));
        self.demurrage.set(LOOKED_AT, MicroCredits(at), effects);
        if last.is_none() {
            self.demurrage.set(DAY_DONE, MicroCredits(today), effects);
        }
    }

    /// What an account has above what it may have without loss.
    fn idle(&self, account: AccountId) -> MicroCredits {
        let available = self.ledger.account_view(account).map_or(0, |view| view.available.0);
        let free = self.demurrage.free(account, self.now).0;
        MicroCredits(available.saturating_sub(free).max(0))
    }

    fn loses_today(&self, account: AccountId) -> MicroCredits {
        let part = i128::from(self.idle(account).0) * i128::from(self.config.demurrage_bps);
        // A part of what is there.
        MicroCredits(i64::try_from(part / WHOLE_BPS / DAYS_OF_MONTH).unwrap_or(0))
    }

    /// What an account loses, and why, in words.
    pub(super) fn demurrage_text(&self, account: AccountId) -> Option<ReasonView> {
        if !self.has_demurrage() || !self.demurrage.rows.contains_key(&DAY_DONE) {
            return None;
        }
        let (idle, today) = (self.idle(account), self.loses_today(account));
        let bps = self.config.demurrage_bps;
        (today > MicroCredits::ZERO).then(|| ReasonView {
            about: "demurrage".into(),
            why: format!(
                "{idle} credits are above what it earned in the last three months and was paid in: \
                 {}.{:02} % of that a month is lost, {today} a day",
                bps / 100,
                bps % 100
            ),
            remedy: Some("use them: run something, or give them to who needs them".into()),
        })
    }
}

/// What a transfer says about who earned or paid in, and when.
fn earned(it: &TransferRecord) -> Option<(AccountId, u32, i64)> {
    match (&it.reason, it.kind) {
        (Reason::Pay(_) | Reason::Standby(_), TransferKind::Direct) => {
            Some((it.credit, month_of(it.at), it.amount.0))
        }
        (Reason::Deposit(_) | Reason::Grant(_), TransferKind::Direct) => {
            Some((it.credit, PAID_IN, it.amount.0))
        }
        (Reason::Payout(_), TransferKind::Post) => Some((it.debit, PAID_IN, -it.amount.0)),
        _ => None,
    }
}
