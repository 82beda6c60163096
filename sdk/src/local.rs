//! What clients need of the machine that they run on.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A key that nobody else has, so that a request can be repeated when the line breaks.
///
/// # Errors
/// The system gives no random numbers, and why.
pub fn fresh_key() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}

/// Writes a file, whole or not at all, for its owner's eyes only. What was there is replaced once
/// the new one is on the disk.
///
/// # Errors
/// The system refuses; what was there is there still.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let beside = path.with_extension("part");
    // One that was left behind, or a link.
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    fs::rename(&beside, path)
}
