//! One task: for each of its segments a fresh store and a fresh instance, its end as a value.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use isos_base::checkpoint::{SEGMENTS_MAX, chain_of, segment_fuel};
use isos_base::job::is_plain_path;
use isos_base::task::{Execution, Exit, Fault, Output, Trap};
use isos_base::time::Span;
use isos_base::trace::Marks;
use isos_base::units::Fuel;
use isos_base::{Guid, limits};
use wasmtime::{InstancePre, Store};

use crate::checkpoint::{Checkpoint, identity};
use crate::host::{Host, Meter, WATCH_FUEL, Watch, random_of};
use crate::peers::{Mouth, Party};
use crate::protocol::{Order, Saved, Setup};
use crate::stop::Stop;
use crate::vfs::Vfs;
use crate::vfs::inputs::{InDir, Source};
use crate::vfs::memory::{Memory, Quota};
use crate::{p2, step};

/// Bytes under `/tmp` at the most; a job with less memory has less.
const TMP_BYTES_MAX: u64 = 256 << 20;

/// A program, linked and ready to be instantiated.
pub(crate) enum Program {
    /// A preview-1 command.
    Module(InstancePre<Host>),
    /// A 0.2 command.
    Component(p2::Command),
}

/// What the tasks of a job share.
pub(crate) struct Job {
    pub(crate) program: Program,
    pub(crate) setup: Setup,
    /// The way to the other ranks, for a program that addresses them.
    pub(crate) peers: Option<Arc<Mouth>>,
    inputs: Arc<InDir>,
    source: Arc<Source>,
}

/// Bytes of host memory, besides the program's own, that one task may take for its files.
pub(crate) fn file_bytes_max(setup: &Setup) -> u64 {
    setup.spec.output_max.0 + quota_of(setup).tmp
}

fn quota_of(setup: &Setup) -> Quota {
    Quota {
        out: setup.spec.output_max.0,
        out_nodes: limits::OUTPUT_FILES_MAX,
        tmp: setup.spec.memory.0.min(TMP_BYTES_MAX),
    }
}

impl Job {
    pub(crate) fn new(program: Program, setup: Setup, source: Source) -> Self {
        Self::shared(program, setup, Arc::new(source))
    }

    /// With a source that others use, too.
    pub(crate) fn shared(program: Program, setup: Setup, source: Arc<Source>) -> Self {
        let inputs = Arc::new(InDir::of(&setup.spec.inputs));
        Self { program, setup, peers: None, inputs, source }
    }

    /// Runs one task to its end, and says from time to time how far it has come. `tell` says
    /// whether it was told.
    pub(crate) fn run(&self, order: &Order, tell: &mut dyn FnMut(Saved) -> bool) -> Execution {
        let (start, taken) = (Instant::now(), monotonic());
        let mut ran = Ran::default();
        let (end, output) = match self.run_segments(order, &mut ran, tell) {
            Ok(ended) => ended,
            Err(stop) => (Err(fault_of(stop)), Output::default()),
        };
        let output = if end.is_ok() { output } else { Output::default() };
        let until = |at: Option<Instant>| {
            let at = at.map_or_else(|| start.elapsed(), |at| at.duration_since(start));
            taken + Span::from_std(at)
        };
        let marks = self.setup.spec.is_traced(order.task).then(|| Marks {
            taken,
            ready: until(ran.ready),
            ran: until(ran.ended),
            collected: until(None),
        });
        let wall = Span::from_std(start.elapsed());
        Execution { task: order.task, end, fuel: ran.fuel, wall, output, marks }
    }

