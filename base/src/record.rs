//! What the complex keeps for ever: the rows that the kernel emits and the database stores.
//!
//! The kernel never names SQL and the database never decides; these shapes are all they share.
//! A [`Change`] is idempotent: applied twice it leaves the same rows.

mod bank;
mod saved;
pub mod states;
pub mod system;
mod tables;

use serde::{Deserialize, Serialize};

pub use bank::{EarnedRecord, PayoutRecord, PayoutState, ProposalRecord, ProposalState, Proposed};
pub use saved::{KeptCheckpoint, Referee, Resumed, SavedRecord};
pub use states::TaskState;
pub use tables::Tables;

pub use crate::audit::AuditRecord;
use crate::guid::Guid;
use crate::host::HostSpec;
use crate::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TransferId,
};
use crate::job::JobSpec;
use crate::key::PublicKey;
pub use crate::keyring::{KeyRecord, KeyringRecord};
use crate::market::{BondRecord, FirmRecord, MarketRecord, ReservationRecord};
use crate::price::Price;
use crate::ranges::TaskRange;
pub use crate::slice::{Pinned, SliceRecord};
pub use crate::storage::{KeeperRecord, StorageRecord};
use crate::task::TaskResult;
use crate::time::Time;
use crate::units::{Fuel, MicroCredits};

/// Tasks whose state is kept in one row.
pub const CHUNK_TASKS: u32 = 4_096;

/// One durable change. All changes of a step are committed together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Insert or replace a job.
    Job(Box<JobRecord>),
    /// Insert or replace the states of up to [`CHUNK_TASKS`] tasks.
    States(StateChunk),
    /// Append accepted results.
    Results(ResultBatch),
    /// Append votes that are not decided yet.
    Votes(VoteBatch),
    /// Forget the votes of a job, which has ended.
    DropVotes(JobId),
    /// Insert or replace a lease.
    Lease(Box<LeaseRecord>),
    /// Insert or replace a bill.
    Bill(Box<BillRecord>),
    /// Insert or replace a host.
    Host(Box<HostRecord>),
    /// Insert or replace an account.
    Account(Box<AccountRecord>),
    /// Append a transfer.
    Transfer(Box<TransferRecord>),
    /// Insert or replace a hold.
    Hold(HoldRecord),
    /// Remember a reply under a caller's idempotency key.
    Idempotency(IdempotencyRecord),
    /// A token that is good no more.
    Revocation(Vec<u8>, Time),
    /// Insert or replace a payout: the outbox are those that wait.
    Payout(Box<PayoutRecord>),
    /// Insert or replace what operators have to agree on.
    Proposal(Box<ProposalRecord>),
    /// Insert or replace how far the run of a task has come; all of a job go with its votes.
    Saved(Box<SavedRecord>),
    /// Insert or replace the prices of a class.
    Market(Box<MarketRecord>),
    /// Insert or replace a reservation.
    Reservation(Box<ReservationRecord>),
    /// Append to the audit log.
    Audit(Box<AuditRecord>),
    /// Insert or replace a key of an account.
    Key(Box<KeyRecord>),
    /// Insert or replace what else is known of an account's rights.
    Keyring(Box<KeyringRecord>),
    /// A token that was narrowed from another and is good no more, and of which account it is.
    Narrowed(Vec<u8>, Time, AccountId),
    /// Insert or replace a storage lease.
    Storage(Box<StorageRecord>),
    /// Insert or replace what is known of a keeper.
    Keeper(Box<KeeperRecord>),
    /// Insert or replace that a host stands behind reservations.
    Firm(FirmRecord),
    /// Insert or replace the bond of a host.
    Bond(Box<BondRecord>),
    /// Insert or replace what an account earned in a month.
    Earned(EarnedRecord),
    /// Insert or replace a slice.
    Slice(Box<SliceRecord>),
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Tasks are waiting or running.
    Active,
    /// All tasks are done.
    Done,
    /// All tasks have ended, some failed.
    Failed,
    /// The buyer cancelled it.
    Cancelled,
}

