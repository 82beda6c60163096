//! What can go wrong with an endpoint, in words that say what to do.

use iroh::endpoint::{
    ConnectError as IrohConnectError, ConnectWithOptsError, ConnectingError, ConnectionError,
    TransportErrorCode,
};
use thiserror::Error;

use super::PeerAddr;
use crate::connection::Closed;
use crate::{Cause, limits, printable};

/// Why there is no endpoint.
#[derive(Debug, Error)]
pub enum BindError {
    /// The socket could not be had.
    #[error("cannot listen on UDP {address}: is another program using the port?")]
    Socket {
        /// The wanted address.
        address: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The relay's address is not one.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// Why a relay was not added.
#[derive(Debug, Error)]
pub enum RelayError {
    /// Not an address of a relay.
    #[error("{url:?} is not a relay's address, such as http://203.0.113.7:7072")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// Too many relays.
    #[error("{} relays are known already; remove one first", limits::RELAYS_MAX)]
    TooMany,
}

/// Why the relay cannot be used.
#[derive(Debug, Error)]
pub enum OnlineError {
    /// None is known.
    #[error("no relay is known: add one first")]
    NoRelay,
    /// The relay turned us away.
    #[error("relay {url} refuses this key: {reason}; check the ticket")]
    Refused {
        /// The relay.
        url: String,
        /// Its words.
        reason: String,
    },
    /// The relay does not answer.
    #[error("no relay answered within {:?} (tried {tried}): {last}", limits::ONLINE_TIMEOUT)]
    Unreachable {
        /// The relays.
        tried: String,
        /// The last failure, if one was seen.
        last: String,
    },
}

/// Why a peer could not be dialled.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is no way to try.
    #[error("no way to reach {peer}: no address that this machine may use, and no relay")]
    NoAddress {
        /// What was given.
        peer: PeerAddr,
    },
    /// The key is no key, or this endpoint's own.
    #[error("{peer} cannot be dialled: {why}")]
    BadKey {
        /// What was given.
        peer: PeerAddr,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The relay's address is not one.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Nobody answered in time.
    #[error(
        "{peer} does not answer: is it running, and does a firewall let UDP through? \
         A relay helps where it does not"
    )]
    Unreachable {
        /// What was tried.
        peer: PeerAddr,
    },
    /// Somebody answered who does not hold the key.
    #[error("who answers for {peer} does not hold that key: the ticket or address is out of date")]
    WrongKey {
        /// What was tried.
        peer: PeerAddr,
        /// What the handshake said.
        #[source]
        source: Cause,
    },
    /// The peer does not speak the protocol.
    #[error("{peer} does not speak {alpn}: one of the two programs is too old")]
    Protocol {
        /// What was tried.
        peer: PeerAddr,
        /// The wanted protocol.
        alpn: String,
    },
    /// The peer takes no more callers now.
    #[error("{peer} takes no callers now; try again later")]
    Refused {
        /// What was tried.
        peer: PeerAddr,
    },
    /// This endpoint is closed.
    #[error("this endpoint is closed")]
    Closed,
    /// There is nobody to dial.
    #[error("no server is named: the ticket is damaged or of another program")]
    Nobody,
    /// Something else.
    #[error("cannot connect to {peer}")]
    Failed {
        /// What was tried.
        peer: PeerAddr,
        /// What the transport said.
        #[source]
        source: Cause,
    },
}

/// What the transport's error means to the caller.
pub(super) fn connect_error(peer: &PeerAddr, alpn: &[u8], error: IrohConnectError) -> ConnectError {
    /// TLS alert 120, as QUIC carries it.
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    let peer = peer.clone();
    let ended = match &error {
        IrohConnectError::Connect {
            source: ConnectWithOptsError::EndpointClosed { .. }, ..
        } => {
            return ConnectError::Closed;
        }
        IrohConnectError::Connecting {
            source: ConnectingError::ConnectionError { source, .. },
            ..
        }
        | IrohConnectError::Connection { source, .. } => source,
        _ => return ConnectError::Failed { peer, source: error.into() },
    };
    match ended {
        ConnectionError::TimedOut => ConnectError::Unreachable { peer },
        ConnectionError::LocallyClosed => ConnectError::Closed,
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            ConnectError::Refused { peer }
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
        {
            let alpn = printable(&String::from_utf8_lossy(alpn));
            ConnectError::Protocol { peer, alpn }
        }
        // Our own side gave the handshake up: the certificate is not of the wanted key.
        ConnectionError::TransportError(failed)
            if (0x100..0x200).contains(&u64::from(failed.code)) =>
        {
            ConnectError::WrongKey { peer, source: error.into() }
        }
        other => {
            let source = Closed::from(other.clone());
            ConnectError::Failed { peer, source: source.into() }
        }
    }
}
