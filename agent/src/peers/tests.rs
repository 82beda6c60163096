//! Hosts on loopback whose programs address each other, and callers who should not.

use std::time::Duration;

use isos_base::key::SecretKey;
use isos_base::peers::{
    Answer, Ask, Greeting, Hearing, MESSAGE_BYTES_MAX, Peer, Peers as PeersTold, Problem, Said,
    window,
};
use isos_base::wire::HOST_ALPN;
use isos_disk::Home;
use isos_kernel::policy::NetworkLimits;
use isos_net::{Endpoint, EndpointConfig, PeerAddr, PeerCall, PeerError, call_peer};

use super::*;

const JOB: JobId = JobId(7);
const PATIENCE: Duration = Duration::from_secs(20);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

async fn endpoint(seed: u8) -> Endpoint {
    let config = EndpointConfig {
        bind: Some("127.0.0.1:0".parse().unwrap()),
        alpns: vec![PEERS_ALPN.to_vec(), HOST_ALPN.to_vec()],
        ..EndpointConfig::new(key(seed))
    };
    Endpoint::bind(config).await.unwrap()
}

/// A host; its key is its number.
struct Host {
    peers: Arc<Peers>,
    _folder: tempfile::TempDir,
}

impl Host {
    async fn new(seed: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Arc::new(Home::open(folder.path()).unwrap());
        let traffic = Arc::new(Traffic::remembered(home, NetworkLimits::default()));
        let endpoint = endpoint(seed).await;
        let own = HostId(endpoint.public());
        let door = Door::new(endpoint);
        tokio::spawn(door.clone().run());
        let peers = Peers::new(own, door, traffic);
        tokio::spawn(peers.clone().accept());
        peers.allow(true);
        Self { peers, _folder: folder }
    }

    fn address(&self) -> PeerAddr {
        let endpoint = self.peers.door.endpoint();
        PeerAddr { key: endpoint.public(), addresses: endpoint.addresses(), relay: None }
    }
}

/// Asks, and waits for the answer.
async fn ask(party: &mut Option<Party>, ask: Ask) -> Answer {
    party.as_ref().unwrap().ask(ask).await;
    let answer = tokio::time::timeout(PATIENCE, answer_of(party)).await;
    answer.expect("an answer in time").expect("a machine that runs")
}

fn send(to: u32, message: &[u8]) -> Ask {
    Ask::Send { to, message: message.to_vec() }
}

fn receive(from: u32) -> Ask {
    Ask::Receive { from: Some(from), wait_ms: 20_000 }
}

/// Hosts 1 and 2 with ranks 0 and 1, and rank 2 of the key 3, whose run is 33.
async fn pair() -> ([Host; 2], [Option<Party>; 2]) {
    let hosts = [Host::new(1).await, Host::new(2).await];
    let parties = hosts.each_ref().map(|host| host.peers.join(JOB, 3));
    let mut peers: Vec<Peer> = (0..)
        .zip(&parties)
        .map(|(rank, party)| Peer { rank, host: party.peers.own, place: Some(party.reach().place) })
        .collect();
    let place = Place { addresses: Vec::new(), relay: None, run: 33 };
    peers.push(Peer { rank: 2, host: HostId(key(3).public()), place: Some(place) });
    let told = PeersTold { job: JOB, until: None, peers };
    for host in &hosts {
        host.peers.told(&told).await;
    }
    (hosts, parties.map(Some))
}

