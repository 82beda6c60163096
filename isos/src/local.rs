//! The note that a complex on this machine leaves while it runs, so that commands find it without
//! any setting. `isos dev` and `isos server` write it and take it away.

use std::io;
use std::net::TcpStream;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How to use the complex that runs here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalComplex {
    /// `http://127.0.0.1:PORT`.
    pub(crate) server: String,
    /// The text of a token.
    pub(crate) token: String,
}

impl LocalComplex {
    /// The note, if there is one that can be read. A bad one is none: it is no setting of anybody.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        toml::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }

    /// Whether something answers where the note says. A note whose writer was killed stays behind.
    pub(crate) fn answers(&self) -> bool {
        const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);
        let address = self.server.strip_prefix("http://").and_then(|text| text.parse().ok());
        address.is_some_and(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
    }

    /// The note of another complex that answers, where the one at `own` would leave its own.
    pub(crate) fn beside(path: &Path, own: &str) -> Option<Self> {
        // A note of this very address was left by a process before, and it is we who answer.
        Self::read(path).filter(|other| other.server != own && other.answers())
    }

    /// Leaves the note, for the user's eyes only.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        isos_sdk::local::write_private(path, text.as_bytes())
    }

    /// Takes the note away, if it is still this one.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        if Self::read(path).as_ref() == Some(self) { std::fs::remove_file(path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_answers_while_its_complex_does() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let note = LocalComplex { server, token: "t".into() };
        assert!(note.answers());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("complex.toml");
        assert_eq!(LocalComplex::beside(&path, "http://127.0.0.1:1"), None);
        note.write(&path).unwrap();
        assert_eq!(LocalComplex::beside(&path, &note.server), None);
        assert_eq!(LocalComplex::beside(&path, "http://127.0.0.1:1"), Some(note.clone()));
        drop(listener);
        assert_eq!(LocalComplex::beside(&path, "http://127.0.0.1:1"), None);
        assert!(!note.answers());
    }

    #[test]
    fn the_note_is_private_and_only_its_writer_takes_it_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/complex.toml");
        let note = |port: u16| LocalComplex {
            server: format!("http://127.0.0.1:{port}"),
            token: "t".into(),
        };
        assert_eq!(LocalComplex::read(&path), None);
        note(1).write(&path).unwrap();
        note(2).write(&path).unwrap();
        #[cfg(unix)]
        {
            let metadata = std::fs::metadata(&path).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        note(1).remove(&path).unwrap();
        assert_eq!(LocalComplex::read(&path), Some(note(2)));
        note(2).remove(&path).unwrap();
        assert_eq!(LocalComplex::read(&path), None);
    }
}
