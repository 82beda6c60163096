//! Hosts that all come back at once: `returning_hosts TICKET FIRST HOSTS ENGINE`.
//!
//! Each host has its own key, socket and loopback address, and never works. They join a few at a
//! time and do what the complex tells them: keep their connection, or sleep. Then a line on the
//! standard input says that the server was killed and another runs at its place: whoever sleeps is
//! awake, whoever was connected is not, and all dial at the same moment, or as fast as this machine
//! can: ten thousand dials at once would time out for want of a core here, which says nothing of
//! the server. Who is turned away or not answered tries again as an agent does, after the time that
//! it was told or a growing one. `cargo xtask bench overload` runs this, as several processes if
//! there are many hosts, so that each has file descriptors enough; FIRST is the number of its first
//! host.
//!
//! Prints two lines of JSON: one when every host has joined, one when every host is back.

use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use isos_base::Bytes;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::key::SecretKey;
use isos_base::price::Price;
use isos_base::ticket::Ticket;
use isos_base::wire::{HOST_ALPN, Hello, Refusal, Room, ToComplex, ToHost};
use isos_net::{
    Closed, ConnectError, Connection, Endpoint, EndpointConfig, PeerAddr, Stream, code,
};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const HOSTS_MAX: u32 = 10_000;
/// Hosts that join at a time.
const JOIN_AT_ONCE: usize = 48;
/// Hosts of one process that dial at a time, when all come back.
const DIAL_AT_ONCE: usize = 256;
/// The complex has this long for each frame of the greeting, as agents have it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The first wait after a failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// No wait is longer.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Failures that are told in words.
const WHYS_MAX: usize = 5;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ticket, first, hosts, engine] = arguments.as_slice() else {
        return Err("usage: returning_hosts TICKET FIRST HOSTS ENGINE".into());
    };
    let ticket: Ticket = ticket.parse()?;
    let (first, hosts) = (first.parse::<u32>()?, hosts.parse::<u32>()?.min(HOSTS_MAX));
    let (again, _) = watch::channel(false);
    let crowd = Arc::new(Crowd {
        complex: PeerAddr::from(&ticket.servers[0]),
        token: ticket.token,
        engine: engine.clone(),
        places: Semaphore::new(JOIN_AT_ONCE),
        dials: Semaphore::new(DIAL_AT_ONCE),
        again,
    });
    let (joined, mut all_joined) = watch::channel(0);
    let mut crowds = JoinSet::new();
    for number in first..first + hosts {
        crowds.spawn(live(crowd.clone(), number, joined.clone()));
    }
    let start = Instant::now();
    tokio::select! {
        all = all_joined.wait_for(|joined| *joined == hosts) => drop(all?),
        Some(ended) = crowds.join_next() => return ended?.and(Err("a host gave up".into())),
    }
    say(&json!({ "joined": hosts, "secs": start.elapsed().as_secs_f64() }))?;

    tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
    crowd.again.send_replace(true);
    let mut all = Tally::default();
    while let Some(tally) = crowds.join_next().await {
        all.add(tally??);
    }
    all.back.sort_unstable();
    let quantile = |share: f64| {
        let at = (all.back.len().saturating_sub(1) as f64 * share) as usize;
        all.back.get(at).map_or(0.0, Duration::as_secs_f64)
    };
    say(&json!({
        "back": all.back.len(),
        "median_secs": quantile(0.5),
        "secs": quantile(1.0),
        "told_when": all.told_when,
        "turned_away": all.turned_away,
        "unanswered": all.unanswered,
        "failures": all.failures,
        "whys": all.whys,
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
    dials: Semaphore,
    /// Turns true when all come back.
    again: watch::Sender<bool>,
}

/// How the return went.
#[derive(Default)]
struct Tally {
    /// From the moment that all dialled to the welcome.
    back: Vec<Duration>,
    /// Refused, with a time to come back.
    told_when: u64,
    /// Refused at the door, with a code that says busy.
    turned_away: u64,
    /// Nobody answered in time.
    unanswered: u64,
    /// Anything else.
    failures: u64,
    whys: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        let Self { back, told_when, turned_away, unanswered, failures, whys } = other;
        self.back.extend(back);
        self.told_when += told_when;
        self.turned_away += turned_away;
        self.unanswered += unanswered;
        self.failures += failures;
        self.whys.extend(whys);
        self.whys.truncate(WHYS_MAX);
    }
}

/// Why a host was not welcomed.
enum Trouble {
    ToldWhen(Duration),
    TurnedAway,
    Unanswered,
    Other(String),
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused { .. } => Self::TurnedAway,
            ConnectError::Unreachable { .. } => Self::Unanswered,
            other => Self::Other(other.to_string()),
        }
    }
}

