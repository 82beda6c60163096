//! Who leads, of several servers over one PostgreSQL database: a lease in a row, and its epoch.
//!
//! The epoch is the fence: it is checked inside of every transaction that writes, so that a leader
//! that slept, or was cut off, writes nothing once another has taken over. The lease only says when
//! another may try. All times are of the database's clock. Not an election: whoever is first leads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use isos_base::time::Time;
use sqlx::Acquire;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::watch;

use crate::place::Place;
use crate::schema;
use crate::server::{CONNECT_WAIT, Server, in_time, leave};
use crate::servers;
use crate::sql::{Engine, Row, Session, SqlError};
use crate::values::{Cell, Values};
use crate::{Db, OpenError, Settings};

/// How long a leader leads after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often an idle leader is heard of.
pub(crate) const RENEW: Duration = Duration::from_secs(3);
/// Bytes of what followers tell.
pub const TOLD_MAX: usize = 4_096;
/// Followers look no more often, unless they are told to.
const LOOK_MIN: Duration = Duration::from_secs(1);
/// How long a follower waits at the most before it asks again for a database that is away.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Where leaders tell that they take the lease or give it up.
const CHANNEL: &str = "isos_leader";

/// A server that wants to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Public key of the complex: another one's database is not touched. Empty, if any will do.
    pub complex: String,
    /// Its public key.
    pub server: String,
    /// What others tell their clients of it while it leads: any text of at most [`TOLD_MAX`] bytes.
    pub told: String,
}

/// Who leads, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Counts leaders.
    pub epoch: u64,
    /// Its public key, in hex.
    pub server: String,
    /// What is to be told of it.
    pub told: String,
    /// Unless it renews its lease before, by the database's clock.
    pub until: Time,
}

/// What became of a candidate.
#[derive(Debug)]
pub enum Standing {
    /// It leads.
    Leads(Db),
    /// Another does.
    Follows(Follower),
}

/// What has changed for a follower.
#[derive(Debug)]
pub enum Turn {
    /// It leads. The follower has nothing more to do.
    Leads(Db),
    /// Another leads now.
    Follows(Leader),
}

/// A candidate that waits for its turn.
#[derive(Debug)]
pub struct Follower {
    server: Server,
    candidate: Candidate,
    seen: Leader,
    ear: Option<Box<PgListener>>,
    trouble: watch::Sender<Option<Arc<OpenError>>>,
}

/// Extends the lease, if the epoch is still ours: changes one row then, else none.
pub(crate) fn renewal(epoch: u64) -> String {
    let seconds = LEASE.as_secs();
    format!(
        "UPDATE leader SET until = clock_timestamp() + INTERVAL '{seconds} seconds' \
         WHERE epoch = {epoch}"
    )
}

/// Gives the lease up and tells those who wait.
pub(crate) async fn release(session: &mut Session<'_>, epoch: u64) -> Result<(), SqlError> {
    let text = format!(
        "UPDATE leader SET until = clock_timestamp() WHERE epoch = {epoch}; NOTIFY {CHANNEL}"
    );
    session.run(AssertSqlSafe(text)).await.map(drop)
}

/// Bytes of the database.
pub(crate) async fn size(session: &mut Session<'_>) -> Result<u64, SqlError> {
    let sql = "SELECT pg_database_size(current_database())";
    let row = session.fetch(sql, Vec::new()).try_next().await?;
    let size = row.map_or(Ok(0), |row| row.get::<i64>(0))?;
    Ok(u64::try_from(size).unwrap_or(0))
}

/// A lease that was taken, or who has it.
pub(crate) enum Taken {
    Yes { connection: PgConnection, epoch: u64 },
    No(Leader),
}

impl Candidate {
    fn check(&self) -> Result<(), OpenError> {
        let bad = |problem| Err(OpenError::Candidate { problem });
        if self.told.len() > TOLD_MAX || self.server.len() > TOLD_MAX {
            return bad("its name, or what is told of it, has more than 4,096 bytes");
        }
        Ok(())
    }
}