impl JobState {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Active)
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its number.
    pub id: JobId,
    /// Who pays.
    pub account: AccountId,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// The most that it pays for a gigafuel; where prices are fixed, what it pays.
    pub price: Price,
    /// The hold it is paid from.
    pub hold: TransferId,
    /// When it was submitted.
    pub submitted: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// Paid from the hold so far.
    pub spent: MicroCredits,
    /// Tasks done; this and the next two are exact once the job is over, and counted from the
    /// task states while it is active.
    pub done: u32,
    /// Tasks whose program failed.
    pub failed: u32,
    /// Tasks given up.
    pub given_up: u32,
    /// Tasks whose results were taken back because their host was caught: of several results of
    /// one of these, the last counts.
    #[serde(default)]
    pub redone: Vec<TaskRange>,
    /// Results that were taken as they were although checks were asked for: no independent host was
    /// there that could have made them, so that they are as good as one owner's word.
    #[serde(default)]
    pub unchecked: u32,
    /// Why the tasks that were still open when the job ended were given up, all at once: they have
    /// no results of their own.
    pub why: Option<String>,
    /// Which task runs on which host and on no other, if the job runs on a slice.
    #[serde(default)]
    pub pinned: Option<Pinned>,
}

/// The states of tasks `chunk * CHUNK_TASKS ..`, two bits each, the first in the lowest bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChunk {
    /// Of which job.
    pub job: JobId,
    /// Which chunk.
    pub chunk: u32,
    /// A quarter of a byte a task.
    pub bits: Vec<u8>,
}

/// Accepted results, in the order of acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultBatch {
    /// Of which job.
    pub job: JobId,
    /// Counts up in a job.
    pub batch: u64,
    /// The results, each with the host that gave it.
    pub results: Vec<Accepted>,
}

/// An accepted result, or the reason why there will be none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Index of the task.
    pub task: u32,
    /// What was accepted, or why the task was given up.
    pub result: Result<TaskResult, String>,
    /// The host it came from, first of those that agreed.
    pub host: Option<HostId>,
}

/// Votes of one host on tasks of a quorum job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteBatch {
    /// Of which job.
    pub job: JobId,
    /// Under which lease.
    pub lease: LeaseId,
    /// Counts up in a lease.
    pub batch: u32,
    /// The results as given.
    pub results: Vec<TaskResult>,
}

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Tasks are out.
    Open,
    /// Nothing is out any more; it is settled when every task is decided and its pay not held.
    Returned,
    /// Settled: on a bill, or worth nothing.
    Settled,
}

/// A lease of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Its number.
    pub id: LeaseId,
    /// Of which job.
    pub job: JobId,
    /// To which host.
    pub host: HostId,
    /// The account that earns.
    pub account: AccountId,
    /// Which tasks it was granted.
    pub ranges: Vec<TaskRange>,
    /// Where it stands.
    pub state: LeaseState,
    /// When unreported tasks go to others.
    pub deadline: Time,
    /// Tasks of it that were accepted.
    pub accepted: u32,
    /// Tasks of it that were rejected.
    pub rejected: u32,
    /// Fuel of the accepted ones.
    pub fuel: Fuel,
    /// The bill on which its fuel stands, once it is settled and was worth something.
    pub bill: Option<BillId>,
    /// Number of its next batch of votes.
    pub next_votes: u32,
    /// Until when its pay is held, if some of its results were taken on the host's credit alone.
    #[serde(default)]
    pub held: Option<Held>,
    /// What its fuel costs: agreed on when it was granted.
    #[serde(default)]
    pub price: Price,
}

/// When held pay matures: as soon as either comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// Once the host has passed so many checks in all.
    pub passed: u64,
    /// At this time.
    pub until: Time,
}

/// What one job owes one account for verified work of some leases: rounded and moved once for all
/// of them, a few seconds after the first, or when the job ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillRecord {
    /// Its number.
    pub id: BillId,
    /// Of which job.
    pub job: JobId,
    /// Who earns.
    pub account: AccountId,
    /// Leases on it.
    pub leases: u32,
    /// Verified tasks of these.
    pub tasks: u64,
    /// Fuel of these.
    pub fuel: Fuel,
    /// The price of these.
    pub price: Price,
    /// When its first lease was settled.
    pub opened: Time,
    /// When the money moved; what is owed until then is set aside in the job's hold.
    pub posted: Option<Time>,
    /// Taken from the buyer: the price of the fuel, rounded up to a micro-credit.
    pub charged: MicroCredits,
    /// Given to the account: the same rounded down, less the fee.
    pub paid: MicroCredits,
    /// Kept by the complex.
    pub fee: MicroCredits,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its key.
    pub id: HostId,
    /// The account that earns.
    pub account: AccountId,
    /// What it said of itself last.
    pub spec: HostSpec,
    /// Results that were accepted.
    pub good: u64,
    /// Results that were rejected.
    pub bad: u64,
    /// Tasks lost: expired, or faults.
    pub lost: u64,
    /// Why it may not work any more.
    pub barred: Option<String>,
    /// When it joined.
    pub joined: Time,
    /// When it last spoke.
    pub seen: Time,
    /// What it has shown.
    #[serde(default)]
    pub trust: Trust,
    /// Ids of the token by which it came, and of those that this was made from.
    #[serde(default)]
    pub ticket: Vec<Vec<u8>>,
    /// Whether that token was revoked: then it gets no work until it shows another.
    #[serde(default)]
    pub suspended: bool,
    /// The key that took the place of this one, which is good for nothing since.
    #[serde(default)]
    pub successor: Option<HostId>,
}

