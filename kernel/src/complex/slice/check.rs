//! Slices as the database knows them, and what must always hold of them.

use std::collections::BTreeSet;

use isos_base::record::SliceRecord;
use isos_base::slice::{SLICE_HOSTS_MAX, SLICE_REPLACED_MAX, SliceState};
use isos_base::{SliceId, TaskRange};

use super::super::{Complex, RestoreError};
use super::Slices;

impl Complex {
    /// Takes up what a database has of slices; hosts and jobs are there already.
    pub(in crate::complex) fn restore_slices(
        &mut self,
        slices: Vec<SliceRecord>,
        last: SliceId,
    ) -> Result<(), RestoreError> {
        self.slices = Slices { last, begun: self.now, ..Slices::default() };
        for record in slices {
            let known = |host| self.hosts.contains_key(&host);
            if let Some(it) = record.slivers.iter().find(|sliver| !known(sliver.host)) {
                let what = format!("slice {} is on {}, an unknown host", record.id, it.host);
                return Err(RestoreError::Rows(what));
            }
            self.slices.put(record);
        }
        let pinned = self.jobs.iter().filter(|(_, job)| job.record.pinned.is_some());
        self.slices.jobs = pinned.map(|(&id, _)| id).collect();
        self.slices.look_at(self.now);
        Ok(())
    }

    pub(in crate::complex) fn check_slices(&self) {
        let slices = &self.slices;
        for (id, record) in &slices.open {
            assert_eq!((*id, record.state), (record.id, SliceState::Open));
            assert!(*id <= slices.last, "slice {id}: its number was given out");
            let named = slices.names.get(&(record.account, record.name.clone()));
            assert_eq!(named, Some(id), "slice {id}: it is found by its name");
            let hosts: BTreeSet<_> = record.slivers.iter().map(|sliver| sliver.host).collect();
            let count = record.slivers.len();
            assert_eq!(hosts.len(), count, "slice {id}: no host has two ranks");
            assert!((1..=SLICE_HOSTS_MAX).contains(&count), "slice {id}: as many as it may have");
            assert!(record.replaced.len() <= SLICE_REPLACED_MAX);
            for host in hosts {
                assert!(self.hosts.contains_key(&host), "slice {id}: its hosts are known");
                let known = slices.of_host.get(&host);
                assert!(known.is_some_and(|known| known.contains(id)), "slice {id}: {host}");
            }
        }
        assert_eq!(slices.names.len(), slices.open.len());
        let slivers: usize = slices.open.values().map(|record| record.slivers.len()).sum();
        assert_eq!(slivers, slices.slivers);
        assert_eq!(slivers, slices.of_host.values().map(BTreeSet::len).sum::<usize>());
        assert!(slices.open.is_empty() || slices.look.is_some(), "open ones are looked at again");
        for (id, job) in &self.jobs {
            let Some(pinned) = &job.record.pinned else { continue };
            assert!(slices.jobs.contains(id), "job {id}: it is known to be on a slice");
            assert!(slices.open.contains_key(&pinned.slice), "job {id}: its slice is not over");
            assert_eq!(pinned.hosts.len(), job.record.spec.count as usize);
            assert!(job.waiting() == 0 || slices.look.is_some(), "job {id}: it is looked at again");
            for lease in self.leases_of(job) {
                for task in lease.out.iter().flat_map(TaskRange::tasks) {
                    let host = pinned.hosts[task as usize];
                    assert_eq!(host, lease.record.host, "task {id}@{task}: by its host alone");
                }
            }
        }
    }
}
