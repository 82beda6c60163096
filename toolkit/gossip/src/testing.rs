//! Small builders for tests.

use std::net::SocketAddr;

use isos_base::certificate::{Admitted, Blocks, Certificate, Seal};
use isos_base::codec;
use isos_base::descriptor::{Access, Admission, Descriptor};
use isos_base::key::{PublicKey, SecretKey, Signature};
use isos_base::notary::{Keys, Notary, Verdict};
use isos_base::time::Time;
use isos_base::{AccountId, Guid, HostId};

const COMPLEX: [u8; 32] = [42; 32];

pub(crate) fn secret(n: u32) -> SecretKey {
    let mut bytes = [3; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_bytes(&bytes)
}

pub(crate) fn host(n: u32) -> HostId {
    HostId(secret(n).public())
}

pub(crate) fn keys(n: u32) -> Keys {
    Keys::new(secret(n), vec![SecretKey::from_bytes(&COMPLEX).public()])
}

pub(crate) fn address(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([50 + a % 40, b, c, 1], 4_433))
}

pub(crate) fn certificate(n: u32) -> Certificate {
    let admitted = Admitted {
        host: host(n),
        owner: AccountId(u64::from(n)),
        blocks: Blocks::of(&[address(n).ip()]),
        epoch: 1,
        expires: Time(1 << 50),
    };
    Certificate::issue(&SecretKey::from_bytes(&COMPLEX), admitted)
}

/// A public host, as it described itself then.
pub(crate) fn descriptor(n: u32, issued: Time) -> Descriptor {
    descriptor_by(n, issued, &mut keys(n))
}

pub(crate) fn descriptor_by(n: u32, issued: Time, notary: &mut impl Notary) -> Descriptor {
    let described = Descriptor {
        addresses: vec![address(n)],
        admission: Some(Admission::from(&certificate(n))),
        ..Descriptor::unsigned(host(n), Access::Public, issued)
    };
    described.signed(notary)
}

/// A notary whose seals are hashes that anybody can make, since real ones take all the time of a
/// test with thousands of messages.
#[derive(Debug)]
pub(crate) struct Quick(HostId);

pub(crate) fn quick(n: u32) -> Quick {
    Quick(host(n))
}

fn quick_seal(key: &PublicKey, message: &[u8]) -> Seal {
    let Guid(hash) = Guid::of(&codec::encode(&(key, message)));
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&hash);
    Seal::from(Signature(bytes))
}

impl Notary for Quick {
    fn judge(&mut self, _: &Certificate, _: Time) -> Verdict {
        Verdict::Good
    }

    fn has_signed(&mut self, key: &PublicKey, message: &[u8], seal: &Seal) -> bool {
        quick_seal(key, message) == *seal
    }

    fn sign(&mut self, message: &[u8]) -> Seal {
        quick_seal(&self.0.0, message)
    }
}
