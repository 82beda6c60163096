//! What can go wrong, one type per operation, each saying what is kept and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use isos_base::time::Time;
use isos_base::units::Bytes;
use sqlx::postgres::PgDatabaseError;
use thiserror::Error;

use crate::cells::{BadRow, BadValue};
use crate::place::Place;
use crate::schema::SchemaError;
use crate::server::remedy;
use crate::sql::SqlError;

/// What the database says, in its words.
#[derive(Debug, Clone, Error)]
#[error("{}", in_its_words(_0))]
pub struct Cause(Arc<SqlError>);

/// Without the prefix that says only that it was the database, and without the line of PostgreSQL's
/// source that noticed.
fn in_its_words(error: &SqlError) -> String {
    let Some(error) = error.as_database_error() else { return error.to_string() };
    match error.try_downcast_ref::<PgDatabaseError>() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
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
    /// A database server does not let us in.
    #[error("cannot open the database {}: {remedy}", path.display())]
    Refused {
        /// The server and the database, without user and password.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// Why.
        source: Cause,
    },
    /// A database that does not hold all characters.
    #[error(
        "the database {} has the encoding {found}, which does not hold all texts: make one with \
         createdb --template=template0 --encoding=UTF8 NAME",
        path.display()
    )]
    Encoding {
        /// The server and the database.
        path: PathBuf,
        /// Its encoding.
        found: String,
    },
    /// It is the database of another complex.
    #[error(
        "the database {} belongs to the complex {theirs}, and this server is of {ours}: put the \
         right complex.key back, start it with --complex-key and the complex.key of one of its \
         servers, or name another database",
        path.display()
    )]
    OtherComplex {
        /// The server and the database.
        path: PathBuf,
        /// Key of the complex that it belongs to.
        theirs: String,
        /// Key of this server's.
        ours: String,
    },
    /// Another server leads over this database.
    #[error(
        "another server leads over the database {} until {until} at least: {server}; stop it \
         first, or give this one a database of its own",
        path.display()
    )]
    Led {
        /// The server and the database.
        path: PathBuf,
        /// Who leads.
        server: String,
        /// Unless it renews its lease before, by the database's clock.
        until: Time,
    },
    /// What should be told of this server cannot be kept.
    #[error("this server cannot stand as a leader: {problem}")]
    Candidate {
        /// What is wrong.
        problem: &'static str,
    },
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
        "{} is not a database of this program: move it away or name another one",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What the database says, if it was asked.
        source: Option<Cause>,
    },
    /// The file is damaged.
    #[error("{} is damaged: restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the database says.
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
    /// There is no room. A file's writer goes on by itself when there is some.
    #[error("{}", no_room(path, *free))]
    DiskFull {
        /// The database.
        path: PathBuf,
        /// Free on its disk, where that can be told.
        free: Option<Bytes>,
    },
    /// The database or the disk failed.
    #[error(
        "cannot write to the database {}: {remedy}, then start the server again",
        path.display()
    )]
    Failed {
        /// The database.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// Why.
        source: Cause,
    },
    /// A value that no column holds.
    #[error("a change cannot be kept")]
    Value(#[source] BadValue),
    /// Another server leads.
    #[error(
        "another server leads over the database {} since: this one led in epoch {epoch}, and \
         nothing of this change is kept; from now on it follows",
        path.display()
    )]
    Deposed {
        /// The database.
        path: PathBuf,
        /// The epoch that is over.
        epoch: u64,
    },
    /// The database's server was away for too long.
    #[error(
        "the database {} was away for {seconds} s: {remedy}, then start this server again; nothing \
         that was acknowledged is lost",
        path.display()
    )]
    Away {
        /// The server and the database.
        path: PathBuf,
        /// How long it was tried.
        seconds: u64,
        /// What to do.
        remedy: &'static str,
        /// What was heard last.
        source: Cause,
    },
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
        /// What the database says.
        source: Cause,
    },
    /// Anything else.
    #[error("cannot read from the database {}: {remedy}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// Why.
        source: Cause,
    },
}

