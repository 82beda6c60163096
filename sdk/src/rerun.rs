//! Some tasks of a job once more, as a job of their own.

use isos_base::TaskRange;
use isos_base::api::{JobView, TaskRanges};
use isos_base::job::JobSpec;
use isos_base::limits::JOB_RANGES_MAX;
use isos_base::record::TaskState;

use crate::call::Call;
use crate::client::Client;
use crate::error::ClientError;

/// What to submit to run some tasks of a job again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rerun {
    /// The job as it was, with these tasks; none if nothing is to be run again.
    pub spec: Option<JobSpec>,
    /// The task from which on there are more than one job may have: they take another.
    pub rest: Option<u32>,
}

impl Client {
    /// A job's tasks in these states as ranges: at most `limit` from task `from` on.
    pub async fn ranges(
        &self,
        job: isos_base::JobId,
        states: &[TaskState],
        from: u32,
        limit: u32,
    ) -> Result<TaskRanges, ClientError> {
        let words: Vec<&str> = states.iter().map(|state| word(*state)).collect();
        let words = words.join(",");
        let path = format!("/v1/jobs/{job}/ranges?state={words}&from={from}&limit={limit}");
        self.line.send(&Call::get(path)).await?.json().await
    }

    /// What to submit to run a job's tasks in these states again, of `part`: a job with the same
    /// program, inputs and limits, whose tasks keep their indices. Nothing is submitted yet.
    pub async fn rerun(
        &self,
        job: &JobView,
        states: &[TaskState],
        part: TaskRange,
    ) -> Result<Rerun, ClientError> {
        let found = self.ranges(job.id, states, part.start, JOB_RANGES_MAX as u32).await?;
        let within = found.ranges.iter().map(|range| range.intersect(&part));
        let tasks: Vec<TaskRange> = within.filter(|range| !range.is_empty()).collect();
        let rest = found.next.filter(|next| *next < part.end);
        let spec =
            (!tasks.is_empty()).then(|| JobSpec { tasks, trace: Vec::new(), ..job.spec.clone() });
        Ok(Rerun { spec, rest })
    }
}

/// The API's word for a state.
fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Open => "open",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::GivenUp => "given_up",
    }
}