/// What a host has shown under verification. Work that nobody checks does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trust {
    /// Checks that it passed.
    pub passed: u64,
    /// Results that were accepted of it.
    pub results: u64,
}

/// An account with its four balances (TigerBeetle's model): all are zero or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Its number.
    pub id: AccountId,
    /// For people; unique.
    pub name: String,
    /// The key that owns it, if one was shown.
    pub key: Option<PublicKey>,
    /// Debits that are held.
    pub debits_pending: MicroCredits,
    /// Debits that are final.
    pub debits_posted: MicroCredits,
    /// Credits that are held.
    pub credits_pending: MicroCredits,
    /// Credits that are final.
    pub credits_posted: MicroCredits,
}

/// Why money moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Credits come into being.
    Grant(String),
    /// Money is set aside for a job.
    Hold(JobId),
    /// A bill is charged to the buyer.
    Charge(BillId),
    /// A bill is paid to the host's account.
    Pay(BillId),
    /// The complex's fee on a bill.
    Fee(BillId),
    /// What rounding a bill left.
    Rounding(BillId),
    /// What is left of a job's hold goes back.
    Release(JobId),
    /// From one person to another.
    Gift(String),
    /// Money leaves for the world outside.
    Payout(PayoutId),
    /// A payout that the rail refused goes back, and why.
    Refused(PayoutId, String),
    /// Money came in from the world outside: rail and the rail's own id of it.
    Deposit(String),
    /// What the promise of a reservation costs: set aside, paid, or given back.
    Reserve(ReservationId),
    /// What a broken promise is worth to whom it was given.
    Compensation(ReservationId),
    /// What an account's storage leases may cost until their ends: set aside, or given back.
    Storage,
    /// A storage lease for a time that has passed: taken from the buyer, paid to the host's
    /// account, the fee on it, and what rounding left.
    Rent(LeaseId),
    /// What a host stands in for behind a reservation: set aside, or given back.
    Bond(ReservationId),
    /// A part of a bond that goes to whom the promise was broken.
    Forfeit(ReservationId),
    /// A part of the premium, for who stood behind the promise.
    Standby(ReservationId),
    /// Credits that were earned long ago and not spent lose a part each day: of this one, counted
    /// from 1970.
    Demurrage(u64),
}

/// What a transfer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferKind {
    /// Moves money at once.
    Direct,
    /// Holds money (pending on both sides).
    Hold,
    /// Makes a part of a hold final.
    Post,
    /// Gives the rest of a hold back.
    Void,
    /// As void, because its time ran out.
    Expire,
}

/// A transfer: never changed, never removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// Position in the ledger, from 1, without gaps.
    pub seq: u64,
    /// Its id.
    pub id: TransferId,
    /// What it does.
    pub kind: TransferKind,
    /// Account that gives.
    pub debit: AccountId,
    /// Account that gets.
    pub credit: AccountId,
    /// How much; more than zero, except for voids of nothing.
    pub amount: MicroCredits,
    /// The hold that a post, void or expiry belongs to.
    pub hold: Option<TransferId>,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Time,
    /// BLAKE3 over the hash before it and everything above.
    pub hash: Guid,
}

/// What is left of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// The transfer that made it.
    pub id: TransferId,
    /// Account that gives.
    pub debit: AccountId,
    /// Account that gets what is posted.
    pub credit: AccountId,
    /// Not posted yet.
    pub remaining: MicroCredits,
    /// When it expires by itself, if it does.
    pub expires: Option<Time>,
    /// Whether it has been voided, used up or has expired.
    pub closed: bool,
}

