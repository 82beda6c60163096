//! Statements: the ledger's transfers from one account's side, with the balance after each, and
//! what the bills behind them were worth.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use isos_base::api::{BilledWork, StatementLine};
use isos_base::record::{BillRecord, Reason, TransferKind, TransferRecord};
use isos_base::statement::Head;
use isos_base::{AccountId, BillId, Guid, JobId, MicroCredits, Time};
use isos_db::{Db, ReadError};

/// What a transfer changes for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// Of the money that is its own.
    own: MicroCredits,
    /// Of what is held.
    held: MicroCredits,
}

/// What a transfer changes for this account.
fn change(account: AccountId, transfer: &TransferRecord) -> Change {
    let whole = transfer.amount.0;
    let amount = if transfer.debit == account { -whole } else { whole };
    // A post makes held money final: it leaves the hold and the balance together.
    let (own, held) = match transfer.kind {
        TransferKind::Direct => (amount, 0),
        TransferKind::Hold => (0, whole),
        TransferKind::Post => (amount, -whole),
        TransferKind::Void | TransferKind::Expire => (0, -whole),
    };
    Change { own: MicroCredits(own), held: MicroCredits(held) }
}

/// Accounts whose heads are remembered: the next one goes on from there.
const HEADS_MAX: usize = 4_096;
/// Transfers that are read at once.
const PAGE: u32 = 1_000;

/// The heads of accounts as they were last asked for. What they tell of never changes.
#[derive(Default)]
pub(crate) struct Heads(Mutex<HashMap<AccountId, Head>>);

impl Heads {
    /// The head of an account behind all that is in the database now.
    pub(crate) async fn of(&self, db: &Db, account: AccountId) -> Result<Head, ReadError> {
        let known = self.known().get(&account).cloned();
        let mut head = known.unwrap_or_else(|| Head::new(account));
        let mut lines = Lines::behind(db, account, head.last, head.balance);
        while let Some(line) = lines.next(0).await? {
            head.add(&line);
        }
        let mut known = self.known();
        if known.len() >= HEADS_MAX {
            known.clear();
        }
        known.insert(account, head.clone());
        Ok(head)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<AccountId, Head>> {
        // An entry is put in whole, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Position and hash of the last transfer before a moment: (0, zeros) if there is none. The clock
/// of the ledger never runs backwards, so that few rows are looked at.
pub(crate) async fn ledger_before(db: &Db, before: Time) -> Result<(u64, Guid), ReadError> {
    // All up to `low` are before it; `high` and all behind are not there, or not before it.
    let (mut low, mut high, mut hash) = (0, u64::MAX >> 1, Guid([0; 32]));
    let mut reach = 1;
    while low + 1 < high {
        // Steps that double until one goes too far, then halves.
        let middle = if high == u64::MAX >> 1 { low + reach } else { low + (high - low) / 2 };
        reach = reach.saturating_mul(2).min(1 << 62);
        match db.transfers(None, middle - 1, 1).await?.pop() {
            Some(transfer) if transfer.at < before => (low, hash) = (transfer.seq, transfer.hash),
            _ => high = middle,
        }
    }
    Ok((low, hash))
}

/// An account's lines in order, read from the database page by page.
pub(crate) struct Lines<'d> {
    db: &'d Db,
    account: AccountId,
    bills: Bills<'d>,
    /// What was read and not shown.
    page: VecDeque<TransferRecord>,
    /// Position of the last one that was shown or passed over, and the balance behind it.
    read: u64,
    balance: MicroCredits,
}

impl<'d> Lines<'d> {
    /// Those behind a position of the ledger, where the account had this balance.
    pub(crate) fn behind(db: &'d Db, account: AccountId, read: u64, balance: MicroCredits) -> Self {
        Self { db, account, bills: Bills::new(db), page: VecDeque::new(), read, balance }
    }

    /// The next line behind `wanted`; the balance is carried over those before it.
    pub(crate) async fn next(&mut self, wanted: u64) -> Result<Option<StatementLine>, ReadError> {
        loop {
            if self.page.is_empty() {
                self.page = self.db.transfers(Some(self.account), self.read, PAGE).await?.into();
            }
            let Some(transfer) = self.page.pop_front() else { return Ok(None) };
            self.read = transfer.seq;
            let change = change(self.account, &transfer);
            self.balance = MicroCredits(self.balance.0.saturating_add(change.own.0));
            if transfer.seq > wanted {
                let work = self.bills.work_of(&transfer.reason).await?;
                return Ok(Some(line(self.account, &transfer, change, self.balance, work)));
            }
        }
    }
}

/// One line; `balance` is the one after it.
fn line(
    account: AccountId,
    transfer: &TransferRecord,
    change: Change,
    balance: MicroCredits,
    work: Option<BilledWork>,
) -> StatementLine {
    let (kind, reason, about) =
        words(&transfer.reason, transfer.kind, transfer.amount, work.as_ref());
    let gives = transfer.debit == account;
    StatementLine {
        seq: transfer.seq,
        at: transfer.at,
        kind: kind.to_owned(),
        reason,
        about,
        other: if gives { transfer.credit } else { transfer.debit },
        amount: change.own,
        held: change.held,
        balance,
        hash: transfer.hash,
        work,
    }
}

/// Bills as the database has them.
struct Bills<'d> {
    db: &'d Db,
    /// A bill has up to four transfers, one behind another.
    last: Option<BilledWork>,
}

impl<'d> Bills<'d> {
    fn new(db: &'d Db) -> Self {
        Self { db, last: None }
    }

