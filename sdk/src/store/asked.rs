//! What the complex and hosts said a moment ago: a command that puts many objects asks once, not
//! once for each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use isos_base::api::KeepersView;
use isos_base::price::StoragePrice;
use isos_base::{Bytes, LeaseId};

use super::leases::Held;

/// So long an answer is used again: hosts come and go meanwhile, as they do during any put.
const FRESH: Duration = Duration::from_secs(10);

/// Answers, each until it is old or known to be wrong.
#[derive(Debug, Default)]
pub(super) struct Asked {
    leases: Answer<Vec<Held>>,
    keepers: Answer<(Option<StoragePrice>, KeepersView)>,
    used: Mutex<BTreeMap<LeaseId, (Instant, Bytes)>>,
}

#[derive(Debug)]
struct Answer<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Answer<T> {
    fn get(&self) -> Option<T> {
        let answer = lock(&self.0);
        answer.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, it)| it.clone())
    }

    fn set(&self, it: T) {
        *lock(&self.0) = Some((Instant::now(), it));
    }
}

impl Asked {
    /// The account's leases.
    pub(super) fn leases(&self) -> Option<Vec<Held>> {
        self.leases.get()
    }

    pub(super) fn set_leases(&self, leases: Vec<Held>) {
        self.leases.set(leases);
    }

    /// Leases are about to be made or changed: said before it is asked for, since the answer may be
    /// lost. Who lists them meanwhile does so again a moment later.
    pub(super) fn leases_changed(&self) {
        *lock(&self.leases.0) = None;
    }

    /// Who keeps at a price.
    pub(super) fn keepers(&self, price_max: Option<StoragePrice>) -> Option<KeepersView> {
        self.keepers.get().filter(|(price, _)| *price == price_max).map(|(_, keepers)| keepers)
    }

    pub(super) fn set_keepers(&self, price_max: Option<StoragePrice>, keepers: KeepersView) {
        self.keepers.set((price_max, keepers));
    }

    /// How much lies under a lease: what its host said, and what was put there since.
    pub(super) fn used(&self, lease: LeaseId) -> Option<Bytes> {
        let used = lock(&self.used);
        used.get(&lease).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, bytes)| *bytes)
    }

    pub(super) fn set_used(&self, lease: LeaseId, bytes: Bytes) {
        lock(&self.used).insert(lease, (Instant::now(), bytes));
    }

    /// Something was put under a lease.
    pub(super) fn kept(&self, lease: LeaseId, bytes: u64) {
        if let Some((_, used)) = lock(&self.used).get_mut(&lease) {
            used.0 = used.0.saturating_add(bytes);
        }
    }

    /// Something was removed: hosts say how much.
    pub(super) fn removed(&self) {
        lock(&self.used).clear();
    }
}

/// Values are replaced whole.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_counts_on_from_what_the_host_said() {
        let (asked, lease) = (Asked::default(), LeaseId(7));
        asked.kept(lease, 5);
        assert_eq!(asked.used(lease), None, "nobody has said what was there before");
        asked.set_used(lease, Bytes(100));
        asked.kept(lease, 5);
        assert_eq!(asked.used(lease), Some(Bytes(105)));
        asked.removed();
        assert_eq!(asked.used(lease), None);
    }

    #[test]
    fn an_answer_is_for_what_was_asked_and_until_it_is_wrong() {
        let asked = Asked::default();
        assert!(asked.keepers(None).is_none() && asked.leases().is_none());
        let nobody = KeepersView { price: StoragePrice(0), known: 0, here: 0, hosts: Vec::new() };
        asked.set_keepers(None, nobody);
        assert!(asked.keepers(None).is_some());
        assert!(asked.keepers(Some(StoragePrice(1))).is_none());
        asked.set_leases(Vec::new());
        assert!(asked.leases().is_some());
        asked.leases_changed();
        assert!(asked.leases().is_none());
    }
}
