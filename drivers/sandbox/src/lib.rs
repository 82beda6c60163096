//! Runs WebAssembly programs: compiled in one walled child process, run in another, with the same
//! result on every host.
//!
//! A [`Sandbox`] checks and compiles programs and keeps the code. A [`Chamber`] is one child for
//! the tasks of one job: orders go in, executions come out, in batches. Programs are unmodified
//! WASI commands (a preview-1 module or a 0.2 component) that see arguments, environment, `/in`
//! read-only, `/out` collected, `/tmp`, a virtual clock and seeded random bytes; no network. Fuel
//! is always counted and part of the result.
//!
//! It deliberately does not fetch programs or inputs, choose what runs, or judge results. It keeps
//! no record of tasks beyond those a chamber has been ordered to do. Linux only, for now.
//!
//! The process that embeds this must call [`child_main`] when it finds itself started as a child,
//! before it starts any thread.

mod behind;
mod chamber;
mod checkpoint;
mod child;
mod code;
mod compile;
mod engine;
mod fence;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod host;
mod link;
mod p1;
mod p2;
mod peers;
mod probe;
mod protocol;
mod queue;
mod shape;
mod spawn;
mod step;
mod stop;
mod task;
mod vfs;
mod walls;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use isos_base::time::Span;
use isos_base::{Bytes, Guid};

#[doc(hidden)]
pub use behind::behind_walls;
pub use chamber::{Chamber, ChamberGone, Event, Events, OpenError};
pub use code::{PrepareError, Prepared};
pub use fence::{Allowed, Keeper};
pub use protocol::{Order, Part, Saved, Setup, Wall};
pub use task::monotonic;

use code::Store;
use fence::Fence;
use spawn::Spawner;
use tokio::sync::watch;

/// How the sandbox works on this host.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The executable to start as a child: usually this very program.
    pub exe: PathBuf,
    /// The first arguments of a child, by which it knows to call [`child_main`] with the rest.
    pub child_args: Vec<OsString>,
    /// Where compiled code is kept; made with mode 0700. Belongs to this sandbox alone.
    pub cache_dir: PathBuf,
    /// Bytes of compiled code kept at the most; what was used longest ago goes first.
    pub cache_max: Bytes,
    /// Memory of a compiling child. Known programs need up to 1.6 GB (yosys, 69 MB of code).
    pub compile_memory: Bytes,
    /// Processor time of a compiling child, all its threads together.
    pub compile_cpu: Span,
    /// Wall time of a compiling child; it runs at idle priority, so more than its processor time.
    pub compile_wall: Span,
    /// Whether all children together are held by control groups, where this user can have some.
    pub groups: bool,
    /// Whether children have only time that nobody else wants. Not so where whoever started this
    /// world waits for it.
    pub idle: bool,
}

impl SandboxConfig {
    /// The usual limits: 2 GiB and 120 s of processor time to compile, 4 GiB of code kept; no
    /// control groups.
    #[must_use]
    pub fn new(exe: PathBuf, child_args: Vec<OsString>, cache_dir: PathBuf) -> Self {
        Self {
            exe,
            child_args,
            cache_dir,
            cache_max: Bytes::gib(4),
            compile_memory: Bytes::gib(2),
            compile_cpu: Span::secs(120),
            compile_wall: Span::secs(600),
            groups: false,
            idle: true,
        }
    }
}

/// Compiles programs and opens chambers.
#[derive(Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    store: Arc<Store>,
    spawner: Arc<Spawner>,
    fence: Arc<Fence>,
    /// One lock for each program that is being prepared, so that it is compiled once.
    preparing: Mutex<BTreeMap<Guid, Arc<tokio::sync::Mutex<()>>>>,
    /// One compiler at a time.
    compiling: tokio::sync::Semaphore,
}

impl Sandbox {
    /// Makes the folder for compiled code, and the thread that starts children.
    ///
    /// # Errors
    /// Where the folder cannot be made or read. Nothing is running then.
    pub fn new(config: SandboxConfig) -> std::io::Result<Self> {
        let store = Arc::new(Store::open(&config.cache_dir, &config.exe, config.cache_max)?);
        let fence = Arc::new(Fence::new(config.groups, config.idle));
        Ok(Self {
            store,
            spawner: Arc::new(Spawner::start(fence.clone())?),
            fence,
            preparing: Mutex::default(),
            compiling: tokio::sync::Semaphore::new(1),
            config,
        })
    }

