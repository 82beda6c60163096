//! A snapshot becomes files again.
//!
//! What is in a tree may have been written by anybody, so nothing in it is trusted to stay where
//! it belongs: each folder is opened beside the one that it is in, links are made and never
//! followed, and names were checked when the tree was read. What cannot be restored is said; the
//! rest goes on.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use isos_store::key::ChunkId;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::chunks::Chunks;
use crate::entry::{Entry, Kind, Span, shown};
use crate::error::BackupError;
use crate::exclude::{Patterns, Rules};
use crate::limits::CACHED_SEGMENTS;
use crate::look::{look_at, open_folder};
use crate::place::{Made, Overwrite, Placer};
use crate::progress::{Done, Observer, Problem, Problems, Stats, Trouble};
use crate::snapshot::Snapshot;
use crate::transfer::{Segments, Source};
use crate::tree::{Visit, Visited, is_within, plain_path};

/// Entries that are looked at before the source is told what they need.
const BATCH: usize = 512;
/// Segments that the source is told of at a time.
const AHEAD: usize = CACHED_SEGMENTS / 2;
/// Chunks of one file between two such words.
const WINDOW: usize = 32;

/// What to restore, and where.
#[derive(Debug, Clone, Default)]
pub struct RestorePlan {
    /// The folder to restore to. It is made if it is not there.
    pub target: PathBuf,
    /// The folder or file in the snapshot that is restored, without the folders above it. Empty for
    /// all, under their whole paths.
    pub from: Vec<u8>,
    /// Patterns of what is restored, as in `.gitignore`; none for everything.
    pub include: Vec<String>,
    /// Patterns of what is not.
    pub exclude: Vec<String>,
    /// What becomes of files that are there.
    pub overwrite: Overwrite,
    /// Whether nothing is written, only counted.
    pub dry_run: bool,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// Counts of what was written. `unchanged` are files that were there already.
    pub stats: Stats,
    /// Files that were left because something is there.
    pub skipped: u64,
    /// What went wrong with single files.
    pub problems: Problems,
}

/// Restores a snapshot, or a part of it.
///
/// # Errors
/// [`BackupError`], if there is nothing to go on with. Single files that cannot be restored are
/// problems and no errors.
pub fn restore(
    snapshot: &mut Snapshot,
    plan: &RestorePlan,
    source: &mut dyn Source,
    observer: &mut dyn Observer,
) -> Result<Restored, BackupError> {
    let mut segments = Segments::new(source);
    let chunks = Chunks::open(snapshot.head(), &mut segments)?;
    let patterns =
        |lines: &[String]| Patterns::new(&Rules { patterns: lines.to_vec(), ..Rules::default() });
    let base = target(&plan.target, plan.dry_run)?;
    let mut restorer = Restorer {
        chunks,
        include: patterns(&plan.include)?,
        exclude: patterns(&plan.exclude)?,
        placer: Placer::new(plan.overwrite),
        base,
        levels: Vec::new(),
        shared: BTreeMap::new(),
        restored: Restored::default(),
        dry_run: plan.dry_run,
        observer,
    };
    let from = plain_path(&plan.from);
    let (mut cursor, mut batch, mut was_there) = (snapshot.walk(), Vec::new(), from.is_empty());
    loop {
        let visit = cursor.next(snapshot, &mut segments)?;
        let is_end = visit.is_none();
        match visit {
            Some(Visit::Entry(visited)) => {
                if is_within(&visited.path, &from) {
                    was_there = true;
                    batch.push(Step::Entry(visited));
                } else if visited.entry.is_folder() && !is_within(&from, &visited.path) {
                    cursor.pass_over(snapshot, &mut segments)?;
                }
            }
            Some(Visit::Up) => batch.push(Step::Up),
            None => {}
        }
        if is_end || batch.len() == BATCH {
            restorer.ahead(&batch, &mut segments);
            for step in batch.drain(..) {
                restorer.step(step, &from, &mut segments)?;
            }
        }
        if is_end {
            break;
        }
    }
    if was_there { Ok(restorer.restored) } else { Err(BackupError::NotThere(shown(&from))) }
}

enum Step {
    Entry(Box<Visited>),
    Up,
}

/// A folder that is being restored.
struct Level {
    path: Vec<u8>,
    entry: Entry,
    name: CString,
    state: State,
    /// Whether all in it is wanted because it is itself.
    is_wanted: bool,
}

enum State {
    /// Nothing in it was wanted so far.
    Waiting,
    /// It is there; whether it was made.
    Open(OwnedFd, bool),
    /// It would be made.
    Imagined,
    /// It cannot be made, and nothing in it.
    Failed,
}

struct Restorer<'o> {
    chunks: Chunks,
    include: Patterns,
    exclude: Patterns,
    placer: Placer,
    /// Nothing, if it is not there and nothing is written.
    base: Option<OwnedFd>,
    levels: Vec<Level>,
    /// Files with several names, and the first name that was restored: from the target.
    shared: BTreeMap<(u32, u64), Vec<CString>>,
    restored: Restored,
    dry_run: bool,
    observer: &'o mut dyn Observer,
}

