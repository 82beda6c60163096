//! A crowd that wants nothing good, all at once, beside people who work: what the crowd sends
//! costs the server bounded memory, everybody else is answered, and afterwards all is as before.
//!
//! The crowd sits at addresses of its own in 127.66.0.0/16, as it would elsewhere: what one
//! address may take is known to the server, and not what this test is about.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use isos_base::Bytes;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::key::SecretKey;
use isos_base::price::Price;
use isos_base::ticket::Ticket;
use isos_base::wire::{HOST_ALPN, Hello, Room, ToComplex, ToHost};
use isos_net::{Endpoint, EndpointConfig, PeerAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::world::{PATIENCE, World, module, wait_until};

/// The crowd goes on for so long.
const TIME: Duration = Duration::from_secs(12);
/// Addresses of each kind of nuisance.
const ADDRESSES: u8 = 6;
/// TCP connections of each address: more than one may have.
const CONNECTIONS: usize = 60;
/// What a server may have grown by, at the worst moment: the places that strangers share are
/// bounded, and each of them holds some tens of kilobytes at the most.
const GROWTH_MIB: u64 = 192;
/// A request of somebody who works is answered within this time, in the worst case.
const ANSWER: Duration = Duration::from_secs(10);

/// What the nuisances share.
struct Crowd {
    api: SocketAddr,
    udp: u16,
    ticket: Ticket,
    engine: String,
    token: String,
    over: AtomicBool,
    /// What was done to the server, of each kind.
    done: [AtomicU64; 6],
}

/// Kinds of nuisance, in the order of [`Crowd::done`].
const KINDS: [&str; 6] = [
    "heads sent byte by byte",
    "connections without a word",
    "answers never read",
    "packets of noise",
    "garbage frames of hosts",
    "hellos and no more",
];

impl Crowd {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn did(&self, kind: usize) {
        self.done[kind].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to the API from an address of the crowd; none if it is not let in.
    async fn call(&self, from: Ipv4Addr) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((from, 0).into()).ok()?;
        timeout(Duration::from_secs(5), socket.connect(self.api)).await.ok()?.ok()
    }
}

/// An address of a kind of nuisance.
fn address(kind: usize, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 66, kind as u8 + 1, number + 1)
}

