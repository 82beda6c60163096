//! `wasi:io`: streams over files, standard streams, pollables that are always ready.

#![expect(unreachable_pub, reason = "bindgen! re-exports the resource types with pub")]

use wasmtime::component::Resource;

use super::wasi::filesystem::types::ErrorCode;
use super::wasi::io::{error, poll, streams};
use crate::host::{Host, Stream};
use crate::stop::{No, Stop};
use crate::vfs::Handle;

/// Bytes of one read or write; programs ask again for more.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// What went wrong with a stream, for programs that ask.
#[derive(Debug)]
pub struct StreamFailure(pub(super) ErrorCode);

/// Why a stream function does not answer with data.
#[derive(Debug)]
pub enum StreamNo {
    Closed,
    Failed(No),
}

impl<E: Into<No>> From<E> for StreamNo {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A stream to read.
#[derive(Debug)]
pub enum Input {
    /// Standard input.
    Empty,
    /// A file from an offset on.
    File { handle: Handle, offset: u64 },
}

/// A stream to write.
#[derive(Debug)]
pub enum Output {
    /// Standard output or error.
    Standard(Stream),
    /// A file from an offset on.
    File { handle: Handle, offset: u64 },
    /// The end of a file.
    Append(Handle),
}

/// Something to wait for: nothing, or a moment of the virtual clock.
#[derive(Debug)]
pub struct Pollable(pub(super) Option<u64>);

type Answer<T> = Result<T, StreamNo>;

impl Host {
    fn read_stream(&mut self, stream: &Resource<Input>, length: u64) -> Answer<Vec<u8>> {
        let length = usize::try_from(length.min(PIECE_BYTES_MAX)).unwrap_or(usize::MAX);
        self.pays(length)?;
        let mut buffer = vec![0; length];
        let read = match self.table.get_mut(stream)? {
            Input::Empty => 0,
            Input::File { handle, offset } => {
                let n = self.vfs.read(handle, *offset, &mut buffer)?;
                *offset += n as u64;
                n
            }
        };
        if read == 0 && length > 0 {
            return Err(StreamNo::Closed);
        }
        buffer.truncate(read);
        Ok(buffer)
    }

    fn write_out(&mut self, stream: &Resource<Output>, bytes: &[u8]) -> Answer<()> {
        if let Output::Standard(standard) = self.table.get(stream)? {
            let standard = *standard;
            return Ok(self.write_stream(standard, bytes)?);
        }
        self.pays(bytes.len())?;
        let mut hole = 0;
        match self.table.get_mut(stream)? {
            Output::Standard(_) => {}
            Output::File { handle, offset } => {
                let end = self.vfs.stat(handle).size;
                self.vfs.write(handle, *offset, bytes)?;
                if !bytes.is_empty() {
                    // Filled with zeros, and paid for.
                    hole = offset.saturating_sub(end);
                }
                *offset += bytes.len() as u64;
            }
            Output::Append(handle) => {
                let end = self.vfs.stat(handle).size;
                self.vfs.write(handle, end, bytes)?;
            }
        }
        self.moves(usize::try_from(hole).unwrap_or(usize::MAX));
        Ok(())
    }
}

impl streams::Host for Host {
    fn convert_stream_error(&mut self, error: StreamNo) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamNo::Closed => Ok(streams::StreamError::Closed),
            StreamNo::Failed(No::Stop(stop)) => Err(stop.into()),
            StreamNo::Failed(No::Errno(errno)) => {
                let failure = self.table.push(StreamFailure(errno.into()))?;
                Ok(streams::StreamError::LastOperationFailed(failure))
            }
        }
    }
}

impl streams::HostInputStream for Host {
    fn read(&mut self, stream: Resource<Input>, length: u64) -> Answer<Vec<u8>> {
        self.read_stream(&stream, length)
    }

    fn blocking_read(&mut self, stream: Resource<Input>, length: u64) -> Answer<Vec<u8>> {
        self.read_stream(&stream, length)
    }

    fn skip(&mut self, stream: Resource<Input>, length: u64) -> Answer<u64> {
        Ok(self.read_stream(&stream, length)?.len() as u64)
    }

    fn blocking_skip(&mut self, stream: Resource<Input>, length: u64) -> Answer<u64> {
        Ok(self.read_stream(&stream, length)?.len() as u64)
    }

