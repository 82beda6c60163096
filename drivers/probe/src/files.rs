//! Small files of the kernel, read whole and bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More than any file read here has; `/proc/stat` of a machine with 1,000 cores has 100 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The text of a file. Bytes that are no UTF-8 are replaced.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    head(path, FILE_BYTES_MAX)
}

/// The beginning of that text.
pub(crate) fn head(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::with_capacity(512);
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

/// The text of a file without the white space around it, if it can be read.
pub(crate) fn line(path: &Path) -> Option<String> {
    text(path).ok().map(|text| text.trim().to_owned())
}

/// What is in a folder; nothing if it cannot be listed.
pub(crate) fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    folder.read_dir().into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.path()))
    })
}
