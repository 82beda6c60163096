//! The file system that a program sees: virtual, sorted, without dates, the same on every host.
//!
//! `/` lists `in` (read-only, see [`inputs`]), `out` (collected) and `tmp` (forgotten); the last
//! two live in memory under quotas. No links, symbolic or hard; no owners, no permissions beyond
//! read-only; every date is the same constant. So a path can be resolved by walking its parts, and
//! nothing that a program does here reaches the machine's own files.

pub(crate) mod inputs;
pub(crate) mod memory;

use std::fs::File;
use std::sync::Arc;

use inputs::{InDir, InFile, InNode, Source};
use memory::{Memory, Tree};

use crate::stop::{Answer, Errno, No};

/// Bytes of a path in one call.
pub(crate) const PATH_BYTES_MAX: usize = 4_096;
/// Inputs that one task may have open at once. The child's limit is made for as many of each.
pub(crate) const OPEN_INPUTS_MAX: usize = crate::p1::Descriptors::MAX;
/// Bytes of one name.
const NAME_BYTES_MAX: usize = 255;
/// The inode of `/`; those of memory are even and larger, those of `/in` odd.
const ROOT_INODE: u64 = 2;

/// A thing with a place in the file system.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// `/`.
    Root,
    /// A folder under `/in`, or `/in`.
    InDir(Arc<InDir>),
    /// A file under `/in`.
    InFile(Arc<InFile>),
    /// A file or folder in memory.
    Memory(memory::Id),
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
}

/// What `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) inode: u64,
    /// Bytes; 0 for a folder.
    pub(crate) size: u64,
}

/// One line of a folder's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) inode: u64,
}

/// How to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Open {
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) directory: bool,
    pub(crate) write: bool,
}

/// An open file or folder. [`Vfs::close`] must see each that [`Vfs::open`] gave.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) node: Node,
    pub(crate) write: bool,
    file: Option<File>,
}

/// Where a path leads: the folder, the last name, and what is there.
struct Place {
    parent: Node,
    /// Empty when the path is the folder that it started from, or ends in `..`.
    name: String,
    node: Option<Node>,
    /// The path ended in `/`.
    folder: bool,
}

/// The file system of one task.
#[derive(Debug)]
pub(crate) struct Vfs {
    inputs: Arc<InDir>,
    source: Arc<Source>,
    pub(crate) memory: Memory,
    /// Inputs that are open: each is a descriptor of the child's, which all its tasks share.
    open_inputs: usize,
    /// Entries of folders' lists that a component holds.
    pub(crate) listed: usize,
}

impl Vfs {
    /// A file system with these inputs, and nothing yet in `/out` and `/tmp`.
    pub(crate) fn new(inputs: Arc<InDir>, source: Arc<Source>, memory: Memory) -> Self {
        Self { inputs, source, memory, open_inputs: 0, listed: 0 }
    }

    /// `/`, open.
    pub(crate) const fn root() -> Handle {
        Handle { node: Node::Root, write: true, file: None }
    }

    fn child(&self, node: &Node, name: &str) -> Result<Option<Node>, Errno> {
        match node {
            Node::Root => Ok(match name {
                "in" => Some(Node::InDir(self.inputs.clone())),
                "out" => Some(Node::Memory(Tree::Out.root())),
                "tmp" => Some(Node::Memory(Tree::Tmp.root())),
                // Not listed, but found: programs that know a fixed path (`/share/...`), or take
                // one relative to where they start, find an input of that name.
                _ => input_child(&self.inputs, name),
            }),
            Node::InDir(dir) => Ok(input_child(dir, name)),
            Node::InFile(_) => Err(Errno::NotDirectory),
            Node::Memory(id) => Ok(self.memory.child(*id, name)?.map(Node::Memory)),
        }
    }

    /// Walks `path` from an open folder. No path leads out of the folder it starts from.
    fn resolve(&self, base: &Node, path: &str) -> Result<Place, Errno> {
        if path.is_empty() {
            return Err(Errno::NoEntry);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(Errno::NameTooLong);
        }
        if path.contains(['\0', '\\']) {
            return Err(Errno::Invalid);
        }
        if path.starts_with('/') {
            return Err(Errno::NotCapable);
        }
        let folder = path.ends_with('/');
        let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
        let mut above: Vec<Node> = Vec::new();
        let mut at = base.clone();
        if self.stat_node(&at).kind != Kind::Dir {
            return Err(Errno::NotDirectory);
        }
        while let Some(part) = parts.next() {
            if part == ".." {
                at = above.pop().ok_or(Errno::NotCapable)?;
                continue;
            }
            if part.len() > NAME_BYTES_MAX {
                return Err(Errno::NameTooLong);
            }
            let next = self.child(&at, part)?;
            if parts.peek().is_none() {
                return Ok(Place { parent: at, name: part.into(), node: next, folder });
            }
            let next = next.ok_or(Errno::NoEntry)?;
            if self.stat_node(&next).kind != Kind::Dir {
                return Err(Errno::NotDirectory);
            }
            above.push(std::mem::replace(&mut at, next));
        }
        Ok(Place { parent: at.clone(), name: String::new(), node: Some(at), folder })
    }

