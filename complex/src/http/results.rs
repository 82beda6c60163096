//! A job's results, streamed.

use std::collections::VecDeque;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes as Buffer;
use isos_base::api::{Problem, RESULT_STREAM_TYPE, ResultEntry};
use isos_base::record::Accepted;
use isos_base::task::{OutputAt, TaskResult};
use isos_base::{AccountId, Bytes, JobId, TaskRange, codec, limits};
use isos_disk::ShelfError;
use serde::Deserialize;

use super::extract::{Path, Query};
use super::jobs::{find, given_up};
use super::openapi::Raw;
use super::reads::{Room, Roomy};
use super::redone::Redone;
use super::{Answer, App, AppState, Failure, Who, internal, not_found, unreadable, usage};
use crate::clock;
use crate::core::report;
use crate::objects::blocking;

/// Results are sent in pieces of about this size; an output of its own is one piece.
const PIECE_BYTES: usize = 1 << 20;
/// Numbers of batches of a range that are looked up at once.
const BATCHES_AHEAD: u32 = 1_000;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ResultsQuery {
    /// Whether to send the outputs too.
    #[serde(default)]
    output: bool,
    /// Only this task: 404 if it has no result yet.
    task: Option<u32>,
    /// Only tasks from this one on.
    from: Option<u32>,
    /// Only tasks before this one.
    to: Option<u32>,
}

impl ResultsQuery {
    /// The tasks between `from` and `to`, if not all are asked for.
    fn range(&self) -> Answer<Option<TaskRange>> {
        if self.from.is_none() && self.to.is_none() {
            return Ok(None);
        }
        if self.task.is_some() {
            return Err(usage("task names one task: leave out from and to"));
        }
        let range = TaskRange::new(self.from.unwrap_or(0), self.to.unwrap_or(u32::MAX));
        if range.is_empty() {
            let TaskRange { start, end } = range;
            return Err(usage(format!(
                "from={start} to={end} has no task: to is one past the last"
            )));
        }
        Ok(Some(range))
    }
}

