//! What a host says of itself to others, under its signature: how to reach it, and what it is like.
//!
//! Descriptors go from host to host (`toolkit/gossip`), and the complex hands some to whoever
//! comes, so that everybody knows somebody to begin with. They are claims: the signature proves who
//! made them, the complex's admission that it may take part, and nothing proves the rest.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::certificate::{Blocks, Certificate, Seal};
use crate::codec;
use crate::ids::{AccountId, HostId};
use crate::key::Signature;
use crate::notary::{Notary, Verdict};
use crate::time::Time;

/// What is signed is tagged with this.
const TAG: &[u8] = b"isos-gossip-descriptor-1";
/// Addresses of one host. Those that others get are fewer, since everybody carries them.
pub const DESCRIPTOR_ADDRESSES_MAX: usize = 8;
/// Characters of a relay's URL.
pub const DESCRIPTOR_RELAY_CHARS_MAX: usize = 128;
/// Descriptors that the complex hands out at a time.
pub const INTRODUCED_MAX: usize = 16;
/// Numbers that a descriptor has room for.
pub const MARKS: usize = 8;
/// Dimensions of a coordinate.
pub const DIMENSIONS: usize = 4;

/// Who may call a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Access {
    /// Anybody.
    Public,
    /// Nobody who has not been called before: it is behind a NAT or a firewall.
    Private,
}

/// A place in the space of latencies, coarse enough to travel in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Coordinate {
    /// In tenths of a millisecond.
    pub at: [i16; DIMENSIONS],
    /// The access line, in tenths of a millisecond.
    pub height: u16,
    /// How wrong it may be: 0 not at all, 255 entirely.
    pub error: u8,
}

/// The complex's word that a host was admitted: a [`Certificate`] without the host, which stands
/// beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    owner: AccountId,
    blocks: Blocks,
    epoch: u32,
    salt: [u8; 16],
    expires: Time,
    seal: Seal,
}

impl From<&Certificate> for Admission {
    fn from(certificate: &Certificate) -> Self {
        let Certificate { host: _, owner, blocks, epoch, salt, expires, seal } =
            certificate.clone();
        Self { owner, blocks, epoch, salt, expires, seal }
    }
}

impl Admission {
    /// The certificate of this host.
    #[must_use]
    pub fn of(&self, host: HostId) -> Certificate {
        let Self { owner, blocks, epoch, salt, expires, seal } = self.clone();
        Certificate { host, owner, blocks, epoch, salt, expires, seal }
    }
}

/// A host, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Descriptor {
    /// Who.
    pub host: HostId,
    /// Who may call it.
    pub access: Access,
    /// Where its QUIC socket may be; all in blocks that the complex has certified.
    pub addresses: Vec<SocketAddr>,
    /// The relay that it listens at.
    pub relay: Option<String>,
    /// The beginning of the cycle in which it was made: a host makes one a cycle at the most.
    pub issued: Time,
    /// How far it is from others.
    pub coordinate: Coordinate,
    /// What it says of itself, each number in the scale of its attribute.
    pub marks: [u8; MARKS],
    /// The complex's word for it, once it has one.
    pub admission: Option<Admission>,
    /// Its signature over all of the above.
    pub seal: Seal,
}

/// As it comes from a peer.
#[derive(Deserialize)]
struct Unchecked {
    host: HostId,
    access: Access,
    addresses: Vec<SocketAddr>,
    relay: Option<String>,
    issued: Time,
    coordinate: Coordinate,
    marks: [u8; MARKS],
    admission: Option<Admission>,
    seal: Seal,
}

impl TryFrom<Unchecked> for Descriptor {
    type Error = BadDescriptor;
    fn try_from(unchecked: Unchecked) -> Result<Self, BadDescriptor> {
        let Unchecked { host, access, addresses, relay, issued, .. } = unchecked;
        let Unchecked { coordinate, marks, admission, seal, .. } = unchecked;
        let all =
            Self { host, access, addresses, relay, issued, coordinate, marks, admission, seal };
        all.check_shape()?;
        Ok(all)
    }
}

