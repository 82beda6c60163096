//! Jobs: submit, watch, cancel, results.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use isos_base::api::{JobView, LeaseView, Plan, SubmitRequest, TaskView};
use isos_base::capability::Right;
use isos_base::job::{FileList, SharedPaths, is_plain_path};
use isos_base::record::{Accepted, JobRecord, LeaseRecord, TaskState};
use isos_base::{AccountId, Bytes, Guid, JobId, LeaseId, codec, limits};
use isos_db::LeasesOf;
use isos_kernel::complex::{Call, Complex, Reply};
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::redone::Redone;
use super::{
    Answer, App, AppState, Failure, KEEP_ALIVE, Who, internal, not_found, odd_reply, unreadable,
    usage,
};
use crate::clock;
use crate::objects::blocking;

/// Rows of one page.
const PAGE_MAX: u32 = 1_000;

/// Rows of the page that is asked for: as many as there may be, if it is not said.
pub(super) fn page(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE_MAX).min(PAGE_MAX)
}

/// Progress is told at most this often.
const EVENT_PERIOD: Duration = Duration::from_millis(100);
/// And in no more bytes than this: a job with many inputs or ranges is told less often.
const EVENT_BYTES_PER_SEC_MAX: u64 = 64 << 10;

/// Submits a job.
///
/// The program and its inputs have been uploaded before, and its most is held.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    operation_id = "submitJob",
    tag = "jobs",
    request_body = SubmitRequest,
    responses(
        (status = 200, body = JobView, description = "The job; the same one for the same key"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn submit(
    State(shared): AppState,
    who: Who,
    Json(request): Json<SubmitRequest>,
) -> Answer<Json<JobView>> {
    who.needs(Right::Submit)?;
    let account = who.0.account;
    check_objects(&shared, account, &request).await?;
    let (spec, key) = (Box::new(request.spec), request.key);
    let call = match request.bid {
        Some(bid) => Call::SubmitBid { account, spec, key, bid },
        None => Call::Submit { account, spec, key },
    };
    match who.call(&shared, call).await? {
        Reply::Job(view) => Ok(Json(*view)),
        Reply::Ended(id) => find(&shared, &who, id.0).await.map(Json),
        _ => odd_reply(),
    }
}

/// Says what a job would cost and where it would run.
///
/// Nothing is held and nothing starts.
#[utoipa::path(
    post,
    path = "/v1/jobs/plan",
    operation_id = "planJob",
    tag = "jobs",
    request_body = SubmitRequest,
    responses(
        (status = 200, body = Plan, description = "Cost and places"),
        (status = 400, response = Failure),
        (status = 409, response = Failure),
    ),
)]
pub(super) async fn plan(
    State(shared): AppState,
    who: Who,
    Json(request): Json<SubmitRequest>,
) -> Answer<Json<Plan>> {
    who.needs(Right::Submit)?;
    let account = who.0.account;
    let look = move |complex: &mut Complex, _| complex.plan_at(account, &request.spec, request.bid);
    let plan = shared.core.query(look).await??;
    Ok(Json(plan))
}

/// The program and inputs must be here, as long as the job says, before it is accepted.
async fn check_objects(shared: &App, account: AccountId, request: &SubmitRequest) -> Answer<()> {
    let spec = &request.spec;
    let now = clock::now();
    let here = |guid: &Guid, size: Bytes, what: &str| match shared.shelf.need(guid, now) {
        None => Err(usage(format!("{what} {} has not been uploaded", guid.short()))),
        Some(real) if real != size => {
            Err(usage(format!("{what} {} has {real}, the job says {size}", guid.short())))
        }
        Some(_) => Ok(()),
    };
    here(&spec.program, spec.program_size, "the program")?;
    for input in &spec.inputs {
        here(&input.guid, input.size, &format!("input {}", input.path))?;
    }
    let Some(list) = spec.each else { return Ok(()) };
    let size = shared.shelf.need(&list, now).unwrap_or_default();
    if size > limits::FILE_LIST_BYTES_MAX {
        let most = limits::FILE_LIST_BYTES_MAX;
        let why = format!("the list of files has {size}, but may have at most {most}");
        return Err(usage(format!("{why}: make several jobs of it")));
    }
    // Decoded, it takes some times as much: a path, a hash and a size for some forty bytes.
    let _room = shared.reads.room(&shared.door, account, Bytes(size.0 * 3)).await;
    let shelf = shared.shelf.clone();
    let read = blocking(move || {
        let bytes = shelf.read(&list, limits::FILE_LIST_BYTES_MAX);
        let bytes = bytes.map_err(|error| format!("the list of files: {error}"))?;
        codec::decode::<FileList>(&bytes).map_err(|error| format!("the list of files: {error}"))
    });
    let read = read.await.map_err(|error| Failure(internal(&error.to_string())))?;
    let list = read.map_err(usage)?;
    if list.files.len() != spec.count as usize {
        let (files, count) = (list.files.len(), spec.count);
        return Err(usage(format!("the list has {files} files for {count} tasks")));
    }
    let shared_paths = SharedPaths::of(&spec.inputs);
    for file in &list.files {
        if !is_plain_path(&file.path) {
            return Err(usage(format!("{:?} is no plain relative path", file.path)));
        }
        let apart = shared_paths.check_apart(&file.path);
        apart.map_err(|error| usage(format!("the list of files: {error}")))?;
        here(&file.guid, file.size, &format!("file {}", file.path))?;
    }
    Ok(())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Jobs at the most: 50 if not said, never more than 1000.
    limit: Option<u32>,
    /// Only jobs with a lower number.
    before: Option<u64>,
    /// Only the account's own, also for an operator.
    #[serde(default)]
    mine: bool,
}

