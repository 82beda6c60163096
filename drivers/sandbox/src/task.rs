//! One task: a fresh store, a fresh instance, its end as a value.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use isos_base::job::is_plain_path;
use isos_base::limits;
use isos_base::task::{Execution, Exit, Fault, Output, Trap};
use isos_base::time::Span;
use isos_base::trace::Marks;
use isos_base::units::Fuel;
use wasmtime::{InstancePre, Store};

use crate::host::{Host, Meter, WATCH_FUEL, Watch, random_of};
use crate::p2;
use crate::protocol::{Order, Setup};
use crate::stop::Stop;
use crate::vfs::Vfs;
use crate::vfs::inputs::{InDir, Source};
use crate::vfs::memory::{Memory, Quota};

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
        let inputs = Arc::new(InDir::of(&setup.spec.inputs));
        Self { program, setup, inputs, source: Arc::new(source) }
    }

    /// Runs one task to its end.
    pub(crate) fn run(&self, order: &Order) -> Execution {
        let (start, taken) = (Instant::now(), monotonic());
        let mut ran = Ran::default();
        let (end, output) = match self.host_of(order) {
            Ok(host) => self.run_with(host, &mut ran),
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

    fn host_of(&self, order: &Order) -> Result<Host, Stop> {
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
        env.extend(spec.env.iter().cloned());
        let vfs = Vfs::new(inputs, self.source.clone(), Memory::new(quota_of(&self.setup)));
        let meter = Meter::new(spec.memory.as_usize());
        let watch = Watch::start(spec.timeout.to_std());
        Ok(Host::new(args, env, vfs, random, spec.fuel.0, meter, watch))
    }

    fn run_with(&self, host: Host, told: &mut Ran) -> (Result<Exit, Fault>, Output) {
        let budget = self.setup.spec.fuel.0;
        let engine = match &self.program {
            Program::Module(module) => module.module().engine(),
            Program::Component(command) => command.engine(),
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.meter);
        let ready =
            store.set_fuel(budget).and_then(|()| store.fuel_async_yield_interval(Some(WATCH_FUEL)));
        let ran = ready.and_then(|()| match &self.program {
            Program::Module(module) => watched(&mut store, module_run, module),
            Program::Component(command) => watched(&mut store, p2::Command::run, command),
        });
        told.ended = Some(Instant::now());
        told.ready = store.data().meter.started;
        let left = store.get_fuel().unwrap_or(0);
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
        (end, output)
    }
}

/// What is known of a run, however it ended.
#[derive(Default)]
struct Ran {
    fuel: Fuel,
    /// When the instance was ready.
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
            // The engine yields on fuel and for nothing else: host functions do not wait.
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
            Stop::Refused(_) | Stop::NoMemory | Stop::NoInput(_) | Stop::TimedOut => {
                Err(fault_of(stop.clone()))
            }
        };
    }
    use wasmtime::Trap as T;
    let Some(trap) = error.downcast_ref::<T>() else {
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
