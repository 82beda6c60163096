//! What the database should hold, as plain maps, changed one change at a time.

use std::collections::BTreeMap;

use isos_base::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TransferId,
};
use isos_base::key::PublicKey;
use isos_base::market::{
    BondRecord, FirmRecord, MarketRecord, ReservationRecord, ReservationState, by_account,
};
use isos_base::record::{
    AccountRecord, AuditRecord, BillRecord, Change, EarnedRecord, HoldRecord, HostRecord,
    IdempotencyRecord, JobRecord, JobState, KeeperRecord, KeyRecord, KeyringRecord, LeaseRecord,
    LeaseState, PayoutRecord, PayoutState, ProposalRecord, ProposalState, Proposed, ResultBatch,
    SavedRecord, SliceRecord, Snapshot, StateChunk, StorageRecord, TransferRecord, VoteBatch,
};
use isos_base::slice::SliceState;
use isos_base::time::Time;

use crate::Db;
use crate::read::Source;

/// Every row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Model {
    jobs: BTreeMap<JobId, JobRecord>,
    states: BTreeMap<(JobId, u32), StateChunk>,
    results: BTreeMap<(JobId, u64), ResultBatch>,
    votes: BTreeMap<(LeaseId, u32), VoteBatch>,
    saved: BTreeMap<(LeaseId, u32), SavedRecord>,
    leases: BTreeMap<LeaseId, LeaseRecord>,
    bills: BTreeMap<BillId, BillRecord>,
    hosts: BTreeMap<HostId, HostRecord>,
    accounts: BTreeMap<AccountId, AccountRecord>,
    transfers: BTreeMap<u64, TransferRecord>,
    holds: BTreeMap<TransferId, HoldRecord>,
    idempotency: BTreeMap<(AccountId, String), IdempotencyRecord>,
    revocations: BTreeMap<Vec<u8>, (Time, Option<AccountId>)>,
    payouts: BTreeMap<PayoutId, PayoutRecord>,
    proposals: BTreeMap<ProposalId, ProposalRecord>,
    markets: BTreeMap<String, MarketRecord>,
    reservations: BTreeMap<ReservationId, ReservationRecord>,
    firm: BTreeMap<HostId, FirmRecord>,
    bonds: BTreeMap<(ReservationId, u32), BondRecord>,
    earned: BTreeMap<(AccountId, u32), EarnedRecord>,
    audit: BTreeMap<u64, AuditRecord>,
    keys: BTreeMap<PublicKey, KeyRecord>,
    keyrings: BTreeMap<AccountId, KeyringRecord>,
    storage: BTreeMap<LeaseId, StorageRecord>,
    keepers: BTreeMap<HostId, KeeperRecord>,
    slices: BTreeMap<SliceId, SliceRecord>,
}

