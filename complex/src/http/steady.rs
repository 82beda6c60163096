//! Peers that must move: a writer that is read, and a request body that arrives.
//!
//! Whoever reads no answer, or a byte of it now and then, or does not send the body that it
//! announced would keep a place and what belongs to it for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes as Buffer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A client that takes no byte of an answer for this long is gone. (Our own tests have no 30 s.)
const WRITE_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// The time that a client may make us wait until it has taken [`READ_BYTES_MIN`]: 1 KiB/s at the
/// least, averaged over a minute. Buffers on the way do not count: those are full while we wait.
const READ_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });
/// See [`READ_TIMEOUT`].
const READ_BYTES_MIN: usize = 60 << 10;
/// The time that a body may make us wait for [`BODY_BYTES_MIN`]: 3.2 KiB/s at the least.
const BODY_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// See [`BODY_TIMEOUT`].
const BODY_BYTES_MIN: usize = 64 << 10;

/// A connection whose writes must move.
pub(crate) struct Steady<S> {
    stream: S,
    /// Since when a write waits, and how long it may.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Bytes that were taken since `waited` began.
    taken: usize,
    /// Time that writes have waited.
    waited: Duration,
}

impl<S> Steady<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, stalled: None, taken: 0, waited: Duration::ZERO }
    }

    /// Passes on what a write says, and turns too long a wait, or too many, into an error.
    fn watch<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let left = READ_TIMEOUT.saturating_sub(self.waited);
        if let Poll::Ready(wrote) = wrote {
            if let Some((since, _)) = self.stalled.take() {
                self.waited += since.elapsed();
            }
            self.taken += wrote.as_ref().map_or(0, bytes);
            if self.taken >= READ_BYTES_MIN {
                (self.taken, self.waited) = (0, Duration::ZERO);
            }
            return Poll::Ready(wrote);
        }
        let now = Instant::now();
        let begin = || (now, Box::pin(sleep_until(now + WRITE_TIMEOUT.min(left))));
        ready!(self.stalled.get_or_insert_with(begin).1.as_mut().poll(cx));
        let why = match left < WRITE_TIMEOUT {
            true => "the client reads too slowly: less than 1 KiB/s in a minute",
            false => "the client does not read",
        };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Steady<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Steady<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(wrote, |count| *count, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(wrote, |()| 0, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(wrote, |()| 0, cx)
    }
}

/// Makes a request's body one that must arrive.
pub(crate) async fn steady_body(request: Request) -> Request {
    request.map(|body| Body::new(SteadyBody::new(body)))
}

/// A body that errs when it makes its reader wait too long.
struct SteadyBody {
    body: Body,
    /// Bytes since `waited` began.
    arrived: usize,
    /// Time spent waiting for them; that of a slow disk on our side does not count.
    waited: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl SteadyBody {
    const fn new(body: Body) -> Self {
        Self { body, arrived: 0, waited: Duration::ZERO, waiting: None }
    }
}

impl HttpBody for SteadyBody {
    type Data = Buffer;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Buffer>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let left = BODY_TIMEOUT.saturating_sub(this.waited);
            let now = Instant::now();
            let begin = || (now, Box::pin(sleep_until(now + left)));
            ready!(this.waiting.get_or_insert_with(begin).1.as_mut().poll(cx));
            return Poll::Ready(Some(Err("the body does not arrive: too slow".into())));
        };
        if let Some((since, _)) = this.waiting.take() {
            this.waited += since.elapsed();
        }
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(|f| f.data_ref())) {
            this.arrived += data.map_or(0, Buffer::len);
            if this.arrived >= BODY_BYTES_MIN {
                (this.arrived, this.waited) = (0, Duration::ZERO);
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Writes without end to a client that takes so many bytes ten times a second.
    async fn written_to(each: usize) -> (Duration, Option<io::Error>) {
        let (client, server) = tokio::io::duplex(1 << 10);
        let reader = tokio::spawn(async move {
            let (mut client, mut piece) = (client, vec![0; each]);
            while client.read_exact(&mut piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let begun = Instant::now();
        let mut steady = Steady::new(server);
        let write = async {
            loop {
                if let Err(error) = steady.write_all(&[7; 512]).await {
                    return error;
                }
            }
        };
        let wrote = tokio::time::timeout(READ_TIMEOUT * 2, write).await;
        reader.abort();
        (begun.elapsed(), wrote.ok())
    }

    #[tokio::test]
    async fn a_client_that_takes_a_little_now_and_then_is_cut_off_and_a_steady_one_is_not() {
        let (slow, steady) = tokio::join!(written_to(100), written_to(16 << 10));
        let (took, wrote) = slow;
        let why = wrote.expect("it is cut off").to_string();
        assert_eq!(why, "the client reads too slowly: less than 1 KiB/s in a minute");
        assert!(took >= READ_TIMEOUT, "{took:?}");
        assert!(steady.1.is_none(), "{steady:?}");
    }
}
