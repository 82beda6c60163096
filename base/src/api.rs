//! The JSON shapes of the HTTP API: what the server answers and the client reads.
//!
//! Plain data, filled by the kernel from the structures that decide, so that a screen cannot
//! disagree with a decision. Money is in micro-credits, fuel and bytes are plain numbers, times are
//! microseconds since 1970, spans are text.

mod bank;
mod market;

mod keys;
mod slice;
mod storage;

use serde::{Deserialize, Serialize};

pub use bank::{
    ApprovalsRequest, CreditReply, DepositAddress, PayoutRequest, PayoutView, ProposalList,
    RailView,
};
pub use market::{
    BarterView, BidRequest, BondView, FirmRequest, FirmView, ForecastView, MarketHistory,
    MarketView, PricesView, ReservationView, ReserveRequest,
};

pub use self::keys::{
    AddKeyRequest, KeyView, KeyringView, LabelRequest, LoginReply, LoginRequest, RecoveryReply,
};
pub use self::slice::{SliceChange, SliceRequest, SliceView, SliverView};
pub use self::storage::{
    ClassQuota, KeeperView, KeepersView, LeaseChange, ProveRequest, QuotaView, ReleaseRequest,
    RenewRequest, Standing, StorageLeaseView, StorageLeases, StorageRequest,
};

use crate::guid::Guid;
use crate::host::{HostSpec, Offer};
use crate::ids::{AccountId, BillId, HostId, JobId, LeaseId};
use crate::job::JobSpec;
use crate::key::PublicKey;
use crate::price::Price;
use crate::ranges::TaskRange;
use crate::record::{JobState, LeaseState, TaskState};
use crate::task::Exit;
use crate::time::{Span, Time};
use crate::units::{Fuel, MicroCredits};

/// How many tasks stand where. They add up to `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskCounts {
    /// All tasks.
    pub total: u32,
    /// Not with any host.
    pub waiting: u32,
    /// With a host.
    pub running: u32,
    /// Answered, but not by enough hosts yet.
    pub checking: u32,
    /// Accepted, exit code 0.
    pub done: u32,
    /// Accepted: the program failed.
    pub failed: u32,
    /// Given up.
    pub given_up: u32,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// Who pays.
    pub account: AccountId,
    /// Where it stands.
    pub state: JobState,
    /// Its tasks.
    pub tasks: TaskCounts,
    /// When it was submitted.
    pub submitted: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// The most that it pays for a gigafuel; where prices are fixed, what it pays.
    pub price: Price,
    /// Why the tasks that were still open when it ended were given up, all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Results that are as good as one owner's word: no independent host was there to check them.
    #[serde(default)]
    pub unchecked: u32,
    /// Still held for it.
    pub held: MicroCredits,
    /// Paid for it.
    pub spent: MicroCredits,
    /// Hosts that work on it now.
    pub hosts: u32,
    /// What was asked for.
    pub spec: JobSpec,
    /// How its results are made sure of; said when it is submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assured: Option<Assured>,
    /// Tasks that run now and went on from a checkpoint, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<ResumedView>,
}

/// A task that runs, and did not begin at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResumedView {
    /// Index in its job.
    pub task: u32,
    /// The host that runs it now.
    pub host: HostId,
    /// Fuel that was used where it went on.
    pub fuel: Fuel,
}

/// Whether and how a host takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It has tasks.
    Working,
    /// It is connected and has none.
    Idle,
    /// It sleeps and will poll.
    Asleep,
    /// Its owner wants quiet.
    Quiet,
    /// It vanished with tasks.
    Lost,
    /// It was caught cheating.
    Barred,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostView {
    /// Its key.
    pub id: HostId,
    /// The account that earns.
    pub account: AccountId,
    /// Whether and how it takes part.
    pub state: HostState,
    /// What it is.
    pub spec: HostSpec,
    /// What it offers, while it is connected.
    pub offer: Option<Offer>,
    /// Tasks it holds.
    pub tasks: u32,
    /// Results accepted.
    pub good: u64,
    /// Results rejected.
    pub bad: u64,
    /// Tasks lost.
    pub lost: u64,
    /// Why it is barred.
    pub barred: Option<String>,
    /// When it joined.
    pub joined: Time,
    /// When it last spoke.
    pub seen: Time,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountView {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// What may be spent now.
    pub available: MicroCredits,
    /// Set aside for jobs.
    pub held: MicroCredits,
    /// Everything that ever came in.
    pub received: MicroCredits,
    /// Everything that ever went out.
    pub paid: MicroCredits,
}

/// A line of a statement: one transfer from one account's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatementLine {
    /// Position in the ledger.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// What: `grant`, `hold`, `charge`, `pay`, `fee`, `rounding`, `release`, `gift`, `reserve` or
    /// `compensation`.
    pub kind: String,
    /// Why, in words.
    pub reason: String,
    /// The job or lease it belongs to.
    pub about: Option<String>,
    /// The other account.
    pub other: AccountId,
    /// Change of the money that is the account's own: negative when it goes out, 0 for holds.
    pub amount: MicroCredits,
    /// Change of what is held.
    pub held: MicroCredits,
    /// Balance after it, held money included.
    pub balance: MicroCredits,
    /// Hash of the transfer.
    pub hash: Guid,
    /// The lease behind it, for those who count again.
    #[serde(default)]
    pub work: Option<BilledWork>,
}

