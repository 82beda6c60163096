//! The tables of jobs and leases, and where each task is: queued under its lease, or fed to its
//! job's chamber. What has ended is in the outbox. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use isos_base::ranges::{TaskRange, TaskSet};
use isos_base::time::{Span, Time};
use isos_base::units::Bytes;
use isos_base::wire::JobOffer;
use isos_base::{JobId, LeaseId};

use super::ChamberId;
use super::peers::Speaking;
use super::saved::Chains;
use super::tuning::{CHAMBER_GRACE, TURN_DOWN_EVERY};

/// All work at hand.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    /// Leases with tasks queued or fed, by deadline.
    pub(super) expiry: BTreeSet<(Time, LeaseId)>,
    pub(super) chambers: BTreeMap<ChamberId, JobId>,
    /// Leases that were turned down, and when the complex is told; in this order.
    pub(super) turned_down: VecDeque<(Time, LeaseId)>,
    /// When the complex is told of the last lease that was turned down, or was.
    pub(super) turned_down_at: Time,
    /// The last number given to a chamber.
    pub(super) last_chamber: u64,
    /// Tasks of all leases that the complex has not acknowledged news about.
    pub(super) tasks: u32,
    /// The last lease that was granted: their numbers only grow.
    pub(super) last_granted: LeaseId,
    /// What tasks have saved.
    pub(super) chains: Chains,
    /// Jobs that were let begin with their peers.
    pub(super) turns: u64,
}

/// A right to work on tasks of one job, until the complex has acknowledged news about the last.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) job: JobId,
    /// On this host's clock.
    pub(super) deadline: Time,
    /// What was granted, for the invariants.
    pub(super) granted: Vec<TaskRange>,
    pub(super) queued: TaskSet,
    /// Tasks in the job's chamber.
    pub(super) fed: u32,
    /// Tasks that the complex has not acknowledged news about.
    pub(super) left: u32,
}

/// A job that the complex told us about.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) offer: Box<JobOffer>,
    /// Bytes of program and inputs.
    pub(super) disk: Bytes,
    /// Leases with queued tasks, by deadline.
    pub(super) queue: BTreeSet<(Time, LeaseId)>,
    /// Tasks in `queue`.
    pub(super) queued: u32,
    pub(super) chamber: Option<Chamber>,
    /// How long its tasks take, smoothed; unknown until the first ends.
    pub(super) mean: Option<Span>,
    /// Tasks that were running when a chamber died: each is run alone once. Also queued.
    pub(super) suspects: VecDeque<(LeaseId, u32)>,
    /// Chambers that died since the last good result.
    pub(super) deaths: u32,
    /// Chambers that died with several tasks in them.
    pub(super) deaths_wide: u32,
    pub(super) barred_until: Option<Time>,
    /// Since when its turn has come but it fits nowhere.
    pub(super) starved_since: Option<Time>,
    /// When the complex last spoke of it.
    pub(super) named_at: Time,
    pub(super) done: u64,
    pub(super) failed: u64,
}

/// A job's sandbox.
#[derive(Debug)]
pub(super) struct Chamber {
    pub(super) id: ChamberId,
    pub(super) open: bool,
    pub(super) threads: u16,
    pub(super) since: Time,
    /// Tasks in it.
    pub(super) fed: BTreeMap<u32, Fed>,
    /// Tasks in it that nobody wants any more.
    pub(super) orphans: u32,
    /// The one task in it is a suspect and stays alone.
    pub(super) alone: bool,
    /// Its program addresses its peers.
    pub(super) speaking: Option<Speaking>,
    /// To be dropped as soon as it is empty.
    pub(super) closing: bool,
    /// When the last work left it.
    pub(super) idle_since: Time,
    /// What its process took when it was weighed last.
    pub(super) weight: Bytes,
    /// Tasks ever handed to it: their order is the order in which they start.
    pub(super) order: u64,
}

/// A task in a chamber.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fed {
    /// Under which lease; nothing when nobody wants it any more.
    pub(super) lease: Option<LeaseId>,
    pub(super) order: u64,
    pub(super) at: Time,
}

