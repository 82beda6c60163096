//! Where a database is: a file, memory, or a server; and the file itself, its permissions and lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use isos_base::units::Bytes;

use crate::OpenError;
use crate::server::Server;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An SQLite file, absolute.
    File(PathBuf),
    /// In memory, gone with the last handle: for tests.
    Memory,
    /// At a server.
    Server(Server),
}

impl Place {
    /// From what a person wrote.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let bad = |problem: &str| OpenError::Url { url: url.into(), problem: problem.into() };
        let path = match url.split_once(':') {
            _ if url == "sqlite::memory:" => return Ok(Self::Memory),
            Some(("postgres" | "postgresql", _)) => return Server::parse(url).map(Self::Server),
            Some(("sqlite", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.contains('?') {
                    return Err(bad("options behind '?' are not supported"));
                }
                path
            }
            Some((scheme, rest)) if rest.starts_with("//") => {
                return Err(bad(&format!("{scheme}: is not a database that this program knows")));
            }
            _ => url,
        };
        if path.is_empty() || path.ends_with('/') {
            return Err(bad("the name of the file is missing"));
        }
        std::path::absolute(path).map(Self::File).map_err(|error| bad(&error.to_string()))
    }

    /// For messages.
    pub(crate) fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory => Path::new("sqlite::memory:"),
            Self::Server(server) => server.name(),
        }
    }

    /// Bytes of the file, with what waits in the log; 0 where there is none.
    pub(crate) fn size(&self) -> Bytes {
        let Self::File(path) = self else { return Bytes::ZERO };
        let of = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        Bytes(of(path) + of(&beside(path, "-wal")))
    }

    /// Free bytes where the file is; nothing if that cannot be told.
    pub(crate) fn free(&self) -> Option<Bytes> {
        let Self::File(path) = self else { return None };
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(Bytes(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}

/// `complex.db` -> `complex.db-wal`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Creates the file, readable by its owner only, unless it is there.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    // It is closed before SQLite opens it: closing any descriptor of the file later would drop the
    // POSIX locks that SQLite holds on it.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The right to write to a database file, for one process at a time; given back when dropped.
///
/// A file of its own beside the database, so that SQLite's locks are untouched and the tools of
/// SQLite still read the database. It stays when the lock is given back: removing it would race.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(database: &Path) -> Result<Self, OpenError> {
        // Two names of one file must meet at one lock.
        let real = database.canonicalize().unwrap_or_else(|_| database.into());
        let path = beside(&real, ".lock");
        let failed = |source| OpenError::File { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The text only helps the reader of the message.
                let read = (&file).take(32).read_to_string(&mut holder);
                let holder = match (read, holder.trim().parse::<u32>()) {
                    (Ok(_), Ok(id)) => format!("process {id}"),
                    _ => "another process".into(),
                };
                return Err(OpenError::Locked { path: database.into(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        if let Err(error) = write(&mut file) {
            // On a full disk the lock holds all the same; only its holder has no name.
            tracing::debug!(path = %path.display(), %error, "cannot write who holds the lock");
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_a_url() {
        for text in ["sqlite:///a/b.db", "sqlite:/a/b.db", "/a/b.db"] {
            assert_eq!(Place::parse(text).unwrap(), Place::File("/a/b.db".into()), "{text}");
        }
        assert_eq!(Place::parse("sqlite::memory:").unwrap(), Place::Memory);
        assert!(matches!(Place::parse("b.db").unwrap(), Place::File(path) if path.is_absolute()));
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        let refused = |url| Place::parse(url).unwrap_err().to_string();
        expect_test::expect![[r#"
            "mysql://x/y" names no database: mysql: is not a database that this program knows
            "sqlite:///a.db?mode=ro" names no database: options behind '?' are not supported
            "sqlite://" names no database: the name of the file is missing"#]]
        .assert_eq(&["mysql://x/y", "sqlite:///a.db?mode=ro", "sqlite://"].map(refused).join("\n"));
    }
}
