//! The folders a host gives a program, and reading and writing with errors that name the file.

use std::fs;
use std::path::Path;

use crate::Failure;

/// Input files of the job and of this task; read-only.
pub const IN: &str = "/in";
/// Files written here are collected as the task's result.
pub const OUT: &str = "/out";
/// Scratch space with a quota; gone when the task ends.
pub const TMP: &str = "/tmp";

/// Reads a whole file.
pub fn read_bytes(path: impl AsRef<Path>) -> Result<Vec<u8>, Failure> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| Failure::because(format!("read {}", path.display()), error))
}

/// Reads a whole file that must be UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    String::from_utf8(read_bytes(path)?)
        .map_err(|error| Failure::because(format!("read {} as text", path.display()), error))
}

/// Writes a whole file, making its folder first when that is missing.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Failure> {
    let path = path.as_ref();
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::because(format!("make the folder {}", folder.display()), error)
        })?;
    }
    fs::write(path, bytes)
        .map_err(|error| Failure::because(format!("write {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_in_the_error() {
        let failure = read_text("/nowhere/library.fasta").unwrap_err();
        assert_eq!(failure.to_string(), "read /nowhere/library.fasta");
    }
}
