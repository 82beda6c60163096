//! What the complex sends about work is checked here, and taken or turned down with the reason.

use isos_base::limits::{LEASE_RANGES_MAX, LEASE_TASKS_MAX};
use isos_base::ranges::{TaskRange, TaskSet};
use isos_base::time::Time;
use isos_base::wire::{Grant, JobOffer};

use super::tuning::{GRANTS_MAX, JOBS_MAX, LEASES_MAX, TASKS_MAX};
use super::work::{Job, Lease, Work};
use super::{Effect, Host, HostEvent, TurnDown};

impl TurnDown {
    /// Whether the tasks can be given back: not when the grant itself makes no sense.
    const fn gives_back(&self) -> bool {
        !matches!(self, Self::Duplicate | Self::Malformed | Self::Swamped)
    }
}

impl Host {
    /// The complex says what a job is.
    pub(super) fn job_told(&mut self, offer: Box<JobOffer>, effects: &mut Vec<Effect>) {
        let id = offer.job;
        let mut ignore = |why: String| {
            effects.push(Effect::Say(HostEvent::Ignored(format!("job {id}: {why}"))));
        };
        if let Err(error) = offer.spec.check() {
            ignore(error.to_string());
            return;
        }
        if let Some(job) = self.work.jobs.get_mut(&id)
            && job.offer.spec == offer.spec
        {
            job.offer = offer;
            job.named_at = self.now;
            return;
        }
        if let Some(job) = self.work.jobs.get(&id)
            && (job.held() > 0 || job.chamber.is_some())
        {
            ignore("it is worked on and cannot become another".into());
            return;
        }
        if !self.work.jobs.contains_key(&id)
            && self.work.jobs.len() >= JOBS_MAX
            && !self.forget_a_job()
        {
            ignore("there are too many jobs".into());
            return;
        }
        self.work.jobs.insert(id, Job::new(offer, self.now));
    }

    /// Forgets the job without work that was named longest ago.
    fn forget_a_job(&mut self) -> bool {
        let free = |job: &Job| job.held() == 0 && job.chamber.is_none();
        let oldest = self.work.jobs.iter().filter(|(_, job)| free(job));
        match oldest.min_by_key(|(_, job)| job.named_at).map(|(&id, _)| id) {
            Some(id) => self.work.jobs.remove(&id).is_some(),
            None => false,
        }
    }

    /// The complex grants work. Whether a job was named that we know nothing of.
    pub(super) fn granted(&mut self, mut grants: Vec<Grant>, effects: &mut Vec<Effect>) -> bool {
        if grants.len() > GRANTS_MAX {
            let what =
                format!("{} of {} grants in one frame", grants.len() - GRANTS_MAX, grants.len());
            effects.push(Effect::Say(HostEvent::Ignored(what)));
            grants.truncate(GRANTS_MAX);
        }
        let mut unknown = false;
        for grant in grants {
            let (id, job) = (grant.lease, grant.job);
            self.work.last_granted = self.work.last_granted.max(id);
            let deadline = self.session.local(grant.deadline);
            let verdict = self.judge(&grant, deadline);
            unknown |= matches!(verdict, Err(TurnDown::UnknownJob));
            match verdict {
                Ok(tasks) => {
                    let partly = self.work.take_up(grant, &tasks, deadline);
                    self.tell_reach_of(job, effects);
                    if !partly.is_empty() {
                        self.give_back(id, &partly);
                        let why = TurnDown::HeldAlready;
                        effects.push(Effect::Say(HostEvent::TurnedDown { lease: id, job, why }));
                    }
                }
                Err(why) => {
                    if why.gives_back() {
                        let tasks: TaskSet = grant.ranges.iter().copied().collect();
                        self.work.add_lease(id, Lease::of(grant, deadline, TaskSet::new(), &tasks));
                        self.work.turn_down(id, self.now);
                    }
                    effects.push(Effect::Say(HostEvent::TurnedDown { lease: id, job, why }));
                }
            }
        }
        self.work.forget_resumes();
        unknown
    }

