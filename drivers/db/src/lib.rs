//! The complex's database: [`Change`]s in, a [`Snapshot`] out. The only crate that names SQL.
//!
//! It keeps the shapes of `isos_base::record` and decides nothing: what a change means is the
//! kernel's business. One writer commits everything that waits in one transaction (group commit)
//! and answers when it is on the disk; readers have connections of their own and never hold the
//! writer up. It is an SQLite file, which belongs to one server, or a database at a PostgreSQL
//! server, over which one of several servers leads at a time ([`Db::stand`]).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use isos_base::record::Change;
//! use isos_base::time::Time;
//!
//! let db = isos_db::Db::open("sqlite::memory:").await?;
//! let writer = db.writer();
//! writer.submit(vec![Change::Revocation(vec![1, 2, 3], Time(9))]).await?;
//! assert_eq!(db.load().await?.revocations, [(vec![1, 2, 3], Time(9))]);
//! db.close().await?;
//! # Ok(()) }
//! ```

mod cells;
mod commit;
mod error;
mod group;
mod lead;
mod load;
mod place;
mod read;
mod rows;
mod schema;
mod server;
mod servers;
mod sql;
mod table;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isos_base::ids::JobId;
use isos_base::record::{Change, Snapshot};
use isos_base::time::Time;
use isos_base::units::Bytes;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use cells::{BadRow, BadValue};
pub use error::{Cause, CommitError, OpenError, ReadError};
pub use lead::{Candidate, Follower, LEASE, Leader, Standing, TOLD_MAX, Turn};
pub use read::{LeasesOf, PAGE_ROWS_MAX, RESULTS_PAGE_BYTES_MAX};
pub use writer::{Commit, SUBMISSIONS_MAX, Writer};

use lead::Taken;
use place::{Lock, Place};
use server::Server;
use sql::{Connected, Readers, Session};
use writer::AWAY_MAX;

/// Connections for readers.
const READERS_MAX: u32 = 4;
/// How long a reader waits for a connection before it is an error.
const READER_WAIT: Duration = Duration::from_secs(10);
/// Readers of a server have this long to end when the database is closed.
const READERS_END: Duration = Duration::from_secs(3);
/// Prepared statements of the writer: 12 tables with up to nine sizes of batch each.
const STATEMENTS_MAX: usize = 128;
/// Pages of log after which it is written back: 32 MiB, so that a busy server does it rarely.
const LOG_PAGES: &str = "8192";
/// Pages that the writer keeps in memory, in KiB below zero: the upper parts of all indexes.
const CACHE: &str = "-65536";
/// Bytes that the log keeps on disk once it was written back.
const LOG_BYTES_KEPT: &str = "67108864";

/// An open database. Clones are handles to the same one.
///
/// SQLite files are locked against a second server until [`Db::close`], or until the last handle
/// and the last [`Writer`] are gone.
#[derive(Debug, Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    readers: Readers,
    writer: Writer,
    /// The epoch in which we lead, where there are epochs.
    epoch: Option<u64>,
    /// Bytes of a server's database, as last measured.
    size: Arc<AtomicU64>,
}

/// What only tests set.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// Pages that the file may have: a disk that is full.
    pages_max: Option<u32>,
    /// How long a writer waits for a server that is away.
    away_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pages_max: None, away_max: AWAY_MAX }
    }
}

