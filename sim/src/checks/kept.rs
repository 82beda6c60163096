//! What is kept stays: each row that is written is compared with what stood there before.
//!
//! Cheap, so it is done at each commit: a broken promise is found in the step that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::Guid;
use isos_base::Time;
use isos_base::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TransferId,
};
use isos_base::job::Verify;
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::record::{
    Change, Held, JobRecord, LeaseRecord, LeaseState, PayoutState, ProposalState, Reason,
    StateChunk, Tables, TaskState, TransferRecord,
};
use isos_base::slice::SliceState;
use isos_base::storage::StorageState;
use isos_kernel::ledger::{GENESIS, verify_chain};

use super::was_taken_back;

/// Which row a change writes, in the order in which a transaction writes them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Account(AccountId),
    Host(HostId),
    Job(JobId),
    States(JobId, u32),
    Lease(LeaseId),
    Bill(BillId),
    Hold(TransferId),
    Transfer(u64),
    NoVotes(JobId),
    Votes(JobId, LeaseId, u32),
    Results(JobId, u64),
    Idempotency(AccountId, String),
    Revocation(Vec<u8>),
    Payout(PayoutId),
    Proposal(ProposalId),
    Saved(JobId, LeaseId, u32),
    Market(String),
    Reservation(ReservationId),
    Firm(HostId),
    Bond(ReservationId, u32),
    Earned(AccountId, u32),
    Audit(u64),
    Key(PublicKey),
    Keyring(AccountId),
    Storage(LeaseId),
    Keeper(HostId),
    Slice(SliceId),
}

impl Row {
    fn of(change: &Change) -> Self {
        match change {
            Change::Job(job) => Self::Job(job.id),
            Change::States(chunk) => Self::States(chunk.job, chunk.chunk),
            Change::Results(batch) => Self::Results(batch.job, batch.batch),
            Change::Votes(batch) => Self::Votes(batch.job, batch.lease, batch.batch),
            Change::DropVotes(job) => Self::NoVotes(*job),
            Change::Lease(lease) => Self::Lease(lease.id),
            Change::Bill(bill) => Self::Bill(bill.id),
            Change::Host(host) => Self::Host(host.id),
            Change::Account(account) => Self::Account(account.id),
            Change::Transfer(transfer) => Self::Transfer(transfer.seq),
            Change::Hold(hold) => Self::Hold(hold.id),
            Change::Idempotency(reply) => Self::Idempotency(reply.account, reply.key.clone()),
            Change::Revocation(id, _) | Change::Narrowed(id, ..) => Self::Revocation(id.clone()),
            Change::Payout(payout) => Self::Payout(payout.id),
            Change::Proposal(proposal) => Self::Proposal(proposal.id),
            Change::Saved(saved) => Self::Saved(saved.job, saved.lease, saved.task),
            Change::Market(market) => Self::Market(market.class.clone()),
            Change::Reservation(it) => Self::Reservation(it.id),
            Change::Firm(it) => Self::Firm(it.host),
            Change::Bond(it) => Self::Bond(it.reservation, it.nth),
            Change::Earned(it) => Self::Earned(it.account, it.month),
            Change::Audit(record) => Self::Audit(record.seq),
            Change::Key(key) => Self::Key(key.key),
            Change::Keyring(keyring) => Self::Keyring(keyring.account),
            Change::Storage(lease) => Self::Storage(lease.id),
            Change::Keeper(keeper) => Self::Keeper(keeper.host),
            Change::Slice(slice) => Self::Slice(slice.id),
        }
    }
}

/// The rows of one transaction, each once and as it was written last: as `isos-db` groups them.
///
/// # Errors
/// Something is appended twice, and differently: `isos-db` keeps nothing of such a group, and its
/// server stops.
pub(crate) fn each_row_once(changes: Vec<Change>) -> Result<Vec<Change>, String> {
    let mut rows = BTreeMap::new();
    for change in changes {
        if let Change::DropVotes(job) = change {
            rows.retain(
                |row, _| !matches!(row, Row::Votes(of, ..) | Row::Saved(of, ..) if *of == job),
            );
        }
        let row = Row::of(&change);
        let is_appended =
            matches!(row, Row::Results(..) | Row::Votes(..) | Row::Transfer(_) | Row::Audit(_));
        match rows.get(&row) {
            Some(before) if is_appended && *before != change => {
                return Err(format!("appended twice: {before:?}, then {change:?}"));
            }
            _ => rows.insert(row, change),
        };
    }
    Ok(rows.into_values().collect())
}

