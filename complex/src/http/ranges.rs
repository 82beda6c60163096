//! Which tasks stand in which state, as ranges: what ten million tasks come to is a few of them.

use std::collections::BTreeSet;

use axum::extract::State;
use isos_base::api::TaskRanges;
use isos_base::record::{CHUNK_TASKS, StateChunk, TaskState, states};
use isos_base::{JobId, TaskRange};
use isos_db::Db;
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::jobs::find;
use super::{Answer, AppState, Failure, Who, unreadable, usage};

/// Ranges of one page: some 150 KiB of JSON.
const RANGES_MAX: u32 = 4_096;
/// Chunks that are read at once: 256 KiB, a million tasks.
const CHUNKS_AT_ONCE: u32 = 256;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RangesQuery {
    /// States, with commas between: `open`, `done`, `failed`, `given_up`.
    state: String,
    /// The first index that is wanted.
    from: Option<u32>,
    /// Ranges at the most, never more than 4096.
    limit: Option<u32>,
}

impl RangesQuery {
    fn states(&self) -> Answer<BTreeSet<TaskState>> {
        let state = |word: &str| match word {
            "open" => Ok(TaskState::Open),
            "done" => Ok(TaskState::Done),
            "failed" => Ok(TaskState::Failed),
            "given_up" => Ok(TaskState::GivenUp),
            other => Err(usage(format!(
                "{other:?} is no state of a task: use open, done, failed, given_up, with commas \
                 between"
            ))),
        };
        self.state.split(',').map(state).collect()
    }
}

/// Lists a job's tasks in some states, as ranges in order.
///
/// Tasks that were open when the job ended are given up. A page goes on at `next`.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/ranges",
    operation_id = "listRanges",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job"), RangesQuery),
    responses(
        (status = 200, body = TaskRanges, description = "At most `limit` ranges"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn ranges(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
    Query(query): Query<RangesQuery>,
) -> Answer<Json<TaskRanges>> {
    let wanted = query.states()?;
    let view = find(&shared, &who, id).await?;
    let _scan = who.scan(&shared).await?;
    let mut page = Page {
        wanted,
        is_over: view.state.is_over(),
        limit: query.limit.unwrap_or(RANGES_MAX).clamp(1, RANGES_MAX) as usize,
        found: TaskRanges::default(),
    };
    let parts: Vec<TaskRange> = view.spec.ranges().collect();
    let chunks =
        Chunks { db: &shared.db, job: JobId(id), count: view.spec.count, read: Vec::new() };
    chunks.show(&parts, query.from.unwrap_or(0), &mut page).await?;
    Ok(Json(page.found))
}

/// What has been found.
struct Page {
    wanted: BTreeSet<TaskState>,
    is_over: bool,
    limit: usize,
    found: TaskRanges,
}

impl Page {
    /// Takes tasks of one state; false when the page is full and they begin the next one.
    fn take(&mut self, state: TaskState, range: TaskRange) -> bool {
        // Nothing is written of tasks that are given up as one.
        let state = match state {
            TaskState::Open if self.is_over => TaskState::GivenUp,
            state => state,
        };
        if range.is_empty() || !self.wanted.contains(&state) {
            return true;
        }
        let full = self.found.ranges.len() == self.limit;
        match self.found.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if full => {
                self.found.next = Some(range.start);
                return false;
            }
            _ => self.found.ranges.push(range),
        }
        true
    }
}

/// A job's states as they lie in the database: those of chunks that nothing changed are missing.
struct Chunks<'a> {
    db: &'a Db,
    job: JobId,
    count: u32,
    /// What was read ahead, the last first.
    read: Vec<StateChunk>,
}

impl Chunks<'_> {
    /// Shows the tasks of `parts` from `from` on to the page, until it is full.
    async fn show(mut self, parts: &[TaskRange], from: u32, page: &mut Page) -> Answer<()> {
        let mut at = from;
        while at < self.count {
            let Some(chunk) = self.next(at / CHUNK_TASKS).await? else { break };
            let start = chunk.chunk.saturating_mul(CHUNK_TASKS);
            let end = start.saturating_add(CHUNK_TASKS).min(self.count);
            let none = std::iter::once((TaskState::Open, TaskRange::new(at, start)));
            let runs = states::runs(&chunk.bits, end.saturating_sub(start));
            let moved = runs.map(|(state, range)| {
                (
                    state,
                    TaskRange::new(
                        start + range.start.max(at.saturating_sub(start)),
                        start + range.end,
                    ),
                )
            });
            if !none.chain(moved).all(|(state, range)| take_of(parts, state, range, page)) {
                return Ok(());
            }
            at = end;
        }
        take_of(parts, TaskState::Open, TaskRange::new(at, self.count), page);
        Ok(())
    }

    /// The first chunk from this one on that was written.
    async fn next(&mut self, from: u32) -> Answer<Option<StateChunk>> {
        if self.read.is_empty() {
            let read = self.db.states_from(self.job, from, CHUNKS_AT_ONCE).await;
            self.read = read.map_err(|error| unreadable(&error))?;
            self.read.reverse();
        }
        Ok(self.read.pop())
    }
}

/// Gives the page what of a run is in the job's own parts.
fn take_of(parts: &[TaskRange], state: TaskState, run: TaskRange, page: &mut Page) -> bool {
    let first = parts.partition_point(|part| part.end <= run.start);
    let own = parts[first..].iter().take_while(|part| part.start < run.end);
    own.map(|part| part.intersect(&run)).all(|range| page.take(state, range))
}

#[cfg(test)]
mod tests;
