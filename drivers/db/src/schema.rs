//! Versions of the database: which there are, which one a file has, and how to get to the newest.
//!
//! One file per migration under `migrations/`, written in the words of PostgreSQL and part of the
//! program. Not a migration framework: versions count up from 1, are never edited once released,
//! never taken back, and all that are missing are applied in one transaction.

use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;

use crate::sql::{Engine, Row, Session, SqlError};
use crate::values::{Cell, Values};

/// A step from the version before it.
struct Migration {
    version: i64,
    name: &'static str,
    text: &'static str,
    /// A file needs no leader; a server's leader names its complex.
    only: Option<Engine>,
}

/// In order of their versions.
const MIGRATIONS: [Migration; 13] = [
    Migration {
        version: 1,
        name: "first",
        text: include_str!("../migrations/0001_first.sql"),
        only: None,
    },
    Migration {
        version: 2,
        name: "leader",
        text: include_str!("../migrations/0002_leader.sql"),
        only: Some(Engine::Postgres),
    },
    Migration {
        version: 3,
        name: "trust",
        text: include_str!("../migrations/0003_trust.sql"),
        only: None,
    },
    Migration {
        version: 4,
        name: "bank",
        text: include_str!("../migrations/0004_bank.sql"),
        only: None,
    },
    Migration {
        version: 5,
        name: "unchecked",
        text: include_str!("../migrations/0005_unchecked.sql"),
        only: None,
    },
    Migration {
        version: 6,
        name: "saved",
        text: include_str!("../migrations/0006_saved.sql"),
        only: None,
    },
    Migration {
        version: 7,
        name: "market",
        text: include_str!("../migrations/0007_market.sql"),
        only: None,
    },
    Migration {
        version: 8,
        name: "rights",
        text: include_str!("../migrations/0008_rights.sql"),
        only: None,
    },
    Migration {
        version: 9,
        name: "narrowed",
        text: include_str!("../migrations/0009_narrowed.sql"),
        only: None,
    },
    Migration {
        version: 10,
        name: "storage",
        text: include_str!("../migrations/0010_storage.sql"),
        only: None,
    },
    Migration {
        version: 11,
        name: "bonds",
        text: include_str!("../migrations/0011_bonds.sql"),
        only: None,
    },
    Migration {
        version: 12,
        name: "complex",
        text: include_str!("../migrations/0012_complex.sql"),
        only: Some(Engine::Sqlite),
    },
    Migration {
        version: 13,
        name: "slices",
        text: include_str!("../migrations/0013_slices.sql"),
        only: None,
    },
];

/// The first version that has a leader: before it there is nobody to wait for.
const WITH_LEADER: i64 = 2;

/// Locks the making of a schema; any number that no other program is likely to use.
const MAKING: i64 = 0x6973_6f73_2d64_6221;

/// The steps of a database, in order.
fn migrations(engine: Engine) -> impl Iterator<Item = &'static Migration> {
    MIGRATIONS.iter().filter(move |it| it.only.is_none_or(|only| only == engine))
}

/// The version that this program reads and writes.
pub(crate) fn newest(engine: Engine) -> i64 {
    migrations(engine).last().map_or(0, |migration| migration.version)
}

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version BIGINT NOT NULL PRIMARY KEY,
    name    TEXT   NOT NULL,
    applied TEXT   NOT NULL
);";

