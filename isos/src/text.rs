//! Text files that a user names or keeps: read whole, within a limit whatever the file is, and
//! refused in words that name it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context as _;

use crate::exit::Refusal;

/// The text of a file that must be there: `what` and `path` name it in messages.
pub(crate) fn read(what: &str, path: &Path, max: u64) -> anyhow::Result<String> {
    read_if_there(what, path, max)?.ok_or_else(|| {
        let named = named(what, path);
        Refusal::not_found(format!("cannot read {named}: there is no such file")).into()
    })
}

/// The text of a file, if there is one. Only that it is not there is passed over.
pub(crate) fn read_if_there(what: &str, path: &Path, max: u64) -> anyhow::Result<Option<String>> {
    let named = || named(what, path);
    let mut bytes = Vec::new();
    // Its length says nothing of a device or a pipe, so no more than the limit is read.
    let limit = max.saturating_add(1);
    match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!("cannot read {}", named())));
        }
    }
    if bytes.len() as u64 > max {
        let why = format!("{} has more than {max} bytes, which is the limit", named());
        return Err(Refusal::usage(why).into());
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Refusal::usage(format!("{} is not text in UTF-8", named())).into()),
    }
}

/// The file is there as before, or as now.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    // What a link points to is changed, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", path.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temp = folder.join(name);
    let written = File::create(&temp)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            if let Ok(old) = fs::metadata(&path) {
                file.set_permissions(old.permissions())?;
            }
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temp, &path));
    if written.is_err() {
        let _best_effort = fs::remove_file(&temp);
    }
    written.with_context(cannot)
}

fn named(what: &str, path: &Path) -> String {
    format!("{what} {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Code, classify};

    #[test]
    fn only_what_is_not_there_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        assert_eq!(read_if_there("the note", &path, 9).unwrap(), None);
        let code = |max| classify(&read("the note", &path, max).unwrap_err()).0;
        assert_eq!(code(9), Code::NotFound);
        fs::write(&path, "nine text").unwrap();
        assert_eq!(read("the note", &path, 9).unwrap(), "nine text");
        assert_eq!(code(8), Code::Usage);
        fs::write(&path, b"\xff\xfe").unwrap();
        assert_eq!(code(9), Code::Usage);
        // What is there and cannot be read.
        assert!(read_if_there("the note", folder.path(), 9).is_err());
        assert!(read("the note", Path::new("/dev/zero"), 100).is_err());
    }
}
