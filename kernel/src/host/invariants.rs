//! What always holds in the host machine. Slow; for tests and the simulator.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::ranges::TaskSet;
use isos_base::{LeaseId, Machine};

use super::Host;
use super::session::Link;
use super::tuning::{CHAMBERS_MAX, FED_MAX, JOBS_MAX, LEASES_MAX, TASKS_MAX};

impl Host {
    pub(super) fn check(&self) {
        self.outbox.check();
        self.check_jobs();
        self.check_leases();
        if let Some(at) = self.deadline() {
            assert!(at > self.now, "{at:?} is due at {:?} and was not done", self.now);
        }
        if !self.stopped {
            assert!(self.work.weight() <= self.offer.memory, "chambers take more than is allowed");
        }
        if matches!(self.session.link, Link::Refused(_)) || self.stopped {
            assert!(self.work.chambers.is_empty(), "chambers without a purpose");
        }
    }

    fn check_jobs(&self) {
        let work = &self.work;
        assert!(work.jobs.len() <= JOBS_MAX, "too many jobs");
        assert!(work.chambers.len() <= CHAMBERS_MAX, "too many chambers");
        for (id, job) in &work.jobs {
            let mut queue = BTreeSet::new();
            let mut queued = 0;
            let mut held = TaskSet::new();
            for (&lease_id, lease) in work.leases.iter().filter(|(_, lease)| lease.job == *id) {
                if !lease.queued.is_empty() {
                    queue.insert((lease.deadline, lease_id));
                }
                queued += lease.queued.count();
                for range in lease.queued.iter() {
                    assert_eq!(held.insert(range), range.len(), "{id}: {range:?} is queued twice");
                }
            }
            assert_eq!((&queue, queued), (&job.queue, job.queued), "the queue of job {id}");
            let Some(chamber) = &job.chamber else { continue };
            assert_eq!(work.chambers.get(&chamber.id), Some(id), "the chamber of job {id}");
            assert!(chamber.open || chamber.fed.is_empty(), "tasks in a closed chamber");
            assert!(chamber.threads > 0 && chamber.tasks() <= FED_MAX, "a swollen chamber");
            assert!(!chamber.alone || chamber.fed.len() == 1, "a suspect in company");
            let orphans = chamber.fed.values().filter(|fed| fed.lease.is_none()).count();
            assert_eq!(orphans, chamber.orphans as usize, "orphans of job {id}");
            assert!(chamber.fed.keys().all(|&task| !held.contains(task)), "queued and fed");
            assert!(chamber.fed.keys().all(|&task| task < job.offer.spec.count), "no such task");
        }
        let chambers = work.jobs.values().filter(|job| job.chamber.is_some()).count();
        assert_eq!(chambers, work.chambers.len(), "chambers of forgotten jobs");
    }

    /// Each granted task is in exactly one place: queued, fed, or in the outbox; or acknowledged.
    fn check_leases(&self) {
        let work = &self.work;
        assert!(work.leases.len() <= 2 * LEASES_MAX, "too many leases");
        let mut news: BTreeMap<LeaseId, Vec<_>> = BTreeMap::new();
        for lease in self.outbox.all() {
            news.entry(lease.lease).or_default().push(lease);
        }
        assert!(news.keys().all(|id| work.leases.contains_key(id)), "news of no lease");
        let (mut expiry, mut left, mut kept) = (BTreeSet::new(), 0, 0);
        for (&id, lease) in &work.leases {
            let granted: TaskSet = lease.granted.iter().copied().collect();
            let mut places = Vec::new();
            places.extend(lease.queued.iter().flat_map(|range| range.tasks()));
            let chamber = work.jobs.get(&lease.job).and_then(|job| job.chamber.as_ref());
            let fed: Vec<_> = chamber
                .into_iter()
                .flat_map(|chamber| &chamber.fed)
                .filter(|(_, fed)| fed.lease == Some(id))
                .map(|(&task, _)| task)
                .collect();
            assert_eq!(fed.len(), lease.fed as usize, "fed tasks of lease {id}");
            if !lease.queued.is_empty() || lease.fed > 0 {
                expiry.insert((lease.deadline, id));
                kept += 1;
            }
            places.extend(fed);
            if work.turned_down.iter().any(|&(_, turned)| turned == id) {
                places.extend(granted.iter().flat_map(|range| range.tasks()));
            }
            for part in news.get(&id).into_iter().flatten() {
                places.extend(part.results.iter().map(|result| result.task));
                places.extend(part.faults.iter().map(|&(task, _)| task));
                places.extend(part.returned.iter().flat_map(|range| range.tasks()));
            }
            assert_eq!(places.len(), lease.left as usize, "tasks of lease {id}");
            assert!(lease.left > 0, "lease {id} is over");
            let distinct: BTreeSet<_> = places.iter().copied().collect();
            assert_eq!(distinct.len(), places.len(), "a task of lease {id} is in two places");
            assert!(distinct.iter().all(|&task| granted.contains(task)), "a task never granted");
            left += lease.left;
        }
        work.chains.check(|lease| work.leases.contains_key(&lease));
        assert_eq!(expiry, work.expiry, "deadlines");
        assert_eq!(left, work.tasks, "tasks at hand");
        assert!(kept <= LEASES_MAX, "too many leases with work");
        let held: u32 = work.jobs.values().map(super::work::Job::held).sum();
        assert!(held <= TASKS_MAX, "too many tasks");
        assert!(held <= work.tasks, "more tasks to do than at hand");
    }
}
