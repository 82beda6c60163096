//! The servers of a complex over one PostgreSQL database: who they are and where they are found.
//!
//! Each writes its own row when it stands and while it follows, outside of the leader's epoch: the
//! rows decide nothing, they only say where to call when the leader is gone.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::Db;
use crate::error::ReadError;
use crate::lead::Candidate;
use crate::server::{CONNECT_WAIT, in_time};
use crate::sql::{Engine, Session, SqlError};
use crate::values::{Cell, Values};

/// A server that was not heard of for so long is not told of any more. Followers are heard of when
/// they look who leads, which is several times as often.
const FORGOTTEN_AFTER: &str = "INTERVAL '60 seconds'";
/// Rows that are told, the leader's first.
const SERVERS_MAX: usize = 16;

/// Notes that this server is there.
pub(crate) async fn note(
    connection: &mut PgConnection,
    candidate: &Candidate,
) -> Result<(), SqlError> {
    let sql = "INSERT INTO servers VALUES ($1, $2, clock_timestamp()) \
               ON CONFLICT (server) DO UPDATE SET told = excluded.told, seen = excluded.seen";
    let values = [&candidate.server, &candidate.told].map(|text| Cell::Text(Some(text.clone())));
    let mut session = Session::Postgres(connection);
    session.execute(sql, Values::of(Engine::Postgres, values.into())?).await?;
    Ok(())
}

/// What is told of the servers that are there, the leader's first.
pub(crate) async fn told(session: &mut Session<'_>) -> Result<Vec<String>, SqlError> {
    let sql = format!(
        "SELECT s.told FROM servers s CROSS JOIN leader l \
         WHERE s.seen > clock_timestamp() - {FORGOTTEN_AFTER} OR s.server = l.server \
         ORDER BY s.server <> l.server, s.seen DESC LIMIT {SERVERS_MAX}"
    );
    let rows = session.fetch(AssertSqlSafe(sql), Vec::new());
    rows.and_then(|row| async move { Ok(row.text(0)?.unwrap_or_default()) }).try_collect().await
}

impl Db {
    /// What is told of the servers of this complex that are there, the leader's first; none for a
    /// file, which has one server.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn servers(&self) -> Result<Vec<String>, ReadError> {
        if self.inner.epoch.is_none() {
            return Ok(Vec::new());
        }
        let failed = |error| ReadError::sql(&self.inner.place, error);
        let asked = async {
            let mut reading = self.inner.readers.acquire().await?;
            told(&mut reading.session()).await
        };
        in_time(CONNECT_WAIT, asked).await.map_err(failed)
    }
}
