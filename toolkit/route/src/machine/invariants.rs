//! What always holds. Slow; for tests and the simulator.

use super::{MET_MAX, Route};
use crate::notary::Notary;

impl<N: Notary> Route<N> {
    pub(super) fn check(&self) {
        self.table.check_invariants();
        self.store.check_invariants();
        self.requests.check();
        self.walks.check();
        self.announcer.check();
        assert!(self.met.len() <= MET_MAX, "met too many");
        assert!(self.spacing >= 0.0, "hosts cannot be closer than together");
        assert!(self.is_router || self.store.is_empty(), "a client keeps pointers of others");
    }
}
