//! What an agent and its sandbox child say to each other over the child's standard streams.
//!
//! Frames of `isos_base::codec`, batches inside. The child may have been taken over by the program
//! it runs, so the agent bounds each frame and believes nothing but its shape.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use isos_base::JobId;
use isos_base::codec::{self, FRAME_HEAD_BYTES};
use isos_base::job::JobSpec;
use isos_base::limits;
use isos_base::task::Execution;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A frame to the child: the job with its texts, or a batch of orders.
pub(crate) const TO_CHILD_MAX: usize = 16 << 20;
/// A batch of executions is sent when it has grown to this; one execution can be larger.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Executions of a batch.
pub(crate) const BATCH_MAX: usize = 4_096;

/// A task to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Index of the task in its job.
    pub task: u32,
    /// The task's own file, as a path under `/in`: what `{file}` stands for.
    pub file: Option<String>,
}

/// All that the tasks of a job share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The job's number, for messages.
    pub job: JobId,
    /// The job.
    pub spec: JobSpec,
    /// The folder that holds the files of `/in`, under the paths of the job. Nothing else in it is
    /// seen by the program, and nothing in it is written. Files of orders may be added later.
    pub input_dir: PathBuf,
    /// Tasks at once, at least 1.
    pub threads: u16,
    /// Run only when the machine has nothing else to do.
    pub idle: bool,
}

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// The first frame, once.
    Start(Box<Start>),
    /// Tasks.
    Orders(Vec<Order>),
}

/// What the child needs before it walls itself in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Compiled code that this agent made and checked.
    pub(crate) code: PathBuf,
    pub(crate) component: bool,
    pub(crate) setup: Setup,
    /// The agent, whose death is the child's.
    pub(crate) agent: u32,
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromChild {
    /// Ready for orders, behind these walls.
    Ready(Vec<Wall>),
    /// The compiled code is not for this machine or engine.
    Stale(String),
    /// It cannot start.
    Failed(String),
    /// Results.
    Finished(Vec<Execution>),
}

/// One protection around a running program, and whether it stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wall {
    /// Its name: `landlock`, `seccomp`, ...
    pub name: String,
    /// Nothing when it stands, else why not.
    pub missing: Option<String>,
}

/// The largest frame that an honest child sends for this job.
pub(crate) fn from_child_max(spec: &JobSpec) -> usize {
    let paths = limits::OUTPUT_FILES_MAX * (1_024 + 16);
    spec.output_max.as_usize().saturating_add(paths + 2 * BATCH_BYTES)
}

/// Reads one frame. `None` at the end of the stream.
pub(crate) fn read_frame<M: DeserializeOwned>(
    source: &mut impl Read,
    max: usize,
) -> io::Result<Option<M>> {
    let mut head = [0; FRAME_HEAD_BYTES];
    match source.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = codec::frame_length(head, max).map_err(io::Error::other)?;
    let mut body = vec![0; length];
    source.read_exact(&mut body)?;
    codec::decode(&body).map(Some).map_err(io::Error::other)
}

/// Writes one frame.
pub(crate) fn write_frame<M: Serialize>(sink: &mut impl Write, message: &M) -> io::Result<()> {
    let mut buffer = Vec::new();
    codec::put_frame(message, &mut buffer);
    sink.write_all(&buffer)?;
    sink.flush()
}
