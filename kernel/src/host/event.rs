//! What the host machine tells people: one line of a log each. Nothing decides by them.

use std::fmt;

use isos_base::guid::Guid;
use isos_base::price::Price;
use isos_base::task::Fault;
use isos_base::time::Time;
use isos_base::units::Bytes;
use isos_base::wire::Refusal;
use isos_base::{AccountId, JobId, LeaseId};

/// Something worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// The complex knows us.
    Welcomed {
        /// The account that earns.
        account: AccountId,
    },
    /// The session is lost; work at hand goes on.
    Lost {
        /// Why.
        why: String,
        /// When the next attempt is due.
        retry_at: Time,
    },
    /// There is no work.
    Sleeping {
        /// When we ask again.
        until: Time,
    },
    /// The complex will not have us; we stop trying.
    Refused(Refusal),
    /// A lease was not taken, or only in part.
    TurnedDown {
        /// The lease.
        lease: LeaseId,
        /// Of this job.
        job: JobId,
        /// Why.
        why: TurnDown,
    },
    /// The owner wants quiet: all work stands still.
    Suspended,
    /// Work goes on.
    Resumed,
    /// Tasks were given back before they were done.
    GaveBack {
        /// How many.
        tasks: u32,
        /// Why.
        why: &'static str,
    },
    /// The deadline of a lease passed with work undone.
    LeaseExpired {
        /// The lease.
        lease: LeaseId,
        /// Undone tasks.
        tasks: u32,
    },
    /// The complex took leases back.
    Revoked {
        /// Tasks dropped.
        tasks: u32,
    },
    /// A job cannot run here.
    JobFailed {
        /// The job.
        job: JobId,
        /// Why.
        fault: Fault,
    },
    /// A chamber died.
    ChamberDied {
        /// Its job.
        job: JobId,
        /// Why.
        why: String,
        /// The task that is to blame, if one can be told.
        blamed: Option<u32>,
    },
    /// Something came that makes no sense here, and nothing was done about it.
    Ignored(String),
}

/// Why a lease, or a part of it, is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnDown {
    /// The owner wants quiet.
    Quiet,
    /// The complex never told what the job is.
    UnknownJob,
    /// The owner's policy does not allow this program.
    Program(Guid),
    /// It pays too little.
    Price {
        /// What the owner asks for.
        asked: Price,
        /// What the job pays.
        paid: Price,
    },
    /// A task needs more memory than is offered.
    Memory {
        /// By one task.
        needed: Bytes,
        /// By the owner.
        offered: Bytes,
    },
    /// The job needs more disk than is offered.
    Disk {
        /// By program, inputs and one output.
        needed: Bytes,
        /// By the owner.
        offered: Bytes,
    },
    /// The job could not be prepared before.
    Barred {
        /// It is tried again after this.
        until: Time,
    },
    /// The deadline has passed.
    TooLate,
    /// There is enough to do.
    Full,
    /// Some of its tasks are held under another lease.
    HeldAlready,
    /// It names tasks that the job does not have.
    BeyondCount {
        /// Tasks of the job.
        count: u32,
    },
    /// The lease is held already. Nothing is given back: that would end the older one.
    Duplicate,
    /// Its ranges are empty, overlap, or are more than a lease may hold. Nothing is given back.
    Malformed,
    /// There are so many leases that not even the answer is kept. Nothing is given back.
    Swamped,
}

impl fmt::Display for HostEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcomed { account } => write!(f, "connected; account {account} earns"),
            Self::Lost { why, retry_at } => write!(f, "session lost: {why}; again at {retry_at}"),
            Self::Sleeping { until } => write!(f, "no work; asking again at {until}"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::TurnedDown { lease, job, why } => {
                write!(f, "lease {lease} of job {job} turned down: {why}")
            }
            Self::Suspended => f.write_str("suspended: the owner wants quiet"),
            Self::Resumed => f.write_str("resumed"),
            Self::GaveBack { tasks, why } => write!(f, "gave {tasks} tasks back: {why}"),
            Self::LeaseExpired { lease, tasks } => {
                write!(f, "the deadline of lease {lease} passed with {tasks} tasks undone")
            }
            Self::Revoked { tasks } => write!(f, "the complex took {tasks} tasks back"),
            Self::JobFailed { job, fault } => write!(f, "job {job} cannot run here: {fault}"),
            Self::ChamberDied { job, why, blamed: Some(task) } => {
                write!(f, "the sandbox died of task {job}@{task}: {why}")
            }
            Self::ChamberDied { job, why, blamed: None } => {
                write!(f, "the sandbox of job {job} died: {why}")
            }
            Self::Ignored(what) => write!(f, "ignored: {what}"),
        }
    }
}

impl fmt::Display for TurnDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quiet => f.write_str("the owner wants quiet"),
            Self::UnknownJob => f.write_str("the complex did not say what the job is"),
            Self::Program(guid) => write!(f, "the owner does not allow program {guid}"),
            Self::Price { asked, paid } => write!(
                f,
                "it pays {} micro-credits per gigafuel, the owner asks for {}",
                paid.0, asked.0
            ),
            Self::Memory { needed, offered } => {
                write!(f, "a task needs {needed} of memory, offered are {offered}")
            }
            Self::Disk { needed, offered } => {
                write!(f, "it needs {needed} of disk, offered are {offered}")
            }
            Self::Barred { until } => write!(f, "it could not be prepared; again after {until}"),
            Self::TooLate => f.write_str("its deadline has passed"),
            Self::Full => f.write_str("there is enough to do"),
            Self::HeldAlready => f.write_str("some of its tasks are held under another lease"),
            Self::BeyondCount { count } => write!(f, "the job has only {count} tasks"),
            Self::Duplicate => f.write_str("the lease is held already"),
            Self::Malformed => f.write_str("its ranges are empty, overlap or are too many"),
            Self::Swamped => f.write_str("too many leases"),
        }
    }
}
