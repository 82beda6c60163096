//! What a request carries: nothing, some bytes, or a file that is read while it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use crate::limits::UPLOAD_CHUNK_BYTES;

/// The body of one request. Its length is always known, so it is sent as `Content-Length`.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    /// A file of which so many bytes are left to send.
    File { file: tokio::fs::File, left: u64 },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Self::File { left: 0, .. } => Poll::Ready(None),
            Self::File { file, left } => {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(UPLOAD_CHUNK_BYTES);
                let mut chunk = BytesMut::zeroed(wanted);
                let mut buffer = ReadBuf::new(&mut chunk);
                if let Err(error) = ready!(Pin::new(file).poll_read(context, &mut buffer)) {
                    return Poll::Ready(Some(Err(error)));
                }
                let count = buffer.filled().len();
                if count == 0 {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                chunk.truncate(count);
                *left -= count as u64;
                Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File { left, .. } => *left,
        })
    }
}
