//! The life of one task.

use axum::extract::State;
use isos_base::trace::TaskTrace;
use isos_base::{JobId, TaskId};

use super::extract::{Json, Path};
use super::jobs::find;
use super::{Answer, AppState, Failure, Who, not_found, usage};

/// Shows the life of a traced task, step by step: server, network, agent, sandbox.
///
/// Traces are in the memory of the server that leads, for the newest tasks. What took place on a
/// host is as the host tells it.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/tasks/{task}/trace",
    operation_id = "getTrace",
    tag = "jobs",
    params(
        ("id" = JobId, Path, description = "Number of the job"),
        ("task" = u32, Path, description = "Index of the task"),
    ),
    responses(
        (status = 200, body = TaskTrace, description = "Its life so far"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn trace(
    State(shared): AppState,
    who: Who,
    Path((id, task)): Path<(u64, u32)>,
) -> Answer<Json<TaskTrace>> {
    let view = find(&shared, &who, id).await?;
    let task = TaskId { job: JobId(id), task };
    if !view.spec.has_task(task.task) {
        return Err(not_found(format!("task {task}")));
    }
    if !view.spec.is_traced(task.task) {
        let traced: Vec<String> = view.spec.traced().map(|range| range.to_string()).collect();
        return Err(usage(format!(
            "task {task} is not traced; of job {id}, these are: {}. Say which with \
             `isos job submit --trace`",
            traced.join(", ")
        )));
    }
    let found = shared.traces.show(task);
    found.map(Json).ok_or_else(|| {
        not_found(format!(
            "trace of task {task} any more: traces are in the memory of the server that leads, \
             for the newest tasks"
        ))
    })
}
