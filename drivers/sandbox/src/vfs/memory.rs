//! `/out` and `/tmp`: files in memory, under quotas.
//!
//! What crosses the quota of `/out` ends the program, at the same write on every host. `/tmp` says
//! "no space" instead, also at the same write.

#[path = "saved.rs"]
mod saved;

use std::collections::BTreeMap;

use isos_base::job::is_plain_path;
use isos_base::task::OutputFile;

pub(crate) use saved::{SavedNode, few};

use super::{Kind, Stat};
use crate::stop::{Answer, Errno, Stop};

/// Bytes of a path below `/out` or `/tmp`.
const PATH_BYTES_MAX: usize = 1_024;
/// Files and folders under `/tmp`.
const TMP_NODES_MAX: usize = 65_536;

/// A file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(usize);

/// Which of the two it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tree {
    Out,
    Tmp,
}

impl Tree {
    /// The folder itself.
    pub(crate) const fn root(self) -> Id {
        match self {
            Self::Out => Id(0),
            Self::Tmp => Id(1),
        }
    }
}

#[derive(Debug)]
enum Content {
    Dir(BTreeMap<String, Id>),
    File(Vec<u8>),
}

#[derive(Debug)]
struct MemoryNode {
    tree: Tree,
    /// Where it is listed; none when it has been removed (and for the two roots).
    parent: Option<Id>,
    /// Bytes of its name, 0 for the two roots.
    name_length: usize,
    /// Never used twice, in order of creation.
    inode: u64,
    handles: u32,
    content: Content,
}

/// The limits of one task's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Bytes of stdout, stderr and files under `/out`, together.
    pub(crate) out: u64,
    /// Files and folders under `/out`.
    pub(crate) out_nodes: usize,
    /// Bytes under `/tmp`.
    pub(crate) tmp: u64,
}

/// Both trees.
#[derive(Debug)]
pub(crate) struct Memory {
    nodes: Vec<Option<MemoryNode>>,
    free: Vec<Id>,
    quota: Quota,
    out_used: u64,
    tmp_used: u64,
    out_nodes: usize,
    tmp_nodes: usize,
    next_inode: u64,
}

impl Memory {
    /// Two empty folders.
    pub(crate) fn new(quota: Quota) -> Self {
        let root = |tree, inode| {
            let content = Content::Dir(BTreeMap::new());
            Some(MemoryNode { tree, parent: None, name_length: 0, inode, handles: 1, content })
        };
        Self {
            nodes: vec![root(Tree::Out, 4), root(Tree::Tmp, 6)],
            free: Vec::new(),
            quota,
            out_used: 0,
            tmp_used: 0,
            out_nodes: 0,
            tmp_nodes: 0,
            next_inode: 8,
        }
    }

    fn node(&self, id: Id) -> &MemoryNode {
        self.nodes[id.0].as_ref().expect("a node lives while it has a name or a handle")
    }

    fn node_mut(&mut self, id: Id) -> &mut MemoryNode {
        self.nodes[id.0].as_mut().expect("a node lives while it has a name or a handle")
    }

