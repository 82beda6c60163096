//! The side that asks: fetch an object, or give one away.

use isos_base::Guid;
use isos_base::wire::{ObjectAnswer, ObjectRequest};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::errors::{GetError, PutError};
use super::transfer::{Break, receive, send};
use crate::connection::{Connection, code};
use crate::stream::{FrameReceiver, RecvError, Stream};
use crate::{limits, printable};

/// The answer of the peer, within [`limits::ANSWER_TIMEOUT`].
async fn answer(receiver: &mut FrameReceiver) -> Result<ObjectAnswer, Option<RecvError>> {
    match timeout(limits::ANSWER_TIMEOUT, receiver.recv()).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        Ok(Ok(None)) | Err(_) => Err(None),
        Ok(Err(error)) => Err(Some(error)),
    }
}

/// Fetches an object from the peer into `sink`, which is flushed but not shut down. Gives its
/// length in bytes.
///
/// # Errors
/// [`GetError`]; whatever the sink has got is not the object then.
pub async fn get_object(
    connection: &Connection,
    guid: Guid,
    max: u64,
    mut sink: impl AsyncWrite + Unpin,
) -> Result<u64, GetError> {
    let mut stream = connection.open().await.map_err(|source| GetError::Open { guid, source })?;
    stream.limit(limits::OBJECT_FRAME_BYTES_MAX);
    let Stream { mut sender, mut receiver } = stream;
    let ask = |source| GetError::Ask { guid, source };
    sender.send(&ObjectRequest::Get(guid)).await.map_err(ask)?;
    sender.finish().await.map_err(ask)?;
    let size = match answer(&mut receiver).await {
        Ok(ObjectAnswer::Found(size)) => size,
        Ok(ObjectAnswer::Missing) => return Err(GetError::Missing { guid }),
        Ok(ObjectAnswer::Refused(why)) => {
            return Err(GetError::Refused { guid, why: printable(&why) });
        }
        Ok(ObjectAnswer::Kept) => return Err(GetError::Answer { guid, source: None }),
        Err(source) => return Err(GetError::Answer { guid, source }),
    };
    if size > max {
        return Err(GetError::TooLarge { guid, size, max });
    }
    let mut bytes = receiver.into_raw();
    match receive(&mut bytes, &mut sink, guid, size).await {
        Ok(()) => Ok(size),
        Err(Break::Stalled { bytes }) => Err(GetError::Stalled { guid, received: bytes }),
        Err(Break::Peer { bytes, source }) => Err(GetError::Lost { guid, received: bytes, source }),
        Err(Break::Length { bytes }) => Err(GetError::Length { guid, size, received: bytes }),
        Err(Break::Content { got }) => Err(GetError::WrongContent { guid, got }),
        Err(Break::Own { source }) => Err(GetError::Sink { guid, source }),
    }
}

/// Gives the peer an object of `size` bytes. Returns when the peer has it on disk, early if it had
/// it before.
///
/// # Errors
/// [`PutError`].
pub async fn put_object(
    connection: &Connection,
    guid: Guid,
    size: u64,
    mut source: impl AsyncRead + Unpin,
) -> Result<(), PutError> {
    let mut stream = connection.open().await.map_err(|source| PutError::Open { guid, source })?;
    stream.limit(limits::OBJECT_FRAME_BYTES_MAX);
    let Stream { mut sender, mut receiver } = stream;
    let ask = |source| PutError::Ask { guid, source };
    sender.send(&ObjectRequest::Put { guid, size }).await.map_err(ask)?;
    let mut bytes = sender.into_raw().await.map_err(ask)?;
    let mut sent = 0;
    // The peer may answer before it has read everything: because it has the object, or refuses it.
    let early = tokio::select! {
        biased;
        early = receiver.recv() => Some(early),
        outcome = send(&mut source, &mut bytes, size, &mut sent) => match outcome {
            Ok(()) => {
                // The stream's end is part of the request.
                bytes.shutdown().await.map_err(|source| PutError::Lost { guid, sent, source })?;
                None
            }
            // It reads no more, so it has answered, or the connection has ended.
            Err(Break::Peer { bytes: _, source }) => match answer(&mut receiver).await {
                Ok(answer) => Some(Ok(Some(answer))),
                Err(_) => return Err(PutError::Lost { guid, sent, source }),
            },
            Err(Break::Stalled { .. }) => {
                bytes.reset(code::STALLED);
                return Err(PutError::Stalled { guid, sent });
            }
            Err(Break::Own { source }) => {
                bytes.reset(code::FAILED);
                return Err(PutError::Source { guid, source });
            }
            Err(Break::Length { .. } | Break::Content { .. }) => {
                unreachable!("only the receiving side counts and hashes")
            }
        },
    };
    let answer = match early {
        None => answer(&mut receiver).await,
        Some(Ok(Some(answer))) => {
            bytes.reset(code::DONE);
            Ok(answer)
        }
        Some(Ok(None)) => Err(None),
        Some(Err(error)) => Err(Some(error)),
    };
    match answer {
        Ok(ObjectAnswer::Kept) => Ok(()),
        Ok(ObjectAnswer::Refused(why)) => Err(PutError::Refused { guid, why: printable(&why) }),
        Ok(ObjectAnswer::Found(_) | ObjectAnswer::Missing) => {
            Err(PutError::Answer { guid, source: None })
        }
        Err(source) => Err(PutError::Answer { guid, source }),
    }
}
