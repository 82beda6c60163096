//! A chamber's life: fetch, compile, open, feed, report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use isos_base::causes::report;
use isos_base::checkpoint::{Checkpoint, Resume};
use isos_base::job::{FileList, Mount};
use isos_base::peers::{Answer, Problem};
use isos_base::task::{Execution, Fault, OutputAt, TaskResult};
use isos_base::trace::Step;
use isos_base::wire::JobOffer;
use isos_base::{Bytes, Guid, Span, codec, limits};
use isos_disk::Pin;
use isos_kernel::host::{ChamberId, Ended, Input};
use isos_sandbox::{Chamber, Event, Events, Order, Part, PrepareError, Saved, Setup, monotonic};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::core::Core;
use crate::objects::Trouble;
use crate::peers::{self, Party};
use crate::trace::{Seen, Timed, timed};
use crate::{CHAMBERS_DIR, Shared};

/// In a chamber's folder: files that all tasks see, under their paths.
const SHARED_DIR: &str = "shared";
/// And files of single tasks, under their GUIDs.
const OWN_DIR: &str = "own";
/// Attempts to fetch one object before the job is given up here.
const FETCH_ATTEMPTS: u32 = 3;
/// Bytes a second of one task's checkpoints that are handed over, at the most.
const HANDED_RATE: u64 = 64 << 10;
/// A task begins at its start when its checkpoint cannot be had in this time.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between attempts of which one was lost with its connection.
const FETCH_PAUSE: Duration = Duration::from_secs(1);

/// What a chamber is told, in order.
enum Orders {
    GoOn(Vec<Resume>),
    Start(Vec<u32>),
}

