//! The child that runs tasks: loads the program, walls itself in, works through orders.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use isos_base::checkpoint::object_bytes_max;
use isos_base::codec;
use isos_base::peers::Ask;
use isos_base::task::{Execution, Output};
use rustix::process::Resource;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::engine;
use crate::link;
use crate::p1::Descriptors;
use crate::peers::{self, Mouth};
use crate::protocol::{
    BATCH_BYTES, BATCH_MAX, FromChild, Saved, Setup, Start, TO_CHILD_MAX, ToChild, read_frame,
    write_frame,
};
use crate::queue::Queue;
use crate::task::{Job, Program, file_bytes_max};
use crate::vfs::inputs::Source;
use crate::walls::{Duty, Walls};

/// Orders that wait in the child; more wait in the pipe and then in the agent.
const ORDERS_QUEUED_MAX: usize = 4_096;
/// Executions that wait for the pipe. Workers wait when it is full.
const EXECUTIONS_QUEUED_MAX: usize = 1_024;
/// Memory of the child besides its tasks: code, threads, engine, frames.
const OWN_BYTES: u64 = 512 << 20;

/// Checkpoints that wait for the pipe: they are large, and a newer one follows.
const CHECKPOINTS_QUEUED_MAX: u32 = 2;

/// What is told.
enum Told {
    Done(Execution),
    Saved(Saved),
    Asked(u32, Ask),
}

/// What tasks have to tell, on its way to the pipe.
struct Outlet {
    queue: Queue<Told>,
    /// Checkpoints in the queue.
    checkpoints: AtomicU32,
}

impl Outlet {
    /// Tells how far a task has come. Says whether it was taken: no more checkpoints wait than a
    /// few.
    fn tell(&self, saved: Saved) -> bool {
        if saved.checkpoint.is_some() {
            let more = |queued| (queued < CHECKPOINTS_QUEUED_MAX).then_some(queued + 1);
            if self.checkpoints.fetch_update(SeqCst, SeqCst, more).is_err() {
                return false;
            }
        }
        self.queue.push(Told::Saved(saved))
    }
}

/// Why the child says goodbye.
enum Refusal {
    Stale(String),
    Unfit(String),
    Failed(String),
}

/// The child's main.
pub(crate) fn main() -> ExitCode {
    let mut walls = Walls::default();
    walls.close_inherited();
    let mut input = io::stdin().lock();
    let Ok(Some(ToChild::Start(start))) = read_frame(&mut input, TO_CHILD_MAX) else {
        return ExitCode::from(2);
    };
    walls.die_with(start.agent);
    let threads = usize::from(start.setup.threads.max(1));
    let orders = Arc::new(Queue::new(ORDERS_QUEUED_MAX));
    let queue = Queue::new(EXECUTIONS_QUEUED_MAX.min(threads * 256));
    let done = Arc::new(Outlet { queue, checkpoints: AtomicU32::new(0) });
    let ask = done.clone();
    let mouth =
        Arc::new(Mouth::new(Box::new(move |task, asked| ask.queue.push(Told::Asked(task, asked)))));
    let (job, speaks) = match prepare(*start, &mut walls) {
        Ok((mut job, speaks)) => {
            job.peers = speaks.then(|| mouth.clone());
            (Arc::new(job), speaks)
        }
        Err(refusal) => {
            let message = match refusal {
                Refusal::Stale(why) => FromChild::Stale(why),
                Refusal::Unfit(why) => FromChild::Unfit(why),
                Refusal::Failed(why) => FromChild::Failed(why),
            };
            return match write_frame(&mut io::stdout().lock(), &message) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(3),
            };
        }
    };
    // A panic is a bug; a worker that died of it alone would leave its task without an end.
    std::panic::set_hook(Box::new(|panic| {
        let _gone = writeln!(io::stderr(), "{panic}");
        std::process::abort();
    }));
    // Threads have come up before the filter that forbids to make them; it then holds for all.
    let gate = Arc::new(Barrier::new(threads + 2));
    for index in 0..threads {
        let (job, orders, done, gate) = (job.clone(), orders.clone(), done.clone(), gate.clone());
        let work = move || {
            Engine::tls_eager_initialize();
            gate.wait();
            gate.wait();
            while let Some(order) = orders.pop() {
                let execution = job.run(&order, &mut |saved| done.tell(saved));
                if !done.queue.push(Told::Done(execution)) {
                    break;
                }
            }
        };
        if thread::Builder::new().name(format!("task-{index}")).spawn(work).is_err() {
            return ExitCode::from(4);
        }
    }
    let writer = {
        let (done, gate) = (done.clone(), gate.clone());
        let work = move || {
            gate.wait();
            gate.wait();
            write_results(&done);
        };
        thread::Builder::new().name("results".into()).spawn(work)
    };
    if writer.is_err() {
        return ExitCode::from(4);
    }
    gate.wait();
    walls.seccomp(Duty::Run);
    let ready = FromChild::Ready { walls: walls.0, speaks };
    if write_frame(&mut io::stdout().lock(), &ready).is_err() {
        return ExitCode::from(3);
    }
    gate.wait();
    loop {
        match read_frame(&mut input, TO_CHILD_MAX) {
            Ok(Some(ToChild::Orders(batch))) => {
                for order in batch {
                    orders.push(order);
                }
            }
            Ok(Some(ToChild::Answer { task, answer })) => mouth.hear(task, answer),
            _ => break,
        }
    }
    // The agent closed the pipe or died: nobody wants what is still being worked on.
    std::process::exit(0)
}

