//! What is needed to reach a host: who it is, and hints where.
//!
//! A connection is made by key, so hints can be wrong without harm but lost time. What others say
//! of an address must still lie in the blocks that the complex has certified, or anybody could make
//! routers knock at doors that have nothing to do with it.

use std::net::SocketAddr;

use isos_base::HostId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::certificate::Certificate;
use crate::position::Position;

/// Addresses of one contact.
pub const ADDRESSES_MAX: usize = 4;
/// Characters of a relay's URL.
pub const RELAY_CHARS_MAX: usize = 128;

/// A host that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    certificate: Certificate,
    relay: Option<String>,
    addresses: Vec<SocketAddr>,
    /// Follows from the certificate; computed once.
    position: Position,
}

/// Why there is no such contact.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadContact {
    /// More addresses than fit.
    #[error("a contact with {0} addresses; {ADDRESSES_MAX} at the most")]
    Addresses(usize),
    /// A relay's URL that is longer than fits.
    #[error("a contact whose relay has {0} characters; {RELAY_CHARS_MAX} at the most")]
    Relay(usize),
    /// An address that the complex has not certified.
    #[error("the address {0} is in no block that the complex has certified")]
    Elsewhere(SocketAddr),
}

#[derive(Serialize)]
struct Shown<'a>(&'a Certificate, &'a Option<String>, &'a Vec<SocketAddr>);

#[derive(Deserialize)]
struct Read(Certificate, Option<String>, Vec<SocketAddr>);

impl Contact {
    /// A contact with these hints.
    ///
    /// # Errors
    /// [`BadContact`] for hints that are too many, too long or elsewhere.
    pub fn new(
        certificate: Certificate,
        relay: Option<String>,
        addresses: Vec<SocketAddr>,
    ) -> Result<Self, BadContact> {
        if addresses.len() > ADDRESSES_MAX {
            return Err(BadContact::Addresses(addresses.len()));
        }
        if let Some(relay) = &relay
            && relay.len() > RELAY_CHARS_MAX
        {
            return Err(BadContact::Relay(relay.len()));
        }
        if let Some(address) = addresses.iter().find(|it| !certificate.blocks.has(it)) {
            return Err(BadContact::Elsewhere(*address));
        }
        let position = certificate.place().into();
        Ok(Self { certificate, relay, addresses, position })
    }

    /// Its place.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Who it is.
    #[must_use]
    pub fn host(&self) -> HostId {
        self.certificate.host
    }

    /// The complex's word for it.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The relay that it listens at, as a URL.
    #[must_use]
    pub fn relay(&self) -> Option<&str> {
        self.relay.as_deref()
    }

    /// Where it was last known to be.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Serialize for Contact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown(&self.certificate, &self.relay, &self.addresses).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Contact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read(certificate, relay, addresses) = Read::deserialize(deserializer)?;
        Self::new(certificate, relay, addresses).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use isos_base::codec::{DecodeError, decode, encode};

    use super::*;
    use crate::testing;

    #[test]
    fn a_contact_is_read_as_it_was_written() {
        let contact = testing::contact(1);
        let again: Contact = decode(&encode(&contact)).unwrap();
        assert_eq!(again, contact);
        assert_eq!(again.position(), again.certificate().place().into());
    }

    #[test]
    fn an_address_that_is_not_certified_is_refused_when_it_is_read() {
        let certificate = testing::certificate(1);
        let elsewhere: SocketAddr = "203.0.113.9:443".parse().unwrap();
        let bad = Contact::new(certificate.clone(), None, vec![elsewhere]);
        assert_eq!(bad, Err(BadContact::Elsewhere(elsewhere)));
        let bytes = encode(&Shown(&certificate, &None, &vec![elsewhere]));
        assert!(matches!(decode::<Contact>(&bytes), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn hints_have_limits() {
        let certificate = testing::certificate(1);
        let address = *testing::contact(1).addresses().first().unwrap();
        let many = Contact::new(certificate.clone(), None, vec![address; ADDRESSES_MAX + 1]);
        assert_eq!(many, Err(BadContact::Addresses(ADDRESSES_MAX + 1)));
        let long = Contact::new(certificate, Some("x".repeat(RELAY_CHARS_MAX + 1)), Vec::new());
        assert_eq!(long, Err(BadContact::Relay(RELAY_CHARS_MAX + 1)));
    }
}