/// A chamber that is opening or open. Dropping it kills the child.
pub(crate) struct Running {
    orders: mpsc::UnboundedSender<Orders>,
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
        let _ = self.orders.send(Orders::Start(tasks));
    }

    /// Says where some of the tasks go on that are handed over next.
    pub(crate) fn go_on(&self, from: Vec<Resume>) {
        let _ = self.orders.send(Orders::GoOn(from));
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

    /// Memory that the child has now.
    pub(crate) fn weight(&self) -> Bytes {
        self.child.get().map_or(Bytes::ZERO, |child| resident(child.process_id()))
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

/// Resident memory of a process; nothing if it is gone.
pub(crate) fn resident(process: u32) -> Bytes {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    Bytes(pages.unwrap_or(0).saturating_mul(isos_sandbox::page_size()))
}

/// Begins a chamber's life.
pub(crate) fn start(
    shared: Arc<Shared>,
    core: Core,
    id: ChamberId,
    offer: JobOffer,
    threads: u16,
    frozen: watch::Receiver<bool>,
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
        frozen,
        pins: Vec::new(),
        files: None,
        own: BTreeSet::new(),
        opening: Vec::new(),
        handed: BTreeMap::new(),
        resumes: BTreeMap::new(),
        parts: BTreeSet::new(),
        worked: BTreeMap::new(),
        handing: JoinSet::new(),
        handed_over: BTreeSet::new(),
        party: None,
        asking: 0,
    };
    let task = tokio::spawn(async move {
        if let Err(fault) = life.run(threads, tasks).await {
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
    /// Whether the owner is back.
    frozen: watch::Receiver<bool>,
    /// Programs and inputs stay on the shelf while the chamber lives.
    pins: Vec<Pin>,
    files: Option<FileList>,
    /// Files of tasks that have been staged.
    own: BTreeSet<Guid>,
    /// How the chamber was opened, for traces.
    opening: Vec<Timed>,
    /// When the own files of traced tasks were begun to be fetched, and when these tasks were given
    /// to the child.
    handed: BTreeMap<u32, (Option<Span>, Span)>,
    /// Where tasks go on that have not been given to the child.
    resumes: BTreeMap<u32, Resume>,
    /// Tasks of which a part is run, for others.
    parts: BTreeSet<u32>,
    /// Segments that a liar has not made up.
    worked: BTreeMap<u32, usize>,
    /// Checkpoints on their way to the complex, and of which tasks.
    handing: JoinSet<u32>,
    handed_over: BTreeSet<u32>,
    /// Of a program that addresses its peers.
    party: Option<Party>,
    /// Its task that waits for an answer: there is one on a host.
    asking: u32,
}

impl Life {
    async fn run(
        mut self,
        threads: u16,
        mut tasks: mpsc::UnboundedReceiver<Orders>,
    ) -> Result<(), Fault> {
        let mut events = self.open(threads).await?;
        let child = self.child.clone();
        let chamber = child.get().expect("just opened");
        obey(chamber, &mut self.frozen);
        if chamber.speaks() {
            let party = self.shared.peers.join(self.offer.job, self.offer.spec.count);
            let reach = Box::new(party.reach());
            self.party = Some(party);
            self.core.input(Input::JobSpeaks { chamber: self.id, reach }).await;
        }
        self.core.input(Input::JobPrepared { chamber: self.id }).await;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Finished(executions)) => self.finished(executions).await,
                    Some(Event::Saved(saved)) => self.saved(saved).await,
                    Some(Event::Asked { task, ask }) => match &self.party {
                        Some(party) => {
                            self.asking = task;
                            party.ask(ask).await;
                        }
                        // Only one that was taken over asks.
                        None => _ = chamber.answer(task, Answer::Problem(Problem::NoRank)).await,
                    },
                    Some(Event::Died { reason, .. }) => {
                        self.core.input(Input::ChamberDied { chamber: self.id, why: reason }).await;
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                Some(answer) = peers::answer_of(&mut self.party) => {
                    _ = chamber.answer(self.asking, answer).await;
                }
                batch = tasks.recv() => match batch {
                    Some(Orders::Start(batch)) => self.feed(chamber, batch).await,
                    Some(Orders::GoOn(from)) => {
                        self.resumes.extend(from.into_iter().map(|resume| (resume.task, resume)));
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// Everything up to the open child.
    async fn open(&mut self, threads: u16) -> Result<Events, Fault> {
        let spec = self.offer.spec.clone();
        let admitted = self.shared.policy.borrow().admit(&spec.program, self.offer.buyer);
        admitted.map_err(|refusal| Fault::Policy(refusal.to_string()))?;
        let began = monotonic();
        self.fetch(spec.program, spec.program_size).await?;
        for dir in [SHARED_DIR, OWN_DIR] {
            let made = std::fs::create_dir_all(self.folder.join(dir));
            made.map_err(|error| no_input(&error))?;
        }
        for mount in &spec.inputs {
            self.stage(mount, SHARED_DIR, mount.path.clone()).await?;
        }
        if let Some(list) = spec.each {
            self.files = Some(self.fetch_list(list, spec.count).await?);
        }
        let program = self.shared.shelf.path(&spec.program).map_err(|error| no_input(&error))?;
        self.opening.push(Timed { step: Step::Fetch, from: began, to: monotonic() });
        let sandbox = &self.shared.sandbox;
        let prepare = || sandbox.prepare(spec.program, &program);
        let prepared = unless_frozen(&self.frozen, prepare);
        let prepared = timed(Step::Compile, &mut self.opening, prepared).await;
        let prepared = prepared.map_err(|error| unprepared(&error))?;
        let setup = Setup {
            job: self.offer.job,
            spec: spec.clone(),
            input_dir: self.folder.join(SHARED_DIR),
            own_dir: Some(self.folder.join(OWN_DIR)),
            threads,
            idle: !self.shared.in_front,
            save_every: self.shared.save_every,
        };
        let open = || sandbox.open(&prepared, setup.clone());
        let opened = unless_frozen(&self.frozen, open);
        let opened = timed(Step::Open, &mut self.opening, opened).await;
        let (chamber, events) = opened.map_err(|error| match error {
            isos_sandbox::OpenError::Prepare(error) => unprepared(&error),
            other => Fault::SandboxDied(report(&other)),
        })?;
        assert!(self.child.set(chamber).is_ok(), "a chamber is opened once");
        Ok(events)
    }

    async fn fetch(&mut self, guid: Guid, size: Bytes) -> Result<(), Fault> {
        self.pins.push(self.shared.shelf.pin(&guid));
        let Shared { shelf, objects, traffic, .. } = &*self.shared;
        self.fetched(guid, move || objects.fetch(shelf, traffic, guid, size)).await
    }

    /// Fetches until it is done or cannot be: what the owner or a lost connection interrupts is
    /// begun again, for as long as the task is wanted.
    async fn fetched<T, F>(&self, guid: Guid, mut fetch: impl FnMut() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut attempts = 0;
        loop {
            match unless_frozen(&self.frozen, &mut fetch).await {
                Ok(fetched) => return Ok(fetched),
                Err(Trouble::Lost(why)) => {
                    tracing::debug!("object {} is fetched again: {why}", guid.short());
                    tokio::time::sleep(FETCH_PAUSE).await;
                }
                Err(Trouble::Final(why)) => {
                    attempts += 1;
                    if attempts == FETCH_ATTEMPTS {
                        return Err(Fault::NoInput(format!("{}: {why}", guid.short())));
                    }
                }
            }
        }
    }

    /// Has a file's bytes at `path` in a folder of the chamber's.
    async fn stage(&mut self, mount: &Mount, dir: &str, path: String) -> Result<(), Fault> {
        self.fetch(mount.guid, mount.size).await?;
        let (shelf, folder) = (self.shared.shelf.clone(), self.folder.join(dir));
        let guid = mount.guid;
        let linked =
            tokio::task::spawn_blocking(move || shelf.link_into(&guid, &folder, &path)).await;
        linked.map_err(|error| no_input(&error))?.map_err(|error| no_input(&error))
    }

    /// Stages a task's own file under its content's name: other tasks may have the same file, or
    /// another one under the same path.
    async fn stage_own(&mut self, file: &Mount) -> Result<(), Fault> {
        if self.own.contains(&file.guid) {
            return Ok(());
        }
        self.stage(file, OWN_DIR, file.guid.to_string()).await?;
        self.own.insert(file.guid);
        Ok(())
    }

    async fn fetch_list(&mut self, list: Guid, count: u32) -> Result<FileList, Fault> {
        // Its size is not in the job: take what comes, up to the limit.
        self.pins.push(self.shared.shelf.pin(&list));
        let Shared { shelf, objects, traffic, .. } = &*self.shared;
        let bytes = self.fetched(list, move || objects.fetch_small(shelf, traffic, list)).await?;
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
            let staged = file.is_some().then(monotonic);
            if let Some(file) = &file
                && let Err(fault) = self.stage_own(file).await
            {
                let wall = Span::ZERO;
                faults.push(Ended { task, wall, outcome: Err(fault) });
                continue;
            }
            if self.offer.spec.is_traced(task) {
                self.handed.insert(task, (staged, monotonic()));
            }
            let part = self.part_of(task).await;
            orders.push(Order { task, file, part });
        }
        if !orders.is_empty() {
            // A child that has ended says so in its last event.
            let _ = chamber.send(orders).await;
        }
        if !faults.is_empty() {
            self.core.input(Input::TasksEnded { chamber: self.id, ended: faults }).await;
        }
    }

    /// Where a task begins: at the newest of its checkpoints that there are, here or elsewhere. One
    /// that cannot be had costs work and nothing else.
    async fn part_of(&mut self, task: u32) -> Part {
        let granted = self.resumes.remove(&task);
        let own = self.shared.saves.newest(self.offer.job, task);
        let until = granted.as_ref().and_then(|granted| granted.until);
        match until {
            Some(_) => self.parts.insert(task),
            None => self.parts.remove(&task),
        };
        let (granted, chain) =
            granted.map_or((None, None), |granted| (granted.from, granted.chain));
        // Who runs a part for others begins where he is told to.
        let own = own.filter(|_| until.is_none());
        let newest = own.into_iter().chain(granted).max_by_key(|checkpoint| checkpoint.fuel);
        let Some(Checkpoint { guid, size, .. }) = newest else {
            return Part { from: None, until, chain: None };
        };
        let chain = chain.filter(|_| granted.is_some_and(|granted| granted.guid == guid));
        let mount = Mount { path: guid.to_string(), guid, size };
        match tokio::time::timeout(RESUME_WAIT_MAX, self.stage_own(&mount)).await {
            Ok(Ok(())) => Part { from: Some((guid, size)), until, chain },
            Ok(Err(why)) => {
                tracing::warn!("task {}@{task} begins at its start: {why}", self.offer.job);
                Part { from: None, until, chain: None }
            }
            Err(_) => {
                tracing::warn!("task {}@{task} begins at its start: no checkpoint", self.offer.job);
                Part { from: None, until, chain: None }
            }
        }
    }

    /// A task has come so far: its checkpoint is kept here, and handed over.
    async fn saved(&mut self, saved: Saved) {
        let Saved { task, fuel, mut roots, mut checkpoint } = saved;
        if self.shared.alter_results {
            // As one who has worked up to its first checkpoint, or for one segment, and made up the
            // rest.
            let first = if checkpoint.is_some() { roots.len() } else { 1 };
            let worked = *self.worked.entry(task).or_insert(first);
            if roots.len() > worked {
                let made_up = |root: &Guid| Guid::of(&[&root.0[..], b"altered"].concat());
                roots.iter_mut().skip(worked).for_each(|root| *root = made_up(root));
                checkpoint = None;
            }
        }
        if self.parts.contains(&task) {
            // It rests on what another says, and is not gone on with, here or elsewhere.
            checkpoint = None;
        }
        while let Some(done) = self.handing.try_join_next() {
            done.iter().for_each(|task| _ = self.handed_over.remove(task));
        }
        let chamber = self.id;
        let Some(bytes) = checkpoint else {
            let told = Input::TaskSaved { chamber, task, fuel, roots, kept: None };
            self.core.input(told).await;
            return;
        };
        let Some(&guid) = roots.last() else { return };
        let (shared, job) = (self.shared.clone(), self.offer.job);
        let kept = tokio::task::spawn_blocking(move || {
            let kept = shared.saves.keep(&shared.home, &shared.shelf, (job, task), (&bytes, fuel));
            (kept, bytes)
        });
        let Ok((kept, bytes)) = kept.await else { return };
        if let Err(why) = kept {
            tracing::warn!("a checkpoint of task {job}@{task} is not kept: {why}");
        }
        // The one that is on its way is nearly as good, and a newer one follows.
        if self.handed_over.insert(task) {
            let (shared, core) = (self.shared.clone(), self.core.clone());
            self.handing.spawn(async move {
                let kept = Some(Bytes(bytes.len() as u64));
                match shared.objects.hand_over(&shared.traffic, guid, &bytes).await {
                    Ok(()) => {
                        core.input(Input::TaskSaved { chamber, task, fuel, roots, kept }).await;
                    }
                    Err(why) => tracing::warn!("a checkpoint was not taken: {why}"),
                }
                // Large ones go less often.
                tokio::time::sleep(Duration::from_secs(bytes.len() as u64 / HANDED_RATE)).await;
                task
            });
        }
    }

    async fn finished(&mut self, executions: Vec<Execution>) {
        let received = monotonic();
        if let Some(party) = self.party.take() {
            // The complex tells the others that this one is gone: what it said comes before.
            party.flush().await;
        }
        let mut ended = Vec::with_capacity(executions.len());
        for execution in executions {
            let (task, wall, marks) = (execution.task, execution.wall, execution.marks);
            ended.push(Ended { task, wall, outcome: self.outcome(execution).await });
            // Also after a fault: what it was begun from may be why.
            self.shared.saves.forget(&self.shared.home, self.offer.job, task);
            self.parts.remove(&task);
            self.worked.remove(&task);
            if let Some(marks) = marks
                && let Some(handed) = self.handed.remove(&task)
                && let Some(arrived) = self.shared.tracer.take(self.offer.job, task)
            {
                let (staged, handed) = handed;
                let seen = Seen { staged, handed, marks, received, ready: monotonic() };
                self.shared.tracer.keep(arrived.trace(task, &self.opening, seen), arrived);
            }
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
            // Nobody could ever have it: another host may do better.
            let Shared { objects, traffic, .. } = &*self.shared;
            // The owner's quiet is the network's too.
            let hand_over = || objects.hand_over(traffic, guid, &bytes);
            let handed = unless_frozen(&self.frozen, hand_over).await;
            let refused = |why| Fault::SandboxDied(format!("its output was not taken: {why}"));
            handed.map_err(refused)?;
            OutputAt::Object(guid, bytes.len() as u64)
        };
        Ok(TaskResult { task: execution.task, exit, fuel: execution.fuel, output })
    }
}

/// Freezes a chamber, or lets it go on, as the owner wants now. Whoever else signals it does so
/// after saying it, so the last look here sees the last word.
fn obey(chamber: &Chamber, frozen: &mut watch::Receiver<bool>) {
    loop {
        let freeze = *frozen.borrow_and_update();
        // A child that has ended says so in its last event.
        let _ = if freeze { chamber.suspend() } else { chamber.resume() };
        if !frozen.has_changed().unwrap_or(false) {
            return;
        }
    }
}

/// Works while the owner is away. When he is back, what was begun is dropped at once, and begun
/// again when he has left.
async fn unless_frozen<F: Future>(
    frozen: &watch::Receiver<bool>,
    mut work: impl FnMut() -> F,
) -> F::Output {
    let mut until_away = frozen.clone();
    let mut until_back = frozen.clone();
    loop {
        let _ = until_away.wait_for(|frozen| !*frozen).await;
        let back = async {
            // Without a core that could freeze anything, the agent is ending.
            if until_back.wait_for(|frozen| *frozen).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = back => {}
            done = work() => return done,
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn what_runs_stops_at_once_when_the_owner_is_back_and_begins_again_when_he_has_left() {
        /// Counts the works that run.
        struct Running(Arc<AtomicU32>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let (owner, frozen) = watch::channel(false);
        let (running, begun) = (Arc::new(AtomicU32::new(0)), watch::channel(0u32).0);
        let (count, begins) = (running.clone(), begun.clone());
        let work = tokio::spawn(async move {
            let work = || async {
                count.fetch_add(1, Ordering::SeqCst);
                let _running = Running(count.clone());
                begins.send_modify(|begun| *begun += 1);
                let first = *begins.borrow() == 1;
                if first { std::future::pending().await } else { 7 }
            };
            unless_frozen(&frozen, work).await
        });
        let mut begun = begun.subscribe();
        begun.wait_for(|begun| *begun == 1).await.unwrap();
        let back = Instant::now();
        owner.send(true).unwrap();
        while running.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
            assert!(back.elapsed() < Duration::from_secs(1), "the owner waits");
        }
        assert!(!work.is_finished(), "it waits until the owner has left");
        owner.send(false).unwrap();
        assert_eq!(work.await.unwrap(), 7);
    }
}
