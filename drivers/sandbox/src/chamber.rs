//! A chamber: one child process that runs the tasks of one job, seen from the agent.
//!
//! The agent trusts nothing that comes out of it: a frame that is too long or makes no sense, and
//! a result that was not asked for, end the child.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isos_base::Guid;
use isos_base::checkpoint::{SEGMENTS_MAX, object_bytes_max};
use isos_base::codec::{self, FRAME_HEAD_BYTES};
use isos_base::job::{JobSpec, is_plain_path};
use isos_base::peers::{Answer, Ask, MESSAGE_BYTES_MAX};
use isos_base::task::Execution;
use rustix::process::{Pid, PidfdFlags, Signal};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;

use crate::SandboxConfig;
use crate::code::{PrepareError, Prepared};
use crate::protocol::{FromChild, Order, Saved, Setup, Start, ToChild, Wall, from_child_max};
use crate::spawn::{self, Listed, Spawner};

/// Batches of orders, and of events, between the agent and a chamber's pipes.
const BATCHES_QUEUED_MAX: usize = 4;
/// Orders of one frame.
const ORDERS_MAX: usize = 4_096;
/// From the start of the child to its first word, on a machine that is busy with other things.
const START_MAX: Duration = Duration::from_secs(60);
/// From the end of a child's output to its own end.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// What is kept of a child's standard error: its last words.
const LAST_WORDS_BYTES: usize = 2_048;

/// Why there is no chamber.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The program is not ready.
    #[error("the program is not ready to run")]
    Prepare(#[from] PrepareError),
    /// The child could not be started or talked to.
    #[error("the sandbox child cannot be started")]
    Spawn(#[from] io::Error),
    /// The kept code does not fit this machine. Tried again with new code before this is said.
    #[error("compiled code does not fit this machine: {why}")]
    Stale {
        /// The engine's words.
        why: String,
    },
    /// The child said that it cannot work, or died before it could.
    #[error("the sandbox child cannot work: {why}")]
    Child {
        /// Its reason, or how it died.
        why: String,
    },
}

/// The chamber has ended; [`Events`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the sandbox child has ended")]
pub struct ChamberGone;

/// What a chamber reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Tasks came to their end, in the order in which they did.
    Finished(Vec<Execution>),
    /// A task that goes on has come so far.
    Saved(Saved),
    /// A task addresses its peers, and waits for [`Chamber::answer`].
    Asked {
        /// The task.
        task: u32,
        /// What it asks.
        ask: Ask,
    },
    /// The child is no more, and why. Its unfinished tasks, in rising order, have no result.
    /// The last event.
    Died {
        /// For the owner: a signal, an exit code, last words.
        reason: String,
        /// Tasks that were ordered and not finished.
        unfinished: Vec<u32>,
    },
}

/// The stream of a chamber's events.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; none after [`Event::Died`]. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// A handle to the running child. Dropping it kills the child.
#[derive(Debug)]
pub struct Chamber {
    orders: mpsc::Sender<Batch>,
    process: Arc<Process>,
    walls: Vec<Wall>,
    speaks: bool,
    /// The thread that started the child must outlive it.
    _spawner: Arc<Spawner>,
}

impl Chamber {
    /// Hands over tasks. Waits when the child has thousands already. A task that is ordered twice
    /// before it ends is run once.
    ///
    /// # Errors
    /// [`ChamberGone`] when the child has ended.
    pub async fn send(&self, orders: Vec<Order>) -> Result<(), ChamberGone> {
        self.orders.send(Batch::Orders(orders)).await.map_err(|_| ChamberGone)
    }

    /// Answers what a task asked by [`Event::Asked`].
    ///
    /// # Errors
    /// [`ChamberGone`] when the child has ended.
    pub async fn answer(&self, task: u32, answer: Answer) -> Result<(), ChamberGone> {
        self.orders.send(Batch::Answer(task, answer)).await.map_err(|_| ChamberGone)
    }

