//! What the complex signs when it admits a host, and the host's place, which follows from it.
//!
//! A place must not be chosen: who can try keys until one lands beside a GUID can hide what it
//! names. So the place is a hash of the key *and of a salt that only the complex can compute*, from
//! its secret, the epoch and the key. Trying keys at home is of no use, asking twice gives the same
//! place twice, and new places cost admissions, which the complex counts. Owner and address blocks
//! are signed too but move nothing: else a host could look for a place by moving house.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::ids::{AccountId, HostId};
use crate::key::{PublicKey, SecretKey, Signature};
use crate::time::{Span, Time};

/// What is signed is tagged with this.
const TAG: &[u8] = b"isos-route-certificate-1";
/// What a place is hashed from is tagged with this.
const PLACE_TAG: &[u8] = b"isos-route-position-1";
/// For the key under which salts are made.
const SALT_CONTEXT: &str = "isos 2026-11 route salts";
/// Hosts' clocks may differ by so much; certificates are good for so long after their end.
pub const CLOCK_SLACK: Span = Span::secs(300);

/// An Ed25519 signature, as it travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seal([u8; 32], [u8; 32]);

impl From<Signature> for Seal {
    fn from(Signature(bytes): Signature) -> Self {
        let (mut first, mut second) = ([0; 32], [0; 32]);
        first.copy_from_slice(&bytes[..32]);
        second.copy_from_slice(&bytes[32..]);
        Self(first, second)
    }
}

impl From<Seal> for Signature {
    fn from(Seal(first, second): Seal) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&first);
        bytes[32..].copy_from_slice(&second);
        Self(bytes)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Where in the network a host was when it was admitted, as coarse as networks are given out: it
/// may say of itself only addresses in here, and tables mix blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Blocks {
    /// A /24.
    pub v4: Option<[u8; 3]>,
    /// A /48.
    pub v6: Option<[u8; 6]>,
}

impl Blocks {
    /// The blocks of these addresses; of several the first of each kind.
    #[must_use]
    pub fn of(addresses: &[IpAddr]) -> Self {
        let mut blocks = Self::default();
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(ip) => {
                    let [a, b, c, _] = ip.octets();
                    blocks.v4.get_or_insert([a, b, c]);
                }
                IpAddr::V6(ip) => {
                    let [a, b, c, d, e, f, ..] = ip.octets();
                    blocks.v6.get_or_insert([a, b, c, d, e, f]);
                }
            }
        }
        blocks
    }

    /// Whether an address is in one of them.
    #[must_use]
    pub fn has(&self, address: &SocketAddr) -> bool {
        let of = Self::of(&[address.ip()]);
        (of.v4.is_some() && of.v4 == self.v4) || (of.v6.is_some() && of.v6 == self.v6)
    }

    /// Whether both have a block in common that is anybody's. Private networks are not: there, all
    /// hosts of a complex are in one.
    #[must_use]
    pub fn share(&self, other: &Self) -> bool {
        let v4 = self.v4.filter(|block| !is_private(*block));
        (v4.is_some() && v4 == other.v4)
            || self.v6.is_some_and(|block| block[0] & 0xfe != 0xfc && other.v6 == Some(block))
    }
}

fn is_private([a, b, _]: [u8; 3]) -> bool {
    matches!((a, b), (10 | 127, _) | (192, 168) | (169, 254) | (172, 16..=31) | (100, 64..=127))
}

/// The complex's word that a host was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The host.
    pub host: HostId,
    /// Whose it is.
    pub owner: AccountId,
    /// Where it may be reached directly.
    pub blocks: Blocks,
    /// Salts change from epoch to epoch, and places with them, so that nobody stays beside a GUID.
    pub epoch: u32,
    /// What only the complex could compute.
    pub salt: [u8; 16],
    /// No longer good after this.
    pub expires: Time,
    /// The complex's signature over all of the above.
    pub seal: Seal,
}

/// What the complex knows of a host that it admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The host.
    pub host: HostId,
    /// Whose it is.
    pub owner: AccountId,
    /// Where it may be reached directly.
    pub blocks: Blocks,
    /// The epoch.
    pub epoch: u32,
    /// When the certificate ends.
    pub expires: Time,
}

