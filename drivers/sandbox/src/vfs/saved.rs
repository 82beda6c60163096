//! `/out` and `/tmp` between two segments of a task: all that has a name, nothing that is open.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Content, Id, Memory, Quota, Tree};
use crate::vfs::{Kind, NAME_BYTES_MAX};

/// What a saved file or folder takes besides its path and content, at the most.
const NODE_BYTES: u64 = 32;

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedNode {
    /// Whether it is under `/out`; else it is under `/tmp`.
    out: bool,
    /// Below that.
    path: String,
    inode: u64,
    /// Nothing of a folder.
    content: Option<Vec<u8>>,
}

impl Memory {
    /// About how many bytes [`Memory::into_saved`] gives, and never fewer than their content.
    pub(crate) fn saved_bytes(&self) -> u64 {
        let mut sum = 0;
        self.walk(|_, path, id| {
            sum += NODE_BYTES + path.len() as u64 + self.stat(id).size;
        });
        sum
    }

    /// What has a name, each folder before what is in it, and the next inode. Whatever is only open
    /// is forgotten, as descriptors are.
    pub(crate) fn into_saved(mut self) -> (Vec<SavedNode>, u64) {
        let mut found = Vec::new();
        self.walk(|tree, path, id| found.push((tree == Tree::Out, path.to_owned(), id)));
        let nodes = found.into_iter().map(|(out, path, id)| {
            let node = self.node_mut(id);
            let content = match &mut node.content {
                Content::Dir(_) => None,
                Content::File(bytes) => Some(std::mem::take(bytes)),
            };
            SavedNode { out, path, inode: node.inode, content }
        });
        (nodes.collect(), self.next_inode)
    }

    /// The files as they were saved; nothing if no program could have left them so.
    pub(crate) fn restore(quota: Quota, nodes: Vec<SavedNode>, next_inode: u64) -> Option<Self> {
        let mut memory = Self::new(quota);
        let mut folders: BTreeMap<(bool, String), Id> = BTreeMap::new();
        for tree in [Tree::Out, Tree::Tmp] {
            folders.insert((tree == Tree::Out, String::new()), tree.root());
        }
        // No program has the fuel for more.
        if !next_inode.is_multiple_of(2) || !(8..1 << 62).contains(&next_inode) {
            return None;
        }
        let mut inodes = BTreeSet::new();
        for SavedNode { out, path, inode, content } in nodes {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let plain = !name.is_empty()
                && name.len() <= NAME_BYTES_MAX
                && !matches!(name, "." | "..")
                && !name.contains(['\0', '\\']);
            let good = inode >= 8 && inode % 2 == 0 && inode < next_inode && inodes.insert(inode);
            if !plain || !good {
                return None;
            }
            let parent = *folders.get(&(out, above.to_owned()))?;
            if memory.child(parent, name).ok()?.is_some() {
                return None;
            }
            let kind = if content.is_some() { Kind::File } else { Kind::Dir };
            let id = memory.create(parent, name, kind).ok()?;
            memory.node_mut(id).inode = inode;
            match content {
                Some(bytes) => memory.write(id, 0, &bytes).ok()?,
                None => _ = folders.insert((out, path), id),
            }
        }
        memory.next_inode = next_inode;
        Some(memory)
    }

    /// Visits all that has a name, each folder before what is in it: always in the same order.
    fn walk(&self, mut each: impl FnMut(Tree, &str, Id)) {
        for tree in [Tree::Out, Tree::Tmp] {
            let mut folders = vec![(String::new(), tree.root())];
            while let Some((above, folder)) = folders.pop() {
                let Ok(entries) = self.list(folder) else { continue };
                for (name, id) in entries {
                    let path =
                        if above.is_empty() { name.into() } else { format!("{above}/{name}") };
                    each(tree, &path, id);
                    if self.stat(id).kind == Kind::Dir {
                        folders.push((path, id));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { out: 1_000, out_nodes: 10, tmp: 500 };

    fn memory() -> Memory {
        let mut memory = Memory::new(QUOTA);
        let folder = memory.create(Tree::Out.root(), "b", Kind::Dir).unwrap();
        let deep = memory.create(folder, "deep", Kind::Dir).unwrap();
        let gone = memory.create(Tree::Tmp.root(), "gone", Kind::File).unwrap();
        let file = memory.create(deep, "x", Kind::File).unwrap();
        let other = memory.create(Tree::Tmp.root(), "a", Kind::File).unwrap();
        memory.write(file, 0, b"twelve bytes").unwrap();
        memory.write(other, 0, b"tmp").unwrap();
        memory.opened(gone);
        memory.write(gone, 0, b"open").unwrap();
        memory.remove(Tree::Tmp.root(), "gone").unwrap();
        memory
    }

    #[test]
    fn files_are_restored_with_their_numbers_and_quotas_and_without_what_was_only_open() {
        let before = memory();
        assert!(before.saved_bytes() >= 15);
        let (nodes, next) = before.into_saved();
        let paths: Vec<_> = nodes.iter().map(|node| (node.out, node.path.as_str())).collect();
        assert_eq!(paths, [(true, "b"), (true, "b/deep"), (true, "b/deep/x"), (false, "a")]);
        let restored = Memory::restore(QUOTA, nodes.clone(), next).unwrap();
        assert_eq!((restored.out_used, restored.tmp_used), (12, 3));
        assert_eq!((restored.out_nodes, restored.tmp_nodes), (3, 1));
        assert_eq!(restored.into_saved(), (nodes, next), "and can be saved again");
    }

    #[test]
    fn files_that_no_program_can_have_left_are_refused() {
        let (good, next) = memory().into_saved();
        let with = |change: &dyn Fn(&mut Vec<SavedNode>)| {
            let mut nodes = good.clone();
            change(&mut nodes);
            Memory::restore(QUOTA, nodes, next)
        };
        assert!(with(&|_| {}).is_some());
        assert!(with(&|nodes| nodes[0].path = "..".into()).is_none());
        assert!(with(&|nodes| nodes[0].path = "a/b".into()).is_none(), "no such folder");
        assert!(with(&|nodes| nodes[3].path = String::new()).is_none());
        assert!(with(&|nodes| nodes[3].inode = nodes[0].inode).is_none(), "a number twice");
        assert!(with(&|nodes| nodes[3].inode = next).is_none(), "a number not given yet");
        assert!(with(&|nodes| nodes[3].content = Some(vec![0; 501])).is_none(), "over the quota");
        assert!(with(&|nodes| nodes.push(nodes[3].clone())).is_none(), "a name twice");
    }
}
