//! Local files on their way out, and results on their way in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, Bytes as Piece};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use expect_test::expect;
use futures_util::stream::{self, StreamExt};
use isos_base::api::{RESULT_STREAM_TYPE, ResultEntry};
use isos_base::codec::decode;
use isos_base::job::FileList;
use isos_base::record::JobState;
use isos_base::{Guid, JobId};

use super::samples::{Server, entry, frames, job};
use crate::{Input, ResultsFolder, Source, Submission, SubmissionError, Tasks, Wanted};

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = if path.extension().is_some_and(|e| e == "wasm") { "\0asm" } else { "text" };
        fs::write(&path, format!("{content} of {}", path.file_name().unwrap().display())).unwrap();
    }
    folder
}

fn input(folder: &Path, text: &str) -> Input {
    Input::parse(text).under(folder)
}

#[test]
fn inputs_are_split_where_there_is_no_such_file() {
    let there = |path: &Path| path == Path::new("a=b");
    let parse = |text| {
        let input = Input::parse_with(text, there);
        (input.host, input.guest)
    };
    let host = |text: &str, guest: Option<&str>| (PathBuf::from(text), guest.map(String::from));
    assert_eq!(parse("a=b"), host("a=b", None));
    assert_eq!(parse("a=b=c"), host("a=b", Some("c")));
    assert_eq!(parse("./x:data/x"), host("./x", Some("data/x")));
    assert_eq!(parse("C:\\x"), host("C:\\x", None));
    assert_eq!(parse("x"), host("x", None));
}

#[test]
fn a_submission_becomes_a_job_and_its_objects() {
    let folder = folder(&["p.wasm", "lib/b", "lib/sub/c", "lib/a", "one", "q/2.fa", "q/10.fa"]);
    let at = |path: &str| folder.path().join(path);
    let submission = Submission {
        tasks: Tasks::Each(at("q/*.fa").display().to_string()),
        inputs: vec![
            input(folder.path(), "lib"),
            input(folder.path(), "one:data/1"),
            input(folder.path(), "one=/in/again"),
            Input { host: at("lib/sub"), guest: Some("/in".into()) },
        ],
        ..Submission::new(at("p.wasm"))
    };
    let prepared = submission.prepare().unwrap();
    let paths: Vec<_> = prepared.spec.inputs.iter().map(|mount| mount.path.as_str()).collect();
    assert_eq!(paths, ["lib/a", "lib/b", "lib/sub/c", "data/1", "again", "c"]);
    assert_eq!((prepared.spec.count, prepared.spec.name.as_str()), (2, "p"));
    // Program, a, b, c, one, two queries, and the list of them.
    assert_eq!(prepared.objects.len(), 8);
    let list = prepared.spec.each.unwrap();
    let object = prepared.objects.iter().find(|object| object.guid == list).unwrap();
    let Source::Bytes(bytes) = &object.source else { panic!("the list is in memory") };
    let files = decode::<FileList>(bytes).unwrap().files;
    let names: Vec<_> = files.iter().map(|mount| mount.path.as_str()).collect();
    assert_eq!(names, ["10.fa", "2.fa"]);
    assert_eq!(files[1].guid, Guid::of(b"text of 2.fa"));
}

