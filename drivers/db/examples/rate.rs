//! How fast changes become durable, and how fast a complex starts again.
//!
//! `cargo run --release -p isos-db --example rate [FOLDER]`: prints a table; the disk of FOLDER
//! (the system's temporary folder if there is none) decides most of it. With `ISOS_TEST_POSTGRES`,
//! as `tests/postgres start` prints it, over PostgreSQL as well, and how it compares: a database is
//! made there and dropped.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use isos_base::guid::Guid;
use isos_base::ids::{AccountId, BillId, HostId, JobId, LeaseId, TransferId};
use isos_base::job::JobSpec;
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::ranges::TaskRange;
use isos_base::record::{
    Accepted, AccountRecord, CHUNK_TASKS, Change, JobRecord, JobState, LeaseRecord, LeaseState,
    Reason, ResultBatch, StateChunk, TransferKind, TransferRecord,
};
use isos_base::task::{Exit, OutputAt, TaskResult};
use isos_base::time::Time;
use isos_base::units::{Bytes, Fuel, MicroCredits};
use isos_db::Db;
use sqlx::Connection;

/// Tasks of a lease in the table.
const TASKS: u32 = 16;
/// Tasks of the job that is loaded.
const LARGE: u32 = 10_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{build} build, {}", folder.path().display());
    let rates = over(&Place::Folder(folder)).await?;
    if let Ok(server) = std::env::var("ISOS_TEST_POSTGRES") {
        println!("\nPostgreSQL");
        let measured = over(&Place::Server(server)).await?;
        println!("\nPostgreSQL / SQLite");
        for (sqlite, postgres) in rates.into_iter().zip(measured) {
            println!("{:28} {:>9.2}", sqlite.0, postgres.1 / sqlite.1);
        }
    }
    Ok(())
}

/// Where databases are made.
enum Place {
    Folder(tempfile::TempDir),
    Server(String),
}

impl Place {
    /// A database that has nothing in it.
    async fn fresh(&self, number: usize) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Folder(folder) => Ok(format!("{}/{number}.db", folder.path().display())),
            Self::Server(server) => {
                let (base, _) = server.rsplit_once('/').ok_or("the URL names no database")?;
                let name = name(number);
                let options = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'";
                run(server, format!("CREATE DATABASE {name} {options}")).await?;
                Ok(format!("{base}/{name}"))
            }
        }
    }

    async fn gone(&self, number: usize) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Server(server) => {
                run(server, format!("DROP DATABASE {} WITH (FORCE)", name(number))).await
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("isos_rate_{}_{number}", std::process::id())
}

/// Runs a statement at a server.
async fn run(url: &str, sql: String) -> Result<(), Box<dyn Error>> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// What was measured, and how much of it in a second.
type Rate = (&'static str, f64);

async fn over(place: &Place) -> Result<Vec<Rate>, Box<dyn Error>> {
    let steps = [
        ("1 caller, 1 lease", 1, 1_000, lease_only as fn(u64) -> Vec<Change>),
        ("1 caller, a lease's life", 1, 1_000, life),
        ("64 callers, a lease's life", 64, 500, life),
        ("64 callers, 64 lives", 64, 20, many_lives),
        ("64 callers, 64 transfers", 64, 20, transfers),
    ];
    let mut rates = Vec::new();
    for (number, (name, callers, each, step)) in steps.into_iter().enumerate() {
        let db = Db::open(&place.fresh(number).await?).await?;
        rates.push((name, submit(&db, name, callers, each, step).await?));
        db.close().await?;
        place.gone(number).await?;
    }
    rates.extend(load(&place.fresh(steps.len()).await?).await?);
    place.gone(steps.len()).await?;
    Ok(rates)
}

/// `callers` at once, each waiting for its commit before its next.
async fn submit(
    db: &Db,
    name: &str,
    callers: u64,
    each: u64,
    step: fn(u64) -> Vec<Change>,
) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    // One kernel numbers everything.
    let next = Arc::new(AtomicU64::new(1));
    for _ in 0..callers {
        let (writer, next) = (db.writer(), next.clone());
        tasks.spawn(async move {
            let (mut changes, mut waits) = (0, Vec::new());
            for _ in 0..each {
                let step = step(next.fetch_add(1, Ordering::Relaxed));
                changes += step.len();
                let start = Instant::now();
                writer.submit(step).await?;
                waits.push(start.elapsed());
            }
            Ok::<_, isos_db::CommitError>((changes, waits))
        });
    }
    let (mut changes, mut waits) = (0, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (more, times) = done??;
        changes += more;
        waits.extend(times);
    }
    let seconds = start.elapsed().as_secs_f64();
    waits.sort();
    let part = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "{name:28} {:>9.0} submissions/s {:>9.0} changes/s   p50 {:>7} p99 {:>7}   {}",
        waits.len() as f64 / seconds,
        changes as f64 / seconds,
        millis(part(50)),
        millis(part(99)),
        size(db),
    );
    Ok(waits.len() as f64 / seconds)
}

/// A server's is measured too seldom to be shown.
fn size(db: &Db) -> String {
    if db.epoch().is_some() { String::new() } else { db.size().to_string() }
}

fn millis(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1e3)
}

fn lease_only(n: u64) -> Vec<Change> {
    vec![Change::Lease(Box::new(lease(n, LeaseState::Open)))]
}

