//! A relay of our own, inside this process: it carries sealed packets between hosts that cannot
//! reach each other directly.
//!
//! It sees who talks to whom and how much, never what. It speaks plain HTTP: keys prove themselves
//! in its handshake, but a token in front of it can be read on the way, so admission should rest on
//! the key and use tokens only where that is enough, or a TLS proxy should stand in front.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iroh_relay::server::{
    Access, AccessControl, ClientRateLimit, ClientRequest, ConnectionId, RelayConfig, Server,
    ServerConfig,
};
use isos_base::key::PublicKey;
use thiserror::Error;

use crate::{Cause, limits};

/// Why there is no relay.
#[derive(Debug, Error)]
#[error("cannot run a relay on TCP {address}: is another program using the port?")]
pub struct RelaySpawnError {
    /// The wanted address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: Cause,
}

/// A running relay; it stops when dropped.
#[derive(Debug)]
pub struct Relay {
    server: Server,
    address: SocketAddr,
}

impl Relay {
    /// Starts a relay on a TCP address. `admission` is asked for each client, with the key that the
    /// client has proven and the token that it showed; it must not block.
    ///
    /// # Errors
    /// [`RelaySpawnError`].
    pub async fn spawn(
        bind: SocketAddr,
        admission: impl Fn(PublicKey, Option<&str>) -> bool + Send + Sync + 'static,
    ) -> Result<Self, RelaySpawnError> {
        let mut relay = RelayConfig::new(bind);
        relay.access = Arc::new(Door { admission, clients: AtomicUsize::new(0) });
        let mut rate = ClientRateLimit::new(
            NonZeroU32::new(limits::RELAY_CLIENT_BYTES_PER_SECOND)
                .expect("the limit is a constant above 0"),
        );
        rate.max_burst_bytes = NonZeroU32::new(limits::RELAY_CLIENT_BURST_BYTES);
        relay.limits.client_rx = Some(rate);
        let mut config = ServerConfig::default();
        config.relay = Some(relay);
        let failed = |source: Cause| RelaySpawnError { address: bind, source };
        let server = Server::spawn(config).await.map_err(|error| failed(error.into()))?;
        let address = server.http_addr().ok_or_else(|| failed("it has no address".into()))?;
        Ok(Self { server, address })
    }

    /// The TCP address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL as seen from this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        self.url_at(ip)
    }

    /// Its URL as seen from machines that reach this one at `ip`.
    #[must_use]
    pub fn url_at(&self, ip: IpAddr) -> String {
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// Stops it and waits for the end; clients look for another relay.
    pub async fn close(self) {
        if let Err(error) = self.server.shutdown().await {
            tracing::debug!(%error, "the relay ended with an error");
        }
    }
}

/// Who may use the relay.
struct Door<F> {
    admission: F,
    clients: AtomicUsize,
}

impl<F> std::fmt::Debug for Door<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({} clients)", self.clients.load(Ordering::Relaxed))
    }
}

impl<F: Fn(PublicKey, Option<&str>) -> bool + Send + Sync + 'static> AccessControl for Door<F> {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let deny = |reason: &str| Access::Deny { reason: Some(reason.into()) };
        let key = PublicKey(*request.endpoint_id().as_bytes());
        if !(self.admission)(key, request.auth_token().as_deref()) {
            return deny("this relay serves the hosts and buyers of its complex only");
        }
        let place = self.clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |clients| {
            (clients < limits::RELAY_CLIENTS_MAX).then_some(clients + 1)
        });
        match place {
            Ok(_) => Access::Allow,
            Err(_) => deny("this relay is full; try again later"),
        }
    }

    fn on_disconnect(&self, _: iroh::EndpointId, _: ConnectionId) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
