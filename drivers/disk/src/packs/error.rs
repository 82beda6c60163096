//! Why a fragment was not kept or not found, with the numbers; and what has gone, as data.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{FRAGMENT_BYTES_MAX, HEADS_OF_LEASE_MAX, HeadError};
use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, LeaseId, Time};
use thiserror::Error;

/// Why a fragment was not kept or not found. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, Clone, Error)]
pub enum PackError {
    /// Empty, or longer than any fragment.
    #[error("{length} bytes are no fragment: it has 1 to {FRAGMENT_BYTES_MAX}")]
    Length {
        /// Its length.
        length: u64,
    },
    /// The bytes are not those of the GUID.
    #[error("the bytes for {wanted} are those of {got}")]
    WrongBytes {
        /// What should have come.
        wanted: Guid,
        /// What came.
        got: Guid,
    },
    /// Nobody has said that there is such a lease.
    #[error("lease {lease} is not known here: present its grant")]
    Lease {
        /// Which.
        lease: LeaseId,
    },
    /// The lease has ended.
    #[error("lease {lease} ended at {until}: renew it")]
    Ended {
        /// Which.
        lease: LeaseId,
        /// When.
        until: Time,
    },
    /// The lease has no room for it.
    #[error("{wanted} do not fit lease {lease}: {used} of {bytes} are used")]
    LeaseFull {
        /// Which.
        lease: LeaseId,
        /// Length of the fragment.
        wanted: Bytes,
        /// What is kept under it.
        used: Bytes,
        /// What was granted.
        bytes: Bytes,
    },
    /// The shelf may not hold so much.
    #[error("{wanted} do not fit: the fragments have {used} of {quota} allowed")]
    Quota {
        /// What it needs on disk.
        wanted: Bytes,
        /// In use.
        used: Bytes,
        /// The limit.
        quota: Bytes,
    },
    /// The disk would have less free space than its owner wants to keep.
    #[error(
        "{wanted} do not fit: {free} are free at {} and {floor} must stay free", dir.display()
    )]
    Floor {
        /// What it needs on disk.
        wanted: Bytes,
        /// Free space.
        free: Bytes,
        /// What must stay free.
        floor: Bytes,
        /// The shelf.
        dir: PathBuf,
    },
    /// More than there may be of something.
    #[error("there are {max} {what}, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        max: usize,
    },
    /// It is not here.
    #[error("fragment {id} is not here")]
    Missing {
        /// Which.
        id: Guid,
    },
    /// It was damaged on disk, and is not here any more; it is reported as [`Gone`].
    #[error("fragment {id} was damaged on disk and has been given up")]
    Damaged {
        /// Which.
        id: Guid,
    },
    /// It is no head.
    #[error("what should be a head is none")]
    Head(#[source] HeadError),
    /// The lease has as many heads as it may have.
    #[error("lease {lease} has {HEADS_OF_LEASE_MAX} heads, which is the most")]
    HeadsFull {
        /// Which.
        lease: LeaseId,
    },
    /// The newest head of a key was damaged on disk: it may be that none or an older one is left.
    #[error("the newest head of {key} was damaged on disk")]
    HeadDamaged {
        /// Whose.
        key: PublicKey,
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
        source: Arc<io::Error>,
    },
    /// The index failed. It is opened again when something is next written.
    #[error("the index of fragments failed")]
    Index(#[source] Arc<redb::Error>),
}

impl PackError {
    /// What a peer is told of it: enough to know what to do, and nothing of the host's disk.
    #[must_use]
    pub fn refusal(&self) -> FragmentRefusal {
        match self {
            Self::Length { .. } => FragmentRefusal::Length,
            Self::WrongBytes { got, .. } => FragmentRefusal::WrongBytes(*got),
            Self::Lease { .. } | Self::Ended { .. } => FragmentRefusal::Lease,
            Self::LeaseFull { .. } => FragmentRefusal::LeaseFull,
            Self::Quota { .. } | Self::Floor { .. } | Self::TooMany { .. } => {
                FragmentRefusal::HostFull
            }
            Self::Disk { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    FragmentRefusal::HostFull
                }
                _ => FragmentRefusal::Failed,
            },
            Self::Head(why) => FragmentRefusal::Head(why.to_string()),
            Self::HeadsFull { .. } => FragmentRefusal::HeadsFull,
            Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::HeadDamaged { .. }
            | Self::Index(_) => FragmentRefusal::Failed,
        }
    }
}

/// The operating system's refusal.
pub(super) fn refused(what: &'static str, path: &Path, source: io::Error) -> PackError {
    PackError::Disk { what, path: path.into(), source: Arc::new(source) }
}

/// Whether the disk has lost what should be there, rather than refused.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

macro_rules! failures_of_the_index {
    ($($error:ty),*) => {$(
        impl From<$error> for PackError {
            fn from(error: $error) -> Self {
                Self::Index(Arc::new(error.into()))
            }
        }
    )*};
}

failures_of_the_index!(
    redb::Error,
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// A fragment that was promised and is not here any more: for the complex to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Which.
    pub id: Guid,
    /// Under which lease.
    pub lease: LeaseId,
    /// Its length in bytes.
    pub length: u32,
    /// Why.
    pub why: Why,
}

/// Why a fragment has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its bytes on disk are not its own any more.
    Damaged,
    /// Its owner wanted the room, and it could be spared: a cached copy, or one too many.
    Room,
    /// Its pack was given up: for the room, or because the file was not there.
    Pack,
}
