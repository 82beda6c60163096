//! Ten million tasks: submitted, watched, killed in the middle of, cancelled half-way, and run
//! again where they failed, at the cost of a few ranges.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{HostPlan, World, write};

const COUNT: u64 = 10_000_000;
/// What the server may grow by, in KiB.
const GROWTH_MAX: u64 = 100 << 10;
/// Nothing that touches all tasks takes longer, on two slow cores in debug.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Fails where its argument ends in 33.
const PICKY: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\04\00\00\00did\0a")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (drop (call $sizes (i32.const 32) (i32.const 36)))
    (drop (call $args (i32.const 64) (i32.const 1024)))
    (if (i32.eq (i32.const 0x3333)
          (i32.load16_u (i32.add (i32.const 1021) (i32.load (i32.const 36)))))
      (then (call $exit (i32.const 3))))))"#;

/// KiB of memory that the server has.
fn memory(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it runs");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn get(world: &World, path: &str) -> TcpStream {
    let api = world.ready["api"].as_str().unwrap();
    let mut stream = TcpStream::connect(api.strip_prefix("http://").unwrap()).unwrap();
    let token = world.ready["token"].as_str().unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    stream.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// The ranges of a job's tasks in some states.
fn ranges(world: &World, job: u64, states: &str) -> Vec<(u64, u64)> {
    let mut answer = String::new();
    let mut stream = get(world, &format!("/v1/jobs/{job}/ranges?state={states}"));
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let found: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(found["next"], Value::Null, "one page has them all");
    let number = |value: &Value| value.as_u64().unwrap();
    let range = |range: &Value| (number(&range["start"]), number(&range["end"]));
    found["ranges"].as_array().unwrap().iter().map(range).collect()
}

fn sum(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|(start, end)| end - start).sum()
}

fn count(view: &Value, what: &str) -> u64 {
    view["tasks"][what].as_u64().unwrap()
}

/// How long something took that must not depend on how many tasks there are.
fn quickly<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = act();
    let took = begin.elapsed();
    assert!(took < AT_ONCE, "{what} took {took:?}");
    done
}

#[test]
fn ten_million_tasks_cost_a_few_ranges() {
    let mut world = World::start(&[]);
    let before = memory(&world);
    let picky = write(world.folder(), "picky.wasm", &wat::parse_str(PICKY).unwrap());
    let many = COUNT.to_string();
    let options = ["--count", &many, "--fuel", "100M", "--", "{task}"];
    let args: Vec<&str> = std::iter::once(picky.as_str()).chain(options).collect();
    let job = quickly("submit", || world.submit(&args));

    // Somebody watches from the beginning; the stream ends with the server.
    let mut events = get(&world, &format!("/v1/jobs/{job}/events"));
    let heard = Arc::new(AtomicUsize::new(0));
    let told = heard.clone();
    let watcher = std::thread::spawn(move || {
        let (begin, mut bytes, mut piece) = (Instant::now(), 0, [0; 4_096]);
        while let Ok(more @ 1..) = events.read(&mut piece) {
            bytes += more;
            let events = piece[..more].windows(5).filter(|text| *text == b"data:").count();
            told.fetch_add(events, Ordering::SeqCst);
        }
        (bytes as u64, begin.elapsed())
    });
    world.add_host(HostPlan::default());
    world.wait("some results", || count(&world.job(job), "done") > 500);
    world.wait("news of them", || heard.load(Ordering::SeqCst) >= 2);
    let seen = count(&world.job(job), "done");
    quickly("restart", || world.restart_server());
    assert!(count(&world.job(job), "done") >= seen, "acknowledged results were lost");
    let (bytes, time) = watcher.join().unwrap();
    assert!(bytes <= (time.as_secs() + 2) * (64 << 10), "{bytes} bytes of events in {time:?}");

    world.wait("more results", || count(&world.job(job), "done") > seen + 500);
    let grown = memory(&world).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the server has grown by {grown} KiB");
    quickly("cancel", || world.run(&["job", "cancel", &job.to_string()]));
    let end = world.job(job);
    let (done, failed, given_up) =
        (count(&end, "done"), count(&end, "failed"), count(&end, "given_up"));
    assert_eq!((end["state"].as_str(), done + failed + given_up), (Some("cancelled"), COUNT));
    // The same after another restart, when only the database knows.
    world.restart_server();
    let failures = quickly("ranges", || ranges(&world, job, "failed"));
    assert_eq!(sum(&failures), failed);
    assert!(failures.iter().all(|(start, end)| end - start == 1 && start % 100 == 33));
    assert_eq!(sum(&ranges(&world, job, "given_up")), given_up);
    assert_eq!(sum(&ranges(&world, job, "done")), done);

    results_are_streams(&world, job, done + failed);
    what_failed_runs_again(&world, job, &failures);

    let rest = quickly("retry", || world.json(&["job", "retry", &job.to_string()]));
    assert_eq!(count(&rest, "total"), failed + given_up);
    assert!(rest["spec"]["tasks"].as_array().unwrap().len() < 1_024, "a few ranges");
    let again = rest["id"].as_u64().unwrap();
    world.wait("it goes on", || count(&world.job(again), "done") > 100);
    quickly("cancel", || world.run(&["job", "cancel", &again.to_string()]));
    let left = ranges(&world, again, "given_up,failed,done");
    assert_eq!(sum(&left), failed + given_up, "it has no other tasks");
    let grown = memory(&world).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the server has grown by {grown} KiB");
    world.assert_money_adds_up();
}

