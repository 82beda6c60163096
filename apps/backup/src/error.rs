//! Why a snapshot is not made or not read.

use std::path::PathBuf;

use isos_base::{Guid, codec};
use isos_store::manifest::ManifestError;
use isos_store::object::{ReadError, WriteError};
use isos_store::pack::UnpackError;
use thiserror::Error;

use crate::catalogue::CatalogueError;
use crate::transfer::Failure;
use crate::tree::TreeError;

/// Why an operation ended. Single files that cannot be read or written do not end one: they are
/// [`Problem`](crate::progress::Problem)s.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The one who watches wanted it.
    #[error("stopped")]
    Stopped,
    /// A folder that should be kept is not there.
    #[error("cannot read {0}")]
    Path(PathBuf, #[source] std::io::Error),
    /// A path that should be kept is not absolute, or one too many.
    #[error("{0} must be an absolute path, without \"..\", and one of at most 1,024")]
    Relative(PathBuf),
    /// A file of patterns, or a pattern.
    #[error("the pattern {0:?} cannot be understood")]
    Pattern(String, #[source] ignore::Error),
    /// A file of patterns that cannot be read.
    #[error("cannot read the patterns in {0}")]
    Patterns(PathBuf, #[source] std::io::Error),
    /// Too much for one snapshot.
    #[error("too much for one snapshot ({0}): split the folder")]
    TooMuch(&'static str),
    /// An object cannot be made.
    #[error("cannot make an object")]
    Write(#[from] WriteError),
    /// A segment or an object was not taken.
    #[error("cannot store")]
    Sink(#[source] Failure),
    /// A segment or a manifest was not given.
    #[error("cannot fetch")]
    Source(#[source] Failure),
    /// What was fetched is no such object.
    #[error("what was fetched for object {0} is not it")]
    Manifest(Guid, #[source] ManifestError),
    /// An object does not open.
    #[error("cannot open an object")]
    Read(#[from] ReadError),
    /// A chunk does not open.
    #[error("cannot open a chunk")]
    Chunk(#[from] UnpackError),
    /// An object that is no snapshot, or a later version's.
    #[error("the object is not a snapshot of a version that this isos knows")]
    NotASnapshot(#[source] Option<codec::DecodeError>),
    /// An object whose head says what cannot be.
    #[error("the snapshot cannot be: {0}")]
    Head(&'static str),
    /// Its tree does not hold together.
    #[error("the tree of the snapshot is damaged")]
    Tree(#[from] TreeError),
    /// A catalogue that is none.
    #[error("the list of snapshots cannot be read")]
    Catalogue(#[source] CatalogueError),
    /// There is nothing of this name in the snapshot.
    #[error("{0:?} is not in the snapshot")]
    NotThere(String),
    /// The folder to restore to.
    #[error("cannot restore to {0}")]
    Target(PathBuf, #[source] std::io::Error),
}
