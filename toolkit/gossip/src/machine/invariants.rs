//! What always holds. Slow; for tests and the simulator.

use std::collections::BTreeSet;
use std::sync::Arc;

use isos_base::descriptor::{Access, Descriptor};
use isos_base::notary::Notary;

use super::{BANNED_MAX, Gossip, Known, LOST_MAX, MET_MAX};
use crate::view::{Slots, View};

impl<N: Notary> Gossip<N> {
    pub(super) fn check(&self) {
        let of = |view: &View<Known>, access| {
            assert!(view.entries().len() <= view.capacity(), "a view is too large");
            for Known(it) in view.entries() {
                assert_eq!(it.access, access, "a host in the wrong view");
                assert_ne!(it.host, self.own.host, "a host knows itself");
                assert!(!self.banned.contains_key(&it.host), "a liar is told of");
            }
            view.entries().iter().map(|it| it.0.host).collect::<Vec<_>>()
        };
        let all = [of(&self.public, Access::Public), of(&self.private, Access::Private)].concat();
        let each: BTreeSet<_> = all.iter().collect();
        assert_eq!(each.len(), all.len(), "a host is known twice");
        assert!(self.met.len() <= MET_MAX, "met too many");
        assert!(self.lost.len() <= LOST_MAX, "too many are lost");
        let is_own = |it: &Arc<Descriptor>| it.host == self.own.host;
        assert!(!self.lost.iter().any(is_own), "a host looks for itself");
        assert!(self.banned.len() <= BANNED_MAX, "too many are banned");
        assert!(self.window.len() <= self.tuning.window, "the window is too large");
        if let Some(descriptor) = &self.own.descriptor {
            assert!(descriptor.issued.0.is_multiple_of(self.tuning.cycle.0.max(1)));
        }
        self.witnesses.check();
        self.ratio.check();
        self.filter.check();
        self.suspicion.check();
        self.epochs.check();
        self.queries.check();
    }
}
