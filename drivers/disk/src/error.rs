//! Why an object was not kept or not found: with the numbers, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use isos_base::{Bytes, Guid};
use thiserror::Error;

/// Why an object was not kept or not found. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, Error)]
pub enum ShelfError {
    /// The shelf may not hold so much.
    #[error(
        "an object of {wanted} does not fit: the shelf holds {used} of {quota} allowed; raise the \
         disk limit or remove objects"
    )]
    Quota {
        /// Size of the object.
        wanted: Bytes,
        /// In use, with what is being written.
        used: Bytes,
        /// The limit.
        quota: Bytes,
    },
    /// The disk would have less free space than its owner wants to keep.
    #[error(
        "an object of {wanted} does not fit: {free} are free at {} and {floor} must stay free; \
         free some space or lower the floor",
        dir.display()
    )]
    Floor {
        /// Size of the object.
        wanted: Bytes,
        /// Free space, without what is promised to objects being written.
        free: Bytes,
        /// What must stay free.
        floor: Bytes,
        /// The shelf.
        dir: PathBuf,
    },
    /// The disk has no room.
    #[error(
        "the disk is full: an object of {wanted} does not fit into {free} at {}; free some space \
         or move the home to another disk",
        dir.display()
    )]
    DiskFull {
        /// Size of the object.
        wanted: Bytes,
        /// Free space, without what is promised to objects being written.
        free: Bytes,
        /// The shelf.
        dir: PathBuf,
    },
    /// An object beyond the limit of the caller or of ISOS.
    #[error("an object of {size} is too large: the limit here is {max}")]
    TooLarge {
        /// Its size.
        size: Bytes,
        /// The limit.
        max: Bytes,
    },
    /// The bytes are not those of the GUID. They were dropped.
    #[error("the bytes received for {wanted} are those of {got}: they were dropped")]
    WrongBytes {
        /// What should have come.
        wanted: Guid,
        /// What came.
        got: Guid,
    },
    /// More or fewer bytes than announced. They were dropped.
    #[error("an object of {wanted} bytes was announced, but {got} bytes came: they were dropped")]
    WrongSize {
        /// What was announced.
        wanted: u64,
        /// What came: when more came, what there was up to the piece that was too much.
        got: u64,
    },
    /// It is not here.
    #[error("object {guid} is not on the shelf")]
    Missing {
        /// Which.
        guid: Guid,
    },
    /// It was damaged on disk, and has been removed: it is not here any more.
    #[error("object {guid} was damaged on disk and has been removed: fetch it again")]
    Damaged {
        /// Which.
        guid: Guid,
    },
    /// Somebody uses it.
    #[error("object {guid} is in use")]
    Pinned {
        /// Which.
        guid: Guid,
    },
    /// A path that is not relative and plain.
    #[error("path {path:?} must be relative, without '..' or empty parts")]
    Path {
        /// The offending path.
        path: String,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The operating system's refusal.
pub(crate) fn error(what: &'static str, path: &Path, source: io::Error) -> ShelfError {
    ShelfError::Disk { what, path: path.into(), source }
}
