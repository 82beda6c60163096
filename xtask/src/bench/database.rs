//! PostgreSQL under a server that is measured: somebody's, or one that lives as long as the
//! benchmark. Each world gets a database of its own, which goes with it.

use std::cell::Cell;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::process::{Cpu, Process};
use super::talk;
use super::world::Folder;

/// What is written instead of a URL for a PostgreSQL that is started, and ends.
const PRIVATE: &str = "private";
/// A statement, or the start of a PostgreSQL, has this long. It may have to be installed first.
const PATIENCE: Duration = Duration::from_secs(300);

/// A PostgreSQL server. One that was started for this ends when dropped.
pub(super) struct Cluster {
    url: String,
    databases: Cell<u32>,
    folder: Option<Folder>,
}

impl Cluster {
    /// The one at this URL, in which databases may be made; or, for [`PRIVATE`], a new one.
    pub(super) fn open(url: &str) -> Result<Self> {
        let databases = Cell::new(0);
        if url != PRIVATE {
            at(url, "any")?;
            return Ok(Self { url: url.into(), databases, folder: None });
        }
        let folder = Folder::new()?;
        let url = script("start", &folder)?.trim().to_owned();
        Ok(Self { url, databases, folder: Some(folder) })
    }

    /// A database without anything in it.
    pub(super) fn database(&self) -> Result<Database<'_>> {
        let number = self.databases.replace(self.databases.get() + 1);
        let name = format!("isos_bench_{}_{number}", std::process::id());
        let url = at(&self.url, &name)?;
        // As docs/operate.md has it.
        let how = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'";
        ask(&self.url, &format!("CREATE DATABASE {name} {how}"))?;
        Ok(Database { cluster: self, name, url })
    }

    /// CPU time of all its processes in seconds, if it was started for this.
    pub(super) fn cpu_secs(&self) -> Result<Option<f64>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let path = folder.path.join("data/postmaster.pid");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        Ok(Some(Cpu::of(pid.context("PostgreSQL has no process")?)?.total()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.folder.as_ref().map(|folder| script("stop", folder)) {
            talk(&format!("PostgreSQL goes on: {error:#}"));
        }
    }
}

/// A database, gone when dropped.
pub(super) struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
    url: String,
}

/// How much is kept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    /// Tables and indexes.
    pub(super) rows: f64,
    /// All that was ever written to the log, of all databases.
    pub(super) log: f64,
}

impl Database<'_> {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn kept(&self) -> Result<Kept> {
        let log = "pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
        let answer =
            ask(&self.url, &format!("SELECT pg_database_size(current_database()), {log}"))?;
        kept(&answer).with_context(|| format!("psql answered {answer:?}"))
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        if let Err(error) = ask(&self.cluster.url, &statement) {
            talk(&format!("the database {} stays: {error:#}", self.name));
        }
    }
}

/// The URL of another database of the same server.
fn at(url: &str, name: &str) -> Result<String> {
    let scheme = ["postgres://", "postgresql://"].into_iter().find(|s| url.starts_with(s));
    let Some(scheme) = scheme else {
        bail!("--database takes postgres://USER@HOST:PORT/DATABASE, or {PRIVATE}");
    };
    let (before, query) =
        url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let named = |query: &str| query.split('&').any(|part| part.starts_with("dbname="));
    ensure!(!query.is_some_and(named), "say the database in the path of the URL, not as dbname");
    let place = &before[scheme.len()..];
    let host = place.split_once('/').map_or(place, |(host, _)| host);
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Ok(format!("{scheme}{host}/{name}{query}"))
}

/// What `psql` prints of the two columns of [`Database::kept`].
fn kept(answer: &str) -> Option<Kept> {
    let (rows, log) = answer.trim().split_once('|')?;
    Some(Kept { rows: rows.parse().ok()?, log: log.parse().ok()? })
}

/// The answer to a statement.
fn ask(url: &str, statement: &str) -> Result<String> {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
    psql.args(["--set", "ON_ERROR_STOP=1", "--command", statement, "--dbname", url]);
    let psql = Process::start("psql, the client of PostgreSQL", &mut psql)?;
    psql.finish(PATIENCE).with_context(|| statement.to_owned())
}

/// `tests/postgres ACTION FOLDER`.
fn script(action: &str, folder: &Folder) -> Result<String> {
    let mut command = Command::new(crate::root()?.join("tests/postgres"));
    command.arg(action).arg(&folder.path);
    Process::start(&format!("tests/postgres {action}"), &mut command)?.finish(PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server_has_the_same_url_but_for_its_name() {
        let new = |url: &str| at(url, "new").unwrap();
        assert_eq!(new("postgres://me@127.0.0.1:5432/old"), "postgres://me@127.0.0.1:5432/new");
        assert_eq!(new("postgres://me@host"), "postgres://me@host/new");
        assert_eq!(
            new("postgresql:///old?host=/run/postgresql&user=me"),
            "postgresql:///new?host=/run/postgresql&user=me"
        );
    }

    #[test]
    fn a_url_that_names_no_server_or_its_database_twice_is_refused() {
        for url in ["", "file.db", "sqlite://file.db", "postgres:/me@host", "Private"] {
            assert!(at(url, "new").is_err(), "{url}");
        }
        assert!(at("postgres://host/old?user=me&dbname=old", "new").is_err());
        assert!(Cluster::open("mysql://host/old").is_err());
    }

    #[test]
    fn what_is_kept_is_read_from_what_psql_prints() {
        let bytes = Kept { rows: 8_265_063.0, log: 26_649_800.0 };
        assert_eq!(kept("8265063|26649800\n"), Some(bytes));
        for answer in ["", "8265063", "8265063|", "a|b"] {
            assert_eq!(kept(answer), None, "{answer}");
        }
    }
}
