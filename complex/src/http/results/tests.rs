//! Streams of results in bounded memory.

use isos_base::api::{RESULT_FRAME_BYTES_MAX, ResultEntry};
use isos_base::job::JobSpec;
use isos_base::price::Price;
use isos_base::record::{Change, JobRecord, JobState, ResultBatch, StateChunk, TaskState, states};
use isos_base::task::Exit;
use isos_base::{AccountId, Fuel, Guid, MicroCredits, Time, TransferId};

use super::*;
use crate::testing::World;

fn accepted(task: u32, output: OutputAt) -> Accepted {
    let result = TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1), output };
    Accepted { task, result: Ok(result), host: None }
}

fn entries(mut frames: &[u8]) -> Vec<ResultEntry> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = frames.split_first_chunk() {
        let length = codec::frame_length(*head, RESULT_FRAME_BYTES_MAX).unwrap();
        entries.push(codec::decode(&rest[..length]).unwrap());
        frames = &rest[length..];
    }
    entries
}

/// A job whose thousand tasks are done.
fn job() -> JobRecord {
    JobRecord {
        id: JobId(9),
        account: AccountId(100),
        spec: JobSpec::new(Guid::of(b"program"), Bytes(1), 1_000),
        state: JobState::Done,
        price: Price(100),
        hold: TransferId(0),
        submitted: Time(1),
        ended: Some(Time(2)),
        spent: MicroCredits(0),
        done: 1_000,
        failed: 0,
        given_up: 0,
        redone: Vec::new(),
        unchecked: 0,
        why: None,
        pinned: None,
    }
}

#[tokio::test]
async fn a_lost_output_is_left_out_and_outputs_come_one_at_a_time() {
    let world = World::new().await;
    let shared = world.server.shared.clone();
    let object = |byte: u8, size: usize| {
        let guid = shared.shelf.put(&vec![byte; size]).unwrap();
        OutputAt::Object(guid, size as u64)
    };
    let (one, two) = (object(1, 3 << 20), object(2, 2 << 20));
    let lost = OutputAt::Object(Guid::of(b"lost"), 4);
    let small = |task| accepted(task, OutputAt::Inline(vec![7; 2_000]));
    let batch = |batch, results| Change::Results(ResultBatch { job: JobId(9), batch, results });
    let changes = [
        Change::Job(Box::new(job())),
        batch(0, vec![accepted(0, one), accepted(1, lost), accepted(2, two)]),
        batch(1, (3..1_000).map(small).collect()),
    ];
    shared.db.commit(&changes).await.unwrap();
    let mut pages = Pages::new(shared, AccountId(100), JobId(9), None, true);
    let mut tasks = Vec::new();
    loop {
        let piece = pages.next().await.unwrap().bytes;
        if piece.is_empty() {
            break;
        }
        let entries = entries(&piece);
        let large = |entry: &&ResultEntry| entry.output.as_ref().is_some_and(|o| o.len() > 2_048);
        assert!(entries.iter().filter(large).count() <= 1, "one output at a time");
        assert!(piece.len() < (3 << 20) + 4_096, "{} bytes at once", piece.len());
        for entry in entries {
            let task = entry.accepted.task;
            assert_eq!(entry.output.is_none(), task == 1, "task {task}");
            tasks.push(task);
        }
    }
    assert!(tasks.iter().copied().eq(0..1_000), "all results, in order");
    world.server.stop().await;
}

#[tokio::test]
async fn a_range_of_tasks_comes_in_the_order_of_acceptance() {
    let world = World::new().await;
    let empty = |task| accepted(task, OutputAt::Inline(vec![0, 0, 0]));
    let batch = |batch, tasks: &[u32]| {
        let results = tasks.iter().copied().map(empty).collect();
        Change::Results(ResultBatch { job: JobId(9), batch, results })
    };
    let changes = [
        Change::Job(Box::new(job())),
        batch(0, &[900, 5, 7]),
        batch(1, &[0, 1]),
        batch(2, &[6, 9, 8]),
    ];
    world.server.shared.db.commit(&changes).await.unwrap();
    let told = async |range: TaskRange| -> Vec<u32> {
        let shared = world.server.shared.clone();
        let mut pages = Pages::new(shared, AccountId(100), JobId(9), Some(range), false);
        let piece = pages.next().await.unwrap().bytes;
        assert!(pages.next().await.unwrap().bytes.is_empty());
        entries(&piece).iter().map(|entry| entry.accepted.task).collect()
    };
    assert_eq!(told(TaskRange::new(5, 9)).await, [5, 7, 6, 8]);
    assert_eq!(told(TaskRange::new(900, u32::MAX)).await, [900]);
    assert!(told(TaskRange::new(10, 900)).await.is_empty());
    let token = world.operator();
    let ask = async |query: &str| {
        world.json(&format!("GET /v1/jobs/9/results?{query}"), &token, "").await
    };
    for (query, why) in [("from=9&to=9", "has no task"), ("task=1&from=0", "leave out from")] {
        let (status, body) = ask(query).await;
        assert!(status == 400 && body.contains(why), "{query}: {status} {body}");
    }
    assert_eq!(ask("from=5&to=9").await.0, 200);
    world.server.stop().await;
}

#[tokio::test]
async fn of_a_task_that_was_done_again_the_last_result_counts() {
    let world = World::new().await;
    let with = |task, byte: u8| accepted(task, OutputAt::Inline(vec![byte]));
    let batch = |batch, results| Change::Results(ResultBatch { job: JobId(9), batch, results });
    let redone = vec![TaskRange::new(1, 3), TaskRange::new(4, 5)];
    // Tasks 0 to 3 are done, 4 was done once and is open again.
    let mut bits = vec![0; 250];
    states::fill(&mut bits, TaskRange::new(0, 4), TaskState::Done);
    let changes = [
        Change::Job(Box::new(JobRecord { redone, ..job() })),
        Change::States(StateChunk { job: JobId(9), chunk: 0, bits }),
        batch(0, vec![with(0, 1), with(1, 1), with(2, 1), with(3, 1), with(4, 1)]),
        batch(1, vec![with(2, 2)]),
    ];
    let shared = world.server.shared.clone();
    shared.db.commit(&changes).await.unwrap();
    let redone = Redone::of(&shared.db, JobId(9)).await.unwrap();
    assert_eq!(redone.last(&shared.db, JobId(9), 4).await.unwrap(), None);
    let fresh = Pages::new(shared.clone(), AccountId(100), JobId(9), None, true);
    let mut pages = Pages { redone, ..fresh };
    let told: Vec<_> = entries(&pages.next().await.unwrap().bytes)
        .into_iter()
        .map(|entry| (entry.accepted.task, entry.output.unwrap()[0]))
        .collect();
    assert_eq!(told, [(0, 1), (1, 1), (3, 1), (2, 2)]);
    assert_eq!(shared.db.result_of(JobId(9), 2).await.unwrap(), Some(with(2, 2)));
    let lowest = shared.db.results_from(JobId(9), 0, 3).await.unwrap();
    assert_eq!(lowest, [with(0, 1), with(1, 1), with(2, 2)]);
    world.server.stop().await;
}
