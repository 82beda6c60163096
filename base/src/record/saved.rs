//! How far the run of a task has come: what lets it go on elsewhere.

use serde::{Deserialize, Serialize};

use crate::guid::Guid;
use crate::ids::{HostId, JobId, LeaseId};
use crate::units::{Bytes, Fuel};

/// How far the run of a task under a lease has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRecord {
    /// Under which lease it runs or ran.
    pub lease: LeaseId,
    /// Index of the task.
    pub task: u32,
    /// Of which job.
    pub job: JobId,
    /// On which host.
    pub host: HostId,
    /// Fuel used at the end of the last segment.
    pub fuel: Fuel,
    /// Roots of all segments, whoever ran them; none once it is of no use any more.
    pub roots: Vec<Guid>,
    /// Checkpoints that were handed over, oldest first.
    pub kept: Vec<KeptCheckpoint>,
    /// What this host is to settle, if others disagree about the task.
    pub referee: Option<Referee>,
}

/// A part of a task that a third host runs to settle which of two others is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referee {
    /// The first segment in which they differ, from 0.
    pub segment: u32,
    /// Fuel that was used where it begins: what came before is not its work.
    pub fuel: Fuel,
}

/// A checkpoint that was handed over: the object that the root of a segment names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCheckpoint {
    /// How many segments are before it: its root is the last of so many.
    pub segments: u32,
    /// Its size.
    pub size: Bytes,
    /// Fuel used up to there.
    pub fuel: Fuel,
}
