//! Changes that will be committed together, each row once.
//!
//! Pure. Of several records with one key the last counts; of appended ones there may be only one,
//! and a different one under the same key is an error. Within a transaction the order between
//! tables does not show, so it is not kept; appended rows go in the order of their keys, which is
//! the order in which the kernel counted.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use isos_base::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TransferId,
};
use isos_base::key::PublicKey;
use isos_base::market::{BondRecord, FirmRecord, MarketRecord, ReservationRecord};
use isos_base::record::{
    AccountRecord, AuditRecord, BillRecord, Change, EarnedRecord, HoldRecord, HostRecord,
    IdempotencyRecord, JobRecord, KeeperRecord, KeyRecord, KeyringRecord, LeaseRecord,
    PayoutRecord, ProposalRecord, ResultBatch, SavedRecord, SliceRecord, StateChunk, StorageRecord,
    TransferRecord, VoteBatch,
};
use isos_base::time::Time;

/// Something was appended twice and differently. The text names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict(pub(crate) String);

/// What one transaction writes.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) accounts: BTreeMap<AccountId, AccountRecord>,
    pub(crate) hosts: BTreeMap<HostId, HostRecord>,
    pub(crate) jobs: BTreeMap<JobId, JobRecord>,
    pub(crate) states: BTreeMap<(JobId, u32), StateChunk>,
    pub(crate) leases: BTreeMap<LeaseId, LeaseRecord>,
    pub(crate) bills: BTreeMap<BillId, BillRecord>,
    pub(crate) holds: BTreeMap<TransferId, HoldRecord>,
    pub(crate) transfers: BTreeMap<u64, TransferRecord>,
    /// Deleted before `votes` and `saved` are written, with what their jobs have saved.
    pub(crate) votes_dropped: BTreeSet<JobId>,
    pub(crate) votes: BTreeMap<(LeaseId, u32), VoteBatch>,
    pub(crate) saved: BTreeMap<(LeaseId, u32), SavedRecord>,
    pub(crate) results: BTreeMap<(JobId, u64), ResultBatch>,
    pub(crate) idempotency: BTreeMap<(AccountId, String), IdempotencyRecord>,
    pub(crate) revocations: BTreeMap<Vec<u8>, (Time, Option<AccountId>)>,
    pub(crate) payouts: BTreeMap<PayoutId, PayoutRecord>,
    pub(crate) proposals: BTreeMap<ProposalId, ProposalRecord>,
    pub(crate) markets: BTreeMap<String, MarketRecord>,
    pub(crate) reservations: BTreeMap<ReservationId, ReservationRecord>,
    pub(crate) firm: BTreeMap<HostId, FirmRecord>,
    pub(crate) bonds: BTreeMap<(ReservationId, u32), BondRecord>,
    pub(crate) earned: BTreeMap<(AccountId, u32), EarnedRecord>,
    pub(crate) audit: BTreeMap<u64, AuditRecord>,
    pub(crate) keys: BTreeMap<PublicKey, KeyRecord>,
    pub(crate) keyrings: BTreeMap<AccountId, KeyringRecord>,
    pub(crate) storage: BTreeMap<LeaseId, StorageRecord>,
    pub(crate) keepers: BTreeMap<HostId, KeeperRecord>,
    pub(crate) slices: BTreeMap<SliceId, SliceRecord>,
    /// Jobs that are over, whose results are deleted.
    pub(crate) results_dropped: BTreeSet<JobId>,
    /// What has expired by then is deleted, last of all.
    pub(crate) forget: Option<Time>,
}

