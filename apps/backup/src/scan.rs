//! A walk over folders: what there is, in the order of trees, without what is left out.
//!
//! Each folder is opened beside the one that it is in, and links are never followed: what somebody
//! moves about meanwhile may be missed, but the walk does not leave its folders.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::BackupError;
use crate::exclude::{CACHE_SIGNATURE, CACHE_TAG, IGNORE_FILE, Patterns, Rules, text};
use crate::limits::{DEPTH_MAX, PATHS_MAX};
use crate::look::{Look, look_at, names, open_file, open_folder};
use crate::progress::{Problem, Trouble};
use crate::tree::{is_within, order, plain_path};

/// An entry that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    /// The open folder that it is in.
    pub(crate) folder: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a CStr,
    /// Where it is, from the root.
    pub(crate) path: &'a [u8],
    pub(crate) look: Look,
}

/// Is shown what there is.
pub(crate) trait Visitor {
    /// Something that is no folder.
    fn file(&mut self, found: &Found<'_>) -> Result<(), BackupError>;
    /// A folder, opened if it can be. What is in it follows, then [`Visitor::leave`].
    fn enter(&mut self, found: &Found<'_>, open: Option<&OwnedFd>) -> Result<(), BackupError>;
    /// The folder is complete.
    fn leave(&mut self) -> Result<(), BackupError>;
    /// Something that cannot be shown.
    fn problem(&mut self, problem: Problem) -> Result<(), BackupError>;
}

/// Walks.
pub(crate) struct Scan<'a> {
    patterns: Patterns,
    rules: &'a Rules,
    roots: Vec<Vec<u8>>,
    /// Of the folders that are open and have one.
    ignored: Vec<Patterns>,
}

/// A folder that is open.
struct Place<'a> {
    fd: &'a OwnedFd,
    path: &'a [u8],
    depth: usize,
    /// Its file system, once inside of what was asked for.
    device: Option<u64>,
}

impl<'a> Scan<'a> {
    /// Over these folders and files.
    pub(crate) fn new(paths: &[PathBuf], rules: &'a Rules) -> Result<Self, BackupError> {
        let mut roots = Vec::new();
        for path in paths {
            roots.push(root(path)?);
        }
        roots.sort_unstable_by(|left, right| order(left, right));
        // What lies in another is there already.
        roots.dedup_by(|later, earlier| is_within(later, earlier));
        if roots.is_empty() || roots.len() > PATHS_MAX {
            return Err(BackupError::Relative(paths.first().cloned().unwrap_or_default()));
        }
        Ok(Self { patterns: Patterns::new(rules)?, rules, roots, ignored: Vec::new() })
    }

