//! How fast the transport is on loopback, and what it holds: `cargo run --release -p isos-net
//! --example lines`. Both ends are in this process, so CPU and memory are those of both, unless a
//! line says otherwise. Linux only: figures come from `/proc`.

use std::error::Error;
use std::future::ready;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use isos_base::Guid;
use isos_base::key::{PublicKey, SecretKey};
use isos_net::{
    Admission, Connection, Endpoint, EndpointConfig, Guest, ObjectStore, PeerAddr, Relay,
    RelayAddr, get_object, put_object, serve_objects,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ALPN: &[u8] = b"isos/rate/1";
const ROUND: Duration = Duration::from_secs(3);
const IN_FLIGHT: usize = 64;
const OBJECT_BYTES: usize = 256 << 20;
const ENDPOINTS: usize = 40;
const CONNECTIONS_EACH: usize = 10;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut out = io::stdout();
    let start = memory()?;
    let mut idle = Vec::new();
    for seed in 0..ENDPOINTS {
        idle.push(endpoint(seed as u8, None).await?);
    }
    let each = (memory()? - start) / ENDPOINTS;
    writeln!(out, "idle endpoint: {each} KiB")?;

    let server = endpoint(200, None).await?;
    let peer = PeerAddr { key: server.public(), addresses: server.addresses(), relay: None };
    let before = memory()?;
    let (mut held, mut took) = (Vec::new(), Duration::ZERO);
    for client in &idle {
        for _ in 0..CONNECTIONS_EACH {
            let start = Instant::now();
            let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
            took += start.elapsed();
            held.push((near?, far.ok_or("closed")?.accept()));
        }
    }
    let count = held.len();
    writeln!(
        out,
        "held connection: {} KiB (both ends), dialled in {:.2} ms",
        (memory()? - before) / count,
        took.as_secs_f64() * 1e3 / count as f64
    )?;
    let cpu = cpu()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let used = (self::cpu()? - cpu).as_secs_f64() / 10.0;
    writeln!(out, "{count} held connections, idle: {:.2} ms CPU/s (both ends)", used * 1e3)?;
    drop(held);

    let client = &idle[0];
    let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
    measure(&mut out, "direct", near?, far.ok_or("closed")?.accept()).await?;

    let relay = Relay::spawn((Ipv4Addr::LOCALHOST, 0).into(), |_, _| ready(Guest::Known)).await?;
    let (client, server) =
        (endpoint(201, Some(relay.url())).await?, endpoint(202, Some(relay.url())).await?);
    server.online().await?;
    let peer = PeerAddr { key: server.public(), addresses: vec![], relay: Some(relay.url()) };
    let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
    measure(&mut out, "relayed", near?, far.ok_or("closed")?.accept()).await
}

async fn measure(
    out: &mut impl Write,
    way: &str,
    near: Connection,
    far: Connection,
) -> Outcome<()> {
    let echo = tokio::spawn(echo(far.clone()));
    let (calls, cpu) = timed(async {
        let mut stream = near.open().await?;
        let message = [7u8; 32];
        let (start, mut calls) = (Instant::now(), 0u64);
        while start.elapsed() < ROUND {
            stream.sender.send(&message).await?;
            stream.receiver.recv::<[u8; 32]>().await?.ok_or("ended")?;
            calls += 1;
        }
        Ok(calls)
    })
    .await?;
    report(out, way, "ping-pong of 32 B frames on one stream", calls, cpu)?;

    let (calls, cpu) = timed(async {
        let start = Instant::now();
        let mut callers = Vec::new();
        for _ in 0..IN_FLIGHT {
            let near = near.clone();
            callers.push(tokio::spawn(async move {
                let mut calls = 0u64;
                while start.elapsed() < ROUND {
                    let mut stream = near.open().await?;
                    stream.sender.send(&[7u8; 32]).await?;
                    stream.sender.finish().await?;
                    stream.receiver.recv::<[u8; 32]>().await?.ok_or("ended")?;
                    calls += 1;
                }
                Outcome::Ok(calls)
            }));
        }
        let mut calls = 0;
        for caller in callers {
            calls += caller.await??;
        }
        Ok(calls)
    })
    .await?;
    report(out, way, "calls with a stream each, 64 in flight", calls, cpu)?;
    echo.abort();

    let object: Arc<[u8]> = (0..OBJECT_BYTES).map(|n| (n >> 5) as u8).collect();
    let guid = Guid::of(&object);
    tokio::spawn(serve_objects(far, Arc::new(Shelf(object.clone()))));
    let size = OBJECT_BYTES as u64;
    let start = Instant::now();
    let (_, used) =
        timed(async { Ok(get_object(&near, guid, size, tokio::io::sink()).await?) }).await?;
    speed(out, way, "get", start.elapsed(), used)?;
    let start = Instant::now();
    let ((), used) = timed(async { Ok(put_object(&near, guid, size, &object[..]).await?) }).await?;
    speed(out, way, "put", start.elapsed(), used)?;
    Ok(())
}

fn report(out: &mut impl Write, way: &str, what: &str, calls: u64, cpu: Duration) -> Outcome<()> {
    writeln!(
        out,
        "{way}: {what}: {:.0}/s, {:.1} us CPU each (both ends)",
        calls as f64 / ROUND.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / calls as f64
    )?;
    Ok(())
}

fn speed(
    out: &mut impl Write,
    way: &str,
    what: &str,
    took: Duration,
    cpu: Duration,
) -> Outcome<()> {
    let megabytes = OBJECT_BYTES as f64 / 1e6;
    writeln!(
        out,
        "{way}: {what} of {megabytes:.0} MB: {:.0} MB/s, {:.1} CPU-s/GB (both ends, hashing in)",
        megabytes / took.as_secs_f64(),
        cpu.as_secs_f64() / megabytes * 1e3
    )?;
    Ok(())
}

async fn timed<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<(T, Duration)> {
    let start = cpu()?;
    let done = work.await?;
    Ok((done, cpu()? - start))
}

async fn echo(connection: Connection) {
    while let Some(mut stream) = connection.accept().await {
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.receiver.recv::<[u8; 32]>().await {
                if stream.sender.send(&message).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn endpoint(seed: u8, relay: Option<String>) -> Outcome<Endpoint> {
    Ok(Endpoint::bind(EndpointConfig {
        bind: Some((Ipv4Addr::LOCALHOST, 0).into()),
        alpns: vec![ALPN.to_vec()],
        direct: relay.is_none(),
        relay: relay.map(|url| RelayAddr { url, token: None }),
        ..EndpointConfig::new(SecretKey::from_bytes(&[seed; 32]))
    })
    .await?)
}

/// One object, and a place where objects vanish.
struct Shelf(Arc<[u8]>);

impl ObjectStore for Shelf {
    type Reader = io::Cursor<Arc<[u8]>>;
    type Writer = tokio::io::Sink;

    async fn open(&self, _: PublicKey, _: Guid) -> io::Result<Option<(Self::Reader, u64)>> {
        Ok(Some((io::Cursor::new(self.0.clone()), self.0.len() as u64)))
    }

    async fn accept(&self, _: PublicKey, _: Guid, _: u64) -> Admission<Self::Writer> {
        Admission::Write(tokio::io::sink())
    }

    async fn commit(&self, _: Guid, _: Self::Writer) -> io::Result<()> {
        Ok(())
    }
}

/// Resident memory in KiB.
fn memory() -> Outcome<usize> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// CPU time so far, at the usual 100 ticks a second.
fn cpu() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = text.rsplit(')').next().ok_or("no name")?;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
