//! The core: one task that owns the machine, one that lets effects go once they are durable.
//!
//! Inputs are taken in batches; each batch becomes one submission to the database's writer, which
//! commits all submissions that wait in one transaction. Frames, replies and answers to queries
//! stand in one queue behind their batch's commit, so nobody ever sees what a crash could undo.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use isos_base::api::{Problem, ProblemCode};
pub(crate) use isos_base::causes::report;
use isos_base::record::Change;
use isos_base::wire::{ToComplex, ToHost};
use isos_base::{JobId, Machine, Time};
use isos_db::{Commit, CommitError, Writer};
use isos_kernel::complex::{Call, Complex, Effect, Input, Reply, RequestId, SessionId};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock;
use crate::journal::Journal;
use crate::metrics::{Metrics, Queue};
use crate::trace::Traces;

/// Inputs that wait for the core. Beyond it, senders wait: hosts and requests slow down.
const INPUTS_MAX: usize = 4_096;
/// Inputs stepped before their changes are handed to the writer.
const BATCH_INPUTS_MAX: usize = 512;
/// Batches on their way to the disk.
const BATCHES_MAX: usize = 32;
/// Frames that wait for one host; a host that reads slower than this is disconnected.
pub(crate) const HOST_FRAMES_MAX: usize = 1_024;

/// What releases the answer to a query, once what it saw is durable.
type Release = Box<dyn FnOnce() + Send>;
/// Looks at the machine and says how its answer is to be released.
type Query = Box<dyn FnOnce(&mut Complex, Time) -> Release + Send>;

enum Message {
    Input(Input),
    Call(Call, oneshot::Sender<Result<Reply, Problem>>),
    Query(Query),
}

/// What leaves a batch once it is durable.
enum Outgoing {
    Send(SessionId, ToHost),
    Close(SessionId),
    Answer(RequestId, Result<Reply, Problem>),
    JobMoved(JobId),
    Release(Release),
}

struct Batch {
    /// When it was decided.
    decided: Instant,
    /// Resolves when everything before is on the disk.
    commit: Commit,
    outgoing: Vec<Outgoing>,
}

/// What leads from the core to one host.
pub(crate) struct Outlet {
    /// Frames to write; the session ends in good order behind the last one.
    pub(crate) frames: mpsc::Receiver<ToHost>,
    /// Told when the session ends at once, whatever is being written.
    pub(crate) cut: Arc<Notify>,
}

/// The core's end of an [`Outlet`].
struct Inlet {
    frames: mpsc::Sender<ToHost>,
    cut: Arc<Notify>,
}

/// Who waits for what.
#[derive(Default)]
struct Registry {
    sessions: HashMap<SessionId, Inlet>,
    requests: HashMap<RequestId, oneshot::Sender<Result<Reply, Problem>>>,
    watched: HashMap<JobId, watch::Sender<u64>>,
    next_session: u64,
    /// What those are told whose answer will not come, once the database has failed.
    failed: Option<Problem>,
}

/// A handle of the core. Clones are handles of the same one.
#[derive(Clone)]
pub(crate) struct Core {
    messages: mpsc::Sender<Message>,
    batches: mpsc::WeakSender<Batch>,
    registry: Arc<Mutex<Registry>>,
    writer: Writer,
}

/// The request was taken, and whether it was carried out is not known here.
pub(crate) fn cut_off() -> Problem {
    let why = "the server ended before it could say whether this was done: look for it (`isos job \
               list`, `isos account statement`), or ask again with the same key, which does it once";
    Problem::new(ProblemCode::Unsure, why)
}

/// The database does not take what requests have led to. Another server, or this one when it has
/// started again, must not be asked the same by a program that takes this for a passing fault.
fn unkept(error: &CommitError) -> Problem {
    if error.is_of_changes() {
        let why = format!(
            "nothing of this was done: what follows from it, or from a request beside it, cannot \
             be kept, and to ask again may end the same: {}; please report it",
            report(error)
        );
        return Problem::new(ProblemCode::Internal, why);
    }
    if error.keeps_nothing() { stopping() } else { cut_off() }
}

