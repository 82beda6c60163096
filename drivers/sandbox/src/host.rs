//! What one task's host functions work on: arguments, streams, files, clock, random bytes, meter.
//!
//! Everything here is a function of the program, the job and the task's number, so two hosts give
//! a program the same answers. Only [`Watch`] looks at the real clock, and it can do no more than
//! end the task as a fault.

use std::time::{Duration, Instant};

use isos_base::{Fuel, Guid};
use wasmtime::{Memory, StoreContextMut};

use crate::checkpoint::{Checkpoint, Saving};
use crate::p1::Descriptors;
use crate::peers::Party;
use crate::stop::Stop;
use crate::vfs::{self, Vfs};

/// What every clock says when the program starts: 2026-01-01 00:00 UTC, in nanoseconds since 1970.
pub(crate) const CLOCK_START_NS: u64 = 1_767_225_600_000_000_000;
/// Fuel of a host call, besides its bytes: about what the call takes in instructions.
const CALL_FUEL: u64 = 200;
/// Bytes that a host function moves for one unit of fuel.
const BYTES_PER_FUEL: u64 = 8;
/// A random byte is as dear as these many that are only moved.
const RANDOM_WEIGHT: usize = 8;
/// A thing that is looked up, listed or checked by itself is as dear as these many bytes.
const THING_BYTES: usize = 256;
/// The virtual clock's step at each look, so that loops that wait for it end.
const LOOK_NS: u64 = 1_000;
/// Two looks at the real clock that are further apart than this count as this, or as what the
/// thread computed in between: the rest was a suspension, or work of the owner's, not the task's.
const GAP_MAX: Duration = Duration::from_millis(50);
/// Fuel between two looks at the real clock, a few milliseconds. Part of nothing that is compared.
pub(crate) const WATCH_FUEL: u64 = 10_000_000;

/// Measures a task's own wall time, and says when it is over.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    limit: Duration,
    spent: Duration,
    last: Instant,
    /// Processor time of this thread at that moment.
    worked: Duration,
}

impl Watch {
    /// Starts now.
    pub(crate) fn start(limit: Duration) -> Self {
        Self { limit, spent: Duration::ZERO, last: Instant::now(), worked: worked() }
    }

    /// Whether the limit has passed.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let worked = worked();
        let busy = worked.saturating_sub(self.worked);
        self.spent += now.duration_since(self.last).min(busy.max(GAP_MAX));
        (self.last, self.worked) = (now, worked);
        self.spent > self.limit
    }
}

/// Processor time of this thread.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// The state of one task.
pub(crate) struct Host {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) vfs: Vfs,
    pub(crate) descriptors: Descriptors,
    /// Resources of a component.
    pub(crate) table: wasmtime::component::ResourceTable,
    /// The memory that preview-1 functions read and write; none for components.
    pub(crate) memory: Option<Memory>,
    pub(crate) watch: Watch,
    pub(crate) meter: Meter,
    pub(crate) saving: Saving,
    /// The other ranks, for a program that addresses them.
    pub(crate) peers: Option<Party>,
    random: blake3::OutputReader,
    /// What sleeping and looking at the clock have added to it.
    slept_ns: u64,
    fuel_budget: u64,
    /// As of the last host call.
    fuel_left: u64,
    /// Fuel at the last look at the real clock from a host call.
    fuel_looked: u64,
    /// Bytes moved by the host function that is running.
    moved: u64,
}

/// The seed of a task's random bytes: the program, its arguments, the task's number.
///
/// So a task draws the same bytes wherever and however often it runs, and the same job submitted
/// again gives the same results; an argument that the program ignores is enough for other bytes.
pub(crate) fn random_of(program: Guid, args: &[String], task: u32) -> blake3::OutputReader {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"isos-task-seed");
    hasher.update(&program.0);
    hasher.update(&task.to_le_bytes());
    for arg in args {
        hasher.update(&(arg.len() as u64).to_le_bytes());
        hasher.update(arg.as_bytes());
    }
    hasher.finalize_xof()
}

