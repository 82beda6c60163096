//! Leases of work as the complex holds them: which tasks are out, until when, worth what.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::record::LeaseRecord;
use isos_base::{HostId, LeaseId, MicroCredits, TaskSet, Time};

/// An unsettled lease.
#[derive(Debug, Clone)]
pub struct Lease {
    /// What is durable of it.
    pub record: LeaseRecord,
    /// Granted and not reported yet.
    pub out: TaskSet,
    /// Reported and not decided yet.
    pub undecided: u32,
    /// How many were accepted on this host's credit: nobody checked them.
    pub on_credit: u32,
    /// Tasks that were given back after their host had saved them: whoever ends one may go on from
    /// there, and then that part is paid for.
    pub moved: BTreeSet<u32>,
    /// Accepted on this host's word: nobody checked them, or one other host alone.
    pub word: TaskSet,
    /// Hosts that checked some of it and found it right.
    pub checkers: BTreeSet<HostId>,
    /// Its pay is held until its host has given so many proofs.
    pub matures: u64,
    /// Set aside from the job's hold for it.
    pub reserved: MicroCredits,
}

/// When leases fall due. A sorted set is enough: there is one entry a lease, never one a task.
#[derive(Debug, Clone, Default)]
pub struct Due {
    times: BTreeSet<(Time, LeaseId)>,
    of: BTreeMap<LeaseId, Time>,
}

impl Due {
    /// Sets when `lease` falls due, instead of any time before.
    pub fn set(&mut self, lease: LeaseId, at: Time) {
        self.clear(lease);
        self.times.insert((at, lease));
        self.of.insert(lease, at);
    }

    /// Takes `lease` out.
    pub fn clear(&mut self, lease: LeaseId) {
        if let Some(at) = self.of.remove(&lease) {
            self.times.remove(&(at, lease));
        }
    }

    /// The next time at which one falls due.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.times.first().map(|&(at, _)| at)
    }

    /// Takes out the first that is due at `now`.
    pub fn pop(&mut self, now: Time) -> Option<LeaseId> {
        let &(at, lease) = self.times.first()?;
        if at > now {
            return None;
        }
        self.clear(lease);
        Some(lease)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_fall_due_in_order_and_once() {
        let mut due = Due::default();
        due.set(LeaseId(1), Time(30));
        due.set(LeaseId(2), Time(10));
        due.set(LeaseId(1), Time(20));
        assert_eq!((due.len(), due.next()), (2, Some(Time(10))));
        assert_eq!(due.pop(Time(5)), None);
        assert_eq!(due.pop(Time(25)), Some(LeaseId(2)));
        assert_eq!(due.pop(Time(25)), Some(LeaseId(1)));
        assert_eq!(due.pop(Time(25)), None);
        assert!(due.is_empty());
    }
}