fn no_room(path: &std::path::Path, free: Option<Bytes>) -> String {
    let free = free.map_or(String::new(), |free| format!(" ({free} free on its disk)"));
    format!(
        "no room to write to the database {}{free}: make room, or raise the quota or limit; nothing \
         that was acknowledged is lost",
        path.display()
    )
}

/// Results that have a remedy of their own, whichever database has them.
enum Known {
    Corrupt,
    Full,
    NotOurs,
}

fn known(place: &Place, error: &SqlError) -> Option<Known> {
    let code = error.as_database_error()?.code()?;
    if let Place::Server(_) = place {
        return match &*code {
            "53100" => Some(Known::Full),
            "XX001" | "XX002" => Some(Known::Corrupt),
            _ => None,
        };
    }
    // SQLite's code is extended: the primary one is in the low byte.
    match code.parse::<i32>().ok()? & 0xff {
        11 => Some(Known::Corrupt),
        13 => Some(Known::Full),
        26 => Some(Known::NotOurs),
        _ => None,
    }
}

fn what_to_do(place: &Place, error: &SqlError) -> &'static str {
    match place {
        Place::Server(_) => remedy(error),
        Place::File(_) | Place::Memory => "check its disk",
    }
}

impl OpenError {
    /// Whether nobody answers where the database should be.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        let Self::Refused { source: Cause(error), .. } = self else { return false };
        matches!(**error, SqlError::Io(_) | SqlError::PoolTimedOut)
    }

    pub(crate) fn sql(place: &Place, source: SqlError) -> Self {
        let path = place.name().to_owned();
        match (known(place, &source), place) {
            (Some(Known::NotOurs), _) => Self::NotOurs { path, source: Some(source.into()) },
            (Some(Known::Corrupt), _) => Self::Damaged { path, source: source.into() },
            (Some(Known::Full), _) => Self::DiskFull { path, free: place.free() },
            (None, Place::Server(_)) => {
                Self::Refused { path, remedy: remedy(&source), source: source.into() }
            }
            (None, _) => Self::Failed { path, source: source.into() },
        }
    }

    pub(crate) fn schema(place: &Place, error: SchemaError) -> Self {
        let path = place.name().to_owned();
        match error {
            SchemaError::Newer { found, known } => Self::Newer { path, found, known },
            SchemaError::Foreign => Self::NotOurs { path, source: None },
            SchemaError::Odd(problem) => Self::Schema { path, problem },
            SchemaError::Sql(source) => Self::sql(place, source),
        }
    }
}

impl CommitError {
    /// Whether the changes themselves are what cannot be kept: to try them again ends the same.
    #[must_use]
    pub fn is_of_changes(&self) -> bool {
        match self {
            Self::Value(_) | Self::Conflict { .. } => true,
            Self::Stopped(first) => first.is_of_changes(),
            _ => false,
        }
    }

    /// Whether it is certain that nothing of the changes is kept.
    #[must_use]
    pub const fn keeps_nothing(&self) -> bool {
        match self {
            Self::Value(_)
            | Self::Conflict { .. }
            | Self::Deposed { .. }
            | Self::Overrun { .. }
            | Self::Stopped(_) => true,
            Self::DiskFull { .. } | Self::Failed { .. } | Self::Away { .. } | Self::Closed => false,
        }
    }

    pub(crate) fn sql(place: &Place, source: SqlError) -> Self {
        let path = place.name().to_owned();
        match known(place, &source) {
            Some(Known::Full) => Self::DiskFull { path, free: place.free() },
            _ => Self::Failed { path, remedy: what_to_do(place, &source), source: source.into() },
        }
    }
}

impl ReadError {
    pub(crate) fn sql(place: &Place, source: SqlError) -> Self {
        let path = place.name().to_owned();
        match known(place, &source) {
            Some(Known::Corrupt | Known::NotOurs) => Self::Damaged { path, source: source.into() },
            _ => Self::Failed { path, remedy: what_to_do(place, &source), source: source.into() },
        }
    }

    pub(crate) fn row(place: &Place, source: BadRow) -> Self {
        Self::Row { path: place.name().to_owned(), source }
    }
}
