//! Two hosts that cannot reach each other, and the relay between them.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use isos_base::key::PublicKey;

use super::{ALPN, config, endpoint, key};
use crate::{
    ConnectError, Endpoint, EndpointConfig, Guest, OnlineError, PeerAddr, Relay, RelayAddr,
    RelayError, limits,
};

async fn relay(
    admission: impl Fn(PublicKey, Option<&str>) -> bool + Send + Sync + 'static,
) -> Relay {
    let admission = move |key, token: Option<String>| {
        let may = admission(key, token.as_deref());
        std::future::ready(if may { Guest::Known } else { Guest::Unwanted })
    };
    Relay::spawn((Ipv4Addr::LOCALHOST, 0).into(), admission).await.unwrap()
}

/// An endpoint without UDP.
async fn behind(relay: &Relay, seed: u8, token: Option<&str>) -> Endpoint {
    let relay = RelayAddr { url: relay.url(), token: token.map(str::to_owned) };
    let config = EndpointConfig { relay: Some(relay), direct: false, ..config(seed) };
    Endpoint::bind(config).await.unwrap()
}

async fn exchange(client: &Endpoint, server: &Endpoint, relay: &Relay) {
    let peer = PeerAddr { key: server.public(), addresses: vec![], relay: Some(relay.url()) };
    let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
    let (near, far) = (near.unwrap(), far.unwrap().accept());
    assert!(near.is_relayed() && far.is_relayed());
    assert_eq!((near.remote_address(), far.remote_address()), (None, None));
    let mut stream = near.open().await.unwrap();
    let batch: Vec<Vec<u8>> = (0..200).map(|n| vec![n; 5_000]).collect();
    let (sent, ()) = tokio::join!(stream.sender.send_all(&batch), async {
        let mut stream = far.accept().await.unwrap();
        for message in &batch {
            assert_eq!(stream.receiver.recv().await.unwrap().as_ref(), Some(message));
        }
        stream.sender.send(&"got them").await.unwrap();
        stream.sender.finish().await.unwrap();
        stream.sender.delivered().await.unwrap();
    });
    sent.unwrap();
    assert_eq!(stream.receiver.recv().await, Ok(Some("got them".to_owned())));
}

#[tokio::test]
async fn hosts_without_a_direct_way_talk_through_the_relay() {
    let keys = [key(1).public(), key(2).public()];
    let relay = relay(move |key, token| keys.contains(&key) && token == Some("right")).await;
    let client = behind(&relay, 1, Some("right")).await;
    let server = behind(&relay, 2, Some("right")).await;
    assert!(client.bound().is_empty() && client.addresses().is_empty());
    let start = Instant::now();
    let url = server.online().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(url.trim_end_matches('/'), relay.url());
    exchange(&client, &server, &relay).await;
    relay.close().await;
}

#[tokio::test]
async fn a_relay_can_be_learnt_later() {
    let relay = relay(|_, token| token == Some("right")).await;
    let client = behind(&relay, 1, Some("right")).await;
    let server = Endpoint::bind(EndpointConfig { direct: false, ..config(2) }).await.unwrap();
    assert!(matches!(server.online().await, Err(OnlineError::NoRelay)));
    let late = RelayAddr { url: relay.url(), token: Some("right".into()) };
    server.add_relay(&late).await.unwrap();
    server.online().await.unwrap();
    exchange(&client, &server, &relay).await;
    assert!(!format!("{late:?}").contains("right"), "tokens are not printed");
}

#[tokio::test]
async fn a_relay_refuses_who_may_not_use_it() {
    let relay = relay(|_, token| token == Some("right")).await;
    let server = behind(&relay, 2, Some("right")).await;
    server.online().await.unwrap();
    for token in [None, Some("wrong")] {
        let client = behind(&relay, 1, token).await;
        let error = client.online().await.unwrap_err();
        assert!(matches!(error, OnlineError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("its complex"), "{error}");
        let peer = PeerAddr { key: server.public(), addresses: vec![], relay: Some(relay.url()) };
        let error = client.connect(&peer, ALPN).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_an_error_in_bounded_time() {
    let relay = relay(|_, _| true).await;
    let url = relay.url();
    relay.close().await;
    let endpoint = endpoint(1).await;
    endpoint.add_relay(&RelayAddr { url: url.clone(), token: None }).await.unwrap();
    let start = Instant::now();
    let error = endpoint.online().await.unwrap_err();
    assert!(start.elapsed() < limits::ONLINE_TIMEOUT + Duration::from_secs(1));
    assert!(error.to_string().contains(&url), "{error}");
    let error =
        endpoint.add_relay(&RelayAddr { url: "nonsense".into(), token: None }).await.unwrap_err();
    assert!(matches!(error, RelayError::Url { .. }), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let first = relay(|_, _| true).await;
    let known = |_, _| std::future::ready(Guest::Known);
    let error = Relay::spawn(first.address(), known).await.unwrap_err();
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
}

/// An endpoint whose only way is this relay, or why it has none.
async fn comes(relay: &Relay, seed: u8) -> Result<Endpoint, OnlineError> {
    let client = behind(relay, seed, None).await;
    client.online().await.map(|_| client)
}

#[tokio::test]
async fn strangers_have_some_places_of_a_relay_and_those_who_became_known_free_theirs() {
    let known = Arc::new(Mutex::new(vec![key(1).public()]));
    let asked = known.clone();
    let admission = move |key: PublicKey, _| {
        let is_known = asked.lock().unwrap().contains(&key);
        std::future::ready(if is_known { Guest::Known } else { Guest::Stranger })
    };
    let relay = Relay::spawn((Ipv4Addr::LOCALHOST, 0).into(), admission).await.unwrap();
    let strangers = limits::RELAY_STRANGERS_MAX as u8;
    let mut clients = Vec::new();
    for n in 0..strangers {
        clients.push(comes(&relay, 10 + n).await.unwrap());
    }
    let refused = comes(&relay, 100).await.unwrap_err();
    assert!(refused.to_string().contains("no room for strangers"), "{refused}");
    let member = comes(&relay, 1).await.expect("who is known has a place");
    // One of them joins through the relay.
    known.lock().unwrap().push(clients[0].public());
    tokio::time::sleep(limits::RELAY_ASK_AGAIN).await;
    let late = comes(&relay, 101).await.expect("there is room again");
    drop((member, late, clients));
    relay.close().await;
}
