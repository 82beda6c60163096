//! The durable records in memory: what a database holds, for tests, simulation and comparison.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Accepted, AccountRecord, AuditRecord, BillRecord, Change, EarnedRecord, HoldRecord, HostRecord,
    IdempotencyRecord, JobRecord, KeeperRecord, KeyRecord, KeyringRecord, LeaseRecord, LeaseState,
    PayoutRecord, PayoutState, ProposalRecord, ProposalState, Proposed, ResultBatch, SavedRecord,
    SliceRecord, Snapshot, StateChunk, StorageRecord, TransferRecord, VoteBatch,
};
use crate::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TransferId,
};
use crate::key::PublicKey;
use crate::market::{
    BondRecord, FirmRecord, MarketRecord, ReservationRecord, ReservationState, by_account,
};
use crate::slice::SliceState;
use crate::time::Time;

/// Every table, keyed as the database keys it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Jobs.
    pub jobs: BTreeMap<JobId, JobRecord>,
    /// Task states.
    pub states: BTreeMap<(JobId, u32), StateChunk>,
    /// Accepted results.
    pub results: BTreeMap<(JobId, u64), ResultBatch>,
    /// Undecided votes.
    pub votes: BTreeMap<(JobId, LeaseId, u32), VoteBatch>,
    /// How far the runs of tasks have come.
    pub saved: BTreeMap<(LeaseId, u32), SavedRecord>,
    /// Leases, settled ones too.
    pub leases: BTreeMap<LeaseId, LeaseRecord>,
    /// Bills, posted ones too.
    pub bills: BTreeMap<BillId, BillRecord>,
    /// Hosts.
    pub hosts: BTreeMap<HostId, HostRecord>,
    /// Accounts.
    pub accounts: BTreeMap<AccountId, AccountRecord>,
    /// Transfers by position.
    pub transfers: BTreeMap<u64, TransferRecord>,
    /// Holds.
    pub holds: BTreeMap<TransferId, HoldRecord>,
    /// Remembered replies.
    pub idempotency: BTreeMap<(AccountId, String), IdempotencyRecord>,
    /// Revoked tokens.
    pub revocations: BTreeMap<Vec<u8>, Time>,
    /// Of them, those that were narrowed from others, and whose they are.
    pub narrowed: BTreeMap<Vec<u8>, AccountId>,
    /// Payouts, ended ones too.
    pub payouts: BTreeMap<PayoutId, PayoutRecord>,
    /// What operators have to agree on, and had to.
    pub proposals: BTreeMap<ProposalId, ProposalRecord>,
    /// Prices of classes.
    pub markets: BTreeMap<String, MarketRecord>,
    /// Reservations, those that are over too.
    pub reservations: BTreeMap<ReservationId, ReservationRecord>,
    /// Hosts that stand behind reservations, and those that did.
    pub firm: BTreeMap<HostId, FirmRecord>,
    /// Bonds, those that are over too.
    pub bonds: BTreeMap<(ReservationId, u32), BondRecord>,
    /// What accounts earned, by month.
    pub earned: BTreeMap<(AccountId, u32), EarnedRecord>,
    /// The audit log by position.
    pub audit: BTreeMap<u64, AuditRecord>,
    /// Keys of accounts, removed ones too.
    pub keys: BTreeMap<PublicKey, KeyRecord>,
    /// What else is known of the rights of accounts.
    pub keyrings: BTreeMap<AccountId, KeyringRecord>,
    /// Storage leases, those that are over too.
    pub storage: BTreeMap<LeaseId, StorageRecord>,
    /// Keepers.
    pub keepers: BTreeMap<HostId, KeeperRecord>,
    /// Slices, those that are over too.
    pub slices: BTreeMap<SliceId, SliceRecord>,
}

