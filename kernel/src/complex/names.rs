//! Hosts by their names, which many may have and nobody has to keep.

use std::collections::BTreeSet;

use isos_base::key::PublicKey;
use isos_base::{Guid, HostId};

/// By a hash of the name: names can be long, and a host's record has it anyway.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<(u64, HostId)>);

impl Names {
    pub(super) fn enter(&mut self, name: &str, id: HostId) {
        self.0.insert((short(name), id));
    }

    pub(super) fn leave(&mut self, name: &str, id: HostId) {
        self.0.remove(&(short(name), id));
    }

    /// Hosts of this name, and hardly ever one of another.
    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = HostId> {
        let (first, last) = (HostId(PublicKey([0; 32])), HostId(PublicKey([u8::MAX; 32])));
        let hash = short(name);
        self.0.range((hash, first)..=(hash, last)).map(|&(_, id)| id)
    }
}

fn short(name: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Guid::of(name.as_bytes()).0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
