//! The side that is asked: requests are read while earlier ones are still at the disk.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use isos_base::Guid;
use isos_base::fragment::wire::{
    FRAGMENT_FRAME_BYTES_MAX, FRAGMENTS_NAMED_MAX, Found, FragmentAnswer, FragmentRefusal,
    FragmentRequest,
};
use isos_base::fragment::{FRAGMENT_BYTES_MAX, GROUP_BYTES, HeadSet, Piece};
use isos_base::key::PublicKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::FragmentStore;
use super::errors::FragmentServeError;
use crate::connection::{Connection, code};
use crate::limits;
use crate::pace::Pace;
use crate::stream::{FrameReceiver, Stream};

/// Bytes that one permit stands for.
const PERMIT_BYTES: u32 = 1 << 10;

/// Memory for fragments on their way, shared by all peers of a host: clones are the same one.
#[derive(Debug, Clone)]
pub struct FragmentBudget(Arc<Semaphore>);

/// What one peer may have of it.
#[derive(Debug, Clone)]
struct Share {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

fn permits(bytes: u64) -> usize {
    // One of the largest fragments at the least, or it would be waited for in vain.
    let permits = bytes.max(FRAGMENT_BYTES_MAX.into()) / u64::from(PERMIT_BYTES);
    usize::try_from(permits).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

impl FragmentBudget {
    /// Room for so many bytes, and for one fragment at the least.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Semaphore::new(permits(bytes))))
    }

    fn share(&self) -> Share {
        let own = Arc::new(Semaphore::new(permits(limits::FRAGMENT_BYTES_OF_PEER)));
        Share { own, all: self.0.clone() }
    }
}

impl Share {
    /// Waits for its own first: who has enough does not stand in the way of others.
    async fn take(self, bytes: u32) -> Permit {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        // Never closed, so never refused.
        let own = self.own.acquire_many_owned(permits).await.ok();
        Permit { _own: own, _all: self.all.acquire_many_owned(permits).await.ok() }
    }
}

impl Default for FragmentBudget {
    fn default() -> Self {
        Self::new(limits::FRAGMENT_BYTES_AT_ONCE)
    }
}

/// What a stream was about, for logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FragmentsServed {
    /// Requests that were answered.
    pub requests: u64,
    /// Of them, those that were refused.
    pub refused: u64,
    /// Bytes of fragments that came.
    pub received: u64,
    /// Bytes of fragments that went.
    pub sent: u64,
}

/// Memory that is given back when it is dropped.
#[derive(Debug, Default)]
struct Permit {
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

/// What is read next.
enum Reading {
    Request,
    /// Waits for memory.
    Room(FragmentRequest, Pin<Box<dyn Future<Output = Permit> + Send>>),
    Body {
        request: FragmentRequest,
        bytes: Vec<u8>,
        came: usize,
        pace: Pace,
        permit: Permit,
    },
    Nothing,
}

/// What reading has come to.
enum Step {
    Request(FragmentRequest),
    Room(Permit),
    Body,
    End,
}

struct Reply {
    answer: FragmentAnswer,
    bytes: Vec<u8>,
    /// Given back when the answer is sent.
    _permit: Permit,
}

impl Reply {
    fn plain(answer: FragmentAnswer) -> Self {
        Self { answer, bytes: Vec::new(), _permit: Permit::default() }
    }

