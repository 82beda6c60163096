//! Which job gets how many cores: earliest deadline first, packed over cores and memory.
//!
//! The plan is made from scratch as if nothing ran. Feeding then moves towards it without taking
//! anything from tasks that run, and fills cores that would stay idle with less urgent tasks,
//! unless an urgent job has been kept waiting by that for too long. (BOINC lets cores idle when the
//! first job does not fit: its issues 1615, 3776 and 6745.)

use isos_base::JobId;
use isos_base::host::Offer;
use isos_base::time::{Span, Time};
use isos_base::units::Bytes;
use isos_base::wire::Room;

use super::tuning::{AHEAD, DEATHS_WIDE_MAX, FED_MAX, STARVED_AFTER, WALL_GUESS};
use super::work::{Chamber, Job, Work};
use super::{Effect, Host};

/// How many tasks of this size go into that much memory.
fn fit(memory: Bytes, task: Bytes) -> u16 {
    u16::try_from(memory.0 / task.0.max(1)).unwrap_or(u16::MAX)
}

fn times(memory: Bytes, tasks: u16) -> Bytes {
    Bytes(memory.0.saturating_mul(u64::from(tasks)))
}

/// What is not used by tasks that run.
struct Free {
    cores: u16,
    memory: Bytes,
}

impl Free {
    fn of(offer: &Offer, work: &Work) -> Self {
        let mut free = Self { cores: offer.cores, memory: offer.memory };
        for job in work.jobs.values() {
            if let Some(chamber) = &job.chamber {
                free.take(job, chamber.used());
            }
        }
        free
    }

    fn most(&self, job: &Job) -> u16 {
        self.cores.min(fit(self.memory, job.offer.spec.memory))
    }

    fn take(&mut self, job: &Job, tasks: u16) {
        self.cores = self.cores.saturating_sub(tasks);
        self.memory = self.memory - times(job.offer.spec.memory, tasks);
    }
}

impl Job {
    /// Tasks that may run at the same time, apart from what the machine has.
    fn width_max(&self) -> u16 {
        let wide = self.chamber.as_ref().map_or(u16::MAX, |chamber| chamber.threads);
        if self.one_by_one() { 1 } else { wide }
    }

    /// Whether a death of the chamber must have one culprit.
    pub(super) fn one_by_one(&self) -> bool {
        self.deaths_wide >= DEATHS_WIDE_MAX || !self.suspects.is_empty()
    }

    /// Tasks to have inside an open chamber of which `width` may run.
    fn target(&self, chamber: &Chamber, width: u16) -> u32 {
        if chamber.alone && !chamber.fed.is_empty() {
            return 0;
        }
        // What waits inside starts as soon as a thread is free: only a full-width chamber has some.
        if width < chamber.threads || self.one_by_one() {
            return u32::from(width);
        }
        let threads = u64::from(chamber.threads);
        let ahead = self.mean.map_or(0, |mean| AHEAD.0.saturating_mul(threads) / mean.0.max(1));
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        ahead.clamp(u32::from(chamber.threads), FED_MAX.max(u32::from(chamber.threads)))
    }
}

impl Work {
    /// Jobs with work, most urgent first. Jobs whose last tasks run come first: they hold what they
    /// hold. Then those whose peers wait for them elsewhere.
    pub(super) fn by_urgency(&self) -> Vec<JobId> {
        let mut order: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.queued > 0 || job.chamber.as_ref().is_some_and(|c| c.used() > 0))
            .map(|(&id, job)| match (job.queue.first(), job.turn()) {
                (None, _) => (Time(0), 0, id),
                (_, Some(turn)) => (Time(0), turn, id),
                (Some(&(at, _)), None) => (at, 0, id),
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Cores for each job, in the order given.
    fn plan<'a>(
        &'a self,
        order: &'a [JobId],
        offer: &Offer,
        may: impl Fn(&Job) -> bool + 'a,
    ) -> impl Iterator<Item = (JobId, u16)> + 'a {
        let mut free = Free { cores: offer.cores, memory: offer.memory };
        order.iter().filter_map(move |&id| {
            let job = self.jobs.get(&id).filter(|job| may(job))?;
            let held = u16::try_from(job.held()).unwrap_or(u16::MAX);
            let width = held.min(job.width_max()).min(free.most(job));
            free.take(job, width);
            Some((id, width))
        })
    }

