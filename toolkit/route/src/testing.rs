//! Small builders for tests.

use std::net::SocketAddr;
use std::sync::Arc;

use isos_base::key::SecretKey;
use isos_base::time::Time;
use isos_base::{AccountId, Guid, HostId};

use crate::certificate::{Admitted, Blocks, Certificate};
use crate::contact::Contact;
use crate::notary::Keys;
use crate::pointer::Pointer;

pub(crate) const COMPLEX: [u8; 32] = [42; 32];
/// When the certificates of tests end.
pub(crate) const END: Time = Time(1 << 50);

pub(crate) fn secret(n: u32) -> SecretKey {
    let mut bytes = [3; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_bytes(&bytes)
}

pub(crate) fn keys(n: u32) -> Keys {
    Keys::new(secret(n), vec![SecretKey::from_bytes(&COMPLEX).public()])
}

fn address(n: u32) -> SocketAddr {
    // Each in a block of its own, all of them public.
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([50 + a % 40, b, c, 1], 4_433))
}

pub(crate) fn certificate(n: u32) -> Certificate {
    certificate_of(n, AccountId(u64::from(n)), Blocks::of(&[address(n).ip()]))
}

pub(crate) fn certificate_of(n: u32, owner: AccountId, blocks: Blocks) -> Certificate {
    let host = HostId(secret(n).public());
    let admitted = Admitted { host, owner, blocks, epoch: 1, expires: END };
    Certificate::issue(&SecretKey::from_bytes(&COMPLEX), admitted)
}

pub(crate) fn contact(n: u32) -> Contact {
    Contact::new(certificate(n), None, vec![address(n)]).expect("an address of its block")
}

pub(crate) fn contacts(range: std::ops::Range<u32>) -> Vec<Arc<Contact>> {
    range.map(|n| Arc::new(contact(n))).collect()
}

pub(crate) fn pointer(guid: Guid, holder: u32, expires: Time) -> Pointer {
    Pointer::sign(guid, Arc::new(contact(holder)), expires, 0, &mut keys(holder))
}