impl Group {
    /// Takes one more change, which happens after all before it.
    pub(crate) fn add(&mut self, change: Change) -> Result<(), Conflict> {
        match change {
            Change::Job(job) => drop(self.jobs.insert(job.id, *job)),
            Change::States(chunk) => drop(self.states.insert((chunk.job, chunk.chunk), chunk)),
            Change::Results(batch) => {
                append(&mut self.results, (batch.job, batch.batch), batch, |batch| {
                    format!("result batch {} of job {}", batch.batch, batch.job)
                })?;
            }
            Change::Votes(batch) => {
                append(&mut self.votes, (batch.lease, batch.batch), batch, |batch| {
                    format!("vote batch {} of lease {}", batch.batch, batch.lease)
                })?;
            }
            Change::DropVotes(job) => {
                self.votes.retain(|_, batch| batch.job != job);
                self.saved.retain(|_, saved| saved.job != job);
                self.votes_dropped.insert(job);
            }
            Change::Saved(saved) => drop(self.saved.insert((saved.lease, saved.task), *saved)),
            Change::Lease(lease) => drop(self.leases.insert(lease.id, *lease)),
            Change::Bill(bill) => drop(self.bills.insert(bill.id, *bill)),
            Change::Host(host) => drop(self.hosts.insert(host.id, *host)),
            Change::Account(account) => drop(self.accounts.insert(account.id, *account)),
            Change::Transfer(transfer) => {
                append(&mut self.transfers, transfer.seq, *transfer, |transfer| {
                    format!("transfer {}", transfer.seq)
                })?;
            }
            Change::Hold(hold) => drop(self.holds.insert(hold.id, hold)),
            Change::Idempotency(reply) => {
                let key = (reply.account, reply.key.clone());
                self.idempotency.insert(key, reply);
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
            Change::Audit(record) => {
                append(&mut self.audit, record.seq, *record, |record| {
                    format!("audit record {}", record.seq)
                })?;
            }
            Change::Key(key) => drop(self.keys.insert(key.key, *key)),
            Change::Keyring(keyring) => drop(self.keyrings.insert(keyring.account, *keyring)),
            Change::Storage(lease) => drop(self.storage.insert(lease.id, *lease)),
            Change::Keeper(keeper) => drop(self.keepers.insert(keeper.host, *keeper)),
            Change::Slice(slice) => drop(self.slices.insert(slice.id, *slice)),
        }
        Ok(())
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            accounts,
            hosts,
            jobs,
            states,
            leases,
            bills,
            holds,
            transfers,
            votes_dropped,
            votes,
            saved,
            results,
            idempotency,
            revocations,
            markets,
            payouts,
            proposals,
            reservations,
            firm,
            bonds,
            earned,
            audit,
            keys,
            keyrings,
            storage,
            keepers,
            slices,
            results_dropped,
            forget,
        } = self;
        accounts.is_empty()
            && hosts.is_empty()
            && jobs.is_empty()
            && states.is_empty()
            && leases.is_empty()
            && bills.is_empty()
            && holds.is_empty()
            && transfers.is_empty()
            && votes_dropped.is_empty()
            && votes.is_empty()
            && saved.is_empty()
            && results.is_empty()
            && idempotency.is_empty()
            && revocations.is_empty()
            && payouts.is_empty()
            && proposals.is_empty()
            && markets.is_empty()
            && reservations.is_empty()
            && firm.is_empty()
            && bonds.is_empty()
            && earned.is_empty()
            && audit.is_empty()
            && keys.is_empty()
            && keyrings.is_empty()
            && storage.is_empty()
            && keepers.is_empty()
            && slices.is_empty()
            && results_dropped.is_empty()
            && forget.is_none()
    }
}

fn append<K: Ord, R: PartialEq>(
    rows: &mut BTreeMap<K, R>,
    key: K,
    record: R,
    name: impl Fn(&R) -> String,
) -> Result<(), Conflict> {
    match rows.entry(key) {
        Entry::Vacant(entry) => {
            entry.insert(record);
            Ok(())
        }
        Entry::Occupied(entry) if *entry.get() == record => Ok(()),
        Entry::Occupied(entry) => Err(Conflict(name(entry.get()))),
    }
}
