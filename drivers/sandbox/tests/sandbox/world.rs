//! One sandbox for all tests, and the shortest way to run a program in it.

use std::path::PathBuf;
use std::sync::LazyLock;

use isos_base::job::{JobSpec, Mount};
use isos_base::task::{Execution, Exit, Output};
use isos_base::{Bytes, Guid, JobId, Span};
use isos_sandbox::{
    Chamber, Event, Events, OpenError, Order, Part, PrepareError, Prepared, Sandbox, SandboxConfig,
    Setup,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A test's name, which is a sentence, and the test.
pub(crate) type Test = (&'static str, fn());

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime for the tests"));
static SHARED: LazyLock<World> = LazyLock::new(World::new);

/// A sandbox with its folders.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: TempDir,
}

/// Runs a future of a test.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// The sandbox that tests share.
pub(crate) fn shared() -> &'static World {
    &SHARED
}

/// How the shared folder is configured; tests change it.
pub(crate) fn config(folder: &TempDir) -> SandboxConfig {
    let exe = std::env::current_exe().expect("a running program has a file");
    SandboxConfig::new(exe, vec![crate::CHILD.into()], folder.path().join("code"))
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let sandbox = Sandbox::new(config(&folder)).expect("a sandbox");
        Self { sandbox, folder }
    }

    /// Keeps a program, from text or bytes.
    pub(crate) fn keep(&self, program: &[u8]) -> (Guid, PathBuf) {
        let wasm = wat::parse_bytes(program).expect("well-formed text").into_owned();
        self.keep_raw(&wasm)
    }

    /// Keeps bytes, whatever they are.
    pub(crate) fn keep_raw(&self, wasm: &[u8]) -> (Guid, PathBuf) {
        let guid = Guid::of(wasm);
        let path = self.folder.path().join(guid.to_string());
        std::fs::write(&path, wasm).expect("a file");
        (guid, path)
    }

    pub(crate) fn prepare(&self, program: &[u8]) -> Result<Prepared, PrepareError> {
        let (guid, path) = self.keep(program);
        wait(self.sandbox.prepare(guid, &path))
    }

    pub(crate) fn job(&self, program: &[u8]) -> Job<'_> {
        let (guid, path) = self.keep(program);
        let (inputs, own) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let spec = JobSpec::new(guid, Bytes(1), 1);
        let save_every = Span::secs(3_600);
        Job { world: self, path, inputs, own, spec, threads: 1, save_every }
    }
}

/// A job of the shared sandbox.
pub(crate) fn job(program: &str) -> Job<'static> {
    shared().job(program.as_bytes())
}

/// A job being put together.
pub(crate) struct Job<'a> {
    world: &'a World,
    path: PathBuf,
    pub(crate) inputs: TempDir,
    own: TempDir,
    pub(crate) spec: JobSpec,
    pub(crate) threads: u16,
    pub(crate) save_every: Span,
}

impl Job<'_> {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut JobSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Puts a file where `/in` is, without telling the job.
    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        let full = self.inputs.path().join(path);
        std::fs::create_dir_all(full.parent().expect("a folder above")).expect("folders");
        std::fs::write(full, content).expect("a file");
        self
    }

    /// An input of every task.
    pub(crate) fn input(self, path: &str, content: &[u8]) -> Self {
        let size = Bytes(content.len() as u64);
        let mount = Mount { path: path.into(), guid: Guid::of(content), size };
        self.file(path, content).with(|spec| spec.inputs.push(mount))
    }

    /// Keeps a file for one task, which sees it at `path`.
    pub(crate) fn own(&self, task: u32, path: &str, content: &[u8]) -> Order {
        let (guid, size) = (Guid::of(content), Bytes(content.len() as u64));
        std::fs::write(self.own.path().join(guid.to_string()), content).expect("a file");
        let file = Some(Mount { path: path.into(), guid, size });
        Order { task, file, part: Part::default() }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            job: JobId(1),
            spec: self.spec.clone(),
            input_dir: self.inputs.path().to_owned(),
            own_dir: Some(self.own.path().to_owned()),
            threads: self.threads,
            idle: false,
            save_every: self.save_every,
        }
    }

    pub(crate) async fn try_open(&self) -> Result<(Chamber, Events), OpenError> {
        let prepared = self.world.sandbox.prepare(self.spec.program, &self.path).await?;
        self.world.sandbox.open(&prepared, self.setup()).await
    }

    pub(crate) async fn open(&self) -> (Chamber, Events) {
        self.try_open().await.expect("a chamber")
    }

    /// Runs orders to their ends, in order of tasks.
    pub(crate) fn orders(&self, orders: Vec<Order>) -> Vec<Execution> {
        wait(async {
            let (chamber, mut events) = self.open().await;
            let wanted = orders.len();
            chamber.send(orders).await.expect("a living chamber");
            let mut done = finished(&mut events, wanted).await;
            done.sort_by_key(|execution| execution.task);
            done
        })
    }

    /// Runs the only task.
    pub(crate) fn run(&self) -> Execution {
        self.orders(vec![order(0)]).remove(0)
    }
}

pub(crate) fn order(task: u32) -> Order {
    Order { task, file: None, part: Part::default() }
}

/// Collects executions until there are `wanted`.
pub(crate) async fn finished(events: &mut Events, wanted: usize) -> Vec<Execution> {
    let mut done = Vec::new();
    while done.len() < wanted {
        match events.next().await {
            Some(Event::Finished(batch)) => done.extend(batch),
            Some(Event::Saved(_)) => {}
            other => panic!("{other:?} after {} of {wanted} executions", done.len()),
        }
    }
    done
}

/// The exit of a task that came to an end of its own.
pub(crate) fn exit(execution: &Execution) -> Exit {
    execution.end.clone().expect("no fault of the host")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
