//! `isos/fragment/1`: fragments and heads to and from a host.
//!
//! A stream carries any number of requests, each a frame, behind a `Put` the fragment's bytes. The
//! answers come in the order of the requests, behind a `Found` the bytes. Nobody waits for an
//! answer before the next request.

use serde::{Deserialize, Serialize};

use super::{Groups, HEADS_OF_LEASE_MAX, SignedGrant, SignedHead, SignedReceipt};
use crate::guid::Guid;
use crate::ids::LeaseId;
use crate::key::PublicKey;
use crate::time::{Span, Time};
use crate::units::Bytes;

/// The protocol that moves fragments.
pub const FRAGMENT_ALPN: &[u8] = b"isos/fragment/1";
/// A frame: as many names as a request may have, or the hashes of the largest fragment.
pub const FRAGMENT_FRAME_BYTES_MAX: usize = 36 << 10;
/// Fragments that one request names.
pub const FRAGMENTS_NAMED_MAX: usize = 1_024;

/// What a peer wants of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FragmentRequest {
    /// This is what I was granted; what follows may name its lease.
    Present(Box<SignedGrant>),
    /// Keep this fragment; so many bytes follow.
    Put {
        /// Under which lease.
        lease: LeaseId,
        /// Its name.
        fragment: Guid,
        /// Its length in bytes.
        length: u32,
    },
    /// Send me groups of this fragment.
    Get {
        /// Its name.
        fragment: Guid,
        /// The first of them.
        first: u32,
        /// How many; what is beyond the end is left out.
        count: u32,
    },
    /// Which of these do you have?
    Has(Vec<Guid>),
    /// Prove that you have this one: a group of it, before I lose patience.
    Audit {
        /// Its name.
        fragment: Guid,
        /// Which group, drawn at random.
        group: u32,
        /// Comes back with the answer, so that none is taken for another.
        nonce: u64,
    },
    /// I need these no more.
    Remove {
        /// Under which lease.
        lease: LeaseId,
        /// Their names.
        fragments: Vec<Guid>,
    },
    /// Keep this head, if it is the newest of its key that you know.
    SetHead {
        /// Under which lease.
        lease: LeaseId,
        /// The head; whoever has a lease may have one kept that somebody else has signed.
        head: Box<SignedHead>,
    },
    /// Which is the newest head of this key that you know?
    GetHead(PublicKey),
    /// How much lies under this lease of mine?
    GetUsed(LeaseId),
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FragmentAnswer {
    /// To `Present`: good until then.
    Granted(Time),
    /// To `Put`: on disk.
    Kept(Box<SignedReceipt>),
    /// To `Get`: so many bytes follow.
    Found(Found),
    /// To `Get` and `Audit`: it is not here.
    Missing,
    /// To `Has`, in the same order.
    Has(Vec<bool>),
    /// To `Audit`: the bytes of the group follow.
    Proof {
        /// That of the request.
        nonce: u64,
        /// Which bytes.
        found: Found,
    },
    /// To `Remove`: so many of them were there.
    Removed(u32),
    /// No, and why.
    Refused(FragmentRefusal),
    /// To `SetHead`: this version is on disk.
    HeadKept(u64),
    /// To `GetHead`: the newest that is here. To `SetHead`: not kept, since this one is newer, or
    /// has the same version and came first.
    Head(Option<Box<SignedHead>>),
    /// To `GetUsed`.
    Used(Bytes),
}

/// Which groups of a fragment follow, with the hashes of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Length of the whole fragment in bytes.
    pub length: u32,
    /// The first group that follows.
    pub first: u32,
    /// How many bytes follow.
    pub bytes: u32,
    /// The hashes of all groups.
    pub groups: Groups,
}

/// Why a host does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FragmentRefusal {
    /// The grant is not believed.
    Grant(String),
    /// The lease is not known, or not yours, or has ended: present its grant first.
    Lease,
    /// The lease has no room for it.
    LeaseFull,
    /// The host has no room now, whatever was granted: take another.
    HostFull,
    /// The bytes are not those of the name; so their GUID is this.
    WrongBytes(Guid),
    /// Longer than a fragment may be, or nothing.
    Length,
    /// More than a peer may ask at once; come back after this time.
    Busy(Span),
    /// The disk failed; another host may do better.
    Failed,
    /// The request cannot be meant: more names than allowed, a group that no fragment has.
    Malformed(String),
    /// The head is not believed.
    Head(String),
    /// The lease has as many heads as it may have.
    HeadsFull,
}

impl std::fmt::Display for FragmentRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Grant(why) => write!(f, "the grant is not good: {why}"),
            Self::Lease => f.write_str("no such lease is yours here now: present its grant first"),
            Self::LeaseFull => f.write_str("the lease is full: remove fragments or ask for more"),
            Self::HostFull => f.write_str("the host has no room now: take another"),
            Self::WrongBytes(got) => write!(f, "the bytes are those of {got}"),
            Self::Length => f.write_str("no fragment has that length"),
            Self::Busy(after) => write!(f, "the host is busy, come back in {after}"),
            Self::Failed => f.write_str("the host's disk failed: take another"),
            Self::Malformed(why) => write!(f, "the request makes no sense: {why}"),
            Self::Head(why) => write!(f, "the head is not good: {why}"),
            Self::HeadsFull => {
                write!(f, "the lease has {HEADS_OF_LEASE_MAX} heads: keep this under another")
            }
        }
    }
}
