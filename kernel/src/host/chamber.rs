//! Opening and closing chambers, what comes out of them, and what their deaths mean.

use isos_base::host::{HostSpec, Offer};
use isos_base::limits::OUTPUT_INLINE_MAX;
use isos_base::task::{Fault, OutputAt, TaskResult};
use isos_base::time::{Span, Time};
use isos_base::units::Bytes;
use isos_base::{JobId, LeaseId};

use super::tuning::{
    AHEAD, BARRED, CHAMBER_MEMORY, CHAMBER_STAY, CHAMBERS_MAX, DEATHS_MAX, FORSAKEN_MIN,
    OUTBOX_BYTES_MAX, THREADS_MAX,
};
use super::work::{Chamber, Job, Work};
use super::{ChamberId, Effect, Ended, Host, HostEvent, job_of};

/// Closes, opens and feeds chambers.
pub(super) fn settle_chambers(host: &mut Host, effects: &mut Vec<Effect>) {
    host.change_widths();
    host.close_chambers(effects);
    if host.offer.cores == 0 {
        return;
    }
    host.work.clear_suspects();
    let order = host.work.by_urgency();
    while host.open_chambers(&order, effects) {
        host.close_chambers(effects);
    }
    if host.outbox.bytes() < OUTBOX_BYTES_MAX {
        host.feed_chambers(&order, effects);
    }
}

impl Work {
    /// A chamber is ready.
    pub(super) fn prepared(&mut self, now: Time, id: ChamberId) {
        if let Some(job) = job_of(self, id).and_then(|job| self.jobs.get_mut(&job))
            && let Some(chamber) = &mut job.chamber
            && !chamber.open
        {
            chamber.open = true;
            chamber.since = now;
            chamber.idle_since = now;
        }
    }

    /// Disk that open chambers may fill.
    fn disk_used(&self) -> Bytes {
        self.jobs.values().fold(Bytes::ZERO, |sum, job| match &job.chamber {
            Some(chamber) => sum + job.disk_with(chamber.threads),
            None => sum,
        })
    }
}

impl Job {
    /// Threads for a new chamber. Short tasks are streamed, which needs exactly as many threads as
    /// there are cores; for others there are as many as the host can ever have, and feeding sets
    /// the width.
    fn threads(&self, offer: &Offer, spec: &HostSpec, disk_left: Bytes) -> u16 {
        let (mut cores, mut memory) = (offer.cores, offer.memory);
        if !self.is_short() {
            (cores, memory) = (cores.max(spec.cpus), memory.max(spec.memory));
        }
        let job = &self.offer.spec;
        let fit = memory.0 / job.memory.0.max(1);
        let disk = (disk_left - self.disk).0 / job.output_max.0.max(1);
        let most = u64::from(cores.min(THREADS_MAX)).min(u64::from(job.count)).min(fit).min(disk);
        u16::try_from(most).unwrap_or(THREADS_MAX).max(1)
    }

    fn is_short(&self) -> bool {
        self.mean.is_some_and(|mean| mean <= AHEAD)
    }

    /// Learns how long a task took.
    fn learn(&mut self, wall: Span) {
        let wall = wall.0.min(u64::MAX / 16);
        self.mean = Some(Span(self.mean.map_or(wall, |mean| (mean.0 * 7 + wall) / 8)));
    }
}

impl Host {
    fn close_chambers(&mut self, effects: &mut Vec<Effect>) {
        for job in self.work.jobs.values_mut() {
            let over = job.grace_ends().is_some_and(|at| at <= self.now);
            if let Some(chamber) = &job.chamber
                && chamber.open
                && chamber.fed.is_empty()
                && (over || chamber.closing)
            {
                effects.push(Effect::Drop { chamber: chamber.id });
                self.work.chambers.remove(&chamber.id);
                job.chamber = None;
            }
        }
    }

    /// Opens chambers for jobs that wait, most urgent first. Whether one is empty and in the way.
    fn open_chambers(&mut self, order: &[JobId], effects: &mut Vec<Effect>) -> bool {
        let places =
            (self.offer.memory.0 / CHAMBER_MEMORY.0).clamp(1, CHAMBERS_MAX as u64) as usize;
        for (place, &id) in order.iter().enumerate() {
            let Some(job) = self.work.jobs.get(&id) else { continue };
            if job.chamber.is_some() || job.queued == 0 {
                continue;
            }
            let disk_min = job.disk_with(1);
            let mut fits = self.has_place(places, disk_min);
            while !fits && self.drop_an_idle_chamber(effects) {
                fits = self.has_place(places, disk_min);
            }
            if fits {
                self.prepare(id, effects);
            } else if self.make_place(order.get(place + 1..).unwrap_or_default()) {
                return true;
            }
        }
        false
    }