    /// Runs one segment after the other.
    fn run_segments(
        &self,
        order: &Order,
        ran: &mut Ran,
        tell: &mut dyn FnMut(Saved) -> bool,
    ) -> Result<(Result<Exit, Fault>, Output), Stop> {
        let spec = &self.setup.spec;
        let of = identity(&self.setup, order);
        let each = segment_fuel(spec.fuel).0;
        let mut watch = Watch::start(spec.timeout.to_std());
        let mut told = Instant::now();
        let (mut host, mut roots) = self.resumed(order, of, &watch)?;
        if !roots.is_empty() {
            // What is told of it before another segment ends, and if none does.
            ran.saved = Fuel(spec.fuel.0.saturating_sub(host.saving.fuel_start));
            ran.fuel = ran.saved;
        }
        loop {
            if order.part.until.is_some_and(|until| roots.len() >= until as usize) {
                // A part that ends at the start is odd, and nothing is known at its end.
                if !roots.is_empty() {
                    tell(Saved { task: order.task, fuel: ran.fuel, roots, checkpoint: None });
                }
                return Ok((Ok(Exit::Code(0)), Output::default()));
            }
            let fuel_left = host.saving.fuel_start;
            host.saving.fuel_each =
                if roots.len() < SEGMENTS_MAX as usize { each } else { u64::MAX };
            let (host_after, fuel_left) = match self.run_with(host, fuel_left, ran) {
                Segment::Ended(end, output) => {
                    if !roots.is_empty() {
                        let fuel = ran.saved;
                        tell(Saved { task: order.task, fuel, roots, checkpoint: None });
                    }
                    return Ok((end, output));
                }
                Segment::Saved(host, fuel_left) => (host, fuel_left),
            };
            watch.clone_from(&host_after.watch);
            let checkpoint = host_after.end_segment(of, fuel_left, roots);
            let bytes = checkpoint.encode();
            roots = checkpoint.roots.clone();
            roots.push(Guid::of(&bytes));
            ran.saved = checkpoint.fuel;
            if told.elapsed() >= self.setup.save_every.to_std() {
                let (fuel, roots) = (checkpoint.fuel, roots.clone());
                let saved = Saved { task: order.task, fuel, roots, checkpoint: Some(bytes) };
                // Not taken: the next one is newer anyway.
                if tell(saved) {
                    told = Instant::now();
                }
            }
            host = self.host_of(order, Some(checkpoint), watch.clone())?;
        }
    }

    /// The task as it starts here: from the ordered checkpoint if that is good.
    fn resumed(&self, order: &Order, of: Guid, watch: &Watch) -> Result<(Host, Vec<Guid>), Stop> {
        if let Some((guid, size)) = order.part.from
            && let Some(bytes) = self.source.read_own(guid, size)
            && let Some(checkpoint) = Checkpoint::decode(&bytes, of, self.setup.spec.fuel)
        {
            let mut roots = checkpoint.roots.clone();
            roots.push(guid);
            let part = &order.part;
            // Whoever saved it may have told other roots, or so many that nothing is left to be
            // run. From the start on, its roots are the right ones, and show that.
            let is_told = part.chain.is_none_or(|chain| chain == chain_of(&roots))
                && part.until.is_none_or(|until| roots.len() < until as usize);
            if is_told
                && self.could_be(&checkpoint)
                && let Ok(host) = self.host_of(order, Some(checkpoint), watch.clone())
            {
                return Ok((host, roots));
            }
        }
        Ok((self.host_of(order, None, watch.clone())?, Vec::new()))
    }

    /// Whether the program could go on with this state. Of one that saves by itself only it knows.
    fn could_be(&self, checkpoint: &Checkpoint) -> bool {
        match &self.program {
            Program::Module(module) if step::is_stepped(module.module()) => {
                step::is_state(module.module(), &checkpoint.state, self.setup.spec.memory.0)
            }
            _ => true,
        }
    }

