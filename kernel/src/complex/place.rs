//! Placement: which job's tasks go to a host that has room, and how many.

use std::collections::BTreeSet;
use std::ops::Bound;

use isos_base::job::{JobSpec, Verify};
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::record::{LeaseRecord, LeaseState};
use isos_base::wire::{Grant, JobOffer, ToHost};
use isos_base::{
    Fuel, HostId, JobId, LeaseId, MicroCredits, Span, TaskRange, TaskSet, Time, limits,
};

#[cfg(test)]
pub(super) use super::fit::LOOKED_AT;
pub(super) use super::fit::{Seen, Unfit, could_ever, looked_at, meets, unfit, unfits};
use super::job::Job;
use super::session::UnderWay;
use super::slice::SLICES_SEEN_AFTER;
use super::{Complex, Effect, Host};
use crate::lease::Lease;
use crate::schedule::BatchSize;

/// Leases that one look at a host may grant.
const GRANTS_PER_LOOK_MAX: usize = 8;
/// Accounts that one look at a host considers, those whose turn it is.
const ACCOUNTS_PER_LOOK_MAX: usize = 64;
/// Jobs of each of these accounts.
const JOBS_PER_ACCOUNT_MAX: usize = 8;
/// Jobs by number that a look goes on with when none of these fits.
const FURTHER_PER_LOOK_MAX: usize = 64;
/// Hosts without work that are told of new tasks at once.
const HUNGRY_FED_AT_ONCE: usize = 32;
/// Between two tellings: 8,000 hosts a second.
const SWEEP_EVERY: Span = Span::millis(4);
/// When the look goes on if it found nothing among those either.
const LOOK_AGAIN_AFTER: Span = Span::millis(250);
/// A host that gave a job's tasks back untried gets none of that job for this long; twice as long
/// the next time.
const DECLINED_FOR: Span = Span::secs(2);
/// See [`DECLINED_FOR`]: about four minutes at the most.
const DECLINED_DOUBLINGS_MAX: u32 = 7;
/// Jobs that a host can have declined at a time.
const DECLINED_JOBS_MAX: usize = 1_024;
/// A host that was passed over in favour of better ones looks again after this time.
const PASSED_OVER_FOR: Span = Span::secs(5);
/// Time that a lease has beyond what its work should take.
pub(super) const LEASE_SLACK: Span = Span::secs(60);
/// A host on which a job failed this often in a row gets no more of it for a while.
pub(super) const HOST_FAULTS_MAX: u32 = 3;

/// Where the telling of the hungry stands.
#[derive(Debug)]
pub(super) struct Sweep {
    /// What they are told of.
    jobs: BTreeSet<JobId>,
    /// The host that was told last.
    after: HostId,
    /// Hosts that have not been told.
    left: usize,
    /// When the next few are.
    next: Time,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { jobs: BTreeSet::new(), after: HostId(PublicKey([0; 32])), left: 0, next: Time(0) }
    }
}

impl Sweep {
    /// When there is more to tell.
    pub(super) fn goes_on(&self) -> Option<Time> {
        (self.left > 0).then_some(self.next)
    }
}

impl Complex {
    /// Grants work to a host until it has enough.
    pub(super) fn feed(&mut self, id: HostId, effects: &mut Vec<Effect>) {
        self.feed_of(id, None, effects);
    }

