//! The files of the repository: what git tracks, and what it would track if it were added.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Texts of others, kept as they were published: their form is not ours to judge.
const FOREIGN: [&str; 2] = ["drivers/sandbox/wit/", "guest/data/blink.json"];
/// Larger files are not looked into.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// One file.
pub(super) struct File {
    /// Path from the root, with `/`.
    pub(super) path: String,
    /// Length in bytes.
    pub(super) bytes: u64,
    /// Content, if it is text of a kind that the checks know.
    pub(super) text: Option<String>,
}

/// All files, in the order of their paths.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    paths: BTreeSet<String>,
}

impl File {
    /// What follows the last dot of the name, or nothing.
    pub(super) fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

impl Tree {
    /// Asks git for the paths and reads the files.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("start git, which knows the files of the repository")?;
        ensure!(output.status.success(), "git ls-files failed ({})", output.status);
        let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        let mut files = Vec::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            // A file that git still lists may have been removed a moment ago.
            let Ok(about) = fs::metadata(root.join(path)) else { continue };
            if about.is_file() {
                files.push(read_file(root, path, about.len())?);
            }
        }
        Ok(Self::of(files))
    }

    /// A tree of these files.
    pub(super) fn of(mut files: Vec<File>) -> Self {
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let paths = files.iter().map(|file| file.path.clone()).collect();
        Self { files, paths }
    }

    /// The file at `path`.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        let found = self.files.binary_search_by(|file| file.path.as_str().cmp(path));
        found.ok().map(|index| &self.files[index])
    }

    /// Whether `path` is a file, or a folder that has one.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.paths.contains(path)
            || self.paths.range(folder.clone()..).next().is_some_and(|it| it.starts_with(&folder))
    }
}

fn read_file(root: &Path, path: &str, bytes: u64) -> Result<File> {
    let mut file = File { path: path.into(), bytes, text: None };
    let known = ["rs", "md", "toml", "lock", "sql", "sh", "wit", "wat", "json", "yml", "service"];
    let is_text = known.contains(&file.extension()) || path.starts_with(".ci/");
    if is_text && bytes <= TEXT_BYTES_MAX {
        let content = fs::read(root.join(path)).with_context(|| format!("read {path}"))?;
        file.text = String::from_utf8(content).ok();
    }
    Ok(file)
}

/// Whether the text is someone else's.
pub(super) fn is_foreign(path: &str) -> bool {
    FOREIGN.iter().any(|foreign| path.starts_with(foreign))
}

/// Whether the file has tests and nothing else.
pub(super) fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    path.ends_with("/tests.rs") || parts.any(|part| part == "tests" || part == "benches")
}