#[tokio::test]
async fn two_programs_speak_with_each_other_from_host_to_host() {
    let (_hosts, [mut first, mut second]) = pair().await;
    assert_eq!(ask(&mut first, send(1, b"hello")).await, Answer::Sent(1));
    let came = Answer::Received(Some((0, b"hello".to_vec())));
    assert_eq!(ask(&mut second, receive(0)).await, came);
    let largest = vec![7; MESSAGE_BYTES_MAX];
    for message in [&largest[..], b""] {
        assert_eq!(ask(&mut second, send(0, message)).await, Answer::Sent(1));
        let came = Answer::Received(Some((1, message.to_vec())));
        assert_eq!(ask(&mut first, receive(1)).await, came);
    }
    let too_large = send(0, &[7; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(ask(&mut second, too_large).await, Answer::Problem(Problem::TooLarge));
}

#[tokio::test]
async fn who_sends_and_is_not_received_waits_until_it_is() {
    let (_hosts, [mut first, mut second]) = pair().await;
    let large = vec![7; MESSAGE_BYTES_MAX];
    let fits = window(3) / (MESSAGE_BYTES_MAX as u64 + 64);
    for _ in 0..fits {
        assert_eq!(ask(&mut first, send(1, &large)).await, Answer::Sent(1));
    }
    first.as_ref().unwrap().ask(send(1, &large)).await;
    let early = tokio::time::timeout(Duration::from_millis(300), answer_of(&mut first)).await;
    assert!(early.is_err(), "there is no room: {early:?}");
    ask(&mut second, receive(0)).await;
    assert_eq!(answer_of(&mut first).await, Some(Answer::Sent(1)));
}

#[tokio::test]
async fn what_was_said_last_has_arrived_when_a_program_has_ended() {
    let (_hosts, [mut first, mut second]) = pair().await;
    assert_eq!(ask(&mut first, send(1, b"last words")).await, Answer::Sent(1));
    let ended = first.take().unwrap();
    ended.flush().await;
    drop(ended);
    let came = Answer::Received(Some((0, b"last words".to_vec())));
    assert_eq!(ask(&mut second, receive(0)).await, came);
}

#[tokio::test]
async fn while_the_owner_wants_quiet_nothing_moves() {
    let (hosts, [mut first, mut second]) = pair().await;
    hosts[0].peers.allow(false);
    assert_eq!(ask(&mut first, send(1, b"later")).await, Answer::Sent(1));
    second.as_ref().unwrap().ask(receive(0)).await;
    let early = tokio::time::timeout(Duration::from_millis(300), answer_of(&mut second)).await;
    assert!(early.is_err(), "{early:?}");
    hosts[0].peers.allow(true);
    let came = Answer::Received(Some((0, b"later".to_vec())));
    let arrived = tokio::time::timeout(PATIENCE, answer_of(&mut second)).await;
    assert_eq!(arrived.unwrap(), Some(came));
}

/// The first words of rank 2 to rank 0.
fn words(party: &Option<Party>) -> Greeting {
    Greeting { job: JOB, from: 2, from_run: 33, to: 0, to_run: party.as_ref().unwrap().run }
}

async fn call(seed: u8, host: &Host, words: Greeting) -> Result<(PeerCall, Hearing), PeerError> {
    let endpoint = endpoint(seed).await;
    let called = call_peer(&endpoint, &host.address(), words).await;
    // Its connections end with an endpoint.
    std::mem::forget(endpoint);
    called
}

#[tokio::test]
async fn nobody_but_a_peer_is_heard() {
    let (hosts, [first, _second]) = pair().await;
    let good = words(&first);
    assert!(call(4, &hosts[0], good).await.is_err(), "another key");
    assert!(call(3, &hosts[0], Greeting { from: 1, ..good }).await.is_err(), "another rank");
    assert!(call(3, &hosts[0], Greeting { job: JobId(8), ..good }).await.is_err(), "another job");
    assert!(call(3, &hosts[0], Greeting { from_run: 1, ..good }).await.is_err(), "another run");
    assert!(call(3, &hosts[0], good).await.is_ok());
    let gone = Peer { rank: 2, host: HostId(key(3).public()), place: None };
    hosts[0].peers.told(&PeersTold { job: JOB, until: None, peers: vec![gone] }).await;
    assert!(call(3, &hosts[0], good).await.is_err(), "it is gone");
    drop(first);
    assert!(call(2, &hosts[0], Greeting { from: 1, ..good }).await.is_err(), "nothing runs here");
}

#[tokio::test]
async fn a_peer_that_says_more_than_there_is_room_for_is_gone() {
    let (hosts, [mut first, _second]) = pair().await;
    let (mut line, hearing) = call(3, &hosts[0], words(&first)).await.unwrap();
    assert_eq!(hearing, Hearing::default());
    let flood = async {
        for number in 1.. {
            let said = Said { number, message: vec![7; MESSAGE_BYTES_MAX] };
            if line.sender.send(&said).await.is_err() {
                return number;
            }
        }
        0
    };
    let sent = tokio::time::timeout(PATIENCE, flood).await.expect("it is stopped");
    // What was on its way when it was hung up on comes on top.
    assert!(sent * MESSAGE_BYTES_MAX as u64 <= window(3) + (16 << 20), "{sent}");
    let room = window(3) / (MESSAGE_BYTES_MAX as u64 + 64);
    for _ in 0..room {
        let answer = ask(&mut first, receive(2)).await;
        assert!(matches!(answer, Answer::Received(Some((2, _)))), "{answer:?}");
    }
    assert_eq!(ask(&mut first, receive(2)).await, Answer::Problem(Problem::Gone));
}

#[tokio::test]
async fn a_peer_that_has_heard_what_was_not_said_makes_nobody_keep_more() {
    let (host, liar) = (Host::new(1).await, endpoint(3).await);
    let mut party = Some(host.peers.join(JOB, 3));
    let own = party.as_ref().unwrap().reach().place;
    let place = Place { addresses: liar.addresses(), relay: None, run: 33 };
    let peers = vec![
        Peer { rank: 0, host: host.peers.own, place: Some(own) },
        Peer { rank: 1, host: HostId(key(2).public()), place: None },
        Peer { rank: 2, host: HostId(key(3).public()), place: Some(place) },
    ];
    host.peers.told(&PeersTold { job: JOB, until: None, peers }).await;
    // It reads nothing, and says in each call that it has heard more and more.
    tokio::spawn(async move {
        while let Some(incoming) = liar.accept().await {
            let connection = incoming.accept();
            let Ok((mut caller, _)) = isos_net::hear_peer(connection.clone()).await else {
                continue;
            };
            let mut heard = 0;
            while caller.sender.send(&Hearing { heard, taken: heard }).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                heard += 1;
            }
        }
    });
    let mut sent = 0;
    while sent < 400 {
        let asked = ask(&mut party, send(2, &[7; MESSAGE_BYTES_MAX]));
        match tokio::time::timeout(Duration::from_secs(3), asked).await {
            Ok(Answer::Sent(_)) => sent += 1,
            _ => break,
        }
    }
    // What the connection takes, and a window.
    assert!(sent < 200, "{sent} messages of 64 KiB wait here");
}

#[tokio::test]
async fn a_peer_whose_frames_are_none_is_left_and_may_call_again() {
    let (hosts, [mut first, _second]) = pair().await;
    let (mut line, _) = call(3, &hosts[0], words(&first)).await.unwrap();
    line.sender.send(&Said { number: 1, message: vec![7; MESSAGE_BYTES_MAX + 65] }).await.ok();
    let (mut line, hearing) = call(3, &hosts[0], words(&first)).await.unwrap();
    assert_eq!(hearing, Hearing::default());
    line.sender.send(&Said { number: 1, message: b"now".to_vec() }).await.unwrap();
    let came = Answer::Received(Some((2, b"now".to_vec())));
    assert_eq!(ask(&mut first, receive(2)).await, came);
}
