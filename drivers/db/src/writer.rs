//! The one writer: takes all submissions that wait, commits them together, answers when they are
//! on the disk.
//!
//! Not a queue that forgives: after a failed commit the kernel is ahead of the database, so the
//! writer refuses everything from then on and the server has to stop rather than lie.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use isos_base::ids::JobId;
use isos_base::record::Change;
use isos_base::time::Time;
use sqlx::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::commit::{WriteError, commit};
use crate::error::CommitError;
use crate::group::{Conflict, Group};
use crate::place::{Lock, Place};
use crate::sql::{Connected, Statements};

/// Submissions that may wait. A server that comes near it must refuse work: see
/// [`Writer::waiting`].
pub const SUBMISSIONS_MAX: usize = 65_536;
/// Changes of one transaction, above which the next submission waits for the next one: bounds the
/// time and memory of a commit. A single submission is never split.
const GROUP_CHANGES_MAX: usize = 65_536;

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
    stopped: Option<Arc<CommitError>>,
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
    pub(crate) fn start(connection: Connected, lock: Option<Lock>, place: Place) -> Self {
        let (queue, submissions) = mpsc::channel(SUBMISSIONS_MAX);
        let gate = Arc::new(Mutex::new(Gate { queue, stopped: None }));
        let task = Task {
            connection,
            statements: Statements::default(),
            place,
            gate: Arc::downgrade(&gate),
            stopped: None,
        };
        tokio::spawn(task.run(submissions, lock));
        Self { gate }
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
        self.send(Work::Close)
    }

    /// How many submissions wait, of [`SUBMISSIONS_MAX`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        let queue = &self.gate().queue;
        queue.max_capacity() - queue.capacity()
    }

    fn send(&self, work: Work) -> Commit {
        let (answer, answered) = oneshot::channel();
        let mut gate = self.gate();
        // Closing goes through: it also waits for what is on its way, and frees the file.
        if let Some(error) = &gate.stopped
            && !matches!(work, Work::Close)
        {
            refuse(answer, CommitError::Stopped(error.clone()));
            return Commit(answered);
        }
        match gate.queue.try_send(Submission { work, answer }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(submission)) => {
                // One gap in the history is enough: nothing that follows may be kept.
                let error = CommitError::Overrun { waiting: SUBMISSIONS_MAX };
                gate.stopped.get_or_insert(Arc::new(error.clone()));
                refuse(submission.answer, error);
            }
            Err(mpsc::error::TrySendError::Closed(submission)) => match submission.work {
                Work::Close => refuse_nothing(submission.answer, gate.stopped.clone()),
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
    gate: std::sync::Weak<Mutex<Gate>>,
    stopped: Option<Arc<CommitError>>,
}

impl Task {
    async fn run(mut self, mut submissions: mpsc::Receiver<Submission>, lock: Option<Lock>) {
        let mut waiting = Vec::new();
        let mut closing = Vec::new();
        while closing.is_empty() && submissions.recv_many(&mut waiting, SUBMISSIONS_MAX).await > 0 {
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
        let closed = self.connection.close().await;
        drop(lock);
        // An overrun stops the gate while the writer still commits what came before it.
        let gate = self.gate.upgrade();
        let gate = gate.as_ref().map(|gate| gate.lock().unwrap_or_else(PoisonError::into_inner));
        let stopped = self.stopped.or_else(|| gate.and_then(|gate| gate.stopped.clone()));
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
        let result = commit(&mut self.connection, &mut self.statements, group).await;
        result.map_err(|error| match error {
            WriteError::Value(value) => CommitError::Value(value),
            WriteError::Conflict(table) => {
                CommitError::Conflict { what: format!("a row of {table}") }
            }
            WriteError::Sql(source) => CommitError::sql(&self.place, source),
        })
    }

    fn stop(&mut self, error: &CommitError) {
        tracing::error!(%error, "a commit failed; no more changes are taken");
        let error = Arc::new(error.clone());
        self.stopped = Some(error.clone());
        if let Some(gate) = self.gate.upgrade() {
            gate.lock().unwrap_or_else(PoisonError::into_inner).stopped.get_or_insert(error);
        }
    }
}
