//! Databases for tests at a PostgreSQL server, one for each test and gone with it; and servers that
//! a test may stop. Part of two test programs.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

/// Names a server where tests may make and drop databases: `tests/postgres start DIR` prints one.
const SERVER: &str = "ISOS_TEST_POSTGRES";

/// The server, or nothing after saying so.
pub(crate) fn server() -> Option<String> {
    if let Ok(url) = std::env::var(SERVER) {
        return Some(url);
    }
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{SERVER} must be set where CI is: see tests/postgres"
    );
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        // Not `eprintln`: the harness would keep it from whoever should see it.
        let said = writeln!(std::io::stderr(), "NOT TESTED on PostgreSQL: {SERVER} is not set");
        said.expect("standard error is open");
    });
    None
}

/// A database of one test.
#[derive(Debug)]
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    pub(crate) fn new(server: String) -> Self {
        Self::with(server, "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    }

    pub(crate) fn with(server: String, options: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("isos_test_{}_{number}", std::process::id());
        run(&server, &format!("DROP DATABASE IF EXISTS {name}"));
        run(&server, &format!("CREATE DATABASE {name} {options}"));
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a URL has a database");
        format!("{server}/{}", self.name)
    }

    /// What a person does by hand.
    pub(crate) fn run(&self, sql: &str) {
        run(&self.url(), sql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            run(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// On a thread of its own, so that it may be called on any runtime.
fn run(url: &str, sql: &str) {
    let work = async {
        let options: PgConnectOptions = url.parse().expect("a URL");
        let mut connection = options.connect().await.expect("a server of tests");
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    std::thread::scope(|threads| {
        let done = threads.spawn(|| runtime().expect("a runtime").block_on(work)).join();
        done.expect("a statement of a test");
    });
}

/// A server of one test, which may stop it.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    url: String,
}

impl Cluster {
    /// Nothing where there is no server for tests at all.
    pub(crate) fn new() -> Option<Self> {
        server()?;
        let folder = tempfile::tempdir().expect("a folder");
        let url = script("start", folder.path());
        Some(Self { folder, url: url.trim().to_owned() })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `restart`, `crash` or `stop`.
    pub(crate) fn control(&self, action: &str) {
        script(action, self.folder.path());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be stopped already.
        let _ = command("stop", self.folder.path()).output();
    }
}

fn command(action: &str, folder: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/postgres");
    let mut command = Command::new(script);
    command.arg(action).arg(folder);
    command
}

fn script(action: &str, folder: &Path) -> String {
    let output = command(action, folder).output().expect("tests/postgres runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "tests/postgres {action}: {error}");
    String::from_utf8(output.stdout).expect("a URL")
}
