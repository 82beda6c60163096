//! Clients that ask more than a server can answer:
//! `eager_clients ADDRESS TOKEN whoami|plan CONNECTIONS SECONDS RATE`.
//!
//! Over so many kept connections of HTTP/1.1, for so long. With RATE 0 the loop is closed: each
//! connection asks again as soon as it was answered, which finds the most that the server can do.
//! With a rate the loop is open: requests fall due at that rate whatever became of those before,
//! and are timed from when they were due. One that finds no free connection for [`PATIENCE`] is not
//! sent at all: its user has gone, and a queue without an end would say nothing of the server. Who
//! is refused politely stays away for as long as it was told. What is answered well but later than
//! [`GOOD_WITHIN`] is no good to anybody. `cargo xtask bench overload` runs it.
//!
//! Prints one line of JSON: how many requests ended how, and how long the good ones took.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use isos_base::api::SubmitRequest;
use isos_base::job::JobSpec;
use isos_base::{Bytes, Guid};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CONNECTIONS_MAX: usize = 4_096;
/// An answer that took longer is not counted as a good one.
const GOOD_WITHIN: Duration = Duration::from_secs(1);
/// A request that was not sent so long after it was due is given up.
const PATIENCE: Duration = Duration::from_millis(100);
/// A client waits no longer for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Failures that are told in words.
const WHYS_MAX: usize = 5;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, token, what, connections, seconds, rate] = arguments.as_slice() else {
        let usage = "eager_clients ADDRESS TOKEN whoami|plan CONNECTIONS SECONDS RATE";
        return Err(format!("usage: {usage}").into());
    };
    let load = Arc::new(Load {
        address: address.clone(),
        request: request(what, token)?,
        start: Instant::now(),
        time: Duration::from_secs(seconds.parse()?),
        rate: rate.parse()?,
        due: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for _ in 0..connections.parse::<usize>()?.min(CONNECTIONS_MAX) {
        clients.spawn(ask(load.clone()));
    }
    let mut all = Tally::default();
    while let Some(tally) = clients.join_next().await {
        all.add(tally?);
    }
    all.took.sort_unstable();
    let quantile_ms = |share: f64| {
        let at = (all.took.len().saturating_sub(1) as f64 * share) as usize;
        all.took.get(at).map_or(0.0, |took: &Duration| took.as_secs_f64() * 1e3)
    };
    let line = json!({
        "secs": load.start.elapsed().as_secs_f64().min(load.time.as_secs_f64()),
        "good": all.took.len(),
        "late": all.late,
        "polite": all.polite,
        "rude": all.rude,
        "failed": all.failed,
        "whys": all.whys,
        // Due, but no connection was free.
        "unsent": all.unsent + load.unsent(),
        "good_ms_median": quantile_ms(0.5),
        "good_ms_p99": quantile_ms(0.99),
    });
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// What all connections share.
struct Load {
    address: String,
    request: Vec<u8>,
    start: Instant,
    time: Duration,
    /// Requests per second; 0 for as many as are answered.
    rate: f64,
    /// Requests that have been taken up.
    due: AtomicU64,
}

impl Load {
    /// When the next request is due; nothing at the end.
    async fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.rate == 0.0 {
            return (now < self.start + self.time).then_some(now);
        }
        let number = self.due.fetch_add(1, Ordering::Relaxed);
        let after = Duration::from_secs_f64(number as f64 / self.rate);
        if after >= self.time || now >= self.start + self.time {
            return None;
        }
        let due = self.start + after;
        sleep_until(due.into()).await;
        Some(due)
    }

    fn unsent(&self) -> u64 {
        let all = (self.rate * self.time.as_secs_f64()) as u64;
        all.saturating_sub(self.due.load(Ordering::Relaxed))
    }
}

/// How requests ended.
#[derive(Default)]
struct Tally {
    /// 200 in time, since they were due.
    took: Vec<Duration>,
    /// 200, but too late.
    late: u64,
    /// 429, or 503 with a time to come back.
    polite: u64,
    /// Any other answer.
    rude: u64,
    /// No answer.
    failed: u64,
    /// Never sent.
    unsent: u64,
    whys: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        let Self { took, late, polite, rude, failed, unsent, whys } = other;
        self.took.extend(took);
        self.late += late;
        self.polite += polite;
        self.rude += rude;
        self.failed += failed;
        self.unsent += unsent;
        self.whys.extend(whys);
        self.whys.truncate(WHYS_MAX);
    }

    fn why(&mut self, why: String) {
        if self.whys.len() < WHYS_MAX {
            self.whys.push(why);
        }
    }
}

