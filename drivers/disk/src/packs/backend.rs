//! The index's file: the database's steps on the disk go through the same trait as all others, so
//! that tests cut the power between them too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::Storage;

/// One file.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) file: File,
    pub(super) path: PathBuf,
}

// Without locks: the home is locked, and the shelf is this process's alone.
impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.storage.set_len(&self.file, &self.path, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.storage.sync(&self.file, &self.path)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.storage.write_at(&self.file, &self.path, offset, bytes)
    }
}
