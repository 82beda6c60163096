//! Programs that address the other ranks of their slice: the tests are those.

use std::time::{Duration, Instant};

use isos_base::peers::{Answer, Ask, MESSAGE_BYTES_MAX, Problem};
use isos_base::task::{Execution, Exit, Fault};
use isos_base::{Fuel, Span};
use isos_sandbox::{Event, OpenError, PrepareError};

use crate::programs::PRELUDE;
use crate::world::{Job, Test, exit, job, order, stdout, wait};

pub(crate) const TESTS: &[Test] = &[
    ("a program asks its peers and goes on with the answers", answered),
    ("what cannot be is a number to the program", problems),
    ("waiting is the task's time and takes no fuel", waits),
    ("a message is paid for by both", paid),
    ("peers are there on a slice alone", alone),
    ("a program that addresses peers saves no state", saves),
    ("a component addresses its peers as well", component),
];

const IMPORTS: &str = r#"
  (import "isos:host/peers" "rank" (func $rank (result i32)))
  (import "isos:host/peers" "size" (func $size (result i32)))
  (import "isos:host/peers" "send" (func $send (param i32 i32 i32) (result i32)))
  (import "isos:host/peers" "multicast" (func $multicast (param i32 i32) (result i32)))
  (import "isos:host/peers" "receive" (func $receive (param i32 i64 i32) (result i32)))
  (import "isos:host/peers" "message" (func $message (param i32 i32) (result i32)))
"#;

fn program(body: &str) -> String {
    format!("(module {IMPORTS} {PRELUDE} {body})")
}

/// On a slice of four, as rank 2.
fn speaker(body: &str) -> Job<'static> {
    job(&program(body)).with(|spec| {
        spec.slice = Some("lab".into());
        spec.count = 4;
    })
}

/// Runs rank 2, and answers each of its questions by the next of these. What it asked as well.
fn run(job: &Job<'_>, answers: Vec<Answer>) -> (Execution, Vec<Ask>) {
    wait(async {
        let (chamber, mut events) = job.open().await;
        assert!(chamber.speaks());
        chamber.send(vec![order(2)]).await.expect("a living chamber");
        let (mut answers, mut asked) = (answers.into_iter(), Vec::new());
        loop {
            match events.next().await {
                Some(Event::Asked { task: 2, ask }) => {
                    asked.push(ask);
                    if let Some(answer) = answers.next() {
                        chamber.answer(2, answer).await.expect("a living chamber");
                    }
                }
                Some(Event::Finished(mut batch)) => return (batch.remove(0), asked),
                other => panic!("{other:?}"),
            }
        }
    })
}

fn answered() {
    let body = r#"(data (i32.const 100) "hello")
      (func (export "_start")
        (if (i32.ne (call $rank) (i32.const 2)) (then unreachable))
        (if (i32.ne (call $size) (i32.const 4)) (then unreachable))
        (if (call $send (i32.const 3) (i32.const 100) (i32.const 5)) (then unreachable))
        (if (i32.ne (call $multicast (i32.const 100) (i32.const 0)) (i32.const 3))
          (then unreachable))
        (if (i32.ne (call $receive (i32.const 1) (i64.const 9) (i32.const 200)) (i32.const 7))
          (then unreachable))
        (if (i32.ne (i32.load (i32.const 200)) (i32.const 1)) (then unreachable))
        (if (i32.ne (call $message (i32.const 300) (i32.const 6)) (i32.const -4))
          (then unreachable))
        (if (i32.ne (call $receive (i32.const -1) (i64.const 0) (i32.const 200)) (i32.const 7))
          (then unreachable))
        (if (call $message (i32.const 300) (i32.const 7)) (then unreachable))
        (call $print (i32.const 300) (i32.const 7)))"#;
    let came = || Answer::Received(Some((1, b"answer\n".to_vec())));
    let (end, asked) = run(&speaker(body), vec![Answer::Sent(1), Answer::Sent(3), came(), came()]);
    assert_eq!((exit(&end), stdout(&end.output)), (Exit::Code(0), "answer\n".to_owned()));
    let expected = [
        Ask::Send { to: 3, message: b"hello".to_vec() },
        Ask::Multicast(Vec::new()),
        Ask::Receive { from: Some(1), wait_ms: 9 },
        Ask::Receive { from: None, wait_ms: 0 },
    ];
    assert_eq!(asked, expected);
}

