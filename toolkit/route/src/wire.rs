//! `isos/route/1`: one request and its answer on a stream of their own, between hosts that have
//! proven their keys to each other.
//!
//! Whoever asks says what it knows already, and only what is nearer is told. So answers are short,
//! and one that says more than was asked is known to be a lie.

use std::sync::Arc;

use isos_base::codec::{self, DecodeError};
use isos_base::time::Span;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::contact::Contact;
use crate::pointer::{Pointer, Put};
use crate::position::Position;

/// The protocol, as it is named in a handshake.
pub const ALPN: &[u8] = b"isos/route/1";
/// A request: room for [`PUT_MAX`] pointers of holders with long hints.
pub const REQUEST_BYTES_MAX: usize = 48 << 10;
/// An answer: room for all contacts and pointers that one may have.
pub const ANSWER_BYTES_MAX: usize = 32 << 10;
/// Contacts of one answer.
pub const CONTACTS_MAX: usize = 20;
/// Marks of contacts that the asker knows.
pub const KNOWN_MAX: usize = 32;
/// Pointers of one answer.
pub const POINTERS_MAX: usize = 8;
/// Pointers of one put.
pub const PUT_MAX: usize = 64;

/// A request, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How to reach the asker, if it is a router that may not be known yet. Its key must be the one
    /// that the connection has proven.
    pub from: Option<Arc<Contact>>,
    /// What it asks.
    pub request: Request,
}

/// What may be asked of a router. New kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Whether it is there.
    Ping,
    /// Who is nearer to a place.
    Find(Find),
    /// To keep pointers.
    Put(Vec<Pointer>),
}

/// Who is nearer to a place, or knows who holds what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Find {
    /// The place.
    pub target: Position,
    /// Only contacts whose distance begins with these 64 bits or less.
    pub within: u64,
    /// At most so many.
    pub want: u8,
    /// Not those with these marks ([`Position::mark`]): the asker has them.
    pub known: Vec<u32>,
    /// Whether pointers are wanted as well; the place is a GUID then.
    pub pointers: bool,
}

/// What a router answers. New kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is there.
    Pong,
    /// Contacts that it knows to be alive, and pointers.
    Found {
        /// As were asked for, the nearest first.
        contacts: Vec<Arc<Contact>>,
        /// Some of the GUID's.
        pointers: Vec<Pointer>,
    },
    /// What became of each pointer of a put, in order.
    Put(Vec<Put>),
    /// Too much is asked; again after so long.
    Busy(Span),
}

/// Why a message is refused though it could be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not a message of this protocol.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// More of something than the protocol allows.
    #[error("{count} {what} in one message; {max} at the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

impl Ask {
    /// The bytes of the request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError`] for anything but one request within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let ask: Self = decode_short(bytes, REQUEST_BYTES_MAX)?;
        match &ask.request {
            Request::Ping => {}
            Request::Find(find) => {
                at_most("marks", find.known.len(), KNOWN_MAX)?;
                at_most("wanted contacts", usize::from(find.want), CONTACTS_MAX)?;
            }
            Request::Put(pointers) => at_most("pointers", pointers.len(), PUT_MAX)?,
        }
        Ok(ask)
    }
}

impl Answer {
    /// The bytes of the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`WireError`] for anything but one answer within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let answer: Self = decode_short(bytes, ANSWER_BYTES_MAX)?;
        match &answer {
            Self::Pong | Self::Busy(_) => {}
            Self::Found { contacts, pointers } => {
                at_most("contacts", contacts.len(), CONTACTS_MAX)?;
                at_most("pointers", pointers.len(), POINTERS_MAX)?;
            }
            Self::Put(puts) => at_most("pointers", puts.len(), PUT_MAX)?,
        }
        Ok(answer)
    }
}

fn decode_short<M: serde::de::DeserializeOwned>(
    bytes: &[u8],
    max: usize,
) -> Result<M, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { length: bytes.len(), max });
    }
    codec::decode(bytes)
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), WireError> {
    if count > max { Err(WireError::TooMany { what, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