    /// The bill that a transfer is for, if it is for one that is known.
    async fn work_of(&mut self, reason: &Reason) -> Result<Option<BilledWork>, ReadError> {
        let Some(id) = bill_of(reason) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|work| work.bill != id) {
            let bill = self.db.bill(id).await?;
            self.last =
                bill.map(|BillRecord { job, account, leases, tasks, fuel, price, .. }| {
                    BilledWork { bill: id, job, account, leases, tasks, fuel, price }
                });
        }
        Ok(self.last.clone())
    }
}

/// The bill that a transfer is for, if it is for one.
pub(crate) fn bill_of(reason: &Reason) -> Option<BillId> {
    match reason {
        Reason::Charge(id) | Reason::Pay(id) | Reason::Fee(id) | Reason::Rounding(id) => Some(*id),
        Reason::Grant(_)
        | Reason::Hold(_)
        | Reason::Release(_)
        | Reason::Gift(_)
        | Reason::Payout(_)
        | Reason::Refused(..)
        | Reason::Deposit(_)
        | Reason::Reserve(_)
        | Reason::Compensation(_)
        | Reason::Storage
        | Reason::Rent(_)
        | Reason::Bond(_)
        | Reason::Forfeit(_)
        | Reason::Standby(_)
        | Reason::Demurrage(_) => None,
    }
}

/// What a payout's transfer means to its owner.
const fn payout_words(kind: TransferKind) -> &'static str {
    match kind {
        TransferKind::Hold => "set aside until the rail has answered",
        TransferKind::Post | TransferKind::Direct => "paid out",
        TransferKind::Void | TransferKind::Expire => "nothing is set aside any more",
    }
}

/// A word for programs, words for people, and the job, bill or payout.
fn words(
    reason: &Reason,
    kind: TransferKind,
    amount: MicroCredits,
    work: Option<&BilledWork>,
) -> (&'static str, String, Option<String>) {
    let bill = |kind, id: &BillId, known: &dyn Fn(&BilledWork) -> String, else_: &str| match work {
        Some(work) => (kind, known(work), Some(format!("bill {id} of job {}", work.job))),
        None => (kind, else_.to_owned(), Some(format!("bill {id}"))),
    };
    let job = |kind, id: &JobId, text: &str| (kind, text.to_owned(), Some(format!("job {id}")));
    match reason {
        Reason::Grant(why) => ("grant", format!("credits from the operator: {why}"), None),
        Reason::Hold(id) => job("hold", id, "set aside: the most that it may cost"),
        Reason::Charge(id) => {
            bill("charge", id, &|work| priced(work, work.price.charge(work.fuel)), "verified work")
        }
        Reason::Pay(id) => {
            let text = |work: &BilledWork| {
                let earning = work.price.earning(work.fuel);
                let fee = earning.0.saturating_sub(amount.0);
                let less = if fee > 0 { format!(", less a fee of {fee}") } else { String::new() };
                format!("{}{less}", priced(work, earning))
            };
            bill("pay", id, &text, "pay for verified work")
        }
        Reason::Fee(id) => {
            let text = |work: &BilledWork| {
                format!("fee on {} µcr earned", work.price.earning(work.fuel).0)
            };
            bill("fee", id, &text, "fee on a bill")
        }
        Reason::Rounding(id) => {
            let text = |work: &BilledWork| {
                let (charge, earning) =
                    (work.price.charge(work.fuel), work.price.earning(work.fuel));
                format!("{} µcr charged, {} µcr earned", charge.0, earning.0)
            };
            bill("rounding", id, &text, "what rounding a bill left")
        }
        Reason::Release(id) => job("release", id, "what it did not need"),
        Reason::Gift(why) => ("gift", format!("gift: {why}"), None),
        Reason::Payout(id) => ("payout", payout_words(kind).into(), Some(format!("payout {id}"))),
        Reason::Refused(id, why) => {
            ("refused", format!("not paid out: {why}"), Some(format!("payout {id}")))
        }
        Reason::Deposit(from) => ("deposit", format!("paid in, {from}"), None),
        Reason::Reserve(id) => {
            let text = "the promise of cores: set aside, paid, or given back";
            ("reserve", text.into(), Some(format!("reservation {id}")))
        }
        Reason::Compensation(id) => {
            let text = "cores that were promised and not there";
            ("compensation", text.into(), Some(format!("reservation {id}")))
        }
        Reason::Storage => {
            let text = match kind {
                TransferKind::Hold => "set aside: what all its storage leases may cost",
                _ => "what was set aside for storage is reckoned anew",
            };
            ("storage", text.into(), None)
        }
        Reason::Rent(id) => {
            let text = "storage, for the time in which the host was there";
            ("rent", text.into(), Some(format!("lease {id}")))
        }
        Reason::Bond(id) => {
            let text = "the bond of a host behind it: set aside, or given back";
            ("bond", text.into(), Some(format!("reservation {id}")))
        }
        Reason::Forfeit(id) => {
            let text = "of a bond: a host that stood behind it was not there, and it was short";
            ("forfeit", text.into(), Some(format!("reservation {id}")))
        }
        Reason::Demurrage(_) => {
            let text = "a part of what was earned more than three months ago and not spent";
            ("demurrage", text.into(), None)
        }
        Reason::Standby(id) => {
            let text = "of its premium: a host stood behind it";
            ("standby", text.into(), Some(format!("reservation {id}")))
        }
    }
}