/// A remembered reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Whose key.
    pub account: AccountId,
    /// The key, chosen by the caller.
    pub key: String,
    /// Hash of the request: the same key with another request is an error.
    pub request: Guid,
    /// The job that the request made, or the number of the first storage lease or of the slice; 0
    /// of a request that made none.
    pub job: JobId,
    /// When it may be forgotten.
    pub expires: Time,
}

/// Everything that a complex starts from, in the order of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Jobs that are not over, and those that are and have leases that are not settled.
    pub jobs: Vec<JobRecord>,
    /// Task states of jobs that are not over.
    pub states: Vec<StateChunk>,
    /// Votes of jobs that are not over.
    pub votes: Vec<VoteBatch>,
    /// Leases that are not settled.
    pub leases: Vec<LeaseRecord>,
    /// Bills that are not posted.
    pub bills: Vec<BillRecord>,
    /// All hosts.
    pub hosts: Vec<HostRecord>,
    /// All accounts.
    pub accounts: Vec<AccountRecord>,
    /// Open holds.
    pub holds: Vec<HoldRecord>,
    /// Remembered replies.
    pub idempotency: Vec<IdempotencyRecord>,
    /// Revoked tokens.
    pub revocations: Vec<(Vec<u8>, Time)>,
    /// Of them, those that were narrowed from others, and whose they are.
    #[serde(default)]
    pub narrowed: Vec<(Vec<u8>, AccountId)>,
    /// Prices of classes.
    #[serde(default)]
    pub markets: Vec<MarketRecord>,
    /// Reservations that are not over.
    #[serde(default)]
    pub reservations: Vec<ReservationRecord>,
    /// Hosts that stand behind reservations.
    #[serde(default)]
    pub firm: Vec<FirmRecord>,
    /// Bonds of reservations that are not over.
    #[serde(default)]
    pub bonds: Vec<BondRecord>,
    /// What reservations that are over have brought the complex, by who made them, less what it has
    /// paid each for those that were not kept: what there is to pay each for the next.
    #[serde(default)]
    pub brought: Vec<(AccountId, MicroCredits)>,
    /// What accounts earned in the last months, where there is demurrage.
    #[serde(default)]
    pub earned: Vec<EarnedRecord>,
    /// The last transfer's position and hash.
    pub ledger_head: Option<(u64, Guid)>,
    /// Highest numbers ever used.
    pub last_job: JobId,
    /// See [`Snapshot::last_job`]; leases of work and of storage are numbered together.
    pub last_lease: LeaseId,
    /// See [`Snapshot::last_job`].
    pub last_bill: BillId,
    /// See [`Snapshot::last_job`].
    pub last_account: AccountId,
    /// See [`Snapshot::last_job`].
    #[serde(default)]
    pub last_reservation: ReservationId,
    /// Next result batch of each job.
    pub next_batch: Vec<(JobId, u64)>,
    /// Payouts that wait, and those that were asked for on the last day.
    #[serde(default)]
    pub payouts: Vec<PayoutRecord>,
    /// Proposals that are open, and the last one that said how many operators must agree.
    #[serde(default)]
    pub proposals: Vec<ProposalRecord>,
    /// See [`Snapshot::last_job`].
    #[serde(default)]
    pub last_payout: PayoutId,
    /// See [`Snapshot::last_job`].
    #[serde(default)]
    pub last_proposal: ProposalId,
    /// How far tasks have come of jobs that are not over.
    #[serde(default)]
    pub saved: Vec<SavedRecord>,
    /// The last audit record's position and hash.
    #[serde(default)]
    pub audit_head: Option<(u64, Guid)>,
    /// The last hash of each account's part of the audit log.
    #[serde(default)]
    pub audit_own: Vec<(AccountId, Guid)>,
    /// Keys that were not removed.
    #[serde(default)]
    pub keys: Vec<KeyRecord>,
    /// What else is known of the rights of accounts.
    #[serde(default)]
    pub keyrings: Vec<KeyringRecord>,
    /// Storage leases that are open, and those of whose end their hosts have to be told.
    #[serde(default)]
    pub storage: Vec<StorageRecord>,
    /// All keepers.
    #[serde(default)]
    pub keepers: Vec<KeeperRecord>,
    /// Slices that are not over.
    #[serde(default)]
    pub slices: Vec<SliceRecord>,
    /// See [`Snapshot::last_job`].
    #[serde(default)]
    pub last_slice: SliceId,
}