/// What a bill is for: `charge` is `fuel` times `price`, rounded up to a micro-credit; the pay
/// is the same rounded down, less the fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BilledWork {
    /// The bill.
    pub bill: BillId,
    /// Of which job.
    pub job: JobId,
    /// Whose hosts worked.
    pub account: AccountId,
    /// Leases on the bill.
    pub leases: u32,
    /// Tasks of these that were verified.
    pub tasks: u64,
    /// Their fuel.
    pub fuel: Fuel,
    /// The job's price.
    pub price: Price,
}

/// What one host has earned its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostEarnings {
    /// Its key.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// Leases that were settled.
    pub leases: u64,
    /// Fuel of their accepted tasks.
    pub fuel: Fuel,
    /// What that earns before fees, rounded down; bills are paid to the account, not to the host.
    pub earned: MicroCredits,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Statement {
    /// Whose.
    pub account: AccountView,
    /// All transfers, oldest first.
    pub lines: Vec<StatementLine>,
}

/// A lease, for those who ask what was paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseView {
    /// Its number.
    pub id: LeaseId,
    /// Of which job.
    pub job: JobId,
    /// To which host.
    pub host: HostId,
    /// Where it stands.
    pub state: LeaseState,
    /// Tasks accepted.
    pub accepted: u32,
    /// Tasks rejected.
    pub rejected: u32,
    /// Fuel of the accepted ones.
    pub fuel: Fuel,
    /// The bill on which its fuel stands, once it is settled and was worth something.
    pub bill: Option<BillId>,
}

/// One thing in the way, or one fact that matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReasonView {
    /// What it is about: `2 hosts (linux x86_64, 2 cores, 1 GiB)`, `budget`.
    pub about: String,
    /// What is so, with the number.
    pub why: String,
    /// What to do about it, if anything can be done.
    pub remedy: Option<String>,
}

/// The answer to `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    /// What was asked about: `job 42`, `task 42@7`, `host abc`.
    pub about: String,
    /// One line: what is so.
    pub verdict: String,
    /// Everything that leads to it.
    pub reasons: Vec<ReasonView>,
}

/// What a job would cost and where it would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// Hosts that could run it now.
    pub hosts: u32,
    /// Their cores.
    pub cores: u32,
    /// The price it would run at.
    pub price: Price,
    /// What would be held: the most it can cost.
    pub hold: MicroCredits,
    /// What the account has.
    pub available: MicroCredits,
    /// Whether enough of these hosts are independent to agree on its results.
    pub can_agree: bool,
    /// Hosts that cannot run it, and why.
    pub obstacles: Vec<ReasonView>,
    /// How its results would be made sure of, and what that costs.
    pub assured: Assured,
}

/// How a job's results are made sure of, by the hosts that could run it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Assured {
    /// Executions for 100 results, about, by what these hosts have shown.
    pub now: u32,
    /// The same once each of them has given 1,000 right ones.
    pub later: u32,
    /// In words.
    pub why: String,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Index in its job.
    pub task: u32,
    /// Where it stands.
    pub state: TaskState,
    /// How the program ended.
    pub exit: Option<Exit>,
    /// Why it was given up.
    pub why: Option<String>,
    /// Fuel used.
    pub fuel: Fuel,
    /// The host whose result was accepted.
    pub host: Option<HostId>,
    /// The output object.
    pub output: Option<Guid>,
}

/// Tasks that stand alike, as ranges in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskRanges {
    /// The ranges; neighbours are merged.
    pub ranges: Vec<TaskRange>,
    /// The task from which on the next page goes on; nothing on the last one.
    pub next: Option<u32>,
}

