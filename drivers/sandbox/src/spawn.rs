//! Starting children, all from one thread that lives as long as any of them.
//!
//! A child asks the kernel to die with its parent, and the kernel means the *thread* that started
//! it. A thread of an async runtime may end at any time.

use std::io;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::SandboxConfig;

/// The first argument of a child that runs tasks.
pub(crate) const RUN: &str = "run";
/// The first argument of a child that compiles.
pub(crate) const COMPILE: &str = "compile";

/// The first argument of a child that tries the walls.
pub(crate) const PROBE: &str = "probe";

struct Request {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The thread that starts children. It ends with the last owner of this.
#[derive(Debug)]
pub(crate) struct Spawner(mpsc::Sender<Request>);

impl Spawner {
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::Builder::new().name("sandbox-spawn".into()).spawn(move || {
            for Request { mut command, runtime, reply } in requests {
                let _inside = runtime.enter();
                // A caller that has gone away drops the child, which kills it.
                let _gone = reply.send(command.spawn());
            }
        })?;
        Ok(Self(sender))
    }

    /// Starts a child; it is killed when the [`Child`] is dropped.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let request = Request { command, runtime: Handle::current(), reply };
        self.0.send(request).map_err(|_| io::Error::other("the spawning thread has ended"))?;
        answer.await.map_err(io::Error::other)?
    }
}

/// A child with nothing of the agent's: no environment, root as its folder, its own process group.
pub(crate) fn command(config: &SandboxConfig, duty: &str) -> Command {
    let mut command = Command::new(&config.exe);
    command
        .args(&config.child_args)
        .arg(duty)
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