impl Restorer<'_> {
    fn ahead(&self, batch: &[Step], segments: &mut Segments<'_>) {
        let entries = batch.iter().filter_map(|step| match step {
            Step::Entry(visited) => Some(visited.entry.chunks()),
            Step::Up => None,
        });
        self.chunks.soon(entries.flatten(), AHEAD, segments);
    }

    fn step(
        &mut self,
        step: Step,
        from: &[u8],
        segments: &mut Segments<'_>,
    ) -> Result<(), BackupError> {
        let Visited { path, entry } = match step {
            Step::Up => {
                // Without one, it is a folder above what is restored.
                if let Some(level) = self.levels.pop() {
                    self.complete(level);
                }
                return Ok(());
            }
            Step::Entry(visited) => *visited,
        };
        let done = Done { stats: &self.restored.stats, path: &path };
        if self.observer.progress(&done) == ControlFlow::Break(()) {
            return Err(BackupError::Stopped);
        }
        // The folder from which all is restored is the target itself.
        if entry.is_folder() && path == from && !from.is_empty() {
            return Ok(());
        }
        let is_folder = entry.is_folder();
        let is_out = self.exclude.decide(&path, is_folder) == Some(true)
            || self.levels.last().is_some_and(|level| matches!(level.state, State::Failed));
        let above = self.levels.last().map(|level| level.is_wanted);
        let is_wanted = above.unwrap_or_else(|| self.include.is_empty())
            || self.include.decide(&path, is_folder) == Some(true);
        let Ok(name) = CString::new(entry.name.clone()) else { return Ok(()) };
        if is_folder {
            let state = if is_out { State::Failed } else { State::Waiting };
            let is_wanted = is_wanted && !is_out;
            self.levels.push(Level { path, entry, name, state, is_wanted });
            if is_wanted {
                self.open(self.levels.len());
            }
            return Ok(());
        }
        if is_wanted && !is_out && self.open(self.levels.len()) {
            self.place(&path, &name, &entry, segments)?;
        }
        Ok(())
    }

    /// Makes the first so many folders, as far as they are not there; false if one cannot be.
    fn open(&mut self, depth: usize) -> bool {
        for at in 0..depth {
            if matches!(self.levels[at].state, State::Waiting) {
                let (state, problem) = self.make(at);
                self.levels[at].state = state;
                if let Some(problem) = problem {
                    self.restored.problems.add(problem, self.observer);
                } else {
                    self.restored.stats.folders += 1;
                }
            }
            if matches!(self.levels[at].state, State::Failed) {
                self.levels[at..depth].iter_mut().for_each(|level| level.state = State::Failed);
                return false;
            }
        }
        true
    }

    fn make(&self, at: usize) -> (State, Option<Problem>) {
        let level = &self.levels[at];
        let parent = match at.checked_sub(1).map(|at| &self.levels[at].state) {
            None => self.base.as_ref(),
            Some(State::Open(fd, _)) => Some(fd),
            Some(_) => None,
        };
        let Some(parent) = parent else { return (State::Imagined, None) };
        let failed = |trouble, error: Errno| {
            let problem = Problem::new(&level.path, trouble, std::io::Error::from(error));
            (State::Failed, Some(problem))
        };
        let is_made = if self.dry_run {
            match look_at(parent.as_fd(), &level.name) {
                Ok(look) if look.kind.is_dir() => false,
                _ => return (State::Imagined, None),
            }
        } else {
            match self.placer.make_folder(parent, &level.name) {
                Ok(is_made) => is_made,
                Err(Errno::EXIST) => return failed(Trouble::InTheWay, Errno::EXIST),
                Err(error) => return failed(Trouble::NotRestored, error),
            }
        };
        match open_folder(parent.as_fd(), &level.name) {
            Ok(fd) => (State::Open(fd, is_made), None),
            // A link that was put in its place.
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) => failed(Trouble::InTheWay, error),
            Err(error) => failed(Trouble::NotRestored, error),
        }
    }

    /// All in a folder was restored: now its times and rights.
    fn complete(&mut self, level: Level) {
        let State::Open(fd, is_made) = level.state else { return };
        if self.dry_run || !(is_made || self.placer.overwrites()) {
            return;
        }
        if let Err(why) = self.placer.set(&fd, &level.entry.meta) {
            self.problem(Problem::new(&level.path, Trouble::NotSet, why));
        }
    }

    fn place(
        &mut self,
        path: &[u8],
        name: &CString,
        entry: &Entry,
        segments: &mut Segments<'_>,
    ) -> Result<(), BackupError> {
        let parent = match self.levels.last().map(|level| &level.state) {
            None => self.base.as_ref(),
            Some(State::Open(fd, _)) => Some(fd),
            Some(_) => None,
        };
        let shared = entry.meta.shared.map(|device| (device, entry.meta.inode));
        let first = shared.and_then(|key| self.shared.get(&key));
        let made = match parent {
            _ if self.dry_run => self.placer.imagine(parent, name, entry),
            None => return Ok(()),
            Some(parent) => {
                let linked = first
                    .zip(self.base.as_ref())
                    .map(|(first, base)| self.placer.link(base, first, parent, name, entry));
                match (linked, &entry.kind) {
                    (Some(linked), _) => linked,
                    (None, Kind::File { size, spans }) => {
                        let (chunks, observer) = (&mut self.chunks, &mut *self.observer);
                        let stats = &self.restored.stats;
                        let mut fill = |file: &std::fs::File| {
                            let mut told = || {
                                let done = Done { stats, path };
                                observer.progress(&done) == ControlFlow::Break(())
                            };
                            fill(file, *size, spans, chunks, segments, &mut told)
                        };
                        self.placer.file(parent, name, entry, &mut fill)
                    }
                    (None, _) => self.placer.other(parent, name, entry),
                }
            }
        };
        let stats = &mut self.restored.stats;
        match made {
            Err(BackupError::Stopped) => return Err(BackupError::Stopped),
            Err(why) => {
                let trouble = match &why {
                    BackupError::Target(..) => Trouble::NotRestored,
                    _ => Trouble::Damaged,
                };
                self.problem(Problem::new(path, trouble, causes(&why)));
                return Ok(());
            }
            Ok(Made::Skipped) => self.restored.skipped += 1,
            Ok(Made::InTheWay) => {
                let why = "a folder is there";
                self.problem(Problem::new(path, Trouble::InTheWay, why));
                return Ok(());
            }
            Ok(Made::Unchanged) => {
                stats.unchanged += 1;
                self.remember(shared, name);
            }
            Ok(Made::Whole(not_set)) => {
                match entry.kind {
                    Kind::File { size, .. } => {
                        stats.files += 1;
                        stats.bytes += size;
                    }
                    _ => stats.others += 1,
                }
                if let Some(why) = not_set {
                    self.problem(Problem::new(path, Trouble::NotSet, why));
                }
                self.remember(shared, name);
            }
        }
        Ok(())
    }

    fn remember(&mut self, shared: Option<(u32, u64)>, name: &CString) {
        let Some(key) = shared else { return };
        if !self.shared.contains_key(&key) && self.shared.len() < crate::limits::SHARED_MAX {
            let folders = self.levels.iter().map(|level| level.name.clone());
            self.shared.insert(key, folders.chain([name.clone()]).collect());
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.restored.problems.add(problem, self.observer);
    }
}

