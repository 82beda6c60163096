//! One task's life, step by step: what the server decided and kept, what the host fetched and
//! waited for, what the sandbox ran, and the way between them, on one line of time.
//!
//! Each part measures with its own clock. A host says how long after the grant's arrival each step
//! began, and how long it has held the grant when it says so; the server knows when it sent the
//! grant and when the answer came. What is left between them is the way there and back, halved
//! (Cristian 1989): the ways may differ, the sum is right.

use serde::{Deserialize, Serialize};

use crate::ids::{HostId, JobId, LeaseId};
use crate::time::{Span, Time};

/// Steps of one execution that a host may tell; the rest is not taken.
pub const HOST_STEPS_MAX: usize = 24;

/// A step in the life of a task. Time in which an owner's return froze the host is in the step that
/// it interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// From the submission until a host has room for it, or until another execution is needed.
    Waits,
    /// The grant is written down before it is sent.
    KeepGrant,
    /// The grant is on its way to the host.
    WayThere,
    /// In the host's queue. Time in a sandbox that died is in it too: the task was queued again.
    Queue,
    /// Program and inputs are fetched, and linked for the sandbox.
    Fetch,
    /// The program is compiled, or found compiled.
    Compile,
    /// The sandbox's process starts behind its walls.
    Open,
    /// In the pipe to the sandbox, and behind other tasks in it.
    Pipe,
    /// A fresh instance of the program is made.
    Instantiate,
    /// The program runs.
    Run,
    /// Output is collected.
    Collect,
    /// In the pipe from the sandbox.
    PipeBack,
    /// Output is hashed, and handed over if it is large.
    HandOver,
    /// The result waits for the report that it leaves with.
    Report,
    /// At the host, which has not told its steps.
    Host,
    /// The report is on its way to the server.
    WayBack,
    /// The server takes the report in and compares.
    Decide,
    /// Other executions must agree first.
    Agree,
    /// The accepted result is written down; then it counts, and is paid for.
    KeepResult,
}

/// Where a step takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At the server.
    Server,
    /// Between server and host.
    Network,
    /// In the host's agent.
    Agent,
    /// In the child process that runs the program.
    Sandbox,
}

impl Step {
    /// Where it takes place.
    #[must_use]
    pub const fn place(self) -> Place {
        match self {
            Self::Waits | Self::KeepGrant | Self::Decide | Self::Agree | Self::KeepResult => {
                Place::Server
            }
            Self::WayThere | Self::WayBack => Place::Network,
            Self::Queue
            | Self::Fetch
            | Self::Compile
            | Self::Open
            | Self::Pipe
            | Self::PipeBack
            | Self::HandOver
            | Self::Report
            | Self::Host => Place::Agent,
            Self::Instantiate | Self::Run | Self::Collect => Place::Sandbox,
        }
    }

    /// What happens in it, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Waits => "wait for a host",
            Self::KeepGrant => "keep the grant",
            Self::WayThere => "way to the host",
            Self::Queue => "host's queue",
            Self::Fetch => "fetch program and inputs",
            Self::Compile => "compile",
            Self::Open => "open the sandbox",
            Self::Pipe => "pipe to the sandbox",
            Self::Instantiate => "make an instance",
            Self::Run => "run",
            Self::Collect => "collect output",
            Self::PipeBack => "pipe back",
            Self::HandOver => "hash, hand over",
            Self::Report => "wait for the report",
            Self::Host => "at the host",
            Self::WayBack => "way to the server",
            Self::Decide => "take in, compare",
            Self::Agree => "wait for others' results",
            Self::KeepResult => "keep the result",
        }
    }
}

impl Place {
    /// Its name, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Network => "network",
            Self::Agent => "agent",
            Self::Sandbox => "sandbox",
        }
    }
}

/// A step on a host, counted from the arrival of the grant there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStep {
    /// Which.
    pub step: Step,
    /// When it began.
    pub from: Span,
    /// How long it took.
    pub length: Span,
}

/// What a host tells of one execution, just before the report that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTrace {
    /// Under which lease.
    pub lease: LeaseId,
    /// The task.
    pub task: u32,
    /// In the order of their beginnings; at most [`HOST_STEPS_MAX`].
    pub steps: Vec<HostStep>,
    /// From the arrival of the grant until this was sent.
    pub held: Span,
}

/// When the sandbox's process did what with one task, by the machine's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Time since the machine's start when it was taken up.
    pub taken: Span,
    /// Until its instance was ready.
    pub ready: Span,
    /// Until the program had ended.
    pub ran: Span,
    /// Until its output was collected.
    pub collected: Span,
}

/// A step, on the line of time of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TraceStep {
    /// Which.
    pub step: Step,
    /// Where it took place.
    pub place: Place,
    /// Time from the submission of the job to its beginning.
    pub from: Span,
    /// How long it took; nothing while it goes on.
    pub length: Option<Span>,
}

/// How one execution of a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TryEnd {
    /// There is no word of it yet.
    Open,
    /// The host gave a result.
    Result,
    /// It failed there, through no fault of the program.
    Fault(String),
    /// The host gave it back unstarted.
    Returned,
    /// The lease ended without a word.
    Lost,
}

/// One execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TraceTry {
    /// On which host.
    pub host: HostId,
    /// Under which lease.
    pub lease: LeaseId,
    /// How it ended.
    pub end: TryEnd,
    /// Its steps, in the order of their beginnings. What took place on the host is as the host
    /// tells it.
    pub steps: Vec<TraceStep>,
}

/// The life of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskTrace {
    /// Its job.
    pub job: JobId,
    /// Its index.
    pub task: u32,
    /// When the job was submitted: where the line of time begins.
    pub submitted: Time,
    /// Time from then until its result, or the word that there is none, was kept; nothing while it
    /// is open.
    pub total: Option<Span>,
    /// Its executions, in the order of their grants.
    pub tries: Vec<TraceTry>,
    /// Steps at the server that belong to the task and no execution.
    pub steps: Vec<TraceStep>,
}