impl Model {
    pub(super) fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Job(job) => drop(self.jobs.insert(job.id, *job)),
            Change::States(chunk) => drop(self.states.insert((chunk.job, chunk.chunk), chunk)),
            Change::Results(batch) => drop(self.results.insert((batch.job, batch.batch), batch)),
            Change::Votes(batch) => drop(self.votes.insert((batch.lease, batch.batch), batch)),
            Change::DropVotes(job) => {
                self.votes.retain(|_, votes| votes.job != job);
                self.saved.retain(|_, saved| saved.job != job);
            }
            Change::Saved(saved) => drop(self.saved.insert((saved.lease, saved.task), *saved)),
            Change::Lease(lease) => drop(self.leases.insert(lease.id, *lease)),
            Change::Bill(bill) => drop(self.bills.insert(bill.id, *bill)),
            Change::Host(host) => drop(self.hosts.insert(host.id, *host)),
            Change::Account(account) => drop(self.accounts.insert(account.id, *account)),
            Change::Transfer(it) => drop(self.transfers.insert(it.seq, *it)),
            Change::Hold(hold) => drop(self.holds.insert(hold.id, hold)),
            Change::Idempotency(reply) => {
                drop(self.idempotency.insert((reply.account, reply.key.clone()), reply));
            }
            Change::Revocation(id, expires) => drop(self.revocations.insert(id, (expires, None))),
            Change::Narrowed(id, expires, account) => {
                self.revocations.insert(id, (expires, Some(account)));
            }
            Change::Payout(payout) => drop(self.payouts.insert(payout.id, *payout)),
            Change::Proposal(it) => drop(self.proposals.insert(it.id, *it)),
            Change::Market(market) => drop(self.markets.insert(market.class.clone(), *market)),
            Change::Reservation(it) => drop(self.reservations.insert(it.id, *it)),
            Change::Firm(it) => drop(self.firm.insert(it.host, it)),
            Change::Bond(it) => drop(self.bonds.insert((it.reservation, it.nth), *it)),
            Change::Earned(it) => drop(self.earned.insert((it.account, it.month), it)),
            Change::Audit(record) => drop(self.audit.insert(record.seq, *record)),
            Change::Key(key) => drop(self.keys.insert(key.key, *key)),
            Change::Keyring(it) => drop(self.keyrings.insert(it.account, *it)),
            Change::Storage(it) => drop(self.storage.insert(it.id, *it)),
            Change::Keeper(it) => drop(self.keepers.insert(it.host, *it)),
            Change::Slice(it) => drop(self.slices.insert(it.id, *it)),
        }
    }

    pub(super) fn forget(&mut self, now: Time) {
        self.idempotency.retain(|_, reply| reply.expires > now);
        self.revocations.retain(|_, (expires, _)| *expires > now);
    }

    /// What a complex would start from.
    pub(super) fn snapshot(&self) -> Snapshot {
        let active =
            |job: JobId| self.jobs.get(&job).is_some_and(|record| record.state == JobState::Active);
        let next = |job: JobId| {
            let of_job = self.results.range((job, 0)..=(job, u64::MAX));
            of_job.last().map_or(0, |((_, batch), _)| batch + 1)
        };
        let unsettled = |lease: &&LeaseRecord| lease.state != LeaseState::Settled;
        let owed = |job: JobId| self.leases.values().filter(unsettled).any(|it| it.job == job);
        let of_use = |job: &&JobRecord| active(job.id) || owed(job.id);
        let jobs: Vec<_> = self.jobs.values().filter(of_use).cloned().collect();
        let holds = self.holds.values().filter(|hold| !hold.closed);
        let last = self.payouts.values().map(|it| it.asked.0).max().unwrap_or(0);
        let of_day = |it: &&PayoutRecord| {
            it.state == PayoutState::Waiting || it.asked.0 + PayoutRecord::DAY.0 > last
        };
        let mut rule = None;
        for it in self.proposals.values().filter(|it| it.state == ProposalState::Done) {
            if let Proposed::Approvals(_) = it.what {
                rule = Some(it.id);
            }
        }
        let in_force =
            |it: &&ProposalRecord| it.state == ProposalState::Open || Some(it.id) == rule;
        Snapshot {
            states: self.states.values().filter(|it| active(it.job)).cloned().collect(),
            votes: self.votes.values().filter(|it| active(it.job)).cloned().collect(),
            saved: self.saved.values().filter(|it| active(it.job)).cloned().collect(),
            leases: self.leases.values().filter(unsettled).cloned().collect(),
            bills: self.bills.values().filter(|it| it.posted.is_none()).cloned().collect(),
            hosts: self.hosts.values().cloned().collect(),
            accounts: self.accounts.values().cloned().collect(),
            holds: holds.copied().collect(),
            idempotency: self.idempotency.values().cloned().collect(),
            revocations: self.revocations.iter().map(|(id, it)| (id.clone(), it.0)).collect(),
            narrowed: {
                let narrowed = self.revocations.iter();
                narrowed.filter_map(|(id, it)| Some((id.clone(), it.1?))).collect()
            },
            markets: self.markets.values().cloned().collect(),
            reservations: self.reservations.values().filter(|it| it.is_open()).cloned().collect(),
            firm: self.firm.values().filter(|it| it.cores > 0).copied().collect(),
            bonds: {
                let open = |id| self.reservations.get(id).is_some_and(|it| it.is_open());
                let bonds = self.bonds.values().filter(|bond| open(&bond.reservation));
                bonds.cloned().collect()
            },
            brought: {
                let over =
                    self.reservations.values().filter(|it| it.state == ReservationState::Over);
                let brought = over.map(|it| (it.account, it.brought()));
                let shared = self.bonds.values().filter_map(|bond| {
                    let of = self.reservations.get(&bond.reservation)?;
                    Some((of.account, -i128::from(bond.paid.0)))
                });
                by_account(brought.chain(shared))
            },
            earned: {
                let newest = self.earned.keys().map(|&(_, month)| month).max().unwrap_or(0);
                let of_use = |it: &&EarnedRecord| it.month < 2 || it.month + 3 >= newest;
                self.earned.values().filter(of_use).copied().collect()
            },
            ledger_head: self.transfers.values().last().map(|it| (it.seq, it.hash)),
            payouts: self.payouts.values().filter(of_day).cloned().collect(),
            proposals: self.proposals.values().filter(in_force).cloned().collect(),
            last_payout: self.payouts.keys().last().copied().unwrap_or_default(),
            last_proposal: self.proposals.keys().last().copied().unwrap_or_default(),
            last_job: self.jobs.keys().last().copied().unwrap_or_default(),
            last_lease: {
                let work = self.leases.keys().last().copied().unwrap_or_default();
                work.max(self.storage.keys().last().copied().unwrap_or_default())
            },
            last_bill: self.bills.keys().last().copied().unwrap_or_default(),
            last_reservation: self.reservations.keys().last().copied().unwrap_or_default(),
            last_account: self.accounts.keys().last().copied().unwrap_or_default(),
            next_batch: jobs
                .iter()
                .filter(|job| active(job.id))
                .map(|job| (job.id, next(job.id)))
                .collect(),
            jobs,
            audit_head: self.audit.values().last().map(|it| (it.seq, it.hash)),
            audit_own: {
                let own = self.audit.values().filter_map(|it| it.account.zip(it.own));
                own.collect::<BTreeMap<_, _>>().into_iter().collect()
            },
            keys: self.keys.values().filter(|key| key.removed.is_none()).cloned().collect(),
            keyrings: self.keyrings.values().cloned().collect(),
            storage: self.storage.values().filter(|it| it.is_of_use()).cloned().collect(),
            keepers: self.keepers.values().cloned().collect(),
            slices: {
                let open = self.slices.values().filter(|it| it.state == SliceState::Open);
                open.cloned().collect()
            },
            last_slice: self.slices.keys().last().copied().unwrap_or_default(),
        }
    }

    /// Every row that is really there.
    pub(super) async fn of(db: &Db) -> Self {
        let mut connection = db.inner.readers.acquire().await.unwrap();
        let mut from = Source { session: connection.session(), place: &db.inner.place };
        let mut model = Self::default();
        let mut changes: Vec<Change> = Vec::new();
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Job));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::States));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::Results));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::Votes));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Saved));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Lease));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Bill));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Host));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Account));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Transfer));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::Hold));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::Idempotency));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Payout));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Proposal));
        let revocations: Vec<(Vec<u8>, Time, Option<AccountId>)> = from.all("").await.unwrap();
        changes.extend(revocations.into_iter().map(|(id, time, of)| match of {
            Some(account) => Change::Narrowed(id, time, account),
            None => Change::Revocation(id, time),
        }));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Market));
        let reservations = from.all("").await.unwrap().into_iter();
        changes.extend(reservations.map(Box::new).map(Change::Reservation));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::Firm));
        changes.extend(from.all("").await.unwrap().into_iter().map(Change::Earned));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Bond));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Audit));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Key));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Keyring));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Storage));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Keeper));
        changes.extend(from.all("").await.unwrap().into_iter().map(Box::new).map(Change::Slice));
        changes.iter().for_each(|change| model.apply(change));
        model
    }
}