    fn found(piece: Piece, nonce: Option<u64>, permit: Permit) -> Self {
        let Piece { length, groups, first, bytes } = piece;
        let found = Found { length, first, bytes: bytes.len() as u32, groups };
        let answer = match nonce {
            None => FragmentAnswer::Found(found),
            Some(nonce) => FragmentAnswer::Proof { nonce, found },
        };
        Self { answer, bytes, _permit: permit }
    }
}

/// Does not lose anything when it is dropped before it is done: what came stays in `reading`.
async fn step(
    receiver: &mut FrameReceiver,
    reading: &mut Reading,
) -> Result<Step, FragmentServeError> {
    match reading {
        Reading::Request => match receiver.recv().await {
            Ok(Some(request)) => Ok(Step::Request(request)),
            Ok(None) => Ok(Step::End),
            Err(error) => Err(FragmentServeError::Request(error)),
        },
        Reading::Room(_, room) => Ok(Step::Room(room.await)),
        Reading::Body { request, bytes, came, pace, .. } => {
            while *came < bytes.len() {
                let count = receiver.recv_bytes(&mut bytes[*came..]).await;
                let count = count.map_err(FragmentServeError::Request)?;
                if count == 0 {
                    let fragment = named(request);
                    return Err(FragmentServeError::Short { fragment, came: *came });
                }
                *came += count;
                pace.moved(count);
            }
            Ok(Step::Body)
        }
        Reading::Nothing => std::future::pending().await,
    }
}

/// Bytes of memory that a request wants; nothing for those that are short.
fn wanted(request: &FragmentRequest) -> Option<u32> {
    match request {
        FragmentRequest::Put { length, .. } => Some(*length),
        FragmentRequest::Get { count, .. } => {
            Some(count.saturating_mul(GROUP_BYTES).min(FRAGMENT_BYTES_MAX))
        }
        FragmentRequest::Audit { .. } => Some(GROUP_BYTES),
        _ => None,
    }
}

/// The fragment that a request is about, for messages.
fn named(request: &FragmentRequest) -> Guid {
    match request {
        FragmentRequest::Put { fragment, .. }
        | FragmentRequest::Get { fragment, .. }
        | FragmentRequest::Audit { fragment, .. } => *fragment,
        _ => Guid([0; 32]),
    }
}

/// What makes no sense whoever asks.
fn malformed(request: &FragmentRequest) -> Option<FragmentRefusal> {
    let why = match request {
        FragmentRequest::Put { length, .. } if !(1..=FRAGMENT_BYTES_MAX).contains(length) => {
            return Some(FragmentRefusal::Length);
        }
        FragmentRequest::Has(names) | FragmentRequest::Remove { fragments: names, .. }
            if names.len() > FRAGMENTS_NAMED_MAX =>
        {
            format!("{} names, at most {FRAGMENTS_NAMED_MAX}", names.len())
        }
        FragmentRequest::Get { first, .. } | FragmentRequest::Audit { group: first, .. }
            if *first >= FRAGMENT_BYTES_MAX / GROUP_BYTES =>
        {
            format!("no fragment has a group {first}")
        }
        _ => return None,
    };
    Some(FragmentRefusal::Malformed(why))
}

async fn answer<S: FragmentStore>(
    store: &S,
    from: PublicKey,
    request: FragmentRequest,
    bytes: Vec<u8>,
    permit: Permit,
) -> Reply {
    let refused = |why| Reply::plain(FragmentAnswer::Refused(why));
    if let Some(why) = malformed(&request) {
        return refused(why);
    }
    match request {
        FragmentRequest::Present(grant) => match store.present(from, *grant).await {
            Ok(until) => Reply::plain(FragmentAnswer::Granted(until)),
            Err(why) => refused(why),
        },
        FragmentRequest::Put { lease, fragment, .. } => {
            match store.put(from, lease, fragment, bytes).await {
                Ok(receipt) => Reply::plain(FragmentAnswer::Kept(Box::new(receipt))),
                Err(why) => refused(why),
            }
        }
        FragmentRequest::Get { fragment, first, count } => {
            match store.read(from, fragment, first, count).await {
                Ok(Some(piece)) => Reply::found(piece, None, permit),
                Ok(None) => Reply::plain(FragmentAnswer::Missing),
                Err(why) => refused(why),
            }
        }
        FragmentRequest::Audit { fragment, group, nonce } => {
            match store.read(from, fragment, group, 1).await {
                Ok(Some(piece)) if piece.bytes.is_empty() => {
                    let why = format!("it has {} bytes and no group {group}", piece.length);
                    refused(FragmentRefusal::Malformed(why))
                }
                Ok(Some(piece)) => Reply::found(piece, Some(nonce), permit),
                Ok(None) => Reply::plain(FragmentAnswer::Missing),
                Err(why) => refused(why),
            }
        }
        FragmentRequest::Has(names) => match store.has(from, names).await {
            Ok(has) => Reply::plain(FragmentAnswer::Has(has)),
            Err(why) => refused(why),
        },
        FragmentRequest::Remove { lease, fragments } => {
            match store.remove(from, lease, fragments).await {
                Ok(count) => Reply::plain(FragmentAnswer::Removed(count)),
                Err(why) => refused(why),
            }
        }
        FragmentRequest::SetHead { lease, head } => {
            if let Err(why) = head.check() {
                return refused(FragmentRefusal::Head(why.to_string()));
            }
            match store.set_head(from, lease, *head).await {
                Ok(HeadSet::Kept(version)) => Reply::plain(FragmentAnswer::HeadKept(version)),
                Ok(HeadSet::Newer(head)) => Reply::plain(FragmentAnswer::Head(Some(head))),
                Err(why) => refused(why),
            }
        }
        FragmentRequest::GetUsed(lease) => match store.used(from, lease).await {
            Ok(bytes) => Reply::plain(FragmentAnswer::Used(bytes)),
            Err(why) => refused(why),
        },
        FragmentRequest::GetHead(key) => match store.head(from, key).await {
            Ok(head) => Reply::plain(FragmentAnswer::Head(head.map(Box::new))),
            Err(why) => refused(why),
        },
    }
}

/// Serves the requests of a stream that `from` opened, until its end.
///
/// # Errors
/// [`FragmentServeError`], for logs; the peer has been told what it can know. What came before is
/// answered.
pub async fn serve_fragment_stream<S: FragmentStore>(
    stream: Stream,
    from: PublicKey,
    store: &S,
    budget: &FragmentBudget,
) -> Result<FragmentsServed, FragmentServeError> {
    serve(stream, from, store, &budget.share()).await
}

async fn serve<S: FragmentStore>(
    mut stream: Stream,
    from: PublicKey,
    store: &S,
    share: &Share,
) -> Result<FragmentsServed, FragmentServeError> {
    stream.limit(FRAGMENT_FRAME_BYTES_MAX);
    let Stream { mut sender, mut receiver } = stream;
    let mut served = FragmentsServed::default();
    let mut answers = FuturesOrdered::new();
    let mut reading = Reading::Request;
    let mut failed = None;
    let mut idle_since = Instant::now();
    loop {
        let deadline = match &reading {
            Reading::Body { pace, .. } => Some(pace.deadline),
            // Who waits for us need not hurry.
            Reading::Request if answers.is_empty() => {
                Some(idle_since + limits::FRAGMENT_IDLE_TIMEOUT)
            }
            Reading::Nothing if answers.is_empty() => break,
            _ => None,
        };
        let may_read = answers.len() < limits::FRAGMENTS_AT_ONCE_MAX;
        let step = tokio::select! {
            biased;
            Some(reply) = answers.next(), if !answers.is_empty() => {
                let Reply { answer, bytes, _permit } = reply;
                served.requests += 1;
                served.refused += u64::from(matches!(answer, FragmentAnswer::Refused(_)));
                served.sent += bytes.len() as u64;
                let since = Instant::now();
                sender.send_with(&answer, bytes.into()).await.map_err(FragmentServeError::Reply)?;
                idle_since = Instant::now();
                if let Reading::Body { pace, .. } = &mut reading {
                    pace.forgive(since);
                }
                continue;
            }
            step = step(&mut receiver, &mut reading), if may_read => step,
            () = sleep_until(deadline.unwrap_or(idle_since)), if deadline.is_some() => {
                match reading {
                    // Nobody wants anything any more.
                    Reading::Request => break,
                    _ => Err(FragmentServeError::Stalled),
                }
            }
        };
        let next = |request, bytes, permit| answer(store, from, request, bytes, permit);
        reading = match (step, reading) {
            (Ok(Step::Request(request)), _) => match wanted(&request) {
                Some(length) if length <= FRAGMENT_BYTES_MAX => {
                    Reading::Room(request, Box::pin(share.clone().take(length)))
                }
                Some(length) => {
                    // Nobody can say where the next request begins.
                    let fragment = named(&request);
                    answers.push_back(next(request, Vec::new(), Permit::default()));
                    receiver.stop(code::BAD_FRAME);
                    failed = Some(FragmentServeError::Length { fragment, length });
                    Reading::Nothing
                }
                None => {
                    answers.push_back(next(request, Vec::new(), Permit::default()));
                    Reading::Request
                }
            },
            (Ok(Step::Room(permit)), Reading::Room(request, _)) => match request {
                FragmentRequest::Put { length, .. } => {
                    let bytes = vec![0; length as usize];
                    Reading::Body { request, bytes, came: 0, pace: Pace::new(), permit }
                }
                request => {
                    answers.push_back(next(request, Vec::new(), permit));
                    Reading::Request
                }
            },
            (Ok(Step::Body), Reading::Body { request, bytes, permit, .. }) => {
                served.received += bytes.len() as u64;
                answers.push_back(next(request, bytes, permit));
                Reading::Request
            }
            (Ok(_), _) => Reading::Nothing,
            (Err(error), _) => {
                receiver.stop(match error {
                    FragmentServeError::Stalled => code::STALLED,
                    _ => code::BAD_FRAME,
                });
                failed = Some(error);
                Reading::Nothing
            }
        };
    }
    // Not broken off: answers may be on their way, and what was wrong is told by the stop above.
    let finished = sender.finish().await.map_err(FragmentServeError::Reply);
    match failed {
        None => finished.map(|()| served),
        Some(error) => Err(error),
    }
}

/// Serves all streams of a connection until it ends, [`limits::FRAGMENT_STREAMS_MAX`] at once; more
/// wait.
pub async fn serve_fragments<S: FragmentStore + 'static>(
    connection: Connection,
    store: Arc<S>,
    budget: FragmentBudget,
) {
    let places = Arc::new(Semaphore::new(limits::FRAGMENT_STREAMS_MAX));
    let (from, share) = (connection.remote(), budget.share());
    while let Ok(place) = places.clone().acquire_owned().await {
        let Some(stream) = connection.accept().await else { break };
        let (store, share) = (store.clone(), share.clone());
        tokio::spawn(async move {
            match serve(stream, from, &*store, &share).await {
                Ok(served) => tracing::debug!(%from, ?served, "fragments"),
                Err(error) => tracing::debug!(%from, %error, "fragments"),
            }
            drop(place);
        });
    }
}
