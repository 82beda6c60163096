//! The side that asks: requests as fast as they go, answers as they come, each of them checked.

use std::sync::atomic::{AtomicBool, Ordering};

use isos_base::fragment::wire::{
    FRAGMENT_FRAME_BYTES_MAX, Found, FragmentAnswer, FragmentRefusal, FragmentRequest,
};
use isos_base::fragment::{
    FRAGMENT_BYTES_MAX, GROUP_BYTES, HeadSet, Piece, PieceError, Receipt, SignedGrant, SignedHead,
    SignedReceipt, groups_of,
};
use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, LeaseId, Time};
use tokio::time::{timeout, timeout_at};

use super::errors::FragmentError;
use crate::connection::Connection;
use crate::limits;
use crate::pace::Pace;
use crate::stream::{FrameReceiver, FrameSender, RecvError, Stream};

/// Sends requests. Dropping it tells the host that no more come.
#[derive(Debug)]
pub struct FragmentAsker(FrameSender);

/// Hears answers, in the order of the requests.
#[derive(Debug)]
pub struct FragmentHearer(FrameReceiver);

/// An answer, and the bytes behind it. Nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What the host says.
    pub answer: FragmentAnswer,
    /// The groups of a `Found` or a `Proof`.
    pub bytes: Vec<u8>,
}

/// Which groups of a fragment are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The fragment.
    pub fragment: Guid,
    /// The first group.
    pub first: u32,
    /// How many; those beyond the end are left out.
    pub count: u32,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The groups; they are the fragment's.
    Piece(Piece),
    /// The host sent something else: it lies, or its disk does.
    Wrong(PieceError),
    /// The host does not have it.
    Missing,
    /// The host does not give it.
    Refused(FragmentRefusal),
}

impl Wanted {
    /// All of a fragment.
    #[must_use]
    pub const fn whole(fragment: Guid) -> Self {
        Self { fragment, first: 0, count: u32::MAX }
    }

    /// What these groups are, if they are the wanted ones.
    fn check(&self, found: Found, bytes: Vec<u8>) -> Got {
        let Found { length, first, groups, .. } = found;
        let count = groups_of(bytes.len() as u32);
        let wanted = self.count.min(groups_of(length).saturating_sub(self.first));
        let piece = Piece { length, groups, first, bytes };
        let fits = first == self.first && count == wanted;
        match if fits { piece.check(&self.fragment) } else { Err(PieceError::Shape) } {
            Ok(()) => Got::Piece(piece),
            Err(wrong) => Got::Wrong(wrong),
        }
    }
}

/// Opens a stream for fragments.
///
/// # Errors
/// [`FragmentError::Open`].
pub async fn open_fragments(
    connection: &Connection,
) -> Result<(FragmentAsker, FragmentHearer), FragmentError> {
    let mut stream = connection.open().await?;
    stream.limit(FRAGMENT_FRAME_BYTES_MAX);
    let Stream { sender, receiver } = stream;
    Ok((FragmentAsker(sender), FragmentHearer(receiver)))
}

impl FragmentAsker {
    /// Sends a request; behind a `Put` goes the fragment. Waits while the host is behind. When
    /// cancelled, the stream is of no use.
    ///
    /// # Errors
    /// [`FragmentError::Ask`].
    pub async fn ask(
        &mut self,
        request: &FragmentRequest,
        bytes: bytes::Bytes,
    ) -> Result<(), FragmentError> {
        self.0.send_with(request, bytes).await.map_err(FragmentError::Ask)
    }

    /// Tells the host that no more requests come.
    ///
    /// # Errors
    /// [`FragmentError::Ask`].
    pub async fn finish(&mut self) -> Result<(), FragmentError> {
        self.0.finish().await.map_err(FragmentError::Ask)
    }
}

impl FragmentHearer {
    /// The next answer; nothing at the end of the stream. Waits as long as the connection lives for
    /// its beginning, and no longer than a peer may take for the rest.
    ///
    /// # Errors
    /// [`FragmentError::Answer`], [`FragmentError::Stalled`] or [`FragmentError::Other`].
    pub async fn hear(&mut self) -> Result<Option<Heard>, FragmentError> {
        let answer = self.0.recv().await.map_err(FragmentError::Answer)?;
        let Some(answer) = answer else { return Ok(None) };
        self.rest(answer).await.map(Some)
    }