/// Takes the lease if nobody has it. Makes the schema if there is none, and brings it to the newest
/// version if we lead.
pub(crate) async fn take(server: &Server, candidate: &Candidate) -> Result<Taken, OpenError> {
    candidate.check()?;
    let place = Place::Server(server.clone());
    let failed = |error| OpenError::sql(&place, error);
    let mut connection = server.connect().await.map_err(failed)?;
    let mut session = Session::Postgres(&mut connection);
    let found = encoding(&mut session).await.map_err(failed)?;
    if found != "UTF8" {
        return Err(OpenError::Encoding { path: server.name().to_owned(), found });
    }
    let odd = |error| OpenError::schema(&place, error);
    schema::prepare(&mut session).await.map_err(odd)?;

    session.run(session.engine().begin_write()).await.map_err(failed)?;
    if !seize(&mut session, candidate).await.map_err(failed)? {
        session.run("ROLLBACK").await.map_err(failed)?;
        let theirs = complex(&mut session).await.map_err(failed)?;
        let (ours, is_known) = (&candidate.complex, !theirs.is_empty());
        if is_known && theirs != *ours && !ours.is_empty() {
            let path = server.name().to_owned();
            return Err(OpenError::OtherComplex { path, theirs, ours: ours.clone() });
        }
        let leader = look(&mut session).await.map_err(failed)?;
        servers::note(&mut connection, candidate).await.map_err(failed)?;
        leave(connection).await;
        let (leader, _) = leader.ok_or_else(|| no_row(server))?;
        return Ok(Taken::No(leader));
    }
    schema::upgrade(&mut session).await.map_err(odd)?;
    let ours = look(&mut session).await.map_err(failed)?;
    let tell = format!("NOTIFY {CHANNEL}; COMMIT");
    session.run(AssertSqlSafe(tell)).await.map_err(failed)?;
    servers::note(&mut connection, candidate).await.map_err(failed)?;
    let (Leader { epoch, .. }, _) = ours.ok_or_else(|| no_row(server))?;
    tracing::info!(epoch, database = %server.name().display(), "this server leads");
    Ok(Taken::Yes { connection, epoch })
}

fn no_row(server: &Server) -> OpenError {
    let problem = "its table leader is empty".into();
    OpenError::Schema { path: server.name().to_owned(), problem }
}

/// Whose database it is; empty before somebody has led.
async fn complex(session: &mut Session<'_>) -> Result<String, SqlError> {
    let mut rows = session.fetch("SELECT complex FROM leader", Vec::new());
    let row = rows.try_next().await?;
    Ok(row.map_or(Ok(None), |row| row.text(0))?.unwrap_or_default())
}

async fn encoding(session: &mut Session<'_>) -> Result<String, SqlError> {
    let mut rows = session.fetch("SELECT current_setting('server_encoding')", Vec::new());
    rows.try_next().await?.map_or(Ok(String::new()), |row| row.get(0))
}

/// Makes the candidate the leader, unless somebody leads.
async fn seize(session: &mut Session<'_>, candidate: &Candidate) -> Result<bool, SqlError> {
    let sql = format!(
        "UPDATE leader SET epoch = epoch + 1, server = $1, told = $2, \
         complex = CASE WHEN $3 = '' THEN complex ELSE $3 END, \
         until = clock_timestamp() + INTERVAL '{} seconds' \
         WHERE until <= clock_timestamp() AND (complex IN ('', $3) OR $3 = '')",
        LEASE.as_secs()
    );
    let values = [&candidate.server, &candidate.told, &candidate.complex];
    let values = values.map(|text| Cell::Text(Some(text.clone())));
    let values = Values::of(Engine::Postgres, values.into())?;
    Ok(session.execute(AssertSqlSafe(sql), values).await? == 1)
}

const LOOK: &str = "SELECT epoch, server, told, \
                    CAST(EXTRACT(EPOCH FROM until) * 1000000 AS BIGINT), \
                    CAST(EXTRACT(EPOCH FROM until - clock_timestamp()) * 1000000 AS BIGINT) \
                    FROM leader";

/// Who leads, and for how long yet.
async fn look(session: &mut Session<'_>) -> Result<Option<(Leader, Duration)>, SqlError> {
    session.fetch(LOOK, Vec::new()).try_next().await?.map(|row| leader_of(&row)).transpose()
}

fn leader_of(row: &Row) -> Result<(Leader, Duration), SqlError> {
    // What was changed by hand may be below zero.
    let number = |column| row.get::<i64>(column).map(|number| u64::try_from(number).unwrap_or(0));
    let leader = Leader {
        epoch: number(0)?,
        server: row.text(1)?.unwrap_or_default(),
        told: row.text(2)?.unwrap_or_default(),
        until: Time(number(3)?),
    };
    Ok((leader, Duration::from_micros(number(4)?)))
}

impl Follower {
    pub(crate) fn new(server: Server, candidate: Candidate, seen: Leader) -> Self {
        Self { server, candidate, seen, ear: None, trouble: watch::Sender::new(None) }
    }

