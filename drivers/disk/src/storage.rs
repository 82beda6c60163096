//! The steps that change a disk, each alone, so that tests can crash between any two of them.
//!
//! Not a file system abstraction: reading and listing go straight to `std::fs`.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use isos_base::Bytes;

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this user may still write: without the blocks reserved for root.
    pub free: Bytes,
    /// The size of the file system.
    pub total: Bytes,
}

/// Room on the file system that holds `path`, by `statvfs`.
///
/// # Errors
/// The path does not exist, or cannot be reached.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.f_frsize));
    Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
}

/// One step each. A step has happened, wholly or not at all, when it returns; what survives a power
/// cut is what was synced.
pub(crate) trait Storage: Debug + Send + Sync {
    /// Creates a file that only we can read; it must not exist.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Appends to the file, of which `path` is the name.
    fn write(&self, file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Opens a file for reading and writing, creating it if need be; only we can read it.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// Writes at a place of the file, of which `path` is the name.
    fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off, or fills it with zeros, to this length.
    fn set_len(&self, file: &File, path: &Path, length: u64) -> io::Result<()>;
    /// Makes the content of the file durable.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Makes the file read-only, for us too.
    fn seal(&self, file: &File) -> io::Result<()>;
    /// Moves a file over whatever had the name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder and its parents, 0700; nothing to do if it is there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// Creates a folder with its parents so that they outlive a power cut. One that is there is taken
/// to be durable.
pub(crate) fn create_durably(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_durably(storage, parent)?;
    storage.create_folder(path)?;
    storage.sync_folder(parent)
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Disk;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, file: &mut File, _path: &Path, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
    }

    fn write_at(&self, file: &File, _path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn set_len(&self, file: &File, _path: &Path, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_all()
    }

    fn seal(&self, file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(0o444))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        space(path)
    }
}
