//! Statements: the ledger's transfers from one account's side, with the balance after each, and
//! what the leases behind them were worth.

use std::collections::HashMap;

use isos_base::api::{LeaseWork, StatementLine};
use isos_base::price::Price;
use isos_base::record::{Reason, TransferKind, TransferRecord};
use isos_base::{AccountId, JobId, LeaseId, MicroCredits};
use isos_db::{Db, ReadError};

/// What a transfer changes for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Of the money that is its own.
    pub(crate) own: MicroCredits,
    /// Of what is held.
    pub(crate) held: MicroCredits,
}

/// What a transfer changes for this account.
pub(crate) fn change(account: AccountId, transfer: &TransferRecord) -> Change {
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

/// One line; `balance` is the one after it.
pub(crate) fn line(
    account: AccountId,
    transfer: &TransferRecord,
    change: Change,
    balance: MicroCredits,
    work: Option<LeaseWork>,
) -> StatementLine {
    let (kind, reason, about) = words(&transfer.reason, transfer.amount, work.as_ref());
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

/// Leases as the database has them, with the prices of their jobs.
pub(crate) struct Leases<'d> {
    db: &'d Db,
    /// A lease has up to four transfers, one behind another.
    last: Option<LeaseWork>,
    prices: HashMap<JobId, Price>,
}

impl<'d> Leases<'d> {
    pub(crate) fn new(db: &'d Db) -> Self {
        Self { db, last: None, prices: HashMap::new() }
    }

    /// The lease that a transfer is for, if it is for one that is known.
    pub(crate) async fn work_of(
        &mut self,
        reason: &Reason,
    ) -> Result<Option<LeaseWork>, ReadError> {
        let Some(id) = lease_of(reason) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|work| work.lease != id) {
            self.last = self.read(id).await?;
        }
        Ok(self.last.clone())
    }

    async fn read(&mut self, id: LeaseId) -> Result<Option<LeaseWork>, ReadError> {
        let Some(lease) = self.db.lease(id).await? else { return Ok(None) };
        let price = match self.prices.get(&lease.job) {
            Some(price) => *price,
            None => {
                let Some(job) = self.db.job(lease.job).await? else { return Ok(None) };
                *self.prices.entry(lease.job).or_insert(job.price)
            }
        };
        Ok(Some(LeaseWork {
            lease: id,
            job: lease.job,
            host: lease.host,
            accepted: lease.accepted,
            fuel: lease.fuel,
            price,
        }))
    }
}

fn lease_of(reason: &Reason) -> Option<LeaseId> {
    match reason {
        Reason::Charge(id) | Reason::Pay(id) | Reason::Fee(id) | Reason::Rounding(id) => Some(*id),
        Reason::Grant(_) | Reason::Hold(_) | Reason::Release(_) | Reason::Gift(_) => None,
    }
}

/// A word for programs, words for people, and the job or lease.
fn words(
    reason: &Reason,
    amount: MicroCredits,
    work: Option<&LeaseWork>,
) -> (&'static str, String, Option<String>) {
    let lease = |kind, id: &LeaseId, known: &dyn Fn(&LeaseWork) -> String, else_: &str| match work {
        Some(work) => (kind, known(work), Some(format!("lease {id} of job {}", work.job))),
        None => (kind, else_.to_owned(), Some(format!("lease {id}"))),
    };
    let job = |kind, id: &JobId, text: &str| (kind, text.to_owned(), Some(format!("job {id}")));
    match reason {
        Reason::Grant(why) => ("grant", format!("credits from the operator: {why}"), None),
        Reason::Hold(id) => job("hold", id, "set aside: the most that it may cost"),
        Reason::Charge(id) => {
            lease("charge", id, &|work| priced(work, work.price.charge(work.fuel)), "verified work")
        }
        Reason::Pay(id) => {
            let text = |work: &LeaseWork| {
                let earning = work.price.earning(work.fuel);
                let fee = earning.0.saturating_sub(amount.0);
                let less = if fee > 0 { format!(", less a fee of {fee}") } else { String::new() };
                format!("{}{less}", priced(work, earning))
            };
            lease("pay", id, &text, "pay for verified work")
        }
        Reason::Fee(id) => {
            let text =
                |work: &LeaseWork| format!("fee on {} µcr earned", work.price.earning(work.fuel).0);
            lease("fee", id, &text, "fee on a lease")
        }
        Reason::Rounding(id) => {
            let text = |work: &LeaseWork| {
                let (charge, earning) =
                    (work.price.charge(work.fuel), work.price.earning(work.fuel));
                format!("{} µcr charged, {} µcr earned", charge.0, earning.0)
            };
            lease("rounding", id, &text, "what rounding a lease left")
        }
        Reason::Release(id) => job("release", id, "what it did not need"),
        Reason::Gift(why) => ("gift", format!("gift: {why}"), None),
    }
}

/// `1.2G fuel at 100 µcr/G = 120.4 µcr, rounded up to 121`.
fn priced(work: &LeaseWork, rounded: MicroCredits) -> String {
    const GIGA: u128 = 1_000_000_000;
    let sum = format!("{} fuel at {} µcr/G", work.fuel, work.price.0);
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
    use isos_base::key::PublicKey;
    use isos_base::{Fuel, Guid, HostId, Time, TransferId};

    use super::*;

    fn work(fuel: u64) -> LeaseWork {
        LeaseWork {
            lease: LeaseId(17),
            job: JobId(4),
            host: HostId(PublicKey([1; 32])),
            accepted: 8,
            fuel: Fuel(fuel),
            price: Price(100),
        }
    }

    fn said(reason: Reason, amount: i64, fuel: u64) -> String {
        let (kind, why, about) = words(&reason, MicroCredits(amount), Some(&work(fuel)));
        format!("{kind}, {}: {why}", about.unwrap_or_default())
    }

    #[test]
    fn a_line_names_job_lease_fuel_and_price() {
        let id = LeaseId(17);
        let about = "lease 17 of job 4";
        for (text, told) in [
            (said(Reason::Charge(id), 120, 1_200_000_000), "charge, {}: 1.2G fuel at 100 µcr/G"),
            (
                said(Reason::Charge(id), 1, 271_234),
                "charge, {}: 271.2k fuel at 100 µcr/G = 0.02 µcr, rounded up to 1",
            ),
            (
                said(Reason::Pay(id), 109, 1_205_000_000),
                "pay, {}: 1.2G fuel at 100 µcr/G = 120.5 µcr, rounded down to 120, less a fee of 11",
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
            reason: Reason::Charge(LeaseId(17)),
            at: Time(1),
            hash: Guid::of(b"x"),
        };
        let change = change(AccountId(100), &transfer);
        assert_eq!((change.own.0, change.held.0), (-7, -7));
        let line = line(AccountId(100), &transfer, change, MicroCredits(93), None);
        assert_eq!((line.balance.0, line.about.as_deref()), (93, Some("lease 17")));
    }
}
