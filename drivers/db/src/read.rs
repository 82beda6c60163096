//! What people and the server ask for: pages of rows, each bounded, in the order of their keys.
//!
//! Readers see what was committed when they began and never hold the writer up. Not a search: only
//! questions that an index answers.

mod audit;
mod bank;
mod market;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use isos_base::ids::{AccountId, BillId, HostId, JobId, LeaseId};
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::ranges::TaskRange;
use isos_base::record::{
    Accepted, AccountRecord, BillRecord, HostRecord, JobRecord, LeaseRecord, ResultBatch,
    SavedRecord, StateChunk, TransferRecord, VoteBatch,
};
use isos_base::time::Time;
use isos_base::units::Fuel;
use sqlx::SqlSafeStr;

use crate::Db;
use crate::cells::{BadRow, Reader};
use crate::error::ReadError;
use crate::place::Place;
use crate::rows::Record;
use crate::sql::{Row, Session};
use crate::table::Table;
use crate::values::Cell;

/// Rows of one page at the most, whatever was asked for.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// A page of results ends with the batch that brings it above so many packed bytes.
pub const RESULTS_PAGE_BYTES_MAX: usize = 16 << 20;
/// Rows of a question whose reader may have enough before the last of them: PostgreSQL sends all
/// that were asked for.
const FEW_ROWS: u64 = 64;

/// Whose leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasesOf {
    /// Of a job.
    Job(JobId),
    /// Of a host.
    Host(HostId),
}

/// The values of a question, in order.
#[derive(Default)]
pub(crate) struct Lookup(Vec<Cell>);

impl Lookup {
    fn value(mut self, value: Cell) -> Self {
        self.0.push(value);
        self
    }

    fn bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.value(Cell::Bytes(Some(bytes.into())))
    }

    /// No row has a number above what SQL can hold, so a larger one asks for the largest.
    fn number(self, number: u64) -> Self {
        self.value(Cell::Number(Some(i64::try_from(number).unwrap_or(i64::MAX))))
    }

    fn limit(self, rows: u32) -> Self {
        self.number(rows.min(PAGE_ROWS_MAX).into())
    }
}

/// A connection to read from.
pub(crate) struct Source<'c> {
    pub(crate) session: Session<'c>,
    pub(crate) place: &'c Place,
}

