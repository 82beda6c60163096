//! One transaction: a group of changes, all or none.

use isos_base::time::Time;
use sqlx::AssertSqlSafe;
use thiserror::Error;
use tokio::time::Instant;

use crate::cells::{BadValue, Binder};
use crate::group::Group;
use crate::lead::{RENEW, renewal};
use crate::rows::Record;
use crate::sql::{Session, SqlError};
use crate::table::Statements;
use crate::values::{Cell, Values};

/// Why a transaction was not committed. Nothing of it is kept, unless the COMMIT itself failed:
/// then it may be kept or not, and applying it again is right in both cases.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Value(#[from] BadValue),
    #[error("rows of {0} are there already, but different")]
    Conflict(&'static str),
    #[error("another server leads since")]
    Deposed,
    #[error(transparent)]
    Sql(#[from] SqlError),
}

/// Commits the group, if the epoch is still ours where there are epochs. When this returns `Ok`, it
/// is on the disk. An empty group only renews the lease.
pub(crate) async fn commit(
    mut session: Session<'_>,
    statements: &mut Statements,
    epoch: Option<u64>,
    group: &Group,
) -> Result<(), WriteError> {
    if group.is_empty() {
        return match epoch {
            Some(epoch) if session.run(AssertSqlSafe(renewal(epoch))).await? != 1 => {
                Err(WriteError::Deposed)
            }
            _ => Ok(()),
        };
    }
    let done = write(&mut session, statements, epoch, group).await;
    if let Err(error) = &done {
        // It may fail with the connection, which undoes everything as well.
        let undone = session.run("ROLLBACK").await;
        tracing::debug!(%error, ?undone, "a transaction was undone");
    }
    done
}

async fn write(
    session: &mut Session<'_>,
    statements: &mut Statements,
    epoch: Option<u64>,
    group: &Group,
) -> Result<(), WriteError> {
    let Group {
        accounts,
        hosts,
        jobs,
        states,
        leases,
        bills,
        holds,
        transfers,
        votes_dropped,
        votes,
        saved,
        results,
        idempotency,
        revocations,
        markets,
        payouts,
        proposals,
        reservations,
        firm,
        bonds,
        earned,
        audit,
        keys,
        keyrings,
        storage,
        keepers,
        slices,
        results_dropped,
        forget,
    } = group;
    let began = Instant::now();
    let begin = session.engine().begin_write();
    match epoch {
        // In one message. The row stays locked until the end, so that nobody takes the lease while
        // we write.
        Some(epoch) => {
            let begin = format!("{begin}; {}", renewal(epoch));
            if session.run(AssertSqlSafe(begin)).await? != 1 {
                return Err(WriteError::Deposed);
            }
        }
        None => _ = session.run(begin).await?,
    }
    let mut to = Tables { session, statements };
    to.put(accounts.values()).await?;
    to.put(hosts.values()).await?;
    to.put(jobs.values()).await?;
    to.put(states.values()).await?;
    to.put(leases.values()).await?;
    to.put(bills.values()).await?;
    to.put(holds.values()).await?;
    to.put(transfers.values()).await?;
    for job in votes_dropped {
        to.delete("DELETE FROM votes WHERE job = $1", job.0).await?;
        to.delete("DELETE FROM saved WHERE job = $1", job.0).await?;
    }
    to.put(votes.values()).await?;
    to.put(saved.values()).await?;
    to.put(results.values()).await?;
    to.put(idempotency.values()).await?;
    let row = |(id, &(at, account)): (&Vec<u8>, &(Time, _))| (id.clone(), at, account);
    let revocations: Vec<_> = revocations.iter().map(row).collect();
    to.put(revocations.iter()).await?;
    to.put(payouts.values()).await?;
    to.put(proposals.values()).await?;
    to.put(markets.values()).await?;
    to.put(reservations.values()).await?;
    to.put(firm.values()).await?;
    to.put(bonds.values()).await?;
    to.put(earned.values()).await?;
    to.put(audit.values()).await?;
    to.put(keys.values()).await?;
    to.put(keyrings.values()).await?;
    to.put(storage.values()).await?;
    to.put(keepers.values()).await?;
    to.put(slices.values()).await?;
    for job in results_dropped {
        to.delete("DELETE FROM results WHERE job = $1", job.0).await?;
    }
    if let Some(Time(now)) = *forget {
        to.delete("DELETE FROM idempotency WHERE expires <= $1", now).await?;
        to.delete("DELETE FROM revocations WHERE expires <= $1", now).await?;
    }
    match epoch {
        // Nobody else could take the lease meanwhile, but it may have run out.
        Some(epoch) if began.elapsed() > RENEW => {
            session.run(AssertSqlSafe(format!("{}; COMMIT", renewal(epoch)))).await?
        }
        _ => session.run("COMMIT").await?,
    };
    Ok(())
}

struct Tables<'a, 'c> {
    session: &'a mut Session<'c>,
    statements: &'a mut Statements,
}

impl Tables<'_, '_> {
    /// Writes all records, in order, many with one statement.
    async fn put<'r, R: Record + 'r>(
        &mut self,
        mut records: impl ExactSizeIterator<Item = &'r R>,
    ) -> Result<(), WriteError> {
        let engine = self.session.engine();
        while records.len() > 0 {
            let most = R::TABLE.batch(engine, records.len());
            let mut binder = Binder::new(engine, R::TABLE, most);
            for record in records.by_ref().take(most) {
                record.bind(&mut binder);
                if binder.full() {
                    break;
                }
            }
            let rows = binder.rows();
            let sql = self.statements.insert(engine, &R::TABLE, rows);
            if self.session.execute(sql, binder.finish()?).await? != rows as u64 {
                return Err(WriteError::Conflict(R::TABLE.name));
            }
        }
        Ok(())
    }

    /// Deletes what belongs to a job, or what has expired at a time.
    async fn delete(&mut self, sql: &'static str, number: u64) -> Result<(), SqlError> {
        // No row has a number above what can be kept.
        let number = Cell::Number(Some(i64::try_from(number).unwrap_or(i64::MAX)));
        self.session.execute(sql, Values::of(self.session.engine(), vec![number])?).await?;
        Ok(())
    }
}
