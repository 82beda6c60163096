//! What an agent and its sandbox child say to each other over the child's standard streams.
//!
//! Frames of `isos_base::codec`, batches inside. The child may have been taken over by the program
//! it runs, so the agent bounds each frame and believes nothing but its shape.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use isos_base::checkpoint::{SEGMENTS_MAX, object_bytes_max};
use isos_base::codec::{self, FRAME_HEAD_BYTES};
use isos_base::job::{JobSpec, Mount};
use isos_base::limits;
use isos_base::peers::{Answer, Ask, PEERS_FRAME_BYTES_MAX};
use isos_base::task::Execution;
use isos_base::{Bytes, Fuel, Guid, JobId, Span};
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
    /// The task's own file, which no other task sees.
    pub file: Option<Mount>,
    /// Which part of it.
    pub part: Part,
}

/// A part of a task that saves its state; the whole of it by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// The checkpoint to go on from, which lies beside the tasks' own files. One that is not there
    /// or not of this task is not used.
    pub from: Option<(Guid, Bytes)>,
    /// The task ends when so many segments have roots; it leaves nothing then.
    pub until: Option<u32>,
    /// The roots up to the checkpoint, if they are known: one that says otherwise is not used.
    pub chain: Option<Guid>,
}

/// How far a task has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The task.
    pub task: u32,
    /// Fuel used at the end of the last segment.
    pub fuel: Fuel,
    /// Roots of all segments from the task's start.
    pub roots: Vec<Guid>,
    /// The object that the last of them names; not always said.
    pub checkpoint: Option<Vec<u8>>,
}

/// All that the tasks of a job share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The job's number, for messages.
    pub job: JobId,
    /// The job.
    pub spec: JobSpec,
    /// The folder that holds the shared files of `/in`, under the paths of the job. Nothing else
    /// in it is seen by the program, and nothing in it is written.
    pub input_dir: PathBuf,
    /// The folder that holds the files of orders, which may be added later, each under its GUID:
    /// those of different tasks may have one path, and none may be taken for another.
    pub own_dir: Option<PathBuf>,
    /// Tasks at once, at least 1.
    pub threads: u16,
    /// Run only when the machine has nothing else to do.
    pub idle: bool,
    /// How often the checkpoints of a task are given out, the newest each time.
    pub save_every: Span,
}

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// The first frame, once.
    Start(Box<Start>),
    /// Tasks.
    Orders(Vec<Order>),
    /// What a task asked of its peers is answered.
    Answer {
        /// The task.
        task: u32,
        /// The answer.
        answer: Answer,
    },
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
    /// Ready for orders.
    Ready {
        /// Behind these walls.
        walls: Vec<Wall>,
        /// The program addresses its peers.
        speaks: bool,
    },
    /// The compiled code is not for this machine or engine.
    Stale(String),
    /// It cannot start.
    Failed(String),
    /// Results.
    Finished(Vec<Execution>),
    /// How far a task has come; its result is still to come.
    Saved(Saved),
    /// The program cannot run in such a job, on any host.
    Unfit(String),
    /// A task addresses its peers, and waits for the answer.
    Asked {
        /// The task.
        task: u32,
        /// What it asks.
        ask: Ask,
    },
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
    let result = spec.output_max.as_usize().saturating_add(paths + 2 * BATCH_BYTES);
    let roots = SEGMENTS_MAX as usize * 32;
    result.max(PEERS_FRAME_BYTES_MAX).max(object_bytes_max().as_usize() + roots + BATCH_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;
    use isos_base::random::Random;
    use isos_base::task::{Exit, Output};

    /// What a pipe may carry, whatever wrote it: it is read without a panic, within its limit.
    fn read_all<M: DeserializeOwned + Serialize>(mut bytes: &[u8], max: usize) {
        while let Ok(Some(message)) = read_frame::<M>(&mut bytes, max) {
            let mut again = Vec::new();
            write_frame(&mut again, &message).expect("memory takes everything");
            let read = read_frame::<M>(&mut again.as_slice(), usize::MAX).expect("it was written");
            let mut twice = Vec::new();
            write_frame(&mut twice, &read.expect("a frame")).expect("memory takes everything");
            assert_eq!(again, twice, "what was understood means the same when it is read again");
        }
    }

    fn frames<M: Serialize>(messages: &[M]) -> Vec<u8> {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| codec::put_frame(message, &mut bytes));
        bytes
    }

    #[test]
    fn odd_bytes_in_a_pipe_are_errors_and_never_panics() {
        const MAX: usize = 1 << 16;
        let spec = JobSpec::new(Guid::of(b"program"), Bytes(7), 3);
        let setup = Setup {
            job: JobId(1),
            spec,
            input_dir: "/in".into(),
            own_dir: None,
            threads: 1,
            idle: true,
            save_every: Span::secs(1),
        };
        let start = Start { code: "/code".into(), component: false, setup, agent: 7 };
        let chain = Some(Guid::of(b"chain"));
        let part = Part { from: Some((Guid::of(b"saved"), Bytes(9))), until: Some(3), chain };
        let own = Mount { path: "x".into(), guid: Guid::of(b"x"), size: Bytes(1) };
        let orders = vec![
            Order { task: 1, file: Some(own), part: Part::default() },
            Order { task: 2, file: None, part },
        ];
        let answer = Answer::Received(Some((2, b"hello".to_vec())));
        let to_child = frames(&[
            ToChild::Start(Box::new(start)),
            ToChild::Orders(orders),
            ToChild::Answer { task: 1, answer },
        ]);
        let execution = Execution {
            task: 1,
            end: Ok(Exit::Code(0)),
            fuel: Fuel(9),
            wall: Span(5),
            marks: None,
            output: Output { stdout: b"hello".to_vec(), ..Output::default() },
        };
        let saved = Saved {
            task: 1,
            fuel: Fuel(9),
            roots: vec![Guid::of(b"saved")],
            checkpoint: Some(b"saved".to_vec()),
        };
        let walls = vec![Wall { name: "landlock".into(), missing: Some("no".into()) }];
        let from_child = frames(&[
            FromChild::Ready { walls, speaks: true },
            FromChild::Unfit("why".into()),
            FromChild::Asked { task: 1, ask: Ask::Send { to: 2, message: b"hello".to_vec() } },
            FromChild::Stale("why".into()),
            FromChild::Failed("why".into()),
            FromChild::Finished(vec![execution]),
            FromChild::Saved(saved),
        ]);
        let mut random = Random::new(1);
        for good in [to_child, from_child] {
            for round in 0..20_000 {
                let mut bytes = good.clone();
                for _ in 0..round % 8 {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] = random.below(256) as u8;
                }
                bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
                read_all::<ToChild>(&bytes, MAX);
                read_all::<FromChild>(&bytes, MAX);
            }
        }
    }

    #[test]
    fn a_frame_that_promises_too_much_is_refused_before_it_is_read() {
        let mut endless = [0xff; 64].as_slice();
        assert!(read_frame::<FromChild>(&mut endless, 1 << 10).is_err());
    }
}
