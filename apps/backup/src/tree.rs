//! A tree, read from its beginning: where each entry is, and that the whole holds together.

use std::cmp::Ordering;

use thiserror::Error;

use crate::entry::{Entry, EntryError, Record, put, shown, take};
use crate::limits::DEPTH_MAX;

/// What comes next in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visit {
    /// An entry.
    Entry(Box<Visited>),
    /// The folder that was entered last is complete.
    Up,
}

/// An entry and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// From the root of the snapshot, parted by `/`, without one in front.
    pub path: Vec<u8>,
    /// What is there.
    pub entry: Entry,
}

/// Why a tree cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// An entry that cannot be.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Two of one name, or not in order: then what is where would depend on who reads.
    #[error("the entries of {0:?} are not in order")]
    Order(String),
    /// A folder ends that did not begin.
    #[error("a folder ends that has not begun")]
    Up,
    /// Too deep.
    #[error("folders within folders, more than {DEPTH_MAX} deep")]
    Depth,
    /// It ends too soon.
    #[error("the tree ends in the middle")]
    End,
}

/// Knows where in a tree the next record belongs.
#[derive(Debug, Default)]
pub struct Trail {
    path: Vec<u8>,
    /// For each folder that is open: how long its path is, and the last name in it.
    open: Vec<(usize, Vec<u8>)>,
    last: Vec<u8>,
}

/// Reads a tree from pieces of its bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    at: usize,
    trail: Trail,
}

impl Trail {
    /// Where this record is.
    ///
    /// # Errors
    /// [`TreeError`], if it cannot come here.
    pub fn step(&mut self, record: Record) -> Result<Visit, TreeError> {
        let entry = match record {
            Record::Up => {
                let (parent, last) = self.open.pop().ok_or(TreeError::Up)?;
                self.path.truncate(parent);
                self.last = last;
                return Ok(Visit::Up);
            }
            Record::Entry(entry) => entry,
        };
        if entry.name <= self.last {
            return Err(TreeError::Order(shown(&self.path)));
        }
        let parent = self.path.len();
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        if entry.is_folder() {
            if self.open.len() == DEPTH_MAX {
                return Err(TreeError::Depth);
            }
            self.open.push((parent, entry.name.clone()));
            self.last = Vec::new();
            self.path.clone_from(&path);
        } else {
            self.last.clone_from(&entry.name);
        }
        Ok(Visit::Entry(Box::new(Visited { path, entry })))
    }

    /// Whether a tree may end here.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.open.is_empty()
    }
}

impl Decoder {
    /// Takes the next bytes of the tree.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What comes next; nothing if more bytes are needed.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn visit(&mut self) -> Result<Option<Visit>, TreeError> {
        let Some((record, length)) = take(&self.bytes[self.at..])? else { return Ok(None) };
        self.at += length;
        self.trail.step(record).map(Some)
    }

    /// There are no more bytes.
    ///
    /// # Errors
    /// [`TreeError::End`].
    pub fn end(&self) -> Result<(), TreeError> {
        let is_whole = self.at == self.bytes.len() && self.trail.is_complete();
        if is_whole { Ok(()) } else { Err(TreeError::End) }
    }
}

/// Appends what was visited, as it is in a tree.
pub fn put_visit(visit: &Visit, bytes: &mut Vec<u8>) {
    match visit {
        Visit::Entry(visited) => put(Record::Entry(visited.entry.clone()), bytes),
        Visit::Up => put(Record::Up, bytes),
    }
}

/// Which of two paths comes first in a tree: names count one by one, so `a/b` is before `a-b`.
#[must_use]
pub fn order(left: &[u8], right: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    left.iter().map(key).cmp(right.iter().map(key))
}

/// Whether `path` is this folder or lies in it. The empty path is the root.
#[must_use]
pub fn is_within(path: &[u8], folder: &[u8]) -> bool {
    let rest = path.strip_prefix(folder);
    folder.is_empty() || rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
}

/// A path as trees have it: names parted by one `/`.
#[must_use]
pub fn plain_path(path: &[u8]) -> Vec<u8> {
    let names = path.split(|byte| *byte == b'/').filter(|it| !it.is_empty() && *it != b".");
    names.collect::<Vec<_>>().join(&b'/')
}
