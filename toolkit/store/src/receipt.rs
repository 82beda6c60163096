//! Receipts: a host's signed word that it keeps a fragment until a time. Whoever has one can audit
//! the host by it, and show that it broke its word.

use isos_base::key::{SecretKey, Signature};
use isos_base::{Guid, HostId, Time};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// In front of what is signed, so that it is no other message of that key.
const DOMAIN: &[u8] = b"isos storage receipt 1";

/// A host keeps a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who.
    pub host: HostId,
    /// What.
    pub fragment: Guid,
    /// How long it is.
    pub bytes: u32,
    /// Until when it is leased.
    pub until: Time,
    /// The host's signature, in two halves.
    signature: ([u8; 32], [u8; 32]),
}

/// Why a receipt is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// Not signed by that host, or for something else.
    #[error("the receipt is not signed by host {}", .0.short())]
    Signature(HostId),
    /// It is from another host or for another fragment.
    #[error("the receipt is for another fragment or from another host")]
    Other,
    /// It has ended already.
    #[error("the receipt ended at {0}")]
    Ended(Time),
}

impl Receipt {
    /// The receipt of the host with this key.
    #[must_use]
    pub fn sign(key: &SecretKey, fragment: Guid, bytes: u32, until: Time) -> Self {
        let host = HostId(key.public());
        let signature = key.sign(&signed(&host, &fragment, bytes, until));
        let (left, right) = signature.0.split_at(32);
        let half = |bytes: &[u8]| bytes.try_into().expect("half of 64 bytes");
        Self { host, fragment, bytes, until, signature: (half(left), half(right)) }
    }

    /// Checks that `host` has signed to keep `fragment` beyond `now`.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn check(
        &self,
        host: &HostId,
        fragment: &Guid,
        bytes: u32,
        now: Time,
    ) -> Result<(), ReceiptError> {
        if self.host != *host || self.fragment != *fragment || self.bytes != bytes {
            return Err(ReceiptError::Other);
        }
        if self.until <= now {
            return Err(ReceiptError::Ended(self.until));
        }
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&self.signature.0);
        signature[32..].copy_from_slice(&self.signature.1);
        let message = signed(host, fragment, bytes, self.until);
        let fits = host.0.verify(&message, &Signature(signature));
        fits.map_err(|_| ReceiptError::Signature(*host))
    }
}

fn signed(host: &HostId, fragment: &Guid, bytes: u32, until: Time) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(&host.0.0);
    message.extend_from_slice(&fragment.0);
    message.extend_from_slice(&bytes.to_le_bytes());
    message.extend_from_slice(&until.0.to_le_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_holds_for_its_host_fragment_length_and_time() {
        let (key, other) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let (host, stranger) = (HostId(key.public()), HostId(other.public()));
        let (name, now) = (Guid::of(b"x"), Time(50));
        let receipt = Receipt::sign(&key, name, 9, Time(100));
        assert_eq!(receipt.check(&host, &name, 9, now), Ok(()));
        assert_eq!(receipt.check(&host, &Guid::of(b"y"), 9, now), Err(ReceiptError::Other));
        assert_eq!(receipt.check(&stranger, &name, 9, now), Err(ReceiptError::Other));
        assert_eq!(receipt.check(&host, &name, 9, Time(100)), Err(ReceiptError::Ended(Time(100))));
        let longer = Receipt { until: Time(200), ..receipt };
        assert_eq!(longer.check(&host, &name, 9, now), Err(ReceiptError::Signature(host)));
        let stolen = Receipt { host: stranger, ..receipt };
        let said = stolen.check(&stranger, &name, 9, now);
        assert_eq!(said, Err(ReceiptError::Signature(stranger)));
    }
}
