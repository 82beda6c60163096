//! `isos/host/1`: what an agent and the complex say to each other; `isos/object/1`: bytes by GUID.
//!
//! The agent opens the connection and one stream; both sides then send frames. Work is batched:
//! a grant is a range of tasks, a report holds all results since the last one.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Resume, Saved};
use crate::descriptor::{Descriptor, Introduction};
use crate::fragment::{Proof, ProofAsked};
use crate::guid::Guid;
use crate::host::{HostSpec, Offer};
use crate::ids::{AccountId, JobId, LeaseId};
use crate::job::JobSpec;
use crate::peers::{Peers, Reach};
use crate::price::Price;
use crate::ranges::TaskRange;
use crate::storage::{LeaseNews, MendOrder, MendReport, ShelfReport};
use crate::task::{Fault, TaskResult};
use crate::ticket::ServerAddr;
use crate::time::{Span, Time};
use crate::trace::HostTrace;
use crate::units::MicroCredits;

/// The protocol between agents and the complex.
pub const HOST_ALPN: &[u8] = b"isos/host/1";
/// The protocol that moves objects.
pub const OBJECT_ALPN: &[u8] = b"isos/object/1";
/// The HTTP API over an authenticated QUIC stream.
pub const API_ALPN: &[u8] = b"isos/api/1";

/// From an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToComplex {
    /// First frame of a session.
    Hello(Box<Hello>),
    /// The policy allows something else now.
    Offer(Offer),
    /// What became of granted tasks, and how much work is still at hand.
    Report(Report),
    /// The agent stops; unreported tasks of its leases come back.
    Goodbye,
    /// How the execution of a traced task went; its report follows. Nothing is decided by it.
    Traced(HostTrace),
    /// How far a task has come that saves its state. What names a root is told before the report of
    /// the task's result.
    Saved(Box<Saved>),
    /// What the host keeps for others, and how far it has heard of that: with the first of these it
    /// becomes a keeper. It must not be sent to a complex of an earlier version.
    Shelf(Box<ShelfReport>),
    /// What the host has of a fragment that it was asked to prove.
    Proved(Box<Proof>),
    /// What came of [`ToHost::Mend`].
    Mended(MendReport),
    /// How others reach this host, and what it is like, under its signature: answered by
    /// [`ToHost::Introduced`]. Nothing is decided by it.
    Described(Box<Descriptor>),
    /// A program that addresses its peers is ready, and where they can call: told in each session.
    Reach(Box<Reach>),
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the host is.
    pub spec: HostSpec,
    /// What it offers now.
    pub offer: Offer,
    /// The ticket's token: needed the first time, to link the host to an account.
    pub token: Option<Vec<u8>>,
    /// Leases that this agent still works on. All others of this host are lost.
    pub holding: Vec<LeaseId>,
    /// How much work is at hand.
    pub room: Room,
}

/// How much work a host has at hand, so that the complex can keep it busy but not swamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Cores without work.
    pub cores_idle: u16,
    /// Tasks queued or running.
    pub tasks: u32,
    /// Time in which they will be done, as far as the host can tell from earlier ones.
    pub backlog: Span,
    /// The last lease that the host had heard of when it counted: what was granted later comes on
    /// top.
    pub seen: LeaseId,
}

impl Default for Room {
    /// No work, whatever was granted.
    fn default() -> Self {
        let (cores_idle, tasks, backlog) = (0, 0, Span::ZERO);
        Self { cores_idle, tasks, backlog, seen: LeaseId(u64::MAX) }
    }
}

/// A batch of news about leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Counts up by one in a session; [`ToComplex`] is acknowledged by it.
    pub seq: u64,
    /// News by lease.
    pub leases: Vec<LeaseReport>,
    /// Work at hand after this report.
    pub room: Room,
}

/// News about one lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// Which.
    pub lease: LeaseId,
    /// Finished tasks.
    pub results: Vec<TaskResult>,
    /// Tasks that failed here through no fault of the program.
    pub faults: Vec<(u32, Fault)>,
    /// Tasks given back unstarted.
    pub returned: Vec<TaskRange>,
    /// Time that the reported tasks took, summed over them: what the next batch is sized by.
    pub busy: Span,
}