    /// Grants work of one job, or of any, to a host until it has enough.
    fn feed_of(&mut self, id: HostId, only: Option<JobId>, effects: &mut Vec<Effect>) {
        let mut granted = Vec::new();
        let mut offers = Vec::new();
        let mut passed_over = BTreeSet::new();
        while granted.len() < GRANTS_PER_LOOK_MAX {
            let next = match only {
                Some(job) if passed_over.is_empty() => self.batch(id, job).map(|n| (job, n)),
                Some(_) => None,
                None => self.next_job(id, &passed_over),
            };
            let Some((job, tasks)) = next else { break };
            match self.grant(id, job, tasks, &mut offers, effects) {
                Some(grant) => granted.push(grant),
                None => _ = passed_over.insert(job),
            }
        }
        let Some(session) = self.hosts.get(&id).and_then(|host| host.session.as_ref()) else {
            return;
        };
        let (session_id, room, cores) = (session.id, session.room, session.cores());
        effects.extend(offers.into_iter().map(|offer| Effect::Send(session_id, offer)));
        if !granted.is_empty() {
            effects.push(Effect::Send(session_id, ToHost::Grant(granted)));
        }
        if room.cores_idle > 0 && cores > 0 {
            self.hungry.insert(id);
        } else {
            self.hungry.remove(&id);
        }
        let idle = self.hosts[&id].leases.is_empty();
        let is_extra = idle && !self.slices.has(id) && !self.is_keeper_awaited(id);
        if is_extra && self.idle_connected() > self.config.held_hosts_max {
            let span = self.sleep_span();
            effects.push(Effect::Send(session_id, ToHost::Sleep(span)));
            if let Some(host) = self.hosts.get_mut(&id) {
                host.wakes = self.now + span;
            }
            effects.push(Effect::Close(session_id));
            self.end_session(id, &mut Vec::new());
        }
    }

    /// Connected hosts without work. Bounded below by those known hungry, which is what matters.
    fn idle_connected(&self) -> usize {
        if self.sessions.len() <= self.config.held_hosts_max {
            return 0;
        }
        self.sessions.values().filter(|id| self.hosts[id].leases.is_empty()).count()
    }

    /// Offers what has begun to wait to those hosts that got nothing before; they know the rest.
    /// A few hosts each time, however many there are and however often there are news: the others
    /// follow within a moment.
    pub(super) fn feed_hungry(&mut self, effects: &mut Vec<Effect>) {
        if !self.news.is_empty() {
            self.sweep.jobs.append(&mut self.news);
            self.sweep.left = self.hungry.len();
        }
        if self.sweep.left == 0 {
            self.sweep.jobs.clear();
            return;
        }
        if self.now < self.sweep.next && self.hungry.len() > HUNGRY_FED_AT_ONCE {
            return;
        }
        self.sweep.next = self.now + SWEEP_EVERY;
        let after = self.sweep.after;
        let behind = self.hungry.range((Bound::Excluded(after), Bound::Unbounded));
        let round = behind.chain(self.hungry.range(..=after)).copied();
        let hosts: Vec<HostId> = round.take(self.sweep.left.min(HUNGRY_FED_AT_ONCE)).collect();
        for &id in &hosts {
            self.sweep.jobs.retain(|&job| self.share.contains(job));
            match self.sweep.jobs.len() {
                0 => break,
                1..=JOBS_PER_ACCOUNT_MAX => {
                    for job in self.sweep.jobs.iter().copied().collect::<Vec<_>>() {
                        self.feed_of(id, Some(job), effects);
                    }
                }
                _ => self.feed(id, effects),
            }
        }
        self.sweep.after = hosts.last().copied().unwrap_or(after);
        let stopped = self.sweep.jobs.is_empty() || hosts.len() < HUNGRY_FED_AT_ONCE;
        self.sweep.left = if stopped { 0 } else { self.sweep.left - hosts.len() };
    }

    /// A host gave back all that it was granted of a job, and tried none of it: it has a reason of
    /// its own. It is asked again later, and later each time.
    pub(super) fn was_declined(&mut self, id: HostId, job: JobId) {
        let Some(session) = self.hosts.get_mut(&id).and_then(|host| host.session.as_mut()) else {
            return;
        };
        let times = session.declined.get(&job).map_or(0, |&(_, times)| times);
        let wait = Span(DECLINED_FOR.0 << times.min(DECLINED_DOUBLINGS_MAX));
        let until = self.now + wait;
        if session.declined.len() >= DECLINED_JOBS_MAX {
            session.declined.pop_first();
        }
        session.declined.insert(job, (until, times + 1));
        self.look_at(id, until);
    }

