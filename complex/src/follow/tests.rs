//! A real leader and a real follower over real sockets.

use isos_base::capability::Right;
use isos_base::wire::{OBJECT_ALPN, Refusal, ToComplex, ToHost};
use tokio::time::{Duration, timeout};

use super::*;
use crate::front::ServerPlace;
use crate::server::ServerConfig;
use crate::testing::{World, ask, endpoint, endpoint_for, hello};

/// A follower of a world.
struct Follower {
    following: Following,
    addr: ServerAddr,
    servers: watch::Sender<Servers>,
    _home: tempfile::TempDir,
}

impl Follower {
    async fn of(leader: Option<&ServerAddr>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = ServerConfig::local(home.path().to_owned());
        let place = ServerPlace::open(&config).await.unwrap();
        let front = Front::bind(&config, &place, None).await.unwrap();
        let addr = front.addr.clone();
        let servers = Servers { leader: leader.cloned(), others: vec![addr.clone()] };
        let (servers, watched) = watch::channel(servers);
        let following = Following::start(front, &config.limits, watched);
        Self { following, addr, servers, _home: home }
    }

    /// One frame after another that it gives to a host.
    async fn say_hello(&self) -> Vec<ToHost> {
        let host = endpoint(7).await;
        let connection = host.connect(&PeerAddr::from(&self.addr), HOST_ALPN).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        stream.sender.send::<ToComplex>(&hello(None)).await.unwrap();
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = stream.receiver.recv::<ToHost>().await {
            frames.push(frame);
        }
        frames
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let (status, _, body) = ask(&self.following.api(), line, headers, body).await;
        (status, body)
    }
}

#[tokio::test]
async fn a_follower_gives_the_leaders_answers() {
    let world = World::new().await;
    let follower = Follower::of(Some(&world.open.addr)).await;
    let bearer = format!("Bearer {}", world.operator());
    let headers = [("authorization", &*bearer)];
    let (status, body) = follower.ask("GET /v1/whoami", &headers, b"").await;
    assert_eq!((status, body.contains("operator")), (200, true), "{body}");
    let (status, body) = follower.ask("GET /v1/whoami", &[], b"").await;
    assert_eq!((status, body.contains("unauthorised")), (403, true), "{body}");
    // A body, both ways.
    let bytes = vec![b'x'; 3_000_000];
    let guid = isos_base::Guid::of(&bytes);
    let (status, body) = follower.ask(&format!("PUT /v1/objects/{guid}"), &headers, &bytes).await;
    assert!((200..300).contains(&status), "{status} {body}");
    let (status, body) = follower.ask(&format!("GET /v1/objects/{guid}"), &headers, b"").await;
    assert_eq!((status, body.len()), (200, bytes.len()));
    assert_eq!(follower.ask("GET /readyz", &[], b"").await.0, 200);
}

#[tokio::test]
async fn a_follower_without_a_leader_says_so_and_when_to_come_back() {
    let follower = Follower::of(None).await;
    let (status, head, body) = ask(&follower.following.api(), "GET /v1/status", &[], b"").await;
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after") && body.contains("no server leads"), "{head} {body}");
    assert_eq!(follower.ask("GET /readyz", &[], b"").await.0, 503);
    assert_eq!(follower.ask("GET /healthz", &[], b"").await.0, 200);
    let frames = follower.say_hello().await;
    assert!(matches!(frames[..], [ToHost::Refused(Refusal::Busy(_))]), "{frames:?}");
}

#[tokio::test]
async fn hosts_are_told_where_the_leader_is() {
    let world = World::new().await;
    let follower = Follower::of(Some(&world.open.addr)).await;
    let frames = follower.say_hello().await;
    let servers = vec![world.open.addr.clone(), follower.addr.clone()];
    assert_eq!(frames, [ToHost::Servers(servers), ToHost::Refused(Refusal::Elsewhere)]);
    // Objects are where the session is.
    let peer = PeerAddr::from(&follower.addr);
    let host = endpoint(8).await;
    let objects = host.connect(&peer, OBJECT_ALPN).await.unwrap();
    let closed = objects.closed().await;
    assert!(closed.to_string().contains("another server leads"), "{closed}");
}

