//! A complex as the database knows it: what a server starts from.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::record::{JobState, LeaseState, Snapshot};
use isos_base::{LeaseId, MicroCredits, Span, TaskSet, Time};
use thiserror::Error;

use super::job::Job;
use super::place::charge_max;
use super::{Complex, Config, Effect, Host};
use crate::constraint::Constraint;
use crate::lease::Lease;
use crate::ledger::{AuditError, Ledger};
use crate::verify::{Ballot, Verdict, Vote};

/// Hosts get at least this long to come back after a restart.
const RETURN_TIME_MIN: Span = Span::secs(30);

/// Why the database's rows make no complex.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The balances contradict each other.
    #[error("the ledger does not add up; restore the database from a backup")]
    Ledger(#[from] AuditError),
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
        snapshot: Snapshot,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, RestoreError> {
        let mut complex = Self::new(config);
        complex.now = now;
        complex.ledger = Ledger::restore(snapshot.accounts, snapshot.holds, snapshot.ledger_head)?;
        complex.last_job = snapshot.last_job;
        complex.last_lease = snapshot.last_lease;
        complex.last_bill = snapshot.last_bill;
        for record in snapshot.hosts {
            let class = complex.classes.enter(&record.spec);
            complex.owners.enter(record.account, &record.barred);
            let (id, leases) = (record.id, BTreeSet::new());
            let host = Host { record, class, block: None, session: None, leases };
            complex.hosts.insert(id, host);
        }
        let next_batch: BTreeMap<_, _> = snapshot.next_batch.into_iter().collect();
        let mut chunks: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for chunk in snapshot.states {
            chunks.entry(chunk.job).or_default().push(chunk);
        }
        for record in snapshot.jobs.into_iter().filter(|job| job.state == JobState::Active) {
            let id = record.id;
            let constraint = record.spec.constraint.as_deref().map(Constraint::compile).transpose();
            let constraint = constraint.map_err(|error| {
                RestoreError::Rows(format!("job {id}: its constraint: {error}"))
            })?;
            let mut job = Job::new(record, constraint);
            let states = chunks.remove(&id).unwrap_or_default();
            job.restore_states(&states, next_batch.get(&id).copied().unwrap_or(0));
            complex.jobs.insert(id, job);
        }
        for bill in snapshot.bills {
            let job = complex.jobs.get_mut(&bill.job).ok_or_else(|| {
                RestoreError::Rows(format!("bill {} is open, its job is over", bill.id))
            })?;
            job.reserved.0 += bill.price.charge(bill.fuel).0;
            job.bills.insert(bill.account, bill.id);
            complex.bills.insert(bill.id, bill);
        }
        let mut votes: BTreeMap<LeaseId, Vec<_>> = BTreeMap::new();
        for batch in snapshot.votes {
            votes.entry(batch.lease).or_default().extend(batch.results);
        }
        let mut leases = snapshot.leases;
        leases.sort_by_key(|lease| std::cmp::Reverse(lease.id));
        for record in leases.into_iter().filter(|lease| lease.state != LeaseState::Settled) {
            let votes = votes.remove(&record.id).unwrap_or_default();
            complex.restore_lease(record, votes)?;
        }
        for record in snapshot.idempotency {
            complex.idempotency.insert((record.account, record.key.clone()), record);
        }
        complex.revoked = snapshot.revocations.into_iter().collect();
        let back_by = now + complex.config.lost_after.max(RETURN_TIME_MIN);
        let holders = complex.hosts.iter().filter(|(_, host)| !host.leases.is_empty());
        complex.lost = holders.map(|(&id, _)| (back_by, id)).collect();
        let jobs: Vec<_> = complex.jobs.keys().copied().collect();
        for lease in complex.leases.keys().copied().collect::<Vec<_>>() {
            complex.settle_if_over(lease, effects);
        }
        for job in jobs {
            for task in complex.jobs.get(&job).map(Job::hopeless).unwrap_or_default() {
                complex.judge(job, task, Verdict::Hopeless, effects);
            }
            complex.queue_or_leave(job);
            complex.end_if_over(job, effects);
        }
        complex.write_dirty(effects);
        Ok(complex)
    }

    fn restore_lease(
        &mut self,
        record: isos_base::record::LeaseRecord,
        votes: Vec<isos_base::task::TaskResult>,
    ) -> Result<(), RestoreError> {
        let id = record.id;
        let missing =
            |what: &dyn std::fmt::Display| RestoreError::Rows(format!("lease {id} names {what}"));
        // A lease of a job that is over was settled in the same transaction.
        let job = self.jobs.get_mut(&record.job).ok_or_else(|| missing(&"a job that is over"))?;
        let host = self.hosts.get_mut(&record.host).ok_or_else(|| missing(&"an unknown host"))?;
        let holder = record.host;
        let mut out = TaskSet::new();
        let voted: BTreeSet<u32> = votes.iter().map(|vote| vote.task).collect();
        for range in &record.ranges {
            for task in range.tasks() {
                // The newest lease of a task comes first, and only it can still be out.
                let held = job.quorum().is_none() && !job.is_waiting(task);
                let asked = |ballot: &Ballot| ballot.asked.contains(&holder);
                let held = held || job.ballots.get(&task).is_some_and(asked);
                if job.is_open(task) && !voted.contains(&task) && !held {
                    out.insert(isos_base::TaskRange::new(task, task + 1));
                }
            }
        }
        for range in out.iter().collect::<Vec<_>>() {
            job.retake(holder, range);
        }
        let mut reserved = charge_max(job).0.saturating_mul(i64::from(out.count()));
        let mut undecided = 0;
        for result in votes {
            let Some((agree, of)) = job.quorum() else {
                break;
            };
            if !job.is_open(result.task) {
                continue;
            }
            undecided += 1;
            reserved += job.record.price.charge(result.fuel).0;
            let vote = Vote { host: holder, lease: id, digest: result.digest(), result };
            job.change_ballot(vote.result.task, agree, of, |ballot| {
                ballot.ask(holder);
                ballot.votes.push(vote);
            });
        }
        reserved += job.record.price.charge(record.fuel).0;
        let reserved = MicroCredits(reserved);
        job.reserved.0 += reserved.0;
        job.leases.insert(id);
        host.leases.insert(id);
        self.due.set(id, record.deadline.max(self.now + RETURN_TIME_MIN));
        self.leases.insert(id, Lease { record, out, undecided, reserved });
        Ok(())
    }
}
