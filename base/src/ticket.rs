//! Tickets: one copyable string that says where a complex is and carries a right to use it.
//!
//! `isos1` + base32 of postcard bytes with a BLAKE3 checksum, in the manner of iroh's tickets.

use std::net::SocketAddr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec;
use crate::guid::Guid;
use crate::key::PublicKey;
use crate::time::Time;

const PREFIX: &str = "isos1";
const CHECK_BYTES: usize = 4;
/// Characters that a ticket may have.
pub const TICKET_CHARS_MAX: usize = 8_192;

/// Where one server of a complex is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAddr {
    /// Its key: connections are authenticated by it.
    pub key: PublicKey,
    /// Addresses where its QUIC socket may be reached, best first.
    pub addresses: Vec<SocketAddr>,
    /// Its relay, for those who cannot reach it directly.
    pub relay: Option<String>,
}

/// How to reach a complex, and with which right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Key of the complex: what its tokens are signed with.
    pub complex: PublicKey,
    /// Its servers when the ticket was made, best first. Any of them knows the others.
    pub servers: Vec<ServerAddr>,
    /// The capability token.
    pub token: Vec<u8>,
    /// When the token expires, for a clear message; the token itself decides.
    pub expires: Time,
    /// Whether the world is one of `isos tour`, `isos dev` or a test: nothing in it is worth money.
    pub test_world: bool,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TicketError {
    /// It does not look like one.
    #[error("a ticket starts with \"{PREFIX}\" and has letters and digits only; copy it whole")]
    Shape,
    /// A character was changed or lost.
    #[error("the ticket is damaged: its checksum does not fit; copy it again, whole")]
    Checksum,
    /// It is whole, but not of a version that this program knows.
    #[error("the ticket is of another version of isos: {0}")]
    Version(#[from] codec::DecodeError),
}

impl Ticket {
    /// Whether its right has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires <= now
    }
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = codec::encode(self);
        let check = Guid::of(&bytes);
        bytes.extend_from_slice(&check.0[..CHECK_BYTES]);
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl std::str::FromStr for Ticket {
    type Err = TicketError;
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > TICKET_CHARS_MAX || !text.is_ascii() {
            return Err(TicketError::Shape);
        }
        let body = text.strip_prefix(PREFIX).ok_or(TicketError::Shape)?.to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(body.as_bytes()).map_err(|_| TicketError::Shape)?;
        let split = bytes.len().checked_sub(CHECK_BYTES).ok_or(TicketError::Shape)?;
        let (message, check) = bytes.split_at(split);
        if Guid::of(message).0[..CHECK_BYTES] != *check {
            return Err(TicketError::Checksum);
        }
        Ok(codec::decode(message)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            complex: PublicKey([5; 32]),
            servers: vec![ServerAddr {
                key: PublicKey([5; 32]),
                addresses: vec!["127.0.0.1:7071".parse().unwrap()],
                relay: None,
            }],
            token: vec![1; 40],
            expires: Time(9),
            test_world: true,
        }
    }

    #[test]
    fn a_ticket_survives_copying() {
        let text = ticket().to_string();
        assert_eq!(format!(" {text}\n").parse(), Ok(ticket()));
        assert_eq!(text.to_ascii_uppercase().parse::<Ticket>(), Err(TicketError::Shape));
        let mut damaged = text.clone().into_bytes();
        damaged[20] = if damaged[20] == b'a' { b'b' } else { b'a' };
        let damaged = String::from_utf8(damaged).unwrap();
        assert_eq!(damaged.parse::<Ticket>(), Err(TicketError::Checksum));
        assert!(text[..text.len() - 1].parse::<Ticket>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_ticket_or_an_error(text in "(isos1)?[a-z2-7]{0,80}") {
            let _ = text.parse::<Ticket>();
        }
    }
}
