//! The owner's own policy file: what somebody changes there by hand holds within seconds.
//!
//! The agent goes by the text that its home remembers. Whenever the sensors are read, this looks
//! whether the owner's file is another one than it was, and reads it if so. A text that is no
//! policy changes nothing: the limits of before hold on, and the owner is told, since whoever wrote
//! limits down must not get others by a slip.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use isos_disk::HomeError;
use isos_kernel::policy::{POLICY_BYTES_MAX, Policy};
use serde::{Deserialize, Serialize};

use crate::{POLICY_FILE, Shared};

/// A file that was written less than this ago may be written further.
const SETTLES: Duration = Duration::from_millis(300);

/// Whose words the agent goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The owner's file that is followed, if one is.
    pub file: Option<PathBuf>,
    /// Why the file as it is now is not gone by; what it said before holds.
    pub trouble: Option<String>,
}

/// What is wrong with the owner's file, for whoever asks how the agent stands.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// By what a file is known to be another one than before; nothing if there is none.
type Stamp = Option<(u64, Option<SystemTime>, u64)>;

/// One look after the other at the owner's file.
#[derive(Debug)]
pub(crate) struct Followed {
    path: PathBuf,
    seen: Stamp,
}

impl Followed {
    /// From now on: as the file is now, it is known.
    pub(crate) fn new(path: PathBuf) -> Self {
        let seen = stamp(&path);
        Self { path, seen }
    }

    /// What the file says, if it is another one than at the last look; or what is wrong with it.
    pub(crate) fn look(&mut self) -> Option<Result<(String, Policy), String>> {
        let now = stamp(&self.path);
        if now == self.seen {
            return None;
        }
        let written = now.and_then(|(_, modified, _)| modified);
        if written.is_some_and(|at| at.elapsed().is_ok_and(|age| age < SETTLES)) {
            return None;
        }
        let read = read(&self.path);
        // Written while it was read: what was read may be the half of it.
        if stamp(&self.path) != now {
            return None;
        }
        self.seen = now;
        let policy = read.and_then(|text| match Policy::parse(&text) {
            Ok(policy) => Ok((text, policy)),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                Err(format!("{error}{}", cause.unwrap_or_default()))
            }
        });
        Some(policy.map_err(|why| format!("{}: {why}", self.path.display())))
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.len(), metadata.modified().ok(), inode))
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // One byte more shows that it is too long, which is the policy's to say.
    let opened = File::open(path);
    match opened.and_then(|file| file.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("it is gone".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Goes by the owner's file, if it is another one than before.
pub(crate) fn follow(followed: &mut Followed, shared: &Shared) {
    match followed.look() {
        None => {}
        Some(Ok((text, policy))) => {
            shared.policy_trouble.set(None);
            if *shared.policy.borrow() == policy {
                return;
            }
            tracing::info!("{} was changed: the agent goes by it now", followed.path.display());
            if let Err(error) = remember(shared, &text) {
                tracing::warn!("it holds until this agent ends, and no longer: {error}");
            }
            go_by(shared, policy);
        }
        Some(Err(why)) => {
            tracing::warn!("{why}; what it said before holds");
            shared.policy_trouble.set(Some(why));
        }
    }
}

/// Keeps the text of a policy for later starts.
///
/// # Errors
/// [`HomeError`]: it is not kept.
pub(crate) fn remember(shared: &Shared, text: &str) -> Result<(), HomeError> {
    shared.home.write(POLICY_FILE, text.as_bytes())
}

/// Goes by a policy from now on.
pub(crate) fn go_by(shared: &Shared, policy: Policy) {
    shared.traffic.set_limits(policy.network());
    let _ = shared.policy.send_replace(policy);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes as an editor does, a while ago.
    #[expect(clippy::disallowed_methods, reason = "files have the system's times")]
    fn write(path: &Path, text: &str, secs_ago: u64) {
        std::fs::write(path, text).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(secs_ago)).unwrap();
    }

    #[test]
    fn what_was_there_is_known_and_what_is_changed_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        write(&path, "price_min = 7", 60);
        let mut followed = Followed::new(path.clone());
        assert!(followed.look().is_none());
        write(&path, "price_min = 8", 30);
        let (text, policy) = followed.look().unwrap().unwrap();
        assert_eq!((text.as_str(), policy.price_min().0), ("price_min = 8", 8));
        assert!(followed.look().is_none());
        std::fs::write(&path, "price_min = 9").unwrap();
        assert!(followed.look().is_none(), "whoever writes may not be done");
    }

    #[test]
    fn what_is_no_policy_is_told_once_and_so_is_a_file_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let mut followed = Followed::new(path.clone());
        assert!(followed.look().is_none(), "there was none");
        for (text, word) in [("price_mim = 8", "price_mim"), ("cpu = ", "policy.toml")] {
            write(&path, text, 20 + text.len() as u64);
            let why = followed.look().unwrap().unwrap_err();
            assert!(why.contains(word) && why.contains("policy.toml"), "{why}");
            assert!(followed.look().is_none());
        }
        write(&path, &"#".repeat(POLICY_BYTES_MAX + 1), 10);
        assert!(followed.look().unwrap().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(followed.look().unwrap().unwrap_err().contains("gone"));
        write(&path, "price_min = 9", 5);
        assert!(followed.look().unwrap().is_ok());
    }
}