/// Why a descriptor is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadDescriptor {
    /// More addresses than fit.
    #[error("a host with {0} addresses; {DESCRIPTOR_ADDRESSES_MAX} at the most")]
    Addresses(usize),
    /// A relay's URL that is longer than fits.
    #[error("a host whose relay has {0} characters; {DESCRIPTOR_RELAY_CHARS_MAX} at the most")]
    Relay(usize),
    /// An address that the complex has not certified.
    #[error("the address {0} is in no block that the complex has certified")]
    Elsewhere(SocketAddr),
    /// The host has not signed this.
    #[error("the host has not signed this")]
    Seal,
    /// The complex has not admitted the host.
    #[error("the complex has not admitted the host")]
    Stranger,
    /// The complex has admitted it once; that is over.
    #[error("the host's admission is over")]
    Over,
}

impl Descriptor {
    /// Signs it.
    #[must_use]
    pub fn signed(mut self, notary: &mut impl Notary) -> Self {
        self.seal = notary.sign(&self.signed_bytes());
        self
    }

    /// One that is not signed yet.
    #[must_use]
    pub fn unsigned(host: HostId, access: Access, issued: Time) -> Self {
        Self {
            host,
            access,
            addresses: Vec::new(),
            relay: None,
            issued,
            coordinate: Coordinate::default(),
            marks: [0; MARKS],
            admission: None,
            seal: Seal::from(Signature([0; 64])),
        }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { host, access, addresses, relay, issued, coordinate, marks, admission, seal: _ } =
            self;
        let all = (host, access, addresses, relay, issued, coordinate, marks, admission);
        let mut bytes = TAG.to_vec();
        bytes.extend(codec::encode(&all));
        bytes
    }

    /// The complex's word for the host.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.admission.as_ref().map(|admission| admission.of(self.host))
    }

    fn check_shape(&self) -> Result<(), BadDescriptor> {
        if self.addresses.len() > DESCRIPTOR_ADDRESSES_MAX {
            return Err(BadDescriptor::Addresses(self.addresses.len()));
        }
        if let Some(relay) = &self.relay
            && relay.len() > DESCRIPTOR_RELAY_CHARS_MAX
        {
            return Err(BadDescriptor::Relay(relay.len()));
        }
        // Or it could make others knock at doors that have nothing to do with it.
        if let Some(admission) = &self.admission
            && let Some(address) = self.addresses.iter().find(|it| !admission.blocks.has(it))
        {
            return Err(BadDescriptor::Elsewhere(*address));
        }
        Ok(())
    }

    /// Whether the host itself has said this. It may be nobody's host yet.
    ///
    /// # Errors
    /// [`BadDescriptor`].
    pub fn check_own(&self, notary: &mut impl Notary) -> Result<(), BadDescriptor> {
        self.check_shape()?;
        let signed = notary.has_signed(&self.host.0, &self.signed_bytes(), &self.seal);
        if signed { Ok(()) } else { Err(BadDescriptor::Seal) }
    }

    /// Whether it is an admitted host's own word.
    ///
    /// # Errors
    /// [`BadDescriptor`].
    pub fn check(&self, notary: &mut impl Notary, now: Time) -> Result<(), BadDescriptor> {
        let certificate = self.certificate().ok_or(BadDescriptor::Stranger)?;
        match notary.judge(&certificate, now) {
            Verdict::Good => self.check_own(notary),
            Verdict::Over => Err(BadDescriptor::Over),
            Verdict::Forged => Err(BadDescriptor::Stranger),
        }
    }
}

/// From the complex to a host that has described itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The word by which others take it in.
    pub certificate: Certificate,
    /// Whether it calls from an address that it says is its own: no NAT is between.
    pub direct: bool,
    /// Others, at most [`INTRODUCED_MAX`].
    pub peers: Vec<Descriptor>,
}

#[cfg(test)]
mod tests;
