//! The owner comes and goes, and deadlines pass: what is frozen, what is given back and when.

use isos_base::host::Offer;
use isos_base::ranges::{TaskRange, TaskSet};
use isos_base::time::Time;
use isos_base::units::Bytes;
use isos_base::{JobId, LeaseId};

use super::saved::Chains;
use super::tuning::{BARRED, QUIET_RETURN_QUEUED, QUIET_STOP_RUNNING};
use super::work::Work;
use super::{ChamberId, Effect, Host, HostEvent};

/// The owner's wish for quiet. It lasts while the offer has no cores.
#[derive(Debug)]
pub(super) struct Quiet {
    pub(super) since: Option<Time>,
    /// The owner will not be back before this.
    until: Option<Time>,
    /// Whether chambers are frozen.
    pub(super) frozen: bool,
    pub(super) resumed_at: Time,
}

impl Quiet {
    pub(super) const fn new() -> Self {
        Self { since: None, until: None, frozen: false, resumed_at: Time(0) }
    }

    /// When waiting or frozen tasks are given back.
    pub(super) fn deadline(&self, work: &Work) -> Option<Time> {
        let since = self.since?;
        if work.queued() > 0 {
            Some(since + QUIET_RETURN_QUEUED)
        } else if !work.chambers.is_empty() {
            Some(since + QUIET_STOP_RUNNING)
        } else {
            None
        }
    }
}

impl Work {
    /// Chambers were weighed. One that is gone weighs nothing.
    pub(super) fn weighed(&mut self, weights: &[(ChamberId, Bytes)]) {
        for &(id, weight) in weights {
            let job = self.chambers.get(&id).and_then(|job| self.jobs.get_mut(job));
            if let Some(chamber) = job.and_then(|job| job.chamber.as_mut()) {
                chamber.weight = weight;
            }
        }
    }

    /// What all chambers took when they were weighed.
    pub(super) fn weight(&self) -> Bytes {
        let chambers = self.jobs.values().filter_map(|job| job.chamber.as_ref());
        chambers.fold(Bytes::ZERO, |sum, chamber| sum + chamber.weight)
    }

    /// The chamber that can go first of those that weigh something: idle ones, then the least
    /// urgent.
    fn heavy(&self) -> Option<JobId> {
        let heavy = |id: &JobId| {
            let chamber = self.jobs.get(id).and_then(|job| job.chamber.as_ref());
            chamber.is_some_and(|chamber| chamber.weight > Bytes::ZERO)
        };
        let urgent = self.by_urgency();
        let idle = self.chambers.values().copied().filter(|id| !urgent.contains(id)).find(heavy);
        idle.or_else(|| urgent.iter().rev().copied().find(heavy))
    }
}

impl Host {
    /// The policy allows something else.
    pub(super) fn allowed(&mut self, offer: Offer, until: Option<Time>, effects: &mut Vec<Effect>) {
        self.quiet.until = until;
        if offer.cores == 0 {
            self.quiet.since.get_or_insert(self.now);
            if !self.quiet.frozen && !self.work.chambers.is_empty() {
                self.quiet.frozen = true;
                effects.push(Effect::Suspend);
                effects.push(Effect::Say(HostEvent::Suspended));
            }
        } else {
            self.quiet.since = None;
            if self.quiet.frozen {
                self.quiet.frozen = false;
                self.quiet.resumed_at = self.now;
                effects.push(Effect::Resume);
                effects.push(Effect::Say(HostEvent::Resumed));
            }
        }
        self.offer = offer;
        if self.offer.cores > 0 {
            self.give_back_unwelcome(effects);
        }
    }

    /// Gives back waiting tasks of jobs that the offer does not allow any more.
    fn give_back_unwelcome(&mut self, effects: &mut Vec<Effect>) {
        let jobs = &self.work.jobs;
        let unwelcome = |id: &JobId| jobs.get(id).is_some_and(|job| self.unwelcome(job).is_some());
        let leases = self.queued_leases(|id, _| unwelcome(&id));
        self.give_back_queued(&leases, "the policy does not allow them any more", effects);
    }

    /// Leases with waiting tasks that `wanted` chooses by job and deadline.
    fn queued_leases(&self, wanted: impl Fn(JobId, Time) -> bool) -> Vec<LeaseId> {
        let queues =
            self.work.jobs.iter().flat_map(|(&id, job)| job.queue.iter().map(move |q| (id, q)));
        queues.filter(|&(id, &(at, _))| wanted(id, at)).map(|(_, &(_, lease))| lease).collect()
    }

    fn give_back_queued(
        &mut self,
        leases: &[LeaseId],
        why: &'static str,
        effects: &mut Vec<Effect>,
    ) {
        let mut count = 0;
        for &lease in leases {
            let tasks = self.work.unqueue(lease, self.now);
            count += tasks.count();
            self.give_back(lease, &tasks);
        }
        if count > 0 {
            effects.push(Effect::Say(HostEvent::GaveBack { tasks: count, why }));
        }
    }

    /// Reports tasks as returned.
    pub(super) fn give_back(&mut self, lease: LeaseId, tasks: &TaskSet) {
        self.tally.returned += u64::from(tasks.count());
        tasks.iter().for_each(|range| self.outbox.returned(lease, range));
    }

