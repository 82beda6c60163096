//! The three forms, errors, and sample data for all who print.

use isos_base::record::Accepted;
use isos_base::task::{Exit, Output as TaskOutput, OutputAt, TaskResult};
use isos_base::{Fuel, Time};
use isos_sdk::Outcome;

use super::*;

/// When all samples are looked at.
pub(crate) const NOW: Time = Time(1_795_190_930_000_000);

/// An answer in all three forms, one after another.
pub(crate) fn three_forms(report: &dyn Report) -> String {
    let mut all = String::new();
    let mut text = Page::new(NOW, false);
    report.text(&mut text);
    all.push_str(&text.finish());
    all.push_str("---\n");
    let json: Value = serde_json::from_str(&document(report)).expect("JSON is JSON");
    all.push_str(&serde_json::to_string_pretty(&json).expect("JSON is JSON"));
    all.push_str("\n---\n");
    let mut quiet = Page::new(NOW, false);
    report.quiet(&mut quiet);
    all.push_str(&quiet.finish());
    all
}

/// A task that went well.
pub(crate) fn outcome(task: u32, stdout: &[u8]) -> Outcome {
    let output = TaskOutput { stdout: stdout.into(), ..TaskOutput::default() };
    let result = TaskResult {
        task,
        exit: Exit::Code(0),
        fuel: Fuel(1_234_567),
        output: OutputAt::Inline(output.encode()),
    };
    let accepted = Accepted { task, result: Ok(result), host: None };
    Outcome { accepted, output: Some(output) }
}

fn output(mode: Mode) -> Output {
    Output { mode, stdout_color: false, stderr_color: false }
}

#[test]
fn an_error_says_what_was_tried_and_what_to_do() {
    let error = Refusal::unreachable("no complex is known", vec!["run `isos dev`".into()]);
    let error = anyhow::Error::from(error);
    let (code, text) = output(Mode::Text).render_error(&error);
    assert_eq!(code as u8, 10);
    assert_eq!(text, "error: no complex is known\n  run `isos dev`");
    let (_, json) = output(Mode::Json).render_error(&error);
    expect_test::expect![[r#"{"error":{"code":"unreachable","exit":10,"hints":["run `isos dev`"],"message":"no complex is known"}}"#]]
        .assert_eq(&json);
}

#[test]
fn the_complexs_no_keeps_its_word_and_code() {
    use isos_base::api::{Problem, ProblemCode};
    let codes = [
        (ProblemCode::Usage, 2, "usage"),
        (ProblemCode::NotFound, 4, "not_found"),
        (ProblemCode::Busy, 5, "busy"),
        (ProblemCode::Limited, 5, "limited"),
        (ProblemCode::Unsure, 1, "unsure"),
        (ProblemCode::Refused, 6, "refused"),
        (ProblemCode::Unauthorised, 7, "unauthorised"),
        (ProblemCode::Verification, 12, "verification"),
        (ProblemCode::Internal, 1, "internal"),
    ];
    for (code, number, word) in codes {
        let error = anyhow::Error::from(ClientError::Problem(Problem::new(code, "no")));
        let (exit, found) = classify(&error.context("job 5"));
        assert_eq!((exit as u8, found), (number, word));
    }
}

#[test]
fn an_interruption_is_no_error_to_people() {
    let error = Refusal::interrupted(vec!["job 5 goes on".into()]).into();
    let (code, text) = output(Mode::Text).render_error(&error);
    assert_eq!((code as u8, text.as_str()), (130, "interrupted\n  job 5 goes on"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let error = io::Error::from(io::ErrorKind::BrokenPipe);
    assert_eq!(output(Mode::Text).error(&error.into()), Code::Ok);
}

#[test]
fn rows_are_toned_and_aligned() {
    let mut table = Table::new(&["name", ">n"]);
    table.row(Tone::Plain, vec!["a".into(), "5".into()]);
    table.row(Tone::Bad, vec!["long\nname".into(), "1000".into()]);
    let mut page = Page::new(NOW, true);
    page.table(&table);
    let text = page.finish();
    assert!(text.contains("\x1b[31mlong name  1000\x1b[39m"), "{text:?}");
    assert!(text.contains("a             5\n"), "{text:?}");
}
