//! A relay of our own, inside this process: it carries sealed packets between hosts that cannot
//! reach each other directly.
//!
//! It sees who talks to whom and how much, never what. It speaks plain HTTP: keys prove themselves
//! in its handshake, but a token in front of it can be read on the way, so admission should rest on
//! the key and use tokens only where that is enough, or a TLS proxy should stand in front.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh_relay::server::{
    Access, AccessControl, ClientRateLimit, ClientRequest, ConnectionId, RelayConfig, Server,
    ServerConfig,
};
use isos_base::key::PublicKey;
use thiserror::Error;
use tokio::time::Instant;

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

/// What a client of a relay is to those who run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// One of theirs.
    Known,
    /// Nobody knows its key, which may be because it has not joined yet: there is room for some.
    Stranger,
    /// It cannot be said at the moment: there is room for more of these.
    Untold,
    /// It may not use the relay.
    Unwanted,
}

impl Guest {
    /// How many clients there may be at once that are not known.
    const fn room(self) -> usize {
        match self {
            Self::Known => usize::MAX,
            Self::Stranger => limits::RELAY_STRANGERS_MAX,
            Self::Untold => limits::RELAY_UNTOLD_MAX,
            Self::Unwanted => 0,
        }
    }
}

/// A running relay; it stops when dropped.
#[derive(Debug)]
pub struct Relay {
    server: Server,
    address: SocketAddr,
}

impl Relay {
    /// Starts a relay on a TCP address. `admission` is asked for each client, with the key that the
    /// client has proven and the token that it showed.
    ///
    /// # Errors
    /// [`RelaySpawnError`].
    pub async fn spawn<A, F>(bind: SocketAddr, admission: A) -> Result<Self, RelaySpawnError>
    where
        A: Fn(PublicKey, Option<String>) -> F + Send + Sync + 'static,
        F: Future<Output = Guest> + Send + 'static,
    {
        let mut relay = RelayConfig::new(bind);
        relay.access = Arc::new(Door { admission, clients: Mutex::default() });
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
struct Door<A> {
    admission: A,
    clients: Mutex<Clients>,
}

/// Those who use it.
#[derive(Debug, Default)]
struct Clients {
    count: usize,
    /// Those of them that were not known when they came.
    strangers: HashMap<ConnectionId, PublicKey>,
    /// When it was last asked who of these is still a stranger.
    asked: Option<Instant>,
}

impl Clients {
    /// Lets a client in, if there is room for one like it.
    fn enter(&mut self, id: ConnectionId, key: PublicKey, guest: Guest) -> bool {
        let is_known = guest == Guest::Known;
        if self.count >= limits::RELAY_CLIENTS_MAX
            || !is_known && self.strangers.len() >= guest.room()
        {
            return false;
        }
        self.count += 1;
        if !is_known {
            self.strangers.insert(id, key);
        }
        true
    }

    fn leave(&mut self, id: ConnectionId) {
        self.count = self.count.saturating_sub(1);
        self.strangers.remove(&id);
    }

    /// The strangers, if it is time to ask for them again.
    fn whom_to_ask(&mut self) -> Vec<(ConnectionId, PublicKey)> {
        let now = Instant::now();
        if self.asked.is_some_and(|asked| now.duration_since(asked) < limits::RELAY_ASK_AGAIN) {
            return Vec::new();
        }
        self.asked = Some(now);
        self.strangers.iter().map(|(id, key)| (*id, *key)).collect()
    }
}

impl<A> std::fmt::Debug for Door<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({} clients)", self.clients().count)
    }
}

impl<A> Door<A> {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        // Nothing panics between two statements that belong together.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A, F> Door<A>
where
    A: Fn(PublicKey, Option<String>) -> F + Send + Sync + 'static,
    F: Future<Output = Guest> + Send + 'static,
{
    /// Whoever has become known since it came takes no stranger's place any more.
    async fn look_again(&self) {
        let strangers = self.clients().whom_to_ask();
        for (id, key) in strangers {
            if (self.admission)(key, None).await == Guest::Known {
                self.clients().strangers.remove(&id);
            }
        }
    }
}

impl<A, F> AccessControl for Door<A>
where
    A: Fn(PublicKey, Option<String>) -> F + Send + Sync + 'static,
    F: Future<Output = Guest> + Send + 'static,
{
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let deny = |reason: &str| Access::Deny { reason: Some(reason.into()) };
        let (id, key) = (request.connection_id(), PublicKey(*request.endpoint_id().as_bytes()));
        let guest = (self.admission)(key, request.auth_token()).await;
        if guest == Guest::Unwanted {
            return deny("this relay serves the hosts and buyers of its complex only");
        }
        if self.clients().enter(id, key, guest) {
            return Access::Allow;
        }
        self.look_again().await;
        if self.clients().enter(id, key, guest) {
            return Access::Allow;
        }
        match guest {
            Guest::Known => deny("this relay is full; try again later"),
            _ => deny("this relay has no room for strangers; try again later, or join directly"),
        }
    }

    fn on_disconnect(&self, _: iroh::EndpointId, id: ConnectionId) {
        self.clients().leave(id);
    }
}
