//! Ranges of jobs that run, that have ended, and that are a part of another.

use isos_base::job::JobSpec;
use isos_base::price::Price;
use isos_base::record::{Change, JobRecord, JobState};
use isos_base::{AccountId, Bytes, Guid, MicroCredits, Time, TransferId};

use super::*;
use crate::testing::World;

const COUNT: u32 = 10_000_000;

fn job(id: u64, tasks: Vec<TaskRange>) -> Change {
    let spec = JobSpec { tasks, ..JobSpec::new(Guid::of(b"program"), Bytes(1), COUNT) };
    Change::Job(Box::new(JobRecord {
        id: JobId(id),
        account: AccountId(100),
        spec,
        state: JobState::Cancelled,
        price: Price(100),
        hold: TransferId(0),
        submitted: Time(1),
        ended: Some(Time(2)),
        spent: MicroCredits(0),
        done: 0,
        failed: 0,
        given_up: 0,
        redone: Vec::new(),
        unchecked: 0,
        why: Some("cancelled".into()),
        pinned: None,
    }))
}

/// A chunk whose tasks between are done; all others of it are as they were.
fn done(job: u64, chunk: u32, between: std::ops::Range<u32>) -> Change {
    let mut bits = vec![0; CHUNK_TASKS as usize / 4];
    states::fill(&mut bits, TaskRange::new(between.start, between.end), TaskState::Done);
    states::fill(&mut bits, TaskRange::new(4_000, 4_001), TaskState::Failed);
    Change::States(StateChunk { job: JobId(job), chunk, bits })
}

async fn told(world: &World, query: &str) -> (Vec<(u32, u32)>, Option<u32>) {
    let line = format!("GET /v1/jobs/{query}");
    let (status, body) = world.json(&line, &world.operator(), "").await;
    assert_eq!(status, 200, "{body}");
    let found: TaskRanges = serde_json::from_str(&body).unwrap();
    (found.ranges.iter().map(|range| (range.start, range.end)).collect(), found.next)
}

#[tokio::test]
async fn an_ended_job_tells_its_tasks_as_ranges() {
    let world = World::new().await;
    let range = TaskRange::new;
    let changes = [
        job(9, Vec::new()),
        done(9, 0, 10..1_000),
        done(9, 700, 0..4_000),
        // The last one, which is no whole chunk.
        done(9, COUNT / CHUNK_TASKS, 0..100),
        // A chunk of which one task is outside of all that job 10 has.
        job(10, vec![range(5, 20), range(900, 5_000), range(9_999_990, COUNT)]),
        done(10, 0, 10..1_000),
    ];
    world.server.shared.db.commit(&changes).await.unwrap();
    let base = 700 * CHUNK_TASKS;
    let last = COUNT / CHUNK_TASKS * CHUNK_TASKS;
    let all = told(&world, "9/ranges?state=failed,given_up").await;
    // Chunks that were never written are as one with what is open beside them.
    let parts = vec![(0, 10), (1_000, base), (base + 4_000, last), (last + 100, COUNT)];
    assert_eq!(all, (parts, None));
    let failed = told(&world, "9/ranges?state=failed").await;
    assert_eq!(failed, (vec![(4_000, 4_001), (base + 4_000, base + 4_001)], None));
    assert_eq!(told(&world, "9/ranges?state=open").await, (vec![], None));
    let mut next = Some(0);
    let mut pages = Vec::new();
    while let Some(from) = next {
        let query = format!("9/ranges?state=given_up&limit=2&from={from}");
        let (page, then) = told(&world, &query).await;
        assert!(page.len() <= 2);
        pages.extend(page);
        next = then;
    }
    let behind = [(base + 4_001, last), (last + 100, COUNT)];
    let parts = [(0, 10), (1_000, 4_000), (4_001, base), behind[0], behind[1]];
    assert_eq!(pages, parts);
    let late = told(&world, "9/ranges?state=given_up,done&from=2867205").await;
    assert_eq!(late, (vec![(base + 5, base + 4_000), (base + 4_001, COUNT)], None));
    assert_eq!(told(&world, "9/ranges?state=done&from=10000000").await, (vec![], None));

    let some = told(&world, "10/ranges?state=given_up,failed").await;
    assert_eq!(some, (vec![(5, 10), (1_000, 5_000), (9_999_990, COUNT)], None));
    assert_eq!(told(&world, "10/ranges?state=done").await, (vec![(10, 20), (900, 1_000)], None));
    let (status, body) =
        world.json("GET /v1/jobs/9/ranges?state=lost", &world.operator(), "").await;
    assert!(status == 400 && body.contains("no state of a task"), "{body}");
    world.server.stop().await;
}
