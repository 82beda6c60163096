//! What does not change while the agent runs.

use std::path::Path;

use isos_base::Bytes;
use isos_base::sensors::Reading;

use crate::memory;

/// The machine, before its owner's policy takes its part away.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineFacts {
    /// Processors that this process may use: fewer than there are in a container with a quota.
    pub cpus: u16,
    /// All memory.
    pub memory: Reading<Bytes>,
    /// Size of the file system of our home.
    pub disk: Reading<Bytes>,
    /// `linux`, `macos`, ...
    pub os: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// What the machine calls itself; may be empty.
    pub hostname: String,
}

impl MachineFacts {
    pub(crate) fn find(root: &Path, disk_path: &Path) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cpus: u16::try_from(cpus).unwrap_or(u16::MAX),
            memory: memory::read(root, "MemTotal"),
            disk: disk(disk_path).1,
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            hostname: hostname(),
        }
    }
}

/// Free and total bytes of the file system of `path`.
pub(crate) fn disk(path: &Path) -> (Reading<Bytes>, Reading<Bytes>) {
    match space(path) {
        Ok((free, total)) => (Reading::Known(free), Reading::Known(total)),
        Err(e) => {
            let reason = format!("cannot look at {}: {e}", path.display());
            (Reading::Unknown(reason.clone()), Reading::Unknown(reason))
        }
    }
}

#[cfg(unix)]
fn space(path: &Path) -> std::io::Result<(Bytes, Bytes)> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.f_frsize));
    Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
}

#[cfg(not(unix))]
fn space(_path: &Path) -> std::io::Result<(Bytes, Bytes)> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn hostname() -> String {
    String::new()
}