fn problems() {
    let body = format!(
        r#"(func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
      (func (export "_start")
        (call $is (call $send (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const -1))
        (call $is (call $send (i32.const 9) (i32.const 0) (i32.const 0)) (i32.const -3))
        (call $is (call $receive (i32.const 0) (i64.const 0) (i32.const 0)) (i32.const -5))
        (call $is (call $receive (i32.const 0) (i64.const 0) (i32.const 0)) (i32.const -1))
        (drop (memory.grow (i32.const 2)))
        (call $is (call $send (i32.const 0) (i32.const 0) (i32.const {})) (i32.const -2))
        (call $is (call $send (i32.const 0) (i32.const -8) (i32.const 9)) (i32.const -4))
        (call $is (call $receive (i32.const 0) (i64.const 0) (i32.const -2)) (i32.const -4)))"#,
        MESSAGE_BYTES_MAX + 1
    );
    let answers = vec![
        Answer::Problem(Problem::Gone),
        Answer::Problem(Problem::NoRank),
        Answer::Received(None),
        Answer::Problem(Problem::Gone),
    ];
    let (end, asked) = run(&speaker(&body), answers);
    assert_eq!((exit(&end), asked.len()), (Exit::Code(0), 4), "the others ask nobody");
}

const WAITS: &str = r#"(func (export "_start")
    (drop (call $receive (i32.const 0) (i64.const 1000000) (i32.const 0))))"#;

fn waits() {
    let patient = speaker(WAITS).with(|spec| spec.timeout = Span::millis(400));
    let begin = Instant::now();
    let (end, _) = run(&patient, Vec::new());
    assert_eq!(end.end, Err(Fault::TimedOut));
    assert!((Duration::from_millis(350)..Duration::from_secs(20)).contains(&begin.elapsed()));
    assert!(end.fuel < Fuel(10_000), "{}", end.fuel);
}

fn paid() {
    let send = |bytes: usize| {
        let body = format!(
            r#"(func (export "_start")
              (drop (memory.grow (i32.const 2)))
              (drop (call $send (i32.const 0) (i32.const 0) (i32.const {bytes}))))"#
        );
        run(&speaker(&body), vec![Answer::Sent(1)]).0.fuel
    };
    let all = r#"(func (export "_start")
        (drop (memory.grow (i32.const 2)))
        (drop (call $multicast (i32.const 0) (i32.const 64000))))"#;
    let all = run(&speaker(all), vec![Answer::Sent(3)]).0.fuel;
    let receive = |bytes: usize| {
        let answer = Answer::Received(Some((0, vec![0; bytes])));
        run(&speaker(WAITS), vec![answer]).0.fuel
    };
    assert!(send(64_000).0 >= send(0).0 + 8_000);
    assert!(all.0 + 100 >= send(0).0 + 3 * 8_000, "once for each");
    assert!(receive(64_000).0 >= receive(0).0 + 8_000);
    let poor = speaker(
        r#"(func (export "_start")
          (drop (memory.grow (i32.const 2)))
          (drop (call $send (i32.const 0) (i32.const 0) (i32.const 64000))))"#,
    );
    let (end, asked) = run(&poor.with(|spec| spec.fuel = Fuel(2_000)), Vec::new());
    assert_eq!((exit(&end), asked), (Exit::OutOfFuel, Vec::new()), "it is paid before");
}

fn alone() {
    let opened = wait(job(&program(WAITS)).try_open());
    let Err(OpenError::Prepare(PrepareError::BadProgram { reason, .. })) = opened else {
        panic!("{opened:?}")
    };
    assert!(reason.contains("isos slice run"), "{reason}");
}

fn saves() {
    let both = format!(
        r#"(module (import "isos:host/checkpoint" "due" (func $due (result i32)))
          {IMPORTS} {PRELUDE} (func (export "_start")))"#
    );
    let stepped = program(r#"(func (export "isos_step") (result i32) (i32.const 0))"#);
    for text in [both, stepped] {
        let opened = wait(job(&text).try_open());
        let Err(OpenError::Prepare(PrepareError::BadProgram { reason, .. })) = opened else {
            panic!("{opened:?}")
        };
        assert!(reason.contains("it can do only one of them"), "{reason}");
    }
}

fn component() {
    let text = r#"(component
      (import "isos:host/peers@0.1.0" (instance $peers
        (export "rank" (func (result u32)))))
      (core func $rank (canon lower (func $peers "rank")))
      (core module $m
        (import "peers" "rank" (func $rank (result i32)))
        (func (export "run") (result i32) (i32.ne (call $rank) (i32.const 2))))
      (core instance $i (instantiate $m
        (with "peers" (instance (export "rank" (func $rank))))))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (instance (export "wasi:cli/run@0.2.12") (export "run" (func $run))))"#;
    let speaker = job(text).with(|spec| {
        spec.slice = Some("lab".into());
        spec.count = 4;
    });
    let (end, asked) = run(&speaker, Vec::new());
    assert_eq!((exit(&end), asked), (Exit::Code(0), Vec::new()));
}
