//! Looking into snapshots: what is in a folder of one, and what differs between two.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::entry::{Entry, Kind, Meta, shown};
use crate::error::BackupError;
use crate::snapshot::{Cursor, Snapshot};
use crate::transfer::{Segments, Source};
use crate::tree::{Visit, Visited, is_within, order, plain_path};

/// Shows what is at a path of a snapshot: a file, or what is in a folder, with all below it if
/// `deep`. The empty path is the root.
///
/// # Errors
/// [`BackupError::NotThere`] among others.
pub fn browse(
    snapshot: &mut Snapshot,
    path: &[u8],
    deep: bool,
    source: &mut dyn Source,
    take: &mut dyn FnMut(&Visited) -> ControlFlow<()>,
) -> Result<(), BackupError> {
    let path = plain_path(path);
    let mut segments = Segments::new(source);
    let mut cursor = snapshot.walk();
    let mut was_there = path.is_empty();
    while let Some(visit) = cursor.next(snapshot, &mut segments)? {
        let Visit::Entry(visited) = visit else { continue };
        let is_folder = visited.entry.is_folder();
        if !is_within(&visited.path, &path) {
            if was_there && !path.is_empty() {
                break;
            }
            if is_folder && !is_within(&path, &visited.path) {
                cursor.pass_over(snapshot, &mut segments)?;
            }
            continue;
        }
        was_there = true;
        // Of a folder, its entries are asked for.
        if visited.path == path && is_folder {
            continue;
        }
        if take(&visited).is_break() {
            return Ok(());
        }
        if is_folder && !deep {
            cursor.pass_over(snapshot, &mut segments)?;
        }
    }
    if was_there { Ok(()) } else { Err(BackupError::NotThere(shown(&path))) }
}

/// How a path differs between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is in the second only.
    Added(Box<Visited>),
    /// It is in the first only.
    Removed(Box<Visited>),
    /// It is something else, or has other contents: before and after.
    Changed(Box<Visited>, Box<Visited>),
    /// Contents are the same; owner, mode, time or attributes are not: before and after.
    Metadata(Box<Visited>, Box<Visited>),
}

/// Shows all that differs between two snapshots, in the order of trees. Folders above what was kept
/// are there for their names only: that their times differ is not shown.
///
/// # Errors
/// [`BackupError`].
pub fn diff(
    (first, second): (&mut Snapshot, &mut Snapshot),
    source: &mut dyn Source,
    take: &mut dyn FnMut(Change) -> ControlFlow<()>,
) -> Result<(), BackupError> {
    let mut segments = Segments::new(source);
    let paths: Vec<Vec<u8>> = second.head().paths.iter().map(|path| plain_path(path)).collect();
    let is_above = |folder: &[u8]| {
        paths.iter().any(|path| path.len() > folder.len() && is_within(path, folder))
    };
    let mut before = Side::new(first, &mut segments)?;
    let mut after = Side::new(second, &mut segments)?;
    loop {
        let side = match (&before.next, &after.next) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => order(&before.path, &after.path),
        };
        let (was, is) = match side {
            Ordering::Less => (before.take(&mut segments)?, None),
            Ordering::Greater => (None, after.take(&mut segments)?),
            Ordering::Equal => (before.take(&mut segments)?, after.take(&mut segments)?),
        };
        let change = match (was, is) {
            (Some(was), None) => Change::Removed(was),
            (None, Some(is)) => Change::Added(is),
            (Some(was), Some(is)) if was.entry.kind != is.entry.kind => Change::Changed(was, is),
            (Some(was), Some(is)) if !is_alike(&was.entry, &is.entry) && !is_above(&is.path) => {
                Change::Metadata(was, is)
            }
            _ => continue,
        };
        if take(change).is_break() {
            return Ok(());
        }
    }
}

/// Whether all is the same that a restore would bring back.
fn is_alike(was: &Entry, is: &Entry) -> bool {
    let alike = |meta: &Meta| Meta {
        ctime: crate::entry::Stamp::default(),
        inode: 0,
        shared: None,
        ..meta.clone()
    };
    alike(&was.meta) == alike(&is.meta)
}

/// A snapshot that is walked over beside another.
struct Side<'a> {
    snapshot: &'a mut Snapshot,
    cursor: Cursor,
    next: Option<Box<Visited>>,
}

impl<'a> Side<'a> {
    fn new(snapshot: &'a mut Snapshot, segments: &mut Segments<'_>) -> Result<Self, BackupError> {
        let cursor = snapshot.walk();
        let mut side = Self { snapshot, cursor, next: None };
        side.take(segments)?;
        Ok(side)
    }

    fn take(&mut self, segments: &mut Segments<'_>) -> Result<Option<Box<Visited>>, BackupError> {
        let taken = self.next.take();
        while let Some(visit) = self.cursor.next(self.snapshot, segments)? {
            if let Visit::Entry(visited) = visit {
                self.next = Some(visited);
                break;
            }
        }
        Ok(taken)
    }
}

/// The letter by which people know a kind of file.
#[must_use]
pub const fn letter(kind: &Kind) -> char {
    match kind {
        Kind::File { .. } => '-',
        Kind::Folder => 'd',
        Kind::Link { .. } => 'l',
        Kind::Fifo => 'p',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
    }
}