    /// The tasks of a grant, or why it is not taken.
    fn judge(&mut self, grant: &Grant, deadline: Time) -> Result<TaskSet, TurnDown> {
        let tasks = well_formed(&grant.ranges).ok_or(TurnDown::Malformed)?;
        if self.work.leases.contains_key(&grant.lease) {
            return Err(TurnDown::Duplicate);
        }
        if self.work.leases.len() >= 2 * LEASES_MAX {
            return Err(TurnDown::Swamped);
        }
        if let Some(job) = self.work.jobs.get_mut(&grant.job) {
            job.named_at = self.now;
        }
        let job = self.work.jobs.get(&grant.job).ok_or(TurnDown::UnknownJob)?;
        let count = job.offer.spec.count;
        if grant.ranges.iter().any(|range| range.end > count) {
            return Err(TurnDown::BeyondCount { count });
        }
        if let Some(why) = self.unwelcome(job) {
            return Err(why);
        }
        if let Some(until) = job.barred_until.filter(|&until| self.now < until) {
            return Err(TurnDown::Barred { until });
        }
        if deadline <= self.now {
            return Err(TurnDown::TooLate);
        }
        let work = &self.work;
        // What is done is no burden, but for the room that it takes until it is acknowledged.
        let full = work.held().saturating_add(tasks.count()) > TASKS_MAX
            || work.tasks.saturating_add(tasks.count()) > 2 * TASKS_MAX
            || work.leases.len() >= LEASES_MAX && work.leases_with_work() >= LEASES_MAX;
        if full { Err(TurnDown::Full) } else { Ok(tasks) }
    }

    /// Why the present offer does not allow a job, if it does not.
    pub(super) fn unwelcome(&self, job: &Job) -> Option<TurnDown> {
        let (offer, spec) = (&self.offer, &job.offer.spec);
        if offer.cores == 0 {
            return Some(TurnDown::Quiet);
        }
        if !offer.accept.allows(&spec.program) {
            return Some(TurnDown::Program(spec.program));
        }
        if job.offer.price < offer.price_min {
            return Some(TurnDown::Price { asked: offer.price_min, paid: job.offer.price });
        }
        if spec.memory > offer.memory {
            return Some(TurnDown::Memory { needed: spec.memory, offered: offer.memory });
        }
        let disk = job.disk_with(1);
        (disk > offer.disk).then_some(TurnDown::Disk { needed: disk, offered: offer.disk })
    }
}

/// The tasks of ranges that are within the limits of a lease, not empty and disjoint.
fn well_formed(ranges: &[TaskRange]) -> Option<TaskSet> {
    if ranges.is_empty() || ranges.len() > LEASE_RANGES_MAX {
        return None;
    }
    let mut tasks = TaskSet::new();
    for &range in ranges {
        if range.is_empty() || range.len() > LEASE_TASKS_MAX || tasks.insert(range) < range.len() {
            return None;
        }
    }
    (tasks.count() <= LEASE_TASKS_MAX).then_some(tasks)
}

impl Lease {
    fn of(grant: Grant, deadline: Time, queued: TaskSet, all: &TaskSet) -> Self {
        Self { job: grant.job, deadline, granted: grant.ranges, queued, fed: 0, left: all.count() }
    }
}

impl Work {
    /// Takes up a lease. Tasks that nobody wanted any more but that still run in the chamber are
    /// adopted; tasks that another lease holds are not taken, and returned to the caller.
    fn take_up(&mut self, grant: Grant, tasks: &TaskSet, deadline: Time) -> TaskSet {
        let id = grant.lease;
        // What is left in `held` are the tasks of this grant that other leases hold.
        let (mut queued, mut held, mut adopted) = (tasks.clone(), tasks.clone(), 0);
        if let Some(job) = self.jobs.get_mut(&grant.job) {
            let others = job.queue.iter().filter_map(|(_, other)| self.leases.get(other));
            for range in others.flat_map(|other| other.queued.iter()) {
                queued.remove(range);
            }
            if let Some(chamber) = &mut job.chamber {
                for range in &grant.ranges {
                    for (&task, fed) in chamber.fed.range_mut(range.tasks()) {
                        let range = TaskRange::new(task, task + 1);
                        queued.remove(range);
                        if fed.lease.is_none() {
                            fed.lease = Some(id);
                            chamber.orphans -= 1;
                            adopted += 1;
                            held.remove(range);
                        }
                    }
                }
            }
        }
        for range in queued.iter() {
            held.remove(range);
        }
        let mut lease = Lease::of(grant, deadline, queued, tasks);
        lease.fed = adopted;
        self.add_lease(id, lease);
        held
    }
}