impl Host {
    /// A task that has not started.
    pub(crate) fn new(
        args: Vec<String>,
        env: Vec<(String, String)>,
        vfs: Vfs,
        random: blake3::OutputReader,
        fuel_budget: u64,
        meter: Meter,
        watch: Watch,
    ) -> Self {
        Self {
            args,
            env,
            stdout: Vec::new(),
            stderr: Vec::new(),
            vfs,
            descriptors: Descriptors::new(),
            table: wasmtime::component::ResourceTable::new(),
            memory: None,
            watch,
            meter,
            saving: Saving::default(),
            peers: None,
            random,
            slept_ns: 0,
            fuel_budget,
            fuel_left: fuel_budget,
            fuel_looked: fuel_budget,
            moved: 0,
        }
    }

    /// Goes on where a segment has ended; its files were restored before.
    pub(crate) fn begin_segment(&mut self, from: Option<Checkpoint>) {
        let mut restored = None;
        if let Some(from) = from {
            self.stdout = from.stdout;
            self.stderr = from.stderr;
            self.slept_ns = from.slept_ns;
            self.random.set_position(from.random);
            self.fuel_left = self.fuel_budget.saturating_sub(from.fuel.0);
            self.fuel_looked = self.fuel_left;
            restored = Some(from.state);
        }
        self.saving = Saving { restored, fuel_start: self.fuel_left, ..Saving::default() };
    }

    /// The task after a segment that ended with a save, when so much fuel was left.
    pub(crate) fn end_segment(self, of: Guid, fuel_left: u64, roots: Vec<Guid>) -> Checkpoint {
        let (files, next_inode) = self.vfs.memory.into_saved();
        Checkpoint {
            of,
            fuel: Fuel(self.fuel_budget.saturating_sub(fuel_left)),
            slept_ns: self.slept_ns,
            random: self.random.position(),
            stdout: self.stdout,
            stderr: self.stderr,
            files,
            next_inode,
            roots,
            state: self.saving.saved.unwrap_or_default(),
        }
    }

    /// As of the last host call.
    pub(crate) const fn fuel_left(&self) -> u64 {
        self.fuel_left
    }

    /// Notes bytes to be paid when the host function that runs is done.
    pub(crate) fn moves(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// The same for work that is about to be done: who cannot pay for it does not get it.
    pub(crate) fn pays(&mut self, bytes: usize) -> Result<(), Stop> {
        self.moves(bytes);
        if CALL_FUEL + self.moved / BYTES_PER_FUEL > self.fuel_left {
            return Err(Stop::OutOfFuel);
        }
        Ok(())
    }

    /// Notes things that the host function handles one by one.
    pub(crate) fn handles(&mut self, things: usize) {
        self.moves(things.saturating_mul(THING_BYTES));
    }

    /// Notes a path that is about to be walked.
    pub(crate) fn walks(&mut self, path_bytes: usize) {
        // A part has two bytes at the least, and is looked up in one folder.
        self.handles(path_bytes.min(vfs::PATH_BYTES_MAX) / 2);
    }

    /// Nanoseconds since the program started: one for each unit of fuel, and what it slept.
    pub(crate) fn monotonic_ns(&mut self) -> u64 {
        self.slept_ns = self.slept_ns.saturating_add(LOOK_NS);
        (self.fuel_budget - self.fuel_left).saturating_add(self.slept_ns)
    }

    /// Nanoseconds since 1970, of the virtual clock.
    pub(crate) fn realtime_ns(&mut self) -> u64 {
        CLOCK_START_NS.saturating_add(self.monotonic_ns())
    }

    /// Passes virtual time; nobody waits.
    pub(crate) fn sleep(&mut self, ns: u64) {
        self.slept_ns = self.slept_ns.saturating_add(ns);
    }

    /// The next random bytes.
    pub(crate) fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), Stop> {
        self.pays(buffer.len().saturating_mul(RANDOM_WEIGHT))?;
        self.random.fill(buffer);
        Ok(())
    }

