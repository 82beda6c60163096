//! One entry of a tree: everything about a file but its bytes.
//!
//! ```text
//! tree   = frame ..            frame = length: u32 | Stored
//! record = Entry | Up          an Entry that is a folder is followed by its own, and an Up
//! ```
//!
//! Entries of a folder come in the order of the bytes of their names. No entry says where it is, or
//! where its contents lie: contents are named by their chunks. So a folder that has not changed is
//! the same bytes in every snapshot, wherever it was moved to, and is stored once.

use std::fmt;

use isos_base::codec::{self, FRAME_HEAD_BYTES};
use isos_store::key::ChunkId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{
    ENTRY_BYTES_MAX, LINK_BYTES_MAX, NAME_BYTES_MAX, OWNER_BYTES_MAX, SPANS_MAX, XATTRS_BYTES_MAX,
    XATTRS_MAX,
};

/// A file of any kind, in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name: bytes, not always text.
    pub name: Vec<u8>,
    /// Whose, how old, and so on.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// What files of all kinds have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meta {
    /// The twelve bits of permissions.
    pub mode: u16,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name, if it had one.
    pub user: String,
    /// Group's name, if it had one.
    pub group: String,
    /// Last change of the contents.
    pub mtime: Stamp,
    /// Last change of anything. Not restored: it shows that a file did not change.
    pub ctime: Stamp,
    /// The file's number in its file system, for the same end.
    pub inode: u64,
    /// If it has several names: which file system of the snapshot its number is of.
    pub shared: Option<u32>,
    /// Extended attributes, by name; lists of access rights are among them.
    pub xattrs: Vec<Xattr>,
}

/// A moment, as file systems have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// Seconds since 1970; negative before.
    pub secs: i64,
    /// Below a billion.
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    /// With its namespace.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// An ordinary file.
    File {
        /// Its bytes, holes counted.
        size: u64,
        /// What they are, in order; together as long as the size.
        spans: Vec<Span>,
    },
    /// A folder. Its entries follow, then [`Record::Up`].
    Folder,
    /// A symbolic link.
    Link {
        /// Where it leads, as it was written.
        target: Vec<u8>,
    },
    /// A pipe with a name.
    Fifo,
    /// A device of characters.
    CharDevice {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// A device of blocks.
    BlockDevice {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
}

/// A stretch of a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// Chunks, by the names under which their owner finds them ([`ChunkId`]).
    Data(Vec<[u8; 32]>),
    /// So many bytes that are zero and take no room.
    Hole(u64),
}

/// What a tree is a list of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// An entry.
    Entry(Entry),
    /// The folder is complete.
    Up,
}

/// All versions of a record that were ever stored.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(Record),
}

/// Why bytes are no part of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    /// Too long, or of another version.
    #[error("not an entry of a version that this isos knows")]
    Decode(#[from] codec::DecodeError),
    /// A name that could lead out of its folder, or be none.
    #[error("{0:?} is no name of a file")]
    Name(String),
    /// Something in it is too long, or cannot be.
    #[error("the entry {name:?} cannot be: {what}")]
    Bad {
        /// Which.
        name: String,
        /// What of it.
        what: &'static str,
    },
}

impl Entry {
    /// Whether it is a folder.
    #[must_use]
    pub const fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder)
    }

    /// The bytes of a file; none of anything else.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match &self.kind {
            Kind::File { size, .. } => *size,
            _ => 0,
        }
    }

    /// The names of a file's chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        let spans: &[Span] = match &self.kind {
            Kind::File { spans, .. } => spans,
            _ => &[],
        };
        let data = spans.iter().filter_map(|span| match span {
            Span::Data(chunks) => Some(chunks.as_slice()),
            Span::Hole(_) => None,
        });
        data.flatten().map(|id| ChunkId(*id))
    }

    /// Whether a file system may be asked for it: anybody may have written it.
    ///
    /// # Errors
    /// What cannot be.
    pub fn check(&self) -> Result<(), EntryError> {
        check_name(&self.name)?;
        let bad = |what| Err(EntryError::Bad { name: shown(&self.name), what });
        let Meta { mode, user, group, mtime, ctime, xattrs, .. } = &self.meta;
        if *mode > 0o7777 {
            return bad("more bits of permission than there are");
        }
        if user.len().max(group.len()) > OWNER_BYTES_MAX {
            return bad("the name of an owner is too long");
        }
        if mtime.nanos.max(ctime.nanos) >= 1_000_000_000 {
            return bad("a second has a billion nanoseconds");
        }
        let bytes: usize = xattrs.iter().map(|it| it.name.len() + it.value.len()).sum();
        let named = |it: &Xattr| !it.name.is_empty() && !it.name.contains(&0);
        if xattrs.len() > XATTRS_MAX || bytes > XATTRS_BYTES_MAX || !xattrs.iter().all(named) {
            return bad("its extended attributes are too many, too long, or without a name");
        }
        match &self.kind {
            Kind::File { size, spans } => {
                let holes = spans.iter().try_fold(0_u64, |sum, span| match span {
                    Span::Hole(length) => sum.checked_add(*length),
                    Span::Data(_) => Some(sum),
                });
                if spans.len() > SPANS_MAX || holes.is_none_or(|holes| holes > *size) {
                    return bad("its holes are too many, or larger than the file");
                }
                if i64::try_from(*size).is_err() {
                    return bad("it is larger than files can be");
                }
            }
            Kind::Link { target } => {
                let length = target.len();
                if length == 0 || length > LINK_BYTES_MAX || target.contains(&0) {
                    return bad("the link leads nowhere, or too far");
                }
            }
            Kind::Folder | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(chunks) => write!(f, "Data({} chunks)", chunks.len()),
            Self::Hole(length) => write!(f, "Hole({length})"),
        }
    }
}

/// Whether this is the name of one entry of a folder and nothing else.
///
/// # Errors
/// [`EntryError::Name`].
pub fn check_name(name: &[u8]) -> Result<(), EntryError> {
    let is_plain = !name.is_empty()
        && name != b"."
        && name != b".."
        && name.len() <= NAME_BYTES_MAX
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if is_plain { Ok(()) } else { Err(EntryError::Name(shown(name))) }
}

/// A name for people: as text, as far as it is.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).into_owned()
}

/// Appends a record to the bytes of a tree.
pub fn put(record: Record, bytes: &mut Vec<u8>) {
    codec::put_frame(&Stored::V1(record), bytes);
}

/// The record with which these bytes begin, and how long it is; nothing if more bytes are needed.
///
/// # Errors
/// [`EntryError`], for whatever cannot be in a tree.
pub fn take(bytes: &[u8]) -> Result<Option<(Record, usize)>, EntryError> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(None);
    };
    let length = codec::frame_length(*head, ENTRY_BYTES_MAX)?;
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let Stored::V1(record) = codec::decode(body)?;
    if let Record::Entry(entry) = &record {
        entry.check()?;
    }
    Ok(Some((record, FRAME_HEAD_BYTES + length)))
}