    /// The bytes behind an answer.
    async fn rest(&mut self, answer: FragmentAnswer) -> Result<Heard, FragmentError> {
        let length = match &answer {
            FragmentAnswer::Found(found) | FragmentAnswer::Proof { found, .. } => found.bytes,
            _ => return Ok(Heard { answer, bytes: Vec::new() }),
        };
        if length > FRAGMENT_BYTES_MAX {
            return Err(FragmentError::Other("more bytes than a fragment has"));
        }
        let mut bytes = vec![0; length as usize];
        let (mut came, mut pace) = (0, Pace::new());
        while came < bytes.len() {
            let count = timeout_at(pace.deadline, self.0.recv_bytes(&mut bytes[came..])).await;
            let count = count.map_err(|_| FragmentError::Stalled { answered: 0 })?;
            let count = count.map_err(FragmentError::Answer)?;
            if count == 0 {
                let missing = bytes.len() - came;
                return Err(FragmentError::Answer(RecvError::Truncated { missing }));
            }
            came += count;
            pace.moved(count);
        }
        Ok(Heard { answer, bytes })
    }
}

/// Sends all requests on a stream of their own and gives each answer to `each`, while further
/// requests still go out.
async fn exchange(
    connection: &Connection,
    requests: impl ExactSizeIterator<Item = (FragmentRequest, bytes::Bytes)> + Send,
    mut each: impl FnMut(usize, Heard) -> Result<(), FragmentError> + Send,
) -> Result<(), FragmentError> {
    let (mut asker, mut hearer) = open_fragments(connection).await?;
    let asked = requests.len();
    let all_asked = AtomicBool::new(false);
    let asking = async {
        for (request, bytes) in requests {
            asker.ask(&request, bytes).await?;
        }
        all_asked.store(true, Ordering::Relaxed);
        asker.finish().await
    };
    let hearing = async {
        for answered in 0..asked {
            let answer = loop {
                match timeout(limits::ANSWER_TIMEOUT, hearer.0.recv()).await {
                    Ok(answer) => break answer.map_err(FragmentError::Answer)?,
                    // As long as there is something to send, it is sent at a pace.
                    Err(_) if !all_asked.load(Ordering::Relaxed) => {}
                    Err(_) => return Err(FragmentError::Stalled { answered }),
                }
            };
            let Some(answer) = answer else {
                return Err(FragmentError::Ended { answered, asked });
            };
            each(answered, hearer.rest(answer).await?)?;
        }
        Ok(())
    };
    tokio::pin!(asking, hearing);
    tokio::select! {
        heard = &mut hearing => heard,
        done = &mut asking => match (done, hearing.await) {
            (Ok(()), heard) => heard,
            // What the host said before it stopped reading tells more.
            (Err(error), Ok(()) | Err(FragmentError::Ended { .. })) => Err(error),
            (Err(_), Err(error)) => Err(error),
        },
    }
}

/// One request, one answer.
async fn ask_one(
    connection: &Connection,
    request: FragmentRequest,
) -> Result<Heard, FragmentError> {
    let mut heard = None;
    let one = std::iter::once((request, bytes::Bytes::new()));
    exchange(connection, one, |_, answer| {
        heard = Some(answer);
        Ok(())
    })
    .await?;
    heard.ok_or(FragmentError::Ended { answered: 0, asked: 1 })
}

/// Shows a grant; until when it is good.
///
/// # Errors
/// [`FragmentError`].
pub async fn present_grant(
    connection: &Connection,
    grant: &SignedGrant,
) -> Result<Result<Time, FragmentRefusal>, FragmentError> {
    match ask_one(connection, FragmentRequest::Present(Box::new(grant.clone()))).await?.answer {
        FragmentAnswer::Granted(until) => Ok(Ok(until)),
        FragmentAnswer::Refused(why) => Ok(Err(why)),
        _ => Err(FragmentError::Other("neither yes nor no to a grant")),
    }
}

