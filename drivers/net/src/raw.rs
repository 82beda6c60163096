//! The bytes of a stream, as tokio's I/O traits see them: for HTTP/1.1 and for objects.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use iroh::endpoint::{ReadError, RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::code;
use crate::limits;

/// Both directions of a stream.
#[derive(Debug)]
pub struct RawStream {
    /// To the peer.
    pub sender: RawSender,
    /// From the peer.
    pub receiver: RawReceiver,
}

/// The direction to the peer. Shutting down tells the peer that all is sent; so does dropping, so
/// whoever breaks off says so with [`RawSender::reset`].
#[derive(Debug)]
pub struct RawSender {
    pub(crate) stream: SendStream,
}

/// The direction from the peer. Dropping it tells the peer to stop sending.
#[derive(Debug)]
pub struct RawReceiver {
    pub(crate) stream: RecvStream,
    /// Initialised bytes; those of `start..end` have arrived and are not taken yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl RawSender {
    /// Breaks off: the peer reads an error instead of an end.
    pub fn reset(&mut self, code: u32) {
        // An error means that the stream has ended already.
        let _ = self.stream.reset(VarInt::from_u32(code));
    }
}

impl RawReceiver {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, end: 0 }
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: u32) {
        // An error means that the stream has ended already.
        let _ = self.stream.stop(VarInt::from_u32(code));
    }

    /// What has arrived and is not taken.
    pub(crate) fn arrived(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes the first `count` bytes of what has arrived.
    pub(crate) fn take(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "nobody takes more than has arrived");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > limits::BUFFER_BYTES_KEPT {
                self.buffer = Vec::new();
            }
        }
    }

    /// Waits for more bytes; false at the end of the stream. The buffer grows towards `wanted`
    /// bytes only as they arrive. Loses nothing when cancelled.
    pub(crate) async fn fill(&mut self, wanted: usize) -> Result<bool, ReadError> {
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.buffer.len() {
                let doubled = (self.buffer.len() * 2).max(limits::BUFFER_BYTES_FIRST);
                self.buffer.resize(doubled.min(wanted.max(limits::BUFFER_BYTES_KEPT)), 0);
            }
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            Some(count) => {
                self.end += count;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl AsyncRead for RawReceiver {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let arrived = self.arrived();
        if !arrived.is_empty() {
            let count = arrived.len().min(target.remaining());
            target.put_slice(&arrived[..count]);
            self.take(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, target)
    }
}

impl AsyncWrite for RawSender {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The transport sends by itself.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An error means that the stream has ended already.
        let _ = self.stream.finish();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for RawStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.receiver).poll_read(context, target)
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.sender).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sender).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sender).poll_shutdown(context)
    }
}

impl RawStream {
    /// Breaks off in both directions.
    pub fn abort(&mut self) {
        self.sender.reset(code::FAILED);
        self.receiver.stop(code::FAILED);
    }
}
