//! A complex as the database knows it: what a server starts from.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::record::{JobState, LeaseRecord, LeaseState, Snapshot, TaskState, VoteBatch};
use isos_base::task::{Digest, TaskResult};
use isos_base::{JobId, LeaseId, MicroCredits, Span, TaskRange, TaskSet, Time};
use thiserror::Error;

use super::audit::Book;
use super::demurrage::Demurrage;
use super::job::Job;
use super::keys::Keys;
use super::market::Bonds;
use super::place::charge_max_at;
use super::revoke::Revoked;
use super::trust::Over;
use super::{Complex, Config, Effect, Host};
use crate::constraint::Constraint;
use crate::lease::Lease;
use crate::ledger::{AuditError, Ledger};
use crate::verify::Rule;

/// Hosts get at least this long to come back after a restart.
const RETURN_TIME_MIN: Span = Span::secs(30);

/// Why the database's rows make no complex.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The balances contradict each other.
    #[error("the ledger does not add up; restore the database from a backup")]
    Ledger(#[from] AuditError),
    /// A rail's currency is none, or one too many.
    #[error(transparent)]
    Currency(#[from] crate::ledger::CurrencyError),
    /// A row names another that is not there.
    #[error("{0}; restore the database from a backup")]
    Rows(String),
}

impl Complex {
    /// The complex that left `snapshot`, at `now`. Hosts are given time to come back with what they
    /// hold. Jobs that had ended but for the last write are ended: their effects are appended.
    ///
    /// # Errors
    /// When the rows contradict each other.
    pub fn restore(
        config: Config,
        now: Time,
        mut snapshot: Snapshot,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, RestoreError> {
        for rail in &config.bank.rails {
            Ledger::new().take_up_currency(&rail.currency)?;
        }
        let mut complex = Self::new(config);
        complex.now = now;
        let (accounts, holds) =
            (std::mem::take(&mut snapshot.accounts), std::mem::take(&mut snapshot.holds));
        complex.ledger = Ledger::restore(accounts, holds, snapshot.ledger_head)?;
        let own = std::mem::take(&mut snapshot.audit_own);
        complex.book = Book::new(snapshot.audit_head, own);
        complex.restore_bank(&mut snapshot, effects)?;
        complex.last_job = snapshot.last_job;
        complex.last_lease = snapshot.last_lease;
        complex.last_bill = snapshot.last_bill;
        // Those who sleep say something before this.
        let waits = [complex.config.lost_after, complex.config.sleep_max, RETURN_TIME_MIN];
        complex.back_by = now + waits.into_iter().max().unwrap_or(RETURN_TIME_MIN);
        let last = snapshot.last_reservation;
        let bonds = Bonds::restore(snapshot.firm, snapshot.bonds);
        let reservations = (snapshot.reservations, last, snapshot.brought);
        complex.market.restore(snapshot.markets, reservations, bonds);
        complex.demurrage = Demurrage::restore(snapshot.earned);
        for record in snapshot.hosts {
            let class = complex.classes.enter(&record.spec);
            let good = complex.market.enter(&record.spec);
            if record.successor.is_none() {
                complex.owners.enter(record.account, record.id, &record.barred);
                complex.names.enter(&record.spec.name, record.id);
                complex.came_by.enter(record.id, &record.ticket);
            } else {
                complex.owners.keep_former(record.account, record.id);
            }
            if let Some(next) = record.successor {
                complex.predecessors.insert(next, record.id);
            }
            let id = record.id;
            let host = Host::absent(record, class, good, now);
            complex.hosts.insert(id, host);
            complex.recount(id);
        }
        complex.restore_storage(snapshot.keepers, snapshot.storage)?;
        let next_batch: BTreeMap<_, _> = snapshot.next_batch.into_iter().collect();
        let mut chunks: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for chunk in snapshot.states {
            chunks.entry(chunk.job).or_default().push(chunk);
        }
        for record in snapshot.jobs {
            let id = record.id;
            if record.state != JobState::Active {
                complex.over.insert(id, Over::new(record));
                continue;
            }
            let constraint = record.spec.constraint.as_deref().map(Constraint::compile).transpose();
            let constraint = constraint.map_err(|error| {
                RestoreError::Rows(format!("job {id}: its constraint: {error}"))
            })?;
            let mut job = Job::new(record, constraint, &complex.config);
            let states = chunks.remove(&id).unwrap_or_default();
            job.restore_states(&states, next_batch.get(&id).copied().unwrap_or(0));
            complex.jobs.insert(id, job);
        }
        complex.restore_slices(snapshot.slices, snapshot.last_slice)?;
        let mut moved: BTreeMap<LeaseId, BTreeSet<u32>> = BTreeMap::new();
        for run in snapshot.saved {
            if run.referee.is_none() && !run.kept.is_empty() {
                moved.entry(run.lease).or_default().insert(run.task);
            }
            if let Some(job) = complex.jobs.get_mut(&run.job) {
                job.restore_saved(run);
            }
        }
        for bill in snapshot.bills {
            let job = complex.jobs.get_mut(&bill.job).ok_or_else(|| {
                RestoreError::Rows(format!("bill {} is open, its job is over", bill.id))
            })?;
            job.reserved.0 += bill.price.charge(bill.fuel).0;
            job.bills.insert((bill.account, bill.price), bill.id);
            complex.bills.insert(bill.id, bill);
        }
        let mut pairs = complex.pairs(&snapshot.votes);
        let mut votes: BTreeMap<LeaseId, Vec<_>> = BTreeMap::new();
        for batch in snapshot.votes {
            votes.entry(batch.lease).or_default().extend(batch.results);
        }
        let mut leases = snapshot.leases;
        leases.retain(|lease| lease.state != LeaseState::Settled);
        leases.sort_by_key(|lease| std::cmp::Reverse(lease.id));
        let mut cast = BTreeMap::new();
        // All votes first: they say of which tasks several hosts were asked.
        for record in leases.iter().rev() {
            let votes = votes.remove(&record.id).unwrap_or_default();
            let mut own = complex.restore_votes(record, votes);
            let mine: TaskSet = record.ranges.iter().copied().collect();
            let pairs = pairs.remove(&record.id).unwrap_or_default();
            let shared = |range: TaskRange| mine.iter().map(move |it| it.intersect(&range));
            own.pairs = pairs.iter().flat_map(shared).filter(|it| !it.is_empty()).collect();
            cast.insert(record.id, own);
        }
        for record in leases {
            let cast = cast.remove(&record.id).unwrap_or_default();
            if record.held.is_some() {
                complex.restore_held(record, cast)?;
            } else {
                let moved = moved.remove(&record.id).unwrap_or_default();
                complex.restore_lease(record, cast, moved)?;
            }
        }
        complex.over.retain(|_, over| !over.leases.is_empty());
        for record in snapshot.idempotency {
            complex.idempotency.insert((record.account, record.key.clone()), record);
        }
        complex.revoked = Revoked::restore(snapshot.revocations, snapshot.narrowed);
        complex.keys = Keys::restore(snapshot.keys, snapshot.keyrings);
        let back_by = now + complex.config.lost_after.max(RETURN_TIME_MIN);
        let holders = complex.hosts.iter().filter(|(_, host)| !host.leases.is_empty());
        complex.lost = holders.map(|(&id, _)| (back_by, id)).collect();
        let jobs: Vec<_> = complex.jobs.keys().copied().collect();
        for lease in complex.leases.keys().copied().collect::<Vec<_>>() {
            complex.settle_if_over(lease, effects);
        }
        for job in jobs {
            for task in complex.jobs.get(&job).map(Job::decidable).unwrap_or_default() {
                complex.judge_again(job, task, effects);
            }
            complex.queue_or_leave(job);
            complex.recheck_later(job);
            complex.end_if_over(job, effects);
        }
        complex.end_judged(effects);
        complex.write_dirty(effects);
        complex.note_earned(effects);
        Ok(complex)
    }

    /// Tasks that two hosts decided who stand by each other, by lease; where stretches are checked,
    /// those of whole runs, however many found them right: who did has left its lease. Rows do not
    /// say which answer was accepted: where it does not follow, nobody's word can be taken back.
    fn pairs(&self, votes: &[VoteBatch]) -> BTreeMap<LeaseId, TaskSet> {
        let mut by_task: BTreeMap<(JobId, u32), Vec<(LeaseId, Digest)>> = BTreeMap::new();
        for batch in votes {
            let Some(job) = self.jobs.get(&batch.job) else { continue };
            if !job.rule().is_some_and(Rule::asks_one_first) {
                continue;
            }
            for result in &batch.results {
                let stands = result.task < job.record.spec.count
                    && matches!(job.state(result.task), TaskState::Done | TaskState::Failed);
                if stands {
                    let votes = by_task.entry((batch.job, result.task)).or_default();
                    votes.push((batch.lease, result.digest()));
                }
            }
        }
        let mut pairs: BTreeMap<LeaseId, TaskSet> = BTreeMap::new();
        for ((job, task), votes) in by_task {
            let rule = self.jobs.get(&job).and_then(Job::rule);
            let by_stretches = matches!(rule, Some(Rule::Checkpoint { .. }));
            let like = |digest: Digest| votes.iter().filter(move |(_, other)| *other == digest);
            let Some((_, most)) = votes.iter().max_by_key(|(_, digest)| like(*digest).count())
            else {
                continue;
            };
            let most_votes = like(*most).count();
            let as_many = votes.iter().filter(|(_, it)| like(*it).count() == most_votes).count();
            if (most_votes == 2 || by_stretches) && as_many == most_votes {
                for (lease, _) in like(*most) {
                    let word = pairs.entry(*lease).or_default();
                    word.insert(TaskRange::new(task, task + 1));
                }
            }
        }
        pairs
    }

    /// Takes the undecided ones of a lease's votes into their ballots, and gives an account of all.
    fn restore_votes(&mut self, record: &LeaseRecord, votes: Vec<TaskResult>) -> Cast {
        let mut cast = Cast::default();
        let (doubt, secret) = (self.doubt(record.host), self.config.check_secret);
        let Some(job) = self.jobs.get_mut(&record.job) else { return cast };
        let rule = job.rule();
        let mine: TaskSet = record.ranges.iter().copied().collect();
        for result in votes.into_iter().filter(|result| mine.contains(result.task)) {
            cast.tasks.insert(TaskRange::new(result.task, result.task.saturating_add(1)));
            let Some(rule) = rule.filter(|_| job.is_open(result.task)) else { continue };
            cast.undecided += 1;
            let (host, lease) = (record.host, record.id);
            let vote = job.vote_of(host, lease, result, doubt);
            cast.reserved += record.price.charge(vote.work).0;
            job.cast(secret, rule, vote);
        }
        cast
    }

    fn restore_lease(
        &mut self,
        record: LeaseRecord,
        cast: Cast,
        mut moved: BTreeSet<u32>,
    ) -> Result<(), RestoreError> {
        let id = record.id;
        let checkable = self.could_ask(record.job, &[record.host]);
        let always = self.is_always_checked(record.host, record.job);
        let missing =
            |what: &dyn std::fmt::Display| RestoreError::Rows(format!("lease {id} names {what}"));
        // A lease of a job that is over was settled in the same transaction, or is held.
        let job = self.jobs.get_mut(&record.job).ok_or_else(|| missing(&"a job that is over"))?;
        let host = self.hosts.get_mut(&record.host).ok_or_else(|| missing(&"an unknown host"))?;
        let holder = record.host;
        let (mut out, mut alone) = (TaskSet::new(), TaskSet::new());
        let believed = !checkable || host.record.account == job.record.account;
        let on_credit = job.rule().is_some_and(Rule::gives_credit) && !believed;
        for task in record.ranges.iter().flat_map(|range| range.tasks()) {
            let one = TaskRange::new(task, task + 1);
            if cast.tasks.contains(task) {
                continue;
            }
            if !job.is_open(task) {
                if on_credit {
                    alone.insert(one);
                }
                continue;
            }
            // The newest lease of a task comes first, and only it can still be out.
            let held = match job.ballots.get(&task) {
                Some(ballot) => ballot.asked.contains(&holder),
                None => !job.is_waiting(task),
            };
            if !held {
                out.insert(one);
            }
        }
        for range in out.iter().collect::<Vec<_>>() {
            job.retake(id, holder, range, always);
        }
        // What it has saved and does not hold any more.
        let hands_on = job.rule().is_none();
        let holds: TaskSet = record.ranges.iter().copied().collect();
        moved.retain(|&task| hands_on && job.is_open(task) && !holds.contains(task));
        let each = charge_max_at(job, record.price).0;
        let reserved = each.saturating_mul(i64::from(out.count()))
            + cast.reserved
            + record.price.charge(record.fuel).0;
        let (undecided, reserved) = (cast.undecided, MicroCredits(reserved));
        job.reserved.0 += reserved.0;
        job.leases.insert(id);
        host.leases.insert(id);
        self.due.set(id, record.deadline.max(self.now + RETURN_TIME_MIN));
        let on_credit = alone.count();
        let word = alone.iter().chain(cast.pairs.iter()).collect();
        let (checkers, matures) = (BTreeSet::new(), 0);
        let lease =
            Lease { record, out, undecided, on_credit, moved, word, checkers, matures, reserved };
        self.leases.insert(id, lease);
        Ok(())
    }
}

/// What a lease's votes amount to.
#[derive(Default)]
pub(super) struct Cast {
    /// Of which tasks there are any, decided or not.
    pub(super) tasks: TaskSet,
    /// Tasks that were decided by this host and one other.
    pub(super) pairs: TaskSet,
    undecided: u32,
    /// Micro-credits for the undecided ones.
    reserved: i64,
}