    fn find(&self, base: &Node, path: &str) -> Result<Node, Errno> {
        let place = self.resolve(base, path)?;
        let node = place.node.ok_or(Errno::NoEntry)?;
        if place.folder && self.stat_node(&node).kind != Kind::Dir {
            return Err(Errno::NotDirectory);
        }
        Ok(node)
    }

    fn stat_node(&self, node: &Node) -> Stat {
        match node {
            Node::Root => Stat { kind: Kind::Dir, inode: ROOT_INODE, size: 0 },
            Node::InDir(dir) => Stat { kind: Kind::Dir, inode: dir.inode, size: 0 },
            Node::InFile(file) => Stat { kind: Kind::File, inode: file.inode, size: file.size },
            Node::Memory(id) => self.memory.stat(*id),
        }
    }

    /// About something open.
    pub(crate) fn stat(&self, handle: &Handle) -> Stat {
        self.stat_node(&handle.node)
    }

    /// About a path.
    pub(crate) fn stat_at(&self, base: &Node, path: &str) -> Result<Stat, Errno> {
        Ok(self.stat_node(&self.find(base, path)?))
    }

    /// Opens, and creates when asked to.
    pub(crate) fn open(&mut self, base: &Node, path: &str, how: Open) -> Answer<Handle> {
        let place = self.resolve(base, path)?;
        let node = match place.node {
            Some(_) if how.create && how.exclusive => return Err(Errno::Exists.into()),
            Some(node) => node,
            None if how.create && !how.directory => {
                if place.folder {
                    return Err(Errno::IsDirectory.into());
                }
                let parent = memory_of(&place.parent)?;
                Node::Memory(self.memory.create(parent, &place.name, Kind::File)?)
            }
            None => return Err(Errno::NoEntry.into()),
        };
        let kind = self.stat_node(&node).kind;
        if (how.directory || place.folder) && kind != Kind::Dir {
            return Err(Errno::NotDirectory.into());
        }
        if kind == Kind::Dir && how.truncate {
            return Err(Errno::IsDirectory.into());
        }
        let mut file = None;
        match &node {
            Node::InFile(_) if how.write || how.truncate => return Err(Errno::ReadOnly.into()),
            Node::InFile(input) => {
                let input = input.clone();
                file = Some(self.open_input(&input)?);
            }
            Node::Memory(id) => {
                if how.truncate {
                    self.memory.set_size(*id, 0)?;
                }
                self.memory.opened(*id);
            }
            Node::Root | Node::InDir(_) => {}
        }
        Ok(Handle { node, write: how.write, file })
    }

    fn open_input(&mut self, input: &InFile) -> Answer<File> {
        if self.open_inputs >= OPEN_INPUTS_MAX {
            return Err(Errno::TooManyDescriptors.into());
        }
        let file = self.source.open_input(input)?;
        self.open_inputs += 1;
        Ok(file)
    }

    /// A second handle to an open thing, with the same rights.
    pub(crate) fn reopen(&mut self, handle: &Handle) -> Answer<Handle> {
        let file = match &handle.node {
            Node::InFile(input) => Some(self.open_input(input)?),
            Node::Memory(id) => {
                self.memory.opened(*id);
                None
            }
            Node::Root | Node::InDir(_) => None,
        };
        Ok(Handle { node: handle.node.clone(), write: handle.write, file })
    }

    /// Forgets an open thing; a file without a name goes away with its last handle.
    pub(crate) fn close(&mut self, handle: Handle) {
        match handle.node {
            Node::Memory(id) => self.memory.closed(id),
            Node::InFile(_) => self.open_inputs -= 1,
            Node::Root | Node::InDir(_) => {}
        }
    }