/// Everything that needs rights which the walls then take away. Also whether the program addresses
/// its peers.
fn prepare(start: Start, walls: &mut Walls) -> Result<(Job, bool), Refusal> {
    let Start { code, component, setup, .. } = start;
    let failed =
        |what: &str, error: &dyn std::fmt::Display| Refusal::Failed(format!("{what}: {error}"));
    let source = Source::open(&setup.input_dir, setup.own_dir.as_deref())
        .map_err(|e| failed("the folders of /in", &e))?;
    if setup.idle {
        walls.be_idle();
    }
    let (program, speaks) = load(&code, component, &setup)?;
    peers::check_slice(speaks, &setup.spec).map_err(Refusal::Unfit)?;
    walls.limit(&limits_of(&setup));
    walls.no_new_privileges();
    walls.landlock(source.folders());
    Ok((Job::new(program, setup, source), speaks))
}

/// What the kernel gives a running child at the most.
pub(crate) fn limits_of(setup: &Setup) -> [(Resource, u64); 5] {
    let tasks = u64::from(setup.threads.max(1));
    // A checkpoint exists as files, as an object, and on its way.
    let saved = 4 * object_bytes_max().0;
    let one = setup.spec.memory.0.saturating_add(2 * file_bytes_max(setup)).saturating_add(saved);
    let queued = 2 * setup.spec.output_max.0.saturating_mul(tasks);
    [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Memlock, 0),
        (Resource::Nofile, 64 + tasks * Descriptors::MAX as u64),
        (
            Resource::Data,
            OWN_BYTES.saturating_add(one.saturating_mul(tasks)).saturating_add(queued),
        ),
    ]
}

/// Loads compiled code: into an engine with ready places where there can be one.
fn load(
    code: &std::path::Path,
    component: bool,
    setup: &Setup,
) -> Result<(Program, bool), Refusal> {
    let stale = |error: wasmtime::Error| Refusal::Stale(format!("{error:#}"));
    let failed = |error: wasmtime::Error| Refusal::Failed(format!("{error:#}"));
    if component {
        let engine = engine::on_demand().map_err(failed)?;
        let component = trusted::component(&engine, code).map_err(stale)?;
        let speaks = peers::is_component(&engine, &component);
        let command = link::component(&engine, &component).map_err(failed)?;
        return Ok((Program::Component(command), speaks));
    }
    let threads = u32::from(setup.threads.max(1));
    let memory = setup.spec.memory.as_usize();
    let pooled = engine::pooled(threads, memory)
        .and_then(|engine| Ok((trusted::module(&engine, code)?, engine)));
    let (module, engine) = match pooled {
        Ok(pooled) => pooled,
        // The program has more tables than the pool, or the machine less address space.
        Err(_) => {
            let engine = engine::on_demand().map_err(failed)?;
            (trusted::module(&engine, code).map_err(stale)?, engine)
        }
    };
    let speaks = peers::is_module(&module);
    Ok((Program::Module(link::module(&engine, &module).map_err(failed)?), speaks))
}

/// Sends what is done as soon as there is something, and as much at once as there is.
fn write_results(done: &Outlet) {
    let mut buffer = Vec::new();
    let mut ahead = None;
    while let Some(first) = ahead.take().or_else(|| done.queue.pop()) {
        let first = match first {
            Told::Done(first) => first,
            Told::Saved(saved) => {
                let large = saved.checkpoint.is_some();
                send(&mut buffer, FromChild::Saved(saved));
                if large {
                    done.checkpoints.fetch_sub(1, SeqCst);
                }
                continue;
            }
            Told::Asked(task, ask) => {
                send(&mut buffer, FromChild::Asked { task, ask });
                continue;
            }
        };
        let mut bytes = weight(&first.output);
        let mut batch = vec![first];
        while bytes < BATCH_BYTES
            && batch.len() < BATCH_MAX
            && let Some(next) = done.queue.try_pop()
        {
            let next = match next {
                Told::Done(next) => next,
                other @ (Told::Saved(_) | Told::Asked(..)) => {
                    ahead = Some(other);
                    break;
                }
            };
            bytes += weight(&next.output);
            // One that would make the frame larger than the agent takes travels alone.
            if bytes >= BATCH_BYTES && weight(&next.output) >= BATCH_BYTES {
                send(&mut buffer, FromChild::Finished(std::mem::take(&mut batch)));
                bytes = weight(&next.output);
            }
            batch.push(next);
        }
        send(&mut buffer, FromChild::Finished(batch));
    }
}

fn send(buffer: &mut Vec<u8>, message: FromChild) {
    buffer.clear();
    codec::put_frame(&message, buffer);
    let mut out = io::stdout().lock();
    if out.write_all(buffer).and_then(|()| out.flush()).is_err() {
        // No one listens any more.
        std::process::exit(0);
    }
    if buffer.capacity() > 2 * BATCH_BYTES {
        *buffer = Vec::new();
    }
}

/// About how many bytes an output takes in a frame.
fn weight(output: &Output) -> usize {
    let files: usize = output.files.iter().map(|f| f.path.len() + f.content.len() + 16).sum();
    64 + output.stdout.len() + output.stderr.len() + files
}

/// Loading native code that this machine's agent compiled.
mod trusted {
    #![expect(
        unsafe_code,
        reason = "compiled code is trusted by nature: the agent wrote the file into a folder of \
                  its own and compared its hash just before it started this child, and whatever \
                  the code does, it does behind this process's walls"
    )]

    use super::{Component, Engine, Module};
    use std::path::Path;

    pub(super) fn module(engine: &Engine, code: &Path) -> wasmtime::Result<Module> {
        // SAFETY: see the module's reason.
        unsafe { Module::deserialize_file(engine, code) }
    }

    pub(super) fn component(engine: &Engine, code: &Path) -> wasmtime::Result<Component> {
        // SAFETY: see the module's reason.
        unsafe { Component::deserialize_file(engine, code) }
    }
}
