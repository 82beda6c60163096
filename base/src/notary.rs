//! Who checks signatures, and signs: apart from machines, since a host keeps its secret and its
//! memory of what it has checked, and the simulator one such memory for all of its hosts.

use std::collections::BTreeSet;

use crate::certificate::{Certificate, Seal};
use crate::codec;
use crate::guid::Guid;
use crate::key::{PublicKey, SecretKey};
use crate::time::Time;

/// Certificates that are remembered as good: each saves two scalar multiplications.
const REMEMBERED_MAX: usize = 8_192;
/// Complexes' keys that are believed: the present one, and the next while they change.
pub const COMPLEXES_MAX: usize = 4;

/// What there is to say of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Signed, and not over.
    Good,
    /// Signed once; over now. Clocks differ, so this is nobody's lie.
    Over,
    /// No complex has signed this.
    Forged,
}

/// Checks what others have signed, and signs for this host.
pub trait Notary {
    /// Whether a certificate is good.
    fn judge(&mut self, certificate: &Certificate, now: Time) -> Verdict;

    /// Whether the holder of `key` has signed `message`.
    fn has_signed(&mut self, key: &PublicKey, message: &[u8], seal: &Seal) -> bool;

    /// Signs for this host.
    fn sign(&mut self, message: &[u8]) -> Seal;
}

/// The notary of a host: its own secret, and the complexes that it believes.
#[derive(Debug)]
pub struct Keys {
    secret: SecretKey,
    complexes: Vec<PublicKey>,
    /// Hashes of certificates that were found good. In the order of hashes, so what is forgotten
    /// when it is full is random.
    good: BTreeSet<Guid>,
}

impl Keys {
    /// A notary that believes these complexes; those above [`COMPLEXES_MAX`] are not looked at.
    #[must_use]
    pub fn new(secret: SecretKey, mut complexes: Vec<PublicKey>) -> Self {
        complexes.truncate(COMPLEXES_MAX);
        Self { secret, complexes, good: BTreeSet::new() }
    }
}

impl Notary for Keys {
    fn judge(&mut self, certificate: &Certificate, now: Time) -> Verdict {
        let hash = Guid::of(&codec::encode(certificate));
        if !self.good.contains(&hash) {
            if !self.complexes.iter().any(|complex| certificate.is_by(complex)) {
                return Verdict::Forged;
            }
            if self.good.len() >= REMEMBERED_MAX {
                self.good.pop_first();
            }
            self.good.insert(hash);
        }
        if certificate.is_over(now) { Verdict::Over } else { Verdict::Good }
    }

    fn has_signed(&mut self, key: &PublicKey, message: &[u8], seal: &Seal) -> bool {
        key.verify(message, &(*seal).into()).is_ok()
    }

    fn sign(&mut self, message: &[u8]) -> Seal {
        self.secret.sign(message).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Admitted, Blocks};
    use crate::ids::{AccountId, HostId};

    fn complex() -> SecretKey {
        SecretKey::from_bytes(&[42; 32])
    }

    fn keys() -> Keys {
        Keys::new(SecretKey::from_bytes(&[1; 32]), vec![complex().public()])
    }

    fn certificate() -> Certificate {
        let host = HostId(SecretKey::from_bytes(&[2; 32]).public());
        let (blocks, expires) = (Blocks::default(), Time(1 << 50));
        let admitted = Admitted { host, owner: AccountId(2), blocks, epoch: 1, expires };
        Certificate::issue(&complex(), admitted)
    }

    #[test]
    fn a_certificate_is_good_forged_or_over() {
        let mut own = keys();
        let good = certificate();
        for _ in 0..2 {
            assert_eq!(own.judge(&good, Time(0)), Verdict::Good);
            assert_eq!(own.judge(&good, Time(u64::MAX)), Verdict::Over);
        }
        let forged = Certificate { epoch: 99, ..good };
        for _ in 0..2 {
            assert_eq!(own.judge(&forged, Time(0)), Verdict::Forged);
        }
    }

    #[test]
    fn memory_of_certificates_is_bounded() {
        let mut own = keys();
        own.good = (0..REMEMBERED_MAX as u64).map(|n| Guid::of(&n.to_le_bytes())).collect();
        assert_eq!(own.judge(&certificate(), Time(0)), Verdict::Good);
        assert_eq!(own.good.len(), REMEMBERED_MAX);
    }
}
