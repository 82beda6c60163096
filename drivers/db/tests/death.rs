//! Real processes that die, and a real disk that is full: what was acknowledged is there.
//!
//! The test binary starts itself again as the process that writes.

#[expect(dead_code, reason = "the other test program uses the rest")]
#[path = "../src/tests/server.rs"]
mod server;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use isos_base::guid::Guid;
use isos_base::ids::{AccountId, JobId, TransferId};
use isos_base::random::Random;
use isos_base::record::{
    Accepted, Change, Reason, ResultBatch, StateChunk, TransferKind, TransferRecord,
};
use isos_base::time::Time;
use isos_base::units::MicroCredits;
use isos_db::{CommitError, Db};

/// Names the database to the process that writes.
const DATABASE: &str = "ISOS_DB_TEST_DATABASE";
/// A process that is just being started has the locks of all open files for a moment, so tests that
/// start some take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Submissions on their way.
const AHEAD: usize = 16;
const JOB: JobId = JobId(1);

/// Step `n` of a history: three rows in three tables that belong together.
fn step(n: u64) -> Vec<Change> {
    let accepted = Accepted { task: n as u32, result: Err("x".repeat(500)), host: None };
    vec![
        Change::Transfer(Box::new(TransferRecord {
            seq: n,
            id: TransferId(n.into()),
            kind: TransferKind::Direct,
            debit: AccountId(1),
            credit: AccountId(100),
            amount: MicroCredits(1),
            hold: None,
            reason: Reason::Grant(String::new()),
            at: Time(n),
            hash: Guid::of(&n.to_le_bytes()),
        })),
        Change::Results(ResultBatch { job: JOB, batch: n, results: vec![accepted] }),
        Change::States(StateChunk { job: JOB, chunk: 0, bits: n.to_le_bytes().into() }),
    ]
}

/// How many steps are there, after making sure that each is there whole and none is missing.
async fn steps(db: &Db) -> u64 {
    let mut last = 0;
    let visit = |transfer: &TransferRecord| {
        last += 1;
        assert_eq!(transfer.seq, last, "no transfer is missing");
        ControlFlow::Continue(())
    };
    db.each_transfer(0, visit).await.unwrap();
    let (mut batches, mut after) = (0, None);
    loop {
        let page = db.results(JOB, after, 1_000).await.unwrap();
        let Some(batch) = page.last() else { break };
        after = Some(batch.batch);
        batches += page.len() as u64;
    }
    assert_eq!((batches, after.unwrap_or(0)), (last, last), "as many batches as transfers");
    let states = db.states(JOB).await.unwrap();
    assert_eq!(states.first().map_or(0, |chunk| number(&chunk.bits)), last);
    last
}

fn number(bits: &[u8]) -> u64 {
    u64::from_le_bytes(bits.try_into().unwrap())
}

/// Writes steps for ever and says which are acknowledged.
async fn write(db: &Db) -> CommitError {
    let writer = db.writer();
    let mut next = 1 + steps(db).await;
    let mut on_their_way = VecDeque::new();
    loop {
        while on_their_way.len() < AHEAD {
            on_their_way.push_back((next, writer.submit(step(next))));
            next += 1;
        }
        let (n, commit) = on_their_way.pop_front().unwrap();
        match commit.await {
            Ok(()) => say(&format!("acknowledged {n}")),
            Err(error) => return error,
        }
    }
}

/// On a line of its own, at once, whatever the test harness does with its output.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{text}").unwrap();
    out.flush().unwrap();
}

#[tokio::test]
#[ignore = "the process that `what_was_acknowledged_survives_kill_9` kills"]
async fn a_process_that_writes() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let db = Db::open(&url).await.unwrap();
    let error = write(&db).await;
    panic!("{error}");
}

fn this_test(name: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    [program.as_str(), "--ignored", "--exact", "--nocapture", name].map(String::from).into()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("complex.db");
    survives_kill_9(path.to_str().unwrap(), 40, || ()).await;
}