    fn subscribe(&mut self, _stream: Resource<Input>) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.table.push(Pollable(None))?)
    }

    fn drop(&mut self, stream: Resource<Input>) -> wasmtime::Result<()> {
        if let Input::File { handle, .. } = self.table.delete(stream)? {
            self.vfs.close(handle);
        }
        Ok(())
    }
}

impl streams::HostOutputStream for Host {
    fn check_write(&mut self, _stream: Resource<Output>) -> Answer<u64> {
        Ok(PIECE_BYTES_MAX)
    }

    fn write(&mut self, stream: Resource<Output>, bytes: Vec<u8>) -> Answer<()> {
        self.write_out(&stream, &bytes)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<Output>, bytes: Vec<u8>) -> Answer<()> {
        self.write_out(&stream, &bytes)
    }

    fn flush(&mut self, _stream: Resource<Output>) -> Answer<()> {
        Ok(())
    }

    fn blocking_flush(&mut self, _stream: Resource<Output>) -> Answer<()> {
        Ok(())
    }

    fn subscribe(&mut self, _stream: Resource<Output>) -> wasmtime::Result<Resource<Pollable>> {
        Ok(self.table.push(Pollable(None))?)
    }

    fn write_zeroes(&mut self, stream: Resource<Output>, length: u64) -> Answer<()> {
        if length > PIECE_BYTES_MAX {
            // More than `check-write` allows: a mistake that the interface calls a trap.
            return Err(Stop::Aborted.into());
        }
        self.write_out(&stream, &vec![0; length as usize])
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<Output>,
        length: u64,
    ) -> Answer<()> {
        streams::HostOutputStream::write_zeroes(self, stream, length)
    }

    fn splice(
        &mut self,
        stream: Resource<Output>,
        source: Resource<Input>,
        length: u64,
    ) -> Answer<u64> {
        let bytes = self.read_stream(&source, length)?;
        self.write_out(&stream, &bytes)?;
        Ok(bytes.len() as u64)
    }

    fn blocking_splice(
        &mut self,
        stream: Resource<Output>,
        source: Resource<Input>,
        length: u64,
    ) -> Answer<u64> {
        streams::HostOutputStream::splice(self, stream, source, length)
    }

    fn drop(&mut self, stream: Resource<Output>) -> wasmtime::Result<()> {
        match self.table.delete(stream)? {
            Output::Standard(_) => {}
            Output::File { handle, .. } | Output::Append(handle) => self.vfs.close(handle),
        }
        Ok(())
    }
}

impl error::Host for Host {}

impl error::HostError for Host {
    fn to_debug_string(&mut self, error: Resource<StreamFailure>) -> wasmtime::Result<String> {
        Ok(format!("{:?}", self.table.get(&error)?.0))
    }

    fn drop(&mut self, error: Resource<StreamFailure>) -> wasmtime::Result<()> {
        self.table.delete(error)?;
        Ok(())
    }
}

impl Host {
    /// Virtual nanoseconds until it rings.
    fn left_ns(&mut self, pollable: &Resource<Pollable>) -> wasmtime::Result<u64> {
        let at = self.table.get(pollable)?.0;
        Ok(at.map_or(0, |at| at.saturating_sub(self.monotonic_ns())))
    }
}

impl poll::HostPollable for Host {
    fn ready(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<bool> {
        Ok(self.left_ns(&pollable)? == 0)
    }

    fn block(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        let left = self.left_ns(&pollable)?;
        self.sleep(left);
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<Pollable>) -> wasmtime::Result<()> {
        self.table.delete(pollable)?;
        Ok(())
    }
}

impl poll::Host for Host {
    fn poll(&mut self, list: Vec<Resource<Pollable>>) -> wasmtime::Result<Vec<u32>> {
        if list.is_empty() {
            // The interface says that this traps.
            return Err(Stop::Aborted.into());
        }
        self.handles(list.len());
        let left =
            list.iter().map(|one| self.left_ns(one)).collect::<wasmtime::Result<Vec<_>>>()?;
        let first = left.iter().copied().min().unwrap_or(0);
        self.sleep(first);
        Ok((0..).zip(left).filter(|(_, left)| *left <= first).map(|(index, _)| index).collect())
    }
}
