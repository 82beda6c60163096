//! Identities of a world: certificates by a complex, and seals that cost nothing. Nobody forges
//! here: what signatures prove is tested beside the machine, and a million of them would be all
//! that a run measures.

use isos_base::certificate::{Admitted, Blocks, Certificate, Seal};
use isos_base::codec;
use isos_base::key::{PublicKey, SecretKey, Signature};
use isos_base::notary::{Notary, Verdict};
use isos_base::time::Time;
use isos_base::{AccountId, HostId};

/// When certificates end: after every run.
const END: Time = Time(1 << 52);

/// A host's notary.
#[derive(Debug)]
pub(super) struct Desk {
    host: HostId,
}

fn seal(key: &PublicKey, message: &[u8]) -> Seal {
    let hash = *blake3::keyed_hash(&key.0, message).as_bytes();
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&hash);
    bytes[32..].copy_from_slice(&hash);
    Seal::from(Signature(bytes))
}

/// Admits the `n`th host of a world.
pub(super) fn admit(seed: u64, n: u32) -> (Certificate, Desk) {
    let key = *blake3::hash(&codec::encode(&("gossip", seed, n))).as_bytes();
    let host = HostId(PublicKey(key));
    let [a, b, c, _] = (n + 0x0100_0000).to_be_bytes();
    let blocks = Blocks { v4: Some([a, b, c]), v6: None };
    let owner = AccountId(u64::from(n));
    let admitted = Admitted { host, owner, blocks, epoch: 1, expires: END };
    (Certificate::issue(&SecretKey::from_bytes(&[7; 32]), admitted), Desk { host })
}

/// Where the `n`th host is called.
pub(super) fn address(n: u32) -> std::net::SocketAddr {
    let [a, b, c, _] = (n + 0x0100_0000).to_be_bytes();
    ([a, b, c, 1], 4_433).into()
}

impl Notary for Desk {
    fn judge(&mut self, _: &Certificate, _: Time) -> Verdict {
        Verdict::Good
    }

    fn has_signed(&mut self, key: &PublicKey, message: &[u8], said: &Seal) -> bool {
        seal(key, message) == *said
    }

    fn sign(&mut self, message: &[u8]) -> Seal {
        seal(&self.host.0, message)
    }
}
