//! Who reaches whom, and how each learns that the other is gone.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use isos_base::key::PublicKey;

use super::{ALPN, Pair, address_of, config, endpoint, key};
use crate::endpoint::worth_giving;
use crate::{Closed, ConnectError, Endpoint, EndpointConfig, PeerAddr, RecvError, limits};

#[tokio::test]
async fn both_sides_know_whom_they_talk_to() {
    let pair = Pair::new().await;
    assert_eq!(pair.near.remote(), pair.server.public());
    assert_eq!(pair.far.remote(), pair.client.public());
    assert_eq!(pair.near.remote_address(), Some(pair.server.bound()[0]));
    assert_eq!(pair.far.remote_address(), Some(pair.client.bound()[0]));
    assert_eq!((pair.near.alpn(), pair.far.alpn()), (ALPN, ALPN));
    assert!(!pair.near.is_relayed() && !pair.far.is_relayed());
    assert_eq!(pair.near.is_closed(), None);
    assert!(pair.near.round_trip().unwrap() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_graceful_close_is_noticed_at_once_with_its_reason() {
    let pair = Pair::new().await;
    let (_near, mut far) = pair.stream().await;
    let start = Instant::now();
    pair.near.close(42, "no more\nwork");
    let closed = Closed::ByPeer { code: 42, reason: "no more work".into() };
    assert_eq!(pair.far.closed().await, closed);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(pair.near.closed().await, Closed::Here);
    assert_eq!(far.receiver.recv::<u8>().await, Err(RecvError::Lost(closed)));
    let error = pair.far.open().await.unwrap_err();
    assert_eq!(error.peer, pair.client.public());
}

#[tokio::test]
async fn a_closed_endpoint_tells_its_peers_and_its_own_waiters() {
    let pair = Pair::new().await;
    let start = Instant::now();
    let ((), waiting) = tokio::join!(pair.server.close(), pair.server.accept());
    assert!(waiting.is_none());
    assert!(matches!(pair.near.closed().await, Closed::ByPeer { .. }));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let error = pair.server.connect(&address_of(&pair.client), ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::Closed), "{error}");
}

#[tokio::test]
async fn a_closed_door_lets_nobody_in_until_it_is_opened() {
    let (client, server) = (endpoint(1).await, endpoint(2).await);
    let peer = address_of(&server);
    server.set_open(false);
    assert!(client.connect(&peer, ALPN).await.is_err());
    server.set_open(true);
    let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
    assert_eq!(near.unwrap().remote(), server.public());
    // Who is in stays in.
    let far = far.unwrap().accept();
    server.set_open(false);
    let mut stream = far.open().await.unwrap();
    stream.sender.send(&1u8).await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_of_an_endpoint_stops_it() {
    let (client, server) = (endpoint(1).await, endpoint(2).await);
    let peer = address_of(&server);
    drop(server);
    let error = client.connect(&peer, ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_dead_address_is_an_error_in_bounded_time_that_says_what_was_tried() {
    let client = endpoint(1).await;
    // A socket that takes packets and never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let peer = PeerAddr { key: key(9).public(), addresses: vec![address], relay: None };
    let start = Instant::now();
    let error = client.connect(&peer, ALPN).await.unwrap_err();
    assert!(start.elapsed() < limits::CONNECT_TIMEOUT + Duration::from_secs(1));
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn another_key_at_the_address_is_refused() {
    let (client, server) = (endpoint(1).await, endpoint(2).await);
    let peer = PeerAddr { key: key(9).public(), ..address_of(&server) };
    let error = client.connect(&peer, ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::WrongKey { .. }), "{error:?}");
}

#[tokio::test]
async fn an_address_out_of_date_does_not_hide_the_right_one() {
    let (client, server) = (endpoint(1).await, endpoint(2).await);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut peer = address_of(&server);
    peer.addresses.insert(0, silent.local_addr().unwrap());
    let near = client.connect(&peer, ALPN).await.unwrap();
    assert_eq!(near.remote(), server.public());
}

#[tokio::test]
async fn what_cannot_be_dialled_says_why() {
    let (client, server) = (endpoint(1).await, endpoint(2).await);
    let peer = address_of(&server);
    let error = client.connect(&peer, b"isos/other/9").await.unwrap_err();
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error:?}");
    assert!(error.to_string().contains("isos/other/9"), "{error}");

    let nowhere = PeerAddr { addresses: vec![], ..peer.clone() };
    let error = client.connect(&nowhere, ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress { .. }), "{error:?}");

    let error = client.connect(&address_of(&client), ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::BadKey { .. }), "{error:?}");

    let no_point = (0..=255u8)
        .map(|n| PublicKey([n; 32]))
        .find(|key| iroh::PublicKey::from_bytes(&key.0).is_err())
        .unwrap();
    let bad = PeerAddr { key: no_point, ..peer.clone() };
    let error = client.connect(&bad, ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::BadKey { .. }), "{error:?}");

    let bad = PeerAddr { relay: Some("not a\u{7} url".into()), ..peer };
    let error = client.connect(&bad, ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::Relay(_)), "{error:?}");
    assert!(!error.to_string().contains('\u{7}'));

    let closed_to_all =
        Endpoint::bind(EndpointConfig { alpns: vec![], ..config(3) }).await.unwrap();
    let error = client.connect(&address_of(&closed_to_all), ALPN).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = EndpointConfig { bind: Some(address), ..config(1) };
    let error = Endpoint::bind(config).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn many_callers_at_once_all_get_in() {
    let server = endpoint(2).await;
    let peer = address_of(&server);
    let door = server.clone();
    let host = tokio::spawn(async move {
        let mut held = Vec::new();
        while held.len() < 40 {
            held.push(door.accept().await.unwrap().accept());
        }
        held
    });
    let mut callers = Vec::new();
    for seed in 100..140 {
        let caller = endpoint(seed).await;
        let peer = peer.clone();
        callers.push(tokio::spawn(async move {
            let connection = caller.connect(&peer, ALPN).await.unwrap();
            (caller, connection)
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(host.await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_peer_cannot_open_streams_without_end() {
    let pair = Pair::new().await;
    let mut streams = Vec::new();
    for n in 0..limits::STREAMS_MAX {
        let mut stream = pair.near.open().await.unwrap();
        stream.sender.send(&n).await.unwrap();
        streams.push(stream);
    }
    let more = pair.near.open();
    assert!(tokio::time::timeout(Duration::from_millis(200), more).await.is_err());
    // A place is free when both directions have ended.
    drop(streams);
    for n in 0..limits::STREAMS_MAX {
        let mut stream = pair.far.accept().await.unwrap();
        assert_eq!(stream.receiver.recv().await, Ok(Some(n)));
    }
    pair.near.open().await.unwrap();
}

#[tokio::test]
async fn random_packets_do_nothing() {
    let pair = Pair::new().await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 7u64;
    for n in 0..5_000usize {
        let packet: Vec<u8> = (0..n % 1_400)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Half of them look like the start of a handshake.
                if i == 0 && n % 2 == 0 { 0xc0 | (state >> 60) as u8 } else { (state >> 33) as u8 }
            })
            .collect();
        socket.send_to(&packet, pair.server.bound()[0]).unwrap();
    }
    let (mut near, mut far) = pair.stream().await;
    near.sender.send(&"still here").await.unwrap();
    assert_eq!(far.receiver.recv::<String>().await, Ok(Some("still here".into())));
    let other = endpoint(3).await;
    let peer = address_of(&pair.server);
    let (connected, _) = tokio::join!(other.connect(&peer, ALPN), pair.server.accept());
    connected.unwrap();
}

#[test]
fn addresses_worth_giving_are_usable_by_others() {
    let parse = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let given = worth_giving(&parse(&["192.0.2.7:5"]), &parse(&["198.51.100.1:5"]));
    assert_eq!(given, parse(&["192.0.2.7:5"]));
    let given = worth_giving(
        &parse(&["0.0.0.0:5", "[::]:6"]),
        &parse(&["127.0.0.1:5", "192.0.2.7:5", "[fe80::1]:6", "[2001:db8::1]:6", "192.0.2.7:5"]),
    );
    assert_eq!(given, parse(&["192.0.2.7:5", "[2001:db8::1]:6", "127.0.0.1:5", "[::1]:6"]));
    let many: Vec<_> = (0..99).map(|n| SocketAddr::new([192, 0, 2, n].into(), 5)).collect();
    assert_eq!(worth_giving(&parse(&["0.0.0.0:5"]), &many).len(), limits::ADDRESSES_MAX);
}

/// The other process of the next test: prints where it is and accepts until it is killed.
#[tokio::test]
#[ignore = "is run by a_killed_peer_is_noticed"]
async fn a_peer_to_be_killed() {
    let server = endpoint(2).await;
    writeln!(std::io::stdout(), "\nlistening {}", server.bound()[0]).unwrap();
    std::io::stdout().flush().unwrap();
    let mut held = Vec::new();
    while let Some(caller) = server.accept().await {
        let connection = caller.accept();
        held.push(connection.accept().await);
        held.push(None);
    }
}

#[tokio::test]
async fn a_killed_peer_is_noticed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::peers::a_peer_to_be_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let address = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("listening ").map(str::to_owned))
        .unwrap();
    let client = endpoint(1).await;
    let peer =
        PeerAddr { key: key(2).public(), addresses: vec![address.parse().unwrap()], relay: None };
    let connection = client.connect(&peer, ALPN).await.unwrap();
    let mut stream = connection.open().await.unwrap();
    stream.sender.send(&1u8).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let start = Instant::now();
    let received = stream.receiver.recv::<u8>().await;
    assert_eq!(received, Err(RecvError::Lost(Closed::TimedOut)));
    assert_eq!(connection.closed().await, Closed::TimedOut);
    let limit = limits::KEEP_ALIVE + limits::IDLE_TIMEOUT + Duration::from_millis(500);
    assert!(start.elapsed() <= limit, "{:?}", start.elapsed());
}
