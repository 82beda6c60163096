//! Many idle hosts in one process, as a server sees them: `idle_hosts TICKET HOSTS SECONDS ENGINE`.
//!
//! Each host has its own key, says hello on `isos/host/1`, and does what the complex tells it: it
//! sleeps and polls again, or keeps its connection. It never works. A sleeping host holds nothing,
//! not even a socket: its endpoint is made for each poll, and few exist at a time. So the figures
//! that this prints are of the whole way, and what this process uses is of no interest; the
//! server's memory and CPU are, and `cargo xtask bench hosts` reads them.
//!
//! Prints two lines of JSON: one when every host has been welcomed, one after SECONDS more.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use isos_base::Bytes;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::key::SecretKey;
use isos_base::price::Price;
use isos_base::ticket::Ticket;
use isos_base::wire::{HOST_ALPN, Hello, Room, ToComplex, ToHost};
use isos_net::{Connection, Endpoint, EndpointConfig, PeerAddr, Stream, code};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HOSTS_MAX: u32 = 100_000;
/// Polls under way at a time, each with an endpoint of its own.
const POLLS_AT_ONCE: usize = 48;
/// The complex has this long for each frame of the greeting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Who is welcomed and then hears nothing for this long may stay.
const HELD_AFTER: Duration = Duration::from_secs(1);
/// All hosts must be welcomed within this time.
const JOIN_TIMEOUT: Duration = Duration::from_secs(300);
/// A host that failed tries again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Failures that are told in words.
const WHYS_MAX: usize = 5;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ticket, hosts, seconds, engine] = arguments.as_slice() else {
        return Err("usage: idle_hosts TICKET HOSTS SECONDS ENGINE".into());
    };
    let ticket: Ticket = ticket.parse()?;
    let hosts = hosts.parse::<u32>()?.min(HOSTS_MAX);
    let seconds = Duration::from_secs(seconds.parse()?);
    let (welcomed, mut all_welcomed) = watch::channel(0);
    let crowd = Arc::new(Crowd {
        complex: PeerAddr::from(&ticket.servers[0]),
        token: ticket.token,
        engine: engine.clone(),
        places: Semaphore::new(POLLS_AT_ONCE),
        tally: Mutex::default(),
        welcomed,
    });
    let start = Instant::now();
    for number in 0..hosts {
        tokio::spawn(live(crowd.clone(), number));
    }
    let everybody = all_welcomed.wait_for(|welcomed| *welcomed == hosts);
    if timeout(JOIN_TIMEOUT, everybody).await.is_err() {
        let tally = crowd.tally();
        let whys = Vec::from(tally.whys.clone());
        return Err(format!("not all hosts were welcomed: {}", whys.join("; ")).into());
    }
    say(&json!({ "welcomed": hosts, "secs": start.elapsed().as_secs_f64() }))?;

    // The figures begin anew, but held connections stay held.
    let held = crowd.tally().held;
    *crowd.tally() = Tally { held, ..Tally::default() };
    let start = Instant::now();
    sleep(seconds).await;
    let secs = start.elapsed().as_secs_f64();
    let mut tally = crowd.tally();
    tally.took.sort_unstable();
    say(&json!({
        "secs": secs,
        "polls": tally.took.len(),
        "failures": tally.failures,
        "whys": tally.whys,
        "held": tally.held,
        "asked_sleep_secs": tally.last_sleep.as_secs_f64(),
        "poll_ms_median": tally.quantile_ms(0.5),
        "poll_ms_p99": tally.quantile_ms(0.99),
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
    places: Semaphore,
    tally: Mutex<Tally>,
    /// Hosts that have been welcomed at least once.
    welcomed: watch::Sender<u32>,
}

impl Crowd {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Tally {
    /// From the dial to the order to sleep, of each poll.
    took: Vec<Duration>,
    failures: u64,
    whys: VecDeque<String>,
    /// Connections that are kept now.
    held: u64,
    last_sleep: Duration,
}

impl Tally {
    /// Of the sorted polls; 0 without any.
    fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.took.len().saturating_sub(1);
        let at = (last as f64 * share) as usize;
        self.took.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// One host, for as long as the process lives.
async fn live(crowd: Arc<Crowd>, number: u32) {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let key = SecretKey::from_bytes(&bytes);
    let mut is_known = false;
    loop {
        let wait = match visit(&crowd, &key, number, &mut is_known).await {
            Ok(span) => span,
            Err(error) => {
                let mut tally = crowd.tally();
                tally.failures += 1;
                if tally.whys.len() < WHYS_MAX {
                    tally.whys.push_back(error.to_string());
                }
                RETRY_AFTER
            }
        };
        sleep(wait).await;
    }
}

/// One connection, to the time when it ends; returns how long to sleep.
async fn visit(
    crowd: &Crowd,
    key: &SecretKey,
    number: u32,
    is_known: &mut bool,
) -> Outcome<Duration> {
    let place = crowd.places.acquire().await?;
    let config = EndpointConfig {
        bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
        ..EndpointConfig::new(key.clone())
    };
    let endpoint = Endpoint::bind(config).await?;
    let start = Instant::now();
    let greeted = greet(crowd, &endpoint, number, *is_known).await;
    let (connection, mut stream) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            endpoint.close().await;
            return Err(error);
        }
    };
    if !*is_known {
        *is_known = true;
        crowd.welcomed.send_modify(|welcomed| *welcomed += 1);
    }
    let mut place = Some(place);
    let span = match timeout(HELD_AFTER, sleep_order(&mut stream)).await {
        Ok(span) => {
            let span = span?;
            crowd.tally().took.push(start.elapsed());
            span
        }
        Err(_) => {
            place = None;
            crowd.tally().held += 1;
            let span = sleep_order(&mut stream).await;
            crowd.tally().held -= 1;
            span?
        }
    };
    crowd.tally().last_sleep = span;
    // As the agent parts: what was said is delivered, then the connection ends.
    let _ = stream.sender.finish().await;
    let _ = timeout(ANSWER_TIMEOUT, stream.sender.delivered()).await;
    connection.close(code::DONE, "bye");
    endpoint.close().await;
    drop(place);
    Ok(span)
}

/// Says hello and hears the welcome.
async fn greet(
    crowd: &Crowd,
    endpoint: &Endpoint,
    number: u32,
    is_known: bool,
) -> Outcome<(Connection, Stream)> {
    let connection = endpoint.connect(&crowd.complex, HOST_ALPN).await?;
    let mut stream = connection.open().await?;
    let token = (!is_known).then(|| crowd.token.clone());
    stream.sender.send(&ToComplex::Hello(Box::new(hello(number, token, &crowd.engine)))).await?;
    match timeout(ANSWER_TIMEOUT, stream.receiver.recv::<ToHost>()).await?? {
        Some(ToHost::Welcome { .. }) => Ok((connection, stream)),
        Some(ToHost::Refused(why)) => Err(why.to_string().into()),
        Some(other) => Err(format!("not a welcome: {other:?}").into()),
        None => Err("the complex ended the session before the welcome".into()),
    }
}

/// Waits until the complex wants the host to sleep.
async fn sleep_order(stream: &mut Stream) -> Outcome<Duration> {
    loop {
        match stream.receiver.recv::<ToHost>().await? {
            Some(ToHost::Sleep(span)) => return Ok(Duration::from_micros(span.0)),
            Some(_) => {}
            None => return Err("the complex ended the session without a word".into()),
        }
    }
}

/// A host of an ordinary kind.
fn hello(number: u32, token: Option<Vec<u8>>, engine: &str) -> Hello {
    let cpus = 4;
    let (memory, disk) = (Bytes(8 << 30), Bytes(64 << 30));
    Hello {
        spec: HostSpec {
            name: format!("idle-{number}"),
            agent: env!("CARGO_PKG_VERSION").into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus,
            memory,
            disk,
            country: None,
            engine: engine.into(),
        },
        offer: Offer {
            cores: cpus,
            memory,
            disk,
            price_min: Price(0),
            accept: Accept::Any,
            reasons: Vec::new(),
        },
        token,
        holding: Vec::new(),
        room: Room { cores_idle: cpus, ..Room::default() },
    }
}