    /// Reads at `offset`; 0 at and behind the end.
    pub(crate) fn read(&self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Answer<usize> {
        match &handle.node {
            Node::Root | Node::InDir(_) => Err(Errno::IsDirectory.into()),
            Node::InFile(input) => {
                let file = handle.file.as_ref().ok_or(Errno::BadDescriptor)?;
                read_input(file, input, offset, buffer)
            }
            Node::Memory(id) => Ok(self.memory.read(*id, offset, buffer)?),
        }
    }

    fn writable(handle: &Handle) -> Result<memory::Id, Errno> {
        match &handle.node {
            Node::Root | Node::InDir(_) => Err(Errno::IsDirectory),
            Node::InFile(_) => Err(Errno::BadDescriptor),
            Node::Memory(_) if !handle.write => Err(Errno::BadDescriptor),
            Node::Memory(id) => Ok(*id),
        }
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write(&mut self, handle: &Handle, offset: u64, bytes: &[u8]) -> Answer<()> {
        self.memory.write(Self::writable(handle)?, offset, bytes)
    }

    /// Cuts or extends with zeros.
    pub(crate) fn set_size(&mut self, handle: &Handle, size: u64) -> Answer<()> {
        self.memory.set_size(Self::writable(handle)?, size)
    }

    /// A folder's list, sorted by name, without `.` and `..`.
    pub(crate) fn list(&self, handle: &Handle) -> Result<Vec<Entry>, Errno> {
        let entry = |name: &str, node: &Node| {
            let stat = self.stat_node(node);
            Entry { name: name.into(), kind: stat.kind, inode: stat.inode }
        };
        match &handle.node {
            Node::Root => {
                let names = ["in", "out", "tmp"].iter();
                Ok(names
                    .filter_map(|name| Some(entry(name, &self.child(&Node::Root, name).ok()??)))
                    .collect())
            }
            Node::InDir(dir) => Ok(dir
                .entries
                .iter()
                .map(|(name, node)| match node {
                    InNode::Dir(dir) => entry(name, &Node::InDir(dir.clone())),
                    InNode::File(file) => entry(name, &Node::InFile(file.clone())),
                })
                .collect()),
            Node::InFile(_) => Err(Errno::NotDirectory),
            Node::Memory(id) => {
                let list = self.memory.list(*id)?;
                Ok(list.into_iter().map(|(name, id)| entry(name, &Node::Memory(id))).collect())
            }
        }
    }

    /// Makes a folder.
    pub(crate) fn create_dir(&mut self, base: &Node, path: &str) -> Answer<()> {
        let place = self.resolve(base, path)?;
        if place.node.is_some() {
            return Err(Errno::Exists.into());
        }
        self.memory.create(memory_of(&place.parent)?, &place.name, Kind::Dir)?;
        Ok(())
    }

    /// Takes the name from a file, or removes an empty folder.
    pub(crate) fn remove(&mut self, base: &Node, path: &str, kind: Kind) -> Result<(), Errno> {
        let place = self.resolve(base, path)?;
        let node = place.node.ok_or(Errno::NoEntry)?;
        match (kind, self.stat_node(&node).kind) {
            (Kind::File, Kind::Dir) => return Err(Errno::IsDirectory),
            (Kind::Dir, Kind::File) => return Err(Errno::NotDirectory),
            (Kind::File, Kind::File) if place.folder => return Err(Errno::NotDirectory),
            _ if place.name.is_empty() => return Err(Errno::Invalid),
            _ => {}
        }
        self.memory.remove(memory_of(&place.parent)?, &place.name)
    }

    /// Moves, replacing what may be replaced as POSIX says.
    pub(crate) fn rename(
        &mut self,
        (from_base, from): (&Node, &str),
        (to_base, to): (&Node, &str),
    ) -> Answer<()> {
        let source = self.resolve(from_base, from)?;
        let target = self.resolve(to_base, to)?;
        let node = source.node.ok_or(Errno::NoEntry)?;
        if source.name.is_empty() || target.name.is_empty() {
            return Err(Errno::Busy.into());
        }
        if (source.folder || target.folder) && self.stat_node(&node).kind != Kind::Dir {
            return Err(Errno::NotDirectory.into());
        }
        let (source_dir, target_dir) = (memory_of(&source.parent)?, memory_of(&target.parent)?);
        Ok(self.memory.rename(source_dir, &source.name, target_dir, &target.name)?)
    }

    /// Whether two open things are one.
    pub(crate) fn same(&self, one: &Handle, other: &Handle) -> bool {
        self.stat(one).inode == self.stat(other).inode
    }
}

fn input_child(dir: &InDir, name: &str) -> Option<Node> {
    Some(match dir.entries.get(name)? {
        InNode::Dir(dir) => Node::InDir(dir.clone()),
        InNode::File(file) => Node::InFile(file.clone()),
    })
}

/// The folder in memory that something is to be made or removed in.
fn memory_of(node: &Node) -> Result<memory::Id, Errno> {
    match node {
        Node::Memory(id) => Ok(*id),
        _ => Err(Errno::ReadOnly),
    }
}

fn read_input(file: &File, input: &InFile, offset: u64, buffer: &mut [u8]) -> Answer<usize> {
    let left = usize::try_from(input.size.saturating_sub(offset)).unwrap_or(usize::MAX);
    let wanted = buffer.len().min(left);
    let mut done = 0;
    // Always as much as there is: how the kernel cuts a read is not the program's business.
    while done < wanted {
        match rustix::io::pread(file, &mut buffer[done..wanted], offset + done as u64) {
            Ok(0) => return Err(lost(input, &"it became shorter")),
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(lost(input, &error)),
        }
    }
    Ok(done)
}

fn lost(input: &InFile, why: &dyn std::fmt::Display) -> No {
    crate::stop::Stop::NoInput(format!("/in/{}: {why}", input.path)).into()
}

#[cfg(test)]
mod tests;