async fn writes_slowly(crowd: Arc<Crowd>, from: Ipv4Addr) {
    while crowd.goes_on() {
        let Some(mut stream) = crowd.call(from).await else {
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        crowd.did(0);
        for byte in b"POST /v1/jobs HTTP/1.1\r\nx-filler: ".iter().chain([b'a'; 4_000].iter()) {
            if !crowd.goes_on() || stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn says_nothing(crowd: Arc<Crowd>, from: Ipv4Addr) {
    while crowd.goes_on() {
        let Some(mut stream) = crowd.call(from).await else {
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        crowd.did(1);
        let mut byte = [0];
        let until_hung_up = async { while stream.read(&mut byte).await.is_ok_and(|n| n > 0) {} };
        let _ = timeout(Duration::from_secs(1), until_hung_up).await;
        sleep(Duration::from_millis(100)).await;
    }
}

async fn never_reads(crowd: Arc<Crowd>, from: Ipv4Addr) {
    let paths = ["/v1/openapi.json", "/v1/events", "/metrics", "/v1/jobs", "/"];
    let mut requests = String::new();
    for n in 0..200 {
        let (path, token) = (paths[n % paths.len()], &crowd.token);
        requests +=
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    }
    while crowd.goes_on() {
        if let Some(mut stream) = crowd.call(from).await {
            crowd.did(2);
            let _ = timeout(Duration::from_secs(4), async {
                // What the server does not take any more waits here.
                while stream.write_all(requests.as_bytes()).await.is_ok() {}
            })
            .await;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn makes_noise(crowd: Arc<Crowd>, from: Ipv4Addr) {
    let Ok(socket) = UdpSocket::bind((from, 0)).await else { return };
    let mut seed = u64::from(u32::from(from));
    let mut packet = [0; 1_200];
    while crowd.goes_on() {
        for _ in 0..20 {
            for byte in &mut packet {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 33) as u8;
            }
            if seed & (1 << 40) > 0 {
                // The head of a first packet of QUIC 1: a flag byte, the version, two names.
                packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
            }
            if socket.send_to(&packet, (Ipv4Addr::LOCALHOST, crowd.udp)).await.is_ok() {
                crowd.did(3);
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Hosts with a good ticket, each a new key: greeted well, and then one of several rudenesses.
async fn misbehaves(crowd: Arc<Crowd>, from: Ipv4Addr, mut number: u32) {
    let server = PeerAddr::from(&crowd.ticket.servers[0]);
    while crowd.goes_on() {
        number += 1;
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let config = EndpointConfig {
            bind: Some((from, 0).into()),
            ..EndpointConfig::new(SecretKey::from_bytes(&bytes))
        };
        let Ok(endpoint) = Endpoint::bind(config).await else { return };
        let tried = timeout(Duration::from_secs(5), rudeness(&crowd, &endpoint, &server, number));
        if let Ok(Some(kind)) = tried.await {
            crowd.did(kind);
        }
        endpoint.close().await;
        sleep(Duration::from_millis(50)).await;
    }
}

async fn rudeness(
    crowd: &Crowd,
    endpoint: &Endpoint,
    server: &PeerAddr,
    number: u32,
) -> Option<usize> {
    let connection = endpoint.connect(server, HOST_ALPN).await.ok()?;
    let mut stream = connection.open().await.ok()?;
    let hello = hello(number, crowd.ticket.token.clone(), &crowd.engine);
    match number % 4 {
        // A frame that would be 4 GiB, and some of it.
        0 => {
            let mut raw = stream.into_raw().await.ok()?;
            raw.write_all(&[0xff; 64 << 10]).await.ok()?;
            // Whatever it answers, or its end.
            let _ = raw.read(&mut [0; 64]).await.ok()?;
            Some(4)
        }
        // A good greeting, then noise.
        1 => {
            stream.sender.send(&ToComplex::Hello(Box::new(hello))).await.ok()?;
            stream.receiver.recv::<ToHost>().await.ok()?;
            let mut raw = stream.into_raw().await.ok()?;
            for _ in 0..16 {
                raw.write_all(&[0, 0, 1, 0, 0x5a, 0x5a, 0x5a, 0x5a]).await.ok()?;
            }
            // Whatever it answers, or its end.
            let _ = raw.read(&mut [0; 64]).await.ok()?;
            Some(4)
        }
        // Half a greeting, on as many streams as may be, and silence.
        2 => {
            let mut streams = Vec::new();
            while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), connection.open()).await
            {
                let mut raw = stream.into_raw().await.ok()?;
                raw.write_all(&[1, 0, 0, 0]).await.ok()?;
                streams.push(raw);
            }
            sleep(Duration::from_secs(3)).await;
            Some(5)
        }
        // A flood of greetings.
        _ => {
            for _ in 0..64 {
                stream.sender.send(&ToComplex::Hello(Box::new(hello.clone()))).await.ok()?;
            }
            stream.receiver.recv::<ToHost>().await.ok()?;
            Some(5)
        }
    }
}

fn hello(number: u32, token: Vec<u8>, engine: &str) -> Hello {
    let (memory, disk) = (Bytes::gib(1), Bytes::gib(1));
    Hello {
        spec: HostSpec {
            name: format!("rude-{number}"),
            agent: env!("CARGO_PKG_VERSION").into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: 1,
            memory,
            disk,
            country: None,
            engine: engine.into(),
        },
        offer: Offer {
            cores: 0,
            memory,
            disk,
            price_min: Price(0),
            accept: Accept::Any,
            reasons: Vec::new(),
        },
        token: Some(token),
        holding: Vec::new(),
        room: Room::default(),
    }
}

/// Somebody who works: asks who it is, over a new connection each time, and times the answer.
async fn works(crowd: &Crowd, operator: &str) -> Result<Duration, String> {
    let start = Instant::now();
    let asked = async {
        let mut stream = TcpStream::connect(crowd.api).await?;
        let head = "GET /v1/whoami HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
        stream
            .write_all(format!("{head}authorization: Bearer {operator}\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(ANSWER, asked).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Ok(start.elapsed()),
        Ok(Ok(answer)) => Err(answer.lines().next().unwrap_or("an empty answer").to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}

#[expect(clippy::print_stderr, reason = "figures for whoever runs the test with --nocapture")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn server_memory_mib(world: &World) -> u64 {
    let path = format!("/proc/{}/status", world.server.id());
    let text = std::fs::read_to_string(path).expect("the server lives");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
}

fn server_files(world: &World) -> usize {
    let path = format!("/proc/{}/fd", world.server.id());
    std::fs::read_dir(path).expect("the server lives").count()
}

#[test]
fn a_rude_crowd_costs_bounded_memory_and_nobody_else_waits_long() {
    let world = World::with_hosts(1);
    let api = world.ready["api"].as_str().unwrap().trim_start_matches("http://");
    let hosts = world.json(&["host", "list"]);
    let crowd = Arc::new(Crowd {
        api: api.parse().unwrap(),
        udp: world.udp_port(),
        ticket: world.ticket("rude", "join,read").parse().unwrap(),
        engine: hosts[0]["engine"].as_str().unwrap_or_default().to_owned(),
        token: world.json(&["token", "create", "--account", "rude", "--rights", "read"])["token"]
            .as_str()
            .unwrap()
            .to_owned(),
        over: AtomicBool::new(false),
        done: Default::default(),
    });
    let operator = world.ready["token"].as_str().unwrap().to_owned();
    let job = world.submit(&[&module("spin"), "--count", "300"]);
    let (memory, files) = (server_memory_mib(&world), server_files(&world));

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut took, most) = runtime.block_on(async {
        let mut rude = JoinSet::new();
        for number in 0..ADDRESSES {
            for _ in 0..CONNECTIONS {
                rude.spawn(writes_slowly(crowd.clone(), address(0, number)));
                rude.spawn(says_nothing(crowd.clone(), address(1, number)));
            }
            for _ in 0..4 {
                rude.spawn(never_reads(crowd.clone(), address(2, number)));
            }
            rude.spawn(makes_noise(crowd.clone(), address(3, number)));
            rude.spawn(misbehaves(crowd.clone(), address(4, number), u32::from(number) << 16));
        }
        let (begun, mut took, mut most) = (Instant::now(), Vec::new(), 0);
        while begun.elapsed() < TIME {
            let answered = works(&crowd, &operator).await;
            took.push(answered.unwrap_or_else(|why| panic!("somebody who works: {why}")));
            most = most.max(server_memory_mib(&world));
            sleep(Duration::from_millis(20)).await;
        }
        crowd.over.store(true, Ordering::Relaxed);
        rude.shutdown().await;
        (took, most)
    });
    runtime.shutdown_background();

    took.sort_unstable();
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    say(&format!(
        "{} good requests: median {:?}, 99 % {:?}; memory {memory} MiB before, {most} at the most",
        took.len(),
        quantile(0.5),
        quantile(0.99),
    ));
    for (kind, done) in KINDS.iter().zip(&crowd.done) {
        let done = done.load(Ordering::Relaxed);
        say(&format!("{done} {kind}"));
        assert!(done > 0, "the crowd did nothing of this: {kind}");
    }
    assert!(most < memory + GROWTH_MIB, "{memory} MiB before, {most} MiB at the most");
    assert_eq!(world.wait_job(job)["state"], "done");
    let back = || server_files(&world) < files + 20;
    assert!(wait_until(PATIENCE, back), "{files} open files before, {} now", server_files(&world));
    assert!(!world.log("server").contains("panicked"), "{}", world.log("server"));
    world.assert_money_adds_up();
}