    /// Appends to a standard stream.
    pub(crate) fn write_stream(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Stop> {
        self.moves(bytes.len());
        self.vfs.memory.charge_out(bytes.len() as u64)?;
        let buffer = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        buffer.try_reserve(bytes.len()).map_err(|_| Stop::NoMemory)?;
        buffer.extend_from_slice(bytes);
        Ok(())
    }
}

/// One of the two standard streams that a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Before a host function works: what is left of the fuel, for the clock.
pub(crate) fn enter(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let host = store.data_mut();
    host.fuel_left = left;
    host.moved = 0;
    // Setting the fuel below starts the engine's own interval again, so a program that calls the
    // host all the time would never be looked at.
    if host.fuel_looked.saturating_sub(left) > WATCH_FUEL {
        host.fuel_looked = left;
        if host.watch.is_over() {
            return Err(Stop::TimedOut.into());
        }
    }
    Ok(())
}

/// After a host function worked: it is paid for.
pub(crate) fn leave(store: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let host = store.data();
    let price = CALL_FUEL + host.moved / BYTES_PER_FUEL;
    let left = host.fuel_left;
    if price > left {
        store.set_fuel(0)?;
        return Err(Stop::OutOfFuel.into());
    }
    store.set_fuel(left - price)
}

/// The limits of the engine's own allocations: the same answer to `memory.grow` on every host.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_max: usize,
    memory: usize,
    elements: usize,
    /// The last growth was allowed, so a failure of it is the host's.
    allowed: bool,
    /// Whether the program has been instantiated: before, a refusal ends the task.
    pub(crate) started: Option<Instant>,
}

/// Instances of a component, and tables: each takes the host some kilobytes, used or not.
pub(crate) const INSTANCES_MAX: usize = 1_000;
/// Memories of a task: each takes gigabytes of addresses, used or not.
pub(crate) const MEMORIES_MAX: usize = 100;
/// Elements of all tables of a task.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 1 << 20;

impl Meter {
    /// Memory of one task, in bytes.
    pub(crate) const fn new(memory_max: usize) -> Self {
        Self { memory_max, memory: 0, elements: 0, allowed: false, started: None }
    }

    /// A growth did not happen. When the job was promised it, telling the program "no" would make
    /// its result another than on other hosts; when nobody could have it, "no" is the same for all.
    fn failed(&mut self) -> wasmtime::Result<()> {
        if std::mem::take(&mut self.allowed) { Err(Stop::NoMemory.into()) } else { Ok(()) }
    }
}

impl wasmtime::ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.allowed = false;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = (self.memory - current.min(self.memory)).saturating_add(desired);
        if total > self.memory_max {
            if self.started.is_some() || current > 0 {
                return Ok(false);
            }
            let mib = |bytes: usize| bytes.div_ceil(1 << 20);
            return Err(Stop::Refused(format!(
                "it wants {} MiB of memory at its start and the job allows {} MiB",
                mib(total),
                mib(self.memory_max)
            ))
            .into());
        }
        self.memory = total;
        self.allowed = true;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed()
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.allowed = false;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = (self.elements - current.min(self.elements)).saturating_add(desired);
        if total > TABLE_ELEMENTS_MAX {
            if self.started.is_some() || current > 0 {
                return Ok(false);
            }
            return Err(Stop::Refused(format!(
                "it wants tables of {total} elements and {TABLE_ELEMENTS_MAX} are allowed"
            ))
            .into());
        }
        self.elements = total;
        self.allowed = true;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed()
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a thread that does nothing for a while")]
    fn a_long_look_away_counts_as_far_as_the_thread_worked() {
        let limit = Duration::from_millis(150);
        let mut idle = Watch::start(limit);
        std::thread::sleep(Duration::from_millis(200));
        assert!(!idle.is_over(), "a suspension is not the task's time");

        let mut busy = Watch::start(limit);
        let start = worked();
        while worked() - start < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        assert!(busy.is_over(), "one long call of the host is");
    }
}
