//! What this crate's tests stand on: real sockets on loopback, a real database, a real shelf.

use std::net::{Ipv4Addr, SocketAddr};

use isos_base::capability::{self, Right};
use isos_base::host::{HostSpec, Offer};
use isos_base::key::SecretKey;
use isos_base::ticket::Ticket;
use isos_base::wire::{Hello, Room, ToComplex};
use isos_base::{Bytes, Span};
use isos_net::{Connection, Endpoint, EndpointConfig, PeerAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Limits, OpenServer, Server, ServerConfig};

/// The protocol of connections between nobody in particular.
pub(crate) const ALPN: &[u8] = b"isos/test/1";

/// An endpoint of a key of its own for each number.
pub(crate) async fn endpoint(seed: u8) -> Endpoint {
    endpoint_for(seed, ALPN).await
}

/// As [`endpoint`], for connections of this protocol.
pub(crate) async fn endpoint_for(seed: u8, alpn: &[u8]) -> Endpoint {
    let config = EndpointConfig {
        bind: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
        alpns: vec![alpn.to_vec()],
        ..EndpointConfig::new(SecretKey::from_bytes(&[seed; 32]))
    };
    Endpoint::bind(config).await.unwrap()
}

/// Two ends of a connection, with the endpoints that carry it.
pub(crate) struct Pair {
    pub(crate) near: Connection,
    pub(crate) far: Connection,
    _endpoints: [Endpoint; 2],
}

impl Pair {
    pub(crate) async fn new() -> Self {
        let (client, server) = (endpoint(1).await, endpoint(2).await);
        let peer = PeerAddr { key: server.public(), addresses: server.addresses(), relay: None };
        let (near, far) = tokio::join!(client.connect(&peer, ALPN), server.accept());
        Self { near: near.unwrap(), far: far.unwrap().accept(), _endpoints: [client, server] }
    }
}

/// A running server in a folder of its own.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) open: OpenServer,
    _home: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    /// A server with these limits.
    pub(crate) async fn with(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = ServerConfig { limits, ..ServerConfig::local(home.path().to_owned()) };
        let server = Server::start(config).await.unwrap();
        Self { _home: Some(home), ..Self::of(server) }
    }

    /// A server whose folder is the caller's.
    pub(crate) fn of(server: Server) -> Self {
        let open = server.open();
        Self { server, open, _home: None }
    }

    /// The text of a token for the account `name`.
    pub(crate) async fn token(&self, name: &str, rights: &[Right]) -> String {
        let ticket = self.server.ticket(name, rights, Span::secs(3_600)).await.unwrap();
        capability::to_text(&ticket.ticket.parse::<Ticket>().unwrap().token)
    }

    pub(crate) fn operator(&self) -> String {
        capability::to_text(&self.open.operator_token)
    }

    /// Sends one request and gives status, headers and body of the answer.
    pub(crate) async fn ask(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String, String) {
        ask(&self.open.api, line, headers, body).await
    }

    /// As [`World::ask`], with a token and JSON.
    pub(crate) async fn json(&self, line: &str, token: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let (status, _, body) = self.ask(line, &headers, body.as_bytes()).await;
        (status, body)
    }

    /// How the server is reached by those who dial its key.
    pub(crate) fn peer(&self) -> PeerAddr {
        PeerAddr { relay: None, ..PeerAddr::from(&self.open.addr) }
    }
}

/// Sends one request and gives status, headers and body of the answer.
pub(crate) async fn ask(
    api: &str,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String, String) {
    let address = api.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    // A server that refuses a long body may hang up before it has read all of it.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// The first frame of a host with four cores.
pub(crate) fn hello(token: Option<&str>) -> ToComplex {
    let spec = HostSpec {
        name: "test".into(),
        agent: "0".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 4,
        memory: Bytes::gib(1),
        disk: Bytes::gib(1),
        country: None,
        engine: "none".into(),
    };
    let offer =
        Offer { cores: 4, memory: Bytes::gib(1), disk: Bytes::gib(1), ..Offer::nothing("a test") };
    let token = token.map(|text| capability::from_text(text).unwrap());
    let room = Room { cores_idle: 4, ..Room::default() };
    ToComplex::Hello(Box::new(Hello { spec, offer, token, holding: Vec::new(), room }))
}
