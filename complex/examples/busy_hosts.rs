//! Hosts that answer at once, many in one process: `busy_hosts TICKET HOSTS BATCH TASKS ENGINE`.
//!
//! Each host has its own key, endpoint and connection, and lets BATCH tasks run at a time: it
//! answers every grant with one report of made-up results, and says that each took seconds, so that
//! the complex grants no more than BATCH at a time. What is left is the way of a task through the
//! server: frames, scheduling, the database, pay. The server's CPU and memory are of interest, and
//! `cargo xtask bench dispatch` reads them; how long a report waited to be durable is told here.
//!
//! Prints two lines of JSON: one when every host has been welcomed, one when TASKS were reported
//! and acknowledged.

use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::key::SecretKey;
use isos_base::price::Price;
use isos_base::task::{Exit, Output, OutputAt, TaskResult};
use isos_base::ticket::Ticket;
use isos_base::wire::{Grant, HOST_ALPN, Hello, LeaseReport, Report, Room, ToComplex, ToHost};
use isos_base::{Bytes, Fuel, Span, TaskRange};
use isos_net::{Connection, Endpoint, EndpointConfig, PeerAddr, Stream, code};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HOSTS_MAX: u32 = 1_000;
/// So many dial at a time: where all do, a slow machine turns some away at the door.
const DIALS_MAX: usize = 16;
/// The complex has this long for a frame of the greeting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a task is said to take: longer than the work that a host is kept supplied with.
const TASK_TIME: Span = Span::secs(3);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ticket, hosts, batch, tasks, engine] = arguments.as_slice() else {
        return Err("usage: busy_hosts TICKET HOSTS BATCH TASKS ENGINE".into());
    };
    let ticket: Ticket = ticket.parse()?;
    let hosts = hosts.parse::<u32>()?.min(HOSTS_MAX);
    let crowd = Arc::new(Crowd {
        complex: PeerAddr::from(&ticket.servers[0]),
        token: ticket.token,
        engine: engine.clone(),
        batch: batch.parse()?,
        left: AtomicU32::new(tasks.parse()?),
        dials: Semaphore::new(DIALS_MAX),
        over: watch::channel(false).0,
    });
    let (said, mut news) = mpsc::channel(hosts as usize);
    for number in 0..hosts {
        let (crowd, said) = (crowd.clone(), said.clone());
        tokio::spawn(async move {
            let done = live(&crowd, number, &said).await;
            let _ = said.send(News::Ended(done)).await;
        });
    }
    let start = Instant::now();
    let (mut welcomed, mut ended, mut waits) = (0, 0, Vec::new());
    while ended < hosts {
        match news.recv().await.ok_or("no host is left")? {
            News::Welcomed => {
                welcomed += 1;
                if welcomed == hosts {
                    let secs = start.elapsed().as_secs_f64();
                    say(&json!({ "welcomed": hosts, "secs": secs }))?;
                }
            }
            News::Ended(done) => {
                waits.extend(done?);
                ended += 1;
            }
        }
    }
    waits.sort_unstable();
    let quantile = |share: f64| {
        let at = (waits.len().saturating_sub(1) as f64 * share) as usize;
        waits.get(at).map_or(0.0, |wait: &Duration| wait.as_secs_f64() * 1e3)
    };
    say(&json!({
        "reports": waits.len(),
        "ack_ms_median": quantile(0.5),
        "ack_ms_p99": quantile(0.99),
    }))
}

fn say(line: &serde_json::Value) -> Outcome<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// What all hosts share.
struct Crowd {
    complex: PeerAddr,
    token: Vec<u8>,
    engine: String,
    batch: u16,
    /// Tasks that are still to be reported, by anybody.
    left: AtomicU32,
    dials: Semaphore,
    over: watch::Sender<bool>,
}

enum News {
    Welcomed,
    /// How long each report waited for its acknowledgement.
    Ended(Outcome<Vec<Duration>>),
}