#[tokio::test]
async fn what_was_acknowledged_over_postgres_survives_kill_9() {
    let Some(server) = server::server() else { return };
    let database = server::Database::new(server);
    // Who was killed gives no lease up, and a test need not wait until it runs out.
    let release = || database.run("UPDATE leader SET until = clock_timestamp()");
    survives_kill_9(&database.url(), 20, release).await;
}

async fn survives_kill_9(url: &str, times: u32, release: impl Fn()) {
    let _turn = TURN.lock().await;
    let random = &mut Random::new(u64::from(std::process::id()));
    let mut kept = 0;
    for _ in 0..times {
        let command = this_test("a_process_that_writes");
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .env(DATABASE, url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = kept;
        let mut before_death = random.below(60);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(n) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged = n.parse().unwrap();
                if before_death == 0 {
                    // Somewhere in the middle of what comes next.
                    (0..random.below(2_000)).for_each(|_| std::thread::yield_now());
                    child.kill().unwrap();
                }
                before_death = before_death.wrapping_sub(1);
            }
        }
        child.wait().unwrap();
        release();
        let db = Db::open(url).await.unwrap();
        let found = steps(&db).await;
        assert!(found >= acknowledged, "{acknowledged} were acknowledged, {found} are there");
        assert!(found <= acknowledged + AHEAD as u64, "nothing is there that was not submitted");
        assert!(found > kept);
        kept = found;
        // Whoever was not answered submits again.
        db.commit(&step(found)).await.unwrap();
        assert_eq!(steps(&db).await, found);
        db.close().await.unwrap();
    }
}

/// Waits until a commit waits for room.
async fn no_room(db: &Db) -> CommitError {
    loop {
        if let Some(error) = db.writer().no_room() {
            return error;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "the process that `a_full_disk_is_said_and_loses_nothing` starts on a small disk"]
async fn a_process_on_a_small_disk() {
    let Ok(url) = std::env::var(DATABASE) else { return };
    let ballast = Path::new(&url).with_file_name("ballast");
    std::fs::write(&ballast, vec![1; 768 << 10]).unwrap();
    let db = Db::open(&url).await.unwrap();
    let error = tokio::select! {
        error = write(&db) => panic!("a full disk ends nothing: {error}"),
        error = no_room(&db) => error,
    };
    say(&format!("error {error}"));
    assert!(matches!(error, CommitError::DiskFull { .. }));
    let kept = steps(&db).await;

    // The operator makes room, and what waits is kept.
    std::fs::remove_file(ballast).unwrap();
    db.writer().submit(Vec::new()).await.unwrap();
    assert!(db.writer().no_room().is_none());
    let found = steps(&db).await;
    assert!((kept..=kept + AHEAD as u64).contains(&found), "{kept} {found}");
    db.commit(&step(found + 1)).await.unwrap();

    // It fills again, and is closed while something waits for room.
    let error = tokio::select! {
        error = write(&db) => panic!("a full disk ends nothing: {error}"),
        error = no_room(&db) => error,
    };
    assert!(matches!(error, CommitError::DiskFull { .. }));
    let found = steps(&db).await;
    assert!(db.close().await.is_err());
    say(&format!("found {found}"));
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let _turn = TURN.blocking_lock();
    let folder = tempfile::tempdir().unwrap();
    // A disk of 2 MiB in a mount namespace of its own, gone with the process.
    let small_disk = |script: &str, arguments: &[String]| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(folder.path())
            .args(arguments)
            .env(DATABASE, folder.path().join("complex.db"))
            .output()
    };
    let mount = "mount -t tmpfs -o size=2m none \"$0\"";
    if !small_disk(mount, &[]).is_ok_and(|output| output.status.success()) {
        say("skipped: this machine lets nobody mount a small disk");
        return;
    }
    let script = format!("{mount} && exec \"$@\"");
    let output = small_disk(&script, &this_test("a_process_on_a_small_disk")).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let last = |prefix: &str| -> u64 {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.next_back().unwrap().parse().unwrap()
    };
    let (acknowledged, found) = (last("acknowledged "), last("found "));
    assert!(acknowledged > 10 && found >= acknowledged, "{acknowledged} {found}");
    let error = text.lines().find(|line| line.starts_with("error ")).unwrap();
    assert!(error.contains("no room to write to the database"), "{error}");
}