    /// Looks at a host again at this time, or before.
    pub(super) fn look_at(&mut self, id: HostId, at: Time) {
        let Some(session) = self.hosts.get_mut(&id).and_then(|host| host.session.as_mut()) else {
            return;
        };
        if session.look.is_some_and(|look| look <= at) {
            return;
        }
        if let Some(later) = session.look.replace(at) {
            self.looks.remove(&(later, id));
        }
        self.looks.insert((at, id));
    }

    /// Goes on with the looks that were cut short.
    pub(super) fn look_again(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(at, id)) = self.looks.first() {
            if at > self.now {
                break;
            }
            self.looks.pop_first();
            if let Some(session) = self.hosts.get_mut(&id).and_then(|host| host.session.as_mut()) {
                session.look = None;
                session.left_to_look = session.left_to_look.max(FURTHER_PER_LOOK_MAX);
                if session.declined.values().any(|&(until, _)| until <= self.now) {
                    session.left_to_look = self.share.len();
                }
                let declined = session.declined.values().map(|&(until, _)| until);
                let next = declined.filter(|&until| until > self.now).min();
                self.feed(id, effects);
                if let Some(next) = next {
                    self.look_at(id, next);
                }
            }
        }
    }

    /// The job whose turn it is on this host, and how many of its tasks.
    fn next_job(&mut self, id: HostId, passed_over: &BTreeSet<JobId>) -> Option<(JobId, u32)> {
        if self.hosts[&id].session.as_ref()?.offer.cores == 0 || self.is_full(id) {
            return None;
        }
        // Whoever has reserved cores gets them first.
        let reserved = self.market.first_accounts().take(ACCOUNTS_PER_LOOK_MAX);
        let reserved = reserved.flat_map(|it| self.share.of_account(it, JOBS_PER_ACCOUNT_MAX));
        let reserved: Vec<JobId> = reserved.collect();
        for &job in reserved.iter().filter(|job| !passed_over.contains(job)) {
            if let Some(tasks) = self.batch(id, job) {
                return Some((job, tasks));
            }
        }
        let first: Vec<JobId> =
            self.share.order(ACCOUNTS_PER_LOOK_MAX, JOBS_PER_ACCOUNT_MAX).collect();
        for &job in first.iter().filter(|job| !passed_over.contains(job)) {
            if let Some(tasks) = self.batch(id, job) {
                return Some((job, tasks));
            }
        }
        if first.len() == self.share.len() {
            return None;
        }
        let session = self.hosts[&id].session.as_ref()?;
        let (mut last, mut left) = (session.looked_at, session.left_to_look);
        let worked_on = session.worked_on.filter(|job| self.share.contains(*job));
        if let Some(job) = worked_on.filter(|job| !passed_over.contains(job))
            && let Some(tasks) = self.batch(id, job)
        {
            return Some((job, tasks));
        }
        let mut found = None;
        for job in self.share.round(last, FURTHER_PER_LOOK_MAX).collect::<Vec<_>>() {
            (last, left) = (job, left.saturating_sub(1));
            if !passed_over.contains(&job)
                && let Some(tasks) = self.batch(id, job)
            {
                (found, left) = (Some((job, tasks)), self.share.len());
                break;
            }
        }
        let at = self.now + LOOK_AGAIN_AFTER;
        let session = self.hosts.get_mut(&id)?.session.as_mut()?;
        (session.looked_at, session.left_to_look) = (last, left);
        if found.is_none() && left > 0 {
            self.look_at(id, at);
        }
        found
    }

    /// Whether the host would turn a further lease down. Leases all of whose tasks are reported are
    /// no burden to it, however long their votes wait for others.
    fn is_full(&self, id: HostId) -> bool {
        let leases = &self.hosts[&id].leases;
        let open = |lease: &&LeaseId| !self.leases[*lease].out.is_empty();
        leases.len() >= limits::HOST_LEASES_MAX
            && leases.iter().filter(open).count() >= limits::HOST_LEASES_MAX
    }

    /// How many tasks of a job a host should get now; nothing if it may not run the job, has
    /// enough, or the hold pays for none.
    fn batch(&mut self, id: HostId, job_id: JobId) -> Option<u32> {
        let host = &self.hosts[&id];
        let session = host.session.as_ref()?;
        let job = self.jobs.get_mut(&job_id).expect("the fair queue holds jobs that exist");
        let avoided = job.avoid.get(&id).map(|avoided| avoided.until);
        if let Some(until) = avoided.filter(|&until| until > self.now) {
            self.look_at(id, until);
            return None;
        }
        let declined = session.declined.get(&job_id).is_some_and(|&(until, _)| until > self.now);
        if session.offer.cores == 0
            || declined
            || !job.waits_for(id)
            || unfit(job, host, &self.market, self.now).is_some()
        {
            return None;
        }
        let memory_cores = session.offer.memory.0 / job.record.spec.memory.0.max(1);
        let size = BatchSize {
            cores: session.offer.cores.min(u16::try_from(memory_cores).unwrap_or(u16::MAX)),
            backlog: session.room.backlog,
            tasks: session.room.tasks,
            task_time: job.task_time,
            waiting: job.waiting(),
            cores_all: self.cores_offered,
        };
        let hold = self.ledger.hold(job.record.hold);
        let remaining = hold.map_or(MicroCredits::ZERO, |hold| hold.remaining);
        let budget = affordable(job, remaining);
        job.short_of_money = job.is_spent(budget);
        let room = limits::HOST_TASKS_MAX.saturating_sub(session.room.tasks);
        let tasks = size.tasks().min(limits::LEASE_TASKS_MAX).min(budget).min(room);
        (tasks > 0).then_some(tasks)
    }

    /// Leases up to `tasks` tasks of a job to a host. Nothing when none of those that wait may go
    /// there: under a quorum, a host does not check itself.
    fn grant(
        &mut self,
        id: HostId,
        job_id: JobId,
        tasks: u32,
        offers: &mut Vec<ToHost>,
        effects: &mut Vec<Effect>,
    ) -> Option<Grant> {
        let host = &self.hosts[&id];
        let asks = host.session.as_ref()?.offer.price_min;
        let deal = self.market.deal(self.jobs.get(&job_id)?, host.good, asks).ok()?;
        let better = self.better_checkers(id, job_id);
        let passed_over = std::cell::Cell::new(false);
        let always = self.is_always_checked(id, job_id);
        let hosts = &self.hosts;
        let independent = |host: &Host, asked: &[HostId]| {
            asked.iter().all(|id| hosts.get(id).is_none_or(|other| host.is_independent(other)))
        };
        let may_answer = |asked: &[HostId]| {
            if asked.is_empty() {
                return !deal.is_for_checks();
            }
            if !independent(&hosts[&id], asked) {
                return false;
            }
            let waits = better.iter().any(|it| independent(&hosts[it], asked));
            passed_over.set(passed_over.get() || waits);
            !waits
        };
        let job = self.jobs.get_mut(&job_id).expect("chosen from the fair queue");
        let hold = self.ledger.hold(job.record.hold);
        let remaining = hold.map_or(MicroCredits::ZERO, |hold| hold.remaining);
        let paid_for = affordable(job, remaining);
        let ranges = job.take(id, tasks, paid_for, always, may_answer);
        if ranges.is_empty() {
            if passed_over.get() {
                // The better ones may leave, or not want it.
                self.look_at(id, self.now + PASSED_OVER_FOR);
            }
            return None;
        }
        self.last_lease = LeaseId(self.last_lease.0 + 1);
        let lease = self.last_lease;
        let count: u32 = ranges.iter().map(TaskRange::len).sum();
        let host = self.hosts.get_mut(&id).expect("it asked");
        let session = host.session.as_mut().expect("it asked");
        let cores = u64::from(session.offer.cores.max(1));
        let each = job.task_time.unwrap_or(Span::ZERO);
        let work = Span(each.0.saturating_mul(u64::from(count)) / cores);
        let slack = job.record.spec.timeout + LEASE_SLACK;
        let twice = Span(work.0.saturating_mul(2));
        let deadline = self.now + session.room.backlog + twice + slack;

        let each = charge_max_at(job, deal.price);
        let reserved = MicroCredits(each.0.saturating_mul(i64::from(count)));
        job.reserved = MicroCredits(job.reserved.0 + reserved.0);
        job.leases.insert(lease);
        host.leases.insert(lease);
        session.worked_on = Some(job_id);
        session.grants(UnderWay { lease, tasks: count, backlog: work });
        if session.jobs_sent.insert(job_id, deal.price) != Some(deal.price) {
            offers.push(ToHost::Job(Box::new(JobOffer {
                job: job_id,
                // Which tasks there are is told by grants, and what is checked by nobody.
                spec: JobSpec {
                    tasks: Vec::new(),
                    trace: job.record.spec.traced().collect(),
                    verify: Verify::Trusted,
                    ..job.record.spec.clone()
                },
                price: deal.price,
                buyer: job.record.account,
            })));
        }
        let record = LeaseRecord {
            id: lease,
            job: job_id,
            host: id,
            account: self.hosts[&id].record.account,
            ranges: ranges.clone(),
            state: LeaseState::Open,
            deadline,
            accepted: 0,
            rejected: 0,
            fuel: Fuel(0),
            bill: None,
            next_votes: 0,
            held: None,
            price: deal.price,
        };
        let out: TaskSet = ranges.iter().copied().collect();
        self.leases.insert(
            lease,
            Lease {
                record,
                out,
                undecided: 0,
                on_credit: 0,
                moved: BTreeSet::new(),
                word: TaskSet::new(),
                checkers: BTreeSet::new(),
                matures: 0,
                reserved,
            },
        );
        self.due.set(lease, deadline);
        self.dirty_leases.insert(lease);
        self.dirty_jobs.insert(job_id);
        let buyer = job.record.account;
        let guess = if work.0 == 0 { Span::millis(u64::from(count)) } else { work };
        let rate = self.hosts[&id].core_rate;
        self.market.granted(deal, buyer, count, Span(work.0.saturating_mul(cores)), rate);
        self.share.charge(buyer, job_id, Span(guess.0.saturating_mul(cores)));
        self.queue_or_leave(job_id);
        let resumes = self.resumes(lease, job_id, id, &ranges, effects);
        if !resumes.is_empty() {
            offers.push(ToHost::Resume(resumes));
        }
        Some(Grant { lease, job: job_id, ranges, deadline })
    }

    /// Keeps a job in the fair queue while and only while tasks wait, and notes when more do.
    pub(super) fn queue_or_leave(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if std::mem::take(&mut job.fresh) {
            self.news.insert(id);
            if job.record.pinned.is_some() {
                self.slices.look_at(self.now + SLICES_SEEN_AFTER);
            }
        }
        if job.waiting() > 0 {
            self.share.enter(job.record.account, id);
        } else {
            self.share.leave(job.record.account, id);
        }
    }
}

/// What one task can cost at the most.
pub(super) fn charge_max(job: &Job) -> MicroCredits {
    charge_max_at(job, job.record.price)
}

/// What one task can cost at the most under a lease of this price.
pub(super) fn charge_max_at(job: &Job, price: Price) -> MicroCredits {
    price.charge(job.record.spec.fuel)
}

/// How many more tasks the hold can pay for, if each uses all its fuel.
pub(super) fn affordable(job: &Job, remaining: MicroCredits) -> u32 {
    let free = remaining.0.saturating_sub(job.reserved.0).max(0);
    match charge_max(job).0 {
        0 => u32::MAX,
        each => u32::try_from(free / each).unwrap_or(u32::MAX),
    }
}