fn stopping() -> Problem {
    Problem::new(ProblemCode::Busy, "the server is stopping: try again in a moment")
}

impl Core {
    /// Starts the core over a machine. `failed` is told why, if the database fails: then nothing is
    /// acknowledged any more and the server must stop.
    pub(crate) fn start(
        machine: Complex,
        effects: Vec<Effect>,
        books: Books,
        failed: mpsc::Sender<String>,
    ) -> Self {
        let (messages, inbox) = mpsc::channel(INPUTS_MAX);
        let (batches, outbox) = mpsc::channel(BATCHES_MAX);
        let registry = Arc::new(Mutex::new(Registry::default()));
        let (metrics, writer) = (books.metrics.clone(), books.writer.clone());
        let (full, registry_too) = (batches.downgrade(), registry.clone());
        let task = Task { machine, books, batches, registry: registry_too, requests: 0 };
        tokio::spawn(task.run(inbox, effects));
        tokio::spawn(release(outbox, registry.clone(), metrics, failed));
        Self { messages, batches: full, registry, writer }
    }

    /// What waits to be decided, and what was decided and waits to be kept.
    pub(crate) fn queues(&self) -> [Queue; 3] {
        let inputs = self.messages.max_capacity() - self.messages.capacity();
        let batches = self.batches.upgrade().map_or(0, |it| it.max_capacity() - it.capacity());
        let registry = lock(&self.registry);
        let sessions = registry.sessions.values();
        let frames = sessions.map(|it| it.frames.max_capacity() - it.frames.capacity()).max();
        [
            Queue { name: "inputs", waiting: inputs, max: INPUTS_MAX },
            Queue { name: "batches", waiting: batches, max: BATCHES_MAX },
            // Of the host for which most wait.
            Queue { name: "host_frames", waiting: frames.unwrap_or(0), max: HOST_FRAMES_MAX },
        ]
    }

    /// Gives a fact to the machine; waits while too many others do.
    pub(crate) async fn input(&self, input: Input) {
        let _ = self.messages.send(Message::Input(input)).await;
    }

    /// Says at once that nothing can be kept now, rather than when there is room again.
    fn can_keep(&self) -> Result<(), Problem> {
        match self.writer.no_room() {
            None => Ok(()),
            Some(error) => Err(Problem::new(ProblemCode::Busy, error.to_string())),
        }
    }

    /// Asks for something; the reply comes when it is durable.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Problem> {
        self.can_keep()?;
        let (answer, answered) = oneshot::channel();
        let sent = self.messages.send(Message::Call(call, answer)).await;
        sent.map_err(|_| stopping())?;
        let lost = |_| Err(lock(&self.registry).failed.clone().unwrap_or_else(cut_off));
        answered.await.unwrap_or_else(lost)
    }

    /// Looks at the machine. What it saw is durable when the answer comes.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Complex, Time) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.can_keep()?;
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |machine, now| {
            let seen = look(machine, now);
            Box::new(move || _ = answer.send(seen))
        });
        self.messages.send(Message::Query(query)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())
    }

    /// A number for a new connection, and what the machine sends to it.
    pub(crate) fn open_session(&self) -> (SessionId, Outlet) {
        lock(&self.registry).open_session()
    }

    /// The connection is gone.
    pub(crate) fn close_session(&self, session: SessionId) {
        lock(&self.registry).sessions.remove(&session);
    }

    /// Ticks whenever something about the job can be seen to have changed from now on: a look
    /// after this call misses nothing.
    pub(crate) fn watch(&self, job: JobId) -> Watched {
        let mut registry = lock(&self.registry);
        let sender = registry.watched.entry(job).or_insert_with(|| watch::channel(0).0);
        Watched { job, ticks: sender.subscribe(), registry: self.registry.clone() }
    }

    /// How many jobs are watched.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        lock(&self.registry).watched.len()
    }
}

