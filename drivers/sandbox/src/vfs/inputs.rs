//! `/in`: the job's input files, read-only, the same tree on every host.
//!
//! The tree comes from the job, not from the folder that holds the files: what else lies in that
//! folder, in which order, with which dates, no program can see. A file is opened when the program
//! opens it, and its length is compared with what the job says.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use isos_base::job::{Mount, is_plain_path};
use rustix::fs::{Mode, OFlags};

use crate::stop::Stop;

/// A folder under `/in`, or `/in` itself. Shared by all tasks of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct InDir {
    /// Stable over hosts: a hash of the path.
    pub(crate) inode: u64,
    pub(crate) entries: BTreeMap<Arc<str>, InNode>,
}

/// What a name under `/in` stands for.
#[derive(Debug, Clone)]
pub(crate) enum InNode {
    Dir(Arc<InDir>),
    File(Arc<InFile>),
}

/// A file under `/in`.
#[derive(Debug)]
pub(crate) struct InFile {
    pub(crate) inode: u64,
    /// Relative to `/in`.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
}

/// Where the bytes of `/in` are: an open folder, so that nothing outside it can be named.
#[derive(Debug)]
pub(crate) struct Source(OwnedFd);

impl Source {
    /// Opens the folder.
    pub(crate) fn open(folder: &Path) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(folder, flags, Mode::empty())?))
    }

    /// The open folder, for rules about it.
    pub(crate) fn folder(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens a file below the folder without following a single symbolic link.
    fn open_below(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let mut parts = path.split('/').peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let kind = if last { OFlags::NONBLOCK } else { OFlags::DIRECTORY };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
            let at = folder.as_ref().unwrap_or(&self.0);
            let next = rustix::fs::openat(at.as_fd(), part, flags, Mode::empty())?;
            folder = Some(next);
        }
        folder.ok_or(rustix::io::Errno::NOENT)
    }

    /// The length of a file that the job does not give the length of.
    pub(crate) fn length(&self, path: &str) -> Result<u64, Stop> {
        let no = |why: &dyn std::fmt::Display| Stop::NoInput(format!("/in/{path}: {why}"));
        if !is_plain_path(path) {
            return Err(no(&"not a plain relative path"));
        }
        let file = self.open_below(path).map_err(|error| no(&error))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| no(&error))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Opens an input. What fails here is the host's fault, never an error number for the program:
    /// another host would not give it.
    pub(crate) fn open_input(&self, input: &InFile) -> Result<File, Stop> {
        let no = |why: &dyn std::fmt::Display| Stop::NoInput(format!("/in/{}: {why}", input.path));
        let file = self.open_below(&input.path).map_err(|error| no(&error))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| no(&error))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(no(&"not a regular file"));
        }
        if u64::try_from(stat.st_size) != Ok(input.size) {
            return Err(no(&format!("{} bytes where {} belong", stat.st_size, input.size)));
        }
        Ok(File::from(file))
    }
}

impl InDir {
    /// The tree of a job's shared inputs.
    pub(crate) fn of(mounts: &[Mount]) -> Self {
        let mut root = Self { inode: inode_of(""), entries: BTreeMap::new() };
        for mount in mounts {
            root.insert(&mount.path, mount.size.0);
        }
        root
    }

    /// Adds a file, and the folders above it. A path that is not plain, or that runs through a
    /// file, is left out: the job was checked before it came here.
    pub(crate) fn insert(&mut self, path: &str, size: u64) {
        if is_plain_path(path) {
            self.insert_below(path, 0, size);
        }
    }

    fn insert_below(&mut self, path: &str, from: usize, size: u64) {
        let rest = &path[from..];
        let Some(slash) = rest.find('/') else {
            let file = InFile { inode: inode_of(path), path: path.into(), size };
            self.entries.insert(rest.into(), InNode::File(Arc::new(file)));
            return;
        };
        let end = from + slash;
        let entry = self.entries.entry(rest[..slash].into()).or_insert_with(|| {
            InNode::Dir(Arc::new(Self { inode: inode_of(&path[..end]), entries: BTreeMap::new() }))
        });
        if let InNode::Dir(dir) = entry {
            Arc::make_mut(dir).insert_below(path, end + 1, size);
        }
    }
}

/// The inode number of a path under `/in`: odd, so that it never meets one of `/out` and `/tmp`.
fn inode_of(path: &str) -> u64 {
    let hash = blake3::hash(path.as_bytes());
    let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first) | 1
}
