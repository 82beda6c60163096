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

/// Resolves when the process is asked to end: Ctrl-C, SIGTERM, or that its terminal is gone. With a
/// parent that holds the other end of standard input, also when that is gone, however it went.
pub(crate) async fn asked_to_end(with_parent: bool) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    // Who started it with `nohup` wants it to stay.
    let mut hangup = if hangups_are_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
    let hung_up = async {
        match &mut hangup {
            Some(hangup) => _ = hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    let orphaned = async {
        if !with_parent || stdin_ended().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
        () = hung_up => Ok(()),
        () = orphaned => Ok(()),
    }
}

/// Waits for the end of standard input, on a thread that nobody waits for at the end.
async fn stdin_ended() -> Result<(), tokio::sync::oneshot::error::RecvError> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let read = move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tell.send(());
    };
    // Without the thread it lives as long as it is left to.
    let _ = std::thread::Builder::new().name("parent".into()).spawn(read);
    told.await
}

/// Whether SIGHUP was ignored by whoever started this process.
fn hangups_are_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangups(&status))
}

/// The first signal is the lowest bit of a line of hexadecimal digits.
fn ignores_hangups(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{call_of, ignores_hangups};

    #[test]
    fn a_process_knows_whether_hangups_are_ignored() {
        assert!(ignores_hangups("Name:\tisos\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangups("Name:\tisos\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangups(""));
    }

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
