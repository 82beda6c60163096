//! Starting children, all from one thread that lives as long as any of them.
//!
//! A child asks the kernel to die with its parent, and the kernel means the *thread* that started
//! it. A thread of an async runtime may end at any time.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::SandboxConfig;
use crate::fence::Fence;

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

/// The thread that starts children, all inside one fence. It ends with the last owner of this.
#[derive(Debug)]
pub(crate) struct Spawner {
    requests: mpsc::Sender<Request>,
    fence: Arc<Fence>,
    living: watch::Sender<BTreeSet<u32>>,
}

/// A child's place among the living. Held until it has been waited for or is being killed.
#[derive(Debug)]
pub(crate) struct Listed {
    id: u32,
    living: watch::Sender<BTreeSet<u32>>,
    fence: Arc<Fence>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.fence.leave(self.id);
        self.living.send_if_modified(|living| living.remove(&self.id));
    }
}

impl Spawner {
    pub(crate) fn start(fence: Arc<Fence>) -> io::Result<Self> {
        let (sender, requests) = mpsc::channel::<Request>();
        let inside = fence.clone();
        thread::Builder::new().name("sandbox-spawn".into()).spawn(move || {
            for Request { mut command, runtime, reply } in requests {
                let _entered = runtime.enter();
                let child = command.spawn();
                // Before it is told what to do.
                if let Some(id) = child.as_ref().ok().and_then(Child::id) {
                    inside.enter(id);
                }
                // A caller that has gone away drops the child, which kills it.
                let _gone = reply.send(child);
            }
        })?;
        Ok(Self { requests: sender, fence, living: watch::channel(BTreeSet::new()).0 })
    }

    /// The process numbers of the children that live.
    pub(crate) fn living(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.living.subscribe()
    }

    /// Starts a child; it is killed when the [`Child`] is dropped.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<(Child, Listed)> {
        let (reply, answer) = oneshot::channel();
        let request = Request { command, runtime: Handle::current(), reply };
        self.requests
            .send(request)
            .map_err(|_| io::Error::other("the spawning thread has ended"))?;
        let child = answer.await.map_err(io::Error::other)??;
        let id = child.id().ok_or_else(|| io::Error::other("the child has ended"))?;
        self.living.send_if_modified(|living| living.insert(id));
        Ok((child, Listed { id, living: self.living.clone(), fence: self.fence.clone() }))
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