impl Db {
    /// Opens the database, creates it if there is none, and brings its schema up to date.
    ///
    /// `url` is `sqlite:///path/complex.db`, a plain path, or `sqlite::memory:` for tests. The
    /// folder must exist; a new file is readable by its owner only. Or it is
    /// `postgres://user@host:port/database`; then the database must exist, and this process takes
    /// the lease under its number. Must be called on a tokio runtime, which then runs the writer.
    ///
    /// # Errors
    /// [`OpenError`], for instance if another server has it open or a later program wrote it.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, Settings::default()).await
    }

    async fn open_with(url: &str, settings: Settings) -> Result<Self, OpenError> {
        Self::open_as(url, String::new(), settings).await
    }

    /// As [`Db::open`], for the complex of this public key: the database of another is not opened.
    ///
    /// # Errors
    /// As [`Db::open`], and [`OpenError::OtherComplex`].
    pub async fn open_of(url: &str, complex: &str) -> Result<Self, OpenError> {
        Self::open_as(url, complex.to_owned(), Settings::default()).await
    }

    /// Whether `url` names a file that is not there, or is empty: opening it would begin anew.
    #[must_use]
    pub fn is_missing(url: &str) -> bool {
        let Ok(Place::File(path)) = Place::parse(url) else { return false };
        match path.metadata() {
            Ok(metadata) => metadata.len() == 0,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    async fn open_as(url: &str, complex: String, settings: Settings) -> Result<Self, OpenError> {
        let server = format!("process {}", std::process::id());
        let nameless = Candidate { complex, server, told: String::new() };
        match Self::stand_with(url, &nameless, settings).await? {
            Standing::Leads(db) => Ok(db),
            Standing::Follows(follower) => {
                let Leader { server, until, .. } = follower.leader();
                Err(OpenError::Led { path: follower.database().to_owned(), server, until })
            }
        }
    }

    /// Opens the database as [`Db::open`] does if no other server leads over it; else follows the
    /// one that does. Over a file it leads, or fails.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn stand(url: &str, candidate: &Candidate) -> Result<Standing, OpenError> {
        Self::stand_with(url, candidate, Settings::default()).await
    }

    async fn stand_with(
        url: &str,
        candidate: &Candidate,
        settings: Settings,
    ) -> Result<Standing, OpenError> {
        let place = Place::parse(url)?;
        let lock = match &place {
            Place::Server(server) => {
                return Ok(match lead::take(server, candidate).await? {
                    Taken::Yes { connection, epoch } => {
                        Standing::Leads(Self::lead(server, connection, epoch, settings).await)
                    }
                    Taken::No(leader) => {
                        let (server, candidate) = (server.clone(), candidate.clone());
                        Standing::Follows(Follower::new(server, candidate, leader))
                    }
                });
            }
            Place::File(path) => {
                place::create(path)
                    .map_err(|source| OpenError::File { path: path.clone(), source })?;
                Some(Lock::take(path)?)
            }
            Place::Memory => None,
        };
        let options = options(&place);
        let mut connection = options
            .writer(settings)
            .connect()
            .await
            .map_err(|source| OpenError::sql(&place, source))?;
        let mut session = Session::Sqlite(&mut connection);
        schema::prepare(&mut session).await.map_err(|error| OpenError::schema(&place, error))?;
        let ours = &candidate.complex;
        let theirs = schema::owner(&mut session, ours)
            .await
            .map_err(|source| OpenError::sql(&place, source))?;
        if !ours.is_empty() && theirs != *ours {
            let path = place.name().to_owned();
            return Err(OpenError::OtherComplex { path, theirs, ours: ours.clone() });
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(READER_WAIT)
            .test_before_acquire(false)
            .connect_lazy_with(options.reader());
        let writer = Writer::of_file(Connected::Sqlite(connection), place.clone(), lock);
        let readers = Readers::Sqlite(readers);
        Ok(Standing::Leads(Self {
            inner: Arc::new(Inner { place, readers, writer, epoch: None, size: Arc::default() }),
        }))
    }

    /// Leads over a server's database, by a lease that was taken.
    async fn lead(
        server: &Server,
        mut connection: sqlx::PgConnection,
        epoch: u64,
        settings: Settings,
    ) -> Self {
        let place = Place::Server(server.clone());
        let readers = Readers::Postgres(server.readers());
        let size = lead::size(&mut Session::Postgres(&mut connection)).await;
        let size = Arc::new(AtomicU64::new(size.unwrap_or(0)));
        let connection = Connected::Postgres(connection);
        let (measured, away_max) = (Arc::clone(&size), settings.away_max);
        let writer = Writer::at_server(connection, place.clone(), epoch, measured, away_max);
        let epoch = Some(epoch);
        Self { inner: Arc::new(Inner { place, readers, writer, epoch, size }) }
    }

    /// Everything that the kernel starts from, as of one moment.
    ///
    /// # Errors
    /// [`ReadError`] if the file is damaged or has a row that makes no sense.
    pub async fn load(&self) -> Result<Snapshot, ReadError> {
        load::load(&self.inner.readers, &self.inner.place).await
    }

    /// Commits these changes, all or none, after everything that was submitted before.
    ///
    /// # Errors
    /// [`CommitError`]; the writer takes nothing more then.
    pub async fn commit(&self, changes: &[Change]) -> Result<(), CommitError> {
        self.inner.writer.submit(changes.to_vec()).await
    }

    /// Deletes remembered replies and revocations that have expired at `now`.
    ///
    /// # Errors
    /// As [`Db::commit`].
    pub async fn forget_expired(&self, now: Time) -> Result<(), CommitError> {
        self.inner.writer.forget(now).await
    }

    /// Deletes the results of a job, which is over. Its record, leases and transfers stay.
    ///
    /// # Errors
    /// As [`Db::commit`].
    pub async fn forget_results(&self, job: JobId) -> Result<(), CommitError> {
        self.inner.writer.forget_results(job).await
    }

    /// The one writer.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.inner.writer.clone()
    }

    /// The epoch in which this server leads; nothing over a file, which has one server.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.inner.epoch
    }

    /// The file, `sqlite::memory:`, or the server and its database, without user and password.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.place.name()
    }

    /// Bytes on disk, with the log of a file; 0 in memory. Of a server's database it is about a
    /// minute old.
    #[must_use]
    pub fn size(&self) -> Bytes {
        match &self.inner.place {
            Place::Server(_) => Bytes(self.inner.size.load(Ordering::Relaxed)),
            place => place.size(),
        }
    }

    /// Waits until everything submitted so far is kept, then closes the database for all handles
    /// and gives the lease up, so that another server may lead at once.
    ///
    /// # Errors
    /// [`CommitError::Stopped`] if a commit had failed: then not everything was kept.
    pub async fn close(&self) -> Result<(), CommitError> {
        if self.inner.epoch.is_none() {
            // A file is written back by whoever closes it last, which is to be the writer.
            self.inner.readers.close().await;
            return self.inner.writer.close().await;
        }
        // A reader that still waits for the server must not keep the lease from others.
        let closed = self.inner.writer.close().await;
        let _ = tokio::time::timeout(READERS_END, self.inner.readers.close()).await;
        closed
    }
}

