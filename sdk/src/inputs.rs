//! Local files as a job sees them: which path under `/in` each one gets.

use std::fs;
use std::path::{Path, PathBuf};

use isos_base::job::is_plain_path;
use isos_base::limits::{JOB_INPUTS_MAX, JOB_TASKS_MAX};

use crate::limits::INPUT_DEPTH_MAX;
use crate::submission::SubmissionError;

/// A local file and its path under `/in`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Placed {
    pub(crate) guest: String,
    pub(crate) host: PathBuf,
}

/// A shared input: a file or folder here, and where the program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The file or folder.
    pub host: PathBuf,
    /// Its path under `/in`; without it, its own name.
    pub guest: Option<String>,
}

impl Input {
    /// `HOST`, `HOST=GUEST` or `HOST:GUEST`; a name that exists as it stands is not split.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::parse_with(text, Path::exists)
    }

    pub(crate) fn parse_with(text: &str, exists: impl Fn(&Path) -> bool) -> Self {
        let whole = Self { host: text.into(), guest: None };
        if exists(&whole.host) {
            return whole;
        }
        let split = text.rfind(['=', ':']).filter(|&at| {
            // `C:\data` is one path.
            let drive = at == 1 && text.as_bytes()[0].is_ascii_alphabetic();
            at > 0 && !drive
        });
        match split {
            Some(at) => Self { host: text[..at].into(), guest: Some(text[at + 1..].into()) },
            None => whole,
        }
    }

    /// Relative to `folder` instead of the current one.
    #[must_use]
    pub fn under(mut self, folder: &Path) -> Self {
        self.host = folder.join(self.host);
        self
    }

    /// The files it stands for, with their paths, sorted.
    pub(crate) fn place(&self) -> Result<Vec<Placed>, SubmissionError> {
        let refused =
            |why: &str| SubmissionError::Input { path: self.host.clone(), why: why.into() };
        let metadata = fs::metadata(&self.host)
            .map_err(|source| SubmissionError::Read { path: self.host.clone(), source })?;
        let guest = match &self.guest {
            Some(guest) => {
                let inner = match guest.strip_prefix("/in") {
                    Some(inner) if inner.is_empty() || inner.starts_with('/') => inner,
                    _ if guest.starts_with('/') => {
                        return Err(refused(&format!(
                            "cannot be {guest}: a job sees its inputs under /in, so name a path \
                             there, without / in front"
                        )));
                    }
                    _ => guest.as_str(),
                };
                inner.trim_matches('/').to_owned()
            }
            None => base_name(&self.host).ok_or_else(|| refused("has no plain name"))?,
        };
        let mut placed = Vec::new();
        if metadata.is_dir() {
            let root = fs::canonicalize(&self.host)
                .map_err(|source| SubmissionError::Read { path: self.host.clone(), source })?;
            walk(&root, &self.host, &guest, 0, &mut placed)?;
            if placed.is_empty() {
                return Err(refused("is a folder without files"));
            }
        } else if metadata.is_file() {
            if guest.is_empty() {
                return Err(refused("needs a path under /in"));
            }
            placed.push(Placed { guest, host: self.host.clone() });
        } else {
            return Err(refused("is neither a file nor a folder"));
        }
        match placed.iter().find(|file| !is_plain_path(&file.guest)) {
            None => Ok(placed),
            Some(bad) => Err(SubmissionError::Input {
                path: bad.host.clone(),
                why: format!("cannot be /in/{}: use plain relative paths", bad.guest),
            }),
        }
    }
}