    /// Whether the program addresses the other ranks of its slice.
    #[must_use]
    pub const fn speaks(&self) -> bool {
        self.speaks
    }

    /// Stops all work of this chamber at once, in the kernel. What runs goes on from there at
    /// [`Chamber::resume`]; the time in between is not the tasks'.
    ///
    /// # Errors
    /// [`ChamberGone`] when the child has ended.
    pub fn suspend(&self) -> Result<(), ChamberGone> {
        self.process.signal(Signal::STOP)
    }

    /// Goes on.
    ///
    /// # Errors
    /// [`ChamberGone`] when the child has ended.
    pub fn resume(&self) -> Result<(), ChamberGone> {
        self.process.signal(Signal::CONT)
    }

    /// Ends the child, suspended or not. [`Event::Died`] follows.
    pub fn kill(&self) {
        // It may have died by itself: the same to the caller.
        let _gone = self.process.signal(Signal::KILL);
    }

    /// The walls around the program, and which of them this machine cannot build.
    #[must_use]
    pub fn walls(&self) -> &[Wall] {
        &self.walls
    }

    /// The child's process number, for screens and measurements.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id
    }
}

impl Drop for Chamber {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process by a descriptor, so that its number cannot come to mean another.
#[derive(Debug)]
struct Process {
    id: u32,
    descriptor: OwnedFd,
    _listed: Listed,
}

impl Process {
    fn of(child: &Child, listed: Listed) -> io::Result<Self> {
        let gone = || io::Error::other("the child has ended");
        let id = child.id().ok_or_else(gone)?;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { id, descriptor, _listed: listed })
    }

    fn signal(&self, signal: Signal) -> Result<(), ChamberGone> {
        rustix::process::pidfd_send_signal(&self.descriptor, signal).map_err(|_| ChamberGone)
    }
}

/// Tasks that were ordered and have not been reported.
type Open = Arc<Mutex<Table>>;

#[derive(Debug, Default)]
struct Table {
    open: BTreeSet<u32>,
    /// Those of them that wait for an answer.
    asking: BTreeSet<u32>,
}

/// What goes to the child.
#[derive(Debug)]
enum Batch {
    Orders(Vec<Order>),
    Answer(u32, Answer),
}

/// Starts a child and waits for its first word.
pub(crate) async fn open(
    config: &SandboxConfig,
    spawner: &Arc<Spawner>,
    prepared: &Prepared,
    setup: &Setup,
) -> Result<(Chamber, Events), OpenError> {
    let (mut child, listed) = spawner.spawn(spawn::command(config, spawn::RUN)).await?;
    let process = Arc::new(Process::of(&child, listed)?);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("a child without pipes").into());
    };
    let start = Start {
        code: prepared.code().to_owned(),
        component: prepared.is_component(),
        setup: Setup {
            input_dir: std::path::absolute(&setup.input_dir)?,
            own_dir: setup.own_dir.as_ref().map(std::path::absolute).transpose()?,
            ..setup.clone()
        },
        agent: std::process::id(),
    };
    let mut frame = Vec::new();
    codec::put_frame(&ToChild::Start(Box::new(start)), &mut frame);
    let greet = async {
        stdin.write_all(&frame).await?;
        read_frame(&mut stdout, 64 << 10).await
    };
    let first = tokio::time::timeout(START_MAX, greet).await;
    let (walls, speaks) = match first {
        Ok(Ok(Some(FromChild::Ready { walls, speaks }))) => (walls, speaks),
        Ok(Ok(Some(FromChild::Unfit(reason)))) => {
            let program = prepared.program();
            return Err(PrepareError::BadProgram { program, reason }.into());
        }
        Ok(Ok(Some(FromChild::Stale(why)))) => return Err(OpenError::Stale { why }),
        Ok(Ok(Some(FromChild::Failed(why)))) => return Err(OpenError::Child { why }),
        Ok(Ok(Some(FromChild::Finished(_) | FromChild::Saved(_) | FromChild::Asked { .. }))) => {
            return Err(OpenError::Child { why: "results before the first order".into() });
        }
        Ok(Ok(None) | Err(_)) => {
            let why = last_words(child, stderr, &process, "").await;
            return Err(OpenError::Child { why });
        }
        Err(_) => {
            return Err(OpenError::Child { why: "it did not start in time".into() });
        }
    };
    let open = Open::default();
    let (orders, batches) = mpsc::channel(BATCHES_QUEUED_MAX);
    let (events, received) = mpsc::channel(BATCHES_QUEUED_MAX);
    tokio::spawn(write_orders(stdin, batches, open.clone()));
    let spec = Arc::new(setup.spec.clone());
    tokio::spawn(read_results(child, (stdout, stderr), process.clone(), open, spec, events));
    let chamber = Chamber { orders, process, walls, speaks, _spawner: spawner.clone() };
    Ok((chamber, Events(received)))
}

