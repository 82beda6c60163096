//! A connection to one authenticated peer, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{ConnectionError, VarInt};
use isos_base::key::PublicKey;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;

use crate::stream::Stream;
use crate::{limits, printable};

/// Codes that this crate closes connections and streams with. Shells may use others from 16 on.
pub mod code {
    /// All is said.
    pub const DONE: u32 = 0;
    /// Too many connections; come back later.
    pub const BUSY: u32 = 1;
    /// The peer sent what is no message.
    pub const BAD_FRAME: u32 = 2;
    /// The peer is too slow.
    pub const STALLED: u32 = 3;
    /// The peer may not.
    pub const REFUSED: u32 = 4;
    /// Something failed on this side.
    pub const FAILED: u32 = 5;
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Closed {
    /// This side closed it.
    #[error("closed by this side")]
    Here,
    /// The peer closed it, and said why.
    #[error("closed by the peer: {reason:?} (code {code})")]
    ByPeer {
        /// The peer's code, see [`code`].
        code: u64,
        /// The peer's words: one line, and never to be trusted.
        reason: String,
    },
    /// Nothing arrived for [`crate::limits::IDLE_TIMEOUT`]: the peer or the way to it is dead.
    #[error("the peer has not answered for {:?}", crate::limits::IDLE_TIMEOUT)]
    TimedOut,
    /// The transport gave it up.
    #[error("connection lost: {0}")]
    Lost(String),
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::LocallyClosed => Self::Here,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::ApplicationClosed(close) => Self::ByPeer {
                code: close.error_code.into_inner(),
                reason: printable(&String::from_utf8_lossy(&close.reason)),
            },
            other => Self::Lost(printable(&other.to_string())),
        }
    }
}

/// No stream could be opened: the connection has ended.
#[derive(Debug, Error)]
#[error("cannot open a stream to {peer}")]
pub struct OpenError {
    /// The peer.
    pub peer: PublicKey,
    /// How the connection ended.
    #[source]
    pub closed: Closed,
}

/// A connection to one peer, whose key is proven. Clones are handles of the same connection; it
/// closes when the last handle and the last stream are dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: iroh::endpoint::Connection,
    /// An incoming connection's place among those that may be held.
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Connection {
    pub(crate) fn new(
        inner: iroh::endpoint::Connection,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { inner, _place: place.map(Arc::new) }
    }

    /// Allows the peer as much as the limits have for one that is not a calling host.
    pub(crate) fn widen(&self) {
        self.inner.set_max_concurrent_bi_streams(VarInt::from_u32(limits::STREAMS_MAX));
        self.inner.set_receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW_BYTES));
    }

    /// The peer's key.
    #[must_use]
    pub fn remote(&self) -> PublicKey {
        PublicKey(*self.inner.remote_id().as_bytes())
    }

    /// The protocol that both agreed on.
    #[must_use]
    pub fn alpn(&self) -> &[u8] {
        self.inner.alpn()
    }

    /// Where the peer's packets come from, for address blocks; `None` while they come through a
    /// relay. It may change while the connection lives.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.inner.paths().iter().find(|path| path.is_selected()).and_then(|path| {
            match path.remote_addr() {
                TransportAddr::Ip(address) => Some(*address),
                _ => None,
            }
        })
    }

    /// Whether traffic goes through a relay now. It may change while the connection lives.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.inner.paths().iter().any(|path| path.is_selected() && path.is_relay())
    }

    /// The round trip of the way that is taken now; `None` while there is none.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.inner.paths().iter().find(|path| path.is_selected()).map(|path| path.rtt())
    }

    /// Opens a stream; waits while the peer allows no more of them. The peer sees it when the
    /// first bytes are sent.
    ///
    /// # Errors
    /// [`OpenError`] when the connection has ended.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        match self.inner.open_bi().await {
            Ok((sender, receiver)) => Ok(Stream::new(sender, receiver)),
            Err(error) => Err(OpenError { peer: self.remote(), closed: error.into() }),
        }
    }

    /// The next stream that the peer opens; `None` when the connection has ended ([`Self::closed`]
    /// then tells how). Loses nothing when cancelled.
    pub async fn accept(&self) -> Option<Stream> {
        let (sender, receiver) = self.inner.accept_bi().await.ok()?;
        Some(Stream::new(sender, receiver))
    }

    /// Ends the connection at once. Bytes that the peer has not received yet may be lost: see
    /// [`crate::FrameSender::delivered`]. `reason` is for people, at most one line.
    pub fn close(&self, code: u32, reason: &str) {
        self.inner.close(VarInt::from_u32(code), printable(reason).as_bytes());
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> Closed {
        self.inner.closed().await.into()
    }

    /// How the connection ended, if it has.
    #[must_use]
    pub fn is_closed(&self) -> Option<Closed> {
        self.inner.close_reason().map(Closed::from)
    }
}