/// `12 tasks, 1.2G fuel at 100 µcr/G = 120.4 µcr, rounded up to 121`.
fn priced(work: &BilledWork, rounded: MicroCredits) -> String {
    const GIGA: u128 = 1_000_000_000;
    let s = if work.tasks == 1 { "" } else { "s" };
    let sum = format!("{} task{s}, {} fuel at {} µcr/G", work.tasks, work.fuel, work.price.0);
    let exact = u128::from(work.fuel.0) * u128::from(work.price.0);
    let (whole, rest) = (exact / GIGA, exact % GIGA);
    if rest == 0 {
        return sum;
    }
    let way = if u128::from(rounded.0.unsigned_abs()) > whole { "up" } else { "down" };
    // As many decimals as tell it from a whole number.
    let digits = format!("{rest:09}");
    let shown = digits.find(|digit| digit != '0').map_or(1, |first| first + 1);
    format!("{sum} = {whole}.{} µcr, rounded {way} to {}", &digits[..shown], rounded.0)
}

#[cfg(test)]
mod tests {
    use isos_base::price::Price;
    use isos_base::{Fuel, TransferId};

    use super::*;

    fn work(fuel: u64) -> BilledWork {
        BilledWork {
            bill: BillId(17),
            job: JobId(4),
            account: AccountId(101),
            leases: 2,
            tasks: 8,
            fuel: Fuel(fuel),
            price: Price(100),
        }
    }

    fn said(reason: Reason, amount: i64, fuel: u64) -> String {
        let (kind, why, about) =
            words(&reason, TransferKind::Direct, MicroCredits(amount), Some(&work(fuel)));
        format!("{kind}, {}: {why}", about.unwrap_or_default())
    }

    #[test]
    fn a_line_names_job_lease_fuel_and_price() {
        let id = BillId(17);
        let about = "bill 17 of job 4";
        for (text, told) in [
            (
                said(Reason::Charge(id), 120, 1_200_000_000),
                "charge, {}: 8 tasks, 1.2G fuel at 100 µcr/G",
            ),
            (
                said(Reason::Charge(id), 1, 271_234),
                "charge, {}: 8 tasks, 271.2k fuel at 100 µcr/G = 0.02 µcr, rounded up to 1",
            ),
            (
                said(Reason::Pay(id), 109, 1_205_000_000),
                "pay, {}: 8 tasks, 1.2G fuel at 100 µcr/G = 120.5 µcr, rounded down to 120, less a fee of 11",
            ),
            (said(Reason::Fee(id), 11, 1_205_000_000), "fee, {}: fee on 120 µcr earned"),
            (
                said(Reason::Rounding(id), 1, 1_205_000_000),
                "rounding, {}: 121 µcr charged, 120 µcr earned",
            ),
        ] {
            assert_eq!(text, told.replace("{}", about));
        }
    }

    #[test]
    fn a_post_leaves_the_hold_and_the_balance_together() {
        let transfer = TransferRecord {
            seq: 9,
            id: TransferId(5),
            kind: TransferKind::Post,
            debit: AccountId(100),
            credit: AccountId(2),
            amount: MicroCredits(7),
            hold: Some(TransferId(3)),
            reason: Reason::Charge(BillId(17)),
            at: Time(1),
            hash: Guid::of(b"x"),
        };
        let change = change(AccountId(100), &transfer);
        assert_eq!((change.own.0, change.held.0), (-7, -7));
        let line = line(AccountId(100), &transfer, change, MicroCredits(93), None);
        assert_eq!((line.balance.0, line.about.as_deref()), (93, Some("bill 17")));
    }
}
