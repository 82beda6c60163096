//! `/out` and `/tmp` between two segments of a task: all that has a name, nothing that is open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;

use isos_base::limits;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Content, Id, Memory, PATH_BYTES_MAX, Quota, TMP_NODES_MAX, Tree};
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

/// Reads no more of them than one task can have: a node takes much more memory than the few bytes
/// that say it.
pub(crate) fn few<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<SavedNode>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<SavedNode>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the files and folders of one task")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut nodes = Vec::new();
            while let Some(node) = list.next_element()? {
                if nodes.len() >= limits::OUTPUT_FILES_MAX + TMP_NODES_MAX {
                    return Err(A::Error::invalid_length(nodes.len(), &self));
                }
                nodes.push(node);
            }
            Ok(nodes)
        }
    }

    source.deserialize_seq(Few)
}

impl Memory {
    /// How many files and folders there are.
    pub(crate) const fn nodes(&self) -> usize {
        self.out_nodes + self.tmp_nodes
    }

    /// About how many bytes [`Memory::into_saved`] gives, and never fewer than their content.
    /// Nothing when a path is longer than any that can be made, as those of folders that were put
    /// into others can be: such files cannot be restored.
    pub(crate) fn saved_bytes(&self) -> Option<u64> {
        let mut sum = 0;
        let walked = self.walk(|_, path, id| {
            if path.len() > PATH_BYTES_MAX {
                return ControlFlow::Break(());
            }
            sum += NODE_BYTES + path.len() as u64 + self.stat(id).size;
            ControlFlow::Continue(())
        });
        walked.is_continue().then_some(sum)
    }

    /// What has a name, each folder before what is in it, and the next inode. Whatever is only open
    /// is forgotten, as descriptors are.
    pub(crate) fn into_saved(mut self) -> (Vec<SavedNode>, u64) {
        let mut found = Vec::new();
        let _whole = self.walk(|tree, path, id| {
            found.push((tree == Tree::Out, path.to_owned(), id));
            ControlFlow::Continue(())
        });
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
    fn walk(&self, mut each: impl FnMut(Tree, &str, Id) -> ControlFlow<()>) -> ControlFlow<()> {
        for tree in [Tree::Out, Tree::Tmp] {
            let mut folders = vec![(String::new(), tree.root())];
            while let Some((above, folder)) = folders.pop() {
                let Ok(entries) = self.list(folder) else { continue };
                for (name, id) in entries {
                    let path =
                        if above.is_empty() { name.into() } else { format!("{above}/{name}") };
                    each(tree, &path, id)?;
                    if self.stat(id).kind == Kind::Dir {
                        folders.push((path, id));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use isos_base::codec;

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
        assert!(before.saved_bytes() >= Some(15));
        let (nodes, next) = before.into_saved();
        let paths: Vec<_> = nodes.iter().map(|node| (node.out, node.path.as_str())).collect();
        assert_eq!(paths, [(true, "b"), (true, "b/deep"), (true, "b/deep/x"), (false, "a")]);
        let restored = Memory::restore(QUOTA, nodes.clone(), next).unwrap();
        assert_eq!((restored.out_used, restored.tmp_used), (12, 3));
        assert_eq!((restored.out_nodes, restored.tmp_nodes), (3, 1));
        assert_eq!(restored.into_saved(), (nodes, next), "and can be saved again");
    }

    #[test]
    fn a_folder_that_lies_too_deep_to_be_made_there_is_not_saved() {
        let mut memory = Memory::new(QUOTA);
        memory.create(Tree::Tmp.root(), "a", Kind::Dir).unwrap();
        for deep in 0..600 {
            let fits = memory.saved_bytes();
            assert_eq!(fits.is_some(), 2 * deep < PATH_BYTES_MAX, "{deep} folders deep");
            let folder = memory.create(Tree::Tmp.root(), "b", Kind::Dir).unwrap();
            memory.rename(Tree::Tmp.root(), "a", folder, "a").unwrap();
            memory.rename(Tree::Tmp.root(), "b", Tree::Tmp.root(), "a").unwrap();
        }
    }

    #[test]
    fn a_list_of_more_files_than_a_task_can_have_is_not_read() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Files(#[serde(deserialize_with = "few")] Vec<SavedNode>);
        let node = SavedNode { out: true, path: String::new(), inode: 0, content: None };
        let most = limits::OUTPUT_FILES_MAX + TMP_NODES_MAX;
        let files = |count| codec::encode(&Files(vec![node.clone(); count]));
        assert!(codec::decode::<Files>(&files(most)).is_ok());
        assert!(codec::decode::<Files>(&files(most + 1)).is_err());
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
