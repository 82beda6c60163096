//! Which results count: of a task that was done again the last, and none of one that is open again,
//! because the host of its result was caught. The job's record names the tasks for which this is a
//! question at all.

use isos_base::record::{Accepted, CHUNK_TASKS, TaskState, states};
use isos_base::{JobId, TaskRange};
use isos_db::{Db, ReadError};

/// A job's tasks of which a result was taken back.
#[derive(Debug, Clone, Default)]
pub(super) struct Redone(Vec<TaskRange>);

impl Redone {
    /// Those of this job.
    pub(super) async fn of(db: &Db, job: JobId) -> Result<Self, ReadError> {
        Ok(Self(db.job(job).await?.map(|record| record.redone).unwrap_or_default()))
    }

    fn has(&self, task: u32) -> bool {
        self.0.iter().any(|range| range.tasks().contains(&task))
    }

    /// Whether this result counts: none took its place, and none is to.
    pub(super) async fn counts(
        &self,
        db: &Db,
        job: JobId,
        accepted: &Accepted,
    ) -> Result<bool, ReadError> {
        if !self.has(accepted.task) {
            return Ok(true);
        }
        Ok(self.last(db, job, accepted.task).await?.as_ref() == Some(accepted))
    }

    /// The result of a task that counts, if there is one.
    pub(super) async fn last(
        &self,
        db: &Db,
        job: JobId,
        task: u32,
    ) -> Result<Option<Accepted>, ReadError> {
        if self.has(task) && is_open(db, job, task).await? {
            return Ok(None);
        }
        db.result_of(job, task).await
    }
}

async fn is_open(db: &Db, job: JobId, task: u32) -> Result<bool, ReadError> {
    let (number, place) = (task / CHUNK_TASKS, task % CHUNK_TASKS);
    let chunks = db.states_from(job, number, 1).await?;
    let chunk = chunks.first().filter(|chunk| chunk.chunk == number);
    let chunk = chunk.filter(|chunk| chunk.bits.len() > place as usize / 4);
    Ok(chunk.is_none_or(|chunk| states::state_of(&chunk.bits, place) == TaskState::Open))
}