impl Source<'_> {
    /// All records that `rest`, without values, selects.
    pub(crate) async fn all<R: Record>(&mut self, rest: &str) -> Result<Vec<R>, ReadError> {
        self.rows(R::TABLE.select(rest), Lookup::default(), R::of).await
    }

    /// What `read` makes of each row.
    pub(crate) async fn rows<T>(
        &mut self,
        sql: impl SqlSafeStr,
        values: Lookup,
        read: impl Fn(&Row) -> Result<T, BadRow>,
    ) -> Result<Vec<T>, ReadError> {
        let mut found = Vec::new();
        let visit = |row: &Row| {
            found.push(read(row)?);
            Ok(ControlFlow::Continue(()))
        };
        self.visit(sql, values, visit).await?;
        Ok(found)
    }

    /// Shows each row until `visit` has seen enough.
    async fn visit(
        &mut self,
        sql: impl SqlSafeStr,
        values: Lookup,
        mut visit: impl FnMut(&Row) -> Result<ControlFlow<()>, BadRow>,
    ) -> Result<(), ReadError> {
        let place = self.place;
        let mut rows = self.session.fetch(sql, values.0);
        while let Some(row) = rows.try_next().await.map_err(|e| ReadError::sql(place, e))? {
            if visit(&row).map_err(|error| ReadError::row(place, error))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Db {
    /// Jobs, the newest first: of one account or all, with numbers below `before`.
    ///
    /// # Errors
    /// [`ReadError`], as all questions.
    pub async fn jobs(
        &self,
        account: Option<AccountId>,
        before: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobRecord>, ReadError> {
        let before = before.map_or(u64::MAX, |job| job.0);
        match account {
            None => {
                let values = Lookup::default().number(before).limit(limit);
                self.page("WHERE id < $1 ORDER BY id DESC LIMIT $2", values).await
            }
            Some(AccountId(account)) => {
                let values = Lookup::default().number(account).number(before).limit(limit);
                let rest = "WHERE account = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
                self.page(rest, values).await
            }
        }
    }

    /// A job.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn job(&self, id: JobId) -> Result<Option<JobRecord>, ReadError> {
        self.one("WHERE id = $1", Lookup::default().number(id.0)).await
    }

    /// The states of a job's tasks, in order; chunks that were never written are missing.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn states(&self, job: JobId) -> Result<Vec<StateChunk>, ReadError> {
        self.page("WHERE job = $1 ORDER BY chunk", Lookup::default().number(job.0)).await
    }

    /// As [`Db::states`], but at most `limit` chunks, from the chunk `from` on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn states_from(
        &self,
        job: JobId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<StateChunk>, ReadError> {
        let values = Lookup::default().number(job.0).number(from.into()).limit(limit);
        self.page("WHERE job = $1 AND chunk >= $2 ORDER BY chunk LIMIT $3", values).await
    }

    /// Result batches of a job, in order, with numbers above `after`.
    ///
    /// A page ends after `limit` batches or [`RESULTS_PAGE_BYTES_MAX`]; an empty one is the end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn results(
        &self,
        job: JobId,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ResultBatch>, ReadError> {
        let mut after = after;
        let sql = "WHERE job = $1 AND batch > $2 ORDER BY batch LIMIT $3";
        let limit = limit.min(PAGE_ROWS_MAX) as usize;
        let (mut page, mut bytes): (Vec<ResultBatch>, _) = (Vec::new(), 0);
        loop {
            let few = (limit - page.len()).min(FEW_ROWS as usize);
            let values = Lookup::default().number(job.0).value(behind(after)).number(few as u64);
            let before = page.len();
            let visit = |row: &Row| {
                page.push(ResultBatch::of(row)?);
                bytes += packed_bytes(row);
                let enough = bytes >= RESULTS_PAGE_BYTES_MAX;
                Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            self.visit(ResultBatch::TABLE.select(sql), values, visit).await?;
            let end = page.len() < before + few || page.len() >= limit;
            match page.last() {
                Some(last) if !end && bytes < RESULTS_PAGE_BYTES_MAX => {
                    after = Some(last.batch);
                }
                _ => return Ok(page),
            }
        }
    }

    /// The numbers of result batches that may have tasks of `tasks`, in order, above `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn batches_within(
        &self,
        job: JobId,
        tasks: TaskRange,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<u64>, ReadError> {
        const BATCH: Table = Table { columns: &["batch"], ..ResultBatch::TABLE };
        let values = Lookup::default().number(job.0).value(behind(after));
        let values = values.number(tasks.start.into()).number(tasks.end.into()).limit(limit);
        // The sign keeps the key out of it: the bounds lie in an index of their own, which is
        // small, and rows that have none of the tasks are not touched.
        let sql = "SELECT batch FROM results WHERE job = $1 AND +batch > $2 \
                   AND last_task >= $3 AND first_task < $4 ORDER BY +batch LIMIT $5";
        let mut numbers = Vec::new();
        let visit = |row: &Row| {
            numbers.push(Reader::new(BATCH, row).number()?);
            Ok(ControlFlow::Continue(()))
        };
        self.visit(sql, values, visit).await?;
        Ok(numbers)
    }

    /// The accepted result of one task, if there is one yet; the last of several.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn result_of(&self, job: JobId, task: u32) -> Result<Option<Accepted>, ReadError> {
        let values = Lookup::default().number(job.0).number(task.into());
        let sql = ResultBatch::TABLE
            .select("WHERE job = $1 AND first_task <= $2 AND last_task >= $2 ORDER BY batch DESC");
        let mut found = None;
        let visit = |row: &Row| {
            let batch = ResultBatch::of(row)?;
            found = batch.results.into_iter().rfind(|accepted| accepted.task == task);
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        self.visit(sql, values, visit).await?;
        Ok(found)
    }

    /// Undecided votes of a job in the order of leases and batches, behind the batch `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn votes(
        &self,
        job: JobId,
        after: Option<(LeaseId, u32)>,
        limit: u32,
    ) -> Result<Vec<VoteBatch>, ReadError> {
        let (lease, batch) = after.unwrap_or((LeaseId(0), 0));
        let values = Lookup::default().number(job.0).number(lease.0).number(batch.into());
        let rest = "WHERE job = $1 AND (lease > $2 OR (lease = $2 AND batch > $3)) \
                    ORDER BY lease, batch LIMIT $4";
        self.page(rest, values.limit(limit)).await
    }

    /// How far the runs of a job's tasks have come, in the order of leases and tasks, behind the
    /// one of `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn saved(
        &self,
        job: JobId,
        after: Option<(LeaseId, u32)>,
        limit: u32,
    ) -> Result<Vec<SavedRecord>, ReadError> {
        let (lease, task) = after.unwrap_or((LeaseId(0), 0));
        let values = Lookup::default().number(job.0).number(lease.0).number(task.into());
        let rest = "WHERE job = $1 AND (lease > $2 OR (lease = $2 AND task > $3)) \
                    ORDER BY lease, task LIMIT $4";
        self.page(rest, values.limit(limit)).await
    }

    /// The results of the lowest tasks from `from` on, at most `limit`, in the order of the tasks;
    /// of several results of a task the last. Reads the batches that have some of them and no
    /// others.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn results_from(
        &self,
        job: JobId,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Accepted>, ReadError> {
        let sql = "WHERE job = $1 AND last_task >= $2 \
                   AND first_task >= $3 AND (first_task > $3 OR batch > $4) \
                   ORDER BY first_task, batch LIMIT $5";
        let mut page = BTreeMap::new();
        let limit = limit.min(PAGE_ROWS_MAX) as usize;
        let mut after = (-1, -1);
        loop {
            let (mut rows, mut last_row, mut enough) = (0, after, false);
            let visit = |row: &Row| {
                let batch = ResultBatch::of(row)?;
                let first = batch.results.iter().map(|accepted| accepted.task).min();
                let last = page.last_key_value().map(|(&task, _)| task);
                // All that follow begin behind the last of a full page.
                if page.len() >= limit && first > last {
                    enough = true;
                    return Ok(ControlFlow::Break(()));
                }
                rows += 1;
                // The columns are those of the index: 0 for a batch without results.
                last_row = (first.unwrap_or(0).into(), i64::try_from(batch.batch).unwrap_or(0));
                for accepted in batch.results.into_iter().filter(|it| it.task >= from) {
                    match page.entry(accepted.task) {
                        Entry::Vacant(entry) => _ = entry.insert((batch.batch, accepted)),
                        Entry::Occupied(mut entry) if entry.get().0 <= batch.batch => {
                            entry.insert((batch.batch, accepted));
                        }
                        Entry::Occupied(_) => {}
                    }
                    if page.len() > limit {
                        page.pop_last();
                    }
                }
                Ok(ControlFlow::Continue(()))
            };
            let number = |number| Cell::Number(Some(number));
            let values = Lookup::default()
                .number(job.0)
                .number(from.into())
                .value(number(after.0))
                .value(number(after.1))
                .number(FEW_ROWS);
            self.visit(ResultBatch::TABLE.select(sql), values, visit).await?;
            if enough || rows < FEW_ROWS {
                return Ok(page.into_values().map(|(_, accepted)| accepted).collect());
            }
            after = last_row;
        }
    }

    /// Leases of a job or host, in order, with numbers above `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn leases(
        &self,
        of: LeasesOf,
        after: Option<LeaseId>,
        limit: u32,
    ) -> Result<Vec<LeaseRecord>, ReadError> {
        let after = after.map_or(0, |lease| lease.0);
        let (rest, values) = match of {
            LeasesOf::Job(job) => {
                ("WHERE job = $1 AND id > $2 ORDER BY id LIMIT $3", Lookup::default().number(job.0))
            }
            LeasesOf::Host(host) => (
                "WHERE host = $1 AND id > $2 ORDER BY id LIMIT $3",
                Lookup::default().bytes(host.0.0),
            ),
        };
        self.page(rest, values.number(after).limit(limit)).await
    }

    /// A lease.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRecord>, ReadError> {
        self.one("WHERE id = $1", Lookup::default().number(id.0)).await
    }

    /// What a host's settled leases were worth, by the price of their jobs: price, leases, fuel.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn earnings(&self, host: HostId) -> Result<Vec<(Price, u64, Fuel)>, ReadError> {
        let sql = "SELECT price, COUNT(*), CAST(SUM(fuel) AS BIGINT) FROM leases \
                   WHERE host = $1 AND bill IS NOT NULL GROUP BY price ORDER BY price";
        let mut sums = Vec::new();
        let visit = |row: &Row| {
            let mut sum = Reader::new(LeaseRecord::TABLE, row);
            sums.push((Price(sum.number()?), sum.number()?, Fuel(sum.number()?)));
            Ok(ControlFlow::Continue(()))
        };
        self.visit(sql, Lookup::default().bytes(host.0.0), visit).await?;
        Ok(sums)
    }

    /// The fuel of an account's bills that were posted since, as whoever earns.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn worked_since(&self, account: AccountId, since: Time) -> Result<Fuel, ReadError> {
        let sql = "SELECT CAST(COALESCE(SUM(fuel), 0) AS BIGINT) FROM bills \
                   WHERE account = $1 AND posted >= $2";
        let mut fuel = Fuel(0);
        let visit = |row: &Row| {
            fuel = Fuel(Reader::new(BillRecord::TABLE, row).number()?);
            Ok(ControlFlow::Continue(()))
        };
        self.visit(sql, Lookup::default().number(account.0).number(since.0), visit).await?;
        Ok(fuel)
    }

    /// A bill, posted or not.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn bill(&self, id: BillId) -> Result<Option<BillRecord>, ReadError> {
        let found = self.page("WHERE id = $1", Lookup::default().number(id.0)).await?;
        Ok(found.into_iter().next())
    }

    /// Transfers, the oldest first, above the position `after`: those that one account gives or
    /// gets, or all. From 0 this streams the whole ledger, page by page, to check its hashes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn transfers(
        &self,
        account: Option<AccountId>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<TransferRecord>, ReadError> {
        let Some(AccountId(account)) = account else {
            let values = Lookup::default().number(after).limit(limit);
            return self.page("WHERE seq > $1 ORDER BY seq LIMIT $2", values).await;
        };
        // Each half walks one index and stops at the limit; an OR would sort the whole account.
        let values = Lookup::default().number(account).number(after).limit(limit);
        let rest = "WHERE seq IN (SELECT seq FROM \
                    (SELECT seq FROM transfers WHERE debit = $1 AND seq > $2 \
                     ORDER BY seq LIMIT $3) AS gives \
                    UNION SELECT seq FROM \
                    (SELECT seq FROM transfers WHERE credit = $1 AND seq > $2 \
                     ORDER BY seq LIMIT $3) AS gets) \
                    ORDER BY seq LIMIT $3";
        self.page(rest, values).await
    }

    /// Shows every transfer above the position `after`, in order, until `visit` breaks.
    ///
    /// Goes page by page, so that the log can be written back meanwhile: transfers never change, so
    /// the pages belong together all the same.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn each_transfer(
        &self,
        mut after: u64,
        mut visit: impl FnMut(&TransferRecord) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        loop {
            let page = self.transfers(None, after, PAGE_ROWS_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            if page.iter().try_for_each(&mut visit).is_break() {
                return Ok(());
            }
        }
    }

    /// Hosts in the order of their keys, above `after`: of one account or all.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn hosts(
        &self,
        account: Option<AccountId>,
        after: Option<HostId>,
        limit: u32,
    ) -> Result<Vec<HostRecord>, ReadError> {
        // The empty key comes before all others.
        let after = after.map_or(Vec::new(), |host| host.0.0.to_vec());
        match account {
            None => {
                let values = Lookup::default().bytes(after).limit(limit);
                self.page("WHERE id > $1 ORDER BY id LIMIT $2", values).await
            }
            Some(AccountId(account)) => {
                let values = Lookup::default().number(account).bytes(after).limit(limit);
                let rest = "WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3";
                self.page(rest, values).await
            }
        }
    }

    /// A host.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn host(&self, id: HostId) -> Result<Option<HostRecord>, ReadError> {
        self.one("WHERE id = $1", Lookup::default().bytes(id.0.0)).await
    }

    /// Accounts in the order of their numbers, above `after`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn accounts(
        &self,
        after: Option<AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountRecord>, ReadError> {
        let values = Lookup::default().number(after.map_or(0, |account| account.0)).limit(limit);
        self.page("WHERE id > $1 ORDER BY id LIMIT $2", values).await
    }

    /// An account.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn account(&self, id: AccountId) -> Result<Option<AccountRecord>, ReadError> {
        self.one("WHERE id = $1", Lookup::default().number(id.0)).await
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn account_by_name(&self, name: &str) -> Result<Option<AccountRecord>, ReadError> {
        self.one("WHERE name = $1", Lookup::default().value(Cell::Text(Some(name.to_owned()))))
            .await
    }

    /// The first account that this key owns.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn account_by_key(
        &self,
        key: &PublicKey,
    ) -> Result<Option<AccountRecord>, ReadError> {
        let values = Lookup::default().bytes(key.0);
        self.one("WHERE key = $1 ORDER BY id LIMIT 1", values).await
    }

    async fn one<R: Record>(&self, rest: &str, values: Lookup) -> Result<Option<R>, ReadError> {
        Ok(self.page(rest, values).await?.pop())
    }

    async fn page<R: Record>(&self, rest: &str, values: Lookup) -> Result<Vec<R>, ReadError> {
        let mut page = Vec::new();
        let visit = |row: &Row| {
            page.push(R::of(row)?);
            Ok(ControlFlow::Continue(()))
        };
        self.visit(R::TABLE.select(rest), values, visit).await?;
        Ok(page)
    }

    async fn visit(
        &self,
        sql: impl SqlSafeStr,
        values: Lookup,
        visit: impl FnMut(&Row) -> Result<ControlFlow<()>, BadRow>,
    ) -> Result<(), ReadError> {
        let place = &self.inner.place;
        let connection = self.inner.readers.acquire().await;
        let mut connection = connection.map_err(|error| ReadError::sql(place, error))?;
        Source { session: connection.session(), place }.visit(sql, values, visit).await
    }
}

/// Batches count from 0, so "after none" is after -1.
fn behind(after: Option<u64>) -> Cell {
    Cell::Number(Some(after.map_or(-1, |batch| i64::try_from(batch).unwrap_or(i64::MAX))))
}

/// The length of the packed column of a result batch, which was read already.
fn packed_bytes(row: &Row) -> usize {
    let column = ResultBatch::TABLE.columns.len() - 1;
    row.get::<&[u8]>(column).map_or(0, <[u8]>::len)
}
