//! The transport driver: connections between keys, frames on streams, objects, fragments, short
//! questions, what programs say to each other, and a relay of our own.
//!
//! A peer is dialled by its public key over QUIC (iroh), straight where the network allows, else
//! through a relay that some complex runs; both ends are authenticated before a byte of ours moves.
//! This crate decides nothing: who is admitted, what a frame means, where an object lives and when
//! to dial again are the shells' business. It contacts no infrastructure but the peers and relays
//! that it is given: no public relay, no address lookup, no name server but the system's own.
//!
//! Nothing outside this crate names the transport library.

mod accept;
mod brief;
mod connection;
mod endpoint;
mod fragment;
pub mod limits;
mod object;
mod pace;
mod peers;
mod raw;
mod relay;
mod stream;
mod transport;

pub use accept::Incoming;
pub use brief::{BriefAnswer, BriefAsker, BriefError, answer_briefly};
pub use connection::{Closed, Connection, OpenError, code};
pub use endpoint::{
    BindError, ConnectError, Endpoint, EndpointConfig, OnlineError, PeerAddr, RelayAddr, RelayError,
};
pub use fragment::{
    FragmentAsker, FragmentBudget, FragmentError, FragmentHearer, FragmentServeError,
    FragmentStore, FragmentsServed, Got, Heard, Wanted, audit_fragment, get_fragments, get_head,
    has_fragments, open_fragments, present_grant, put_fragments, remove_fragments,
    serve_fragment_stream, serve_fragments, set_head, used_of_lease,
};
pub use object::{
    Admission, GetError, ObjectStore, PutError, ServeError, Served, get_object, put_object,
    serve_object, serve_objects,
};
pub use peers::{
    PeerCall, PeerCaller, PeerError, PeerLine, PeerReceiver, PeerSender, call_peer, hear_peer,
};
pub use raw::{RawReceiver, RawSender, RawStream};
pub use relay::{Guest, Relay, RelaySpawnError};
pub use stream::{FrameReceiver, FrameSender, RecvError, SendError, Stream};

/// The cause of an error, as the transport library reports it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Text that a peer chose, fit for a screen: one line, no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(limits::PEER_TEXT_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
