//! Hosts that do not read, do not hand over, or may not.

use isos_base::task::{Exit, TaskResult};
use isos_base::wire::Room;
use isos_base::{Fuel, Guid, LeaseId, Span};
use isos_disk::{Durability, ShelfLimits};
use isos_net::{Closed, Endpoint, Stream};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::Limits;
use crate::testing::{Pair, World, endpoint, hello};

/// A frame that fills a stream's window when there are three.
fn long_frame() -> ToHost {
    ToHost::Refused(Refusal::Unfit("x".repeat(800 << 10)))
}

async fn sender_of(connection: &Connection) -> FrameSender {
    connection.open().await.unwrap().sender
}

async fn reason(connection: &Connection) -> (u64, String) {
    match tokio::time::timeout(Duration::from_secs(10), connection.closed()).await {
        Ok(Closed::ByPeer { code, reason }) => (code, reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_does_not_read_loses_its_connection() {
    let pair = Pair::new().await;
    let (frames, outbox) = mpsc::channel(64);
    let outlet = Outlet { frames: outbox, cut: Arc::new(Notify::new()) };
    let members = Arc::new(Members::default());
    let sender = sender_of(&pair.far).await;
    let by = PublicKey([0; 32]);
    let introductions = mpsc::channel(1).1;
    let servers = watch::channel(Vec::new()).1;
    let sign = Box::new(|_| panic!("nothing is to be signed"));
    let desk = Desk { sign, members, servers, by, introductions };
    let talk = tokio::spawn(talk(desk, sender, outlet, pair.far.clone()));
    for _ in 0..8 {
        frames.send(long_frame()).await.unwrap();
    }
    let stalled = (u64::from(code::STALLED), "frames are not read".to_owned());
    assert_eq!(reason(&pair.near).await, stalled);
    talk.await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_cut_closes_though_a_frame_is_being_sent() {
    let pair = Pair::new().await;
    let (frames, outbox) = mpsc::channel(64);
    let cut = Arc::new(Notify::new());
    let outlet = Outlet { frames: outbox, cut: cut.clone() };
    let members = Arc::new(Members::default());
    let sender = sender_of(&pair.far).await;
    let by = PublicKey([0; 32]);
    let introductions = mpsc::channel(1).1;
    let servers = watch::channel(Vec::new()).1;
    let sign = Box::new(|_| panic!("nothing is to be signed"));
    let desk = Desk { sign, members, servers, by, introductions };
    let talk = tokio::spawn(talk(desk, sender, outlet, pair.far.clone()));
    for _ in 0..8 {
        frames.send(long_frame()).await.unwrap();
    }
    let began = std::time::Instant::now();
    cut.notify_one();
    let why = "too many frames wait to be read".to_owned();
    assert_eq!(reason(&pair.near).await, (u64::from(code::STALLED), why));
    assert!(began.elapsed() < SEND_TIMEOUT, "without waiting for the write");
    talk.await.unwrap();
}

#[test]
fn a_result_counts_only_if_its_output_is_on_the_shelf() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ShelfLimits { quota: Bytes::mib(1), free_floor: Bytes::ZERO };
    let shelf = Shelf::open(folder.path(), limits, Durability::Cache).unwrap();
    let here = shelf.put(b"an output").unwrap();
    let result = |task, output| TaskResult { task, exit: Exit::Code(0), fuel: Fuel(1), output };
    let news = LeaseReport {
        lease: LeaseId(1),
        results: vec![
            result(0, OutputAt::Inline(vec![1])),
            result(1, OutputAt::Object(here, 9)),
            result(2, OutputAt::Object(here, 10)),
            result(3, OutputAt::Object(Guid::of(b"never came"), 10)),
        ],
        faults: Vec::new(),
        returned: Vec::new(),
        busy: Span::ZERO,
    };
    let mut report = Report { seq: 1, leases: vec![news], room: Room::default() };
    only_kept(&shelf, &mut report);
    let news = &report.leases[0];
    assert_eq!(news.results.iter().map(|result| result.task).collect::<Vec<_>>(), [0, 1]);
    let faults: Vec<String> =
        news.faults.iter().map(|(task, why)| format!("{task} {why}")).collect();
    assert_eq!(faults[0], "2 the sandbox died: its output has 9 B, the report says 10 B");
    assert!(faults[1].starts_with("3 the sandbox died: its output"), "{faults:?}");
    assert!(faults[1].ends_with("was not handed over"), "{faults:?}");
}

#[tokio::test]
async fn a_host_without_a_lease_hands_nothing_over_and_leaves_with_its_session() {
    let world = World::new().await;
    let token = world.token("ada", &[Right::Join]).await;
    let host = endpoint(7).await;
    let early = host.connect(&world.peer(), OBJECT_ALPN).await.unwrap();
    assert_eq!(reason(&early).await.0, u64::from(code::REFUSED), "no session yet");

    let session = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = session.open().await.unwrap();
    stream.sender.send(&hello(Some(&token))).await.unwrap();
    let welcome = stream.receiver.recv::<ToHost>().await.unwrap();
    assert!(matches!(welcome, Some(ToHost::Welcome { .. })), "{welcome:?}");
    let objects = host.connect(&world.peer(), OBJECT_ALPN).await.unwrap();
    let put = isos_net::put_object(&objects, Guid::of(b"hello"), 5, &b"hello"[..]).await;
    let refused = put.unwrap_err().to_string();
    assert!(refused.contains("this host holds no lease"), "{refused}");
    assert!(world.server.shared.shelf.list().is_empty());
    let _others = [
        host.connect(&world.peer(), OBJECT_ALPN).await.unwrap(),
        host.connect(&world.peer(), OBJECT_ALPN).await.unwrap(),
        host.connect(&world.peer(), OBJECT_ALPN).await.unwrap(),
    ];
    let fifth = host.connect(&world.peer(), OBJECT_ALPN).await.unwrap();
    assert_eq!(reason(&fifth).await.1, "too many connections for objects");
    session.close(code::DONE, "bye");
    assert_eq!(reason(&objects).await.1, "the session has ended");
    world.server.stop().await;
}

/// The first frame that a host of this key hears, on a stream that is its session.
async fn greeted(world: &World, host: &Endpoint, token: &str) -> (Connection, Stream, ToHost) {
    let connection = host.connect(&world.peer(), HOST_ALPN).await.unwrap();
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&hello(Some(token))).await.unwrap();
    let frame = stream.receiver.recv::<ToHost>().await.unwrap().expect("a frame");
    (connection, stream, frame)
}

#[tokio::test]
async fn a_host_beyond_what_its_address_may_have_is_told_when_to_come_back() {
    let world = World::with(Limits { address_hosts: 1, ..Limits::default() }).await;
    let token = world.token("ada", &[Right::Join]).await;
    let (first, second) = (endpoint(7).await, endpoint(8).await);
    let (held, _session, frame) = greeted(&world, &first, &token).await;
    assert!(matches!(frame, ToHost::Welcome { .. }), "{frame:?}");
    let (refused, _session, frame) = greeted(&world, &second, &token).await;
    assert_eq!(frame, ToHost::Refused(Refusal::Busy(NO_PLACE_FOR)));
    let (code, why) = reason(&refused).await;
    assert_eq!(code, u64::from(code::BUSY));
    assert!(why.contains("more than 1 connections of hosts at once"), "{why}");
    held.close(code::DONE, "bye");
    let free = async {
        while !matches!(greeted(&world, &second, &token).await.2, ToHost::Welcome { .. }) {}
    };
    tokio::time::timeout(Duration::from_secs(20), free).await.expect("the place is free again");
    world.server.stop().await;
}

#[tokio::test]
async fn a_host_that_begins_sessions_without_end_is_told_when_to_come_back() {
    let world = World::with(Limits { host_sessions: 1, ..Limits::default() }).await;
    let token = world.token("ada", &[Right::Join]).await;
    let (host, other) = (endpoint(7).await, endpoint(8).await);
    let mut last = None;
    for _ in 0..30 {
        let (connection, _session, frame) = greeted(&world, &host, &token).await;
        connection.close(code::DONE, "bye");
        last = Some(frame);
    }
    let Some(ToHost::Refused(Refusal::Busy(span))) = last else { panic!("{last:?}") };
    assert!(span >= AGAIN_AFTER_MIN && span < Span::secs(10), "{span}");
    let (.., frame) = greeted(&world, &other, &token).await;
    assert!(matches!(frame, ToHost::Welcome { .. }), "others are unharmed: {frame:?}");
    world.server.stop().await;
}

#[tokio::test]
async fn a_host_that_talks_without_end_is_read_more_slowly_and_does_not_hold_up_others() {
    let world = World::with(Limits { host_frames: 1, ..Limits::default() }).await;
    let token = world.token("ada", &[Right::Join]).await;
    let (host, other) = (endpoint(7).await, endpoint(8).await);
    let (_held, mut session, frame) = greeted(&world, &host, &token).await;
    assert!(matches!(frame, ToHost::Welcome { .. }), "{frame:?}");
    let ToComplex::Hello(told) = hello(None) else { unreachable!("it is a hello") };
    let offers = vec![ToComplex::Offer(told.offer); 100];
    session.sender.send_all(&offers).await.unwrap();
    let (.., frame) = greeted(&world, &other, &token).await;
    assert!(matches!(frame, ToHost::Welcome { .. }), "{frame:?}");
    let met = async {
        loop {
            let (_, _, metrics) = world.ask("GET /metrics", &[], b"").await;
            let count = |name: &str| {
                let line = metrics.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().parse::<u32>().unwrap()
            };
            if count("isos_limited_total{limit=\"host-frames\"}") > 0 {
                return count("isos_host_frames_total");
            }
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), met).await.expect("the limit is met");
    assert!((10..50).contains(&read), "{read}");
    world.server.stop().await;
}

#[tokio::test]
async fn many_hosts_of_one_account_begin_no_more_sessions_than_it_may() {
    let world = World::with(Limits { account_sessions: 1, ..Limits::default() }).await;
    let token = world.token("ada", &[Right::Join]).await;
    let mut busy = None;
    for seed in 10..40 {
        let host = endpoint(seed).await;
        let (_connection, _session, frame) = greeted(&world, &host, &token).await;
        if let ToHost::Refused(Refusal::Busy(span)) = frame {
            busy = Some(span);
            break;
        }
        assert!(matches!(frame, ToHost::Welcome { .. }), "{frame:?}");
    }
    assert_eq!(busy, Some(Span::secs(10)), "no key of its own needs a rest, but the account does");
    let other = world.token("bob", &[Right::Join]).await;
    let (.., frame) = greeted(&world, &endpoint(7).await, &other).await;
    assert!(matches!(frame, ToHost::Welcome { .. }), "others are unharmed: {frame:?}");
    world.server.stop().await;
}
