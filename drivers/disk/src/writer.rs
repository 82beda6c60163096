//! An object on its way to the shelf: hashed while it comes, kept only when it is right.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use isos_base::guid::GuidHasher;
use isos_base::{Bytes, Guid};
use tokio::io::AsyncWrite;

use crate::error::ShelfError;
use crate::shelf::Shelf;

/// Takes the bytes of one object. Dropped before [`ObjectWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct ObjectWriter {
    shelf: Shelf,
    file: File,
    /// Gone when the object was adopted.
    temp: Option<PathBuf>,
    wanted: Option<Guid>,
    hasher: GuidHasher,
    /// Exact when the GUID is known, else the most that may come.
    size: u64,
    written: u64,
}

impl ObjectWriter {
    pub(crate) fn new(
        shelf: &Shelf,
        wanted: Option<Guid>,
        size: Bytes,
    ) -> Result<Self, ShelfError> {
        let inner = shelf.inner();
        let temp = inner.reserve(size)?;
        let file = inner.storage.create(&temp).map_err(|e| {
            inner.release(size.0);
            inner.refusal("create", &temp, size.0, e)
        })?;
        Ok(Self {
            shelf: shelf.clone(),
            file,
            temp: Some(temp),
            wanted,
            hasher: GuidHasher::new(),
            size: size.0,
            written: 0,
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// More bytes than announced, or the disk refuses: drop the writer then.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), ShelfError> {
        self.write_hashed(piece)?;
        self.hasher.update(piece);
        Ok(())
    }

    /// Takes the next piece of bytes whose GUID the caller has computed.
    pub(crate) fn write_hashed(&mut self, piece: &[u8]) -> Result<(), ShelfError> {
        let written = self.written.saturating_add(piece.len() as u64);
        if written > self.size {
            return Err(ShelfError::WrongSize { wanted: self.size, got: written });
        }
        let inner = self.shelf.inner();
        // Present until `keep`, which takes the writer.
        if let Some(temp) = &self.temp {
            inner
                .storage
                .write(&mut self.file, temp, piece)
                .map_err(|e| inner.refusal("write", temp, self.size, e))?;
        }
        self.written = written;
        Ok(())
    }

    /// How many bytes have come.
    #[must_use]
    pub const fn written(&self) -> Bytes {
        Bytes(self.written)
    }

    /// Checks length and hash and puts the object on the shelf.
    ///
    /// # Errors
    /// Fewer bytes than announced, not the bytes of the GUID, or the disk refuses. The object is
    /// not on the shelf then, except when the very last step failed (a folder could not be synced):
    /// then it is there, perhaps not for good.
    pub fn finish(self) -> Result<Guid, ShelfError> {
        let got = self.hasher.finish();
        if let Some(wanted) = self.wanted {
            if self.written != self.size {
                return Err(ShelfError::WrongSize { wanted: self.size, got: self.written });
            }
            if wanted != got {
                return Err(ShelfError::WrongBytes { wanted, got });
            }
        }
        self.keep(got)
    }

    pub(crate) fn keep(mut self, guid: Guid) -> Result<Guid, ShelfError> {
        if let Some(temp) = self.temp.take() {
            let inner = self.shelf.inner();
            let adopted = inner.adopt(&self.file, &temp, guid, self.written);
            if adopted.is_err() {
                // Gives `drop` its work back; harmless if the file was renamed already.
                self.temp = Some(temp);
            }
            adopted?;
        }
        Ok(guid)
    }
}

/// For transfers. Pieces go to the page cache, which is short enough to be done in place.
impl AsyncWrite for ObjectWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(piece).map(|()| piece.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        let inner = self.shelf.inner();
        inner.release(self.size);
        if let Some(temp) = &self.temp {
            // Best effort: what stays is removed when the shelf is opened next.
            let _ = inner.storage.remove(temp);
        }
    }
}
