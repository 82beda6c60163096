//! Who checks signatures, and signs: apart from the machine, since a host keeps its secret and its
//! memory of what it has checked, and the simulator one such memory for all of its hosts.

use std::collections::BTreeSet;

use isos_base::Guid;
use isos_base::codec;
use isos_base::key::{PublicKey, SecretKey};
use isos_base::time::Time;

use crate::certificate::{Certificate, Seal};

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
    use crate::testing;

    #[test]
    fn a_certificate_is_good_forged_or_over() {
        let mut keys = testing::keys(1);
        let good = testing::certificate(2);
        for _ in 0..2 {
            assert_eq!(keys.judge(&good, Time(0)), Verdict::Good);
            assert_eq!(keys.judge(&good, Time(u64::MAX)), Verdict::Over);
        }
        let forged = Certificate { epoch: 99, ..good };
        for _ in 0..2 {
            assert_eq!(keys.judge(&forged, Time(0)), Verdict::Forged);
        }
    }

    #[test]
    fn memory_of_certificates_is_bounded() {
        let mut keys = testing::keys(1);
        keys.good = (0..REMEMBERED_MAX as u64).map(|n| Guid::of(&n.to_le_bytes())).collect();
        assert_eq!(keys.judge(&testing::certificate(2), Time(0)), Verdict::Good);
        assert_eq!(keys.good.len(), REMEMBERED_MAX);
    }
}