impl Chamber {
    pub(super) fn new(id: ChamberId, threads: u16, now: Time) -> Self {
        Self {
            id,
            open: false,
            threads,
            since: now,
            fed: BTreeMap::new(),
            orphans: 0,
            alone: false,
            speaking: None,
            closing: false,
            idle_since: now,
            weight: Bytes::ZERO,
            order: 0,
        }
    }

    /// Tasks that run in it now, at the most: the others in it wait.
    pub(super) fn used(&self) -> u16 {
        u16::try_from(self.fed.len()).unwrap_or(u16::MAX).min(self.threads)
    }

    /// Tasks in it.
    pub(super) fn tasks(&self) -> u32 {
        u32::try_from(self.fed.len()).unwrap_or(u32::MAX)
    }
}

impl Job {
    pub(super) fn new(offer: Box<JobOffer>, now: Time) -> Self {
        let disk = offer.spec.inputs.iter().fold(offer.spec.program_size, |sum, m| sum + m.size);
        Self {
            offer,
            disk,
            queue: BTreeSet::new(),
            queued: 0,
            chamber: None,
            mean: None,
            suspects: VecDeque::new(),
            deaths: 0,
            deaths_wide: 0,
            barred_until: None,
            starved_since: None,
            named_at: now,
            done: 0,
            failed: 0,
        }
    }

    /// Tasks queued, or fed and still wanted.
    pub(super) fn held(&self) -> u32 {
        self.queued + self.chamber.as_ref().map_or(0, |c| c.tasks() - c.orphans)
    }

    /// Disk for a chamber with so many threads.
    pub(super) fn disk_with(&self, threads: u16) -> Bytes {
        self.disk + Bytes(self.offer.spec.output_max.0.saturating_mul(u64::from(threads)))
    }

    /// How long a task is expected to take.
    pub(super) fn mean_or(&self, guess: Span) -> Span {
        self.mean.unwrap_or(guess)
    }
}

impl Work {
    /// Takes up a lease; `queued` is what of `granted` is to be done, `left` everything in it.
    pub(super) fn add_lease(&mut self, id: LeaseId, lease: Lease) {
        self.tasks += lease.left;
        if let Some(job) = self.jobs.get_mut(&lease.job)
            && !lease.queued.is_empty()
        {
            job.queue.insert((lease.deadline, id));
            job.queued += lease.queued.count();
        }
        if !lease.queued.is_empty() || lease.fed > 0 {
            self.expiry.insert((lease.deadline, id));
        }
        self.leases.insert(id, lease);
    }

    /// A lease's queued tasks leave the queue.
    pub(super) fn unqueue(&mut self, id: LeaseId, now: Time) -> TaskSet {
        let Some(lease) = self.leases.get_mut(&id) else { return TaskSet::new() };
        let tasks = std::mem::take(&mut lease.queued);
        if !tasks.is_empty()
            && let Some(job) = self.jobs.get_mut(&lease.job)
        {
            job.queue.remove(&(lease.deadline, id));
            job.queued -= tasks.count();
            job.rest(now);
        }
        self.tidy(id);
        tasks
    }

