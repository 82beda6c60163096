//! The server's shelf as hosts see it: programs and inputs to fetch, outputs to hand over.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, limits};
use isos_disk::{ObjectWriter, Shelf};
use isos_net::{Admission, ObjectStore};
use tokio::io::AsyncWrite;

/// Hosts with a session, and how many they have.
#[derive(Debug, Default)]
pub(crate) struct Members(Mutex<HashMap<PublicKey, u32>>);

impl Members {
    pub(crate) fn contains(&self, key: PublicKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }
}

/// A membership that lasts as long as this value.
pub(crate) struct Admitted {
    members: Arc<Members>,
    key: PublicKey,
}

impl Admitted {
    pub(crate) fn enter(members: &Arc<Members>, key: PublicKey) -> Self {
        let mut map = members.0.lock().unwrap_or_else(PoisonError::into_inner);
        *map.entry(key).or_default() += 1;
        drop(map);
        Self { members: members.clone(), key }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut map = self.members.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.key);
            }
        }
    }
}

/// The shelf behind `isos/object/1`.
pub(crate) struct Store {
    pub(crate) shelf: Shelf,
    pub(crate) members: Arc<Members>,
}

impl ObjectStore for Store {
    type Reader = tokio::fs::File;
    type Writer = Writer;

    async fn open(
        &self,
        from: PublicKey,
        guid: Guid,
    ) -> io::Result<Option<(tokio::fs::File, u64)>> {
        if !self.members.contains(from) || !self.shelf.contains(&guid) {
            return Ok(None);
        }
        let shelf = self.shelf.clone();
        let opened = blocking(move || shelf.open_object(&guid)).await?;
        let (file, size) = opened.map_err(io::Error::other)?;
        Ok(Some((tokio::fs::File::from_std(file), size.0)))
    }

    async fn accept(&self, from: PublicKey, guid: Guid, size: u64) -> Admission<Writer> {
        if !self.members.contains(from) {
            return Admission::Refuse("only hosts with a session hand objects over".into());
        }
        if self.shelf.contains(&guid) {
            return Admission::Have;
        }
        // Paths and lengths come on top of the content.
        let max = limits::OUTPUT_BYTES_MAX.0 * 2 + 65_536;
        if size > max {
            return Admission::Refuse(format!("{size} bytes, an output has at most {max}"));
        }
        let shelf = self.shelf.clone();
        match blocking(move || shelf.writer(guid, Bytes(size))).await {
            Ok(Ok(writer)) => Admission::Write(Writer(Some(writer))),
            Ok(Err(error)) => Admission::Refuse(error.to_string()),
            Err(error) => Admission::Refuse(error.to_string()),
        }
    }

    async fn commit(&self, _: Guid, mut writer: Writer) -> io::Result<()> {
        let writer = writer.0.take().ok_or_else(|| io::Error::other("written already"))?;
        blocking(move || writer.finish()).await?.map_err(io::Error::other)?;
        Ok(())
    }
}

/// An object on its way to the shelf. Pieces go to the page cache, so they are written in place.
pub(crate) struct Writer(pub(crate) Option<ObjectWriter>);

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(writer) = &mut self.0 else {
            return Poll::Ready(Err(io::Error::other("written already")));
        };
        Poll::Ready(writer.write(piece).map(|()| piece.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what blocks on a disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
