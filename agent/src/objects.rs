//! Objects from and to the complex, over a connection that lives as long as the session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use isos_base::wire::OBJECT_ALPN;
use isos_base::{Bytes, Guid};
use isos_disk::{ObjectWriter, Shelf};
use isos_net::{Connection, Endpoint, PeerAddr};
use tokio::io::AsyncWrite;
use tokio::sync::{Mutex, watch};

/// A list of files: a million entries of about a hundred bytes.
const LIST_BYTES_MAX: Bytes = Bytes::mib(128);

/// Why an object could not be moved.
pub(crate) type Why = String;

/// The way to the complex's objects.
pub(crate) struct Objects {
    endpoint: Endpoint,
    complex: PeerAddr,
    connection: Mutex<Option<Connection>>,
    /// Whether there is a session: without one the complex gives and takes no objects.
    session: watch::Sender<bool>,
}

impl Objects {
    pub(crate) fn new(endpoint: Endpoint, complex: PeerAddr) -> Self {
        let session = watch::channel(false).0;
        Self { endpoint, complex, connection: Mutex::new(None), session }
    }

    pub(crate) fn session_began(&self) {
        let _ = self.session.send_replace(true);
    }

    pub(crate) fn session_ended(&self) {
        let _ = self.session.send_replace(false);
    }

    async fn connection(&self) -> Result<Connection, Why> {
        let mut session = self.session.subscribe();
        let _ = session.wait_for(|is| *is).await;
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|held| held.is_closed().is_none()) {
            return Ok(connection.clone());
        }
        let connection = self.endpoint.connect(&self.complex, OBJECT_ALPN).await;
        let connection = connection.map_err(|error| error.to_string())?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Brings an object to the shelf, if it is not there.
    pub(crate) async fn fetch(&self, shelf: &Shelf, guid: Guid, size: Bytes) -> Result<(), Why> {
        if shelf.contains(&guid) {
            return Ok(());
        }
        let connection = self.connection().await?;
        // What was used longest ago goes, if it must; pinned objects stay.
        shelf.make_room(size).map_err(|error| error.to_string())?;
        let writer = shelf.writer(guid, size).map_err(|error| error.to_string())?;
        let mut sink = Sink(writer);
        let got = isos_net::get_object(&connection, guid, size.0, &mut sink).await;
        got.map_err(|error| error.to_string())?;
        let finished = tokio::task::spawn_blocking(move || sink.0.finish()).await;
        match finished {
            Ok(Ok(_)) => Ok(()),
            // Two fetches of one object may race; either's bytes are right.
            Ok(Err(error)) if !shelf.contains(&guid) => Err(error.to_string()),
            Ok(Err(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The bytes of an object whose length is not known before, through memory.
    pub(crate) async fn fetch_small(&self, shelf: &Shelf, guid: Guid) -> Result<Vec<u8>, Why> {
        if !shelf.contains(&guid) {
            let connection = self.connection().await?;
            let max = LIST_BYTES_MAX.0;
            let mut bytes = Vec::new();
            let got = isos_net::get_object(&connection, guid, max, &mut bytes).await;
            got.map_err(|error| error.to_string())?;
            // The shelf is a cache: without room the bytes are used and forgotten.
            let _ = shelf.put(&bytes);
            return Ok(bytes);
        }
        shelf.read(&guid, LIST_BYTES_MAX).map_err(|error| error.to_string())
    }

    /// Hands an object over. Tries until it is done: there is nowhere else to put it.
    pub(crate) async fn hand_over(&self, guid: Guid, bytes: &[u8]) {
        /// Between attempts.
        const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
        loop {
            let attempt = async {
                let connection = self.connection().await?;
                let put = isos_net::put_object(&connection, guid, bytes.len() as u64, bytes).await;
                put.map_err(|error| error.to_string())
            };
            match attempt.await {
                Ok(()) => return,
                Err(why) => tracing::warn!("an output waits to be handed over: {why}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// An object on its way to the shelf. Pieces go to the page cache, so they are written in place.
struct Sink(ObjectWriter);

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(piece).map(|()| piece.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
