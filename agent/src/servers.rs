//! The servers of the complex, as this host knows them: which one to call, which one next.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use isos_base::codec;
use isos_base::limits::SERVERS_MAX;
use isos_base::ticket::ServerAddr;
use isos_disk::Home;
use isos_net::{ConnectError, Connection, Endpoint, PeerAddr, RelayAddr};

/// Where the servers are remembered, so that a host finds the complex though all servers of its
/// ticket have been replaced meanwhile.
const SERVERS_FILE: &str = "servers";

/// The servers in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Servers {
    /// Those of the ticket are never forgotten: one that is away for long may lead one day.
    ticket: Vec<ServerAddr>,
    known: Mutex<Vec<ServerAddr>>,
}

impl Servers {
    /// Those that were remembered last, and behind them those of the ticket.
    pub(crate) fn remembered(home: &Home, ticket: &[ServerAddr]) -> Self {
        let known = home.read(SERVERS_FILE).ok().flatten();
        // What cannot be read is of another version: the ticket's servers are known still.
        let known = known.and_then(|bytes| codec::decode::<Vec<ServerAddr>>(&bytes).ok());
        let ticket = ticket.to_vec();
        let known = Mutex::new(with(&ticket, known.unwrap_or_default()));
        Self { ticket, known }
    }

    /// A new ticket says where the complex is: nothing that was known before counts.
    pub(crate) fn forget(home: &Home) {
        if let Err(error) = home.write(SERVERS_FILE, &codec::encode(&Vec::<ServerAddr>::new())) {
            tracing::warn!("the servers of an earlier ticket are still remembered: {error}");
        }
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<ServerAddr> {
        self.lock().clone()
    }

    /// The relays of all.
    pub(crate) fn relays(&self) -> BTreeSet<String> {
        self.lock().iter().filter_map(|server| server.relay.clone()).collect()
    }

    /// A connection to the first that answers, which then is the first of all.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        alpn: &[u8],
    ) -> Result<(PeerAddr, Connection), ConnectError> {
        let mut peers: Vec<_> = self.lock().iter().map(PeerAddr::from).collect();
        let (place, connection) = endpoint.connect_any(&peers, alpn).await?;
        let peer = peers.swap_remove(place);
        let mut servers = self.lock();
        if let Some(place) = servers.iter().position(|server| server.key == peer.key) {
            servers.rotate_left(place);
        }
        Ok((peer, connection))
    }

    /// The complex names its servers; whether that is news.
    pub(crate) fn told(&self, home: &Home, told: Vec<ServerAddr>) -> bool {
        if told.is_empty() {
            return false;
        }
        let told = with(&self.ticket, told);
        let mut servers = self.lock();
        if *servers == told {
            return false;
        }
        *servers = told;
        if let Err(error) = home.write(SERVERS_FILE, &codec::encode(&*servers)) {
            tracing::warn!("the servers are not remembered for the next start: {error}");
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ServerAddr>> {
        // Each change is one assignment: what it guards is whole at any moment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// These servers, and behind them those of the ticket that are not among them.
fn with(ticket: &[ServerAddr], mut servers: Vec<ServerAddr>) -> Vec<ServerAddr> {
    servers.truncate(SERVERS_MAX.saturating_sub(ticket.len()).max(1));
    for server in ticket {
        if servers.len() < SERVERS_MAX && servers.iter().all(|known| known.key != server.key) {
            servers.push(server.clone());
        }
    }
    servers
}

/// Makes a relay known; one that cannot be used is none.
pub(crate) async fn add_relay(endpoint: &Endpoint, url: &str) {
    let relay = RelayAddr { url: url.to_owned(), token: None };
    if let Err(error) = endpoint.add_relay(&relay).await {
        tracing::warn!("a server's relay is left out: {error}");
    }
}

#[cfg(test)]
mod tests {
    use isos_base::key::PublicKey;

    use super::*;

    fn server(n: u8) -> ServerAddr {
        ServerAddr { key: PublicKey([n; 32]), addresses: Vec::new(), relay: None }
    }

    fn keys(servers: &Servers) -> Vec<u8> {
        servers.lock().iter().map(|server| server.key.0[0]).collect()
    }

    #[test]
    fn what_was_told_last_is_tried_first_after_a_restart_too() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let ticket = [server(1), server(2)];
        let servers = Servers::remembered(&home, &ticket);
        assert_eq!(keys(&servers), [1, 2]);
        servers.told(&home, vec![server(3), server(2)]);
        servers.told(&home, Vec::new());
        assert_eq!(keys(&servers), [3, 2, 1], "an empty list says nothing");
        assert_eq!(keys(&Servers::remembered(&home, &ticket)), [3, 2, 1]);
        servers.told(&home, (10..100).map(server).collect());
        assert_eq!(keys(&servers).len(), SERVERS_MAX);
        assert_eq!(keys(&servers)[SERVERS_MAX - 2..], [1, 2], "the ticket's are kept");
        Servers::forget(&home);
        assert_eq!(keys(&Servers::remembered(&home, &ticket)), [1, 2]);
    }
}