/// A look-out for one job. The last one to be dropped takes the job off the list.
pub(crate) struct Watched {
    job: JobId,
    ticks: watch::Receiver<u64>,
    registry: Arc<Mutex<Registry>>,
}

impl Watched {
    /// Waits for a tick that has not been waited for; false when the server has ended.
    pub(crate) async fn moved(&mut self) -> bool {
        self.ticks.changed().await.is_ok()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut registry = lock(&self.registry);
        // Its own receiver still counts; others come and go under the same lock.
        if registry.watched.get(&self.job).is_some_and(|sender| sender.receiver_count() <= 1) {
            registry.watched.remove(&self.job);
        }
    }
}

impl Registry {
    fn open_session(&mut self) -> (SessionId, Outlet) {
        let (sender, frames) = mpsc::channel(HOST_FRAMES_MAX);
        let cut = Arc::new(Notify::new());
        self.next_session += 1;
        let session = SessionId(self.next_session);
        self.sessions.insert(session, Inlet { frames: sender, cut: cut.clone() });
        (session, Outlet { frames, cut })
    }

    /// Gives a frame to its session. A host that lets too many wait loses its connection.
    fn send(&mut self, session: SessionId, frame: ToHost) {
        let Some(inlet) = self.sessions.get(&session) else { return };
        if inlet.frames.try_send(frame).is_err() {
            tracing::warn!(session = session.0, "a host reads too slowly: closed");
            inlet.cut.notify_one();
            self.sessions.remove(&session);
        }
    }
}

fn lock(registry: &Mutex<Registry>) -> std::sync::MutexGuard<'_, Registry> {
    // Every holder leaves the maps whole between statements, so a poisoned lock is still good.
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where everything is written down.
pub(crate) struct Books {
    pub(crate) writer: Writer,
    pub(crate) journal: Option<Journal>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traces: Traces,
}

struct Task {
    machine: Complex,
    books: Books,
    batches: mpsc::Sender<Batch>,
    registry: Arc<Mutex<Registry>>,
    requests: u64,
}

