//! A stream of messages: length-prefixed postcard frames both ways (`isos_base::codec`).
//!
//! Both halves keep what is half done in themselves, so that they can stand in a `tokio::select!`
//! and be dropped there without losing a byte.

use bytes::Bytes;
use iroh::endpoint::{ReadError, RecvStream, SendStream, WriteError};
use isos_base::codec::{self, DecodeError, FRAME_HEAD_BYTES};
use isos_base::limits::FRAME_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::{timeout, timeout_at};

use crate::connection::{Closed, code};
use crate::limits;
use crate::pace::Pace;
use crate::raw::{RawReceiver, RawSender, RawStream};

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendError {
    /// The message is longer than a frame may be. Nothing of it is sent; the stream is still good.
    #[error("a message of {length} bytes, the limit is {max}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The peer reads no more from this stream.
    #[error("the peer reads no more (code {code})")]
    Stopped {
        /// The peer's code, see [`crate::code`].
        code: u64,
    },
    /// The peer lives, but has not taken a byte for [`limits::STALL_TIMEOUT`].
    #[error("the peer has not read for {:?}", limits::STALL_TIMEOUT)]
    Stalled,
    /// This side has finished or reset the stream.
    #[error("the stream is finished")]
    Finished,
    /// The connection has ended.
    #[error("the connection has ended")]
    Lost(#[source] Closed),
}

/// Why no message was received. The stream is of no use after any of them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecvError {
    /// The peer sent what is no message of this protocol; it is told to stop.
    #[error("the peer sent what is no message")]
    Garbage(#[source] DecodeError),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, {missing} bytes or more are missing")]
    Truncated {
        /// How many bytes at the least.
        missing: usize,
    },
    /// The peer broke the stream off.
    #[error("the peer broke off (code {code})")]
    Reset {
        /// The peer's code, see [`crate::code`].
        code: u64,
    },
    /// The stream was stopped by this side.
    #[error("the stream is stopped")]
    Stopped,
    /// The connection has ended.
    #[error("the connection has ended")]
    Lost(#[source] Closed),
}

impl From<WriteError> for SendError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped { code: code.into_inner() },
            WriteError::ConnectionLost(error) => Self::Lost(error.into()),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Finished,
        }
    }
}

impl From<ReadError> for RecvError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset { code: code.into_inner() },
            ReadError::ConnectionLost(error) => Self::Lost(error.into()),
            ReadError::ClosedStream | ReadError::ZeroRttRejected => Self::Stopped,
        }
    }
}

/// Two directions of messages.
#[derive(Debug)]
pub struct Stream {
    /// To the peer.
    pub sender: FrameSender,
    /// From the peer.
    pub receiver: FrameReceiver,
}

/// The direction to the peer. Dropping it ends the stream cleanly after what is already written.
#[derive(Debug)]
pub struct FrameSender {
    raw: RawSender,
    /// Whole frames; those before `sent` are with the transport.
    buffer: Vec<u8>,
    sent: usize,
    max: usize,
}

/// The direction from the peer. Dropping it tells the peer to stop sending.
#[derive(Debug)]
pub struct FrameReceiver {
    raw: RawReceiver,
    max: usize,
    /// This side has had enough: garbage came, or the caller said so.
    stopped: bool,
}

impl Stream {
    pub(crate) fn new(sender: SendStream, receiver: RecvStream) -> Self {
        Self {
            sender: FrameSender {
                raw: RawSender { stream: sender },
                buffer: Vec::new(),
                sent: 0,
                max: FRAME_BYTES_MAX,
            },
            receiver: FrameReceiver {
                raw: RawReceiver::new(receiver),
                max: FRAME_BYTES_MAX,
                stopped: false,
            },
        }
    }

    /// The stream as bytes. Bytes that arrived behind the last received frame come first.
    ///
    /// # Errors
    /// [`SendError`] when frames of a cancelled send were left and could not be written.
    pub async fn into_raw(self) -> Result<RawStream, SendError> {
        Ok(RawStream { sender: self.sender.into_raw().await?, receiver: self.receiver.into_raw() })
    }

    /// Takes frames of up to `bytes` in both directions, instead of `FRAME_BYTES_MAX`.
    pub fn limit(&mut self, bytes: usize) {
        self.sender.max = bytes;
        self.receiver.max = bytes;
    }
}

