//! Running things: a server, an agent, and whole worlds of both on this machine.
//!
//! `server` and `join` run one process each until told to stop. `dev` and `tour` start such
//! processes with this very program, so that what they show is what runs in earnest.

pub(crate) mod dev;
pub(crate) mod join;
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

/// Resolves when the process is asked to end: Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = terminate.recv() => Ok(()),
    }
}