    /// One task leaves the queue; whether it was there.
    pub(super) fn unqueue_one(&mut self, id: LeaseId, task: u32, now: Time) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        let Some(job) = self.jobs.get_mut(&lease.job) else { return false };
        if lease.queued.remove(TaskRange::new(task, task + 1)) == 0 {
            return false;
        }
        job.queued -= 1;
        if lease.queued.is_empty() {
            job.queue.remove(&(lease.deadline, id));
            job.rest(now);
            self.tidy(id);
        }
        true
    }

    /// A job's leases end then, and no earlier.
    pub(super) fn lease_until(&mut self, id: JobId, until: Time) {
        let of_job = |lease: &&mut Lease| lease.job == id && lease.deadline < until;
        for (&lease_id, lease) in &mut self.leases {
            let Some(lease) = Some(lease).filter(of_job) else { continue };
            let before = std::mem::replace(&mut lease.deadline, until);
            if self.expiry.remove(&(before, lease_id)) {
                self.expiry.insert((until, lease_id));
            }
            if let Some(job) = self.jobs.get_mut(&id)
                && job.queue.remove(&(before, lease_id))
            {
                job.queue.insert((until, lease_id));
            }
        }
    }

    /// A lease's tasks in the chamber become orphans: they run on, but nobody waits for them.
    pub(super) fn orphan(&mut self, id: LeaseId) -> Vec<u32> {
        let Some(lease) = self.leases.get_mut(&id) else { return Vec::new() };
        let mut tasks = Vec::new();
        if lease.fed > 0
            && let Some(chamber) =
                self.jobs.get_mut(&lease.job).and_then(|job| job.chamber.as_mut())
        {
            for (&task, fed) in &mut chamber.fed {
                if fed.lease == Some(id) {
                    fed.lease = None;
                    tasks.push(task);
                }
            }
            lease.fed = 0;
            chamber.orphans += u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        }
        self.tidy(id);
        tasks
    }

    /// A task leaves its job's chamber. The lease that waits for it, if any does; an error when it
    /// was not in there.
    pub(super) fn unfeed(
        &mut self,
        job: JobId,
        task: u32,
        now: Time,
    ) -> Result<Option<LeaseId>, NotThere> {
        let job = self.jobs.get_mut(&job).ok_or(NotThere)?;
        let chamber = job.chamber.as_mut().ok_or(NotThere)?;
        let fed = chamber.fed.remove(&task).ok_or(NotThere)?;
        if fed.lease.is_none() {
            chamber.orphans -= 1;
        }
        if chamber.fed.is_empty() {
            chamber.alone = false;
            job.rest(now);
        }
        if let Some(id) = fed.lease
            && let Some(lease) = self.leases.get_mut(&id)
        {
            lease.fed -= 1;
            if lease.fed == 0 {
                self.tidy(id);
            }
        }
        Ok(fed.lease)
    }

    /// Forgets suspects that do not wait any more, down to the first that does.
    pub(super) fn clear_suspects(&mut self) {
        for (&id, job) in &mut self.jobs {
            let waits = |&(lease, task): &(LeaseId, u32)| {
                let lease = self.leases.get(&lease);
                lease.is_some_and(|lease| lease.job == id && lease.queued.contains(task))
            };
            while job.suspects.front().is_some_and(|suspect| !waits(suspect)) {
                job.suspects.pop_front();
            }
        }
    }

    /// Hands up to `count` queued tasks to the job's chamber, most urgent first; a suspect goes
    /// alone.
    pub(super) fn feed(&mut self, id: JobId, count: u32, now: Time) -> Vec<u32> {
        let Some(job) = self.jobs.get_mut(&id) else { return Vec::new() };
        let Some(chamber) = job.chamber.as_mut() else { return Vec::new() };
        let mut tasks = Vec::with_capacity(count.min(job.queued) as usize);
        let mut put = |chamber: &mut Chamber, lease, task| {
            chamber.order += 1;
            let fed = Fed { lease: Some(lease), order: chamber.order, at: now };
            chamber.fed.insert(task, fed);
            tasks.push(task);
        };
        if let Some(&(lease_id, task)) = job.suspects.front()
            && let Some(lease) = self.leases.get_mut(&lease_id)
            && lease.queued.remove(TaskRange::new(task, task + 1)) > 0
        {
            job.suspects.pop_front();
            if lease.queued.is_empty() {
                job.queue.remove(&(lease.deadline, lease_id));
            }
            lease.fed += 1;
            job.queued -= 1;
            chamber.alone = true;
            put(chamber, lease_id, task);
            return tasks;
        }
        let mut left = count;
        while left > 0 {
            let Some(&(deadline, lease_id)) = job.queue.first() else { break };
            let Some(lease) = self.leases.get_mut(&lease_id) else { break };
            for range in lease.queued.take_front(left, usize::MAX) {
                lease.fed += range.len();
                job.queued -= range.len();
                left -= range.len();
                range.tasks().for_each(|task| put(chamber, lease_id, task));
            }
            if lease.queued.is_empty() {
                job.queue.remove(&(deadline, lease_id));
            }
        }
        tasks
    }

    /// A chamber is no more: its wanted tasks are queued again, in the order they were started.
    pub(super) fn remove_chamber(&mut self, id: JobId, now: Time) -> Vec<(LeaseId, u32)> {
        let Some(job) = self.jobs.get_mut(&id) else { return Vec::new() };
        let Some(chamber) = job.chamber.take() else { return Vec::new() };
        self.chambers.remove(&chamber.id);
        let mut lost: Vec<_> = chamber
            .fed
            .iter()
            .filter_map(|(&task, fed)| Some((fed.order, fed.lease?, task)))
            .collect();
        lost.sort_unstable();
        for &(_, lease_id, task) in &lost {
            if let Some(lease) = self.leases.get_mut(&lease_id) {
                lease.queued.insert(TaskRange::new(task, task + 1));
                lease.fed -= 1;
                job.queue.insert((lease.deadline, lease_id));
                job.queued += 1;
            }
        }
        job.rest(now);
        lost.into_iter().map(|(_, lease, task)| (lease, task)).collect()
    }

    /// The complex has acknowledged news about so many tasks of a lease.
    pub(super) fn acked(&mut self, id: LeaseId, tasks: u32) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.left -= tasks;
            self.tasks -= tasks;
            self.tidy(id);
        }
    }

    /// When the complex is told of a lease that is turned down now: at once, unless it was told of
    /// one in another frame a moment ago.
    pub(super) fn turn_down(&mut self, id: LeaseId, now: Time) {
        if self.turned_down_at < now {
            self.turned_down_at = now.max(self.turned_down_at + TURN_DOWN_EVERY);
        }
        self.turned_down.push_back((self.turned_down_at, id));
    }

    /// A lease goes, whatever is left of it; its tasks must have left queue and chamber.
    pub(super) fn remove_lease(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.remove(&id) {
            self.tasks -= lease.left;
            self.chains.forget(id);
            self.expiry.remove(&(lease.deadline, id));
            self.turned_down.retain(|&(_, other)| other != id);
        }
    }

    pub(super) fn leases_with_work(&self) -> usize {
        self.leases.values().filter(|lease| !lease.queued.is_empty() || lease.fed > 0).count()
    }

    /// Tasks that wait.
    pub(super) fn queued(&self) -> u32 {
        self.jobs.values().map(|job| job.queued).sum()
    }

    /// Tasks that wait, or run and are wanted.
    pub(super) fn held(&self) -> u32 {
        self.jobs.values().map(Job::held).sum()
    }

    /// When a lease ends, a chamber without work is closed, or an answer is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let lease = self.expiry.first().map(|&(at, _)| at);
        let grace = self.jobs.values().filter_map(Job::grace_ends).min();
        let answer = self.turned_down.front().map(|&(at, _)| at);
        [lease, grace, answer].into_iter().flatten().min()
    }

    /// Forgets a lease without work and news; keeps the index of deadlines right.
    fn tidy(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get(&id) else { return };
        if lease.queued.is_empty() && lease.fed == 0 {
            self.expiry.remove(&(lease.deadline, id));
            if lease.left == 0 {
                self.leases.remove(&id);
                self.chains.forget(id);
            }
        }
    }
}

impl Job {
    /// The chamber may have just lost its last work.
    fn rest(&mut self, now: Time) {
        if self.queued == 0
            && let Some(chamber) = &mut self.chamber
            && chamber.fed.is_empty()
        {
            chamber.idle_since = now;
        }
    }

    /// When the chamber is closed, if it has nothing to do.
    pub(super) fn grace_ends(&self) -> Option<Time> {
        let chamber = self.chamber.as_ref()?;
        let idle = chamber.open && chamber.fed.is_empty() && self.queued == 0;
        idle.then_some(chamber.idle_since + CHAMBER_GRACE)
    }
}

/// A task that is said to have ended was not in the chamber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotThere;
