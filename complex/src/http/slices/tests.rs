//! Slices by the API: who may, and what is answered.

use isos_base::api::{Problem, ProblemCode, SliceRequest, SliceView};
use isos_base::capability::Right;
use isos_base::{Span, Time};

use crate::clock;
use crate::testing::World;

fn wish(name: &str, until: Time) -> String {
    let request = SliceRequest { name: name.into(), hosts: 2, constraint: None, until, key: None };
    serde_json::to_string(&request).unwrap()
}

#[tokio::test]
async fn whoever_may_submit_makes_slices_and_is_told_why_not() {
    let world = World::new().await;
    let reader = world.token("ada", &[Right::Read]).await;
    let ada = world.token("ada", &[Right::Read, Right::Submit]).await;
    let soon = clock::now() + Span::secs(3_600);
    let code = |answer: &str| serde_json::from_str::<Problem>(answer).unwrap().code;
    let (status, answer) = world.json("POST /v1/slices", &reader, &wish("lab", soon)).await;
    assert_eq!((status, code(&answer)), (403, ProblemCode::Unauthorised), "{answer}");
    let (status, answer) = world.json("POST /v1/slices", &ada, &wish("lab", soon)).await;
    assert_eq!((status, code(&answer)), (409, ProblemCode::Refused));
    assert!(answer.contains("2 hosts wanted, 0 can be had; no host has joined"), "{answer}");
    for (body, what) in [(wish("a b", soon), "no name"), (wish("lab", Time(7)), "from now")] {
        let (status, answer) = world.json("POST /v1/slices", &ada, &body).await;
        assert_eq!((status, answer.contains(what)), (400, true), "{answer}");
    }
    let (status, answer) = world.json("GET /v1/slices", &reader, "").await;
    assert_eq!((status, serde_json::from_str::<Vec<SliceView>>(&answer).unwrap()), (200, vec![]));
    for line in ["GET /v1/slices/lab", "DELETE /v1/slices/lab"] {
        let (status, answer) = world.json(line, &ada, "").await;
        assert_eq!((status, code(&answer)), (404, ProblemCode::NotFound), "{line}: {answer}");
    }
    let (status, answer) = world.json("PUT /v1/slices/lab", &ada, r#"{"hosts":3}"#).await;
    assert_eq!((status, code(&answer)), (404, ProblemCode::NotFound));
    let (status, _) = world.json("PUT /v1/slices/lab", &ada, r#"{"host":3}"#).await;
    assert_eq!(status, 422);
    world.server.stop().await;
}