#[tokio::test]
async fn servers_that_take_each_other_for_the_leader_do_not_pass_requests_round_for_ever() {
    let one = Follower::of(None).await;
    let other = Follower::of(Some(&one.addr)).await;
    let told = Servers { leader: Some(other.addr.clone()), others: Vec::new() };
    one.servers.send_replace(told);
    let asked = timeout(Duration::from_secs(5), one.ask("GET /v1/status", &[], b"")).await;
    let (status, body) = asked.expect("an answer");
    assert_eq!((status, body.contains("choosing a new leader")), (503, true), "{body}");
}

#[tokio::test]
async fn a_request_whose_leader_is_replaced_meanwhile_is_not_left_hanging() {
    for (line, wanted, words) in [
        ("GET /v1/status", 503, "another server leads"),
        // It may have been carried out, and nobody should take it for one that was not.
        ("POST /v1/jobs", 504, "before it could say whether this was done"),
    ] {
        // A leader that takes the request and never answers, as one that was stopped.
        let silent = endpoint_for(4, API_ALPN).await;
        let addr = ServerAddr { key: silent.public(), addresses: silent.addresses(), relay: None };
        let follower = Follower::of(Some(&addr)).await;
        let accepted = tokio::spawn(async move {
            let connection = silent.accept().await.unwrap().accept();
            let stream = connection.accept().await.unwrap();
            (silent, connection, stream)
        });
        let asked = follower.ask(line, &[], b"");
        let replaced = async {
            let _held = accepted.await.unwrap();
            follower.servers.send_replace(Servers::default());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            (status, body) = asked => {
                assert_eq!((status, body.contains(words)), (wanted, true), "{body}");
            }
            () = replaced => {}
        }
    }
}

#[tokio::test]
async fn more_requests_than_one_connection_carries_are_passed_on_at_once() {
    let leader = endpoint_for(4, API_ALPN).await;
    let addr = ServerAddr { key: leader.public(), addresses: leader.addresses(), relay: None };
    // Nobody is answered before all are here, as with long event streams.
    let all = http::STREAMS_MAX + 6;
    let gate = Arc::new(tokio::sync::Barrier::new(all));
    let waits = move || {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            "here"
        }
    };
    let router = Router::new().route("/", get(waits));
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        while let Some(incoming) = leader.accept().await {
            let (router, stopping) = (router.clone(), stopping.clone());
            let connection = incoming.accept();
            tokio::spawn(async move {
                let door = Arc::new(Door::new(Limits::default()));
                let caller = || {
                    let door = door.clone();
                    Caller { door, address: None, is_server: false, pages: true, key: None }
                };
                http::serve_streams(router, caller, &connection, stopping).await;
            });
        }
    });
    let follower = Arc::new(Follower::of(Some(&addr)).await);
    let asked = (0..all).map(|_| {
        let follower = follower.clone();
        tokio::spawn(async move { follower.ask("GET /", &[], b"").await })
    });
    let asked: Vec<_> = asked.collect();
    for one in asked {
        let answer = timeout(Duration::from_secs(20), one).await.expect("in time").unwrap();
        assert_eq!(answer, (200, "here".to_owned()));
    }
}

#[tokio::test]
async fn a_ticket_names_all_servers_that_its_server_knows() {
    let world = World::new().await;
    let ticket = world.server.ticket("a", &[Right::Read], isos_base::Span::secs(60)).await.unwrap();
    let ticket: isos_base::ticket::Ticket = ticket.ticket.parse().unwrap();
    assert_eq!(ticket.servers, std::slice::from_ref(&world.open.addr));
    assert_ne!(ticket.complex, ticket.servers[0].key, "a server has a key of its own");
}
