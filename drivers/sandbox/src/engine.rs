//! The engine's settings: the same in the child that compiles and in the children that run, and
//! the same on every host, because results depend on them.

use wasmtime::{Collector, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::host::TABLE_ELEMENTS_MAX;

/// What a result depends on besides the program and the job: the engine's major version (it sets
/// the fuel of each instruction), the determinism profile (D1: no NaN canonicalisation, so floats
/// are comparable between hosts of one instruction set), and our own host functions' behaviour.
pub(crate) const ENGINE: &str = "wasmtime-48/d1/host-3";

/// Stack of a program, in bytes. Part of its behaviour: deeper recursion traps.
const WASM_STACK_BYTES: usize = 1 << 20;
/// Stack of a program and of the host functions that it calls.
const STACK_BYTES: usize = WASM_STACK_BYTES + (512 << 10);
/// Memory that a pool's slot keeps for the next task instead of giving it back to the kernel:
/// clearing a little is cheaper than faulting it in again.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .cranelift_nan_canonicalization(false)
        .relaxed_simd_deterministic(true)
        // C++ programs throw; their exceptions live in the engine's heap, within the job's memory.
        .wasm_exceptions(true)
        .collector(Collector::DeferredReferenceCounting)
        .wasm_gc(false)
        // Atomic instructions on a program's own memory do no harm; a second thread would.
        .wasm_threads(true)
        .shared_memory(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        .concurrency_support(false);
    config
}

/// An engine that compiles, or that runs with memory mapped anew for each task.
pub(crate) fn on_demand() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// An engine that keeps places ready for `threads` tasks at once, of `memory` bytes each. Fails
/// where the address space for that cannot be had.
pub(crate) fn pooled(threads: u32, memory: usize) -> wasmtime::Result<Engine> {
    // A place that is being cleared by one thread cannot be had by another at that moment.
    let slots = 2 * threads + 2;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots)
        .total_component_instances(0)
        // One for the program, one for the exceptions that it throws.
        .total_memories(2 * slots)
        .total_tables(slots)
        .total_stacks(slots)
        .total_gc_heaps(slots)
        .max_memory_size(memory)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(KEEP_RESIDENT_BYTES);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Whether bytes are a component rather than a core module; neither is told apart by parsing.
pub(crate) fn is_component(wasm: &[u8]) -> bool {
    wasm.get(4..8) == Some(&[0x0d, 0, 1, 0])
}