    /// What results depend on besides program and job: engine, determinism profile, version of
    /// the host's functions. Results of different engines must not be compared.
    #[must_use]
    pub const fn engine() -> &'static str {
        engine::ENGINE
    }

    /// Checks and compiles a program, or finds that this has been done. `wasm` must hold the
    /// content that `program` names; the caller has checked that. Concurrent calls for one program
    /// compile once. Compiled code whose hash is wrong is compiled again.
    ///
    /// # Errors
    /// [`PrepareError`]; nothing is kept then.
    pub async fn prepare(&self, program: Guid, wasm: &Path) -> Result<Prepared, PrepareError> {
        let lock = {
            let mut preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
            preparing.entry(program).or_default().clone()
        };
        let prepared = {
            let _one = lock.lock().await;
            self.prepare_alone(program, wasm).await
        };
        let mut preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        // This one, the map's, and no other caller's.
        if Arc::strong_count(&lock) <= 2 {
            preparing.remove(&program);
        }
        prepared
    }

    async fn prepare_alone(&self, program: Guid, wasm: &Path) -> Result<Prepared, PrepareError> {
        let store = self.store.clone();
        let source = wasm.to_owned();
        let found = tokio::task::spawn_blocking(move || store.find(program, &source)).await;
        if let Some(prepared) = found.map_err(std::io::Error::other)?? {
            return Ok(prepared);
        }
        let _turn = self.compiling.acquire().await.map_err(std::io::Error::other)?;
        code::compile(&self.config, &self.store, &self.spawner, program, wasm).await
    }

    /// The process numbers of the children that live now, whatever they do: compile, open, run.
    /// They have none of their own.
    #[must_use]
    pub fn processes(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.spawner.living()
    }

    /// Ends the children that control groups hold, and removes the groups: before the process ends,
    /// since the thread that starts children may not come to it.
    pub fn close(&self) {
        self.fence.close();
    }

    /// Holds all children together to this from now on, those that run as well.
    pub fn allow(&self, allowed: Allowed) {
        self.fence.allow(allowed);
    }

    /// Holds all children to so many thousandths of a core, within what [`Sandbox::allow`] says;
    /// where no control group can, whole cores are held.
    pub fn hold_cpu(&self, thousandths: u32) {
        self.fence.hold_cpu(thousandths);
    }

    /// Whether children can be held to a part of a core.
    #[must_use]
    pub fn holds_parts(&self) -> bool {
        self.fence.holds_parts()
    }

    /// Freezes all children at once, those that are yet to come too, where a control group can;
    /// or lets them go on. [`Chamber::suspend`] stops each of them besides.
    pub fn freeze(&self, frozen: bool) {
        self.fence.freeze(frozen);
    }

    /// Keeps at most so much compiled code from now on, and never more than it was made for. What
    /// is there already stays until [`Sandbox::shrink_code`].
    pub fn set_code_max(&self, max: Bytes) {
        self.store.set_most(max.min(self.config.cache_max));
    }

    /// Removes compiled code that is too much; a chamber that runs it goes on. Blocks on the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn shrink_code(&self) -> std::io::Result<()> {
        self.store.shrink()
    }

    /// Room that compiled code takes.
    #[must_use]
    pub fn code_used(&self) -> Bytes {
        self.store.used()
    }

    /// Who holds the owner's limits here, and what that cannot do.
    #[must_use]
    pub fn keepers(&self) -> Vec<Keeper> {
        self.fence.keepers()
    }

    /// Tries the walls: what a program that had broken out of WebAssembly could still do here, by
    /// name, from a child like those that run programs. Empty where all walls stand.
    ///
    /// # Errors
    /// Where the child cannot be started or does not answer.
    pub async fn probe(&self) -> std::io::Result<Vec<String>> {
        let command = spawn::command(&self.config, spawn::PROBE);
        let (child, _listed) = self.spawner.spawn(command).await?;
        let ended = child.wait_with_output().await?;
        let text = String::from_utf8_lossy(&ended.stdout);
        match text.strip_prefix(probe::GREETING) {
            Some(list) if ended.status.success() => Ok(list.lines().map(str::to_owned).collect()),
            _ => Err(std::io::Error::other(format!("the probing child: {}", ended.status))),
        }
    }

    /// Starts a child for the tasks of one job. It works through orders until its [`Chamber`] is
    /// dropped or killed.
    ///
    /// # Errors
    /// [`OpenError`]; no child is left behind.
    pub async fn open(
        &self,
        prepared: &Prepared,
        setup: Setup,
    ) -> Result<(Chamber, Events), OpenError> {
        // The code is checked again now, so that what is loaded is what was compiled here.
        let mut fresh = self.prepare(prepared.program(), prepared.wasm()).await?;
        match chamber::open(&self.config, &self.spawner, &fresh, &setup).await {
            Err(OpenError::Stale { .. }) => {
                self.store.forget(&fresh)?;
                fresh = self.prepare(prepared.program(), prepared.wasm()).await?;
                chamber::open(&self.config, &self.spawner, &fresh, &setup).await
            }
            other => other,
        }
    }
}

/// Bytes of a page of memory, in which the kernel counts a process's.
#[must_use]
pub fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Who would hold an owner's limits on this machine: makes what a sandbox would make, and removes
/// it.
#[must_use]
pub fn keepers_here() -> Vec<Keeper> {
    Fence::new(true, true).keepers()
}

/// Whether a sandbox could hold its children to a part of a core here.
#[must_use]
pub fn parts_here() -> bool {
    Fence::new(true, true).holds_parts()
}

/// The main of a child, to be called with the arguments behind [`SandboxConfig::child_args`]
/// before any thread or runtime exists. Ends when its agent closes the pipe or dies.
pub fn child_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> =
        args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    match args.split_first() {
        Some((duty, [])) if duty == spawn::RUN => child::main(),
        Some((duty, [])) if duty == spawn::PROBE => probe::main(),
        Some((duty, limits)) if duty == spawn::COMPILE => compile::main(limits),
        _ => ExitCode::from(2),
    }
}
