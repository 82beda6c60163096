//! Memory, as the kernel counts it.

use std::path::Path;

use isos_base::Bytes;
use isos_base::sensors::Reading;

use crate::files;

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn parse_meminfo(text: &str, name: &str) -> Option<Bytes> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).map(Bytes)
}

/// `MemAvailable`, `MemTotal` and so on.
pub(crate) fn read(root: &Path, name: &str) -> Reading<Bytes> {
    match files::text(&root.join("proc/meminfo")) {
        Ok(text) => parse_meminfo(&text, name).map_or_else(
            || Reading::Unknown(format!("no {name} in /proc/meminfo")),
            Reading::Known,
        ),
        Err(e) => Reading::Unknown(format!("cannot read /proc/meminfo: {e}")),
    }
}