async fn live(crowd: &Crowd, number: u32, said: &mpsc::Sender<News>) -> Outcome<Vec<Duration>> {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let config = EndpointConfig {
        bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
        ..EndpointConfig::new(SecretKey::from_bytes(&bytes))
    };
    let endpoint = Endpoint::bind(config).await?;
    let turn = crowd.dials.acquire().await?;
    let (connection, mut stream) = greet(crowd, &endpoint, number).await?;
    drop(turn);
    said.send(News::Welcomed).await?;
    let waits = work(crowd, &mut stream).await;
    stream.sender.send(&ToComplex::Goodbye).await?;
    let _ = stream.sender.finish().await;
    let _ = timeout(ANSWER_TIMEOUT, stream.sender.delivered()).await;
    connection.close(code::DONE, "bye");
    endpoint.close().await;
    waits
}

async fn greet(crowd: &Crowd, endpoint: &Endpoint, number: u32) -> Outcome<(Connection, Stream)> {
    let connection = endpoint.connect(&crowd.complex, HOST_ALPN).await?;
    let mut stream = connection.open().await?;
    stream.sender.send(&ToComplex::Hello(Box::new(hello(crowd, number)))).await?;
    match timeout(ANSWER_TIMEOUT, stream.receiver.recv::<ToHost>()).await?? {
        Some(ToHost::Welcome { .. }) => Ok((connection, stream)),
        Some(ToHost::Refused(why)) => Err(why.to_string().into()),
        Some(other) => Err(format!("not a welcome: {other:?}").into()),
        None => Err("the complex ended the session before the welcome".into()),
    }
}

/// Answers grants until all tasks of everybody are reported and acknowledged.
async fn work(crowd: &Crowd, stream: &mut Stream) -> Outcome<Vec<Duration>> {
    let output = Output::default().encode();
    let room = Room { cores_idle: crowd.batch, ..Room::default() };
    let mut over = crowd.over.subscribe();
    let (mut waits, mut sent, mut seq) = (Vec::new(), None, 0);
    loop {
        let frame = tokio::select! {
            frame = stream.receiver.recv::<ToHost>() => frame?,
            _ = over.wait_for(|over| *over), if sent.is_none() => return Ok(waits),
        };
        match frame {
            Some(ToHost::Grant(grants)) => {
                let tasks: u32 = grants.iter().flat_map(|g| &g.ranges).map(TaskRange::len).sum();
                seq += 1;
                let leases = grants.iter().map(|grant| answer(grant, &output)).collect();
                sent = Some(Instant::now());
                stream.sender.send(&ToComplex::Report(Report { seq, leases, room })).await?;
                if crowd.left.fetch_sub(tasks, Ordering::Relaxed) == tasks {
                    crowd.over.send_replace(true);
                }
            }
            Some(ToHost::Ack { seq: acked, .. }) if acked == seq => {
                waits.extend(sent.take().map(|sent| sent.elapsed()));
            }
            Some(_) => {}
            None => return Err("the complex ended the session".into()),
        }
    }
}

fn answer(grant: &Grant, output: &[u8]) -> LeaseReport {
    let result = |task| TaskResult {
        task,
        exit: Exit::Code(0),
        fuel: Fuel(1_000_000),
        output: OutputAt::Inline(output.to_vec()),
    };
    let results: Vec<_> = grant.ranges.iter().flat_map(|range| range.tasks()).map(result).collect();
    LeaseReport {
        lease: grant.lease,
        busy: Span(TASK_TIME.0 * results.len() as u64),
        results,
        faults: Vec::new(),
        returned: Vec::new(),
    }
}

fn hello(crowd: &Crowd, number: u32) -> Hello {
    let (memory, disk) = (Bytes(1 << 40), Bytes(64 << 30));
    Hello {
        spec: HostSpec {
            name: format!("busy-{number}"),
            agent: env!("CARGO_PKG_VERSION").into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: crowd.batch,
            memory,
            disk,
            country: None,
            engine: crowd.engine.clone(),
        },
        offer: Offer {
            cores: crowd.batch,
            memory,
            disk,
            price_min: Price(0),
            accept: Accept::Any,
            reasons: Vec::new(),
        },
        token: Some(crowd.token.clone()),
        holding: Vec::new(),
        room: Room { cores_idle: crowd.batch, ..Room::default() },
    }
}