/// Lists jobs, newest first: the account's own; an operator sees all.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    operation_id = "listJobs",
    tag = "jobs",
    params(ListQuery),
    responses(
        (status = 200, body = Vec<JobView>, description = "At most `limit` jobs"),
        (status = 400, response = Failure),
    ),
)]
pub(super) async fn list(
    State(shared): AppState,
    who: Who,
    Query(query): Query<ListQuery>,
) -> Answer<Json<Vec<JobView>>> {
    who.may_look()?;
    let all = who.is_operator() && !query.mine;
    let account = if all { None } else { Some(who.0.account) };
    let limit = query.limit.unwrap_or(50).min(PAGE_MAX);
    let before = query.before.map(JobId);
    let records =
        shared.db.jobs(account, before, limit).await.map_err(|error| unreadable(&error))?;
    let fill = move |complex: &mut Complex, _| {
        let fresh = |record: JobRecord| {
            complex.job_view(record.id).unwrap_or_else(|| Complex::ended_view(record))
        };
        records.into_iter().map(fresh).collect()
    };
    Ok(Json(shared.core.query(fill).await?))
}

/// A job that this token may see.
pub(super) async fn find(shared: &App, who: &Who, id: u64) -> Answer<JobView> {
    who.may_look()?;
    let id = JobId(id);
    let view = look(shared, id).await?;
    // Whether somebody else's job exists is nobody's business.
    view.filter(|view| who.is_operator() || view.account == who.0.account)
        .ok_or_else(|| not_found(format!("job {id}")))
}

/// A job as it is now, whoever asks.
async fn look(shared: &App, id: JobId) -> Answer<Option<JobView>> {
    if let Some(view) = shared.core.query(move |complex, _| complex.job_view(id)).await? {
        return Ok(Some(view));
    }
    let record = shared.db.job(id).await.map_err(|error| unreadable(&error))?;
    Ok(record.map(Complex::ended_view))
}