/// All files under a folder, in the order of their names. What a link leads to is taken only if it
/// lies under `root` itself: a folder is sent to strangers, and nobody looks for links in it.
fn walk(
    root: &Path,
    folder: &Path,
    guest: &str,
    depth: usize,
    placed: &mut Vec<Placed>,
) -> Result<(), SubmissionError> {
    let refused = |path: &Path, why: String| SubmissionError::Input { path: path.to_owned(), why };
    if depth > INPUT_DEPTH_MAX {
        let why = format!("is more than {INPUT_DEPTH_MAX} folders deep: a loop of links?");
        return Err(refused(folder, why));
    }
    let read = |source| SubmissionError::Read { path: folder.to_owned(), source };
    let mut entries = fs::read_dir(folder)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(refused(&path, "has a name that is no UTF-8".into()));
        };
        let inner = if guest.is_empty() { name.to_owned() } else { format!("{guest}/{name}") };
        let read = |source| SubmissionError::Read { path: path.clone(), source };
        if fs::symlink_metadata(&path).map_err(read)?.is_symlink() {
            let real = fs::canonicalize(&path).map_err(read)?;
            if !real.starts_with(root) {
                let why = format!(
                    "is a link out of the folder, to {}: put a copy there instead, or name that by \
                     an --input of its own",
                    real.display()
                );
                return Err(refused(&path, why));
            }
        }
        let metadata = fs::metadata(&path).map_err(read)?;
        if metadata.is_dir() {
            walk(root, &path, &inner, depth + 1, placed)?;
        } else if metadata.is_file() {
            placed.push(Placed { guest: inner, host: path });
        } else {
            return Err(refused(&path, "is neither a file nor a folder".into()));
        }
        if placed.len() > JOB_INPUTS_MAX {
            let why = format!("has more than {JOB_INPUTS_MAX} files: pack them into one");
            return Err(refused(folder, why));
        }
    }
    Ok(())
}

/// The files that `pattern` matches, sorted, each under its own name.
pub(crate) fn expand(pattern: &str) -> Result<Vec<Placed>, SubmissionError> {
    let bad = |why: String| SubmissionError::Each { pattern: pattern.into(), why };
    let paths = glob::glob(pattern).map_err(|error| bad(error.to_string()))?;
    let mut placed = Vec::new();
    for path in paths {
        let path = path.map_err(|error| SubmissionError::Read {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if !path.is_file() {
            continue;
        }
        let Some(guest) = base_name(&path) else {
            return Err(bad(format!("{} has no plain name", path.display())));
        };
        placed.push(Placed { guest, host: path });
        if placed.len() > JOB_TASKS_MAX as usize {
            return Err(bad(format!("more than {JOB_TASKS_MAX} files")));
        }
    }
    if let Some(path) = unreadable_name(pattern) {
        return Err(bad(format!("matches {}, whose name is no UTF-8: rename it", path.display())));
    }
    if placed.is_empty() {
        let quoted = "matches no file (put the pattern into quotes, so that the shell leaves it)";
        return Err(bad(quoted.into()));
    }
    // By path, as a shell sorts them: the numbers of the tasks follow.
    placed.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(placed)
}

/// A file or folder that the pattern would match, if its name were text: `glob` passes over those
/// without a word. Looked for in each folder that the pattern has looked into.
fn unreadable_name(pattern: &str) -> Option<PathBuf> {
    let found = |pattern: &str| glob::glob(pattern).into_iter().flatten().flatten();
    let mut begin = 0;
    for part in pattern.split('/') {
        let before = pattern[..begin].trim_end_matches('/');
        begin += part.len() + 1;
        let is_last = begin > pattern.len();
        let Ok(wanted) = glob::Pattern::new(part) else { continue };
        if !part.contains(['*', '?', '[']) {
            continue;
        }
        let unreadable = |folder: PathBuf| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let mut paths = entries.map(|entry| entry.path());
            paths.find(|path| {
                let name = path.file_name().unwrap_or_default();
                let matches = name.to_str().is_none() && wanted.matches(&name.to_string_lossy());
                matches && (is_last || path.is_dir())
            })
        };
        let top = match before {
            "" if pattern.starts_with('/') => "/",
            "" => ".",
            before => before,
        };
        // Two asterisks stand for folders however deep.
        let deep = (part == "**").then(|| found(&format!("{top}/**"))).into_iter().flatten();
        if let Some(path) = found(top).chain(deep).find_map(unreadable) {
            return Some(path);
        }
    }
    None
}

/// The last part of a path, if it is text and fit for a path under `/in`. `.` and `..` are
/// looked up.
fn base_name(path: &Path) -> Option<String> {
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => fs::canonicalize(path).ok()?.file_name()?.to_owned(),
    };
    name.into_string().ok().filter(|name| is_plain_path(name))
}
