//! What carries HTTP/1.1: a loopback socket, or a stream to the complex's key.

use std::net::{Ipv4Addr, SocketAddr};

use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use isos_base::key::SecretKey;
use isos_base::ticket::Ticket;
use isos_base::wire::API_ALPN;
use isos_net::{Connection, Endpoint, EndpointConfig, PeerAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::body::RequestBody;
use crate::error::Cause;
use crate::limits::CONNECT_TIMEOUT;

/// One HTTP/1.1 connection, ready for requests one after another.
pub(crate) type Lane = SendRequest<RequestBody>;

/// Opens connections.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(SocketAddr),
    Quic(Box<QuicLink>),
}

/// The way to a complex by the keys of its servers: the endpoint and the connection are made when
/// first needed, and the connection again, to whichever server answers, when it has ended.
#[derive(Debug)]
pub(crate) struct QuicLink {
    /// The key to call with; a fresh one, if there is none.
    key: Option<SecretKey>,
    state: Mutex<LinkState>,
}

#[derive(Debug, Default)]
struct LinkState {
    /// The complex's servers: the one that answered last comes first.
    peers: Vec<PeerAddr>,
    endpoint: Option<Endpoint>,
    connection: Option<Connection>,
}

impl Transport {
    /// The way that a ticket shows.
    pub(crate) fn of_ticket(ticket: &Ticket, key: Option<SecretKey>) -> Self {
        let peers = ticket.servers.iter().map(PeerAddr::from).collect();
        let state = LinkState { peers, ..LinkState::default() };
        Self::Quic(Box::new(QuicLink { key, state: Mutex::new(state) }))
    }

    /// A new connection.
    pub(crate) async fn open(&self) -> Result<Lane, Cause> {
        match self {
            Self::Tcp(address) => {
                let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
                    .await
                    .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
                stream.set_nodelay(true)?;
                lane(stream).await
            }
            Self::Quic(link) => link.open().await,
        }
    }

    /// Says goodbye, as far as there is somebody to say it to.
    pub(crate) async fn close(&self) {
        if let Self::Quic(link) = self {
            let mut state = link.state.lock().await;
            drop(state.connection.take());
            if let Some(endpoint) = state.endpoint.take() {
                endpoint.close().await;
            }
        }
    }
}

impl QuicLink {
    async fn open(&self) -> Result<Lane, Cause> {
        let connection = self.connection().await?;
        let stream = connection.open().await?.into_raw().await?;
        lane(stream).await
    }

    async fn connection(&self) -> Result<Connection, Cause> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection
            && connection.is_closed().is_none()
        {
            return Ok(connection.clone());
        }
        let endpoint = match &state.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let endpoint = bind(&state.peers, self.key.clone()).await?;
                state.endpoint.insert(endpoint).clone()
            }
        };
        let (answered, connection) = endpoint.connect_any(&state.peers, API_ALPN).await?;
        state.peers.rotate_left(answered);
        Ok(state.connection.insert(connection).clone())
    }
}

/// Without a key the client is nobody in particular: what it may do is in its token.
async fn bind(peers: &[PeerAddr], key: Option<SecretKey>) -> Result<Endpoint, Cause> {
    let key = match key {
        Some(key) => key,
        None => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
            SecretKey::from_bytes(&seed)
        }
    };
    let mut config = EndpointConfig::new(key);
    let here = |address: &SocketAddr| address.is_ipv4() && address.ip().is_loopback();
    if peers.iter().all(|peer| peer.relay.is_none() && peer.addresses.iter().all(here)) {
        config.bind = Some((Ipv4Addr::LOCALHOST, 0).into());
    }
    Ok(Endpoint::bind(config).await?)
}

async fn lane<S>(stream: S) -> Result<Lane, Cause>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (lane, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends when the lane is dropped, or the peer closes; requests in flight learn of it themselves.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the complex ended");
        }
    });
    Ok(lane)
}
