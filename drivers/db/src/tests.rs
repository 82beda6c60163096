//! The database against a model of it, on both engines; against the disk; against a server that
//! goes away and other servers that want to lead.

mod disk;
mod leaders;
mod model;
mod postgres;
mod reads;
mod sample;
mod server;
mod writes;

use std::error::Error;

use isos_base::record::Change;
use tempfile::TempDir;

use crate::{Db, Settings};
use server::Database;

/// Where a test has its database: in a folder of its own, or at a server.
struct Home {
    folder: TempDir,
    database: Option<Database>,
}

impl Home {
    /// A file.
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: None }
    }

    /// A database at a server, if there is one for tests.
    fn at_server() -> Option<Self> {
        let database = Database::new(server::server()?);
        Some(Self { database: Some(database), ..Self::new() })
    }

    /// One of each kind.
    fn each() -> impl Iterator<Item = Self> {
        [Some(Self::new()), Self::at_server()].into_iter().flatten()
    }

    fn url(&self) -> String {
        match &self.database {
            Some(database) => database.url(),
            None => self.folder.path().join("complex.db").to_str().unwrap().into(),
        }
    }

    async fn open(&self) -> Db {
        Db::open(&self.url()).await.unwrap()
    }

    async fn open_with(&self, settings: Settings) -> Db {
        Db::open_with(&self.url(), settings).await.unwrap()
    }

    /// An empty database, as often as it is called.
    async fn fresh(&self) -> Db {
        let Some(database) = &self.database else {
            return Db::open("sqlite::memory:").await.unwrap();
        };
        let empty = "DO $$ DECLARE name TEXT; BEGIN \
                     FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' \
                     AND tablename NOT IN ('leader', 'schema_versions') \
                     LOOP EXECUTE 'DELETE FROM ' || name; END LOOP; \
                     IF to_regclass('leader') IS NOT NULL THEN \
                     UPDATE leader SET until = to_timestamp(0); END IF; END $$";
        database.run(empty);
        self.open().await
    }

    /// A database that has nothing but these.
    async fn with(&self, changes: impl IntoIterator<Item = Change>) -> Db {
        let db = self.fresh().await;
        db.commit(&changes.into_iter().collect::<Vec<_>>()).await.unwrap();
        db
    }
}

/// An error with its causes, as the command line prints it; the names of folder, server and
/// process are taken out.
fn told(home: &Home, error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    let url = home.url();
    let server = url.replace("postgres://postgres@", "postgres://");
    text.replace(home.folder.path().to_str().unwrap(), "HOME")
        .replace(&server, "SERVER")
        .replace(&format!("process {}", std::process::id()), "process PID")
}