/// Streams the results accepted so far, in the order of acceptance.
///
/// That order never changes; what is accepted later comes behind. A result that was taken back,
/// because its host was caught, is left out. Also those of a range of tasks
/// come in it, and not by their numbers: `/v1/jobs/{id}/tasks` is in the order of tasks.
/// Tasks that were given up all at once when the job ended are not among them: the job says why.
/// Frames, each a length of four little-endian bytes and a postcard message: see the internals
/// book. With `output`, each carries its task's output.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/results",
    operation_id = "getResults",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job"), ResultsQuery),
    responses(
        (
            status = 200,
            body = Raw,
            content_type = "application/x-isos-results",
            description = "Frames",
        ),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
        (status = 422, response = Failure),
    ),
)]
pub(super) async fn results(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
    Query(query): Query<ResultsQuery>,
) -> Answer<Response> {
    let view = find(&shared, &who, id).await?;
    let (job, range) = (JobId(id), query.range()?);
    if let Some(keep) = shared.keep
        && view.ended.is_some_and(|ended| ended + keep < clock::now())
    {
        return Err(not_found(format!(
            "result of job {job} any more: this complex keeps results for {keep}"
        )));
    }
    if let Some(task) = query.task.filter(|task| !view.spec.has_task(*task)) {
        let has = match view.spec.task_count() {
            1 => "1 task".into(),
            count => format!("{count} tasks"),
        };
        return Err(not_found(format!("task {job}@{task}: the job has {has}, counted from 0")));
    }
    let headers = [(header::CONTENT_TYPE, RESULT_STREAM_TYPE)];
    let _scan = who.scan(&shared).await?;
    if let Some(task) = query.task {
        let redone = Redone::of(&shared.db, job).await.map_err(|error| unreadable(&error))?;
        let found = redone.last(&shared.db, job, task).await;
        let found = found.map_err(|error| unreadable(&error))?;
        let accepted = found
            .or_else(|| given_up(&view, task))
            .ok_or_else(|| not_found(format!("result of task {job}@{task} yet")))?;
        let mut frame = Vec::new();
        let account = who.0.account;
        let put = put_entry(&shared, account, accepted, query.output, &mut frame).await;
        let frame = Roomy { bytes: frame, _room: put.map_err(Failure)? };
        return Ok((headers, Body::from(Buffer::from_owner(frame))).into_response());
    }
    let redone = Redone::of(&shared.db, job).await.map_err(|error| unreadable(&error))?;
    let account = who.0.account;
    let pages = Pages { redone, ..Pages::new(shared, account, job, range, query.output) };
    let stream = futures_util::stream::try_unfold(pages, |mut pages| async move {
        let piece = pages.next().await.map_err(|problem| std::io::Error::other(problem.message))?;
        let any = !piece.bytes.is_empty();
        Ok::<_, std::io::Error>(any.then(|| (Buffer::from_owner(piece), pages)))
    });
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// A job's results piece by piece, so that a job of any size streams in bounded memory.
struct Pages {
    shared: App,
    /// Who reads.
    account: AccountId,
    job: JobId,
    /// Only these tasks.
    range: Option<TaskRange>,
    with_output: bool,
    redone: Redone,
    /// The last batch that was read.
    after: Option<u64>,
    /// Batches behind it that may have tasks of the range.
    ahead: VecDeque<u64>,
    /// What is left of it.
    waiting: VecDeque<Accepted>,
}

impl Pages {
    fn new(
        shared: App,
        account: AccountId,
        job: JobId,
        range: Option<TaskRange>,
        with_output: bool,
    ) -> Self {
        let ahead = VecDeque::new();
        let waiting = VecDeque::new();
        let redone = Redone::default();
        Self { shared, account, job, range, with_output, redone, after: None, ahead, waiting }
    }

    /// Goes on to the next batch that may have wanted tasks; false at the end.
    async fn turn_over(&mut self) -> Result<bool, Problem> {
        // Not while its reader takes what was found: a slow one would keep others of its account
        // from theirs.
        let _scan = self.shared.door.scan_on(self.account).await;
        let (db, job) = (&self.shared.db, self.job);
        if let Some(range) = self.range {
            if self.ahead.is_empty() {
                let ahead = db.batches_within(job, range, self.after, BATCHES_AHEAD).await;
                self.ahead = ahead.map_err(|error| unreadable(&error).0)?.into();
            }
            let Some(next) = self.ahead.pop_front() else { return Ok(false) };
            self.after = next.checked_sub(1);
        }
        let batches = db.results(job, self.after, 1).await;
        let batches = batches.map_err(|error| unreadable(&error).0)?;
        let Some(batch) = batches.into_iter().next() else { return Ok(false) };
        self.after = Some(batch.batch);
        self.waiting = batch.results.into();
        if let Some(range) = self.range {
            self.waiting.retain(|accepted| range.tasks().contains(&accepted.task));
        }
        Ok(true)
    }

    /// The next frames: one with an object's bytes, or [`PIECE_BYTES`] of others. Empty at the end.
    async fn next(&mut self) -> Result<Roomy, Problem> {
        let mut frames = Vec::new();
        let mut room = None;
        while frames.len() < PIECE_BYTES {
            let Some(accepted) = self.waiting.front() else {
                if self.turn_over().await? {
                    continue;
                }
                break;
            };
            let object = |result: &TaskResult| matches!(result.output, OutputAt::Object(..));
            if self.with_output && accepted.result.as_ref().is_ok_and(object) && !frames.is_empty()
            {
                break;
            }
            let accepted = self.waiting.pop_front().expect("looked at above");
            let counts = self.redone.counts(&self.shared.db, self.job, &accepted).await;
            if !counts.map_err(|error| unreadable(&error).0)? {
                continue;
            }
            let (account, with_output) = (self.account, self.with_output);
            let put = put_entry(&self.shared, account, accepted, with_output, &mut frames).await?;
            // There is one object to a piece.
            room = room.or(put);
        }
        Ok(Roomy { bytes: frames, _room: room })
    }
}

/// Writes one result. An output that is lost is left out: the client sees that it should be there,
/// and the others still come. Comes back with the room for an object in memory.
async fn put_entry(
    shared: &App,
    account: AccountId,
    accepted: Accepted,
    with_output: bool,
    frames: &mut Vec<u8>,
) -> Result<Option<Room>, Problem> {
    let mut room = None;
    let output = match accepted.result.as_ref().map(|result| &result.output) {
        Ok(OutputAt::Inline(bytes)) if with_output => Some(bytes.clone()),
        Ok(OutputAt::Object(guid, size)) if with_output => {
            let (shelf, guid) = (shared.shelf.clone(), *guid);
            room = Some(shared.reads.room(&shared.door, account, Bytes(*size)).await);
            let max = Bytes(limits::OUTPUT_BYTES_MAX.0 * 2 + (64 << 10));
            let read = blocking(move || shelf.read(&guid, max)).await;
            match read.map_err(|error| internal(&error.to_string()))? {
                Ok(bytes) => Some(bytes),
                Err(error @ (ShelfError::Missing { .. } | ShelfError::Damaged { .. })) => {
                    tracing::error!(task = accepted.task, "an output is lost: {}", report(&error));
                    None
                }
                Err(error) => return Err(internal(&report(&error))),
            }
        }
        _ => None,
    };
    codec::put_frame(&ResultEntry { accepted, output }, frames);
    Ok(room)
}

#[cfg(test)]
mod tests;
