//! The one writer: takes all submissions that wait, commits them together, answers when they are
//! on the disk.
//!
//! Not a queue that forgives: after a failed commit the kernel is ahead of the database, so the
//! writer refuses everything from then on and the server has to stop rather than lie.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use isos_base::ids::JobId;
use isos_base::record::Change;
use isos_base::time::Time;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::commit::{WriteError, commit};
use crate::error::CommitError;
use crate::group::{Conflict, Group};
use crate::lead::{self, LEASE, RENEW};
use crate::place::{Lock, Place};
use crate::server::{Server, in_time, is_lost, remedy};
use crate::sql::{Connected, SqlError};
use crate::table::Statements;

/// Submissions that may wait. A server that comes near it must refuse work: see
/// [`Writer::waiting`].
pub const SUBMISSIONS_MAX: usize = 65_536;
/// Changes of one transaction, above which the next submission waits for the next one: bounds the
/// time and memory of a commit. A single submission is never split.
const GROUP_CHANGES_MAX: usize = 65_536;
/// How long a commit may take before the connection counts as lost.
const COMMIT_MAX: Duration = Duration::from_secs(60);
/// How long a lost connection is tried to be made again.
pub(crate) const AWAY_MAX: Duration = Duration::from_secs(60);
/// Between two tries, at first and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often it is tried whether a full disk has room again.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// How often the size of a server's database is asked for.
const MEASURE: Duration = Duration::from_secs(60);

type Answer = Result<(), CommitError>;

#[derive(Debug)]
enum Work {
    Changes(Vec<Change>),
    Forget(Time),
    ForgetResults(JobId),
    /// The last there is.
    Close,
}

#[derive(Debug)]
struct Submission {
    work: Work,
    answer: oneshot::Sender<Answer>,
}

/// Where submissions get their order.
#[derive(Debug)]
struct Gate {
    queue: mpsc::Sender<Submission>,
    stopped: watch::Sender<Option<Arc<CommitError>>>,
    room: Arc<Room>,
}

/// Whether there is room on the disk of a file.
#[derive(Debug, Default)]
struct Room {
    /// What is missing, while a commit waits for room.
    missing: Mutex<Option<CommitError>>,
    /// Whoever waits for room gives up: the database is being closed.
    closing: AtomicBool,
}

impl Room {
    fn missing(&self) -> MutexGuard<'_, Option<CommitError>> {
        // Nothing panics while it is held.
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn stopped(&self) -> Option<Arc<CommitError>> {
        self.stopped.borrow().clone()
    }

    /// The first error counts.
    fn stop(&self, error: Arc<CommitError>) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert(error);
            first
        });
    }
}

/// The writer's end for those who submit. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Writer {
    gate: Arc<Mutex<Gate>>,
}

/// Resolves when the submission is on the disk, or will never be. Dropping it cancels nothing.
#[derive(Debug)]
#[must_use = "only its result says whether the changes are kept"]
pub struct Commit(oneshot::Receiver<Answer>);

impl Future for Commit {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        // Without an answer the runtime was shut down under the writer.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(CommitError::Closed)))
    }
}

impl Writer {
    /// The writer of a file, which is locked for it.
    pub(crate) fn of_file(connection: Connected, place: Place, lock: Option<Lock>) -> Self {
        Self::start(Task::new(connection, place), lock)
    }

    /// The writer at a server, for as long as the epoch is ours. It says how large the database is,
    /// and waits so long for one that is away.
    pub(crate) fn at_server(
        connection: Connected,
        place: Place,
        epoch: u64,
        size: Arc<AtomicU64>,
        away_max: Duration,
    ) -> Self {
        Self::start(
            Task { epoch: Some(epoch), size, away_max, ..Task::new(connection, place) },
            None,
        )
    }

    fn start(mut task: Task, lock: Option<Lock>) -> Self {
        let (queue, submissions) = mpsc::channel(SUBMISSIONS_MAX);
        let stopped = watch::Sender::new(None);
        let gate = Arc::new(Mutex::new(Gate { queue, stopped, room: task.room.clone() }));
        task.gate = Arc::downgrade(&gate);
        tokio::spawn(task.run(submissions, lock));
        Self { gate }
    }

