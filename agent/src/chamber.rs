//! A chamber's life: fetch, compile, open, feed, report.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use isos_base::causes::report;
use isos_base::job::{FileList, Mount};
use isos_base::task::{Execution, Fault, OutputAt, TaskResult};
use isos_base::wire::JobOffer;
use isos_base::{Bytes, Guid, codec, limits};
use isos_disk::Pin;
use isos_kernel::host::{ChamberId, Ended, Input};
use isos_sandbox::{Chamber, Event, Events, Order, PrepareError, Setup};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::core::Core;
use crate::{CHAMBERS_DIR, Shared};

/// Attempts to fetch one object before the job is given up here.
const FETCH_ATTEMPTS: u32 = 3;

/// A chamber that is opening or open. Dropping it kills the child.
pub(crate) struct Running {
    orders: mpsc::UnboundedSender<Vec<u32>>,
    child: Arc<OnceLock<Chamber>>,
    task: AbortHandle,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(child) = self.child.get() {
            child.kill();
        }
        // Links to objects on the shelf, and nothing else.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    /// Hands tasks over, in order.
    pub(crate) fn order(&self, tasks: Vec<u32>) {
        let _ = self.orders.send(tasks);
    }

    pub(crate) fn suspend(&self) {
        if let Some(child) = self.child.get() {
            let _ = child.suspend();
        }
    }

    pub(crate) fn resume(&self) {
        if let Some(child) = self.child.get() {
            let _ = child.resume();
        }
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.get().map(Chamber::process_id)
    }

    /// The walls around the programs, in words.
    pub(crate) fn walls(&self) -> Option<Vec<String>> {
        let say = |wall: &isos_sandbox::Wall| match &wall.missing {
            None => wall.name.clone(),
            Some(why) => format!("{} (not here: {why})", wall.name),
        };
        self.child.get().map(|child| child.walls().iter().map(say).collect())
    }
}

/// Begins a chamber's life.
pub(crate) fn start(
    shared: Arc<Shared>,
    core: Core,
    id: ChamberId,
    offer: JobOffer,
    threads: u16,
    frozen: Arc<AtomicBool>,
) -> Running {
    let (orders, tasks) = mpsc::unbounded_channel();
    let child = Arc::new(OnceLock::new());
    let folder = shared.home.dir().join(CHAMBERS_DIR).join(id.0.to_string());
    let life = Life {
        shared,
        core: core.clone(),
        id,
        offer,
        child: child.clone(),
        folder: folder.clone(),
        pins: Vec::new(),
        files: None,
    };
    let task = tokio::spawn(async move {
        if let Err(fault) = life.run(threads, tasks, &frozen).await {
            core.input(Input::JobUnpreparable { chamber: id, fault }).await;
        }
    });
    Running { orders, child, task: task.abort_handle(), folder }
}

struct Life {
    shared: Arc<Shared>,
    core: Core,
    id: ChamberId,
    offer: JobOffer,
    child: Arc<OnceLock<Chamber>>,
    folder: PathBuf,
    /// Programs and inputs stay on the shelf while the chamber lives.
    pins: Vec<Pin>,
    files: Option<FileList>,
}