/// One client: a connection at a time, a request at a time.
async fn ask(load: Arc<Load>) -> Tally {
    let mut tally = Tally::default();
    let (mut kept, mut buffer) = (None, Vec::new());
    while let Some(due) = load.next().await {
        if due.elapsed() > PATIENCE {
            tally.unsent += 1;
            continue;
        }
        let answered = timeout(ANSWER_TIMEOUT, exchange(&load, &mut kept, &mut buffer)).await;
        let answer = match answered.map_err(|_| "no answer in time".into()).and_then(|got| got) {
            Ok(answer) => answer,
            Err(error) => {
                kept = None;
                tally.failed += 1;
                tally.why(error.to_string());
                continue;
            }
        };
        let took = due.elapsed();
        match answer.status {
            200 if took <= GOOD_WITHIN => tally.took.push(took),
            200 => tally.late += 1,
            429 => tally.polite += 1,
            503 if answer.stay_away.is_some() => tally.polite += 1,
            status => {
                tally.rude += 1;
                tally.why(format!("status {status}"));
            }
        }
        if answer.is_last {
            kept = None;
        }
        if let Some(span) = answer.stay_away {
            sleep(span).await;
        }
    }
    tally
}

/// What matters of an answer.
struct Answer {
    status: u16,
    /// The time after which to come back.
    stay_away: Option<Duration>,
    is_last: bool,
}

/// One request and its answer, over the kept connection or a new one.
async fn exchange(
    load: &Load,
    kept: &mut Option<TcpStream>,
    buffer: &mut Vec<u8>,
) -> Outcome<Answer> {
    if kept.is_none() {
        let stream = TcpStream::connect(&load.address).await?;
        stream.set_nodelay(true)?;
        *kept = Some(stream);
    }
    let stream = kept.as_mut().ok_or("connected above")?;
    // A server that refuses may answer and hang up before it has read the request.
    let sent = stream.write_all(&load.request).await;
    buffer.clear();
    let (head, body_at) = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&buffer[..at]).to_ascii_lowercase(), at + 4);
        }
        if buffer.len() > ANSWER_BYTES_MAX || stream.read_buf(buffer).await? == 0 {
            sent?;
            return Err("the server hung up without an answer".into());
        }
    };
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| (key == name).then_some(value))
    };
    let length: usize = header("content-length").unwrap_or("0").parse()?;
    while buffer.len() < (body_at + length).min(ANSWER_BYTES_MAX) {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the server hung up in an answer".into());
        }
    }
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    let stay_away = header("retry-after").map(str::parse).transpose()?.map(Duration::from_secs);
    let is_last = header("connection") == Some("close");
    Ok(Answer { status, stay_away, is_last })
}

/// The bytes of the request.
fn request(what: &str, token: &str) -> Outcome<Vec<u8>> {
    let head = |line: &str| format!("{line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}");
    match what {
        "whoami" => Ok(format!("{}\r\n\r\n", head("GET /v1/whoami")).into_bytes()),
        "plan" => {
            let spec = JobSpec::new(Guid::of(b"a program"), Bytes::kib(1), 1);
            let body = serde_json::to_string(&SubmitRequest { spec, key: None, bid: None })?;
            let head = head("POST /v1/jobs/plan");
            let length = body.len();
            let kind = "content-type: application/json";
            let text = format!("{head}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}");
            Ok(text.into_bytes())
        }
        other => Err(format!("{other:?} is neither whoami nor plan").into()),
    }
}