/// The folder to restore to.
fn target(path: &Path, dry_run: bool) -> Result<Option<OwnedFd>, BackupError> {
    let failed = |error: std::io::Error| BackupError::Target(path.to_owned(), error);
    if !dry_run {
        std::fs::create_dir_all(path).map_err(failed)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) if dry_run => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}

/// Writes what is in a file; what is not written stays a hole.
fn fill(
    file: &std::fs::File,
    size: u64,
    spans: &[Span],
    chunks: &mut Chunks,
    segments: &mut Segments<'_>,
    is_stopped: &mut dyn FnMut() -> bool,
) -> Result<(), BackupError> {
    use std::os::unix::fs::FileExt;
    let failed = |error| BackupError::Target(PathBuf::new(), error);
    let length = |id: &[u8; 32]| chunks.length(&ChunkId(*id)).map(u64::from);
    let lengths = spans.iter().try_fold(0_u64, |sum, span| match span {
        Span::Hole(length) => sum.checked_add(*length),
        Span::Data(ids) => {
            ids.iter().try_fold(sum, |sum, id| length(id).and_then(|it| sum.checked_add(it)))
        }
    });
    if lengths != Some(size) {
        return Err(BackupError::Head("the chunks of a file are not as long as the file"));
    }
    if spans.iter().any(|span| matches!(span, Span::Hole(_))) {
        file.set_len(size).map_err(failed)?;
    }
    let (mut at, mut plain) = (0, Vec::new());
    for span in spans {
        let ids = match span {
            Span::Hole(length) => {
                at += length;
                continue;
            }
            Span::Data(ids) => ids,
        };
        for window in ids.chunks(WINDOW) {
            if ids.len() > 1 {
                chunks.soon(window.iter().map(|id| ChunkId(*id)), AHEAD, segments);
            }
            for id in window {
                plain.clear();
                chunks.read(&ChunkId(*id), segments, &mut plain)?;
                file.write_all_at(&plain, at).map_err(failed)?;
                at += plain.len() as u64;
                if is_stopped() {
                    return Err(BackupError::Stopped);
                }
            }
        }
    }
    Ok(())
}

/// An error with all that led to it, in one line.
pub(crate) fn causes(error: &BackupError) -> String {
    let mut text = match error {
        BackupError::Target(_, why) => return why.to_string(),
        other => other.to_string(),
    };
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