    /// Who leads, as last seen.
    #[must_use]
    pub fn leader(&self) -> Leader {
        self.seen.clone()
    }

    /// What is told of the servers that are there, the leader's first; nothing while the database
    /// is away.
    pub async fn servers(&mut self) -> Vec<String> {
        let Some(ear) = &mut self.ear else { return Vec::new() };
        let Ok(connection) = ear.acquire().await else { return Vec::new() };
        servers::told(&mut Session::Postgres(connection)).await.unwrap_or_default()
    }

    /// The server and its database, without user and password.
    #[must_use]
    pub fn database(&self) -> &Path {
        self.server.name()
    }

    /// Why the database cannot be asked at the moment, while [`Follower::wait`] waits for it.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<Arc<OpenError>>> {
        self.trouble.subscribe()
    }

    /// Waits until this server leads, or another does than was last seen.
    ///
    /// A database that is away is waited for: see [`Follower::trouble`]. Dropping the future loses
    /// nothing but, at worst, a lease that was just taken: it runs out.
    ///
    /// # Errors
    /// [`OpenError`] if waiting does not help, for instance when a later program has changed the
    /// schema.
    pub async fn wait(&mut self) -> Result<Turn, OpenError> {
        let mut pause = LOOK_MIN;
        loop {
            match self.turn().await {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) => pause = LOOK_MIN,
                Err(
                    error @ (OpenError::Refused { .. }
                    | OpenError::DiskFull { .. }
                    | OpenError::Failed { .. }),
                ) => {
                    tracing::debug!(%error, "the database is away");
                    self.trouble.send_replace(Some(Arc::new(error)));
                    self.ear = None;
                    tokio::time::sleep(pause).await;
                    pause = PAUSE_MAX.min(pause * 2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks once, and waits until it is worth looking again.
    async fn turn(&mut self) -> Result<Option<Turn>, OpenError> {
        let (leader, left) = self.look().await?;
        self.trouble.send_if_modified(|trouble| trouble.take().is_some());
        if left.is_zero() {
            match take(&self.server, &self.candidate).await? {
                Taken::Yes { connection, epoch } => {
                    self.ear = None;
                    return Ok(Some(Turn::Leads(
                        Db::lead(&self.server, connection, epoch, Settings::default()).await,
                    )));
                }
                // Another was faster: what follows is for the next look.
                Taken::No(_) => {}
            }
        } else {
            // Only what is told counts as seen: one whose lease had run out may lead yet.
            let news = (&leader.server, &leader.told) != (&self.seen.server, &self.seen.told);
            self.seen = leader;
            if news {
                return Ok(Some(Turn::Follows(self.seen.clone())));
            }
        }
        self.hear(left.max(LOOK_MIN)).await?;
        Ok(None)
    }

    /// Asks who leads, over the connection that also hears what is told.
    async fn look(&mut self) -> Result<(Leader, Duration), OpenError> {
        let place = Place::Server(self.server.clone());
        let failed = |error| OpenError::sql(&place, error);
        let ear = match &mut self.ear {
            Some(ear) => ear,
            none => {
                // It listens before it looks, so that it misses nothing in between.
                let mut ear = PgListener::connect_with(&self.server.ear()).await.map_err(failed)?;
                ear.eager_reconnect(false);
                ear.listen(CHANNEL).await.map_err(failed)?;
                none.insert(Box::new(ear))
            }
        };
        let candidate = &self.candidate;
        let row = in_time(CONNECT_WAIT, async {
            let connection = ear.acquire().await?;
            servers::note(connection, candidate).await?;
            sqlx::query(LOOK).fetch_optional(connection).await
        });
        let row = row.await.map_err(failed)?;
        let row = row.map(|row| leader_of(&Row::Postgres(row))).transpose().map_err(failed)?;
        row.ok_or_else(|| no_row(&self.server))
    }

    /// Waits until something is told, the connection is lost, or for so long.
    async fn hear(&mut self, at_most: Duration) -> Result<(), OpenError> {
        let Some(ear) = &mut self.ear else { return Ok(()) };
        match tokio::time::timeout(at_most, ear.try_recv()).await {
            Ok(Err(error)) => Err(OpenError::sql(&Place::Server(self.server.clone()), error)),
            Ok(Ok(None)) => {
                self.ear = None;
                Ok(())
            }
            Ok(Ok(Some(_))) | Err(_) => Ok(()),
        }
    }
}
