//! Tasks that are pinned to hosts of a slice, each to one.

use isos_base::{HostId, TaskRange, TaskSet};

use super::{Job, ranks_of};

impl Job {
    /// The task that is pinned to this host, if it waits.
    pub(super) fn take_pinned(&mut self, host: HostId) -> Vec<TaskRange> {
        let Some(rank) = self.rank_of(host) else { return Vec::new() };
        let own = TaskRange::new(rank, rank + 1);
        if self.take_out(&Vec::new(), own) == 0 { Vec::new() } else { vec![own] }
    }

    /// Which task is pinned to this host.
    pub(in crate::complex) fn rank_of(&self, host: HostId) -> Option<u32> {
        self.ranks.as_ref().and_then(|ranks| ranks.get(&host).copied())
    }

    /// Whether some of its tasks may run on this host, whether or not they wait.
    pub(in crate::complex) fn may_be_on(&self, host: Option<HostId>) -> bool {
        let ranks = self.ranks.as_ref();
        ranks.is_none_or(|ranks| host.is_some_and(|host| ranks.contains_key(&host)))
    }

    /// Whether the task waits that is pinned to this host, if tasks are pinned.
    pub(in crate::complex) fn waits_for(&self, host: HostId) -> bool {
        self.ranks.is_none() || self.rank_of(host).is_some_and(|rank| self.is_waiting(rank))
    }

    /// Tasks for which nobody was asked and that wait.
    pub(in crate::complex) fn waiting_tasks(&self) -> TaskSet {
        self.pools.get(&Vec::new()).cloned().unwrap_or_default()
    }

    /// A host to which a task may be pinned has another key.
    pub(in crate::complex) fn move_pinned(&mut self, old: HostId, new: HostId) -> bool {
        let Some(pinned) = &mut self.record.pinned else { return false };
        let Some(place) = pinned.hosts.iter_mut().find(|host| **host == old) else { return false };
        *place = new;
        self.ranks = Some(ranks_of(pinned));
        true
    }
}