#[test]
fn what_cannot_be_submitted_is_refused_before_anything_is_sent() {
    let folder = folder(&["p.wasm", "text", "x/same", "y/same"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    let at = |path: &str| folder.path().join(path);
    let refused = |change: &dyn Fn(&mut Submission)| {
        let mut submission = Submission::new(at("p.wasm"));
        change(&mut submission);
        let error: SubmissionError = submission.prepare().unwrap_err();
        let text = error.to_string().replace(&folder.path().display().to_string(), "DIR");
        format!("{} {text}\n", error.exit_code())
    };
    let inputs = |texts: &[&str]| -> Vec<Input> {
        texts.iter().map(|text| input(folder.path(), text)).collect()
    };
    let mut all = String::new();
    all += &refused(&|s| s.program = at("missing.wasm"));
    all += &refused(&|s| s.program = at("text"));
    all += &refused(&|s| s.program = at("empty"));
    all += &refused(&|s| s.inputs = inputs(&["missing"]));
    all += &refused(&|s| s.inputs = inputs(&["empty"]));
    all += &refused(&|s| s.inputs = inputs(&["text:../x"]));
    all += &refused(&|s| s.inputs = inputs(&["text:/etc/passwd"]));
    all += &refused(&|s| s.inputs = inputs(&["x/same", "y/same"]));
    all += &refused(&|s| s.tasks = Tasks::Count(0));
    all += &refused(&|s| s.tasks = Tasks::Each(at("*.none").display().to_string()));
    all += &refused(&|s| {
        s.inputs = inputs(&["x/same"]);
        s.tasks = Tasks::Each(at("y/*").display().to_string());
    });
    expect![[r#"
        4 cannot read DIR/missing.wasm
        2 DIR/text is no WebAssembly program: it does not begin with \0asm
        2 DIR/empty is no WebAssembly program: it is no file
        4 cannot read DIR/missing
        2 input DIR/empty is a folder without files
        2 input DIR/text cannot be /in/../x: use plain relative paths
        2 input DIR/text cannot be /etc/passwd: a job sees its inputs under /in, so name a path there, without / in front
        2 two inputs would both be /in/same
        2 count is 0, but must be from 1 to 100000000
        2 --each "DIR/*.none" matches no file (put the pattern into quotes, so that the shell leaves it)
        2 --each "DIR/y/*" and --input do not fit together: two inputs would both be /in/same
    "#]]
    .assert_eq(&all);
}

#[cfg(target_os = "linux")]
#[test]
fn files_whose_names_are_no_text_are_not_passed_over() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = folder(&["p.wasm", "a/1.fa", "b/2.fa"]);
    let each = |pattern: &str| {
        let pattern = folder.path().join(pattern).display().to_string();
        let tasks = Tasks::Each(pattern);
        Submission { tasks, ..Submission::new(folder.path().join("p.wasm")) }.prepare()
    };
    assert_eq!(each("*/*.fa").unwrap().spec.count, 2);
    fs::write(folder.path().join("a").join(OsStr::from_bytes(b"x\xff.fa")), "x").unwrap();
    for pattern in ["a/*.fa", "*/*.fa", "**/*.fa", "a/*"] {
        let error = each(pattern).unwrap_err();
        assert!(error.to_string().contains("no UTF-8"), "{pattern}: {error}");
        assert_eq!(error.exit_code(), 2);
    }
    assert_eq!(each("b/*.fa").unwrap().spec.count, 1, "it is not asked for");
    assert_eq!(each("a/?.fa").unwrap().spec.count, 1, "it would not match");
    fs::create_dir(folder.path().join(OsStr::from_bytes(b"\xfe"))).unwrap();
    assert!(each("*/2.fa").is_err());
}

#[cfg(unix)]
#[test]
fn a_loop_of_links_ends() {
    let folder = folder(&["p.wasm", "loop/file"]);
    std::os::unix::fs::symlink(folder.path().join("loop"), folder.path().join("loop/self"))
        .unwrap();
    let submission = Submission {
        inputs: vec![input(folder.path(), "loop")],
        ..Submission::new(folder.path().join("p.wasm"))
    };
    let error = submission.prepare().unwrap_err().to_string();
    assert!(error.contains("a loop of links?"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_out_of_an_input_folder_is_refused_and_one_inside_is_followed() {
    use std::os::unix::fs::symlink;

    let folder = folder(&["p.wasm", "secret", "dd/a", "dd/sub/b"]);
    let at = |path: &str| folder.path().join(path);
    let submit = |name: &str| {
        let inputs = vec![input(folder.path(), name)];
        Submission { inputs, ..Submission::new(at("p.wasm")) }.prepare()
    };
    symlink("../a", at("dd/sub/inside")).unwrap();
    symlink("sub", at("dd/twice")).unwrap();
    let prepared = submit("dd").unwrap();
    let paths: Vec<_> = prepared.spec.inputs.iter().map(|mount| mount.path.as_str()).collect();
    let expected = ["a", "sub/b", "sub/inside", "twice/b", "twice/inside"];
    assert_eq!(paths, expected.map(|path| format!("dd/{path}")));
    // Whoever names a link means what it leads to, a folder too.
    symlink("secret", at("named")).unwrap();
    symlink("dd", at("other")).unwrap();
    assert_eq!(submit("named").unwrap().spec.inputs.len(), 1);
    assert_eq!(submit("other").unwrap().spec.inputs.len(), 5);

    for (link, target) in [("dd/l", at("secret")), ("dd/sub/l", "../../secret".into())] {
        symlink(target, at(link)).unwrap();
        let error = submit("dd").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("{link} is a link out of the folder, to ")), "{text}");
        assert!(text.contains("secret: put a copy there"), "{text}");
        assert_eq!(error.exit_code(), 2);
        fs::remove_file(at(link)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let folder = folder(&["p.wasm", "dd/a"]);
    let at = |path: &str| folder.path().join(path);
    for pipe in ["pipe", "dd/pipe"] {
        let made = std::process::Command::new("mkfifo").arg(at(pipe)).status().unwrap();
        assert!(made.success());
    }
    let program = Submission::new(at("pipe")).prepare().unwrap_err();
    assert!(program.to_string().ends_with("it is no file"), "{program}");
    for name in ["pipe", "dd"] {
        let inputs = vec![input(folder.path(), name)];
        let error = Submission { inputs, ..Submission::new(at("p.wasm")) }.prepare().unwrap_err();
        assert!(error.to_string().ends_with("pipe is neither a file nor a folder"), "{error}");
    }
    let error = crate::Object::of_file(&at("pipe")).unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
}

/// A server whose stream of results breaks after the first result, once.
pub(super) async fn results_server() -> (Server, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = count.clone();
    let results = move || {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            let whole = frames(&[entry(2), entry(0), entry(1)]);
            let cut = frames(&[entry(2)]).len() + 9;
            let pieces: Vec<Result<Piece, std::io::Error>> = if first {
                let broken = std::io::Error::other("the power went out");
                vec![Ok(whole[..cut].to_vec().into()), Err(broken)]
            } else {
                vec![Ok(whole.into())]
            };
            // What was sent must have left before the connection is gone.
            let body = Body::from_stream(stream::iter(pieces).then(|piece| async {
                if piece.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                piece
            }));
            ([(CONTENT_TYPE, RESULT_STREAM_TYPE)], body).into_response()
        }
    };
    let router = Router::new()
        .route("/v1/jobs/42", get(|| async { Json(job(3, JobState::Done)) }))
        .route("/v1/jobs/42/results", get(results));
    (Server::start(router).await, count)
}

#[tokio::test]
async fn results_are_saved_once_however_often_the_stream_breaks() {
    let (server, count) = results_server().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("results");
    let client = server.client();
    let mut steps = Vec::new();
    let saved =
        client.save_results(JobId(42), Wanted::All, &folder, |n| steps.push(n)).await.unwrap();
    assert_eq!((saved.done, saved.kept, count.load(Ordering::SeqCst)), (3, 0, 2));
    assert_eq!(steps, [1, 1, 2, 3]);
    assert_eq!(fs::read_to_string(folder.join("2/stdout")).unwrap(), "task 2\n");
    assert_eq!(fs::read_to_string(folder.join("2/out/deep/answer.txt")).unwrap(), "aa");
    assert!(!folder.join("2/stderr").exists());
    let summary = fs::read_to_string(folder.join("results.jsonl")).unwrap();
    expect![[r#"
        {"task":0,"exit":{"code":0},"why":null,"fuel":1000,"host":null,"digest":"yhp6","output":"ou5u","stdout_bytes":7,"stderr_bytes":0,"files":1}
    "#]]
    .assert_eq(&shorten(summary.lines().next().unwrap()));
    assert_eq!(summary.lines().count(), 3);

    // Again: nothing is written twice; what somebody removed comes back.
    fs::remove_dir_all(folder.join("1")).unwrap();
    let again = client.save_results(JobId(42), Wanted::All, &folder, |_| ()).await.unwrap();
    assert_eq!((again.done, again.kept), (3, 2));
    assert!(folder.join("1/stdout").exists());

    // What somebody changed becomes what it was; what somebody added stays with what is as it was.
    fs::write(folder.join("0/stdout"), "task !\n").unwrap();
    fs::write(folder.join("1/notes"), "mine").unwrap();
    fs::write(folder.join("2/out/deep/answer.txt"), "a").unwrap();
    let again = client.save_results(JobId(42), Wanted::All, &folder, |_| ()).await.unwrap();
    assert_eq!((again.done, again.kept), (3, 1));
    assert_eq!(fs::read_to_string(folder.join("0/stdout")).unwrap(), "task 0\n");
    assert_eq!(fs::read_to_string(folder.join("1/notes")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(folder.join("2/out/deep/answer.txt")).unwrap(), "aa");
}

#[tokio::test]
async fn a_lost_output_is_named_and_the_others_are_saved() {
    let results = || async {
        let lost = ResultEntry { output: None, ..entry(0) };
        let whole = frames(&[entry(2), lost, entry(1)]);
        ([(CONTENT_TYPE, RESULT_STREAM_TYPE)], whole)
    };
    let router = Router::new()
        .route("/v1/jobs/42", get(|| async { Json(job(3, JobState::Done)) }))
        .route("/v1/jobs/42/results", get(results));
    let server = Server::start(router).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("results");
    let error =
        server.client().save_results(JobId(42), Wanted::All, &folder, |_| ()).await.unwrap_err();
    let said = "the output of task 42@0 is lost: the complex has no such bytes";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (said, 3));
    assert!(folder.join("2/stdout").exists() && folder.join("1/stdout").exists());
    assert!(!folder.join("0").exists());
    let summary = fs::read_to_string(folder.join("results.jsonl")).unwrap();
    assert_eq!(summary.lines().count(), 2);
}

/// Hashes cut to four characters.
fn shorten(line: &str) -> String {
    let mut text = String::new();
    for (index, part) in line.split('"').enumerate() {
        let quote = if index == 0 { "" } else { "\"" };
        let part = if part.len() == 52 { &part[..4] } else { part };
        text += &format!("{quote}{part}");
    }
    text + "\n"
}

#[test]
fn results_of_two_jobs_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let mine = job(3, JobState::Done);
    drop(ResultsFolder::open(folder.path(), &mine, Wanted::All).unwrap());
    ResultsFolder::open(folder.path(), &mine, Wanted::All).unwrap();
    let mut other = mine.clone();
    other.submitted.0 += 1;
    let error = ResultsFolder::open(folder.path(), &other, Wanted::All).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("holds results of job 42 of 2026"), "{error}");
    assert!(crate::check_results_folder(folder.path()).is_err());
    let new = folder.path().join("new");
    assert!(crate::check_results_folder(&new).is_ok());
    fs::create_dir_all(new.join("7")).unwrap();
    let error = ResultsFolder::open(&new, &mine, Wanted::All).unwrap_err().to_string();
    assert!(
        error.ends_with("is not empty, it has \"7\": choose a new or an empty folder"),
        "{error}"
    );
    fs::remove_dir(new.join("7")).unwrap();
    assert!(crate::check_results_folder(&new).is_ok());
}
