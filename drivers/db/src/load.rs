//! What a complex starts from, read in one go as of one moment.

use isos_base::ids::{
    AccountId, BillId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
};
use isos_base::market::ReservationRecord;
use isos_base::market::by_account;
use isos_base::record::{
    AccountRecord, BillRecord, JobRecord, LeaseRecord, PayoutRecord, ProposalRecord, SliceRecord,
    Snapshot, StorageRecord,
};
use isos_base::time::Time;
use sqlx::AssertSqlSafe;

use crate::error::ReadError;
use crate::place::Place;
use crate::read::{Lookup, Source};
use crate::rows::{Record, audit_head, audit_own, halves, highest, last_batch, ledger_head};
use crate::sql::Readers;
use crate::table::Table;

/// Rows of jobs that are not over.
const OF_ACTIVE_JOBS: &str = "WHERE job IN (SELECT id FROM jobs WHERE state = 'active')";

/// Jobs that are not over, and those whose hosts are still owed something.
const OF_USE: &str = "WHERE state = 'active' \
                      OR id IN (SELECT job FROM leases WHERE state <> 'settled') ORDER BY id";

/// Payouts that wait, and those that count towards the most of a day: 86,400 s before the last.
const PAYOUTS_OF_USE: &str = "WHERE state = 'waiting' OR asked > \
     (SELECT COALESCE(max(asked), 0) FROM payouts) - 86400000000 ORDER BY id";

/// Proposals that are open, and the last one that says how many must agree.
const PROPOSALS_OF_USE: &str = "WHERE state = 'open' OR id = (SELECT max(id) FROM proposals \
     WHERE what = 'approvals' AND state = 'done') ORDER BY id";

/// Bonds of reservations that are not over.
const BONDS_OF_USE: &str = "WHERE reservation IN (SELECT id FROM reservations \
     WHERE state IN ('booked', 'active')) ORDER BY reservation, nth";

/// What the reservations of each account have brought: as `ReservationRecord::brought` has it. In
/// two halves, so that no sum of theirs can leave an integer of the database.
const BROUGHT: &str = "SELECT account, \
     CAST(SUM(paid / 1048576 - compensated / 1048576 + forfeited / 1048576) AS BIGINT), \
     CAST(SUM(paid % 1048576 - compensated % 1048576 + forfeited % 1048576) AS BIGINT) \
     FROM reservations WHERE state = 'over' GROUP BY account ORDER BY account";

/// What of their premiums went to hosts.
const SHARED: &str = "SELECT reservations.account, \
     CAST(SUM(bonds.paid / 1048576) AS BIGINT), CAST(SUM(bonds.paid % 1048576) AS BIGINT) \
     FROM bonds JOIN reservations ON reservations.id = bonds.reservation \
     GROUP BY reservations.account ORDER BY reservations.account";

/// What was earned in the last months: as `EarnedRecord::is_of_use` has it.
const EARNED_OF_USE: &str = "WHERE month <= 1 OR month + 3 >= (SELECT max(month) FROM earned) \
     ORDER BY account, month";

/// The last hash of each account's part of the audit log. From account to account, with two looks
/// into the index for each: neither engine does that for a GROUP BY, which walks the whole index.
pub(crate) const AUDIT_OWN: &str = "WITH RECURSIVE holders (account) AS ( \
     SELECT min(account) FROM audit \
     UNION ALL \
     SELECT (SELECT min(account) FROM audit WHERE audit.account > holders.account) \
     FROM holders WHERE holders.account IS NOT NULL) \
     SELECT account, (SELECT own FROM audit WHERE audit.account = holders.account \
                      ORDER BY seq DESC LIMIT 1) \
     FROM holders WHERE account IS NOT NULL ORDER BY account";

