//! The one place that says which database this is, and what a table is to the rest.
//!
//! Everything else in the crate is standard SQL and would run on PostgreSQL as it stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// The database.
pub(crate) type Engine = sqlx::Sqlite;
/// A connection to it.
pub(crate) type Connected = sqlx::SqliteConnection;
/// Connections for readers.
pub(crate) type Readers = sqlx::SqlitePool;
/// Values on their way into a statement.
pub(crate) type Arguments = <Engine as sqlx::Database>::Arguments;
/// A row that was read.
pub(crate) type Row = <Engine as sqlx::Database>::Row;
/// What went wrong.
pub(crate) use sqlx::Error as SqlError;

/// How a write begins: with the write lock, so that it cannot fail for want of it later.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// How a snapshot for reading begins.
pub(crate) const BEGIN_READ: &str = "BEGIN";
/// Values in one statement: SQLite's limit is 32,766, PostgreSQL's 65,535.
const VALUES_MAX: usize = 32_766;

/// The n-th value of a statement, from 1. (`?` because SQLite looks named ones up one by one.)
fn place(_n: usize) -> &'static str {
    "?"
}

/// What happens to a row that is there already.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Again {
    /// The new one replaces it.
    Replace,
    /// It must be the same in this column; else the row counts as not written.
    MustEqual(&'static str),
}

/// A table as this crate writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// All columns, in the order in which records bind and read them; the key columns first.
    pub(crate) columns: &'static [&'static str],
    /// How many columns, from the first, are the key.
    pub(crate) key: usize,
    /// What happens to a row that is there already.
    pub(crate) again: Again,
    /// Rows in one statement at the most; a power of two.
    pub(crate) rows_max: usize,
}

impl Table {
    /// How many of `left` rows the next statement takes: a power of two, so that few different
    /// statements are prepared.
    pub(crate) fn batch(&self, left: usize) -> usize {
        let fit = (VALUES_MAX / self.columns.len()).min(self.rows_max).min(left).max(1);
        1 << fit.ilog2()
    }

    /// `SELECT` with all columns, and what follows.
    ///
    /// `rest` is written in this crate, with values as parameters: nothing from outside is in it.
    pub(crate) fn select(&self, rest: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("SELECT {} FROM {} {rest}", self.columns.join(", "), self.name))
    }

    fn insert(&self, rows: usize) -> String {
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.name, self.columns.join(", "));
        let mut value = 0;
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns.len() {
                value += 1;
                sql.push_str(if column == 0 { "" } else { "," });
                sql.push_str(place(value));
            }
            sql.push(')');
        }
        let (key, rest) = self.columns.split_at(self.key);
        let from_new = |column: &&str| format!("{column} = excluded.{column}");
        let update = match self.again {
            Again::Replace => rest.iter().map(from_new).collect::<Vec<_>>().join(", "),
            Again::MustEqual(column) => {
                let same = from_new(&column);
                format!("{same} WHERE {}.{same}", self.name)
            }
        };
        sql.push_str(&format!(" ON CONFLICT ({}) DO UPDATE SET {update}", key.join(", ")));
        sql
    }
}

/// The texts of the statements that were used, so that each is made once.
#[derive(Debug, Default)]
pub(crate) struct Statements(BTreeMap<(&'static str, usize), Arc<str>>);

impl Statements {
    /// The statement that writes so many rows.
    pub(crate) fn insert(&mut self, table: &Table, rows: usize) -> AssertSqlSafe<Arc<str>> {
        let text = self.0.entry((table.name, rows)).or_insert_with(|| table.insert(rows).into());
        AssertSqlSafe(text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        name: "t",
        columns: &["a", "b", "c"],
        key: 1,
        again: Again::Replace,
        rows_max: 256,
    };

    #[test]
    fn a_statement_writes_many_rows_and_says_what_happens_to_old_ones() {
        expect_test::expect!["INSERT INTO t (a, b, c) VALUES (?,?,?), (?,?,?) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c"]
            .assert_eq(&TABLE.insert(2));
        expect_test::expect!["INSERT INTO t (a, b, c) VALUES (?,?,?) ON CONFLICT (a) DO UPDATE SET c = excluded.c WHERE t.c = excluded.c"]
            .assert_eq(&Table { again: Again::MustEqual("c"), ..TABLE }.insert(1));
    }

    #[test]
    fn batches_are_powers_of_two() {
        let sizes: Vec<_> = [1, 2, 3, 255, 256, 9_999].map(|left| TABLE.batch(left)).into();
        assert_eq!(sizes, [1, 2, 2, 128, 256, 256]);
    }
}