    /// A task at the start of a segment.
    fn host_of(
        &self,
        order: &Order,
        mut from: Option<Checkpoint>,
        watch: Watch,
    ) -> Result<Host, Stop> {
        let spec = &self.setup.spec;
        let mut inputs = self.inputs.clone();
        if let Some(file) = &order.file {
            if !is_plain_path(&file.path) {
                return Err(Stop::NoInput(format!("/in/{}: no plain relative path", file.path)));
            }
            Arc::make_mut(&mut inputs).insert(&file.path, Some(file.guid), file.size.0);
        }
        let own_path = order.file.as_ref().map(|file| file.path.as_str());
        let own_args = spec.args_of(order.task, own_path);
        let random = random_of(spec.program, &own_args, order.task);
        let args = std::iter::once("program".into()).chain(own_args).collect();
        let mut env = vec![
            ("ISOS_TASK".into(), order.task.to_string()),
            ("ISOS_TASKS".into(), spec.count.to_string()),
        ];
        if spec.slice.is_some() {
            env.push(("ISOS_RANK".into(), order.task.to_string()));
            env.push(("ISOS_SIZE".into(), spec.count.to_string()));
        }
        env.extend(spec.env.iter().cloned());
        let quota = quota_of(&self.setup);
        let memory = match &mut from {
            None => Memory::new(quota),
            Some(from) => {
                let files = std::mem::take(&mut from.files);
                let memory =
                    Memory::restore(quota, files, from.next_inode).and_then(|mut memory| {
                        let streams = (from.stdout.len() + from.stderr.len()) as u64;
                        memory.charge_out(streams).ok().map(|()| memory)
                    });
                memory.ok_or_else(|| Stop::NoInput("a checkpoint that cannot be".into()))?
            }
        };
        let vfs = Vfs::new(inputs, self.source.clone(), memory);
        let meter = Meter::new(spec.memory.as_usize());
        let mut host = Host::new(args, env, vfs, random, spec.fuel.0, meter, watch);
        host.peers = self.peers.as_ref().map(|mouth| Party::new(mouth, order.task, spec));
        host.begin_segment(from);
        Ok(host)
    }

    /// Runs one segment with so much fuel.
    fn run_with(&self, host: Host, fuel: u64, told: &mut Ran) -> Segment {
        let budget = self.setup.spec.fuel.0;
        let engine = match &self.program {
            Program::Module(module) => module.module().engine(),
            Program::Component(command) => command.engine(),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.meter);
        let ready =
            store.set_fuel(fuel).and_then(|()| store.fuel_async_yield_interval(Some(WATCH_FUEL)));
        let ran = ready.and_then(|()| match &self.program {
            Program::Module(module) => watched(&mut store, module_run, module),
            Program::Component(command) => watched(&mut store, p2::Command::run, command),
        });
        told.ended = Some(Instant::now());
        told.ready = told.ready.or(store.data().meter.started);
        let left = store.get_fuel().unwrap_or(0);
        if store.data().saving.saved.is_some() && is_save(&ran) {
            told.fuel = Fuel(budget - left.min(budget));
            return Segment::Saved(Box::new(store.into_data()), left);
        }
        let mut end = end_of(ran, store.data().meter.started.is_some());
        told.fuel = Fuel(budget - left.min(budget));
        let mut host = store.into_data();
        let mut output = Output::default();
        if end.is_ok() {
            match host.vfs.memory.take_output() {
                Ok(files) => output.files = files,
                Err(stop) => end = end_of(Err(stop.into()), true),
            }
            output.stdout = std::mem::take(&mut host.stdout);
            output.stderr = std::mem::take(&mut host.stderr);
        }
        if end == Ok(Exit::OutOfFuel) {
            told.fuel = Fuel(budget);
        }
        Segment::Ended(end, output)
    }
}

/// How a segment ended.
enum Segment {
    /// With the task.
    Ended(Result<Exit, Fault>, Output),
    /// With a save, when so much fuel was left.
    Saved(Box<Host>, u64),
}

fn is_save(ran: &wasmtime::Result<()>) -> bool {
    matches!(ran, Err(error) if matches!(error.downcast_ref::<Stop>(), Some(Stop::Saved)))
}

