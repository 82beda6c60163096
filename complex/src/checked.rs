//! An object on its way out, hashed once more: a disk may have changed it since it was put there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use isos_base::Guid;
use isos_base::guid::GuidHasher;
use isos_disk::Shelf;
use tokio::io::{AsyncRead, ReadBuf};

use crate::core::report;

/// Reads an object of a shelf. At its end, if the bytes were not those of the name, the shelf is
/// made to look, gives the object up, and takes it again from whoever has it. The receiver finds
/// out by itself.
pub(crate) struct Checked {
    file: tokio::fs::File,
    /// Until all has been read.
    hasher: Option<GuidHasher>,
    left: u64,
    shelf: Shelf,
    guid: Guid,
}

impl Checked {
    pub(crate) fn new(shelf: Shelf, guid: Guid, file: std::fs::File, size: u64) -> Self {
        let file = tokio::fs::File::from_std(file);
        Self { file, hasher: Some(GuidHasher::new()), left: size, shelf, guid }
    }

    fn read(&mut self, piece: &[u8]) {
        let Some(hasher) = &mut self.hasher else { return };
        hasher.update(piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left > 0 && !piece.is_empty() {
            return;
        }
        let read = self.hasher.take().map(|hasher| hasher.finish());
        if read == Some(self.guid) {
            return;
        }
        let (shelf, guid) = (self.shelf.clone(), self.guid);
        tokio::task::spawn_blocking(move || match shelf.verify(&guid) {
            Ok(_) => tracing::error!("object {guid} was read wrongly and lies there right"),
            Err(error) => tracing::error!(
                "{}; it is gone from the shelf: whoever has it must submit it again, and the disk \
                 should be looked at",
                report(&error)
            ),
        });
    }
}

impl AsyncRead for Checked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = target.filled().len();
        let read = Pin::new(&mut self.file).poll_read(context, target);
        if let Poll::Ready(Ok(())) = read {
            self.read(&target.filled()[before..]);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use isos_base::Bytes;
    use isos_disk::{Durability, ShelfLimits};
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn an_object_that_has_changed_is_given_up_when_somebody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let limits = ShelfLimits { quota: Bytes::mib(1), free_floor: Bytes::ZERO };
        let shelf = Shelf::open(folder.path(), limits, Durability::Cache).unwrap();
        let guid = shelf.put(b"a program").unwrap();
        let read = async |shelf: &Shelf| {
            let (file, size) = shelf.open_object(&guid).unwrap();
            let mut bytes = Vec::new();
            let mut checked = Checked::new(shelf.clone(), guid, file, size.0);
            checked.read_to_end(&mut bytes).await.unwrap();
            bytes
        };
        assert_eq!(read(&shelf).await, b"a program");
        assert!(shelf.contains(&guid));

        let path = shelf.path(&guid).unwrap();
        // Read-only to others: somebody with more rights, or a bad disk.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"a problem").unwrap();
        assert_eq!(read(&shelf).await, b"a problem");
        while shelf.contains(&guid) {
            tokio::task::yield_now().await;
        }
        assert_eq!(shelf.put(b"a program").unwrap(), guid);
        assert_eq!(read(&shelf).await, b"a program");
    }
}
