//! What is left out: patterns as in `.gitignore`, folders that are caches, other file systems.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::BackupError;
use crate::limits::PATTERNS_BYTES_MAX;

/// The file that says what of its folder is left out.
pub const IGNORE_FILE: &str = ".isosignore";
/// The file by which a folder says that it is a cache (bford.info/cachedir).
pub const CACHE_TAG: &str = "CACHEDIR.TAG";
/// How that file begins.
pub const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What is left out, as somebody says it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Patterns. The last one that fits decides; one with `!` in front takes in again.
    pub patterns: Vec<String>,
    /// Files of patterns, a line each.
    pub files: Vec<PathBuf>,
    /// Whether [`IGNORE_FILE`]s count.
    pub ignore_files: bool,
    /// Whether contents of folders with a [`CACHE_TAG`] are left out.
    pub caches: bool,
    /// Whether other file systems than those of the given paths are left out.
    pub one_file_system: bool,
}

/// Patterns that were understood.
#[derive(Debug)]
pub(crate) struct Patterns(Gitignore);

impl Patterns {
    /// Patterns over paths from the root.
    pub(crate) fn new(rules: &Rules) -> Result<Self, BackupError> {
        let mut builder = GitignoreBuilder::new("/");
        for path in &rules.files {
            let lines = read(path).map_err(|why| BackupError::Patterns(path.clone(), why))?;
            lines.lines().try_for_each(|line| add(&mut builder, line))?;
        }
        rules.patterns.iter().try_for_each(|line| add(&mut builder, line))?;
        let built = builder.build();
        built.map(Self).map_err(|why| BackupError::Pattern("all together".into(), why))
    }

    /// Those of the ignore file of a folder. Lines that cannot be understood are said and left out.
    pub(crate) fn of_folder(folder: &[u8], text: &str) -> (Self, Vec<String>) {
        let mut builder = GitignoreBuilder::new(absolute(folder));
        let bad = text.lines().filter(|line| add(&mut builder, line).is_err());
        let bad: Vec<String> = bad.map(str::to_owned).collect();
        match builder.build() {
            Ok(built) => (Self(built), bad),
            Err(why) => (Self(Gitignore::empty()), vec![why.to_string()]),
        }
    }

    /// Whether a pattern fits: `Some(true)` to leave out, `Some(false)` to take in.
    pub(crate) fn decide(&self, path: &[u8], is_folder: bool) -> Option<bool> {
        match self.0.matched(absolute(path), is_folder) {
            ignore::Match::None => None,
            ignore::Match::Ignore(_) => Some(true),
            ignore::Match::Whitelist(_) => Some(false),
        }
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn add(builder: &mut GitignoreBuilder, line: &str) -> Result<(), BackupError> {
    let added = builder.add_line(None, line);
    added.map(drop).map_err(|why| BackupError::Pattern(line.to_owned(), why))
}

fn absolute(path: &[u8]) -> PathBuf {
    Path::new("/").join(OsStr::from_bytes(path))
}

fn read(path: &Path) -> std::io::Result<String> {
    let file = std::fs::File::open(path)?;
    text(file)
}

/// A text, if it is not too long.
pub(crate) fn text(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(PATTERNS_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > PATTERNS_BYTES_MAX {
        return Err(std::io::Error::other("patterns have at most a megabyte"));
    }
    Ok(text)
}
