//! `isos/fragment/1`: fragments and heads to and from a host, many on one stream.
//!
//! Requests are not answered one by one: a peer sends as many as it likes, and the answers come in
//! their order (`isos_base::fragment::wire`). So one stream fills a line and a disk, however far
//! away they are. Nothing is believed: whoever gets a piece or a receipt checks it, and a peer that
//! is too slow is left. Where fragments lie, and who may have them, is the store's business.

mod client;
mod errors;
mod server;

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{HeadSet, Piece, SignedGrant, SignedHead, SignedReceipt};
use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, LeaseId, Time};

pub use client::{
    FragmentAsker, FragmentHearer, Got, Heard, Wanted, audit_fragment, get_fragments, get_head,
    has_fragments, open_fragments, present_grant, put_fragments, remove_fragments, set_head,
    used_of_lease,
};
pub use errors::{FragmentError, FragmentServeError};
pub use server::{FragmentBudget, FragmentsServed, serve_fragment_stream, serve_fragments};

/// Where fragments and heads live. Implemented by the shells over their packs.
pub trait FragmentStore: Send + Sync {
    /// Believes a grant, or does not; until when it is good.
    fn present(
        &self,
        from: PublicKey,
        grant: SignedGrant,
    ) -> impl Future<Output = Result<Time, FragmentRefusal>> + Send;

    /// Keeps a fragment: it is on the disk when this returns. The bytes may be any.
    fn put(
        &self,
        from: PublicKey,
        lease: LeaseId,
        fragment: Guid,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<SignedReceipt, FragmentRefusal>> + Send;

    /// Groups of a fragment, if it is here and `from` may have it.
    fn read(
        &self,
        from: PublicKey,
        fragment: Guid,
        first: u32,
        count: u32,
    ) -> impl Future<Output = Result<Option<Piece>, FragmentRefusal>> + Send;

    /// Which of these are here, in the same order.
    fn has(
        &self,
        from: PublicKey,
        fragments: Vec<Guid>,
    ) -> impl Future<Output = Result<Vec<bool>, FragmentRefusal>> + Send;

    /// Removes fragments of a lease that is `from`'s; how many there were.
    fn remove(
        &self,
        from: PublicKey,
        lease: LeaseId,
        fragments: Vec<Guid>,
    ) -> impl Future<Output = Result<u32, FragmentRefusal>> + Send;

    /// Bytes under a lease that is `from`'s.
    fn used(
        &self,
        from: PublicKey,
        lease: LeaseId,
    ) -> impl Future<Output = Result<Bytes, FragmentRefusal>> + Send;

    /// Keeps a head under a lease that is `from`'s, or tells of a newer one. Its key has signed it.
    fn set_head(
        &self,
        from: PublicKey,
        lease: LeaseId,
        head: SignedHead,
    ) -> impl Future<Output = Result<HeadSet, FragmentRefusal>> + Send;

    /// The newest head of a key that is here. Anybody may ask: it says nothing without a secret.
    fn head(
        &self,
        from: PublicKey,
        key: PublicKey,
    ) -> impl Future<Output = Result<Option<SignedHead>, FragmentRefusal>> + Send;
}