    /// Resolves when the writer has stopped by itself, with the reason: a commit failed, or another
    /// server leads. Somebody who has nothing to commit hears of it only here. After the last
    /// handle is gone it resolves to [`CommitError::Closed`].
    pub fn stopped(&self) -> impl Future<Output = Arc<CommitError>> + Send + use<> {
        let mut stopped = self.gate().stopped.subscribe();
        async move {
            let error = stopped.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            error.unwrap_or_else(|| Arc::new(CommitError::Closed))
        }
    }

    /// Hands changes over, to be committed all or none, after everything submitted before.
    ///
    /// Returns at once; the order of calls is the order of commits. An empty submission is answered
    /// when everything before it is on the disk.
    ///
    /// # Errors
    /// The future gives [`CommitError`]; nothing more is taken then.
    pub fn submit(&self, changes: Vec<Change>) -> Commit {
        self.send(Work::Changes(changes))
    }

    pub(crate) fn forget(&self, now: Time) -> Commit {
        self.send(Work::Forget(now))
    }

    pub(crate) fn forget_results(&self, job: JobId) -> Commit {
        self.send(Work::ForgetResults(job))
    }

    pub(crate) fn close(&self) -> Commit {
        self.gate().room.closing.store(true, Ordering::Relaxed);
        self.send(Work::Close)
    }

    /// Why nothing can be kept now, while a commit waits for room on the disk of a file. It goes on
    /// by itself when there is some.
    #[must_use]
    pub fn no_room(&self) -> Option<CommitError> {
        let room = self.gate().room.clone();
        room.missing().clone()
    }

    /// How many submissions wait, of [`SUBMISSIONS_MAX`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        let queue = &self.gate().queue;
        queue.max_capacity() - queue.capacity()
    }

    fn send(&self, work: Work) -> Commit {
        let (answer, answered) = oneshot::channel();
        let gate = self.gate();
        // Closing goes through: it also waits for what is on its way, and frees the file.
        if let Some(error) = gate.stopped()
            && !matches!(work, Work::Close)
        {
            refuse(answer, CommitError::Stopped(error));
            return Commit(answered);
        }
        match gate.queue.try_send(Submission { work, answer }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(submission)) => {
                // One gap in the history is enough: nothing that follows may be kept.
                let error = CommitError::Overrun { waiting: SUBMISSIONS_MAX };
                gate.stop(Arc::new(error.clone()));
                refuse(submission.answer, error);
            }
            Err(mpsc::error::TrySendError::Closed(submission)) => match submission.work {
                Work::Close => refuse_nothing(submission.answer, gate.stopped()),
                _ => refuse(submission.answer, CommitError::Closed),
            },
        }
        Commit(answered)
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        // Nothing panics while it is held; and what it guards is whole at any moment.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(answer: oneshot::Sender<Answer>, error: CommitError) {
    // Nobody may be waiting for it.
    let _ = answer.send(Err(error));
}

/// The answer to a second close.
fn refuse_nothing(answer: oneshot::Sender<Answer>, stopped: Option<Arc<CommitError>>) {
    let _ = answer.send(stopped.map_or(Ok(()), |error| Err(CommitError::Stopped(error))));
}

struct Task {
    connection: Connected,
    statements: Statements,
    place: Place,
    /// The epoch in which we lead, where there are epochs.
    epoch: Option<u64>,
    /// When the lease was last extended.
    renewed: Instant,
    measured: Option<Instant>,
    /// Bytes of a server's database.
    size: Arc<AtomicU64>,
    away_max: Duration,
    room: Arc<Room>,
    gate: std::sync::Weak<Mutex<Gate>>,
    stopped: Option<Arc<CommitError>>,
}