    fn has_place(&self, places: usize, disk: Bytes) -> bool {
        self.work.chambers.len() < places && self.work.disk_used() + disk <= self.offer.disk
    }

    fn prepare(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let disk_left = self.offer.disk - self.work.disk_used();
        self.work.last_chamber += 1;
        let chamber = ChamberId(self.work.last_chamber);
        let Some(job) = self.work.jobs.get_mut(&id) else { return };
        let threads = job.threads(&self.offer, &self.spec, disk_left);
        job.chamber = Some(Chamber::new(chamber, threads, self.now));
        self.work.chambers.insert(chamber, id);
        effects.push(Effect::Prepare { chamber, offer: job.offer.clone(), threads });
    }

    fn drop_an_idle_chamber(&mut self, effects: &mut Vec<Effect>) -> bool {
        let idle = self.work.jobs.values_mut().filter(|job| job.grace_ends().is_some());
        let Some(job) = idle.min_by_key(|job| job.grace_ends()) else { return false };
        let Some(chamber) = job.chamber.take() else { return false };
        self.work.chambers.remove(&chamber.id);
        effects.push(Effect::Drop { chamber: chamber.id });
        true
    }

    /// Lets the least urgent chamber run dry, one at a time. Whether it is dry already.
    fn make_place(&mut self, less_urgent: &[JobId]) -> bool {
        let closing = |job: &Job| job.chamber.as_ref().is_some_and(|c| c.closing);
        if self.work.jobs.values().any(closing) {
            return false;
        }
        for id in less_urgent.iter().rev() {
            if let Some(job) = self.work.jobs.get_mut(id)
                && let Some(chamber) = &mut job.chamber
                && chamber.open
                // Others wait for one that waits for them.
                && chamber.speaking.is_none()
                && chamber.since + CHAMBER_STAY <= self.now
            {
                chamber.closing = true;
                return chamber.fed.is_empty();
            }
        }
        false
    }

    /// Lets chambers of short tasks run dry when they should have another number of threads: that
    /// takes no longer than [`AHEAD`].
    fn change_widths(&mut self) {
        let disk_used = self.work.disk_used();
        for job in self.work.jobs.values_mut() {
            if !job.is_short() || job.queued == 0 || job.one_by_one() {
                continue;
            }
            let own = job.chamber.as_ref().map_or(Bytes::ZERO, |c| job.disk_with(c.threads));
            let threads = job.threads(&self.offer, &self.spec, self.offer.disk - (disk_used - own));
            if let Some(chamber) = &mut job.chamber
                && chamber.open
                && chamber.threads != threads
                && chamber.since + CHAMBER_STAY <= self.now
            {
                chamber.closing = true;
            }
        }
    }

    /// Tasks came to an end.
    pub(super) fn ended(
        &mut self,
        chamber: ChamberId,
        ended: Vec<Ended>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = job_of(&self.work, chamber) else { return };
        // Another run is another one to its peers.
        if let Some(chamber) = self.work.jobs.get_mut(&id).and_then(|job| job.chamber.as_mut()) {
            chamber.closing |= chamber.speaking.is_some();
        }
        let mut strangers = 0usize;
        for Ended { task, wall, outcome } in ended {
            let Ok(lease) = self.work.unfeed(id, task, self.now) else {
                strangers += 1;
                continue;
            };
            let outcome = vetted(task, outcome);
            let mut wall = wall;
            if let Some(job) = self.work.jobs.get_mut(&id) {
                // A time with a suspension in it says nothing about the task.
                let pure = !self.quiet.frozen && self.now - wall >= self.quiet.resumed_at;
                if outcome.is_ok() {
                    job.deaths = 0;
                    if pure {
                        job.learn(wall);
                    }
                }
                if !pure {
                    wall = job.mean_or(wall);
                }
                if lease.is_some() {
                    let count = if outcome.is_ok() { &mut job.done } else { &mut job.failed };
                    *count += 1;
                }
            }
            match (lease, outcome) {
                (Some(lease), Ok(result)) => {
                    self.tally.done += 1;
                    self.outbox.result(lease, result, wall);
                }
                (Some(lease), Err(fault)) => self.fault(lease, task, fault, wall),
                (None, _) => {}
            }
        }
        if strangers > 0 {
            let what =
                format!("the end of {strangers} tasks that were not in chamber {}", chamber.0);
            effects.push(Effect::Say(HostEvent::Ignored(what)));
        }
        self.stop_if_forsaken(id, effects);
    }

