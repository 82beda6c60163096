//! A PostgreSQL server: what a URL says of it, and connections to it.
//!
//! No TLS: between a complex and its database are one machine, a network of their own, or a tunnel.
//! A URL that asks for it is refused, never silently weakened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use crate::OpenError;
use crate::sql::{Session, SqlError};
use crate::{READER_WAIT, READERS_MAX};

/// How long a connection may take to be made.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Options of a URL that mean something here.
const OPTIONS: [&str; 8] =
    ["application_name", "dbname", "host", "hostaddr", "password", "port", "sslmode", "user"];

/// What the writer's session needs: an answered commit is on the disk, and whoever stops in the
/// middle of a transaction does not hold the lease's row longer than the lease.
const WRITES: &str = "SET synchronous_commit = on; \
                      SET idle_in_transaction_session_timeout = '10s'; \
                      SET statement_timeout = 0; SET lock_timeout = 0; \
                      SET jit = off";

/// A server and a database in it.
#[derive(Clone)]
pub(crate) struct Server {
    name: PathBuf,
    options: Arc<PgConnectOptions>,
}

/// Without the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.name).finish()
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Server {}

impl Server {
    /// From what a person wrote; what is missing comes from the environment and the password file
    /// of PostgreSQL (`PGPASSWORD`, `~/.pgpass`).
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let bad = |problem: String| OpenError::Url { url: without_secrets(url), problem };
        for option in url.split_once('?').map_or("", |(_, options)| options).split('&') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let tls = name.starts_with("ssl") && name != "sslmode"
                || matches!(value, "require" | "verify-ca" | "verify-full") && name == "sslmode";
            if tls {
                let what = if name == "sslmode" { option } else { name };
                return Err(bad(format!(
                    "{what} asks for TLS, which this program does not speak with PostgreSQL: \
                     leave it out where both are on one machine or in a network of their own, \
                     else use a tunnel"
                )));
            }
            if !name.is_empty() && !OPTIONS.contains(&name) {
                return Err(bad(format!(
                    "{name} is none of the options that this program knows: {}",
                    OPTIONS.join(", ")
                )));
            }
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| bad(error.to_string()))?;
        if !matches!(
            options.get_ssl_mode(),
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer
        ) {
            return Err(bad("PGSSLMODE asks for TLS, which this program does not speak with \
                            PostgreSQL: unset it, or write sslmode=disable into the URL"
                .into()));
        }
        let options = options.ssl_mode(PgSslMode::Disable).disable_statement_logging();
        let database = options.get_database().unwrap_or(options.get_username());
        let name = match options.get_socket() {
            Some(folder) => format!("postgres://{}/{database}", folder.display()),
            None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
        };
        Ok(Self { name: name.into(), options: Arc::new(options) })
    }

    /// For messages: host, port and database, without user and password.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// The connection of a writer.
    pub(crate) async fn connect(&self) -> Result<PgConnection, SqlError> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            Session::Postgres(&mut connection).run(WRITES).await?;
            Ok(connection)
        };
        in_time(CONNECT_WAIT, connecting).await
    }

    /// The connections of readers, made when they are needed and again when they are lost.
    pub(crate) fn readers(&self) -> PgPool {
        let options = PgConnectOptions::clone(&self.options)
            .options([("default_transaction_read_only", "on"), ("jit", "off")]);
        PgPoolOptions::new()
            .max_connections(READERS_MAX)
            .acquire_timeout(READER_WAIT)
            .connect_lazy_with(options)
    }

    /// One connection that stays and hears what others tell.
    pub(crate) fn ear(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(CONNECT_WAIT)
            .connect_lazy_with(PgConnectOptions::clone(&self.options))
    }
}

/// What a server answers within so long; else its connection counts as lost.
pub(crate) async fn in_time<T, E: From<SqlError>>(
    at_most: Duration,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let late = || SqlError::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
    tokio::time::timeout(at_most, asked).await.unwrap_or_else(|_| Err(late().into()))
}

/// A URL without user, password and options.
fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("//").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // An unescaped "@" in a password must not show its end.
    let rest = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}//{rest}")
}

/// Whether the connection is gone, or the server for now: another connection may find it back.
pub(crate) fn is_lost(error: &SqlError) -> bool {
    match error {
        SqlError::Io(_) | SqlError::Protocol(_) | SqlError::PoolTimedOut => true,
        SqlError::Database(error) => error.code().is_some_and(|code| {
            // Connection exceptions; operator intervention, as a shutdown or a start that is not
            // done; a lock that was given up; a standby that was not promoted yet; too many
            // connections; a session that was idle in its transaction for too long.
            ["08", "57P", "40", "25006", "53300", "25P03"].iter().any(|it| code.starts_with(it))
        }),
        _ => false,
    }
}

/// What a person does about it.
pub(crate) fn remedy(error: &SqlError) -> &'static str {
    let code = match error {
        SqlError::Io(_) | SqlError::PoolTimedOut => {
            return "see that PostgreSQL runs there and can be reached";
        }
        SqlError::Database(error) => error.code().unwrap_or_default(),
        _ => return "see the log of PostgreSQL",
    };
    match &*code {
        "28P01" => "correct the password, in the URL, in PGPASSWORD or in ~/.pgpass",
        code if code.starts_with("28") => {
            "see that the user exists and that pg_hba.conf lets it in without TLS"
        }
        "3D000" => "make the database first: createdb --template=template0 --encoding=UTF8 NAME",
        "42501" | "3F000" => "let its user own the database: ALTER DATABASE name OWNER TO user",
        "25006" => "it can only be read: give the URL of the primary server, or make it writable",
        "53300" => "it has too many connections: raise max_connections, or close others",
        "53100" => "its disk is full: make room",
        code if code.starts_with("57P") => "it starts or stops: wait until it is up",
        _ => "see the log of PostgreSQL",
    }
}

/// Ends a connection that may be gone already.
pub(crate) async fn leave(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the connection was gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_without_its_secrets() {
        let server = Server::parse("postgres://me:secret@db.example:5433/isos").unwrap();
        assert_eq!(server.name(), Path::new("postgres://db.example:5433/isos"));
        assert!(!format!("{server:?}").contains("secret"));
        let socket = Server::parse("postgres://me@localhost/isos?host=/run/postgresql").unwrap();
        assert_eq!(socket.name(), Path::new("postgres:///run/postgresql/isos"));
        for mode in ["disable", "allow", "prefer"] {
            Server::parse(&format!("postgres://me@h/d?sslmode={mode}")).unwrap();
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_and_no_secret_is_shown() {
        let refused = |url| Server::parse(url).unwrap_err().to_string();
        let urls = [
            "postgres://me:p@ss@h/d?sslmode=require",
            "postgres://me:secret@h/d?sslmode=disable&sslrootcert=/x",
            "postgres://me:secret@h/d?connect_timeout=3&password=secret",
            "postgres://me:secret@h:notaport/d",
        ];
        expect_test::expect![[r#"
            "postgres://h/d" names no database: sslmode=require asks for TLS, which this program does not speak with PostgreSQL: leave it out where both are on one machine or in a network of their own, else use a tunnel
            "postgres://h/d" names no database: sslrootcert asks for TLS, which this program does not speak with PostgreSQL: leave it out where both are on one machine or in a network of their own, else use a tunnel
            "postgres://h/d" names no database: connect_timeout is none of the options that this program knows: application_name, dbname, host, hostaddr, password, port, sslmode, user
            "postgres://h:notaport/d" names no database: error with configuration: invalid port number"#]]
        .assert_eq(&urls.map(refused).join("\n"));
    }
}