/// Shows a job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    operation_id = "getJob",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job")),
    responses(
        (status = 200, body = JobView, description = "The job"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn show(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
) -> Answer<Json<JobView>> {
    find(&shared, &who, id).await.map(Json)
}

/// Cancels a job.
///
/// One that is over stays as it is.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{id}",
    operation_id = "cancelJob",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job")),
    responses(
        (status = 200, body = JobView, description = "The job as it is now"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn cancel(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
) -> Answer<Json<JobView>> {
    who.needs(Right::Submit)?;
    let view = find(&shared, &who, id).await?;
    if view.state.is_over() {
        return Ok(Json(view));
    }
    match who.call(&shared, Call::Cancel { job: JobId(id) }).await? {
        Reply::Job(view) => Ok(Json(*view)),
        _ => odd_reply(),
    }
}

/// Tells how a job moves, until it is over.
///
/// Each `data:` is a `JobView`, the first one at once; comments keep the connection alive. If the
/// right is taken back meanwhile, the last event is a `problem`, and its data says which.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/events",
    operation_id = "watchJob",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events"),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn events(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    // What moves while the job is looked up is told as well.
    let watched = shared.core.watch(JobId(id));
    let first = find(&shared, &who, id).await?;
    let stopping = shared.stopping.clone();
    let start = (shared, watched, stopping, Some(first), EVENT_PERIOD, false);
    let stream = futures_util::stream::unfold(
        start,
        move |(shared, mut watched, mut stopping, first, period, over)| async move {
            if over {
                return None;
            }
            let view = match first {
                Some(view) => view,
                None => {
                    tokio::select! {
                        moved = watched.moved() => if !moved { return None },
                        _ = stopping.wait_for(|stop| *stop) => return None,
                    }
                    tokio::time::sleep(period).await;
                    look(&shared, JobId(id)).await.ok()??
                }
            };
            let over = view.state.is_over();
            let text = serde_json::to_string(&view).ok()?;
            let period = event_period(text.len());
            let event = Event::default().data(text);
            Some((Ok(event), (shared, watched, stopping, None, period, over)))
        },
    );
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// How long to wait after an event of so many bytes.
fn event_period(bytes: usize) -> Duration {
    let paced = Duration::from_millis(bytes as u64 * 1_000 / EVENT_BYTES_PER_SEC_MAX);
    EVENT_PERIOD.max(paced)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TasksQuery {
    /// The first index that is wanted.
    from: Option<u32>,
    /// Tasks at the most, never more than 1000.
    limit: Option<u32>,
}

/// Lists the accepted tasks of a job, in the order of their indices.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/tasks",
    operation_id = "listTasks",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job"), TasksQuery),
    responses(
        (status = 200, body = Vec<TaskView>, description = "At most `limit` tasks"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn tasks(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
    Query(query): Query<TasksQuery>,
) -> Answer<Json<Vec<TaskView>>> {
    find(&shared, &who, id).await?;
    let _scan = who.scan(&shared).await?;
    let from = query.from.unwrap_or(0);
    let limit = page(query.limit);
    let found = shared.db.results_from(JobId(id), from, limit).await;
    let found = found.map_err(|error| unreadable(&error))?;
    let redone = Redone::of(&shared.db, JobId(id)).await.map_err(|error| unreadable(&error))?;
    let mut views = Vec::with_capacity(found.len());
    for accepted in found {
        let counts = redone.counts(&shared.db, JobId(id), &accepted).await;
        if counts.map_err(|error| unreadable(&error))? {
            views.push(task_view(accepted));
        }
    }
    Ok(Json(views))
}

fn task_view(accepted: Accepted) -> TaskView {
    let Accepted { task, result, host } = accepted;
    match result {
        Ok(result) => TaskView {
            task,
            state: if result.exit.is_success() { TaskState::Done } else { TaskState::Failed },
            exit: Some(result.exit),
            why: None,
            fuel: result.fuel,
            host,
            output: Some(result.output.guid()),
        },
        Err(why) => TaskView {
            task,
            state: TaskState::GivenUp,
            exit: None,
            why: Some(why),
            fuel: isos_base::Fuel(0),
            host,
            output: None,
        },
    }
}

/// What became of a task that was given up with all others when its job ended.
pub(super) fn given_up(job: &JobView, task: u32) -> Option<Accepted> {
    let why = job.why.clone().filter(|_| job.spec.has_task(task))?;
    Some(Accepted { task, result: Err(why), host: None })
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LeasesQuery {
    /// Only leases with a higher number.
    pub(super) after: Option<u64>,
    /// Leases at the most: 1000 if not said, never more.
    pub(super) limit: Option<u32>,
}

/// Lists a job's leases, in the order of their numbers: which host was paid for what.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/leases",
    operation_id = "listLeases",
    tag = "jobs",
    params(("id" = JobId, Path, description = "Number of the job"), LeasesQuery),
    responses(
        (status = 200, body = Vec<LeaseView>, description = "At most `limit` leases"),
        (status = 400, response = Failure),
        (status = 404, response = Failure),
    ),
)]
pub(super) async fn leases(
    State(shared): AppState,
    who: Who,
    Path(id): Path<u64>,
    Query(query): Query<LeasesQuery>,
) -> Answer<Json<Vec<LeaseView>>> {
    find(&shared, &who, id).await?;
    let (after, limit) = (query.after.map(LeaseId), page(query.limit));
    let page = shared.db.leases(LeasesOf::Job(JobId(id)), after, limit).await;
    let page = page.map_err(|error| unreadable(&error))?;
    Ok(Json(page.iter().map(lease_view).collect()))
}

fn lease_view(lease: &LeaseRecord) -> LeaseView {
    LeaseView {
        id: lease.id,
        job: lease.job,
        host: lease.host,
        state: lease.state,
        accepted: lease.accepted,
        rejected: lease.rejected,
        fuel: lease.fuel,
        bill: lease.bill,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_with_much_to_tell_is_told_less_often() {
        assert_eq!(event_period(900), EVENT_PERIOD);
        assert_eq!(event_period(160 << 10), Duration::from_millis(2_500));
    }
}