impl FrameSender {
    /// Sends one message. When cancelled, the message is or will be sent: what is left of it goes
    /// out in front of the next one, or with [`Self::flush`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send<M: Serialize>(&mut self, message: &M) -> Result<(), SendError> {
        self.flush().await?;
        self.queue(message)?;
        self.flush().await
    }

    /// Sends messages together, in one write where they fit [`limits::BATCH_BYTES`]. When
    /// cancelled, some of the last messages may not be sent, but none is sent half.
    ///
    /// # Errors
    /// [`SendError`]; messages in front of one that is too long are sent.
    pub async fn send_all<M: Serialize>(&mut self, messages: &[M]) -> Result<(), SendError> {
        self.flush().await?;
        for message in messages {
            if let Err(error) = self.queue(message) {
                self.flush().await?;
                return Err(error);
            }
            if self.buffer.len() >= limits::BATCH_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    /// Sends a message with bytes right behind it, at a pace that is watched. When cancelled, the
    /// stream is of no use.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send_with<M: Serialize>(
        &mut self,
        message: &M,
        bytes: Bytes,
    ) -> Result<(), SendError> {
        self.flush().await?;
        self.queue(message)?;
        // Short ones go in one write; long ones are not copied.
        if bytes.len() <= limits::BUFFER_BYTES_KEPT {
            self.buffer.extend_from_slice(&bytes);
            return self.flush().await;
        }
        self.flush().await?;
        let mut pace = Pace::new();
        let mut chunks = [bytes];
        let mut rest = &mut chunks[..];
        while !rest.is_empty() {
            match timeout_at(pace.deadline, self.raw.stream.write_many_chunks(&mut rest)).await {
                Ok(count) => pace.moved(count?),
                Err(_) => {
                    self.raw.reset(code::STALLED);
                    return Err(SendError::Stalled);
                }
            }
        }
        Ok(())
    }

    /// Sends what a cancelled call left behind.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn flush(&mut self) -> Result<(), SendError> {
        while self.sent < self.buffer.len() {
            let write = self.raw.stream.write(&self.buffer[self.sent..]);
            match timeout(limits::STALL_TIMEOUT, write).await {
                Ok(count) => self.sent += count?,
                Err(_) => {
                    self.raw.reset(code::STALLED);
                    return Err(SendError::Stalled);
                }
            }
        }
        self.sent = 0;
        self.buffer.clear();
        self.buffer.shrink_to(limits::BUFFER_BYTES_KEPT);
        Ok(())
    }

    /// Sends what is left and tells the peer that no more comes.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn finish(&mut self) -> Result<(), SendError> {
        self.flush().await?;
        self.raw.stream.finish().map_err(|_| SendError::Finished)
    }

    /// After [`Self::finish`]: waits until the peer's machine has received everything. Closing the
    /// connection before that may lose the last messages.
    ///
    /// # Errors
    /// [`SendError::Stopped`] when the peer did not want all of it, [`SendError::Lost`] when the
    /// connection ended before, [`SendError::Stalled`].
    pub async fn delivered(&mut self) -> Result<(), SendError> {
        match timeout(limits::STALL_TIMEOUT, self.raw.stream.stopped()).await {
            Err(_) => Err(SendError::Stalled),
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(code))) => Err(SendError::Stopped { code: code.into_inner() }),
            Ok(Err(iroh::endpoint::StoppedError::ConnectionLost(error))) => {
                Err(SendError::Lost(error.into()))
            }
            Ok(Err(iroh::endpoint::StoppedError::ZeroRttRejected)) => Err(SendError::Finished),
        }
    }

    /// Breaks off: the peer reads an error instead of an end.
    pub fn reset(&mut self, code: u32) {
        self.raw.reset(code);
    }

    /// The bytes behind the frames.
    ///
    /// # Errors
    /// [`SendError`] when frames of a cancelled send were left and could not be written.
    pub async fn into_raw(mut self) -> Result<RawSender, SendError> {
        self.flush().await?;
        Ok(self.raw)
    }

    fn queue<M: Serialize>(&mut self, message: &M) -> Result<(), SendError> {
        let head = self.buffer.len();
        codec::put_frame(message, &mut self.buffer);
        let length = self.buffer.len() - head - FRAME_HEAD_BYTES;
        if length > self.max {
            self.buffer.truncate(head);
            return Err(SendError::TooLong { length, max: self.max });
        }
        Ok(())
    }
}

impl FrameReceiver {
    /// The next message; `None` at a clean end. Loses nothing when cancelled.
    ///
    /// Waits as long as the connection lives: a silent peer with a living machine is not an error.
    ///
    /// # Errors
    /// [`RecvError`]; the stream is of no use afterwards.
    pub async fn recv<M: DeserializeOwned>(&mut self) -> Result<Option<M>, RecvError> {
        if self.stopped {
            return Err(RecvError::Stopped);
        }
        loop {
            let arrived = self.raw.arrived();
            let mut whole = FRAME_HEAD_BYTES;
            if let Some(head) = arrived.first_chunk::<FRAME_HEAD_BYTES>() {
                whole += codec::frame_length(*head, self.max).map_err(|e| self.refuse(e))?;
                if let Some(body) = self.raw.arrived().get(FRAME_HEAD_BYTES..whole) {
                    let message = codec::decode(body).map_err(|e| self.refuse(e))?;
                    self.raw.take(whole);
                    return Ok(Some(message));
                }
            }
            if !self.raw.fill(whole).await? {
                return match self.raw.arrived().len() {
                    0 => Ok(None),
                    arrived => Err(RecvError::Truncated { missing: whole - arrived }),
                };
            }
        }
    }

    /// Some of the bytes behind the last message, at least one; 0 at the end of the stream. Loses
    /// nothing when cancelled.
    ///
    /// # Errors
    /// [`RecvError`]; the stream is of no use afterwards.
    pub(crate) async fn recv_bytes(&mut self, into: &mut [u8]) -> Result<usize, RecvError> {
        let arrived = self.raw.arrived();
        if !arrived.is_empty() {
            let count = arrived.len().min(into.len());
            into[..count].copy_from_slice(&arrived[..count]);
            self.raw.take(count);
            return Ok(count);
        }
        Ok(self.raw.stream.read(into).await?.unwrap_or(0))
    }

    /// Tells the peer to send no more.
    pub fn stop(&mut self, code: u32) {
        self.stopped = true;
        self.raw.stop(code);
    }

    /// The bytes behind the frames; those that have arrived come first.
    #[must_use]
    pub fn into_raw(self) -> RawReceiver {
        self.raw
    }

    fn refuse(&mut self, error: DecodeError) -> RecvError {
        self.stop(code::BAD_FRAME);
        RecvError::Garbage(error)
    }
}
