//! Running things: a server, an agent, and whole worlds of both on this machine.
//!
//! `server` and `join` run one process each until told to stop. `dev` and `tour` start such
//! processes with this very program, so that what they show is what runs in earnest.

pub(crate) mod dev;
pub(crate) mod join;
mod limits;
pub(crate) mod local;
pub(crate) mod server;
pub(crate) mod tour;

use std::ffi::OsString;
use std::path::PathBuf;

/// The first argument of a sandboxed child of the agent. Not for people.
pub(crate) const CHILD: &str = "sandbox-child";

/// How the agent starts its children: this program again.
pub(crate) fn child() -> std::io::Result<(PathBuf, Vec<OsString>)> {
    Ok((std::env::current_exe()?, vec![CHILD.into()]))
}

/// What to type to run this very program: its name where the PATH leads to it, else where it is.
pub(crate) fn this_program() -> String {
    let Ok(exe) = std::env::current_exe() else { return "isos".into() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = std::env::current_dir().ok();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("isos")).find(|p| p.is_file());
    let on_path = found.and_then(|path| path.canonicalize().ok()) == exe.canonicalize().ok();
    call_of(&exe, on_path, folder.as_deref())
}

fn call_of(exe: &std::path::Path, on_path: bool, folder: Option<&std::path::Path>) -> String {
    if on_path {
        return "isos".into();
    }
    let below = folder.and_then(|folder| exe.strip_prefix(folder).ok());
    match below {
        // A bare name would be looked for on the PATH.
        Some(below) if below.components().count() == 1 => format!("./{}", below.display()),
        Some(below) => below.display().to_string(),
        None => exe.display().to_string(),
    }
}

/// Resolves when the process is asked to end: Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::call_of;

    #[test]
    fn the_program_is_called_by_what_works() {
        let exe = Path::new("/src/target/release/isos");
        assert_eq!(call_of(exe, true, Some(Path::new("/src"))), "isos");
        assert_eq!(call_of(exe, false, Some(Path::new("/src"))), "target/release/isos");
        assert_eq!(call_of(exe, false, Some(Path::new("/src/target/release"))), "./isos");
        assert_eq!(call_of(exe, false, Some(Path::new("/"))), "src/target/release/isos");
        assert_eq!(call_of(exe, false, Some(Path::new("/else"))), "/src/target/release/isos");
    }
}