/// Gives fragments away under a lease whose grant was shown; `each` gets the receipt of each, as
/// it comes, or why it was not kept.
///
/// # Errors
/// [`FragmentError`]; fragments without a receipt may be there or not.
pub async fn put_fragments(
    connection: &Connection,
    lease: LeaseId,
    fragments: &[(Guid, bytes::Bytes)],
    mut each: impl FnMut(usize, Result<SignedReceipt, FragmentRefusal>) + Send,
) -> Result<(), FragmentError> {
    let host = connection.remote();
    let requests = fragments.iter().map(|(fragment, bytes)| {
        let (fragment, length) = (*fragment, bytes.len() as u32);
        (FragmentRequest::Put { lease, fragment, length }, bytes.clone())
    });
    exchange(connection, requests, |at, heard| {
        let (fragment, bytes) = &fragments[at];
        match heard.answer {
            FragmentAnswer::Kept(signed) => {
                check_receipt(&signed, host, lease, *fragment, bytes.len())?;
                each(at, Ok(*signed));
                Ok(())
            }
            FragmentAnswer::Refused(why) => {
                each(at, Err(why));
                Ok(())
            }
            _ => Err(FragmentError::Other("neither yes nor no to a fragment")),
        }
    })
    .await
}

fn check_receipt(
    signed: &SignedReceipt,
    host: PublicKey,
    lease: LeaseId,
    fragment: Guid,
    length: usize,
) -> Result<(), FragmentError> {
    let bad = |source| FragmentError::Receipt { fragment, source };
    let receipt: &Receipt = signed.check().map_err(|error| bad(Some(error)))?;
    let fits = receipt.host.0 == host
        && receipt.lease == lease
        && receipt.fragment == fragment
        && receipt.length as usize == length;
    if fits { Ok(()) } else { Err(bad(None)) }
}

/// Fetches groups of fragments; `each` gets what became of each, as it comes.
///
/// # Errors
/// [`FragmentError`].
pub async fn get_fragments(
    connection: &Connection,
    wanted: &[Wanted],
    mut each: impl FnMut(usize, Got) + Send,
) -> Result<(), FragmentError> {
    let requests = wanted.iter().map(|Wanted { fragment, first, count }| {
        let request = FragmentRequest::Get { fragment: *fragment, first: *first, count: *count };
        (request, bytes::Bytes::new())
    });
    exchange(connection, requests, |at, heard| {
        let Heard { answer, bytes } = heard;
        each(
            at,
            match answer {
                FragmentAnswer::Found(found) => wanted[at].check(found, bytes),
                FragmentAnswer::Missing => Got::Missing,
                FragmentAnswer::Refused(why) => Got::Refused(why),
                _ => return Err(FragmentError::Other("not what was asked about a fragment")),
            },
        );
        Ok(())
    })
    .await
}

/// Asks for a group of a fragment that the host should have, to see whether it has.
///
/// # Errors
/// [`FragmentError`].
pub async fn audit_fragment(
    connection: &Connection,
    fragment: Guid,
    group: u32,
    nonce: u64,
) -> Result<Got, FragmentError> {
    let request = FragmentRequest::Audit { fragment, group, nonce };
    let Heard { answer, bytes } = ask_one(connection, request).await?;
    match answer {
        FragmentAnswer::Proof { nonce: said, .. } if said != nonce => {
            Err(FragmentError::Other("the proof is for another audit"))
        }
        FragmentAnswer::Proof { found, .. } => {
            let wanted = Wanted { fragment, first: group, count: 1 };
            let longest = bytes.len() <= GROUP_BYTES as usize && !bytes.is_empty();
            Ok(if longest { wanted.check(found, bytes) } else { Got::Wrong(PieceError::Shape) })
        }
        FragmentAnswer::Missing => Ok(Got::Missing),
        FragmentAnswer::Refused(why) => Ok(Got::Refused(why)),
        _ => Err(FragmentError::Other("no answer to an audit")),
    }
}

