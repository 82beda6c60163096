//! A file that comes home: written beside its place, and moved there when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use super::StoreError;

/// A file beside its place until it is whole; it goes when nobody finishes it.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: fs::File,
}

impl Part {
    /// A new file that nobody else has: no link is followed, nothing is overwritten.
    pub(super) fn new(place: &Path) -> Result<Self, StoreError> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(|error| {
            StoreError::InTheWay(format!("no randomness for the name of a file: {error}"))
        })?;
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}.isos-part", u64::from_le_bytes(number)));
        let path = place.with_file_name(name);
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(StoreError::file("create", &path))?;
        Ok(Self { path, file })
    }

    /// Moves it to its place.
    pub(super) fn finish(self, place: &Path, overwrite: bool) -> Result<(), StoreError> {
        let fail = StoreError::file("write", place);
        if overwrite {
            return fs::rename(&self.path, place).map_err(fail);
        }
        match fs::hard_link(&self.path, place) {
            Ok(()) => Ok(()),
            // Somebody was faster, and what he wrote stays.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(fail(error)),
            // Not every file system has links.
            Err(_) => fs::rename(&self.path, place).map_err(fail),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has been moved, or is of no use to anybody.
        let _ = fs::remove_file(&self.path);
    }
}
