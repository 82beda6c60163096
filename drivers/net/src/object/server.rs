//! The side that is asked: one request a stream, over a store.

use std::sync::Arc;

use isos_base::Guid;
use isos_base::key::PublicKey;
use isos_base::limits::OBJECT_BYTES_MAX;
use isos_base::wire::{ObjectAnswer, ObjectRequest};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::errors::ServeError;
use super::transfer::{Break, receive, send};
use super::{Admission, ObjectStore, Served};
use crate::connection::{Connection, code};
use crate::stream::{FrameSender, Stream};
use crate::{limits, printable};

/// Serves the one request of a stream that `from` opened.
///
/// # Errors
/// [`ServeError`], for logs; the peer has been told what it can know.
pub async fn serve_object<S: ObjectStore>(
    mut stream: Stream,
    from: PublicKey,
    store: &S,
) -> Result<Served, ServeError> {
    stream.limit(limits::OBJECT_FRAME_BYTES_MAX);
    let request = match timeout(limits::STALL_TIMEOUT, stream.receiver.recv()).await {
        Ok(Ok(Some(request))) => request,
        Ok(Ok(None)) => return Err(ServeError::Request(None)),
        Ok(Err(error)) => {
            stream.sender.reset(code::BAD_FRAME);
            return Err(ServeError::Request(Some(error)));
        }
        Err(_) => {
            stream.sender.reset(code::STALLED);
            return Err(ServeError::Request(None));
        }
    };
    match request {
        ObjectRequest::Get(guid) => serve_get(stream.sender, from, guid, store).await,
        ObjectRequest::Put { guid, size } => serve_put(stream, from, guid, size, store).await,
    }
}

async fn serve_get<S: ObjectStore>(
    mut sender: FrameSender,
    from: PublicKey,
    guid: Guid,
    store: &S,
) -> Result<Served, ServeError> {
    let (mut reader, size) = match store.open(from, guid).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            reply(&mut sender, guid, &ObjectAnswer::Missing).await?;
            return Ok(Served::Missing(guid));
        }
        Err(source) => {
            reply(&mut sender, guid, &refused("the store failed")).await?;
            return Err(ServeError::Store { guid, source });
        }
    };
    let failed = |source| ServeError::Reply { guid, source };
    sender.send(&ObjectAnswer::Found(size)).await.map_err(failed)?;
    let mut bytes = sender.into_raw().await.map_err(failed)?;
    let mut sent = 0;
    match send(&mut reader, &mut bytes, size, &mut sent).await {
        Ok(()) => {
            let lost = |source| ServeError::Lost { guid, moved: sent, source };
            bytes.shutdown().await.map_err(lost)?;
            Ok(Served::Sent(guid, size))
        }
        Err(Break::Own { source }) => {
            bytes.reset(code::FAILED);
            Err(ServeError::Store { guid, source })
        }
        Err(Break::Stalled { bytes: moved }) => {
            bytes.reset(code::STALLED);
            Err(ServeError::Stalled { guid, moved })
        }
        Err(Break::Peer { bytes: moved, source }) => Err(ServeError::Lost { guid, moved, source }),
        Err(Break::Length { .. } | Break::Content { .. }) => {
            unreachable!("only the receiving side counts and hashes")
        }
    }
}

async fn serve_put<S: ObjectStore>(
    stream: Stream,
    from: PublicKey,
    guid: Guid,
    size: u64,
    store: &S,
) -> Result<Served, ServeError> {
    let Stream { mut sender, receiver } = stream;
    let mut bytes = receiver.into_raw();
    let admission = if size > OBJECT_BYTES_MAX.0 {
        Admission::Refuse(format!("{size} bytes, the limit is {OBJECT_BYTES_MAX}"))
    } else {
        store.accept(from, guid, size).await
    };
    let mut writer = match admission {
        Admission::Write(writer) => writer,
        Admission::Have => {
            reply(&mut sender, guid, &ObjectAnswer::Kept).await?;
            bytes.stop(code::DONE);
            return Ok(Served::Had(guid));
        }
        Admission::Refuse(why) => {
            reply(&mut sender, guid, &refused(&why)).await?;
            bytes.stop(code::REFUSED);
            return Ok(Served::Refused(guid));
        }
    };
    let (why, error) = match receive(&mut bytes, &mut writer, guid, size).await {
        Ok(()) => match store.commit(guid, writer).await {
            Ok(()) => {
                reply(&mut sender, guid, &ObjectAnswer::Kept).await?;
                return Ok(Served::Kept(guid, size));
            }
            Err(source) => ("the store failed".into(), ServeError::Store { guid, source }),
        },
        Err(Break::Own { source }) => {
            ("the store failed".into(), ServeError::Store { guid, source })
        }
        Err(Break::Stalled { bytes: moved }) => {
            ("too slow".into(), ServeError::Stalled { guid, moved })
        }
        Err(Break::Peer { bytes: moved, source }) => {
            // Nobody is there to be told.
            return Err(ServeError::Lost { guid, moved, source });
        }
        Err(Break::Length { bytes: moved }) => {
            let why = format!("{size} bytes were announced, {moved} came");
            (why.clone(), ServeError::WrongContent { guid, why })
        }
        Err(Break::Content { got }) => {
            let why = format!("the bytes are {got}");
            (why.clone(), ServeError::WrongContent { guid, why })
        }
    };
    reply(&mut sender, guid, &refused(&why)).await?;
    bytes.stop(code::REFUSED);
    Err(error)
}

fn refused(why: &str) -> ObjectAnswer {
    ObjectAnswer::Refused(printable(why))
}

/// The last frame of the stream.
async fn reply(
    sender: &mut FrameSender,
    guid: Guid,
    answer: &ObjectAnswer,
) -> Result<(), ServeError> {
    let failed = |source| ServeError::Reply { guid, source };
    sender.send(answer).await.map_err(failed)?;
    sender.finish().await.map_err(failed)
}

/// Serves all streams of a connection until it ends, [`limits::OBJECTS_AT_ONCE_MAX`] at once; more
/// wait.
pub async fn serve_objects<S: ObjectStore + 'static>(connection: Connection, store: Arc<S>) {
    let places = Arc::new(Semaphore::new(limits::OBJECTS_AT_ONCE_MAX));
    let from = connection.remote();
    while let Ok(place) = places.clone().acquire_owned().await {
        let Some(stream) = connection.accept().await else { break };
        let store = store.clone();
        tokio::spawn(async move {
            match serve_object(stream, from, &*store).await {
                Ok(served) => tracing::debug!(%from, ?served, "object"),
                Err(error) => tracing::debug!(%from, %error, "object"),
            }
            drop(place);
        });
    }
}
