//! One transaction: a group of changes, all or none.

use isos_base::time::Time;
use sqlx::Connection;
use thiserror::Error;

use crate::cells::{BadValue, Binder};
use crate::group::Group;
use crate::rows::Record;
use crate::sql::{BEGIN_WRITE, Connected, Engine, SqlError, Statements};

/// Why a transaction was not committed. Nothing of it is kept, unless the COMMIT itself failed:
/// then it may be kept or not, and applying it again is right in both cases.
#[derive(Debug, Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Value(#[from] BadValue),
    #[error("rows of {0} are there already, but different")]
    Conflict(&'static str),
    #[error(transparent)]
    Sql(#[from] SqlError),
}

/// Commits the group. When this returns `Ok`, it is on the disk.
pub(crate) async fn commit(
    connection: &mut Connected,
    statements: &mut Statements,
    group: Group,
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
        results,
        idempotency,
        revocations,
        results_dropped,
        forget,
    } = group;
    let mut transaction = connection.begin_with(BEGIN_WRITE).await?;
    let mut to = Tables { connection: &mut transaction, statements };
    to.put(accounts.into_values()).await?;
    to.put(hosts.into_values()).await?;
    to.put(jobs.into_values()).await?;
    to.put(states.into_values()).await?;
    to.put(leases.into_values()).await?;
    to.put(bills.into_values()).await?;
    to.put(holds.into_values()).await?;
    to.put(transfers.into_values()).await?;
    for job in votes_dropped {
        to.delete("DELETE FROM votes WHERE job = $1", job.0).await?;
    }
    to.put(votes.into_values()).await?;
    to.put(results.into_values()).await?;
    to.put(idempotency.into_values()).await?;
    to.put(revocations.into_iter()).await?;
    for job in results_dropped {
        to.delete("DELETE FROM results WHERE job = $1", job.0).await?;
    }
    if let Some(Time(now)) = forget {
        to.delete("DELETE FROM idempotency WHERE expires <= $1", now).await?;
        to.delete("DELETE FROM revocations WHERE expires <= $1", now).await?;
    }
    transaction.commit().await?;
    Ok(())
}

struct Tables<'a> {
    connection: &'a mut Connected,
    statements: &'a mut Statements,
}

impl Tables<'_> {
    /// Writes all records, in order, many with one statement.
    async fn put<R: Record>(
        &mut self,
        mut records: impl ExactSizeIterator<Item = R>,
    ) -> Result<(), WriteError> {
        while records.len() > 0 {
            let rows = R::TABLE.batch(records.len());
            let mut binder = Binder::new(R::TABLE, rows);
            records.by_ref().take(rows).for_each(|record| record.bind(&mut binder));
            let sql = self.statements.insert(&R::TABLE, rows);
            let done = sqlx::query_with::<Engine, _>(sql, binder.finish()?)
                .execute(&mut *self.connection)
                .await?;
            if done.rows_affected() != rows as u64 {
                return Err(WriteError::Conflict(R::TABLE.name));
            }
        }
        Ok(())
    }

    /// Deletes what belongs to a job, or what has expired at a time.
    async fn delete(&mut self, sql: &'static str, number: u64) -> Result<(), SqlError> {
        // No row has a number above what can be kept.
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        sqlx::query(sql).bind(number).execute(&mut *self.connection).await?;
        Ok(())
    }
}
