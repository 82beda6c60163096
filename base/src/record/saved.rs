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
    /// Where it went on, if that was not the task's start.
    #[serde(default)]
    pub resumed: Option<Resumed>,
}

/// What a run of a task went on with: the checkpoint of a run before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Under which lease that was.
    pub lease: LeaseId,
    /// How many segments are before it.
    pub segments: u32,
    /// Fuel used up to there, as the host before has told it.
    pub fuel: Fuel,
}

/// A part of a task that a host runs to settle which of two others is wrong, or to check another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Referee {
    /// The segment whose root is looked at, from 0: the first in which they differ, or the last of
    /// what is checked; or [`Referee::TO_END`].
    pub segment: u32,
    /// Fuel that was used where it begins: what came before is not its work.
    pub fuel: Fuel,
    /// The lease of the whole run in question; if that is another by the time it answers, what it
    /// found says nothing about that one. Those of earlier versions do not say.
    #[serde(default)]
    pub of: Option<LeaseId>,
}

impl Referee {
    /// In place of a segment: what is looked at is the result.
    pub const TO_END: u32 = u32::MAX;

    /// Whether another is the same piece of work, of whichever run.
    #[must_use]
    pub fn is_same_part(&self, other: &Self) -> bool {
        (self.segment, self.fuel) == (other.segment, other.fuel)
    }
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
