//! Who is next and how much: weighted fair share over accounts and jobs, and the size of a batch.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996): every account has a virtual time that grows
//! with the work granted to it divided by its weight; the least goes first. A newcomer starts at
//! the least virtual time of those that wait, so nobody saves up and nobody starves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use isos_base::{AccountId, JobId, Span};

/// How much work a busy host is kept supplied with.
pub const WINDOW: Span = Span::secs(2);
/// Tasks a core gets of a job whose task length nobody knows yet.
pub const PROBE_TASKS_PER_CORE: u32 = 4;

/// Virtual time: micro-core-seconds of granted work over weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Virtual(pub u128);

/// A fair queue of keys that wait for work to be granted.
#[derive(Debug, Clone)]
pub struct FairQueue<K> {
    order: BTreeSet<(Virtual, K)>,
    at: BTreeMap<K, Virtual>,
    floor: Virtual,
}

impl<K: Copy + Ord> Default for FairQueue<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), at: BTreeMap::new(), floor: Virtual(0) }
    }
}

impl<K: Copy + Ord> FairQueue<K> {
    /// Adds a key, if it is not there: no earlier than those that wait.
    pub fn enter(&mut self, key: K) {
        if self.at.contains_key(&key) {
            return;
        }
        let start = self.order.first().map_or(self.floor, |&(at, _)| at.max(self.floor));
        self.at.insert(key, start);
        self.order.insert((start, key));
    }

    /// Takes a key out.
    pub fn leave(&mut self, key: K) {
        if let Some(at) = self.at.remove(&key) {
            self.order.remove(&(at, key));
            self.floor = self.floor.max(at.min(self.order.first().map_or(at, |&(at, _)| at)));
        }
    }

    /// Charges `work` to a key; it moves back in the order.
    pub fn charge(&mut self, key: K, work: Span, weight: u32) {
        let Some(at) = self.at.get_mut(&key) else {
            return;
        };
        self.order.remove(&(*at, key));
        self.floor = self.floor.max(*at);
        *at = Virtual(at.0 + u128::from(work.0.max(1)) * 1_000 / u128::from(weight.max(1)));
        self.order.insert((*at, key));
    }

    /// Keys in order, the next first.
    pub fn iter(&self) -> impl Iterator<Item = K> + '_ {
        self.order.iter().map(|&(_, key)| key)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// All jobs that have waiting tasks, fair over accounts and then over each account's jobs.
#[derive(Debug, Clone, Default)]
pub struct FairShare {
    accounts: FairQueue<AccountId>,
    jobs: BTreeMap<AccountId, FairQueue<JobId>>,
    /// All of them by number.
    all: BTreeSet<JobId>,
}

impl FairShare {
    /// A job has waiting tasks.
    pub fn enter(&mut self, account: AccountId, job: JobId) {
        self.jobs.entry(account).or_default().enter(job);
        self.accounts.enter(account);
        self.all.insert(job);
    }

    /// A job has none any more.
    pub fn leave(&mut self, account: AccountId, job: JobId) {
        let Some(jobs) = self.jobs.get_mut(&account) else {
            return;
        };
        jobs.leave(job);
        self.all.remove(&job);
        if jobs.is_empty() {
            self.jobs.remove(&account);
            self.accounts.leave(account);
        }
    }

    /// Work of a job was granted.
    pub fn charge(&mut self, account: AccountId, job: JobId, work: Span) {
        if let Some(jobs) = self.jobs.get_mut(&account) {
            jobs.charge(job, work, 1);
        }
        self.accounts.charge(account, work, 1);
    }

    /// Jobs in the order in which they should be looked at: at most `jobs` of each of at most
    /// `accounts` accounts, so that nobody's many jobs hide those of others.
    pub fn order(&self, accounts: usize, jobs: usize) -> impl Iterator<Item = JobId> + '_ {
        let first = self.accounts.iter().take(accounts);
        first.flat_map(move |account| self.jobs[&account].iter().take(jobs))
    }

    /// The first `jobs` jobs of one account that wait.
    pub fn of_account(&self, account: AccountId, jobs: usize) -> impl Iterator<Item = JobId> + '_ {
        self.jobs.get(&account).into_iter().flat_map(move |queue| queue.iter().take(jobs))
    }

    /// The next `jobs` jobs by number behind `after`, and from the lowest again: a look that goes
    /// on behind the one before sees every job after a while.
    pub fn round(&self, after: JobId, jobs: usize) -> impl Iterator<Item = JobId> + '_ {
        let behind = self.all.range((Bound::Excluded(after), Bound::Unbounded));
        behind.chain(self.all.range(..=after)).copied().take(jobs)
    }

    /// Whether a job waits.
    #[must_use]
    pub fn contains(&self, job: JobId) -> bool {
        self.all.contains(&job)
    }

    /// How many jobs wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Accounts that wait, the next first.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.accounts.iter()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

