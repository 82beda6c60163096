//! Versions of the database: which there are, which one a file has, and how to get to the newest.
//!
//! One file per migration under `migrations/`, written in the words of PostgreSQL and part of the
//! program. Not a migration framework: versions count up from 1, are never edited once released,
//! never taken back, and all that are missing are applied in one transaction.

use sqlx::{AssertSqlSafe, Connection, Row};

use crate::sql::{Connected, SqlError};

/// A step from the version before it.
struct Migration {
    name: &'static str,
    text: &'static str,
}

/// In order; the first is version 1.
const MIGRATIONS: &[Migration] =
    &[Migration { name: "first", text: include_str!("../migrations/0001_first.sql") }];

/// The version that this program reads and writes.
pub(crate) const NEWEST: i64 = MIGRATIONS.len() as i64;

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version BIGINT NOT NULL PRIMARY KEY,
    name    TEXT   NOT NULL,
    applied TEXT   NOT NULL
);";

/// Why a database cannot be brought to the newest version.
#[derive(Debug)]
pub(crate) enum SchemaError {
    /// A later program has changed it.
    Newer(i64),
    /// It is no database of ours.
    Foreign,
    /// The list of applied versions makes no sense.
    Odd(String),
    /// The database refused.
    Sql(SqlError),
}

impl From<SqlError> for SchemaError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Brings the database to the newest version. Nothing has changed if it fails.
pub(crate) async fn migrate(connection: &mut Connected) -> Result<(), SchemaError> {
    // IMMEDIATE takes the write lock first, so that no other program changes the schema meanwhile.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version = version_of(&mut transaction).await?;
    if version > NEWEST {
        return Err(SchemaError::Newer(version));
    }
    if version == NEWEST {
        transaction.rollback().await?;
        return Ok(());
    }
    run(&mut transaction, VERSIONS).await?;
    for (version, migration) in (1i64..).zip(MIGRATIONS).skip(version as usize) {
        run(&mut transaction, migration.text).await?;
        sqlx::query("INSERT INTO schema_versions VALUES ($1, $2, CAST(CURRENT_TIMESTAMP AS TEXT))")
            .bind(version)
            .bind(migration.name)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// 0 for an empty database.
async fn version_of(connection: &mut Connected) -> Result<i64, SchemaError> {
    let tables: Vec<String> = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|name| name == "schema_versions") {
        return Err(SchemaError::Foreign);
    }
    let applied: Vec<(i64, String)> =
        sqlx::query("SELECT version, name FROM schema_versions ORDER BY version")
            .fetch_all(&mut *connection)
            .await
            .map_err(|_| SchemaError::Foreign)?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, SqlError>>()
            .map_err(|error| SchemaError::Odd(error.to_string()))?;
    let newest = applied.last().map_or(0, |(version, _)| *version);
    if newest > NEWEST {
        return Err(SchemaError::Newer(newest));
    }
    let expected = MIGRATIONS.iter().map(|migration| migration.name);
    if newest < 1
        || !(1i64..)
            .zip(expected)
            .take(newest as usize)
            .eq(applied.iter().map(|(version, name)| (*version, name.as_str())))
    {
        return Err(SchemaError::Odd(format!("its versions are {applied:?}")));
    }
    Ok(newest)
}

async fn run(connection: &mut Connected, text: &str) -> Result<(), SqlError> {
    // The text is a constant of this program.
    sqlx::raw_sql(AssertSqlSafe(for_sqlite(text))).execute(connection).await?;
    Ok(())
}

/// The schema in SQLite's words.
fn for_sqlite(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_table = false;
    for line in text.lines() {
        in_table |= line.starts_with("CREATE TABLE");
        if in_table && line == ");" {
            in_table = false;
            out.push_str(") STRICT;\n");
            continue;
        }
        let line = line
            .replace("BIGINT", "INTEGER")
            .replace("BOOLEAN", "INTEGER")
            .replace("BYTEA", "BLOB");
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::for_sqlite;

    #[test]
    fn the_schema_is_translated_to_strict_tables() {
        let text =
            "CREATE TABLE a (\n    id BIGINT,\n    packed BYTEA\n);\nCREATE INDEX b ON a (id);";
        expect_test::expect![[r#"
            CREATE TABLE a (
                id INTEGER,
                packed BLOB
            ) STRICT;
            CREATE INDEX b ON a (id);
        "#]]
        .assert_eq(&for_sqlite(text));
    }
}