/// Which of these the host says it has, in the same order.
///
/// # Errors
/// [`FragmentError`].
pub async fn has_fragments(
    connection: &Connection,
    fragments: &[Guid],
) -> Result<Result<Vec<bool>, FragmentRefusal>, FragmentError> {
    match ask_one(connection, FragmentRequest::Has(fragments.to_vec())).await?.answer {
        FragmentAnswer::Has(has) if has.len() == fragments.len() => Ok(Ok(has)),
        FragmentAnswer::Refused(why) => Ok(Err(why)),
        _ => Err(FragmentError::Other("not as many words as fragments")),
    }
}

/// Gives fragments of a lease up; how many were there.
///
/// # Errors
/// [`FragmentError`].
pub async fn remove_fragments(
    connection: &Connection,
    lease: LeaseId,
    fragments: &[Guid],
) -> Result<Result<u32, FragmentRefusal>, FragmentError> {
    let request = FragmentRequest::Remove { lease, fragments: fragments.to_vec() };
    match ask_one(connection, request).await?.answer {
        FragmentAnswer::Removed(count) if count as usize <= fragments.len() => Ok(Ok(count)),
        FragmentAnswer::Refused(why) => Ok(Err(why)),
        _ => Err(FragmentError::Other("more was removed than asked for")),
    }
}

/// How much the host says lies under a lease whose grant was shown.
///
/// # Errors
/// [`FragmentError`].
pub async fn used_of_lease(
    connection: &Connection,
    lease: LeaseId,
) -> Result<Result<Bytes, FragmentRefusal>, FragmentError> {
    match ask_one(connection, FragmentRequest::GetUsed(lease)).await?.answer {
        FragmentAnswer::Used(bytes) => Ok(Ok(bytes)),
        FragmentAnswer::Refused(why) => Ok(Err(why)),
        _ => Err(FragmentError::Other("no answer about a lease")),
    }
}

/// Has a host keep a head under a lease whose grant was shown; or hears which newer one it has, or
/// which other one of this version. It is one, whatever the host says.
///
/// # Errors
/// [`FragmentError`]; the head may be there or not.
pub async fn set_head(
    connection: &Connection,
    lease: LeaseId,
    head: &SignedHead,
) -> Result<Result<HeadSet, FragmentRefusal>, FragmentError> {
    let (key, version) = (head.head.key, head.head.version);
    let request = FragmentRequest::SetHead { lease, head: Box::new(head.clone()) };
    match ask_one(connection, request).await?.answer {
        FragmentAnswer::HeadKept(said) if said == version => Ok(Ok(HeadSet::Kept(version))),
        FragmentAnswer::Head(Some(newer)) => {
            check_head(&newer, key)?;
            if newer.head.version < version || newer.head == head.head {
                return Err(FragmentError::Head { key, source: None });
            }
            Ok(Ok(HeadSet::Newer(newer)))
        }
        FragmentAnswer::Refused(why) => Ok(Err(why)),
        _ => Err(FragmentError::Other("neither yes nor no to a head")),
    }
}

/// The newest head of a key that the host gives, if it gives one: there may be newer ones, and more
/// than half of those that were told have to be asked.
///
/// # Errors
/// [`FragmentError`], [`FragmentError::Head`] if it is not that key's.
pub async fn get_head(
    connection: &Connection,
    key: PublicKey,
) -> Result<Result<Option<SignedHead>, FragmentRefusal>, FragmentError> {
    match ask_one(connection, FragmentRequest::GetHead(key)).await?.answer {
        FragmentAnswer::Head(Some(head)) => {
            check_head(&head, key)?;
            Ok(Ok(Some(*head)))
        }
        FragmentAnswer::Head(None) => Ok(Ok(None)),
        FragmentAnswer::Refused(why) => Ok(Err(why)),
        _ => Err(FragmentError::Other("no answer about a head")),
    }
}

fn check_head(signed: &SignedHead, key: PublicKey) -> Result<(), FragmentError> {
    let checked = signed.check().map_err(|error| FragmentError::Head { key, source: Some(error) });
    if checked?.key == key { Ok(()) } else { Err(FragmentError::Head { key, source: None }) }
}