/// Why a database cannot be brought to the newest version.
#[derive(Debug)]
pub(crate) enum SchemaError {
    /// A later program has changed it.
    Newer { found: i64, known: i64 },
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

/// Makes the schema of an empty database, and refuses one that is not ours or too new. A file is
/// brought to the newest version; at a server the leader does that, see [`upgrade`], as soon as
/// there can be one.
pub(crate) async fn prepare(session: &mut Session<'_>) -> Result<(), SchemaError> {
    // Whoever fails closes the connection, which undoes everything.
    let engine = session.engine();
    session.run(engine.begin_write()).await?;
    if engine == Engine::Postgres && version_of(session).await? < WITH_LEADER {
        // Two servers may start at once.
        let lock = "SELECT pg_advisory_xact_lock($1)";
        let key = Values::of(engine, vec![Cell::Number(Some(MAKING))])?;
        session.execute(lock, key).await?;
    }
    if engine == Engine::Sqlite || version_of(session).await? < WITH_LEADER {
        upgrade(session).await?;
    }
    session.run("COMMIT").await?;
    Ok(())
}

/// Brings the database to the newest version, as part of the transaction that has begun.
pub(crate) async fn upgrade(session: &mut Session<'_>) -> Result<(), SchemaError> {
    let engine = session.engine();
    let version = version_of(session).await?;
    if version == newest(engine) {
        return Ok(());
    }
    run(session, VERSIONS).await?;
    for migration in migrations(engine).filter(|migration| migration.version > version) {
        run(session, migration.text).await?;
        let sql = "INSERT INTO schema_versions VALUES ($1, $2, CAST(CURRENT_TIMESTAMP AS TEXT))";
        let name = Cell::Text(Some(migration.name.into()));
        let values = Values::of(engine, vec![Cell::Number(Some(migration.version)), name])?;
        session.execute(sql, values).await?;
    }
    Ok(())
}

/// Whose database a file is: that of the first complex that opens it, which is this one if nobody
/// has before. Nothing if any will do.
pub(crate) async fn owner(session: &mut Session<'_>, ours: &str) -> Result<String, SqlError> {
    let engine = session.engine();
    if !ours.is_empty() {
        let sql = "INSERT INTO complex (one, key) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let key = Cell::Text(Some(ours.to_owned()));
        let values = Values::of(engine, vec![Cell::Number(Some(1)), key])?;
        session.execute(sql, values).await?;
    }
    let found: Vec<String> = read(session, "SELECT key FROM complex", |row| row.get(0)).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// 0 for an empty database.
async fn version_of(session: &mut Session<'_>) -> Result<i64, SchemaError> {
    let tables = match session.engine() {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Engine::Postgres => {
            "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema()"
        }
    };
    let tables: Vec<String> = read(session, tables, |row| row.get(0)).await?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|name| name == "schema_versions") {
        return Err(SchemaError::Foreign);
    }
    let engine = session.engine();
    let sql = "SELECT version, name FROM schema_versions ORDER BY version";
    let applied: Vec<(i64, String)> = read(session, sql, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
        .map_err(|error| match (&error, error.as_database_error().and_then(|it| it.code())) {
            (SqlError::ColumnDecode { .. }, _) => SchemaError::Odd(error.to_string()),
            // A table that has only the name of ours; 42703 is a column that is missing.
            (_, Some(code)) if engine == Engine::Sqlite || code == "42703" => SchemaError::Foreign,
            _ => SchemaError::Sql(error),
        })?;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > newest(engine) {
        return Err(SchemaError::Newer { found, known: newest(engine) });
    }
    let expected = migrations(engine).map(|migration| (migration.version, migration.name));
    let applied_names = applied.iter().map(|(version, name)| (*version, name.as_str()));
    if found < 1 || !expected.take(applied.len()).eq(applied_names) {
        return Err(SchemaError::Odd(format!("its versions are {applied:?}")));
    }
    Ok(found)
}

async fn read<T>(
    session: &mut Session<'_>,
    sql: &'static str,
    of: impl Fn(&Row) -> Result<T, SqlError>,
) -> Result<Vec<T>, SqlError> {
    let mut rows = session.fetch(sql, Vec::new());
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        found.push(of(&row)?);
    }
    Ok(found)
}

async fn run(session: &mut Session<'_>, text: &str) -> Result<(), SqlError> {
    let text = match session.engine() {
        Engine::Sqlite => for_sqlite(text),
        Engine::Postgres => text.to_owned(),
    };
    // The text is a constant of this program.
    session.run(AssertSqlSafe(text)).await?;
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
