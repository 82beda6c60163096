//! `isos/peers/1`: what one rank of a slice says to another, on a stream of its own.
//!
//! Whoever has something to say calls, opens one stream and greets; whoever is called answers how
//! far it has heard, or closes. Then messages go one way, and how far the other is comes back.
//! Nothing is believed here but the shape: whose rank a key is, what follows on what and how much
//! may be on its way is decided above (`isos-peers`).

use std::marker::PhantomData;

use isos_base::peers::{Greeting, Hearing, PEERS_ALPN, PEERS_FRAME_BYTES_MAX, Said};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::timeout;

use crate::connection::{Connection, OpenError};
use crate::endpoint::{ConnectError, Endpoint, PeerAddr};
use crate::limits;
use crate::stream::{FrameReceiver, FrameSender, RecvError, SendError, Stream};

/// Why no peer was reached, or nobody has called.
#[derive(Debug, Error)]
pub enum PeerError {
    /// It was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended before a stream was there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The first words could not be sent.
    #[error("cannot greet a peer")]
    Send(#[from] SendError),
    /// The first words did not come, or were none.
    #[error("a peer has not greeted")]
    Receive(#[from] RecvError),
    /// The peer has said nothing within [`limits::PEERS_GREETING_TIMEOUT`], or has ended the
    /// stream.
    #[error("the peer does not answer")]
    Silent,
}

/// One direction of a pair: messages of one side, and how far the other is.
#[derive(Debug)]
pub struct PeerLine<Out, In> {
    /// What goes out.
    pub sender: PeerSender<Out>,
    /// What comes in.
    pub receiver: PeerReceiver<In>,
    /// Dropping all of its handles ends it.
    pub connection: Connection,
}

/// A peer that was called: it hears.
pub type PeerCall = PeerLine<Said, Hearing>;
/// A peer that has called: it says something.
pub type PeerCaller = PeerLine<Hearing, Said>;

/// Frames of one kind, out.
#[derive(Debug)]
pub struct PeerSender<M>(FrameSender, PhantomData<fn(M)>);

/// Frames of one kind, in.
#[derive(Debug)]
pub struct PeerReceiver<M>(FrameReceiver, PhantomData<fn() -> M>);

impl<M: Serialize + Sync> PeerSender<M> {
    /// Sends one. When it is cancelled, the frame is or will be sent.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&mut self, frame: &M) -> Result<(), SendError> {
        self.0.send(frame).await
    }
}

impl<M: DeserializeOwned> PeerReceiver<M> {
    /// The next one; `None` at the end. Loses nothing when it is cancelled.
    ///
    /// # Errors
    /// [`RecvError`]; the line is of no use afterwards.
    pub async fn recv(&mut self) -> Result<Option<M>, RecvError> {
        self.0.recv().await
    }
}

fn line<Out, In>(connection: Connection, stream: Stream) -> PeerLine<Out, In> {
    let sender = PeerSender(stream.sender, PhantomData);
    let receiver = PeerReceiver(stream.receiver, PhantomData);
    PeerLine { sender, receiver, connection }
}

/// Calls a peer; how far it has heard.
///
/// # Errors
/// [`PeerError`]; nothing is left open then.
pub async fn call_peer(
    endpoint: &Endpoint,
    peer: &PeerAddr,
    greeting: Greeting,
) -> Result<(PeerCall, Hearing), PeerError> {
    let connection = endpoint.connect(peer, PEERS_ALPN).await?;
    let greet = async {
        let mut stream = connection.open().await?;
        stream.limit(PEERS_FRAME_BYTES_MAX);
        stream.sender.send(&greeting).await?;
        let hearing = stream.receiver.recv::<Hearing>().await?.ok_or(PeerError::Silent)?;
        Ok::<_, PeerError>((stream, hearing))
    };
    let greeted = timeout(limits::PEERS_GREETING_TIMEOUT, greet).await;
    let (stream, hearing) = greeted.map_err(|_| PeerError::Silent)??;
    Ok((line(connection, stream), hearing))
}

/// Hears the first words of a peer that calls; whoever lets it in answers how far it has heard.
///
/// # Errors
/// [`PeerError`]; the connection is to be closed then.
pub async fn hear_peer(connection: Connection) -> Result<(PeerCaller, Greeting), PeerError> {
    let greet = async {
        let mut stream = connection.accept().await.ok_or(PeerError::Silent)?;
        stream.limit(PEERS_FRAME_BYTES_MAX);
        let greeting = stream.receiver.recv::<Greeting>().await?.ok_or(PeerError::Silent)?;
        Ok::<_, PeerError>((stream, greeting))
    };
    let greeted = timeout(limits::PEERS_GREETING_TIMEOUT, greet).await;
    let (stream, greeting) = greeted.map_err(|_| PeerError::Silent)??;
    Ok((line(connection, stream), greeting))
}