    fn dir(&self, id: Id) -> Result<&BTreeMap<String, Id>, Errno> {
        match &self.node(id).content {
            Content::Dir(entries) => Ok(entries),
            Content::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn dir_mut(&mut self, id: Id) -> Result<&mut BTreeMap<String, Id>, Errno> {
        match &mut self.node_mut(id).content {
            Content::Dir(entries) => Ok(entries),
            Content::File(_) => Err(Errno::NotDirectory),
        }
    }

    pub(super) fn child(&self, id: Id, name: &str) -> Result<Option<Id>, Errno> {
        Ok(self.dir(id)?.get(name).copied())
    }

    pub(super) fn list(&self, id: Id) -> Result<Vec<(&str, Id)>, Errno> {
        Ok(self.dir(id)?.iter().map(|(name, id)| (name.as_str(), *id)).collect())
    }

    pub(super) fn stat(&self, id: Id) -> Stat {
        let node = self.node(id);
        let (kind, size) = match &node.content {
            Content::Dir(_) => (Kind::Dir, 0),
            Content::File(bytes) => (Kind::File, bytes.len() as u64),
        };
        Stat { kind, inode: node.inode, size }
    }

    /// Takes from the quota of `/out`, which standard output and error share.
    pub(crate) fn charge_out(&mut self, bytes: u64) -> Result<(), Stop> {
        let used = self.out_used.saturating_add(bytes);
        if used > self.quota.out {
            return Err(Stop::OutputTooLarge);
        }
        self.out_used = used;
        Ok(())
    }

    fn charge(&mut self, tree: Tree, bytes: u64) -> Answer<()> {
        match tree {
            Tree::Out => Ok(self.charge_out(bytes)?),
            Tree::Tmp => {
                let used = self.tmp_used.saturating_add(bytes);
                if used > self.quota.tmp {
                    return Err(Errno::NoSpace.into());
                }
                self.tmp_used = used;
                Ok(())
            }
        }
    }

    fn refund(&mut self, tree: Tree, bytes: u64) {
        let used = match tree {
            Tree::Out => &mut self.out_used,
            Tree::Tmp => &mut self.tmp_used,
        };
        *used = used.checked_sub(bytes).expect("no more is given back than was taken");
    }

    /// Whether a name in a folder makes a path that is too long. Looks no further up than it must:
    /// by renaming what is above it, a folder can come to lie much deeper.
    fn is_too_long(&self, mut folder: Id, name: &str) -> bool {
        let mut length = name.len();
        while let Some(parent) = self.node(folder).parent
            && length <= PATH_BYTES_MAX
        {
            length += self.node(folder).name_length + 1;
            folder = parent;
        }
        length > PATH_BYTES_MAX
    }

    pub(super) fn create(&mut self, parent: Id, name: &str, kind: Kind) -> Answer<Id> {
        let tree = self.node(parent).tree;
        if parent != tree.root() && self.node(parent).parent.is_none() {
            return Err(Errno::NoEntry.into());
        }
        if self.is_too_long(parent, name) {
            return Err(Errno::NameTooLong.into());
        }
        match tree {
            Tree::Out if self.out_nodes >= self.quota.out_nodes => {
                return Err(Stop::OutputTooLarge.into());
            }
            Tree::Tmp if self.tmp_nodes >= TMP_NODES_MAX => return Err(Errno::NoSpace.into()),
            Tree::Out => self.out_nodes += 1,
            Tree::Tmp => self.tmp_nodes += 1,
        }
        let content = match kind {
            Kind::Dir => Content::Dir(BTreeMap::new()),
            Kind::File => Content::File(Vec::new()),
        };
        let inode = self.next_inode;
        self.next_inode += 2;
        let node = Some(MemoryNode {
            tree,
            parent: Some(parent),
            name_length: name.len(),
            inode,
            handles: 0,
            content,
        });
        let id = if let Some(id) = self.free.pop() {
            self.nodes[id.0] = node;
            id
        } else {
            self.nodes.push(node);
            Id(self.nodes.len() - 1)
        };
        self.dir_mut(parent)?.insert(name.into(), id);
        Ok(id)
    }

    pub(super) fn opened(&mut self, id: Id) {
        self.node_mut(id).handles += 1;
    }

    pub(super) fn closed(&mut self, id: Id) {
        self.node_mut(id).handles -= 1;
        self.collect(id);
    }

    /// Frees a node without name and handle.
    fn collect(&mut self, id: Id) {
        let node = self.node(id);
        if node.handles > 0 || node.parent.is_some() {
            return;
        }
        let (tree, size) = (node.tree, self.stat(id).size);
        self.refund(tree, size);
        match tree {
            Tree::Out => self.out_nodes -= 1,
            Tree::Tmp => self.tmp_nodes -= 1,
        }
        self.nodes[id.0] = None;
        self.free.push(id);
    }

    pub(super) fn read(&self, id: Id, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let Content::File(bytes) = &self.node(id).content else {
            return Err(Errno::IsDirectory);
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let n = buffer.len().min(bytes.len() - from);
        buffer[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    /// Makes a file `size` bytes long.
    pub(super) fn set_size(&mut self, id: Id, size: u64) -> Answer<()> {
        let stat = self.stat(id);
        if stat.kind == Kind::Dir {
            return Err(Errno::IsDirectory.into());
        }
        let tree = self.node(id).tree;
        if size > stat.size {
            self.charge(tree, size - stat.size)?;
        } else {
            self.refund(tree, stat.size - size);
        }
        let length = usize::try_from(size).map_err(|_| Errno::TooLarge)?;
        if let Content::File(bytes) = &mut self.node_mut(id).content {
            bytes.try_reserve(length.saturating_sub(bytes.len())).map_err(|_| Stop::NoMemory)?;
            bytes.resize(length, 0);
            // What is given back to the quota is given back to the host, or a file that was cut
            // would hold twice what its task may.
            if bytes.capacity() / 2 > length {
                bytes.shrink_to_fit();
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, id: Id, offset: u64, data: &[u8]) -> Answer<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::TooLarge)?;
        let size = self.stat(id).size;
        if offset == size {
            // The common way, without writing zeros first.
            let tree = self.node(id).tree;
            self.charge(tree, data.len() as u64)?;
            if let Content::File(bytes) = &mut self.node_mut(id).content {
                bytes.try_reserve(data.len()).map_err(|_| Stop::NoMemory)?;
                bytes.extend_from_slice(data);
            }
            return Ok(());
        }
        if end > size {
            self.set_size(id, end)?;
        }
        let Content::File(bytes) = &mut self.node_mut(id).content else {
            return Err(Errno::IsDirectory.into());
        };
        let from = usize::try_from(offset).map_err(|_| Errno::TooLarge)?;
        bytes[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }

    pub(super) fn remove(&mut self, parent: Id, name: &str) -> Result<(), Errno> {
        let id = self.child(parent, name)?.ok_or(Errno::NoEntry)?;
        if let Content::Dir(entries) = &self.node(id).content
            && !entries.is_empty()
        {
            return Err(Errno::NotEmpty);
        }
        self.dir_mut(parent)?.remove(name);
        self.node_mut(id).parent = None;
        self.collect(id);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: Id,
        name: &str,
        to: Id,
        new_name: &str,
    ) -> Result<(), Errno> {
        let id = self.child(from, name)?.ok_or(Errno::NoEntry)?;
        if self.node(from).tree != self.node(to).tree {
            return Err(Errno::CrossDevice);
        }
        if to != self.node(to).tree.root() && self.node(to).parent.is_none() {
            return Err(Errno::NoEntry);
        }
        if self.is_too_long(to, new_name) {
            return Err(Errno::NameTooLong);
        }
        // A folder cannot move into itself.
        let mut above = Some(to);
        while let Some(folder) = above {
            if folder == id {
                return Err(Errno::Invalid);
            }
            above = self.node(folder).parent;
        }
        if let Some(there) = self.child(to, new_name)? {
            if there == id {
                return Ok(());
            }
            match (self.stat(id).kind, self.stat(there).kind) {
                (Kind::File, Kind::Dir) => return Err(Errno::IsDirectory),
                (Kind::Dir, Kind::File) => return Err(Errno::NotDirectory),
                _ => self.remove(to, new_name)?,
            }
        }
        self.dir_mut(from)?.remove(name);
        self.dir_mut(to)?.insert(new_name.into(), id);
        let node = self.node_mut(id);
        node.parent = Some(to);
        node.name_length = new_name.len();
        Ok(())
    }

    /// The files under `/out`, sorted by path; empty folders are dropped.
    ///
    /// # Errors
    /// [`Stop::OutputTooLarge`] when a renamed folder made a path longer than an output may have.
    pub(crate) fn take_output(&mut self) -> Result<Vec<OutputFile>, Stop> {
        let mut files = Vec::new();
        let mut folders = vec![(String::new(), Tree::Out.root())];
        while let Some((above, id)) = folders.pop() {
            let Ok(entries) = self.dir_mut(id).map(std::mem::take) else { continue };
            for (name, id) in entries {
                let path = if above.is_empty() { name } else { format!("{above}/{name}") };
                match &mut self.node_mut(id).content {
                    // Nothing below it has a path that an output may have.
                    Content::Dir(_) if path.len() > PATH_BYTES_MAX => {
                        return Err(Stop::OutputTooLarge);
                    }
                    Content::Dir(_) => folders.push((path, id)),
                    Content::File(_) if !is_plain_path(&path) => return Err(Stop::OutputTooLarge),
                    Content::File(bytes) => {
                        files.push(OutputFile { path, content: std::mem::take(bytes) });
                    }
                }
            }
        }
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }
}