impl Life {
    async fn run(
        mut self,
        threads: u16,
        mut tasks: mpsc::UnboundedReceiver<Vec<u32>>,
        frozen: &AtomicBool,
    ) -> Result<(), Fault> {
        let mut events = self.open(threads).await?;
        let child = self.child.clone();
        let chamber = child.get().expect("just opened");
        if frozen.load(Ordering::SeqCst) {
            let _ = chamber.suspend();
        }
        self.core.input(Input::JobPrepared { chamber: self.id }).await;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Finished(executions)) => self.finished(executions).await,
                    Some(Event::Died { reason, .. }) => {
                        self.core.input(Input::ChamberDied { chamber: self.id, why: reason }).await;
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                batch = tasks.recv() => match batch {
                    Some(batch) => self.feed(chamber, batch).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Everything up to the open child.
    async fn open(&mut self, threads: u16) -> Result<Events, Fault> {
        let spec = self.offer.spec.clone();
        let admitted = self.shared.policy.admit(&spec.program, self.offer.buyer);
        admitted.map_err(|refusal| Fault::Policy(refusal.to_string()))?;
        self.fetch(spec.program, spec.program_size).await?;
        std::fs::create_dir_all(&self.folder).map_err(|error| no_input(&error))?;
        for mount in &spec.inputs {
            self.mount(mount).await?;
        }
        if let Some(list) = spec.each {
            self.files = Some(self.fetch_list(list, spec.count).await?);
        }
        let program = self.shared.shelf.path(&spec.program).map_err(|error| no_input(&error))?;
        let prepared = self.shared.sandbox.prepare(spec.program, &program).await;
        let prepared = prepared.map_err(|error| unprepared(&error))?;
        let setup = Setup {
            job: self.offer.job,
            spec,
            input_dir: self.folder.clone(),
            threads,
            idle: true,
        };
        let opened = self.shared.sandbox.open(&prepared, setup).await;
        let (chamber, events) = opened.map_err(|error| match error {
            isos_sandbox::OpenError::Prepare(error) => unprepared(&error),
            other => Fault::SandboxDied(report(&other)),
        })?;
        assert!(self.child.set(chamber).is_ok(), "a chamber is opened once");
        Ok(events)
    }

    async fn fetch(&mut self, guid: Guid, size: Bytes) -> Result<(), Fault> {
        self.pins.push(self.shared.shelf.pin(&guid));
        let mut last = String::new();
        for _ in 0..FETCH_ATTEMPTS {
            match self.shared.objects.fetch(&self.shared.shelf, guid, size).await {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
        }
        Err(Fault::NoInput(format!("{}: {last}", guid.short())))
    }

    async fn mount(&mut self, mount: &Mount) -> Result<(), Fault> {
        self.fetch(mount.guid, mount.size).await?;
        let (shelf, folder) = (self.shared.shelf.clone(), self.folder.clone());
        let (guid, path) = (mount.guid, mount.path.clone());
        let linked =
            tokio::task::spawn_blocking(move || shelf.link_into(&guid, &folder, &path)).await;
        linked.map_err(|error| no_input(&error))?.map_err(|error| no_input(&error))
    }

    async fn fetch_list(&mut self, list: Guid, count: u32) -> Result<FileList, Fault> {
        // Its size is not in the job: take what comes, up to the limit.
        self.pins.push(self.shared.shelf.pin(&list));
        let bytes = self.shared.objects.fetch_small(&self.shared.shelf, list).await;
        let bytes = bytes.map_err(Fault::NoInput)?;
        let list: FileList = codec::decode(&bytes).map_err(|error| no_input(&error))?;
        if list.files.len() == count as usize {
            Ok(list)
        } else {
            Err(Fault::NoInput("the list of files has another length than the job".into()))
        }
    }

    /// Gives tasks to the child, after their own files.
    async fn feed(&mut self, chamber: &Chamber, batch: Vec<u32>) {
        let mut orders = Vec::with_capacity(batch.len());
        let mut faults = Vec::new();
        for task in batch {
            let file = self.files.as_ref().and_then(|list| list.files.get(task as usize)).cloned();
            let path = file.as_ref().map(|file| file.path.clone());
            if let Some(file) = &file
                && !self.folder.join(&file.path).exists()
                && let Err(fault) = self.mount(file).await
            {
                let wall = isos_base::Span::ZERO;
                faults.push(Ended { task, wall, outcome: Err(fault) });
                continue;
            }
            orders.push(Order { task, file: path });
        }
        if !orders.is_empty() {
            // A child that has ended says so in its last event.
            let _ = chamber.send(orders).await;
        }
        if !faults.is_empty() {
            self.core.input(Input::TasksEnded { chamber: self.id, ended: faults }).await;
        }
    }

    async fn finished(&self, executions: Vec<Execution>) {
        let mut ended = Vec::with_capacity(executions.len());
        for execution in executions {
            let (task, wall) = (execution.task, execution.wall);
            ended.push(Ended { task, wall, outcome: self.outcome(execution).await });
        }
        self.core.input(Input::TasksEnded { chamber: self.id, ended }).await;
    }

    async fn outcome(&self, mut execution: Execution) -> Result<TaskResult, Fault> {
        let exit = execution.end?;
        if self.shared.alter_results {
            execution.output.stdout.extend_from_slice(b"altered\n");
        }
        let bytes = execution.output.encode();
        let output = if bytes.len() <= limits::OUTPUT_INLINE_MAX {
            OutputAt::Inline(bytes)
        } else {
            let guid = Guid::of(&bytes);
            self.shared.objects.hand_over(guid, &bytes).await;
            OutputAt::Object(guid, bytes.len() as u64)
        };
        Ok(TaskResult { task: execution.task, exit, fuel: execution.fuel, output })
    }
}

fn no_input(error: &dyn std::error::Error) -> Fault {
    Fault::NoInput(report(error))
}

fn unprepared(error: &PrepareError) -> Fault {
    match error {
        PrepareError::BadProgram { reason, .. } => Fault::BadProgram(reason.clone()),
        other => Fault::SandboxDied(report(other)),
    }
}