async fn write_orders(mut stdin: ChildStdin, mut batches: mpsc::Receiver<Batch>, open: Open) {
    let mut frame = Vec::new();
    while let Some(batch) = batches.recv().await {
        for message in messages_of(batch, &open) {
            frame.clear();
            codec::put_frame(&message, &mut frame);
            if stdin.write_all(&frame).await.is_err() {
                // The other task sees the child end and says so.
                return;
            }
        }
    }
}

/// What of a batch is new to the child.
fn messages_of(batch: Batch, open: &Open) -> Vec<ToChild> {
    let mut table = open.lock().unwrap_or_else(PoisonError::into_inner);
    match batch {
        Batch::Orders(orders) => {
            let fresh: Vec<Order> =
                orders.into_iter().filter(|order| table.open.insert(order.task)).collect();
            fresh.chunks(ORDERS_MAX).map(|part| ToChild::Orders(part.to_vec())).collect()
        }
        // Who has ended meanwhile waits for nothing.
        Batch::Answer(task, answer) if table.asking.remove(&task) => {
            vec![ToChild::Answer { task, answer }]
        }
        Batch::Answer(..) => Vec::new(),
    }
}

async fn read_results(
    child: Child,
    (mut stdout, stderr): (ChildStdout, ChildStderr),
    process: Arc<Process>,
    open: Open,
    spec: Arc<JobSpec>,
    events: mpsc::Sender<Event>,
) {
    let max = from_child_max(&spec);
    let ending = loop {
        let batch = match read_frame(&mut stdout, max).await {
            Ok(Some(FromChild::Finished(batch))) => batch,
            Ok(Some(FromChild::Saved(saved))) => {
                let asked = {
                    let open = open.lock().unwrap_or_else(PoisonError::into_inner);
                    open.open.contains(&saved.task)
                };
                if !asked || !can_be_saved(&saved, &spec) {
                    break "it sent an impossible checkpoint";
                }
                if events.send(Event::Saved(saved)).await.is_err() {
                    break "nobody listens to it";
                }
                continue;
            }
            Ok(Some(FromChild::Asked { task, ask })) => {
                let is_its_turn = {
                    let mut table = open.lock().unwrap_or_else(PoisonError::into_inner);
                    table.open.contains(&task) && table.asking.insert(task)
                };
                if !is_its_turn || !can_be_asked(&ask, &spec) {
                    break "it asked out of turn";
                }
                if events.send(Event::Asked { task, ask }).await.is_err() {
                    break "nobody listens to it";
                }
                continue;
            }
            Ok(Some(_)) => break "it spoke out of turn",
            Ok(None) => break "",
            Err(_) => break "it sent what is no result",
        };
        if !batch.iter().all(|execution| is_plausible(execution, &spec)) {
            break "it sent an impossible result";
        }
        let asked = {
            let mut table = open.lock().unwrap_or_else(PoisonError::into_inner);
            batch.iter().all(|execution| {
                table.asking.remove(&execution.task);
                table.open.remove(&execution.task)
            })
        };
        if !asked {
            break "it sent a result that nobody asked for";
        }
        if events.send(Event::Finished(batch)).await.is_err() {
            break "nobody listens to it";
        }
    };
    let reason = last_words(child, stderr, &process, ending).await;
    let unfinished = {
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.open.iter().copied().collect()
    };
    // Without a listener there is nobody to tell.
    let _gone = events.send(Event::Died { reason, unfinished }).await;
}

