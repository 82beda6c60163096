//! What can go wrong, one type per operation, each saying what is kept and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use isos_base::units::Bytes;
use thiserror::Error;

use crate::cells::{BadRow, BadValue};
use crate::place::Place;
use crate::schema::{NEWEST, SchemaError};
use crate::sql::SqlError;

/// What the database says, in its words.
#[derive(Debug, Clone, Error)]
#[error("{}", in_its_words(_0))]
pub struct Cause(Arc<SqlError>);

/// Without the prefix that says only that it was the database.
fn in_its_words(error: &SqlError) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), ToString::to_string)
}

impl From<SqlError> for Cause {
    fn from(error: SqlError) -> Self {
        Self(Arc::new(error))
    }
}

/// Why a database could not be opened. It is as it was before.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is not one.
    #[error("{url:?} names no database: {problem}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A PostgreSQL URL.
    #[error(
        "PostgreSQL is not in this build yet: \
         use an SQLite file, such as sqlite:///var/lib/isos/complex.db"
    )]
    Postgres,
    /// A file could not be created or opened.
    #[error("cannot open {}", path.display())]
    File {
        /// The database or its lock.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another server has it open.
    #[error(
        "{} is in use by {holder}: stop that server first, or give this one a home of its own",
        path.display()
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// Who has it, `process 123` where it is known.
        holder: String,
    },
    /// The file is something else.
    #[error(
        "{} is not a database of this program: move it away or name another file",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What SQLite says, if it was asked.
        source: Option<Cause>,
    },
    /// The file is damaged.
    #[error("{} is damaged: restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: Cause,
    },
    /// A later program has changed it.
    #[error(
        "{} has version {found} of the schema, this program knows versions up to {known}: \
         use the program that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version of this program.
        known: i64,
    },
    /// The list of schema versions was tampered with.
    #[error("{} has a schema that no version of this program wrote: {problem}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is odd.
        problem: String,
    },
    /// The disk is full.
    #[error("{}", no_room(path, *free))]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Free on its disk, where that can be told.
        free: Option<Bytes>,
    },
    /// Anything else.
    #[error("cannot open the database {}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
}

/// Why changes are not kept. The writer takes no more after any of these: whoever sees one stops.
///
/// Changes that were acknowledged before stay. Those of the failed commit may be there or not when
/// it was the disk that failed; applying them again is right in both cases.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    /// There is no room.
    #[error("{}", no_room(path, *free))]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// Free on its disk, where that can be told.
        free: Option<Bytes>,
    },
    /// The database or the disk failed.
    #[error(
        "cannot write to the database {}: check its disk, then start the server again",
        path.display()
    )]
    Failed {
        /// The database.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// A value that no column holds.
    #[error("a change cannot be kept")]
    Value(#[source] BadValue),
    /// A row that is never changed would be.
    #[error("{what} would replace a different one that was kept for ever")]
    Conflict {
        /// What it is.
        what: String,
    },
    /// More waits than the writer has room for: the server took in more than its disk can keep.
    #[error("{waiting} submissions wait for the disk, which is the limit")]
    Overrun {
        /// How many.
        waiting: usize,
    },
    /// An earlier commit failed.
    #[error("the database takes no changes any more, because an earlier commit failed")]
    Stopped(#[source] Arc<Self>),
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
}

/// Why something could not be read. Nothing has changed.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A row that makes no sense.
    #[error("the database {} has a bad row", path.display())]
    Row {
        /// The database.
        path: PathBuf,
        /// Which, and what is wrong with it.
        source: BadRow,
    },
    /// The file is damaged.
    #[error("the database {} is damaged: restore it from a backup", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: Cause,
    },
    /// Anything else.
    #[error("cannot read from the database {}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
}

fn no_room(path: &std::path::Path, free: Option<Bytes>) -> String {
    let free = free.map_or(String::new(), |free| format!(" ({free} free on its disk)"));
    format!(
        "no room to write to the database {}{free}: make room, or raise the quota or limit, \
         then start the server again; nothing that was acknowledged is lost",
        path.display()
    )
}

/// SQLite's primary result codes that have a remedy of their own.
mod code {
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOTADB: i32 = 26;
}

fn code_of(error: &SqlError) -> Option<i32> {
    // The code is extended: the primary one is in the low byte.
    Some(error.as_database_error()?.code()?.parse::<i32>().ok()? & 0xff)
}

impl OpenError {
    pub(crate) fn sql(place: &Place, source: SqlError) -> Self {
        let path = place.name().to_owned();
        match code_of(&source) {
            Some(code::NOTADB) => Self::NotOurs { path, source: Some(source.into()) },
            Some(code::CORRUPT) => Self::Damaged { path, source: source.into() },
            Some(code::FULL) => Self::DiskFull { path, free: place.free() },
            _ => Self::Failed { path, source: source.into() },
        }
    }

    pub(crate) fn schema(place: &Place, error: SchemaError) -> Self {
        let path = place.name().to_owned();
        match error {
            SchemaError::Newer(found) => Self::Newer { path, found, known: NEWEST },
            SchemaError::Foreign => Self::NotOurs { path, source: None },
            SchemaError::Odd(problem) => Self::Schema { path, problem },
            SchemaError::Sql(source) => Self::sql(place, source),
        }
    }
}

impl CommitError {
    pub(crate) fn sql(place: &Place, source: SqlError) -> Self {
        let path = place.name().to_owned();
        match code_of(&source) {
            Some(code::FULL) => Self::DiskFull { path, free: place.free() },
            _ => Self::Failed { path, source: source.into() },
        }
    }
}

impl ReadError {
    pub(crate) fn sql(place: &Place, source: SqlError) -> Self {
        let path = place.name().to_owned();
        match code_of(&source) {
            Some(code::CORRUPT | code::NOTADB) => Self::Damaged { path, source: source.into() },
            _ => Self::Failed { path, source: source.into() },
        }
    }

    pub(crate) fn row(place: &Place, source: BadRow) -> Self {
        Self::Row { path: place.name().to_owned(), source }
    }
}