    /// Takes all tasks of a lease out of queue and chamber and reports them as returned.
    fn give_back_lease(&mut self, lease: LeaseId) -> u32 {
        let mut tasks = self.work.unqueue(lease, self.now);
        for task in self.work.orphan(lease) {
            tasks.insert(TaskRange::new(task, task + 1));
        }
        self.give_back(lease, &tasks);
        tasks.count()
    }

    /// Gives back what is held longer than the owner's quiet allows.
    pub(super) fn settle_quiet(&mut self, effects: &mut Vec<Effect>) {
        let Some(since) = self.quiet.since else { return };
        let (until, long) = (self.quiet.until, self.now >= since + QUIET_RETURN_QUEUED);
        let leases =
            self.queued_leases(|_, deadline| long || until.is_some_and(|until| until >= deadline));
        self.give_back_queued(&leases, "the owner wants quiet", effects);
        if self.now < since + QUIET_STOP_RUNNING {
            return;
        }
        let jobs: Vec<_> = self.work.chambers.values().copied().collect();
        for job in jobs {
            self.stop_chamber(job, effects);
        }
        let leases = self.queued_leases(|_, _| true);
        self.give_back_queued(&leases, "the owner wants quiet for long", effects);
    }

    /// What chambers take beyond what the policy leaves goes, the least urgent first: it cannot be
    /// frozen away. Their jobs are not taken up again for a while, or they would come and go.
    pub(super) fn settle_memory(&mut self, effects: &mut Vec<Effect>) {
        while self.work.weight() > self.offer.memory {
            let Some(id) = self.work.heavy() else { return };
            let works = self.work.jobs.get(&id).is_some_and(|job| job.held() > 0);
            self.stop_chamber(id, effects);
            if !works {
                continue;
            }
            if let Some(job) = self.work.jobs.get_mut(&id) {
                job.barred_until = Some(self.now + BARRED);
            }
            let leases = self.queued_leases(|job, _| job == id);
            self.give_back_queued(&leases, "the policy leaves too little memory", effects);
        }
    }

    /// Says what chambers may use, when that has changed.
    pub(super) fn settle_limit(&mut self, effects: &mut Vec<Effect>) {
        let limit = (self.offer.cores, self.offer.memory);
        if self.limit != Some(limit) {
            self.limit = Some(limit);
            effects.push(Effect::Limit { cores: limit.0, memory: limit.1 });
        }
    }

    /// Gives back what was turned down, when the time has come to say so.
    pub(super) fn settle_turned_down(&mut self) {
        while let Some(&(at, lease)) = self.work.turned_down.front()
            && at <= self.now
        {
            self.work.turned_down.pop_front();
            self.give_back_all(lease);
        }
    }

    /// Reports all tasks of a lease as returned that was never taken up.
    fn give_back_all(&mut self, id: LeaseId) {
        let Some(lease) = self.work.leases.get(&id) else { return };
        let tasks: TaskSet = lease.granted.iter().copied().collect();
        self.give_back(id, &tasks);
    }

    /// Gives back what was not done in time.
    pub(super) fn settle_deadlines(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(at, lease)) = self.work.expiry.first()
            && at <= self.now
        {
            let job = self.work.leases.get(&lease).map(|lease| lease.job);
            let tasks = self.give_back_lease(lease);
            effects.push(Effect::Say(HostEvent::LeaseExpired { lease, tasks }));
            if let Some(job) = job {
                self.stop_if_forsaken(job, effects);
            }
        }
    }

    /// The complex takes leases back.
    pub(super) fn revoked(&mut self, leases: &[LeaseId], effects: &mut Vec<Effect>) {
        let mut tasks = 0;
        for &id in leases {
            let Some(job) = self.work.leases.get(&id).map(|lease| lease.job) else { continue };
            tasks += self.work.unqueue(id, self.now).count();
            tasks += u32::try_from(self.work.orphan(id).len()).unwrap_or(u32::MAX);
            self.outbox.forget(id);
            self.work.remove_lease(id);
            self.stop_if_forsaken(job, effects);
            // No result will say that there is room again.
            self.session.check_room(self.now);
        }
        effects.push(Effect::Say(HostEvent::Revoked { tasks }));
    }

    /// The agent stops: all tasks go back, all chambers go.
    pub(super) fn give_back_everything(&mut self, effects: &mut Vec<Effect>) {
        for (_, lease) in std::mem::take(&mut self.work.turned_down) {
            self.give_back_all(lease);
        }
        let leases: Vec<_> = self.work.leases.keys().copied().collect();
        for lease in leases {
            self.give_back_lease(lease);
        }
        self.end_chambers(effects);
    }

    /// The complex wants nothing from us any more.
    pub(super) fn abandon_everything(&mut self, effects: &mut Vec<Effect>) {
        self.end_chambers(effects);
        self.work.jobs.clear();
        self.work.leases.clear();
        self.work.chains = Chains::default();
        self.work.expiry.clear();
        self.work.turned_down.clear();
        self.work.tasks = 0;
        self.outbox.clear();
    }

    fn end_chambers(&mut self, effects: &mut Vec<Effect>) {
        let chambers = std::mem::take(&mut self.work.chambers);
        for (chamber, job) in chambers {
            let Some(job) = self.work.jobs.get_mut(&job) else { continue };
            let idle = job.chamber.take().is_some_and(|c| c.open && c.fed.is_empty());
            effects.push(if idle { Effect::Drop { chamber } } else { Effect::Stop { chamber } });
        }
    }
}