/// Results come as lines and as a tar file, all or a part of them.
fn results_are_streams(world: &World, job: u64, ended: u64) {
    let job = job.to_string();
    let lines = |more: &[&str]| -> Vec<Value> {
        let args = [&["job", "results", &job, "--format", "jsonl"], more].concat();
        let output = world.run(&args);
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(line).collect()
    };
    let all = lines(&[]);
    assert_eq!(all.len() as u64, ended);
    assert!(all.iter().all(|line| line["stdout"] == "did\n"), "{}", all[0]);
    let mut some = lines(&["--tasks", "32..35"]);
    some.sort_by_key(|line| line["task"].as_u64());
    let told: Vec<_> = some.iter().map(|line| (&line["task"], &line["exit"]["code"])).collect();
    assert_eq!(told, [(&32.into(), &0.into()), (&33.into(), &3.into()), (&34.into(), &0.into())]);
    let file = world.folder().join("some.tar");
    let place = file.to_str().unwrap();
    let args = ["job", "results", &job, "--tasks", "32..35", "--format", "tar", "--output", place];
    assert_eq!(world.run(&args).status.code(), Some(3), "one of three has failed");
    let listed = Command::new("tar").arg("-tf").arg(&file).stderr(Stdio::inherit()).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut names: Vec<_> = listed.lines().collect();
    names.sort_unstable();
    let of = ["32/result.json", "32/stdout", "33/result.json", "33/stdout", "34/result.json"];
    assert_eq!(names, [&of[..], &["34/stdout", "job.json"]].concat());
}

/// A new job of what failed; tasks keep their numbers.
fn what_failed_runs_again(world: &World, job: u64, failures: &[(u64, u64)]) {
    let part = format!("..{}", failures[4].1);
    let results = world.folder().join("again.jsonl");
    let args = ["job", "retry", &job.to_string(), "--only", "failed", "--tasks", &part];
    let place = ["--format", "jsonl", "--results", results.to_str().unwrap()];
    let output = world.run(&[&args[..], &place].concat());
    assert_eq!(output.status.code(), Some(1), "they fail again: {output:?}");
    let text = fs::read_to_string(results).unwrap();
    let mut tasks: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["task"].as_u64().unwrap())
        .collect();
    tasks.sort_unstable();
    let wanted: Vec<u64> = failures[..5].iter().map(|(start, _)| *start).collect();
    assert_eq!(tasks, wanted);
    let trace = world.json(&["job", "trace", "last"]);
    assert_eq!(trace["task"], failures[0].0, "the first of those that are run again");
    let steps = trace["tries"][0]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["place"] == "sandbox"), "{trace}");
}
