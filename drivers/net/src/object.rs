//! `isos/object/1`: bytes by GUID over a stream of their own, hashed while they flow.
//!
//! A request frame, an answer frame, and the bytes behind one of them (`isos_base::wire`). Nothing
//! is believed: the receiver counts and hashes, and a peer that is too slow is left. Where objects
//! are kept is the store's business.

mod client;
mod errors;
mod server;
mod transfer;

use std::io;

use isos_base::Guid;
use isos_base::key::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};

pub use client::{get_object, put_object};
pub use errors::{GetError, PutError, ServeError};
pub use server::{serve_object, serve_objects};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The object was sent, with so many bytes; the peer may not have read all of them yet.
    Sent(Guid, u64),
    /// The object came and is kept, with so many bytes.
    Kept(Guid, u64),
    /// The object was already here.
    Had(Guid),
    /// The object is not here.
    Missing(Guid),
    /// The store did not want it.
    Refused(Guid),
}

/// What the store says to an object that a peer wants to give it.
#[derive(Debug)]
pub enum Admission<W> {
    /// Write it here; it counts when it is committed.
    Write(W),
    /// It is here already.
    Have,
    /// Not this one, from this peer, now; with words for people.
    Refuse(String),
}

/// Where objects live. Implemented by the shells over their shelf.
pub trait ObjectStore: Send + Sync {
    /// Reads an object.
    type Reader: AsyncRead + Send + Unpin;
    /// Takes an object; thrown away without a commit, it leaves nothing behind.
    type Writer: AsyncWrite + Send + Unpin;

    /// The object and its length in bytes, if it is here and `from` may have it.
    ///
    /// # Errors
    /// Whatever the disk says; the peer is told that the store failed.
    fn open(
        &self,
        from: PublicKey,
        guid: Guid,
    ) -> impl Future<Output = io::Result<Option<(Self::Reader, u64)>>> + Send;

    /// Whether the store takes an object of `size` bytes from `from`.
    fn accept(
        &self,
        from: PublicKey,
        guid: Guid,
        size: u64,
    ) -> impl Future<Output = Admission<Self::Writer>> + Send;

    /// Keeps what was written: its bytes are those of `guid`, and it is on disk when this returns.
    ///
    /// # Errors
    /// Whatever the disk says; nothing is kept then.
    fn commit(
        &self,
        guid: Guid,
        writer: Self::Writer,
    ) -> impl Future<Output = io::Result<()>> + Send;
}