    /// What is walked over, from the root.
    pub(crate) fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// Shows everything to the visitor.
    pub(crate) fn run(mut self, visitor: &mut dyn Visitor) -> Result<(), BackupError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open("/", flags, Mode::empty());
        let top = top.map_err(|error| BackupError::Path("/".into(), error.into()))?;
        let look = crate::look::look_into(top.as_fd());
        let look = look.map_err(|error| BackupError::Path("/".into(), error.into()))?;
        let is_root = self.roots[0].is_empty();
        let device = is_root.then_some(look.device);
        self.folder(&Place { fd: &top, path: b"", depth: 0, device }, visitor)
    }

    fn folder(&mut self, place: &Place<'_>, visitor: &mut dyn Visitor) -> Result<(), BackupError> {
        let names = match place.device {
            Some(_) => match names(place.fd.as_fd()) {
                Ok(names) => names,
                Err(error) => {
                    return visitor.problem(problem(place.path, Trouble::Unreadable, error));
                }
            },
            None => self.steps(place.path),
        };
        let has_cache_tag = place.device.is_some() && self.rules.caches && is_cache(place.fd);
        let had = self.ignored.len();
        if place.device.is_some() && self.rules.ignore_files {
            self.read_ignore_file(place, visitor)?;
        }
        let mut path = place.path.to_vec();
        for name in names {
            if has_cache_tag && name.to_bytes() != CACHE_TAG.as_bytes() {
                continue;
            }
            path.truncate(place.path.len());
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            self.entry(place, &name, &path, visitor)?;
        }
        self.ignored.truncate(had);
        Ok(())
    }

    fn entry(
        &mut self,
        place: &Place<'_>,
        name: &CStr,
        path: &[u8],
        visitor: &mut dyn Visitor,
    ) -> Result<(), BackupError> {
        let look = match look_at(place.fd.as_fd(), name) {
            Ok(look) => look,
            Err(error) => return visitor.problem(unseen(path, error)),
        };
        let is_folder = look.kind == FileType::Directory;
        if place.device.is_some() && self.is_left_out(path, is_folder) {
            return Ok(());
        }
        let found = Found { folder: place.fd.as_fd(), name, path, look };
        if !is_folder {
            return visitor.file(&found);
        }
        if place.depth + 1 > DEPTH_MAX {
            return visitor.problem(Problem::new(path, Trouble::Unreadable, "too deep"));
        }
        let open = open_folder(place.fd.as_fd(), name);
        visitor.enter(&found, open.as_ref().ok())?;
        let is_elsewhere = place.device.is_some_and(|device| device != look.device);
        match &open {
            Err(error) => visitor.problem(unseen(path, *error))?,
            Ok(_) if is_elsewhere && self.rules.one_file_system => {}
            Ok(fd) => {
                let is_asked_for = place.device.is_some() || self.is_root(path);
                // A file system that was asked for by name is one of those to be kept.
                let device = is_asked_for.then_some(match place.device {
                    Some(device) if self.rules.one_file_system => device,
                    _ => look.device,
                });
                let depth = place.depth + 1;
                self.folder(&Place { fd, path, depth, device }, visitor)?;
            }
        }
        visitor.leave()
    }

    fn is_root(&self, path: &[u8]) -> bool {
        self.roots.binary_search_by(|root| order(root, path)).is_ok()
    }

    /// The names that lead from here to what was asked for.
    fn steps(&self, path: &[u8]) -> Vec<CString> {
        let below =
            self.roots.iter().filter(|root| is_within(root, path) && root.len() > path.len());
        let step = |root: &Vec<u8>| {
            let rest = &root[path.len()..];
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            CString::new(name).ok()
        };
        let mut steps: Vec<CString> = below.filter_map(step).collect();
        steps.dedup();
        steps
    }

    fn is_left_out(&self, path: &[u8], is_folder: bool) -> bool {
        let by_folder = || self.ignored.iter().rev().find_map(|it| it.decide(path, is_folder));
        self.patterns.decide(path, is_folder).or_else(by_folder).unwrap_or(false)
    }

    fn read_ignore_file(
        &mut self,
        place: &Place<'_>,
        visitor: &mut dyn Visitor,
    ) -> Result<(), BackupError> {
        let name = CString::new(IGNORE_FILE).expect("it has no zero in it");
        let is_file = look_at(place.fd.as_fd(), &name).is_ok_and(|it| it.kind.is_file());
        if !is_file {
            return Ok(());
        }
        let read = open_file(place.fd.as_fd(), &name).map_err(std::io::Error::from);
        let mut path = place.path.to_vec();
        path.extend_from_slice(b"/");
        path.extend_from_slice(IGNORE_FILE.as_bytes());
        match read.and_then(|fd| text(std::fs::File::from(fd))) {
            Ok(text) => {
                let (patterns, bad) = Patterns::of_folder(place.path, &text);
                for line in bad {
                    let why = format!("a pattern cannot be understood: {line}");
                    visitor.problem(Problem::new(&path, Trouble::NotKept, why))?;
                }
                if !patterns.is_empty() {
                    self.ignored.push(patterns);
                }
                Ok(())
            }
            Err(error) => visitor.problem(Problem::new(&path, Trouble::Unreadable, error)),
        }
    }
}

/// Where a path is once links on the way to it are followed; what it names is not.
fn root(path: &Path) -> Result<Vec<u8>, BackupError> {
    let is_plain = path.is_absolute()
        && !path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    if !is_plain {
        return Err(BackupError::Relative(path.to_owned()));
    }
    let lost = |error| BackupError::Path(path.to_owned(), error);
    let plain = plain_path(path.as_os_str().as_bytes());
    std::fs::symlink_metadata(path).map_err(lost)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(plain);
    };
    let parent = parent.canonicalize().map_err(lost)?;
    Ok(plain_path(parent.join(name).as_os_str().as_bytes()))
}

/// Whether a folder says that all in it can be had again.
fn is_cache(folder: &OwnedFd) -> bool {
    let name = CString::new(CACHE_TAG).expect("it has no zero in it");
    let is_file = look_at(folder.as_fd(), &name).is_ok_and(|it| it.kind.is_file());
    let Some(fd) = is_file.then(|| open_file(folder.as_fd(), &name).ok()).flatten() else {
        return false;
    };
    let mut head = [0; CACHE_SIGNATURE.len()];
    let read = std::io::Read::read_exact(&mut std::fs::File::from(fd), &mut head);
    read.is_ok() && head == CACHE_SIGNATURE
}

fn problem(path: &[u8], trouble: Trouble, error: Errno) -> Problem {
    Problem::new(path, trouble, std::io::Error::from(error))
}

/// Something that cannot be looked at or opened.
pub(crate) fn unseen(path: &[u8], error: Errno) -> Problem {
    let is_gone = error == Errno::NOENT;
    problem(path, if is_gone { Trouble::Vanished } else { Trouble::Unreadable }, error)
}
