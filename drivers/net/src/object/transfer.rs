//! The bytes of one object between a stream and a disk, at a pace that is watched.

use std::io;

use isos_base::Guid;
use isos_base::guid::GuidHasher;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::limits;
use crate::pace::Pace;

/// Why [`receive`] or [`send`] stopped. `bytes` moved before.
pub(super) enum Break {
    Stalled { bytes: u64 },
    Peer { bytes: u64, source: io::Error },
    Length { bytes: u64 },
    Content { got: Guid },
    Own { source: io::Error },
}

/// Takes exactly `size` bytes and the end of the stream, and checks that they are `guid`.
pub(super) async fn receive(
    source: &mut (impl AsyncRead + Unpin),
    sink: &mut (impl AsyncWrite + Unpin),
    guid: Guid,
    size: u64,
) -> Result<(), Break> {
    let mut buffer = vec![0; limits::OBJECT_CHUNK_BYTES];
    let mut hasher = GuidHasher::new();
    let mut bytes = 0;
    let mut pace = Pace::new();
    loop {
        // One byte of room beyond the object, so that too many show.
        let room = buffer.len().min((size - bytes).saturating_add(1) as usize);
        let read = timeout_at(pace.deadline, source.read(&mut buffer[..room]));
        let count = match read.await {
            Err(_) => return Err(Break::Stalled { bytes }),
            Ok(Err(source)) => return Err(Break::Peer { bytes, source }),
            Ok(Ok(count)) => count,
        };
        if count == 0 && bytes == size {
            break;
        }
        if count == 0 || count as u64 > size - bytes {
            return Err(Break::Length { bytes: bytes + count as u64 });
        }
        bytes += count as u64;
        pace.moved(count);
        hasher.update(&buffer[..count]);
        let since = Instant::now();
        sink.write_all(&buffer[..count]).await.map_err(|source| Break::Own { source })?;
        pace.forgive(since);
    }
    sink.flush().await.map_err(|source| Break::Own { source })?;
    let got = hasher.finish();
    if got == guid { Ok(()) } else { Err(Break::Content { got }) }
}

/// Sends exactly `size` bytes.
pub(super) async fn send(
    source: &mut (impl AsyncRead + Unpin),
    sink: &mut (impl AsyncWrite + Unpin),
    size: u64,
    sent: &mut u64,
) -> Result<(), Break> {
    let mut buffer = vec![0; limits::OBJECT_CHUNK_BYTES.min(size.max(1) as usize)];
    let mut pace = Pace::new();
    while *sent < size {
        let since = Instant::now();
        let room = buffer.len().min((size - *sent) as usize);
        let count =
            source.read(&mut buffer[..room]).await.map_err(|source| Break::Own { source })?;
        if count == 0 {
            let source = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ended after {sent} of {size} bytes"),
            );
            return Err(Break::Own { source });
        }
        pace.forgive(since);
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let written = match timeout_at(pace.deadline, sink.write(rest)).await {
                Err(_) => return Err(Break::Stalled { bytes: *sent }),
                Ok(Err(source)) => return Err(Break::Peer { bytes: *sent, source }),
                Ok(Ok(written)) => written,
            };
            pace.moved(written);
            *sent += written as u64;
            rest = &rest[written..];
        }
    }
    Ok(())
}
