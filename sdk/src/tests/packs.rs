//! Results as one stream: lines of JSON, and tar files that other programs read.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use expect_test::expect;
use isos_base::api::{RESULT_STREAM_TYPE, ResultEntry};
use isos_base::record::{Accepted, JobState};
use isos_base::task::{Exit, Output, OutputAt, OutputFile, TaskResult};
use isos_base::{Fuel, Guid, JobId, TaskRange};
use serde_json::Value;

use super::files::results_server;
use super::samples::{Server, entry, frames, job};
use crate::{LINE_STDOUT_MAX, Outcome, Pack, PackTo, PackedLine, Wanted, check_results_file};

fn of(task: u32, output: Output) -> ResultEntry {
    let bytes = output.encode();
    let at = OutputAt::Object(Guid::of(&bytes), bytes.len() as u64);
    let result = TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1), output: at };
    ResultEntry { accepted: Accepted { task, result: Ok(result), host: None }, output: Some(bytes) }
}

async fn serve(entries: Vec<ResultEntry>) -> Server {
    let whole = frames(&entries);
    let results = move || {
        let whole = whole.clone();
        async move { ([(CONTENT_TYPE, RESULT_STREAM_TYPE)], whole) }
    };
    let router = Router::new()
        .route("/v1/jobs/42", get(|| async { axum::Json(job(3, JobState::Done)) }))
        .route("/v1/jobs/42/results", get(results));
    Server::start(router).await
}

fn line(stdout: &[u8]) -> Value {
    let output = Output { stdout: stdout.into(), ..Output::default() };
    let accepted = of(7, output.clone()).accepted;
    serde_json::to_value(PackedLine::of(&Outcome { accepted, output: Some(output) })).unwrap()
}

#[test]
fn a_line_carries_text_as_it_is_and_bytes_in_base64() {
    let text = line("zwei\u{fc}\n".as_bytes());
    assert_eq!((&text["stdout"], &text["stdout_base64"]), (&"zwei\u{fc}\n".into(), &Value::Null));
    assert_eq!((&text["task"], &text["stdout_bytes"]), (&7.into(), &7.into()));
    let bytes = line(b"\xff\x00");
    assert_eq!((&bytes["stdout"], &bytes["stdout_base64"]), (&Value::Null, &"/wA=".into()));
    assert_eq!(line(b"")["stdout"], "");
}

#[test]
fn a_long_line_is_cut_between_characters_and_says_so() {
    let whole = line("\u{fc}".repeat(LINE_STDOUT_MAX / 2).as_bytes());
    assert_eq!(whole["stdout_cut"], Value::Null);
    let long = format!("x{}", "\u{fc}".repeat(LINE_STDOUT_MAX));
    let cut = line(long.as_bytes());
    assert_eq!(cut["stdout_cut"], true);
    assert_eq!(cut["stdout"].as_str().unwrap().len(), LINE_STDOUT_MAX - 1);
    assert_eq!(cut["stdout_bytes"], long.len());
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_behind_what_was_written() {
    let (server, _) = results_server().await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("results.jsonl");
    // A part that was left by one that was killed is no hindrance.
    fs::write(home.path().join("results.jsonl.part"), "left").unwrap();
    let client = server.client();
    let to = PackTo::File(path.clone());
    let saved = client.pack_results(JobId(42), Wanted::All, Pack::Jsonl, to, |_| ()).await.unwrap();
    assert_eq!((saved.done, saved.kept), (3, 0));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(saved.bytes, text.len() as u64);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // In the order of acceptance, each once.
    let told: Vec<_> = lines.iter().map(|line| line["stdout"].as_str().unwrap()).collect();
    assert_eq!(told, ["task 2\n", "task 0\n", "task 1\n"]);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no part is left");
    // What is there stays as it is.
    let to = PackTo::File(path.clone());
    let again = client.pack_results(JobId(42), Wanted::All, Pack::Jsonl, to, |_| ()).await;
    assert_eq!(again.unwrap_err().exit_code(), 2);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_that_did_not_become_whole_is_not_there() {
    let mut changed = entry(0);
    changed.output = Some(b"changed".to_vec());
    let server = serve(vec![entry(2), changed]).await;
    let home = tempfile::tempdir().unwrap();
    let to = PackTo::File(home.path().join("x.tar"));
    let outcome = server.client().pack_results(JobId(42), Wanted::All, Pack::Tar, to, |_| ()).await;
    assert_eq!(outcome.unwrap_err().exit_code(), 12);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    assert!(check_results_file(&home.path().join("x.tar")).is_ok());
    assert!(check_results_file(&home.path().join("no/x.tar")).is_err());
    assert!(check_results_file(home.path()).is_err());
}

#[tokio::test]
async fn tar_reads_what_was_packed() {
    let deep = format!("{}/{}", "d".repeat(120), "n".repeat(130));
    let file = |path: &str| OutputFile { path: path.into(), content: path.as_bytes().to_vec() };
    let output = Output {
        stdout: b"seven".to_vec(),
        stderr: b"oh".to_vec(),
        files: vec![file("a.txt"), file(&deep)],
    };
    let server = serve(vec![of(7, output), entry(0)]).await;
    let bytes = async || {
        let sink = Shared::default();
        let to = PackTo::Sink(Box::new(sink.clone()));
        let client = server.client();
        client.pack_results(JobId(42), Wanted::All, Pack::Tar, to, |_| ()).await.unwrap();
        sink.0.lock().unwrap().clone()
    };
    let packed = bytes().await;
    assert_eq!(packed, bytes().await, "equal results give equal bytes");
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("x.tar");
    fs::write(&path, packed).unwrap();
    let tar = |args: &[&str], at: &Path| {
        let output = Command::new("tar").args(args).arg(at).current_dir(home.path()).output();
        let output = output.expect("tar is on every system that tests run on");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let names = tar(&["-tf"], &path).replace(&deep, "DEEP");
    expect![[r#"
        job.json
        7/result.json
        7/stdout
        7/stderr
        7/out/a.txt
        7/out/DEEP
        0/result.json
        0/stdout
        0/out/deep/answer.txt
    "#]]
    .assert_eq(&names);
    tar(&["-xf"], &path);
    assert_eq!(fs::read_to_string(home.path().join("7/out").join(&deep)).unwrap(), deep);
    assert_eq!(fs::read_to_string(home.path().join("7/stderr")).unwrap(), "oh");
    let line: Value =
        serde_json::from_slice(&fs::read(home.path().join("7/result.json")).unwrap()).unwrap();
    assert_eq!((&line["exit"]["code"], &line["files"]), (&0.into(), &2.into()));
}

#[test]
fn a_part_is_what_is_between_its_ends() {
    let part = Wanted::Range(TaskRange::new(5, 7));
    let has = |wanted: Wanted| (0..9).filter(|task| wanted.has(*task)).collect::<Vec<u32>>();
    assert_eq!(has(part), [5, 6]);
    assert_eq!(has(Wanted::Task(3)), [3]);
    assert_eq!(has(Wanted::All).len(), 9);
}

/// What was written, to look at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
