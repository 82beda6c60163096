//! What is done so far, what went wrong with single files, and who is told.

use std::fmt;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::entry::shown;
use crate::limits::PROBLEMS_MAX;

/// Counts of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Ordinary files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Links, pipes, devices.
    pub others: u64,
    /// Bytes of all files, holes and all names of one file counted.
    pub bytes: u64,
    /// Files that were as in the snapshot before and were not read.
    pub unchanged: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes of chunks that were not stored before.
    pub new: u64,
    /// Bytes of segments that were stored, before they were coded.
    pub stored: u64,
    /// Segments that were stored.
    pub segments: u64,
    /// Files of which something is missing.
    pub lost: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// Counts.
    pub stats: &'a Stats,
    /// The path that is looked at.
    pub path: &'a [u8],
}

/// What went wrong with one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It cannot be read; it is not in the snapshot, or without its entries.
    Unreadable,
    /// It was read while somebody wrote it: what was kept may be of two minds.
    Changed,
    /// It was gone before it was read. Nothing is missing.
    Vanished,
    /// A socket. It means nothing without its program and is not kept.
    Socket,
    /// Something of it cannot be kept: the rest is.
    NotKept,
    /// It cannot be written or made where it is restored to.
    NotRestored,
    /// Its owner, mode, times or attributes cannot be set; its contents are right.
    NotSet,
    /// Something else is there already.
    InTheWay,
    /// Its bytes are not those that were kept, or cannot be fetched.
    Damaged,
}

/// Something that went wrong with one file, while everything else goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub path: Vec<u8>,
    /// What.
    pub trouble: Trouble,
    /// More about it.
    pub why: String,
}

/// Is told how far it is.
pub trait Observer {
    /// Called for each entry, and for each chunk of a large file. `Break` ends the operation.
    fn progress(&mut self, done: &Done<'_>) -> ControlFlow<()> {
        let _ = done;
        ControlFlow::Continue(())
    }

    /// Something went wrong with one file.
    fn problem(&mut self, problem: &Problem) {
        let _ = problem;
    }
}

/// Wants to know nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}

/// All that went wrong: each as long as they are not too many, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    /// The first of them.
    pub first: Vec<Problem>,
    /// All of them.
    pub count: u64,
    /// Those of which something is missing.
    pub lost: u64,
}

impl Trouble {
    /// Whether something is missing because of it: then the whole is partial.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        match self {
            Self::Unreadable
            | Self::NotKept
            | Self::NotRestored
            | Self::NotSet
            | Self::InTheWay
            | Self::Damaged => true,
            Self::Changed | Self::Vanished | Self::Socket => false,
        }
    }
}

impl Problems {
    /// Whether something is missing.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.lost > 0
    }

    pub(crate) fn add(&mut self, problem: Problem, observer: &mut dyn Observer) {
        observer.problem(&problem);
        self.count += 1;
        self.lost += u64::from(problem.trouble.is_loss());
        if self.first.len() < PROBLEMS_MAX {
            self.first.push(problem);
        }
    }
}

impl Problem {
    pub(crate) fn new(path: &[u8], trouble: Trouble, why: impl fmt::Display) -> Self {
        Self { path: path.to_vec(), trouble, why: why.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.trouble {
            Trouble::Unreadable => "cannot be read",
            Trouble::Changed => "changed while it was read",
            Trouble::Vanished => "was gone before it was read",
            Trouble::Socket => "is a socket, which is not kept",
            Trouble::NotKept => "is kept in part",
            Trouble::NotRestored => "cannot be restored",
            Trouble::NotSet => "is restored, but not all that it had",
            Trouble::InTheWay => "is not restored: something else is there",
            Trouble::Damaged => "is damaged",
        };
        write!(f, "/{} {what}", shown(&self.path))?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}