/// The complex at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComplexStatus {
    /// Its key.
    pub key: PublicKey,
    /// Version of the server.
    pub version: String,
    /// How long it has been up.
    pub up: Span,
    /// Hosts by state: working, idle, asleep, quiet, lost, barred.
    pub hosts: HostCounts,
    /// Cores offered now.
    pub cores: u32,
    /// Jobs that are not over.
    pub jobs: u32,
    /// Tasks not accepted yet.
    pub tasks_open: u64,
    /// Transfers in the ledger.
    pub transfers: u64,
    /// The ledger's last hash.
    pub ledger_head: Guid,
    /// Sum of all balances: always 0.
    pub ledger_sum: i128,
    /// Why the ledger in the database is not the one that was written, once that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_wrong: Option<String>,
    /// The posted price.
    pub price: Price,
    /// The engine that hosts must have: results of others do not compare.
    pub engine: Option<String>,
}

/// Hosts by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostCounts {
    /// With tasks.
    pub working: u32,
    /// Connected, without tasks.
    pub idle: u32,
    /// Will poll.
    pub asleep: u32,
    /// Their owners want quiet.
    pub quiet: u32,
    /// Vanished with tasks.
    pub lost: u32,
    /// Caught cheating.
    pub barred: u32,
}

/// Who holds the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhoAmI {
    /// The account.
    pub account: AccountView,
    /// What the token allows.
    pub rights: Vec<String>,
    /// When it expires.
    pub expires: Option<Time>,
}

/// A request for a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// Account that hosts earn for and jobs are paid from; made if there is none of this name.
    pub account: String,
    /// Rights: `join`, `submit`, `read`.
    pub rights: Vec<String>,
    /// For how long.
    pub valid: Span,
}

/// A ticket as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TicketReply {
    /// The string to copy.
    pub ticket: String,
    /// Its account.
    pub account: AccountId,
    /// When it expires.
    pub expires: Time,
}

/// A request to submit a job; the program and inputs have been uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// What is asked for.
    pub spec: JobSpec,
    /// Chosen by the caller: the same key gives the same job, however often it is sent.
    pub key: Option<String>,
    /// The most that the job pays for a gigafuel; if not said, where a market makes the price,
    /// twice the price of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid: Option<Price>,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A word for programs, such as `not_found`, `refused` or `busy`.
    pub code: ProblemCode,
    /// A sentence for people, with the number and the remedy.
    pub message: String,
    /// The time after which to come back, where waiting helps; also said by `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// Kinds of problem; each has an HTTP status and an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request makes no sense.
    Usage,
    /// There is no such thing.
    NotFound,
    /// Policy, quota, price or balance forbids it.
    Refused,
    /// The token is missing or does not allow it.
    Unauthorised,
    /// Temporary, and nothing was begun: try again.
    Busy,
    /// The caller takes too much at a time, and nothing was begun: try again later, less often.
    Limited,
    /// It may have been done, or not: look before it is asked for again.
    Unsure,
    /// The bytes do not fit their name or signature.
    Verification,
    /// The server has a fault.
    Internal,
}

impl ProblemCode {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Usage => 400,
            Self::NotFound => 404,
            Self::Refused => 409,
            Self::Unauthorised => 403,
            Self::Busy => 503,
            Self::Limited => 429,
            Self::Unsure => 504,
            Self::Verification => 422,
            Self::Internal => 500,
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::NotFound => 4,
            Self::Refused => 6,
            Self::Unauthorised => 7,
            Self::Busy | Self::Limited => 5,
            Self::Verification => 12,
            Self::Unsure | Self::Internal => 1,
        }
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), after: None }
    }

    /// The same, with a time after which to come back.
    #[must_use]
    pub fn after(self, span: Span) -> Self {
        Self { after: Some(span), ..self }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// One entry of `/v1/jobs/{id}/results`: the answer is a sequence of `codec` frames of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultEntry {
    /// What was accepted, or why there is no result.
    pub accepted: crate::record::Accepted,
    /// The bytes of the output object, if it was asked for and there is one.
    pub output: Option<Vec<u8>>,
}

/// The longest frame of a result stream: the largest output, with some room around it.
pub const RESULT_FRAME_BYTES_MAX: usize = (crate::limits::OUTPUT_BYTES_MAX.0 as usize) * 2 + 65_536;

/// The media type of a result stream.
pub const RESULT_STREAM_TYPE: &str = "application/x-isos-results";

/// The name of the last event of a stream that ends because its reader has no right to it any more;
/// its data is a [`Problem`].
pub const PROBLEM_EVENT: &str = "problem";
