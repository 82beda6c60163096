//! Real sockets on loopback.

mod briefs;
mod fragments;
mod frames;
mod objects;
mod peers;
mod relays;

use std::net::{Ipv4Addr, SocketAddr};

use isos_base::key::SecretKey;

use crate::{Connection, Endpoint, EndpointConfig, PeerAddr, Stream};

/// The protocol of these tests.
const ALPN: &[u8] = b"isos/test/1";

/// A key of its own for each number.
fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn config(seed: u8) -> EndpointConfig {
    EndpointConfig {
        bind: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
        alpns: vec![ALPN.to_vec()],
        ..EndpointConfig::new(key(seed))
    }
}

async fn endpoint(seed: u8) -> Endpoint {
    Endpoint::bind(config(seed)).await.unwrap()
}

fn address_of(endpoint: &Endpoint) -> PeerAddr {
    PeerAddr { key: endpoint.public(), addresses: endpoint.addresses(), relay: None }
}

/// Two connected endpoints. The endpoints are kept: a dropped one takes its connections along.
struct Pair {
    client: Endpoint,
    server: Endpoint,
    near: Connection,
    far: Connection,
}

impl Pair {
    async fn new() -> Self {
        let (client, server) = (endpoint(1).await, endpoint(2).await);
        let peer = address_of(&server);
        let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
        Self { client, server, near: near.unwrap(), far: far.unwrap().accept() }
    }

    /// A stream between the two, after one frame each way.
    async fn stream(&self) -> (Stream, Stream) {
        let mut near = self.near.open().await.unwrap();
        near.sender.send(&1u8).await.unwrap();
        let mut far = self.far.accept().await.unwrap();
        assert_eq!(far.receiver.recv().await, Ok(Some(1u8)));
        far.sender.send(&2u8).await.unwrap();
        assert_eq!(near.receiver.recv().await, Ok(Some(2u8)));
        (near, far)
    }
}