/// To an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// The host is known and may work.
    Welcome {
        /// The complex's clock.
        now: Time,
        /// The account that earns.
        account: AccountId,
    },
    /// The host may not work, and what to do about it. The connection ends.
    Refused(Refusal),
    /// A job that a grant will name; sent once a session.
    Job(Box<JobOffer>),
    /// Work.
    Grant(Vec<Grant>),
    /// Reports up to this one are kept for ever; the agent may forget them.
    Ack {
        /// The last of them.
        seq: u64,
        /// What this session has earned so far (held until verified).
        earned: MicroCredits,
    },
    /// Stop these leases; what they did is not wanted any more.
    Revoke(Vec<LeaseId>),
    /// There is no work: close, and come back after this time.
    Sleep(Span),
    /// The servers of the complex, in the order in which to try them from now on; at most
    /// [`limits::SERVERS_MAX`](crate::limits::SERVERS_MAX).
    Servers(Vec<ServerAddr>),
    /// Which parts of tasks are to be run that the next grants name; of the others the whole.
    Resume(Vec<Resume>),
    /// What became of storage leases on this host's disk since the last word that it told of, the
    /// oldest first; at most [`STORAGE_NEWS_MAX`](crate::storage::STORAGE_NEWS_MAX). Once it has
    /// taken them in it says so by another [`ToComplex::Shelf`], and hears the rest.
    Storage(Vec<LeaseNews>),
    /// Prove that you have this. Only keepers are asked.
    Prove(ProofAsked),
    /// Make anew what hosts that are gone have had of what is kept here. Only keepers are told.
    Mend(Box<MendOrder>),
    /// By what others take this host in, and some of them: to a host that has described itself.
    Introduced(Box<Introduction>),
    /// Who the peers of a program are that runs here: with the first of these it begins.
    Peers(Box<Peers>),
}

/// Why an agent is turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The host has never shown a token.
    NoTicket,
    /// The token is not one of this complex, or has expired, or does not allow it.
    BadTicket(String),
    /// The host was caught cheating.
    Barred(String),
    /// The agent or its engine is not good enough.
    Unfit(String),
    /// Too many hosts now; come back after this time.
    Busy(Span),
    /// Another server leads; which one was said by [`ToHost::Servers`].
    Elsewhere,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoTicket => f.write_str("this host is not known: run `isos join TICKET`"),
            Self::BadTicket(why) => write!(f, "the ticket is not good: {why}"),
            Self::Barred(why) => write!(f, "this host is barred: {why}"),
            Self::Unfit(why) => write!(f, "this agent cannot take part: {why}"),
            Self::Busy(after) => write!(f, "the complex is busy, come back in {}", after.rounded()),
            Self::Elsewhere => f.write_str("another server leads the complex now"),
        }
    }
}

/// A job as a host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOffer {
    /// Its number.
    pub job: JobId,
    /// What to run.
    pub spec: JobSpec,
    /// What it pays.
    pub price: Price,
    /// The buyer's account, for policies that name publishers.
    pub buyer: AccountId,
}

/// A lease of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its number.
    pub lease: LeaseId,
    /// Of which job.
    pub job: JobId,
    /// Which tasks.
    pub ranges: Vec<TaskRange>,
    /// When unreported tasks are given to others.
    pub deadline: Time,
}

/// A request on an `isos/object/1` stream; a `Put` is followed by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectRequest {
    /// Send me this object.
    Get(Guid),
    /// Keep this object for the named lease; bytes follow.
    Put {
        /// Its name.
        guid: Guid,
        /// Its length in bytes.
        size: u64,
    },
}

/// The answer; a `Found` is followed by the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectAnswer {
    /// So many bytes follow.
    Found(u64),
    /// It is not here.
    Missing,
    /// Kept, on disk.
    Kept,
    /// Not taken, and why.
    Refused(String),
}

#[cfg(test)]
mod tests;