/// One host: it joins, stays, and comes back once.
async fn live(crowd: Arc<Crowd>, number: u32, joined: watch::Sender<u32>) -> Outcome<Tally> {
    let mut again = crowd.again.subscribe();
    let mut bytes = [5; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let [_, high, middle, low] = (number + 1).to_be_bytes();
    let address = IpAddr::from(Ipv4Addr::new(127, 1 + high, middle, low));
    let place = crowd.places.acquire().await?;
    let config = EndpointConfig {
        bind: Some((address, 0).into()),
        ..EndpointConfig::new(SecretKey::from_bytes(&bytes))
    };
    let endpoint = Endpoint::bind(config).await?;
    let token = Some(crowd.token.clone());
    let mut tries = 0;
    let session = loop {
        match greet(&crowd, &endpoint, number, token.clone()).await {
            Ok(session) => break session,
            Err(Trouble::Other(why)) => return Err(why.into()),
            Err(Trouble::ToldWhen(span)) => sleep(span).await,
            Err(Trouble::TurnedAway | Trouble::Unanswered) => {
                tries += 1;
                sleep(pause(number, tries)).await;
            }
        }
    };
    joined.send_modify(|joined| *joined += 1);
    drop(place);
    tokio::select! {
        _ = again.wait_for(|again| *again) => {}
        never = stay(session) => match never {},
    }

    let (start, mut tally, mut tries) = (Instant::now(), Tally::default(), 0);
    let session = loop {
        let dial = crowd.dials.acquire().await?;
        let greeted = greet(&crowd, &endpoint, number, None).await;
        drop(dial);
        let trouble = match greeted {
            Ok(session) => break session,
            Err(trouble) => trouble,
        };
        tries += 1;
        let wait = pause(number, tries);
        match trouble {
            Trouble::ToldWhen(span) => {
                tally.told_when += 1;
                // As an agent: a quarter more at the most, so that not all come at once again.
                sleep(span + span.mul_f64(f64::from(number % 64) / 256.0)).await;
                continue;
            }
            Trouble::TurnedAway => tally.turned_away += 1,
            Trouble::Unanswered => tally.unanswered += 1,
            Trouble::Other(why) => {
                tally.failures += 1;
                tally.whys.push(why);
            }
        }
        sleep(wait).await;
    };
    tally.back.push(start.elapsed());
    drop(session);
    endpoint.close().await;
    Ok(tally)
}

/// After so many failures: doubled each time, and each host's own.
fn pause(number: u32, tries: u32) -> Duration {
    let most = RETRY_FIRST.saturating_mul(1 << tries.min(6)).min(RETRY_MAX);
    most.mul_f64(0.5 + f64::from(number.wrapping_mul(2_654_435_761) >> 16) / 131_072.0)
}

/// Does what the complex says, until the end of the world.
async fn stay((connection, mut stream): (Connection, Stream)) -> std::convert::Infallible {
    while let Ok(Some(frame)) = stream.receiver.recv::<ToHost>().await {
        if let ToHost::Sleep(_) = frame {
            let _ = stream.sender.finish().await;
            let _ = timeout(ANSWER_TIMEOUT, stream.sender.delivered()).await;
            connection.close(code::DONE, "bye");
            break;
        }
    }
    drop((connection, stream));
    std::future::pending().await
}

/// Says hello and hears the welcome.
async fn greet(
    crowd: &Crowd,
    endpoint: &Endpoint,
    number: u32,
    token: Option<Vec<u8>>,
) -> Result<(Connection, Stream), Trouble> {
    let connection = endpoint.connect(&crowd.complex, HOST_ALPN).await?;
    let greeting = async {
        let mut stream = connection.open().await?;
        stream.sender.send(&ToComplex::Hello(Box::new(hello(number, token, crowd)))).await?;
        let answer = stream.receiver.recv::<ToHost>().await?;
        Ok::<_, Box<dyn Error + Send + Sync>>((stream, answer))
    };
    match timeout(ANSWER_TIMEOUT, greeting).await {
        Ok(Ok((stream, Some(ToHost::Welcome { .. })))) => Ok((connection, stream)),
        Ok(Ok((_, Some(ToHost::Refused(Refusal::Busy(span)))))) => {
            Err(Trouble::ToldWhen(Duration::from_micros(span.0)))
        }
        Ok(Ok((_, other))) => Err(Trouble::Other(format!("not a welcome: {other:?}"))),
        Ok(Err(error)) => Err(match connection.is_closed() {
            Some(Closed::ByPeer { code, .. }) if code == u64::from(code::BUSY) => {
                Trouble::TurnedAway
            }
            Some(Closed::TimedOut) => Trouble::Unanswered,
            Some(closed) => Trouble::Other(closed.to_string()),
            None => Trouble::Other(error.to_string()),
        }),
        Err(_) => Err(Trouble::Unanswered),
    }
}

/// A host of an ordinary kind.
fn hello(number: u32, token: Option<Vec<u8>>, crowd: &Crowd) -> Hello {
    let cpus = 4;
    let (memory, disk) = (Bytes(8 << 30), Bytes(64 << 30));
    Hello {
        spec: HostSpec {
            name: format!("returning-{number}"),
            agent: env!("CARGO_PKG_VERSION").into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus,
            memory,
            disk,
            country: None,
            engine: crowd.engine.clone(),
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