/// What is known of a run, however it ended.
#[derive(Default)]
struct Ran {
    fuel: Fuel,
    /// Fuel used at the end of the last segment that ended with a save.
    saved: Fuel,
    /// When the first instance was ready.
    ready: Option<Instant>,
    /// When the program had ended.
    ended: Option<Instant>,
}

/// Time since the machine's start, without that in which it was suspended: the same in all its
/// processes, so that the agent can put what its children tell beside what it sees itself.
#[must_use]
pub fn monotonic() -> Span {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Span::from_std(now.try_into().unwrap_or_default())
}

async fn module_run(store: &mut Store<Host>, module: &InstancePre<Host>) -> wasmtime::Result<()> {
    let instance = module.instantiate_async(&mut *store).await?;
    store.data_mut().meter.started = Some(Instant::now());
    if step::is_stepped(module.module()) {
        return step::run(store, &instance).await;
    }
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(&mut *store, ()).await
}

/// Runs the program, and looks at the clock whenever it has used some fuel.
fn watched<'a, P>(
    store: &'a mut Store<Host>,
    run: impl AsyncFnOnce(&'a mut Store<Host>, &'a P) -> wasmtime::Result<()>,
    program: &'a P,
) -> wasmtime::Result<()> {
    let host = store.data();
    let mut watch = host.watch.clone();
    let mut run = pin!(run(store, program));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match run.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            // The engine yields on fuel and for nothing else: host functions that wait do so in
            // this thread, and look at the clock themselves.
            Poll::Pending if watch.is_over() => return Err(Stop::TimedOut.into()),
            Poll::Pending => {}
        }
    }
}

/// What an error of the engine means for the task.
fn end_of(ran: wasmtime::Result<()>, started: bool) -> Result<Exit, Fault> {
    let Err(error) = ran else { return Ok(Exit::Code(0)) };
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Exit(code) => Ok(Exit::Code(*code)),
            Stop::OutOfFuel => Ok(Exit::OutOfFuel),
            Stop::OutputTooLarge => Ok(Exit::OutputTooLarge),
            Stop::Aborted => Ok(Exit::Trap(Trap::Unreachable)),
            Stop::Refused(_)
            | Stop::NoMemory
            | Stop::NoInput(_)
            | Stop::TimedOut
            // Taken before this is asked.
            | Stop::Saved => Err(fault_of(stop.clone())),
        };
    }
    use wasmtime::Trap as T;
    let Some(trap) = error.downcast_ref::<T>() else {
        // More instances, tables or memories than are allowed: the same on every host.
        let text = error.root_cause().to_string();
        if text.starts_with("resource limit exceeded") {
            return Err(Fault::BadProgram(text));
        }
        // Before the start, linking was checked and limits have answered above: what is left is
        // memory or address space. Afterwards, a component broke the rules of its interface.
        let host = !started || error.downcast_ref::<std::io::Error>().is_some();
        return if host { Err(Fault::NoMemory) } else { Ok(Exit::Trap(Trap::Other)) };
    };
    Ok(match trap {
        T::OutOfFuel => Exit::OutOfFuel,
        T::StackOverflow => Exit::Trap(Trap::StackOverflow),
        T::MemoryOutOfBounds | T::HeapMisaligned | T::TableOutOfBounds | T::ArrayOutOfBounds => {
            Exit::Trap(Trap::OutOfBounds)
        }
        T::IntegerOverflow | T::IntegerDivisionByZero | T::BadConversionToInteger => {
            Exit::Trap(Trap::Arithmetic)
        }
        T::IndirectCallToNull | T::BadSignature | T::NullReference => Exit::Trap(Trap::BadCall),
        T::UnreachableCodeReached => Exit::Trap(Trap::Unreachable),
        _ => Exit::Trap(Trap::Other),
    })
}

fn fault_of(stop: Stop) -> Fault {
    match stop {
        Stop::TimedOut => Fault::TimedOut,
        Stop::NoInput(why) => Fault::NoInput(why),
        Stop::Refused(why) => Fault::BadProgram(why),
        _ => Fault::NoMemory,
    }
}
