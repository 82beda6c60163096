//! This machine's end of all connections: one key, its sockets, the relays it knows.

mod errors;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use iroh::dns::DnsResolver;
use iroh::endpoint::{
    ConnectOptions, NetReportConfig, PortmapperConfig, QuicTransportConfig, presets,
};
use iroh::{EndpointAddr, RelayConfig, RelayMap, RelayMode, RelayUrl, Watcher};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::peers::PEERS_ALPN;
use isos_base::rate::Rate;
use isos_base::ticket::ServerAddr;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub use errors::{BindError, ConnectError, OnlineError, RelayError};

use crate::accept::{self, Incoming};
use crate::connection::Connection;
use crate::{Cause, limits, printable, transport};

/// What an endpoint is made of.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// The identity: peers dial its public half.
    pub key: SecretKey,
    /// The UDP address to listen on. `None`: all addresses of the machine, a free port.
    pub bind: Option<SocketAddr>,
    /// The protocols that are accepted, preferred first. None: nobody may call.
    pub alpns: Vec<Vec<u8>>,
    /// A relay through which peers can call when they cannot reach the machine directly.
    pub relay: Option<RelayAddr>,
    /// Whether UDP is used at all; else everything goes through relays.
    pub direct: bool,
    /// Whether the router is asked to let callers in (UPnP, PCP, NAT-PMP).
    pub portmap: bool,
    /// Handshakes that one address (IPv4, or /56 of IPv6) may begin; those that come through relays
    /// may begin sixteen times as many together.
    pub handshakes: Rate,
}

impl EndpointConfig {
    /// All addresses, no protocol accepted, no relay, no port mapping; as many handshakes as come.
    #[must_use]
    pub fn new(key: SecretKey) -> Self {
        Self {
            key,
            bind: None,
            alpns: Vec::new(),
            relay: None,
            direct: true,
            portmap: false,
            handshakes: Rate::UNLIMITED,
        }
    }
}

/// A relay and the right to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddr {
    /// `http://host:port` or `https://host`.
    pub url: String,
    /// Shown to the relay beside the proven key. Over plain HTTP it can be read on the way.
    pub token: Option<String>,
}

impl std::fmt::Debug for RelayAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = if self.token.is_some() { "with" } else { "without" };
        write!(f, "RelayAddr({} {token} token)", self.url)
    }
}

/// Where a peer may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddr {
    /// Who must answer.
    pub key: PublicKey,
    /// UDP addresses, at most [`limits::ADDRESSES_MAX`] of which are tried, all at once.
    pub addresses: Vec<SocketAddr>,
    /// The relay it is connected to.
    pub relay: Option<String>,
}

impl From<&ServerAddr> for PeerAddr {
    fn from(server: &ServerAddr) -> Self {
        let ServerAddr { key, addresses, relay } = server.clone();
        Self { key, addresses, relay }
    }
}

impl std::fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at", &self.key.to_string()[..10])?;
        for address in self.addresses.iter().take(limits::ADDRESSES_MAX) {
            write!(f, " {address}")?;
        }
        match &self.relay {
            Some(url) => write!(f, " through relay {}", printable(url)),
            None if self.addresses.is_empty() => f.write_str(" no address"),
            None => Ok(()),
        }
    }
}