    /// A chamber could not be opened.
    pub(super) fn unpreparable(
        &mut self,
        chamber: ChamberId,
        fault: Fault,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = job_of(&self.work, chamber) else { return };
        self.work.remove_chamber(id, self.now);
        self.give_up(id, fault, effects);
    }

    /// A chamber is gone with all in it. If one task was in it, that one is to blame. Else those
    /// that were running are each run alone; a job that goes on like this runs one by one for good.
    pub(super) fn chamber_died(&mut self, id: ChamberId, why: &str, effects: &mut Vec<Effect>) {
        let Some(job_id) = job_of(&self.work, id) else { return };
        let Some(job) = self.work.jobs.get_mut(&job_id) else { return };
        let Some(chamber) = &job.chamber else { return };
        let (open, inside, threads) = (chamber.open, chamber.fed.len(), chamber.threads);
        job.deaths += 1;
        if !open || job.deaths >= DEATHS_MAX {
            self.work.remove_chamber(job_id, self.now);
            self.give_up(job_id, Fault::SandboxDied(why.into()), effects);
            return;
        }
        if inside > 1 {
            job.deaths_wide += 1;
        }
        let lost = self.work.remove_chamber(job_id, self.now);
        let mut blamed = None;
        if let ([(lease, task)], 1) = (&lost[..], inside) {
            blamed = Some(*task);
            self.blame(*lease, *task, why);
        } else if let Some(job) = self.work.jobs.get_mut(&job_id) {
            job.suspects.extend(lost.into_iter().take(usize::from(threads)));
        }
        let why = why.to_owned();
        effects.push(Effect::Say(HostEvent::ChamberDied { job: job_id, why, blamed }));
    }

    /// A task that is queued again has killed its chamber.
    fn blame(&mut self, lease: LeaseId, task: u32, why: &str) {
        self.work.unqueue_one(lease, task, self.now);
        if let Some(job) =
            self.work.leases.get(&lease).and_then(|lease| self.work.jobs.get_mut(&lease.job))
        {
            job.failed += 1;
        }
        self.fault(lease, task, Fault::SandboxDied(why.into()), Span::ZERO);
    }

    fn fault(&mut self, lease: LeaseId, task: u32, fault: Fault, wall: Span) {
        self.tally.failed += 1;
        self.outbox.fault(lease, task, fault, wall);
    }

    /// A job cannot run here: of each lease the first task says why, the others are given back.
    fn give_up(&mut self, id: JobId, fault: Fault, effects: &mut Vec<Effect>) {
        let Some(job) = self.work.jobs.get_mut(&id) else { return };
        job.suspects.clear();
        job.deaths = 0;
        job.barred_until = Some(self.now + BARRED);
        let leases: Vec<_> = job.queue.iter().map(|&(_, lease)| lease).collect();
        for lease in leases {
            let mut tasks = self.work.unqueue(lease, self.now);
            let first = tasks.take_front(1, 1);
            for range in first {
                self.fault(lease, range.start, fault.clone(), Span::ZERO);
            }
            self.give_back(lease, &tasks);
        }
        effects.push(Effect::Say(HostEvent::JobFailed { job: id, fault }));
    }

    /// Kills a job's chamber if nothing in it is wanted, unless it will soon be done anyway.
    pub(super) fn stop_if_forsaken(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.work.jobs.get(&id) else { return };
        let Some(chamber) = &job.chamber else { return };
        let forsaken = chamber.orphans > 0 && chamber.orphans == chamber.tasks();
        let soon = self.offer.cores > 0 && job.mean.is_some_and(|mean| mean <= FORSAKEN_MIN);
        if forsaken && !soon {
            self.stop_chamber(id, effects);
        }
    }

    /// Kills a job's chamber; tasks in it that are wanted are queued again.
    pub(super) fn stop_chamber(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        if let Some(chamber) = self.work.jobs.get(&id).and_then(|job| job.chamber.as_ref()) {
            effects.push(Effect::Stop { chamber: chamber.id });
            self.work.remove_chamber(id, self.now);
        }
    }
}

/// What is reported of an outcome: the complex refuses frames with results that break the rules, so
/// one that does is a fault of this host.
fn vetted(task: u32, outcome: Result<TaskResult, Fault>) -> Result<TaskResult, Fault> {
    let result = outcome?;
    if result.task != task {
        return Err(Fault::SandboxDied(format!("it answered for task {}", result.task)));
    }
    match &result.output {
        OutputAt::Inline(bytes) if bytes.len() > OUTPUT_INLINE_MAX => {
            Err(Fault::SandboxDied(format!("{} bytes of output were not stored", bytes.len())))
        }
        _ => Ok(result),
    }
}
