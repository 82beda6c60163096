//! Pay: each lease on a bill or forfeited, each bill charged and paid once and for what it says,
//! each account as its bills and grants say.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::job::Verify;
use isos_base::record::{
    JobState, LeaseState, Reason, Tables, TransferKind, TransferRecord, system,
};
use isos_base::{AccountId, BillId, JobId, TransferId};

use super::wrong::Asked;

/// What the ledger moved for a bill.
#[derive(Default)]
struct Moved {
    charge: Option<i64>,
    pay: Option<i64>,
    fee: i64,
    rounding: i64,
}

/// Each bill is charged and paid once, as its record says, and its fuel is that of its leases.
pub(super) fn paid_once(tables: &Tables) -> Result<(), String> {
    let moved = moved(tables)?;
    let mut fuel: BTreeMap<BillId, u64> = BTreeMap::new();
    for lease in tables.leases.values() {
        if lease.state != LeaseState::Settled || lease.held.is_some() {
            return Err(format!("lease {} was never settled", lease.id));
        }
        let host = tables.hosts.get(&lease.host);
        let caught = host.is_some_and(|host| host.barred.is_some());
        match lease.bill {
            Some(bill) => *fuel.entry(bill).or_default() += lease.fuel.0,
            None if lease.accepted > 0 && !caught => {
                return Err(format!("nobody pays for lease {}: {lease:?}", lease.id));
            }
            None => {}
        }
    }
    for bill in tables.bills.values() {
        let id = bill.id;
        if bill.posted.is_none() {
            return Err(format!("bill {id} was never posted"));
        }
        if fuel.get(&id) != Some(&bill.fuel.0) {
            return Err(format!(
                "bill {id} says {} fuel, its leases {:?}",
                bill.fuel,
                fuel.get(&id)
            ));
        }
        let due = (bill.price.charge(bill.fuel), bill.price.earning(bill.fuel));
        if due.0 != bill.charged || due.1.0 != bill.paid.0 + bill.fee.0 {
            return Err(format!("its fuel comes to {due:?}: {bill:?}"));
        }
        let none = Moved::default();
        let got = moved.get(&id).unwrap_or(&none);
        let got = [got.charge.unwrap_or(0), got.pay.unwrap_or(0), got.fee, got.rounding];
        let rounding = bill.charged.0 - bill.paid.0 - bill.fee.0;
        let said = [bill.charged.0, bill.paid.0, bill.fee.0, rounding];
        if got != said {
            return Err(format!("bill {id} says {said:?}, the ledger {got:?}"));
        }
    }
    Ok(())
}

fn moved(tables: &Tables) -> Result<BTreeMap<BillId, Moved>, String> {
    let mut moved: BTreeMap<BillId, Moved> = BTreeMap::new();
    let mut ids: BTreeSet<TransferId> = BTreeSet::new();
    for transfer in tables.transfers.values() {
        if !ids.insert(transfer.id) {
            return Err(format!("transfer {} exists twice", transfer.id));
        }
        let amount = transfer.amount.0;
        let (place, bill) = match transfer.reason {
            Reason::Charge(bill) => (&mut moved.entry(bill).or_default().charge, bill),
            Reason::Pay(bill) => (&mut moved.entry(bill).or_default().pay, bill),
            Reason::Fee(bill) => {
                moved.entry(bill).or_default().fee += amount;
                continue;
            }
            Reason::Rounding(bill) => {
                moved.entry(bill).or_default().rounding += amount;
                continue;
            }
            _ => continue,
        };
        if place.replace(amount).is_some() {
            return Err(format!("bill {bill} was charged or paid twice"));
        }
    }
    Ok(moved)
}

/// What is on an account is what its bills and all that was no bill say.
pub(super) fn accounts(tables: &Tables) -> Result<(), String> {
    let mut due: BTreeMap<AccountId, i64> = BTreeMap::new();
    for bill in tables.bills.values() {
        *due.entry(bill.account).or_default() += bill.paid.0;
        *due.entry(tables.jobs[&bill.job].account).or_default() -= bill.charged.0;
    }
    for transfer in tables.transfers.values().filter(|transfer| is_apart(transfer)) {
        *due.entry(transfer.credit).or_default() += transfer.amount.0;
        *due.entry(transfer.debit).or_default() -= transfer.amount.0;
    }
    for account in tables.accounts.values().filter(|it| it.id >= system::FIRST_PERSON) {
        let has = account.credits_posted.0 - account.debits_posted.0;
        let due = due.get(&account.id).copied().unwrap_or(0);
        if has != due {
            return Err(format!("account {} has {has}, is due {due}", account.id));
        }
    }
    Ok(())
}

/// Whether a transfer moved money for good, and not for a bill.
fn is_apart(transfer: &TransferRecord) -> bool {
    let moves = matches!(transfer.kind, TransferKind::Direct | TransferKind::Post);
    let of_bill = matches!(
        transfer.reason,
        Reason::Charge(_) | Reason::Pay(_) | Reason::Fee(_) | Reason::Rounding(_)
    );
    moves && !of_bill
}

/// As many executions were accepted of each job that is done as its rule asks for, and some results
/// of those that ask for checks by lot were checked: of new hosts all are.
pub(super) fn enough_was_done(tables: &Tables, asked: &Asked) -> Result<(), String> {
    let mut accepted: BTreeMap<JobId, u64> = BTreeMap::new();
    for lease in tables.leases.values() {
        *accepted.entry(lease.job).or_default() += u64::from(lease.accepted);
    }
    let (mut by_lot, mut checks) = (0, 0);
    for (id, verify) in asked {
        let Some(job) = tables.jobs.get(id).filter(|job| job.state == JobState::Done) else {
            continue;
        };
        let (count, done) = (u64::from(job.spec.count), accepted.get(id).copied().unwrap_or(0));
        let least = match *verify {
            Verify::Quorum { agree, .. } => count * u64::from(agree),
            _ => count,
        };
        if done < least {
            return Err(format!("job {id}: {done} executions were accepted, not {least}"));
        }
        if verify.error_ppm().is_some() {
            by_lot += count;
            checks += done - count + u64::from(job.unchecked);
        }
    }
    (by_lot == 0 || checks > 0)
        .then_some(())
        .ok_or_else(|| format!("of {by_lot} results that are checked by lot none was"))
}