/// A handle of the endpoint; clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    iroh: iroh::Endpoint,
    key: PublicKey,
    direct: bool,
    /// The transport shares this map; it is kept here to count.
    relays: RelayMap,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
    /// Whether anybody may call.
    open: Arc<AtomicBool>,
    acceptor: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Endpoint {
    /// Opens the sockets and begins to answer. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(config: EndpointConfig) -> Result<Self, BindError> {
        let relays = RelayMap::empty();
        if let Some(relay) = &config.relay {
            let relay = relay_config(relay)?;
            relays.insert(relay.url.clone(), Arc::new(relay));
        }
        let key = iroh::SecretKey::from_bytes(&config.key.to_bytes());
        let portmap = match config.portmap && config.direct {
            true => PortmapperConfig::default(),
            false => PortmapperConfig::Disabled,
        };
        // The portal check would ask port 80 of the relay's machine, where nothing of ours is.
        let mut report = NetReportConfig::default();
        report.captive_portal_check = false;
        // The transport's own default asks public name servers when the system's fail.
        let names = DnsResolver::builder().with_system_defaults().disable_fallback().build();
        let mut builder = iroh::Endpoint::builder(presets::Minimal)
            .secret_key(key)
            .alpns(config.alpns.clone())
            .transport_config(transport::config())
            .relay_mode(RelayMode::Custom(relays.clone()))
            .portmapper_config(portmap)
            .net_report_config(report)
            .dns_resolver(names);
        let wanted = match (config.direct, config.bind) {
            (true, None) => "any port".to_owned(),
            (true, Some(address)) => {
                builder = builder.clear_ip_transports();
                builder = builder.bind_addr(address).map_err(|error| BindError::Socket {
                    address: address.to_string(),
                    source: error.into(),
                })?;
                address.to_string()
            }
            (false, _) => {
                builder = builder.clear_ip_transports();
                "nothing (relays only)".to_owned()
            }
        };
        let iroh = builder
            .bind()
            .await
            .map_err(|error| BindError::Socket { address: wanted, source: error.into() })?;
        if iroh.bound_sockets().iter().any(|socket| socket.ip().is_unspecified()) {
            // Late addresses are no error: `addresses` is asked again for each ticket.
            let mut addresses = iroh.watch_addr();
            let known = async {
                while addresses.get().ip_addrs().next().is_none() {
                    if addresses.updated().await.is_err() {
                        break;
                    }
                }
            };
            let _ = timeout(limits::LOCAL_ADDRESSES_TIMEOUT, known).await;
        }
        // Callers that wait for the shell keep their places in the gate, which bounds them.
        let (welcome, incoming) = mpsc::channel(1);
        let open = Arc::new(AtomicBool::new(!config.alpns.is_empty()));
        let door = accept::run(iroh.clone(), open.clone(), config.handshakes, welcome);
        let acceptor = tokio::spawn(door);
        Ok(Self {
            inner: Arc::new(Inner {
                iroh,
                key: config.key.public(),
                direct: config.direct,
                relays,
                incoming: Mutex::new(incoming),
                open,
                acceptor: acceptor.abort_handle(),
            }),
        })
    }

    /// The key that peers dial.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.inner.key
    }

    /// Lets callers in from now on, or refuses them before any cryptography. Who is in stays.
    pub fn set_open(&self, open: bool) {
        self.inner.open.store(open, Ordering::Relaxed);
    }

    /// The UDP addresses that are listened on; none when only relays are used.
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        if self.inner.direct { self.inner.iroh.bound_sockets() } else { Vec::new() }
    }

    /// The addresses worth giving to others, best first: those that are listened on, and for "all
    /// addresses" those that the machine is known to have now, loopback last.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let known: Vec<SocketAddr> = self.inner.iroh.addr().ip_addrs().copied().collect();
        worth_giving(&self.bound(), &known)
    }

    /// Dials a peer over all its addresses at once, within [`limits::CONNECT_TIMEOUT`].
    ///
    /// # Errors
    /// [`ConnectError`], which says what was tried and what to do.
    pub async fn connect(&self, peer: &PeerAddr, alpn: &[u8]) -> Result<Connection, ConnectError> {
        self.dial(peer, alpn, transport::config()).await
    }

    /// The same for one question or a few: fewer bytes are moved beside them.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect_briefly(
        &self,
        peer: &PeerAddr,
        alpn: &[u8],
    ) -> Result<Connection, ConnectError> {
        self.dial(peer, alpn, transport::brief()).await
    }

    async fn dial(
        &self,
        peer: &PeerAddr,
        alpn: &[u8],
        transport: QuicTransportConfig,
    ) -> Result<Connection, ConnectError> {
        let bad = |why| ConnectError::BadKey { peer: peer.clone(), why };
        let id = iroh::PublicKey::from_bytes(&peer.key.0)
            .map_err(|_| bad("its key is no Ed25519 key"))?;
        if peer.key == self.inner.key {
            return Err(bad("it is this endpoint itself"));
        }
        let mut address = EndpointAddr::new(id);
        if self.inner.direct {
            for direct in peer.addresses.iter().take(limits::ADDRESSES_MAX) {
                address = address.with_ip_addr(*direct);
            }
        }
        if let Some(url) = &peer.relay {
            address = address.with_relay_url(relay_url(url)?);
        }
        if address.is_empty() {
            return Err(ConnectError::NoAddress { peer: peer.clone() });
        }
        let ways = address.addrs.len();
        let dial = async {
            let mut attempt = 1;
            loop {
                let options = ConnectOptions::new().with_transport_config(transport.clone());
                let error = match self.try_once(address.clone(), alpn, options).await {
                    Ok(connection) => {
                        let connection = Connection::new(connection, None);
                        // Of a rank that is called, one stream is read, and short words on it.
                        if alpn != PEERS_ALPN {
                            connection.widen();
                        }
                        return Ok(connection);
                    }
                    Err(error) => errors::connect_error(peer, alpn, error),
                };
                // The first to answer decides an attempt; behind an address that is out of date it
                // may be somebody else.
                let again = matches!(error, ConnectError::WrongKey { .. }) && ways > 1;
                if !again || attempt == limits::ATTEMPTS_MAX {
                    return Err(error);
                }
                attempt += 1;
            }
        };
        let late = || Err(ConnectError::Unreachable { peer: peer.clone() });
        timeout(limits::CONNECT_TIMEOUT, dial).await.unwrap_or_else(|_| late())
    }

    async fn try_once(
        &self,
        address: EndpointAddr,
        alpn: &[u8],
        options: ConnectOptions,
    ) -> Result<iroh::endpoint::Connection, iroh::endpoint::ConnectError> {
        Ok(self.inner.iroh.connect_with_opts(address, alpn, options).await?.await?)
    }

    /// Dials peers of which any will do: the first at once, the next when one has failed or none
    /// has answered for [`limits::NEXT_PEER_AFTER`]. Gives the place of the one that has.
    ///
    /// # Errors
    /// The first peer's [`ConnectError`], if none answers.
    pub async fn connect_any(
        &self,
        peers: &[PeerAddr],
        alpn: &[u8],
    ) -> Result<(usize, Connection), ConnectError> {
        let mut waiting = peers.iter().enumerate();
        let mut dialled = FuturesUnordered::new();
        let mut first_error = None;
        loop {
            if let Some((place, peer)) = waiting.next() {
                dialled.push(async move { (place, self.connect(peer, alpn).await) });
            }
            let more = waiting.len() > 0;
            let next = tokio::select! {
                next = dialled.next() => next,
                () = tokio::time::sleep(limits::NEXT_PEER_AFTER), if more => continue,
            };
            match next {
                Some((place, Ok(connection))) => return Ok((place, connection)),
                Some((place, Err(error))) => {
                    if place == 0 || first_error.is_none() {
                        first_error = Some(error);
                    }
                }
                None => return Err(first_error.unwrap_or(ConnectError::Nobody)),
            }
        }
    }

    /// The next peer that calls and has proven its key; `None` when the endpoint is closed. Loses
    /// nothing when cancelled; several tasks may wait at once.
    pub async fn accept(&self) -> Option<Incoming> {
        self.inner.incoming.lock().await.recv().await
    }

    /// Adds a relay, or replaces the token of a known one. Peers can call through it as soon as it
    /// is [`Self::online`].
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn add_relay(&self, relay: &RelayAddr) -> Result<(), RelayError> {
        let relay = relay_config(relay)?;
        if !self.inner.relays.contains(&relay.url) && self.inner.relays.len() >= limits::RELAYS_MAX
        {
            return Err(RelayError::TooMany);
        }
        self.inner.iroh.insert_relay(relay.url.clone(), Arc::new(relay)).await;
        Ok(())
    }

    /// Forgets a relay; nothing happens if it is not known.
    pub async fn remove_relay(&self, url: &str) {
        if let Ok(url) = relay_url(url) {
            self.inner.iroh.remove_relay(&url).await;
        }
    }

    /// Waits until peers can call through a relay, and gives its address.
    ///
    /// # Errors
    /// [`OnlineError`], after [`limits::ONLINE_TIMEOUT`] or as soon as the relay refuses.
    pub async fn online(&self) -> Result<String, OnlineError> {
        if self.inner.relays.is_empty() {
            return Err(OnlineError::NoRelay);
        }
        let mut watch = self.inner.iroh.home_relay_status();
        let mut last = "it has not been tried yet".to_owned();
        let settled = async {
            loop {
                for relay in watch.get() {
                    let url = relay.url().to_string();
                    if relay.is_connected() {
                        return Ok(url);
                    }
                    if let Some(reason) = relay.auth_denied_reason() {
                        return Err(OnlineError::Refused { url, reason: printable(reason) });
                    }
                    if let Some(error) = relay.last_error() {
                        last = printable(&format!("{error:#}"));
                    }
                }
                if watch.updated().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        let outcome = timeout(limits::ONLINE_TIMEOUT, settled).await;
        outcome.unwrap_or_else(|_| {
            let urls: Vec<String> =
                self.inner.relays.urls::<Vec<_>>().iter().map(ToString::to_string).collect();
            Err(OnlineError::Unreachable { tried: urls.join(", "), last })
        })
    }

    /// The relay through which peers can call now, if there is one.
    #[must_use]
    pub fn relay(&self) -> Option<String> {
        let relays = self.inner.iroh.home_relay_status().get();
        relays.iter().find(|relay| relay.is_connected()).map(|relay| relay.url().to_string())
    }

    /// Closes all connections and tells the peers; takes at most [`limits::CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        if timeout(limits::CLOSE_TIMEOUT, self.inner.iroh.close()).await.is_err() {
            tracing::warn!("connections did not end in time; they are given up");
        }
    }
}

