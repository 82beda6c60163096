//! Events and results: whole, cut off, changed on the way.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use isos_base::api::{Problem, ProblemCode, RESULT_STREAM_TYPE, ResultEntry};
use isos_base::record::JobState;
use isos_base::{Guid, JobId};

use super::samples::{Server, entry, frames, job, output};
use crate::{ClientError, Progress, Wanted};

/// Gives one answer after another to whoever asks for `path`; the last one for ever.
fn in_turn(path: &str, answers: Vec<fn() -> Response>) -> Router {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    Router::new().route(
        path,
        get(move || {
            let mut answers = answers.lock().unwrap();
            let next = answers[0];
            if answers.len() > 1 {
                answers.pop_front();
            }
            async move { next() }
        }),
    )
}

fn events(text: String) -> Response {
    ([(CONTENT_TYPE, "text/event-stream")], text).into_response()
}

fn data(done: u32, state: JobState) -> String {
    format!("data: {}\n\n", serde_json::to_string(&job(done, state)).unwrap())
}

fn busy() -> Response {
    let problem = Problem::new(ProblemCode::Busy, "restarting");
    (axum::http::StatusCode::SERVICE_UNAVAILABLE, axum::Json(problem)).into_response()
}

#[tokio::test]
async fn progress_survives_a_server_that_goes_away_in_mid_job() {
    let answers: Vec<fn() -> Response> = vec![
        || {
            let (one, cut) = (data(1, JobState::Active), data(2, JobState::Active));
            events(format!(": hello\n\n{one}{one}{}", &cut[..20]))
        },
        busy,
        || events(data(1, JobState::Active) + &data(2, JobState::Active)),
        || events(data(3, JobState::Done) + &data(0, JobState::Active)),
    ];
    let server = Server::start(in_turn("/v1/jobs/42/events", answers)).await;
    let mut events = server.client().events(JobId(42));
    let mut seen = Vec::new();
    while let Some(view) = events.next().await.unwrap() {
        seen.push(view.tasks.done);
    }
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(events.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_outage_is_told_while_it_lasts() {
    let answers: Vec<fn() -> Response> = vec![|| events(data(1, JobState::Active)), busy, || {
        events(data(1, JobState::Active) + &data(3, JobState::Done))
    }];
    let server = Server::start(in_turn("/v1/jobs/42/events", answers)).await;
    let mut events = server.client().events(JobId(42));
    let mut told = Vec::new();
    while let Some(progress) = events.progress().await.unwrap() {
        told.push(match progress {
            Progress::Job(view) => format!("{} done", view.tasks.done),
            Progress::Away { why, .. } => why,
        });
    }
    assert_eq!((told.len(), &*told[0], &*told[4]), (5, "1 done", "3 done"), "{told:?}");
    assert!(told[1].contains("the event stream ended before the job"), "{told:?}");
    assert!(told[2].contains("restarting"), "{told:?}");
    assert_eq!(told[3], "1 done", "it is back, and the job stands where it stood");
}

#[tokio::test]
async fn events_that_are_none_are_errors() {
    let answers: Vec<fn() -> Response> =
        vec![|| events("data: {\"id\":\n\n".into()), || "no stream".into_response(), || {
            events(format!("data: {}", "x".repeat(2 << 20)))
        }];
    let server = Server::start(in_turn("/v1/jobs/42/events", answers)).await;
    let client = server.client();
    for wanted in ["no job", "instead of an event stream", "an event of more than"] {
        let error = client.events(JobId(42)).next().await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let error = client.events(JobId(43)).next().await.unwrap_err();
    assert_eq!(error.problem(), Some(ProblemCode::NotFound), "{error}");
}

#[tokio::test]
async fn who_may_not_watch_any_more_is_told_why_by_the_last_event() {
    let answers: Vec<fn() -> Response> = vec![|| {
        let why = r#"{"code":"unauthorised","message":"the token was revoked"}"#;
        events(data(1, JobState::Active) + &format!("event: problem\ndata: {why}\n\n"))
    }];
    let server = Server::start(in_turn("/v1/jobs/42/events", answers)).await;
    let mut events = server.client().events(JobId(42));
    assert!(events.next().await.unwrap().is_some());
    let error = events.next().await.unwrap_err();
    assert_eq!(error.problem(), Some(ProblemCode::Unauthorised), "{error}");
    assert_eq!(error.to_string(), "the token was revoked");
}

fn results(bytes: Vec<u8>) -> Response {
    // In odd pieces: frames need not fit them.
    let pieces: Vec<_> =
        bytes.chunks(7).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
    let body = Body::from_stream(stream::iter(pieces));
    ([(CONTENT_TYPE, RESULT_STREAM_TYPE)], body).into_response()
}

async fn read(make: fn() -> Response) -> Result<Vec<u32>, ClientError> {
    let server = Server::start(in_turn("/v1/jobs/42/results", vec![make])).await;
    let mut results = server.client().results(JobId(42), true, Wanted::All).await?;
    let mut tasks = Vec::new();
    while let Some(outcome) = results.next().await? {
        if outcome.accepted.result.is_ok() {
            assert_eq!(outcome.output, Some(output(outcome.accepted.task)));
        }
        tasks.push(outcome.accepted.task);
    }
    Ok(tasks)
}

#[tokio::test]
async fn results_come_in_order_with_checked_outputs() {
    let make = || {
        let mut given_up = entry(2);
        given_up.accepted.result = Err("no agreement".into());
        given_up.output = None;
        results(frames(&[entry(5), entry(0), given_up]))
    };
    assert_eq!(read(make).await.unwrap(), [5, 0, 2]);
    assert_eq!(read(|| results(Vec::new())).await.unwrap(), [0; 0]);
}

#[tokio::test]
async fn a_result_that_was_changed_on_the_way_is_refused() {
    fn changed(change: fn(&mut ResultEntry)) -> Response {
        let mut entry = entry(3);
        change(&mut entry);
        results(frames(&[entry]))
    }
    let other_bytes = || changed(|entry| entry.output = Some(output(4).encode()));
    let other_task = || changed(|entry| entry.accepted.task = 4);
    let no_output_at_all = || {
        changed(|entry| {
            let bytes = b"\xff\xff\xff".to_vec();
            let Ok(result) = &mut entry.accepted.result else { unreachable!() };
            result.output = isos_base::task::OutputAt::Object(Guid::of(&bytes), 3);
            entry.output = Some(bytes);
        })
    };
    for make in [other_bytes, other_task, no_output_at_all] {
        let error = read(make).await.unwrap_err();
        assert_eq!(error.exit_code(), 12, "{error}");
    }
    let missing = read(|| changed(|entry| entry.output = None)).await.unwrap_err();
    assert!(matches!(missing, ClientError::Lost { .. }), "{missing}");
}

#[tokio::test]
async fn a_stream_of_results_that_is_cut_or_no_frames_is_an_error() {
    let in_body = read(|| results(frames(&[entry(1), entry(2)])[..150].to_vec())).await;
    let in_head = read(|| results(vec![1, 0])).await;
    let only_head = read(|| results(vec![9, 0, 0, 0])).await;
    for cut in [in_body, in_head, only_head] {
        let error = cut.unwrap_err();
        assert!(matches!(error, ClientError::Interrupted { .. }), "{error}");
        assert_eq!(error.exit_code(), 5);
    }
    let endless = read(|| results(vec![0xff; 9])).await.unwrap_err();
    let garbage = read(|| results(vec![2, 0, 0, 0, 0xff, 0xff])).await.unwrap_err();
    for bad in [endless, garbage] {
        assert!(matches!(bad, ClientError::Protocol { .. }), "{bad}");
    }
}
