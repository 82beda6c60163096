//! `/in`: the job's input files, read-only, the same tree on every host.
//!
//! The tree comes from the job, not from the folder that holds the files: what else lies in that
//! folder, in which order, with which dates, no program can see. A file is opened when the program
//! opens it, and its length is compared with what the job says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use isos_base::checkpoint::object_bytes_max;
use isos_base::job::{Mount, is_plain_path};
use isos_base::{Bytes, Guid};
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
    /// The content's name if it is a task's own file: it lies under that, not under its path.
    own: Option<Guid>,
    /// Bytes.
    pub(crate) size: u64,
}

/// Where the bytes of `/in` are: open folders, so that nothing outside them can be named.
#[derive(Debug)]
pub(crate) struct Source {
    shared: OwnedFd,
    own: Option<OwnedFd>,
}

impl Source {
    /// Opens the folder of shared files, and that of tasks' own files.
    pub(crate) fn open(shared: &Path, own: Option<&Path>) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |folder| rustix::fs::open(folder, flags, Mode::empty());
        Ok(Self { shared: open(shared)?, own: own.map(open).transpose()? })
    }

    /// The open folders, for rules about them.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &OwnedFd> {
        std::iter::once(&self.shared).chain(&self.own)
    }

    /// Opens the bytes of a file.
    fn open_bytes(&self, input: &InFile) -> rustix::io::Result<OwnedFd> {
        match (input.own, &self.own) {
            (None, _) => open_below(&self.shared, &input.path),
            (Some(guid), Some(folder)) => open_below(folder, &guid.to_string()),
            (Some(_), None) => Err(rustix::io::Errno::NOENT),
        }
    }

    /// The bytes of a file that lies beside the tasks' own, under its content's name. Nothing if it
    /// is not there, has another size or another content.
    pub(crate) fn read_own(&self, guid: Guid, size: Bytes) -> Option<Vec<u8>> {
        if size > object_bytes_max() {
            return None;
        }
        let file = File::from(open_below(self.own.as_ref()?, &guid.to_string()).ok()?);
        let mut bytes = Vec::new();
        file.take(size.0 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == size.0 && Guid::of(&bytes) == guid).then_some(bytes)
    }

    /// Opens an input. What fails here is the host's fault, never an error number for the program:
    /// another host would not give it.
    pub(crate) fn open_input(&self, input: &InFile) -> Result<File, Stop> {
        let no = |why: &dyn std::fmt::Display| Stop::NoInput(format!("/in/{}: {why}", input.path));
        let file = self.open_bytes(input).map_err(|error| no(&error))?;
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

/// Opens a file below a folder without following a single symbolic link.
fn open_below(folder: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let mut parts = path.split('/').peekable();
    let mut above: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let kind = if last { OFlags::NONBLOCK } else { OFlags::DIRECTORY };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
        let at = above.as_ref().unwrap_or(folder);
        let next = rustix::fs::openat(at.as_fd(), part, flags, Mode::empty())?;
        above = Some(next);
    }
    above.ok_or(rustix::io::Errno::NOENT)
}

impl InDir {
    /// The tree of a job's shared inputs.
    pub(crate) fn of(mounts: &[Mount]) -> Self {
        let mut root = Self { inode: inode_of(""), entries: BTreeMap::new() };
        for mount in mounts {
            root.insert(&mount.path, None, mount.size.0);
        }
        root
    }

    /// Adds a file, and the folders above it. A path that is not plain, or that runs through a
    /// file, is left out: the job was checked before it came here.
    pub(crate) fn insert(&mut self, path: &str, own: Option<Guid>, size: u64) {
        if is_plain_path(path) {
            self.insert_below(path, 0, own, size);
        }
    }

    fn insert_below(&mut self, path: &str, from: usize, own: Option<Guid>, size: u64) {
        let rest = &path[from..];
        let Some(slash) = rest.find('/') else {
            let file = InFile { inode: inode_of(path), path: path.into(), own, size };
            self.entries.insert(rest.into(), InNode::File(Arc::new(file)));
            return;
        };
        let end = from + slash;
        let entry = self.entries.entry(rest[..slash].into()).or_insert_with(|| {
            InNode::Dir(Arc::new(Self { inode: inode_of(&path[..end]), entries: BTreeMap::new() }))
        });
        if let InNode::Dir(dir) = entry {
            Arc::make_mut(dir).insert_below(path, end + 1, own, size);
        }
    }
}

/// The inode number of a path under `/in`: odd, so that it never meets one of `/out` and `/tmp`.
fn inode_of(path: &str) -> u64 {
    let hash = blake3::hash(path.as_bytes());
    let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first) | 1
}