impl Certificate {
    /// The certificate of a host, by the complex whose key this is. The same host gets the same
    /// place for a whole epoch.
    #[must_use]
    pub fn issue(complex: &SecretKey, admitted: Admitted) -> Self {
        let Admitted { host, owner, blocks, epoch, expires } = admitted;
        let key = blake3::derive_key(SALT_CONTEXT, &complex.to_bytes());
        let hash = blake3::keyed_hash(&key, &codec::encode(&(epoch, host)));
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash.as_bytes()[..16]);
        let seal = Seal::from(Signature([0; 64]));
        let unsigned = Self { host, owner, blocks, epoch, salt, expires, seal };
        Self { seal: complex.sign(&unsigned.signed_bytes()).into(), ..unsigned }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { host, owner, blocks, epoch, salt, expires, seal: _ } = self;
        let mut bytes = TAG.to_vec();
        bytes.extend(codec::encode(&(host, owner, blocks, epoch, salt, expires)));
        bytes
    }

    /// Whether the complex with this key has signed it.
    #[must_use]
    pub fn is_by(&self, complex: &PublicKey) -> bool {
        complex.verify(&self.signed_bytes(), &self.seal.into()).is_ok()
    }

    /// Whether it is over, clocks being what they are.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        self.expires + CLOCK_SLACK <= now
    }

    /// The host's place in the keyspace of routing, and what it is called by where hosts are drawn
    /// by lot: nobody can choose it.
    #[must_use]
    pub fn place(&self) -> [u8; 32] {
        let mut bytes = [0; 21 + 4 + 16 + 32];
        let (tag, rest) = bytes.split_at_mut(PLACE_TAG.len());
        tag.copy_from_slice(PLACE_TAG);
        rest[..4].copy_from_slice(&self.epoch.to_le_bytes());
        rest[4..20].copy_from_slice(&self.salt);
        rest[20..].copy_from_slice(&self.host.0.0);
        *blake3::hash(&bytes).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted() -> Admitted {
        Admitted {
            host: HostId(PublicKey([7; 32])),
            owner: AccountId(9),
            blocks: Blocks::of(&["198.51.100.7".parse().unwrap()]),
            epoch: 3,
            expires: Time(1_000_000_000),
        }
    }

    fn complex() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    #[test]
    fn whatever_is_changed_the_complex_has_not_signed() {
        let good = Certificate::issue(&complex(), admitted());
        let root = complex().public();
        assert!(good.is_by(&root));
        assert!(!good.is_by(&SecretKey::from_bytes(&[2; 32]).public()));
        let other = [
            Certificate { host: HostId(PublicKey([8; 32])), ..good.clone() },
            Certificate { owner: AccountId(8), ..good.clone() },
            Certificate { blocks: Blocks::default(), ..good.clone() },
            Certificate { epoch: 4, ..good.clone() },
            Certificate { salt: [0; 16], ..good.clone() },
            Certificate { expires: Time(1_000_000_001), ..good.clone() },
        ];
        assert!(other.iter().all(|changed| !changed.is_by(&root)));
    }

    #[test]
    fn a_place_is_kept_for_an_epoch_wherever_the_host_lives() {
        let place = |admitted| Certificate::issue(&complex(), admitted).place();
        let here = place(admitted());
        let moved = Admitted { blocks: Blocks::default(), owner: AccountId(1), ..admitted() };
        assert_eq!(place(Admitted { expires: Time(5), ..moved }), here);
        assert_ne!(place(Admitted { epoch: 4, ..admitted() }), here);
        assert_ne!(place(Admitted { host: HostId(PublicKey([8; 32])), ..admitted() }), here);
        let elsewhere = Certificate::issue(&SecretKey::from_bytes(&[2; 32]), admitted());
        assert_ne!(elsewhere.place(), here, "the salt is the complex's secret");
    }

    #[test]
    fn a_certificate_ends_a_little_after_its_time() {
        let good = Certificate::issue(&complex(), admitted());
        assert!(!good.is_over(good.expires));
        assert!(good.is_over(good.expires + CLOCK_SLACK));
    }

    #[test]
    fn blocks_of_private_networks_are_shared_by_nobody() {
        let of = |text: &str| Blocks::of(&[text.parse().unwrap()]);
        assert!(of("198.51.100.7").share(&of("198.51.100.250")));
        assert!(!of("198.51.100.7").share(&of("198.51.101.7")));
        assert!(of("2001:db8:1::1").share(&of("2001:db8:1:ffff::2")));
        for private in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.9", "fd00::1"] {
            assert!(!of(private).share(&of(private)), "{private}");
        }
        assert!(!Blocks::default().share(&Blocks::default()));
        assert!(of("198.51.100.7").has(&"198.51.100.9:4433".parse().unwrap()));
        assert!(!of("198.51.100.7").has(&"198.51.101.9:4433".parse().unwrap()));
    }
}