/// Grant, report and settle a lease of 16 tasks: two leases, states, results, a charge, a pay and a
/// fee, with the balances of three accounts.
fn life(n: u64) -> Vec<Change> {
    let mut changes = vec![
        Change::Lease(Box::new(lease(n, LeaseState::Open))),
        Change::States(chunk(n as u32 * TASKS / CHUNK_TASKS)),
        Change::Results(results(n)),
        Change::Lease(Box::new(lease(n, LeaseState::Settled))),
    ];
    changes.extend((0..3).map(|part| Change::Transfer(Box::new(transfer(n * 3 + part)))));
    changes.extend([100, 101, 3].map(|id| Change::Account(Box::new(account(id, n)))));
    changes
}

fn many_lives(n: u64) -> Vec<Change> {
    (n * 64..(n + 1) * 64).flat_map(life).collect()
}

/// Each with both balances, as in the table of the research.
fn transfers(n: u64) -> Vec<Change> {
    let one = |seq: u64| {
        [
            Change::Transfer(Box::new(transfer(seq))),
            Change::Account(Box::new(account(100 + seq * 7 % 5_000, seq))),
            Change::Account(Box::new(account(100 + seq * 13 % 5_000, seq))),
        ]
    };
    (n * 64..(n + 1) * 64).flat_map(one).collect()
}

fn lease(n: u64, state: LeaseState) -> LeaseRecord {
    let start = n as u32 * TASKS;
    LeaseRecord {
        id: LeaseId(n),
        job: JobId(1),
        host: host(n % 100),
        account: AccountId(101),
        ranges: vec![TaskRange::new(start, start + TASKS)],
        state,
        deadline: Time(1_800_000_000_000_000),
        accepted: TASKS,
        rejected: 0,
        fuel: Fuel(1_000_000_000),
        bill: Some(BillId(n / 100 + 1)),
        next_votes: 0,
        price: Price(100),
        held: None,
    }
}

fn host(n: u64) -> HostId {
    HostId(PublicKey(Guid::of(&n.to_le_bytes()).0))
}

fn chunk(chunk: u32) -> StateChunk {
    StateChunk { job: JobId(1), chunk, bits: vec![0x55; CHUNK_TASKS as usize / 4] }
}

fn results(n: u64) -> ResultBatch {
    let result = |task| TaskResult {
        task,
        exit: Exit::Code(0),
        fuel: Fuel(60_000_000),
        output: OutputAt::Inline(vec![b'x'; 40]),
    };
    let first = n as u32 * TASKS;
    let accepted = |task| Accepted { task, result: Ok(result(task)), host: Some(host(n % 100)) };
    let results = (first..first + TASKS).map(accepted).collect();
    ResultBatch { job: JobId(1), batch: n, results }
}

fn transfer(seq: u64) -> TransferRecord {
    TransferRecord {
        seq,
        id: TransferId(u128::from(seq) << 64 | u128::from(seq)),
        kind: TransferKind::Post,
        debit: AccountId(100 + seq * 7 % 5_000),
        credit: AccountId(100 + seq * 13 % 5_000),
        amount: MicroCredits(98),
        hold: Some(TransferId(1)),
        reason: Reason::Pay(BillId(seq)),
        at: Time(1_800_000_000_000_000),
        hash: Guid::of(&seq.to_le_bytes()),
    }
}

fn account(id: u64, n: u64) -> AccountRecord {
    AccountRecord {
        id: AccountId(id),
        name: format!("account {id}"),
        key: None,
        debits_pending: MicroCredits(0),
        debits_posted: MicroCredits(n as i64),
        credits_pending: MicroCredits(0),
        credits_posted: MicroCredits(n as i64),
    }
}

/// A server that starts again in the middle of a job of ten million tasks.
async fn load(url: &str) -> Result<[Rate; 3], Box<dyn Error>> {
    let db = Db::open(url).await?;
    let job = JobRecord {
        id: JobId(1),
        account: AccountId(100),
        spec: JobSpec::new(Guid::of(b"program"), Bytes::kib(100), LARGE),
        state: JobState::Active,
        price: Price(100),
        hold: TransferId(1),
        submitted: Time(1),
        ended: None,
        spent: MicroCredits(0),
        done: 0,
        failed: 0,
        given_up: 0,
        redone: Vec::new(),
        unchecked: 0,
        why: None,
        pinned: None,
    };
    let mut changes = vec![Change::Job(Box::new(job))];
    changes.extend((0..LARGE.div_ceil(CHUNK_TASKS)).map(chunk).map(Change::States));
    changes.extend((1..=10_000).map(|n| Change::Lease(Box::new(lease(n, LeaseState::Settled)))));
    changes.extend((1..=10_000).map(results).map(Change::Results));
    changes.extend((1..=30_000).map(transfer).map(Box::new).map(Change::Transfer));
    let count = changes.len();
    let start = Instant::now();
    db.commit(&changes).await?;
    let committed = start.elapsed();
    println!("one commit of {count} changes    {}", millis(committed));
    db.close().await?;

    let start = Instant::now();
    let db = Db::open(url).await?;
    let opened = start.elapsed();
    let start = Instant::now();
    let snapshot = db.load().await?;
    let loaded = start.elapsed();
    println!(
        "open {}, load of a job of {LARGE} tasks ({} chunks, {} leases) {}   {}",
        millis(opened),
        snapshot.states.len(),
        snapshot.leases.len(),
        millis(loaded),
        size(&db),
    );
    let start = Instant::now();
    let found = db.result_of(JobId(1), 100_000).await?;
    let looked = start.elapsed();
    println!("one result of 160,000 by its task {}, {}", millis(looked), found.is_some());
    db.close().await?;
    let rate = |name, time: Duration| (name, 1.0 / time.as_secs_f64());
    Ok([rate("a large commit", committed), rate("load", loaded), rate("one result", looked)])
}
