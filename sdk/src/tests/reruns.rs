//! Some tasks of a job once more.

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use isos_base::TaskRange;
use isos_base::api::TaskRanges;
use isos_base::record::{JobState, TaskState};

use super::samples::{Server, job};

/// What the server was asked for.
#[derive(serde::Deserialize)]
struct Asked {
    state: String,
    from: u32,
}

#[tokio::test]
async fn a_part_of_what_failed_becomes_a_job_of_its_own() {
    let range = TaskRange::new;
    let ranges = move |Query(asked): Query<Asked>| async move {
        assert_eq!(asked.state, "failed,given_up");
        let all = [range(0, 3), range(5, 6), range(9, 20)];
        let ranges = all.into_iter().filter(|range| range.end > asked.from).collect();
        Json(TaskRanges { ranges, next: Some(30) })
    };
    let server = Server::start(Router::new().route("/v1/jobs/42/ranges", get(ranges))).await;
    let client = server.client();
    let old = job(0, JobState::Failed);
    let states = [TaskState::Failed, TaskState::GivenUp];
    let again = client.rerun(&old, &states, range(1, 10)).await.unwrap();
    let spec = again.spec.unwrap();
    assert_eq!(spec.tasks, [range(1, 3), range(5, 6), range(9, 10)]);
    assert_eq!((spec.count, spec.program), (old.spec.count, old.spec.program));
    // What does not fit a page begins behind the part.
    assert_eq!(again.rest, None);
    assert_eq!(client.rerun(&old, &states, range(1, 31)).await.unwrap().rest, Some(30));
    assert_eq!(client.rerun(&old, &states, range(25, 28)).await.unwrap().spec, None);
}