/// Whether an honest child could have sent it.
fn is_plausible(execution: &Execution, spec: &JobSpec) -> bool {
    let output = &execution.output;
    let files: usize = output.files.iter().map(|file| file.content.len()).sum();
    execution.task < spec.count
        && execution.fuel <= spec.fuel
        && output.stdout.len() + output.stderr.len() + files <= spec.output_max.as_usize()
        && output.files.windows(2).all(|pair| pair[0].path < pair[1].path)
        && output.files.iter().all(|file| is_plain_path(&file.path))
}

/// Whether an honest child could have saved it.
fn can_be_saved(saved: &Saved, spec: &JobSpec) -> bool {
    let object = saved.checkpoint.as_deref();
    let fits = object.is_none_or(|bytes| {
        bytes.len() <= object_bytes_max().as_usize()
            && saved.roots.last().is_some_and(|root| *root == Guid::of(bytes))
    });
    fits && saved.fuel <= spec.fuel && (1..=SEGMENTS_MAX as usize).contains(&saved.roots.len())
}

/// Whether an honest child could have asked it.
fn can_be_asked(ask: &Ask, spec: &JobSpec) -> bool {
    let bytes = match ask {
        Ask::Send { message, .. } | Ask::Multicast(message) => message.len(),
        Ask::Receive { .. } => 0,
    };
    spec.slice.is_some() && bytes <= MESSAGE_BYTES_MAX
}

/// Reads one frame; the body is taken in as it comes, not as it is announced.
async fn read_frame(
    source: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<Option<FromChild>> {
    let mut head = [0; FRAME_HEAD_BYTES];
    if source.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    source.read_exact(&mut head[1..]).await?;
    let length = codec::frame_length(head, max).map_err(io::Error::other)?;
    let mut body = Vec::with_capacity(length.min(64 << 10));
    source.take(length as u64).read_to_end(&mut body).await?;
    codec::decode(&body).map(Some).map_err(io::Error::other)
}

/// Reaps the child and says how it ended. A child that only closed its pipe has a moment to end by
/// itself, so that its own end is what is told.
async fn last_words(child: Child, stderr: ChildStderr, process: &Process, why: &str) -> String {
    if !why.is_empty() {
        let _gone = process.signal(Signal::KILL);
    }
    let mut ending = std::pin::pin!(end_of(child, stderr));
    let (status, words) = match tokio::time::timeout(GOODBYE_MAX, &mut ending).await {
        Ok(end) => end,
        Err(_) => {
            let _gone = process.signal(Signal::KILL);
            // Whoever else holds its pipes is not waited for.
            let end = tokio::time::timeout(GOODBYE_MAX, ending).await;
            end.unwrap_or_else(|_| ("it was killed".into(), String::new()))
        }
    };
    let parts = [why, status.as_str(), words.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Waits for the end of a child: its status, and the last line that it said.
async fn end_of(mut child: Child, mut stderr: ChildStderr) -> (String, String) {
    let mut words = Vec::new();
    let mut piece = [0; 1_024];
    while let Ok(n @ 1..) = stderr.read(&mut piece).await {
        words.extend_from_slice(&piece[..n]);
        let excess = words.len().saturating_sub(LAST_WORDS_BYTES);
        words.drain(..excess);
    }
    let status = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let words = String::from_utf8_lossy(&words);
    (status, words.trim().lines().last().unwrap_or_default().to_owned())
}