    /// How much work is at hand, as the complex is told.
    pub(super) fn room(&self, offer: &Offer, now: Time) -> Room {
        let order = self.by_urgency();
        let planned: u16 = self
            .plan(&order, offer, |job| !job.waits_for_peers())
            .fold(0, |sum, (_, width)| sum.saturating_add(width));
        let work: u64 = self.jobs.values().fold(0, |sum, job| sum.saturating_add(job.work(now).0));
        Room {
            cores_idle: offer.cores.saturating_sub(planned),
            tasks: self.held(),
            backlog: Span(work / u64::from(planned.max(1))),
            seen: self.last_granted,
        }
    }
}

impl Job {
    /// Time of one core in which all wanted tasks will be done, as far as can be told.
    fn work(&self, now: Time) -> Span {
        let mean = self.mean_or(WALL_GUESS);
        let waiting = Span(mean.0.saturating_mul(u64::from(self.queued)));
        let Some(chamber) = &self.chamber else { return waiting };
        let inside = if chamber.fed.len() > usize::from(chamber.threads) {
            mean.0.saturating_mul(u64::from(chamber.tasks() - chamber.orphans))
        } else {
            let wanted = chamber.fed.values().filter(|fed| fed.lease.is_some());
            wanted.map(|fed| mean.0.saturating_sub(now.since(fed.at).0)).sum()
        };
        waiting + Span(inside)
    }
}

fn feedable(job: &Job) -> bool {
    let is_open = |chamber: &Chamber| chamber.open && !chamber.closing;
    job.chamber.as_ref().is_some_and(|it| is_open(it) && !it.waits_for_peers())
}

impl Host {
    /// Hands queued tasks to open chambers.
    pub(super) fn feed_chambers(&mut self, order: &[JobId], effects: &mut Vec<Effect>) {
        let mut free = Free::of(&self.offer, &self.work);
        let plan: Vec<_> = self.work.plan(order, &self.offer, feedable).collect();
        let mut starved = false;
        for &(id, width) in &plan {
            let allowed = self.feed(id, width, &mut free, effects);
            let now = self.now;
            if let Some(job) = self.work.jobs.get_mut(&id) {
                let kept_out = allowed == 0 && width > 0 && job.queued > 0;
                let since = kept_out.then(|| job.starved_since.unwrap_or(now));
                job.starved_since = since;
                starved |= since.is_some_and(|since| now.since(since) >= STARVED_AFTER);
            }
        }
        if starved || free.cores == 0 {
            return;
        }
        for &(id, _) in &plan {
            self.feed(id, u16::MAX, &mut free, effects);
        }
    }

    /// Feeds one job's chamber so that up to `width` of its tasks run, as far as there is room.
    /// Returns how many run.
    fn feed(&mut self, id: JobId, width: u16, free: &mut Free, effects: &mut Vec<Effect>) -> u16 {
        let Some(job) = self.work.jobs.get(&id) else { return 0 };
        let Some(chamber) = &job.chamber else { return 0 };
        let used = chamber.used();
        let width = width.min(job.width_max()).min(used.saturating_add(free.most(job)));
        let (inside, target) = (chamber.tasks(), job.target(chamber, width));
        // A deep chamber is refilled in batches: before a quarter of what it has is gone, not yet.
        let deep = target > u32::from(chamber.threads);
        if inside >= target || width < used || (deep && inside > target - target / 4) {
            return used;
        }
        let chamber_id = chamber.id;
        let tasks = self.work.feed(id, target - inside, self.now);
        let Some(job) = self.work.jobs.get(&id) else { return used };
        let now_used = job.chamber.as_ref().map_or(0, Chamber::used);
        free.take(job, now_used - used);
        if !tasks.is_empty() {
            let from = self.work.resumes_of(chamber_id, &tasks);
            if !from.is_empty() {
                effects.push(Effect::GoOn { chamber: chamber_id, from });
            }
            effects.push(Effect::Start { chamber: chamber_id, tasks });
        }
        now_used
    }
}
