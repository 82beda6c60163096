//! The database against a model of it, and against the disk.

mod disk;
mod model;
mod reads;
mod sample;
mod writes;

use std::error::Error;

use tempfile::TempDir;

use crate::{Db, Settings};

/// A folder with a database in it.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> String {
        self.folder.path().join("complex.db").to_str().unwrap().into()
    }

    async fn open(&self) -> Db {
        Db::open(&self.path()).await.unwrap()
    }

    async fn open_with(&self, settings: Settings) -> Db {
        Db::open_with(&self.path(), settings).await.unwrap()
    }
}

/// An error with its causes, as the command line prints it; the folder's name is taken out.
fn told(home: &Home, error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text.replace(home.folder.path().to_str().unwrap(), "HOME")
}
