//! Identities: certificates by a complex, and one memory of checked signatures for a whole world,
//! so that each is checked once and not by every host.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use isos_base::key::{PublicKey, SecretKey};
use isos_base::time::Time;
use isos_base::{AccountId, Guid, HostId};
use isos_route::certificate::{Admitted, Blocks, Seal};
use isos_route::notary::{Keys, Verdict};
use isos_route::{Certificate, Contact, Notary};

/// When certificates end: after every run.
const END: Time = Time(1 << 52);

/// The complex's part, and what was checked so far.
#[derive(Debug)]
pub(super) struct Office {
    complex: SecretKey,
    keys: Keys,
    judged: BTreeMap<HostId, (Certificate, Verdict)>,
    signed: BTreeMap<Seal, (Guid, bool)>,
}

/// A host's own notary, over the office's memory.
#[derive(Debug)]
pub(super) struct Desk {
    secret: SecretKey,
    office: Rc<RefCell<Office>>,
}

fn secret(seed: u64, n: u32) -> SecretKey {
    let mut bytes = [0x17; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_bytes(blake3::hash(&bytes).as_bytes())
}

impl Office {
    pub(super) fn new(seed: u64) -> Rc<RefCell<Self>> {
        let complex = secret(seed, u32::MAX);
        let keys = Keys::new(complex.clone(), vec![complex.public()]);
        let (judged, signed) = (BTreeMap::new(), BTreeMap::new());
        Rc::new(RefCell::new(Self { complex, keys, judged, signed }))
    }

    /// Who is found dead is not asked about any more.
    pub(super) fn forget(&mut self, host: HostId) {
        self.judged.remove(&host);
    }
}

/// Admits the `n`th host of a world: an owner and an address block of its own.
pub(super) fn admit(seed: u64, n: u32, office: &Rc<RefCell<Office>>) -> (Arc<Contact>, Desk) {
    let secret = secret(seed, n);
    let [a, b, c, _] = (n + 0x0100_0000).to_be_bytes();
    let blocks = Blocks { v4: Some([a, b, c]), v6: None };
    let host = HostId(secret.public());
    let owner = AccountId(u64::from(n));
    let admitted = Admitted { host, owner, blocks, epoch: 1, expires: END };
    let certificate = Certificate::issue(&office.borrow().complex, admitted);
    let address = std::net::SocketAddr::from(([a, b, c, 1], 4_433));
    let contact = Contact::new(certificate, None, vec![address]);
    let contact = contact.expect("its address is in its block");
    (Arc::new(contact), Desk { secret, office: office.clone() })
}

impl Notary for Desk {
    fn judge(&mut self, certificate: &Certificate, now: Time) -> Verdict {
        let Office { keys, judged, .. } = &mut *self.office.borrow_mut();
        if let Some((known, verdict)) = judged.get(&certificate.host)
            && known == certificate
        {
            return *verdict;
        }
        let verdict = keys.judge(certificate, now);
        judged.insert(certificate.host, (certificate.clone(), verdict));
        verdict
    }

    fn has_signed(&mut self, key: &PublicKey, message: &[u8], seal: &Seal) -> bool {
        let Office { keys, signed, .. } = &mut *self.office.borrow_mut();
        let hash = Guid::of(message);
        if let Some(&(known, is_good)) = signed.get(seal)
            && known == hash
        {
            return is_good;
        }
        let is_good = keys.has_signed(key, message, seal);
        signed.insert(*seal, (hash, is_good));
        is_good
    }

    fn sign(&mut self, message: &[u8]) -> Seal {
        self.secret.sign(message).into()
    }
}