/// What must hold over all commits, beside what the rows themselves say.
pub(crate) struct Kept {
    sees_epochs: bool,
    /// Tasks that have a result.
    accepted: BTreeSet<(JobId, u32)>,
    transfers: BTreeSet<TransferId>,
    /// Bills that were charged (true) or paid (false).
    moved: BTreeSet<(BillId, bool)>,
    head: Guid,
    /// Of all accounts: what came in less what went out, final and pending.
    sum: (i128, i128),
    pay: Pay,
    /// Jobs can bid something else than at first.
    bids: bool,
    /// The most that each job has bid.
    bid_max: BTreeMap<JobId, Price>,
    /// No server's clock has shown more.
    latest: Time,
}

/// Leases whose pay was held, by what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pay {
    pub(crate) held: u64,
    pub(crate) matured: u64,
    pub(crate) forfeited: u64,
}

type Checked = Result<(), String>;

fn check(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

impl Kept {
    pub(crate) const fn new(sees_epochs: bool, bids: bool) -> Self {
        Self {
            sees_epochs,
            accepted: BTreeSet::new(),
            transfers: BTreeSet::new(),
            moved: BTreeSet::new(),
            head: GENESIS,
            sum: (0, 0),
            pay: Pay { held: 0, matured: 0, forfeited: 0 },
            bids,
            bid_max: BTreeMap::new(),
            latest: Time(0),
        }
    }

    /// A server's clock shows this.
    pub(crate) fn tell_time(&mut self, told: Time) {
        self.latest = self.latest.max(told);
    }

    /// Keeps the rows of a transaction of a leader of `epoch`, while `current` is the last.
    ///
    /// # Errors
    /// They contradict what is kept.
    pub(crate) fn keep(
        &mut self,
        tables: &mut Tables,
        epoch: u64,
        current: u64,
        changes: &[Change],
    ) -> Checked {
        check(epoch == current || !self.sees_epochs, || {
            format!("a leader of epoch {epoch} writes in epoch {current}")
        })?;
        for change in changes {
            self.row(tables, change)?;
            tables.apply(change);
        }
        check(self.sum == (0, 0), || format!("balances sum to {:?} after a commit", self.sum))
    }

    fn row(&mut self, tables: &Tables, change: &Change) -> Checked {
        match change {
            Change::Job(new) => {
                let bid = self.bid_max.entry(new.id).or_default();
                *bid = new.price.max(*bid);
                let Some(old) = tables.jobs.get(&new.id) else { return Ok(()) };
                let (was_over, is_over) = (old.state.is_over(), new.state.is_over());
                // What is held for hosts when a job ends is held anew; so is what a new bid needs.
                let holds = old.hold == new.hold || !was_over && (is_over || self.bids);
                let same = (old.account, &old.spec) == (new.account, &new.spec)
                    && (old.price == new.price || self.bids && !was_over);
                let goes_on = new.spent >= old.spent && (!was_over || only_paid(old, new));
                check(holds && same && goes_on, || format!("a job is changed: {old:?} to {new:?}"))
            }
            Change::States(new) => match tables.states.get(&(new.job, new.chunk)) {
                Some(old) => decided_stay(tables.jobs.get(&new.job), old, new),
                None => Ok(()),
            },
            Change::Results(new) => {
                if let Some(old) = tables.results.get(&(new.job, new.batch)) {
                    let number = new.batch;
                    return check(old == new, || {
                        format!("results {number} of job {} are replaced", new.job)
                    });
                }
                let job = tables.jobs.get(&new.job);
                new.results.iter().try_for_each(|accepted| {
                    let first = self.accepted.insert((new.job, accepted.task));
                    check(first || is_redone(job, accepted.task), || {
                        format!("job {}: task {} is accepted twice", new.job, accepted.task)
                    })
                })
            }
            Change::Votes(new) => {
                let old = tables.votes.get(&(new.job, new.lease, new.batch));
                check(old.is_none_or(|old| old == new), || {
                    format!("votes {} of lease {} are replaced", new.batch, new.lease)
                })
            }
            Change::Lease(new) => {
                let Some(old) = tables.leases.get(&new.id) else {
                    self.pay.held += u64::from(new.held.is_some());
                    let host = tables.hosts.get(&new.host);
                    let bid = self.bid_max.get(&new.job).copied().unwrap_or_default();
                    check(new.price <= bid, || format!("no more than {bid:?} is bid: {new:?}"))?;
                    check(is_where_pinned(tables.jobs.get(&new.job), new), || {
                        format!("a task of a slice is granted to another host: {new:?}")
                    })?;
                    let may = host.is_some_and(|host| host.barred.is_none() && !host.suspended);
                    return check(may || new.state != LeaseState::Open, || {
                        format!("a lease is granted to {host:?}: {new:?}")
                    });
                };
                let same = (old.job, old.host, old.account, old.price)
                    == (new.job, new.host, new.account, new.price);
                let goes_on = old.state != LeaseState::Settled || old == &**new;
                check(same && goes_on, || format!("a lease is changed: {old:?} to {new:?}"))?;
                self.held(tables, old, new)
            }
            Change::Bill(new) => {
                let Some(old) = tables.bills.get(&new.id) else { return Ok(()) };
                let same = (old.job, old.account, old.price) == (new.job, new.account, new.price);
                let goes_on = new.fuel >= old.fuel && (old.posted.is_none() || old == &**new);
                check(same && goes_on, || format!("a bill is changed: {old:?} to {new:?}"))
            }
            Change::Host(new) => {
                let old = tables.hosts.get(&new.id);
                let stays = old.is_none_or(|old| old.barred.is_none() || new.barred.is_some());
                check(stays, || format!("host {} is not barred any more", new.id.short()))
            }
            Change::Account(new) => {
                let zero = isos_base::MicroCredits::ZERO;
                let (posted, pending) = (
                    new.credits_posted.0 - new.debits_posted.0,
                    new.credits_pending.0 - new.debits_pending.0,
                );
                let old = tables.accounts.get(&new.id);
                let (was_posted, was_pending) = old.map_or((0, 0), |old| {
                    (
                        old.credits_posted.0 - old.debits_posted.0,
                        old.credits_pending.0 - old.debits_pending.0,
                    )
                });
                self.sum.0 += i128::from(posted) - i128::from(was_posted);
                self.sum.1 += i128::from(pending) - i128::from(was_pending);
                let grows = old.is_none_or(|old| {
                    new.name == old.name
                        && new.credits_posted >= old.credits_posted
                        && new.debits_posted >= old.debits_posted
                });
                let whole = new.debits_pending >= zero && new.credits_pending >= zero;
                check(grows && whole, || format!("an account is changed: {old:?} to {new:?}"))
            }
            Change::Transfer(new) => self.transfer(tables, new),
            Change::Hold(new) => {
                let old = tables.holds.get(&new.id);
                let goes_on = old.is_none_or(|old| {
                    new.remaining <= old.remaining && (!old.closed || old == new)
                });
                check(goes_on, || format!("a hold is changed: {old:?} to {new:?}"))
            }
            Change::Idempotency(new) => {
                let old = tables.idempotency.get(&(new.account, new.key.clone()));
                check(old.is_none_or(|old| old.job == new.job), || {
                    format!("key {} stood for another job", new.key)
                })
            }
            Change::Payout(new) => {
                let old = tables.payouts.get(&new.id);
                let goes_on = old.is_none_or(|old| {
                    new.amount == old.amount
                        && new.hold == old.hold
                        && (old.state == PayoutState::Waiting || **new == *old)
                });
                check(goes_on, || format!("a payout is changed: {old:?} to {new:?}"))
            }
            Change::Proposal(new) => {
                let old = tables.proposals.get(&new.id);
                let goes_on = old.is_none_or(|old| {
                    new.what == old.what
                        && new.agreed.starts_with(&old.agreed)
                        && (old.state == ProposalState::Open || **new == *old)
                });
                check(goes_on, || format!("a proposal is changed: {old:?} to {new:?}"))
            }
            Change::Audit(new) => {
                let before = tables.audit.last_key_value().map_or(0, |(&seq, _)| seq);
                let old = tables.audit.get(&new.seq);
                check(old.map_or(new.seq == before + 1, |old| old == &**new), || {
                    format!("audit record {} behind {before}, was {old:?}", new.seq)
                })
            }
            Change::Storage(new) => {
                let old = tables.storage.get(&new.id);
                let goes_on = old.is_none_or(|old| {
                    let same = old.account == new.account && old.begun == new.begun;
                    let later = old.settled <= new.settled && old.issued <= new.issued;
                    let paid = old.charged <= new.charged && old.paid <= new.paid;
                    same && later && paid && (old.state == StorageState::Open || !new.is_open())
                });
                check(goes_on, || format!("a storage lease is changed: {old:?} to {new:?}"))
            }
            Change::Keeper(new) => {
                let old = tables.keepers.get(&new.host);
                let goes_on =
                    old.is_none_or(|old| old.since == new.since && old.present <= new.present);
                check(goes_on, || format!("a keeper is changed: {old:?} to {new:?}"))
            }
            Change::Slice(new) => {
                let old = tables.slices.get(&new.id);
                let goes_on = old.is_none_or(|old| {
                    let same =
                        (old.account, &old.name, old.made) == (new.account, &new.name, new.made);
                    same && (old.state == SliceState::Open || **new == *old)
                });
                check(goes_on, || format!("a slice is changed: {old:?} to {new:?}"))
            }
            Change::DropVotes(_)
            | Change::Saved(_)
            | Change::Revocation(..)
            | Change::Narrowed(..)
            | Change::Market(_)
            | Change::Reservation(_)
            | Change::Firm(_)
            | Change::Bond(_)
            | Change::Earned(_)
            | Change::Key(_)
            | Change::Keyring(_) => Ok(()),
        }
    }

    /// Pay is held until the host has passed the checks that were said, or the time has come; or it
    /// is forfeited, which only a host that was caught can do. What is settled is on a bill.
    fn held(&mut self, tables: &Tables, old: &LeaseRecord, new: &LeaseRecord) -> Checked {
        let host = tables.hosts.get(&new.host);
        let caught = host.is_some_and(|host| host.barred.is_some());
        let settled = old.state != LeaseState::Settled && new.state == LeaseState::Settled;
        check(!settled || new.bill.is_some() || new.accepted == 0 || caught, || {
            format!("a lease is settled with nothing, of a host that was not caught: {new:?}")
        })?;
        match (old.held, new.held) {
            (None, Some(_)) => self.pay.held += 1,
            (Some(held), None) if new.bill.is_some() => {
                self.pay.matured += 1;
                let Held { passed, until } = held;
                let has = host.map_or(0, |host| host.trust.passed);
                check(has >= passed || until <= self.latest, || {
                    format!("pay is let go after {has} checks of {passed}: {old:?} to {new:?}")
                })?;
            }
            (Some(_), None) => self.pay.forfeited += 1,
            (Some(old), Some(held)) => {
                check(old == held, || format!("pay is held for longer: {old:?} to {held:?}"))?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// How much pay was held, and what became of it.
    pub(crate) const fn pay(&self) -> Pay {
        self.pay
    }

    fn transfer(&mut self, tables: &Tables, new: &TransferRecord) -> Checked {
        if let Some(old) = tables.transfers.get(&new.seq) {
            return check(old == new, || format!("transfer {} is replaced", new.seq));
        }
        let next = tables.transfers.last_key_value().map_or(1, |(seq, _)| seq + 1);
        check(new.seq == next, || format!("transfer {} comes after {}", new.seq, next - 1))?;
        self.head = verify_chain(self.head, new).map_err(|error| error.to_string())?;
        check(self.transfers.insert(new.id), || format!("transfer {} exists twice", new.id))?;
        let (bill, charge) = match new.reason {
            Reason::Charge(bill) => (bill, true),
            Reason::Pay(bill) => (bill, false),
            _ => return Ok(()),
        };
        check(self.moved.insert((bill, charge)), || format!("bill {bill} is charged or paid twice"))
    }
}

/// Whether nothing more has come of a job that is over than that pay was let go or forfeited.
fn only_paid(old: &JobRecord, new: &JobRecord) -> bool {
    let why = old.why.is_none() || old.why == new.why;
    why && JobRecord { spent: old.spent, why: old.why.clone(), ..new.clone() } == *old
}

/// Whether a lease has no task that is pinned to another host.
fn is_where_pinned(job: Option<&JobRecord>, lease: &LeaseRecord) -> bool {
    let Some(pinned) = job.and_then(|job| job.pinned.as_ref()) else { return true };
    let mut tasks = lease.ranges.iter().flat_map(|range| range.start..range.end);
    tasks.all(|task| pinned.hosts.get(task as usize) == Some(&lease.host))
}

/// Whether the result of a task was taken back because its host was caught, which only some rules
/// do: the job says so in the same commit.
fn is_redone(job: Option<&JobRecord>, task: u32) -> bool {
    let takes_back = |job: &&JobRecord| {
        matches!(job.spec.verify, Verify::Checkpoint { .. } | Verify::Credibility { .. })
    };
    job.filter(takes_back).is_some_and(|job| was_taken_back(job, task))
}

/// What was decided of a task is never decided again, unless it was taken back.
fn decided_stay(job: Option<&JobRecord>, old: &StateChunk, new: &StateChunk) -> Checked {
    check(old.bits.len() == new.bits.len(), || "a chunk of states has another size".into())?;
    for (at, (old, now)) in old.bits.iter().zip(&new.bits).enumerate() {
        if old == now {
            continue;
        }
        for n in 0..4 {
            let was = TaskState::from_bits(old >> (2 * n));
            let is = TaskState::from_bits(now >> (2 * n));
            let task = new.chunk * isos_base::record::CHUNK_TASKS + at as u32 * 4 + n;
            check(was == TaskState::Open || was == is || is_redone(job, task), || {
                format!("job {}: task {task} was {was:?} and is {is:?}", new.job)
            })?;
        }
    }
    Ok(())
}