/// Nobody waits for an answer that will not come.
impl Drop for Task {
    fn drop(&mut self) {
        lock(&self.registry).requests.clear();
    }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>, mut effects: Vec<Effect>) {
        let mut messages = Vec::with_capacity(BATCH_INPUTS_MAX);
        let mut releases = Vec::new();
        // What follows from the start alone.
        if let Some(journal) = &mut self.books.journal {
            journal.decided(clock::now(), &effects);
        }
        if !self.hand_over(clock::now(), &mut effects, &mut releases).await {
            return;
        }
        loop {
            let deadline = self.machine.deadline();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep(at.since(clock::now()).to_std()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = inbox.recv_many(&mut messages, BATCH_INPUTS_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = timer => {}
            }
            let (now, begun) = (clock::now(), Instant::now());
            for message in messages.drain(..) {
                self.take(now, message, &mut releases);
            }
            if self.machine.deadline().is_some_and(|at| at <= now) {
                self.tell(now, Input::TimerFired);
            }
            self.machine.finish(&mut effects);
            if let Some(journal) = &mut self.books.journal {
                journal.decided(now, &effects);
                self.books.metrics.journal(journal.waiting());
            }
            self.books.metrics.decided_in(begun.elapsed());
            if !self.hand_over(now, &mut effects, &mut releases).await {
                return;
            }
        }
    }

    fn take(&mut self, now: Time, message: Message, releases: &mut Vec<Release>) {
        match message {
            Message::Input(input) => self.tell(now, input),
            Message::Call(call, answer) => {
                self.requests += 1;
                let request = RequestId(self.requests);
                lock(&self.registry).requests.insert(request, answer);
                self.tell(now, Input::Requested { request, call });
            }
            Message::Query(query) => releases.push(query(&mut self.machine, now)),
        }
    }

    fn tell(&mut self, now: Time, input: Input) {
        self.books.metrics.told(&input);
        if let Input::HostSaid { session, frame: ToComplex::Report(report) } = &input
            && let Some(host) = self.machine.host_of(*session)
        {
            self.books.traces.reported(now, host, report);
        }
        if let Some(journal) = &mut self.books.journal {
            journal.told(&input);
        }
        self.machine.apply(now, input);
    }

    /// Sorts a batch's effects into what is kept and what leaves. False when the server ends.
    async fn hand_over(
        &mut self,
        now: Time,
        effects: &mut Vec<Effect>,
        releases: &mut Vec<Release>,
    ) -> bool {
        if effects.is_empty() && releases.is_empty() {
            return true;
        }
        let stamps = self.books.traces.decided(now, effects);
        let mut changes: Vec<Change> = Vec::new();
        let mut outgoing = Vec::new();
        let mut moved = std::collections::BTreeSet::new();
        for effect in effects.drain(..) {
            self.books.metrics.decided(&effect);
            match effect {
                Effect::Keep(change) => changes.push(change),
                Effect::Send(session, frame) => outgoing.push(Outgoing::Send(session, frame)),
                Effect::Close(session) => outgoing.push(Outgoing::Close(session)),
                Effect::Answer(request, reply) => outgoing.push(Outgoing::Answer(request, reply)),
                Effect::JobMoved(job) => _ = moved.insert(job),
                Effect::Say(text) => tracing::info!("{text}"),
            }
        }
        outgoing.extend(moved.into_iter().map(Outgoing::JobMoved));
        outgoing.extend(releases.drain(..).map(Outgoing::Release));
        if !stamps.is_empty() {
            let traces = self.books.traces.clone();
            let stamp = move || traces.stamp(clock::now(), &stamps);
            outgoing.push(Outgoing::Release(Box::new(stamp)));
        }
        let commit = self.books.writer.submit(changes);
        let batch = Batch { decided: Instant::now(), commit, outgoing };
        self.batches.send(batch).await.is_ok()
    }
}

/// Lets effects go, batch by batch, each behind its commit.
async fn release(
    mut batches: mpsc::Receiver<Batch>,
    registry: Arc<Mutex<Registry>>,
    metrics: Arc<Metrics>,
    failed: mpsc::Sender<String>,
) {
    while let Some(batch) = batches.recv().await {
        if let Err(error) = batch.commit.await {
            {
                let mut registry = lock(&registry);
                registry.failed = Some(unkept(&error));
                registry.requests.clear();
            }
            let _ = failed.send(report(&error)).await;
            return;
        }
        metrics.kept_after(batch.decided.elapsed());
        let mut registry = lock(&registry);
        for outgoing in batch.outgoing {
            match outgoing {
                Outgoing::Send(session, frame) => registry.send(session, frame),
                Outgoing::Close(session) => _ = registry.sessions.remove(&session),
                Outgoing::Answer(request, reply) => {
                    if let Some(answer) = registry.requests.remove(&request) {
                        let _ = answer.send(reply);
                    }
                }
                Outgoing::JobMoved(job) => {
                    if let Some(watched) = registry.watched.get(&job) {
                        watched.send_modify(|count| *count += 1);
                    }
                }
                Outgoing::Release(release) => release(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use isos_base::Span;

    use super::*;

    #[test]
    fn a_host_that_lets_too_many_frames_wait_is_cut_off() {
        let mut registry = Registry::default();
        let (session, outlet) = registry.open_session();
        for _ in 0..HOST_FRAMES_MAX {
            registry.send(session, ToHost::Sleep(Span::ZERO));
        }
        assert!(registry.sessions.contains_key(&session), "so many may wait");
        registry.send(session, ToHost::Sleep(Span::ZERO));
        assert!(!registry.sessions.contains_key(&session));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let told = std::pin::pin!(outlet.cut.notified()).poll(&mut context).is_ready();
        assert!(told, "its writer learns of it, though it may be stuck in a write");
    }
}