/// What the size of a batch depends on.
#[derive(Debug, Clone, Copy)]
pub struct BatchSize {
    /// Cores of the host that may work.
    pub cores: u16,
    /// Work that the host has already.
    pub backlog: Span,
    /// Tasks that the host has already.
    pub tasks: u32,
    /// Mean time of one task, if any has ended.
    pub task_time: Option<Span>,
    /// Waiting tasks of the job.
    pub waiting: u32,
    /// Cores of all hosts that work or could.
    pub cores_all: u32,
}

impl BatchSize {
    /// How many tasks to grant: what fills [`WINDOW`], but near the end of a job no more than this
    /// host's fair half of what is left (guided self-scheduling, Polychronopoulos and Kuck 1987).
    #[must_use]
    pub fn tasks(&self) -> u32 {
        let cores = u32::from(self.cores);
        if cores == 0 {
            return 0;
        }
        let wanted = match self.task_time {
            None => (PROBE_TASKS_PER_CORE * cores).saturating_sub(self.tasks),
            Some(time) if time >= WINDOW => cores.saturating_sub(self.tasks),
            Some(time) => {
                let work = WINDOW.0.saturating_sub(self.backlog.0) * u64::from(cores);
                let tasks = u32::try_from(work / time.0.max(1)).unwrap_or(u32::MAX);
                tasks.max(cores.saturating_sub(self.tasks))
            }
        };
        // What it has counts too, or many small grants would add up to everything.
        let known = u64::from(self.waiting) + u64::from(self.tasks);
        let share = known * u64::from(cores) / (2 * u64::from(self.cores_all.max(cores)));
        let share = u32::try_from(share).unwrap_or(u32::MAX).max(cores);
        let share = share.saturating_sub(self.tasks);
        wanted.min(share).min(self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> BatchSize {
        BatchSize {
            cores: 2,
            backlog: Span::ZERO,
            tasks: 0,
            task_time: Some(Span::millis(10)),
            waiting: 1_000_000,
            cores_all: 20,
        }
    }

    #[test]
    fn a_batch_fills_the_window_and_shrinks_near_the_end() {
        assert_eq!(size().tasks(), 400);
        assert_eq!(BatchSize { backlog: Span::secs(1), ..size() }.tasks(), 200);
        assert_eq!(BatchSize { backlog: Span::secs(3), tasks: 600, ..size() }.tasks(), 0);
        assert_eq!(BatchSize { waiting: 1_000, ..size() }.tasks(), 50);
        assert_eq!(BatchSize { waiting: 10, ..size() }.tasks(), 2);
        assert_eq!(BatchSize { waiting: 1, ..size() }.tasks(), 1);
        assert_eq!(BatchSize { task_time: None, ..size() }.tasks(), 8);
        assert_eq!(BatchSize { task_time: Some(Span::secs(600)), ..size() }.tasks(), 2);
        assert_eq!(BatchSize { task_time: Some(Span::secs(600)), tasks: 2, ..size() }.tasks(), 0);
        assert_eq!(BatchSize { cores: 0, ..size() }.tasks(), 0);
    }

    #[test]
    fn an_account_with_many_jobs_gets_no_more_than_one_with_few() {
        let mut share = FairShare::default();
        for job in 1..=9 {
            share.enter(AccountId(1), JobId(job));
        }
        share.enter(AccountId(2), JobId(10));
        let mut granted = BTreeMap::new();
        for _ in 0..100 {
            let job = share.order(1, 1).next().unwrap();
            let account = AccountId(if job == JobId(10) { 2 } else { 1 });
            *granted.entry(account).or_insert(0) += 1;
            share.charge(account, job, Span::millis(5));
        }
        assert_eq!(granted, BTreeMap::from([(AccountId(1), 50), (AccountId(2), 50)]));
    }

    #[test]
    fn looks_see_every_account_and_in_the_end_every_job() {
        let mut share = FairShare::default();
        (1..=100).for_each(|job| share.enter(AccountId(1), JobId(job)));
        share.enter(AccountId(2), JobId(101));
        assert_eq!(share.order(2, 8).count(), 9);
        assert!(share.order(2, 8).any(|job| job == JobId(101)));
        let (mut seen, mut after) = (BTreeSet::new(), JobId(0));
        for _ in 0..5 {
            seen.extend(share.round(after, 24));
            after = share.round(after, 24).last().unwrap();
        }
        assert_eq!(seen.len(), share.len());
        assert_eq!(share.round(JobId(100), 1_000).count(), 101, "once around, no further");
        share.leave(AccountId(1), JobId(7));
        assert!(!share.contains(JobId(7)) && share.contains(JobId(8)));
    }

    #[test]
    fn a_newcomer_neither_waits_for_ever_nor_takes_all() {
        let mut queue = FairQueue::default();
        queue.enter(1);
        (0..1_000).for_each(|_| queue.charge(1, Span::secs(1), 1));
        queue.enter(2);
        assert_eq!(queue.iter().next(), Some(1));
        queue.charge(1, Span::secs(1), 1);
        assert_eq!(queue.iter().next(), Some(2));
        queue.leave(1);
        queue.enter(1);
        queue.charge(2, Span::secs(1), 1);
        assert_eq!(queue.iter().next(), Some(1));
    }
}