pub(crate) async fn load(readers: &Readers, place: &Place) -> Result<Snapshot, ReadError> {
    let begun = readers.begin().await;
    let mut transaction = begun.map_err(|error| ReadError::sql(place, error))?;
    let mut from = Source { session: transaction.session(), place };
    let rest = |order: &str| format!("{OF_ACTIVE_JOBS} ORDER BY {order}");
    let revocations: Vec<(Vec<u8>, Time, Option<AccountId>)> = from.all("ORDER BY id").await?;
    let snapshot = Snapshot {
        jobs: from.all(OF_USE).await?,
        states: from.all(&rest("job, chunk")).await?,
        votes: from.all(&rest("lease, batch")).await?,
        saved: from.all(&rest("lease, task")).await?,
        leases: from.all("WHERE state <> 'settled' ORDER BY id").await?,
        bills: from.all("WHERE posted IS NULL ORDER BY id").await?,
        hosts: from.all("ORDER BY id").await?,
        accounts: from.all("ORDER BY id").await?,
        holds: from.all("WHERE NOT closed ORDER BY id").await?,
        idempotency: from.all("ORDER BY account, key").await?,
        revocations: revocations.iter().map(|(id, at, _)| (id.clone(), *at)).collect(),
        narrowed: revocations.into_iter().filter_map(|(id, _, of)| Some((id, of?))).collect(),
        markets: from.all("ORDER BY class").await?,
        reservations: from.all("WHERE state IN ('booked', 'active') ORDER BY id").await?,
        firm: from.all("WHERE cores > 0 ORDER BY host").await?,
        bonds: from.all(BONDS_OF_USE).await?,
        brought: {
            let brought = from.rows(BROUGHT, Lookup::default(), halves).await?;
            let shared = from.rows(SHARED, Lookup::default(), halves).await?;
            let shared = shared.into_iter().map(|(account, sum)| (account, -sum));
            by_account(brought.into_iter().chain(shared))
        },
        earned: from.all(EARNED_OF_USE).await?,
        ledger_head: {
            let sql = "SELECT seq, hash FROM transfers ORDER BY seq DESC LIMIT 1";
            from.rows(sql, Lookup::default(), ledger_head).await?.pop()
        },
        last_job: JobId(last(&mut from, JobRecord::TABLE).await?),
        last_lease: {
            let of_work = last(&mut from, LeaseRecord::TABLE).await?;
            LeaseId(of_work.max(last(&mut from, StorageRecord::TABLE).await?))
        },
        payouts: from.all(PAYOUTS_OF_USE).await?,
        proposals: from.all(PROPOSALS_OF_USE).await?,
        last_payout: PayoutId(last(&mut from, PayoutRecord::TABLE).await?),
        last_proposal: ProposalId(last(&mut from, ProposalRecord::TABLE).await?),
        last_bill: BillId(last(&mut from, BillRecord::TABLE).await?),
        last_reservation: ReservationId(last(&mut from, ReservationRecord::TABLE).await?),
        last_account: AccountId(last(&mut from, AccountRecord::TABLE).await?),
        next_batch: {
            // One look into the index for each job, not a walk over all batches.
            let sql = "SELECT id, (SELECT max(batch) FROM results WHERE job = jobs.id) \
                       FROM jobs WHERE state = 'active' ORDER BY id";
            let last = from.rows(sql, Lookup::default(), last_batch).await?;
            last.into_iter().map(|(job, batch)| (job, batch.map_or(0, |batch| batch + 1))).collect()
        },
        audit_head: {
            let sql = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
            from.rows(sql, Lookup::default(), audit_head).await?.pop()
        },
        audit_own: from.rows(AUDIT_OWN, Lookup::default(), audit_own).await?,
        keys: from.all("WHERE removed IS NULL ORDER BY key").await?,
        keyrings: from.all("ORDER BY account").await?,
        storage: from.all("WHERE state = 'open' OR NOT told ORDER BY id").await?,
        keepers: from.all("ORDER BY host").await?,
        slices: from.all("WHERE state = 'open' ORDER BY id").await?,
        last_slice: SliceId(last(&mut from, SliceRecord::TABLE).await?),
    };
    let ended = transaction.end().await;
    ended.map_err(|error| ReadError::sql(place, error))?;
    Ok(snapshot)
}

async fn last(from: &mut Source<'_>, table: Table) -> Result<u64, ReadError> {
    let sql = AssertSqlSafe(format!("SELECT max(id) FROM {}", table.name));
    let found = from.rows(sql, Lookup::default(), |row| highest(table, row)).await?;
    Ok(found.first().copied().unwrap_or(0))
}
