//! SQLite and PostgreSQL behind one face: connections and rows.
//!
//! Two variants and no trait: everything else in the crate is standard SQL that both understand.

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Connection, Decode, PgConnection, PgPool, Postgres, Row as _, SqlSafeStr, Sqlite,
    SqliteConnection, SqlitePool, Type,
};

use crate::values::{Cell, Values, plain};

/// What went wrong.
pub(crate) use sqlx::Error as SqlError;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// How a write begins: with the write lock, so that it cannot fail for want of it later.
    pub(crate) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            // Whatever its users have as a default.
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// How reading as of one moment begins.
    fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connected {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }

    pub(crate) async fn close(self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}

/// A connection that is lent.
#[derive(Debug)]
pub(crate) enum Session<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Session<'_> {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs statements without values, all in one message; how many rows they changed.
    pub(crate) async fn run(&mut self, text: impl SqlSafeStr) -> Result<u64, SqlError> {
        let query = sqlx::raw_sql(text);
        Ok(match self {
            Self::Sqlite(connection) => query.execute(&mut **connection).await?.rows_affected(),
            Self::Postgres(connection) => query.execute(&mut **connection).await?.rows_affected(),
        })
    }

    /// Runs one statement; how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        values: Values,
    ) -> Result<u64, SqlError> {
        Ok(match (self, values) {
            (Self::Sqlite(connection), Values::Sqlite(values)) => {
                sqlx::query_with(sql, values).execute(&mut **connection).await?.rows_affected()
            }
            (Self::Postgres(connection), Values::Postgres(values)) => {
                sqlx::query_with(sql, values).execute(&mut **connection).await?.rows_affected()
            }
            _ => unreachable!("values are made for the database of their connection"),
        })
    }

    /// The rows of a question, as they come.
    pub(crate) fn fetch<'s>(
        &'s mut self,
        sql: impl SqlSafeStr,
        values: Vec<Cell>,
    ) -> BoxStream<'s, Result<Row, SqlError>> {
        let values = match Values::of(self.engine(), values) {
            Ok(values) => values,
            Err(error) => return futures_util::stream::iter([Err(error)]).boxed(),
        };
        match (self, values) {
            (Self::Sqlite(connection), Values::Sqlite(values)) => {
                let rows = sqlx::query_with(sql, values).fetch(&mut **connection);
                rows.map_ok(Row::Sqlite).boxed()
            }
            (Self::Postgres(connection), Values::Postgres(values)) => {
                let rows = sqlx::query_with(sql, values).fetch(&mut **connection);
                rows.map_ok(Row::Postgres).boxed()
            }
            _ => unreachable!("values are made for the database of their connection"),
        }
    }
}

/// Connections for readers.
#[derive(Debug)]
pub(crate) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    pub(crate) async fn acquire(&self) -> Result<Reading, SqlError> {
        Ok(match self {
            Self::Sqlite(pool) => Reading::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Reading::Postgres(pool.acquire().await?),
        })
    }

    /// A connection that sees everything as of one moment, until it is given back.
    pub(crate) async fn begin(&self) -> Result<Snapshotting, SqlError> {
        Ok(match self {
            Self::Sqlite(pool) => {
                Snapshotting::Sqlite(pool.begin_with(Engine::Sqlite.begin_read()).await?)
            }
            Self::Postgres(pool) => {
                Snapshotting::Postgres(pool.begin_with(Engine::Postgres.begin_read()).await?)
            }
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection of the readers.
#[derive(Debug)]
pub(crate) enum Reading {
    Sqlite(sqlx::pool::PoolConnection<Sqlite>),
    Postgres(sqlx::pool::PoolConnection<Postgres>),
}

impl Reading {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }
}

/// A connection of the readers that sees everything as of one moment. Given back when dropped.
pub(crate) enum Snapshotting {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Snapshotting {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(transaction) => Session::Sqlite(transaction),
            Self::Postgres(transaction) => Session::Postgres(transaction),
        }
    }

    pub(crate) async fn end(self) -> Result<(), SqlError> {
        match self {
            Self::Sqlite(transaction) => transaction.rollback().await,
            Self::Postgres(transaction) => transaction.rollback().await,
        }
    }
}

/// A row that was read.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a column is read as.
pub(crate) trait Readable<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Readable<'r> for T where
    T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl Row {
    /// The column at this place, from 0.
    pub(crate) fn get<'r, T: Readable<'r>>(&'r self, column: usize) -> Result<T, SqlError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// A text, as it was before it was written.
    pub(crate) fn text(&self, column: usize) -> Result<Option<String>, SqlError> {
        let text: Option<String> = self.get(column)?;
        Ok(match self {
            Self::Sqlite(_) => text,
            Self::Postgres(_) => text.map(plain),
        })
    }
}