impl Tables {
    /// Applies a change; twice is as good as once.
    ///
    /// # Panics
    /// If a row that is kept for ever would be replaced by a different one: a database refuses it.
    pub fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Job(job) => _ = self.jobs.insert(job.id, *job),
            Change::States(chunk) => _ = self.states.insert((chunk.job, chunk.chunk), chunk),
            Change::Results(batch) => append(&mut self.results, (batch.job, batch.batch), batch),
            Change::Votes(votes) => {
                append(&mut self.votes, (votes.job, votes.lease, votes.batch), votes);
            }
            Change::DropVotes(job) => {
                self.votes.retain(|key, _| key.0 != job);
                self.saved.retain(|_, saved| saved.job != job);
            }
            Change::Saved(saved) => _ = self.saved.insert((saved.lease, saved.task), *saved),
            Change::Lease(lease) => _ = self.leases.insert(lease.id, *lease),
            Change::Bill(bill) => _ = self.bills.insert(bill.id, *bill),
            Change::Host(host) => _ = self.hosts.insert(host.id, *host),
            Change::Account(account) => _ = self.accounts.insert(account.id, *account),
            Change::Transfer(transfer) => append(&mut self.transfers, transfer.seq, *transfer),
            Change::Hold(hold) => _ = self.holds.insert(hold.id, hold),
            Change::Idempotency(record) => {
                self.idempotency.insert((record.account, record.key.clone()), record);
            }
            Change::Revocation(token, until) => {
                self.narrowed.remove(&token);
                self.revocations.insert(token, until);
            }
            Change::Payout(payout) => _ = self.payouts.insert(payout.id, *payout),
            Change::Proposal(it) => _ = self.proposals.insert(it.id, *it),
            Change::Market(market) => _ = self.markets.insert(market.class.clone(), *market),
            Change::Reservation(it) => _ = self.reservations.insert(it.id, *it),
            Change::Firm(it) => _ = self.firm.insert(it.host, it),
            Change::Bond(it) => _ = self.bonds.insert((it.reservation, it.nth), *it),
            Change::Earned(it) => _ = self.earned.insert((it.account, it.month), it),
            Change::Audit(record) => append(&mut self.audit, record.seq, *record),
            Change::Key(key) => _ = self.keys.insert(key.key, *key),
            Change::Keyring(keyring) => _ = self.keyrings.insert(keyring.account, *keyring),
            Change::Storage(lease) => _ = self.storage.insert(lease.id, *lease),
            Change::Keeper(keeper) => _ = self.keepers.insert(keeper.host, *keeper),
            Change::Slice(slice) => _ = self.slices.insert(slice.id, *slice),
            Change::Narrowed(token, until, account) => {
                self.revocations.insert(token.clone(), until);
                self.narrowed.insert(token, account);
            }
        }
    }

    /// The accepted results of a job, in the order of acceptance.
    pub fn results_of(&self, job: JobId) -> impl Iterator<Item = &Accepted> {
        let batches = self.results.range((job, 0)..=(job, u64::MAX));
        batches.flat_map(|(_, batch)| &batch.results)
    }

    /// What a complex starts from.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let active = |job: &JobId| self.jobs.get(job).is_some_and(|job| !job.state.is_over());
        let unsettled = |lease: &&LeaseRecord| lease.state != LeaseState::Settled;
        let leases: Vec<LeaseRecord> = self.leases.values().filter(unsettled).cloned().collect();
        let waited_for: BTreeSet<JobId> = leases.iter().map(|lease| lease.job).collect();
        let of_use = |job: &&JobRecord| !job.state.is_over() || waited_for.contains(&job.id);
        let open = |it: &&ReservationRecord| it.is_open();
        let mut next_batch = BTreeMap::new();
        for &(job, batch) in self.results.keys().filter(|(job, _)| active(job)) {
            next_batch.insert(job, batch + 1);
        }
        Snapshot {
            jobs: self.jobs.values().filter(of_use).cloned().collect(),
            states: self.states.values().filter(|chunk| active(&chunk.job)).cloned().collect(),
            votes: self.votes.values().filter(|votes| active(&votes.job)).cloned().collect(),
            saved: self.saved.values().filter(|saved| active(&saved.job)).cloned().collect(),
            leases,
            bills: self.bills.values().filter(|bill| bill.posted.is_none()).cloned().collect(),
            hosts: self.hosts.values().cloned().collect(),
            accounts: self.accounts.values().cloned().collect(),
            holds: self.holds.values().filter(|hold| !hold.closed).copied().collect(),
            idempotency: self.idempotency.values().cloned().collect(),
            revocations: self.revocations.clone().into_iter().collect(),
            narrowed: self.narrowed.clone().into_iter().collect(),
            markets: self.markets.values().cloned().collect(),
            reservations: self.reservations.values().filter(open).cloned().collect(),
            firm: self.firm.values().filter(|it| it.cores > 0).copied().collect(),
            bonds: {
                let of_open = |id| self.reservations.get(id).is_some_and(|it| it.is_open());
                let bonds = self.bonds.iter().filter(|((id, _), _)| of_open(id));
                bonds.map(|(_, bond)| bond.clone()).collect()
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
                let of_use = |it: &&EarnedRecord| EarnedRecord::is_of_use(it.month, newest);
                self.earned.values().filter(of_use).copied().collect()
            },
            ledger_head: self.transfers.last_key_value().map(|(&seq, last)| (seq, last.hash)),
            last_job: self.jobs.last_key_value().map_or(JobId(0), |(&id, _)| id),
            last_lease: {
                let last = [self.leases.keys().last(), self.storage.keys().last()];
                last.into_iter().flatten().max().copied().unwrap_or_default()
            },
            last_bill: self.bills.last_key_value().map_or(BillId(0), |(&id, _)| id),
            last_reservation: self.reservations.keys().last().copied().unwrap_or_default(),
            last_account: self.accounts.last_key_value().map_or(AccountId(0), |(&id, _)| id),
            next_batch: next_batch.into_iter().collect(),
            payouts: self.payouts_of_use(),
            proposals: self.proposals_of_use(),
            last_payout: self.payouts.last_key_value().map_or(PayoutId(0), |(&id, _)| id),
            last_proposal: self.proposals.last_key_value().map_or(ProposalId(0), |(&id, _)| id),
            audit_head: self.audit.last_key_value().map(|(&seq, last)| (seq, last.hash)),
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

    /// Payouts that wait, and those of the last day, reckoned from the last one.
    fn payouts_of_use(&self) -> Vec<PayoutRecord> {
        let last = self.payouts.values().map(|payout| payout.asked.0).max().unwrap_or(0);
        let since = last.saturating_sub(PayoutRecord::DAY.0);
        let of_use = |it: &&PayoutRecord| it.state == PayoutState::Waiting || it.asked.0 > since;
        self.payouts.values().filter(of_use).cloned().collect()
    }

    /// Proposals that are open, and the last done one about how many must agree.
    fn proposals_of_use(&self) -> Vec<ProposalRecord> {
        let rule = |it: &&ProposalRecord| {
            it.state == ProposalState::Done && matches!(it.what, Proposed::Approvals(_))
        };
        let last = self.proposals.values().rfind(rule).map(|it| it.id);
        let of_use = |it: &&ProposalRecord| it.state == ProposalState::Open || Some(it.id) == last;
        self.proposals.values().filter(of_use).cloned().collect()
    }
}

fn append<K: Ord, V: Eq + std::fmt::Debug>(table: &mut BTreeMap<K, V>, key: K, row: V) {
    match table.entry(key) {
        Entry::Vacant(place) => _ = place.insert(row),
        Entry::Occupied(place) => assert_eq!(*place.get(), row, "a row for ever is replaced"),
    }
}