impl Task {
    fn new(connection: Connected, place: Place) -> Self {
        Self {
            connection,
            statements: Statements::default(),
            place,
            epoch: None,
            renewed: Instant::now(),
            measured: None,
            size: Arc::default(),
            away_max: AWAY_MAX,
            room: Arc::default(),
            gate: std::sync::Weak::new(),
            stopped: None,
        }
    }

    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>, lock: Option<Lock>) {
        let mut waiting = Vec::new();
        let mut closing = Vec::new();
        while closing.is_empty() && self.next(&mut submissions, &mut waiting).await {
            let mut submissions = waiting.drain(..).peekable();
            while submissions.peek().is_some() {
                self.commit_some(&mut submissions, &mut closing).await;
            }
        }
        // Whoever submits from now on is told that it is closed.
        submissions.close();
        while let Some(Submission { work, answer }) = submissions.recv().await {
            match work {
                Work::Close => closing.push(answer),
                _ => refuse(answer, CommitError::Closed),
            }
        }
        if let Some(epoch) = self.epoch {
            let mut session = self.connection.session();
            match timeout(RENEW, lead::release(&mut session, epoch)).await {
                Ok(Ok(())) => {}
                error => tracing::warn!(?error, "the lease was not given up: it runs out"),
            }
        }
        let closed = self.connection.close().await;
        drop(lock);
        // An overrun stops the gate while the writer still commits what came before it.
        let gate = self.gate.upgrade();
        let gate = gate.as_ref().map(|gate| gate.lock().unwrap_or_else(PoisonError::into_inner));
        let stopped = self.stopped.or_else(|| gate.and_then(|gate| gate.stopped()));
        for answer in closing {
            let result = match (&stopped, &closed) {
                (Some(error), _) => Err(CommitError::Stopped(error.clone())),
                // Everything was on the disk already; only the log was not written back.
                (None, Err(error)) => {
                    tracing::warn!(%error, "the database was not closed cleanly");
                    Ok(())
                }
                (None, Ok(())) => Ok(()),
            };
            let _ = answer.send(result);
        }
    }

    /// Waits for submissions, and extends the lease while there are none. False at the end.
    async fn next(
        &mut self,
        submissions: &mut mpsc::Receiver<Submission>,
        waiting: &mut Vec<Submission>,
    ) -> bool {
        while self.epoch.is_some() && self.stopped.is_none() {
            self.measure().await;
            let due = self.renewed + RENEW;
            if Instant::now() < due {
                let waited = timeout_at(due, submissions.recv_many(waiting, SUBMISSIONS_MAX));
                if let Ok(taken) = waited.await {
                    return taken > 0;
                }
            }
            // Of an empty group only the lease is kept.
            if let Err(error) = self.keep(&Group::default()).await {
                self.stop(&error);
            }
        }
        submissions.recv_many(waiting, SUBMISSIONS_MAX).await > 0
    }

    /// Commits the next group: as many submissions as there are, up to the limit.
    async fn commit_some(
        &mut self,
        submissions: &mut impl Iterator<Item = Submission>,
        closing: &mut Vec<oneshot::Sender<Answer>>,
    ) {
        let mut group = Group::default();
        let mut answers = Vec::new();
        let mut changes = 0;
        let mut taken = Ok(());
        while changes < GROUP_CHANGES_MAX
            && taken.is_ok()
            && let Some(Submission { work, answer }) = submissions.next()
        {
            match work {
                Work::Close => {
                    closing.push(answer);
                    continue;
                }
                // What stands behind the close came too late.
                _ if !closing.is_empty() => {
                    refuse(answer, CommitError::Closed);
                    continue;
                }
                Work::Changes(more) => {
                    changes += more.len();
                    taken = more.into_iter().try_for_each(|change| group.add(change));
                }
                Work::ForgetResults(job) => _ = group.results_dropped.insert(job),
                Work::Forget(now) => group.forget = group.forget.max(Some(now)),
            }
            answers.push(answer);
        }
        let result = match taken {
            _ if self.stopped.is_some() => Ok(()),
            Ok(()) => self.commit(group).await,
            Err(Conflict(what)) => Err(CommitError::Conflict { what }),
        };
        let result = match (&self.stopped, result) {
            (Some(error), _) => Err(CommitError::Stopped(error.clone())),
            (None, Err(error)) => {
                self.stop(&error);
                Err(error)
            }
            (None, Ok(())) => Ok(()),
        };
        for answer in answers {
            // Nobody may be waiting for it.
            let _ = answer.send(result.clone());
        }
    }

    async fn commit(&mut self, group: Group) -> Answer {
        if group.is_empty() {
            return Ok(());
        }
        self.keep(&group).await
    }

    /// Commits a group. If a server's connection is lost on the way, nobody knows whether the group
    /// is kept; applying it again is right in both cases, so that is what happens as soon as the
    /// server is back and the epoch is still ours. The same goes for a file whose disk is full.
    async fn keep(&mut self, group: &Group) -> Answer {
        let mut lost: Option<Lost> = None;
        loop {
            // The lease runs from the beginning of the transaction, not from its end.
            let begun = Instant::now();
            let error = match self.attempt(group).await {
                Ok(()) => {
                    if let Some(lost) = lost {
                        let seconds = lost.since.elapsed().as_secs();
                        tracing::warn!(seconds, "the database is back, and nothing is lost");
                    }
                    if self.room.missing().take().is_some() {
                        tracing::warn!("there is room on the disk again, and nothing is lost");
                    }
                    self.renewed = begun;
                    return Ok(());
                }
                Err(WriteError::Sql(error)) => error,
                Err(WriteError::Value(value)) => return Err(CommitError::Value(value)),
                Err(WriteError::Conflict(table)) => {
                    return Err(CommitError::Conflict { what: format!("a row of {table}") });
                }
                Err(WriteError::Deposed) => {
                    let path = self.place.name().to_owned();
                    let epoch = self.epoch.take().unwrap_or_default();
                    return Err(CommitError::Deposed { path, epoch });
                }
            };
            let Place::Server(server) = self.place.clone() else {
                let error = CommitError::sql(&self.place, error);
                let gives_up = self.room.closing.load(Ordering::Relaxed);
                if gives_up || !matches!(error, CommitError::DiskFull { .. }) {
                    return Err(error);
                }
                self.wait_for_room(error).await;
                continue;
            };
            if !is_lost(&error) {
                return Err(CommitError::sql(&self.place, error));
            }
            tracing::warn!(%error, "the connection to the database is lost");
            let lost = lost.get_or_insert_with(|| Lost::now(self.away_max));
            self.connection = Connected::Postgres(lost.connect(&server, error).await?);
        }
    }

    /// After a commit that found no room.
    async fn wait_for_room(&mut self, error: CommitError) {
        // Most of the time SQLite has done so by itself.
        let _ = self.connection.session().run("ROLLBACK").await;
        let first = self.room.missing().replace(error.clone()).is_none();
        if first {
            tracing::error!("{error}; nothing is acknowledged until there is room");
        }
        sleep(ROOM_PAUSE).await;
    }

    async fn attempt(&mut self, group: &Group) -> Result<(), WriteError> {
        let session = self.connection.session();
        let committing = commit(session, &mut self.statements, self.epoch, group);
        if let Place::Server(_) = self.place {
            return in_time(if group.is_empty() { LEASE } else { COMMIT_MAX }, committing).await;
        }
        committing.await
    }

    /// Asks for the size of a server's database, once in a while.
    async fn measure(&mut self) {
        if self.measured.is_some_and(|last| last.elapsed() < MEASURE) {
            return;
        }
        self.measured = Some(Instant::now());
        // A connection that is lost is found by the next commit.
        let mut session = self.connection.session();
        if let Ok(size) = in_time(LEASE, lead::size(&mut session)).await {
            self.size.store(size, Ordering::Relaxed);
        }
    }

    fn stop(&mut self, error: &CommitError) {
        tracing::error!(%error, "a commit failed; no more changes are taken");
        let error = Arc::new(error.clone());
        self.stopped = Some(error.clone());
        if let Some(gate) = self.gate.upgrade() {
            gate.lock().unwrap_or_else(PoisonError::into_inner).stop(error);
        }
    }
}

/// A connection that is lost.
struct Lost {
    since: Instant,
    pause: Duration,
    at_most: Duration,
}

impl Lost {
    fn now(at_most: Duration) -> Self {
        Self { since: Instant::now(), pause: PAUSE_MIN, at_most }
    }

    /// Connects again, however often it takes, until it took too long.
    async fn connect(
        &mut self,
        server: &Server,
        mut error: SqlError,
    ) -> Result<sqlx::PgConnection, CommitError> {
        loop {
            if self.since.elapsed() >= self.at_most {
                return Err(CommitError::Away {
                    path: server.name().to_owned(),
                    seconds: self.at_most.as_secs(),
                    remedy: remedy(&error),
                    source: error.into(),
                });
            }
            match server.connect().await {
                Ok(connection) => return Ok(connection),
                Err(again) => error = again,
            }
            sleep(self.pause).await;
            self.pause = PAUSE_MAX.min(self.pause * 2);
        }
    }
}
