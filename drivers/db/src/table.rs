//! What a table is to the rest of the crate, and how its rows are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

use crate::sql::Engine;

/// Values in one statement of SQLite: its limit is 32,766.
const VALUES_MAX: usize = 32_766;
/// Rows in one statement of PostgreSQL: arrays have no limit that matters, memory has.
const ROWS_MAX: usize = 8_192;

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
    /// Rows in one statement of SQLite at the most; a power of two.
    pub(crate) rows_max: usize,
}

impl Table {
    /// How many of `left` rows the next statement takes at the most. For SQLite exactly so many,
    /// a power of two, so that few different statements are prepared.
    pub(crate) fn batch(&self, engine: Engine, left: usize) -> usize {
        match engine {
            Engine::Sqlite => {
                let fit = (VALUES_MAX / self.columns.len()).min(self.rows_max).min(left).max(1);
                1 << fit.ilog2()
            }
            Engine::Postgres => left.min(ROWS_MAX),
        }
    }

    /// `SELECT` with all columns, and what follows.
    ///
    /// `rest` is written in this crate, with values as parameters: nothing from outside is in it.
    pub(crate) fn select(&self, rest: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("SELECT {} FROM {} {rest}", self.columns.join(", "), self.name))
    }

    fn insert(&self, engine: Engine, rows: usize) -> String {
        let mut sql = format!("INSERT INTO {} ({}) ", self.name, self.columns.join(", "));
        match engine {
            Engine::Sqlite => {
                // Not $1, $2: SQLite looks named ones up one by one.
                let row = format!("({})", vec!["?"; self.columns.len()].join(","));
                sql += "VALUES ";
                sql += &vec![row.as_str(); rows].join(", ");
            }
            Engine::Postgres => {
                let arrays: Vec<_> = (1..=self.columns.len()).map(|n| format!("${n}")).collect();
                sql += &format!("SELECT * FROM UNNEST({})", arrays.join(", "));
            }
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
    pub(crate) fn insert(
        &mut self,
        engine: Engine,
        table: &Table,
        rows: usize,
    ) -> AssertSqlSafe<Arc<str>> {
        let key = match engine {
            Engine::Sqlite => rows,
            // One for any number.
            Engine::Postgres => 0,
        };
        let text =
            self.0.entry((table.name, key)).or_insert_with(|| table.insert(engine, rows).into());
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
        let must_equal = Table { again: Again::MustEqual("c"), ..TABLE };
        expect_test::expect!["INSERT INTO t (a, b, c) VALUES (?,?,?), (?,?,?) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c"]
            .assert_eq(&TABLE.insert(Engine::Sqlite, 2));
        expect_test::expect!["INSERT INTO t (a, b, c) VALUES (?,?,?) ON CONFLICT (a) DO UPDATE SET c = excluded.c WHERE t.c = excluded.c"]
            .assert_eq(&must_equal.insert(Engine::Sqlite, 1));
        expect_test::expect!["INSERT INTO t (a, b, c) SELECT * FROM UNNEST($1, $2, $3) ON CONFLICT (a) DO UPDATE SET c = excluded.c WHERE t.c = excluded.c"]
            .assert_eq(&must_equal.insert(Engine::Postgres, 2));
    }

    #[test]
    fn batches_of_sqlite_are_powers_of_two() {
        let sizes: Vec<_> =
            [1, 2, 3, 255, 256, 9_999].map(|left| TABLE.batch(Engine::Sqlite, left)).into();
        assert_eq!(sizes, [1, 2, 2, 128, 256, 256]);
        assert_eq!(TABLE.batch(Engine::Postgres, 9_999), 8_192);
    }
}