fn relay_url(url: &str) -> Result<RelayUrl, RelayError> {
    url.parse().map_err(|error| RelayError::Url { url: printable(url), source: Cause::from(error) })
}

fn relay_config(relay: &RelayAddr) -> Result<RelayConfig, RelayError> {
    // Without QUIC address discovery, which our relays do not offer: looking for it takes 3 s.
    let config = RelayConfig::new(relay_url(&relay.url)?, None);
    Ok(match &relay.token {
        Some(token) => config.with_auth_token(token),
        None => config,
    })
}

/// See [`Endpoint::addresses`].
pub(crate) fn worth_giving(bound: &[SocketAddr], known: &[SocketAddr]) -> Vec<SocketAddr> {
    let (all, own): (Vec<SocketAddr>, Vec<SocketAddr>) =
        bound.iter().copied().partition(|socket| socket.ip().is_unspecified());
    let mut candidates = own;
    if !all.is_empty() {
        // An IPv6 address that is valid on its own link only needs a zone that others cannot know.
        let local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        candidates.extend(known.iter().filter(|address| !local(address.ip())));
        for socket in &all {
            let loopback: IpAddr = match socket {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            candidates.push(SocketAddr::new(loopback, socket.port()));
        }
    }
    let mut seen = BTreeSet::new();
    candidates.retain(|address| seen.insert(*address));
    candidates.sort_by_key(|address| address.ip().is_loopback());
    candidates.truncate(limits::ADDRESSES_MAX);
    candidates
}
