//! Peers that must move: a writer that is read, and a request body that arrives.
//!
//! Whoever neither reads an answer nor sends the body that it announced would keep a place and what
//! belongs to it for ever.

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
/// The time that a body may make us wait for [`BODY_BYTES_MIN`]: 3.2 KiB/s at the least.
const BODY_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// See [`BODY_TIMEOUT`].
const BODY_BYTES_MIN: usize = 64 << 10;

/// A connection whose writes must move.
pub(crate) struct Steady<S> {
    stream: S,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Steady<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    /// Passes on what a write says, and turns too long a wait into an error.
    fn watch<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let until = || Box::pin(sleep_until(Instant::now() + WRITE_TIMEOUT));
        ready!(self.stalled.get_or_insert_with(until).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
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
        self.watch(wrote, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(wrote, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(wrote, cx)
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