/// How the writer and the readers connect.
struct Options {
    base: SqliteConnectOptions,
    in_file: bool,
}

fn options(place: &Place) -> Options {
    let base = SqliteConnectOptions::new()
        .statement_cache_capacity(STATEMENTS_MAX)
        .row_buffer_size(1_024)
        // What cannot be trusted is the file: these find damage earlier.
        .pragma("cell_size_check", "ON")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging();
    match place {
        Place::File(path) => Options { base: base.filename(path), in_file: true },
        // A server has options of its own.
        Place::Memory | Place::Server(_) => {
            // A name that connections of this process share, and nobody else has.
            use std::sync::atomic::{AtomicU64, Ordering};
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let name = format!("/isos-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            Options { base: base.filename(name).vfs("memdb"), in_file: false }
        }
    }
}

impl Options {
    fn writer(&self, settings: Settings) -> SqliteConnectOptions {
        let mut options = self.base.clone().create_if_missing(!self.in_file);
        if self.in_file {
            options = options
                .journal_mode(SqliteJournalMode::Wal)
                // FULL: the log is on the disk before a commit is answered.
                .synchronous(SqliteSynchronous::Full)
                .pragma("cache_size", CACHE)
                .pragma("wal_autocheckpoint", LOG_PAGES)
                .pragma("journal_size_limit", LOG_BYTES_KEPT);
        }
        if let Some(pages) = settings.pages_max {
            options = options.pragma("max_page_count", pages.to_string());
        }
        options
    }

    fn reader(&self) -> SqliteConnectOptions {
        self.base.clone().read_only(self.in_file).pragma("query_only", "ON")
    }
}
