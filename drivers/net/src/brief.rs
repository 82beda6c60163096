//! Short questions to many peers: one question and one answer on a stream of their own.
//!
//! Whoever asks keeps a few connections and dials for the others; a connection costs a ping every
//! few seconds, a dial some kilobytes, and among many peers hardly one is asked twice. What is
//! asked is the shell's business.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isos_base::key::PublicKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::connection::{Closed, Connection, OpenError, code};
use crate::endpoint::{ConnectError, Endpoint, PeerAddr};
use crate::limits;
use crate::stream::{RecvError, SendError, Stream};

/// Asks peers, over connections that it keeps for a while.
#[derive(Debug)]
pub struct BriefAsker {
    endpoint: Endpoint,
    alpn: &'static [u8],
    /// Whether peers can be reached without a relay from here: the last who was dialled has
    /// answered so.
    straight: AtomicBool,
    /// Those who have not answered when they were dialled so, the last ones.
    not_straight: Mutex<VecDeque<PublicKey>>,
    /// The one that was used last is the last.
    kept: Mutex<VecDeque<(Connection, Instant)>>,
}

/// What was answered, and how.
#[derive(Debug)]
pub struct BriefAnswer<A> {
    /// The answer.
    pub answer: A,
    /// The round trip of the way that it took.
    pub round_trip: Option<Duration>,
    /// Whether the peer had to be dialled first.
    pub dialled: bool,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum BriefError {
    /// The peer was not reached: it has not heard the question.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended before a stream was there.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The question may have arrived.
    #[error("the question may be lost")]
    Send(#[from] SendError),
    /// The question has arrived.
    #[error("the answer is lost")]
    Receive(#[from] RecvError),
    /// The peer has not answered within [`limits::BRIEF_TIMEOUT`], or has ended the stream.
    #[error("the peer has not answered")]
    Silent,
}

impl BriefError {
    /// Whether the peer may have heard the question.
    #[must_use]
    pub const fn may_be_heard(&self) -> bool {
        !matches!(self, Self::Connect(_) | Self::Open(_))
    }
}

impl BriefAsker {
    /// Asks in this protocol.
    #[must_use]
    pub fn new(endpoint: Endpoint, alpn: &'static [u8]) -> Self {
        let (straight, not_straight) = (AtomicBool::new(false), Mutex::default());
        Self { endpoint, alpn, straight, not_straight, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Connection, Instant)>> {
        // Each change is whole before its guard is given back.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.lock().len()
    }

    /// Closes all connections that are kept.
    pub fn close(&self) {
        for (connection, _) in self.lock().drain(..) {
            connection.close(code::DONE, "bye");
        }
    }

    /// Asks a peer.
    ///
    /// # Errors
    /// [`BriefError`]; the connection is not kept then.
    pub async fn ask<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        peer: &PeerAddr,
        question: &Q,
    ) -> Result<BriefAnswer<A>, BriefError> {
        let known = self.take(peer.key);
        let dialled = known.is_none();
        let connection = match known {
            Some(connection) => connection,
            None => self.dial(peer).await?,
        };
        let asked = timeout(limits::BRIEF_TIMEOUT, ask_on(&connection, question)).await;
        let answer = asked.map_err(|_| BriefError::Silent).flatten();
        match answer {
            Ok(answer) => {
                let is_direct = connection.remote_address().is_some();
                self.straight.fetch_or(is_direct, Ordering::Relaxed);
                let round_trip = connection.round_trip();
                self.keep(connection);
                Ok(BriefAnswer { answer, round_trip, dialled })
            }
            Err(error) => {
                connection.close(code::FAILED, "no answer");
                Err(error)
            }
        }
    }

    /// Dials a peer. Where the last one was reached straight, this one is tried so too: through a
    /// relay, each handshake costs as much once more. If that fails, or nobody waits for its end,
    /// it and the next one are dialled both ways again.
    async fn dial(&self, peer: &PeerAddr) -> Result<Connection, ConnectError> {
        let is_straight = self.straight.swap(false, Ordering::Relaxed);
        if !is_straight || peer.addresses.is_empty() || self.not_straight().contains(&peer.key) {
            return self.endpoint.connect_briefly(peer, self.alpn).await;
        }
        // Until it has answered: who gives up before that tells nothing.
        {
            let mut failed = self.not_straight();
            while failed.len() >= limits::BRIEF_FAILED_MAX {
                failed.pop_front();
            }
            failed.push_back(peer.key);
        }
        let direct = PeerAddr { relay: None, ..peer.clone() };
        let connection = self.endpoint.connect_briefly(&direct, self.alpn).await?;
        self.not_straight().retain(|key| *key != peer.key);
        Ok(connection)
    }

    fn not_straight(&self) -> MutexGuard<'_, VecDeque<PublicKey>> {
        // Keys come and go one by one.
        self.not_straight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, key: PublicKey) -> Option<Connection> {
        let mut kept = self.lock();
        kept.retain(|(connection, used)| {
            let is_good = connection.is_closed().is_none() && used.elapsed() < limits::BRIEF_KEPT;
            if !is_good {
                connection.close(code::DONE, "not needed any more");
            }
            is_good
        });
        let at = kept.iter().position(|(connection, _)| connection.remote() == key)?;
        kept.remove(at).map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.lock();
        while kept.len() >= limits::BRIEF_CONNECTIONS_MAX {
            if let Some((idlest, _)) = kept.pop_front() {
                idlest.close(code::DONE, "not needed any more");
            }
        }
        kept.push_back((connection, Instant::now()));
    }
}

async fn ask_on<Q: Serialize, A: DeserializeOwned>(
    connection: &Connection,
    question: &Q,
) -> Result<A, BriefError> {
    let mut stream = connection.open().await?;
    stream.limit(limits::BRIEF_BYTES_MAX);
    stream.sender.send(question).await?;
    stream.sender.finish().await?;
    stream.receiver.recv().await?.ok_or(BriefError::Silent)
}

/// Answers the questions of a peer, one after the other, until the connection ends or nothing is
/// asked for [`limits::BRIEF_IDLE`]. A question without an answer ends it.
pub async fn answer_briefly<Q, A, F>(
    connection: &Connection,
    mut answer: impl FnMut(Q) -> F + Send,
) -> Closed
where
    Q: DeserializeOwned + Send,
    A: Serialize + Send + Sync,
    F: Future<Output = Option<A>> + Send,
{
    while let Ok(Some(mut stream)) = timeout(limits::BRIEF_IDLE, connection.accept()).await {
        stream.limit(limits::BRIEF_BYTES_MAX);
        let one = timeout(limits::BRIEF_TIMEOUT, answer_one(&mut stream, &mut answer)).await;
        if !matches!(one, Ok(true)) {
            connection.close(code::BAD_FRAME, "no question that has an answer");
            return connection.closed().await;
        }
    }
    connection.close(code::DONE, "nothing was asked");
    connection.closed().await
}

async fn answer_one<Q, A, F>(stream: &mut Stream, answer: &mut (impl FnMut(Q) -> F + Send)) -> bool
where
    Q: DeserializeOwned + Send,
    A: Serialize + Send + Sync,
    F: Future<Output = Option<A>> + Send,
{
    let Ok(Some(question)) = stream.receiver.recv::<Q>().await else { return false };
    let Some(answer) = answer(question).await else { return false };
    stream.sender.send(&answer).await.is_ok() && stream.sender.finish().await.is_ok()
}
