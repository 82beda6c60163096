//! Programs that the host steps, and whose memory it saves for them.
//!
//! Such a module exports `isos_step: () -> i32`, which does a little of the work and returns 1
//! while there is more of it, 0 at its end; and no `_start`. Between two steps, when a save is due,
//! the segment ends with all of the program's memory as its state, and the next one is a fresh
//! instance with that memory. This happens at the same step on every host, whether or not anybody
//! keeps the checkpoint: so globals, tables and open files begin anew at the same place everywhere,
//! and what is in memory goes on.
//!
//! Not for components: their memory is their own.

use isos_base::Bytes;
use isos_base::checkpoint::CHECKPOINT_BYTES_MAX;
use wasmtime::{AsContextMut, ExternType, Instance, Memory, Module, Store};

use crate::host::{Host, enter, leave};
use crate::stop::{No, Stop};

/// The function that does a little of the work.
pub(crate) const STEP: &str = "isos_step";
/// What a library runs before anything else, if it exports it: in the first segment alone.
pub(crate) const INITIALIZE: &str = "_initialize";
const START: &str = "_start";
const MEMORY: &str = "memory";
/// By which other programs save themselves.
const SAVING: &str = "isos:host/checkpoint";

/// Bytes of a page of memory.
const PAGE: usize = 64 << 10;
/// Memory is saved in blocks of this size; those of zeros are left out.
const BLOCK: usize = 4 << 10;
/// A block with its number.
const ENTRY: usize = 4 + BLOCK;

/// Whether this is such a program.
pub(crate) fn is_stepped(module: &Module) -> bool {
    module.get_export(START).is_none() && module.get_export(STEP).is_some()
}

/// Why such a program cannot be stepped.
pub(crate) fn check(module: &Module) -> Result<(), String> {
    let is_function = |name: &str, results: &str| match module.get_export(name) {
        Some(ExternType::Func(function)) => {
            let gives: Vec<_> = function.results().map(|it| it.to_string()).collect();
            function.params().len() == 0 && gives.join(",") == results
        }
        _ => false,
    };
    if !is_function(STEP, "i32") {
        return Err(format!("its export {STEP:?} is not a function () -> i32"));
    }
    if module.get_export(INITIALIZE).is_some() && !is_function(INITIALIZE, "") {
        return Err(format!("its export {INITIALIZE:?} is not a function without arguments"));
    }
    if module.imports().any(|import| import.module() == SAVING) {
        return Err(format!("it exports {STEP:?}, so it is saved: it imports no {SAVING}"));
    }
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(memory)) if !memory.is_64() => Ok(()),
        Some(ExternType::Memory(_)) => Err("a program that is stepped has a 32-bit memory".into()),
        _ => Err("it does not export its memory as \"memory\"".into()),
    }
}

/// Runs an instance to the end of the task, or of the segment.
pub(crate) async fn run(store: &mut Store<Host>, instance: &Instance) -> wasmtime::Result<()> {
    let step = instance.get_typed_func::<(), i32>(&mut *store, STEP)?;
    let memory = instance.get_memory(&mut *store, MEMORY).expect("checked when it was linked");
    store.data_mut().memory = Some(memory);
    match store.data_mut().saving.restored.take() {
        Some(state) => restore(store, memory, &state).await?,
        None => {
            if let Ok(start) = instance.get_typed_func::<(), ()>(&mut *store, INITIALIZE) {
                start.call_async(&mut *store, ()).await?;
            }
        }
    }
    while step.call_async(&mut *store, ()).await? != 0 {
        between(store, memory)?;
    }
    Ok(())
}

/// Between two steps: ends the segment if a save is due and nothing is too large.
fn between(store: &mut Store<Host>, memory: Memory) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    if !store.data().would_save_at(left) {
        return Ok(());
    }
    enter(&mut store.as_context_mut())?;
    let (bytes, host) = memory.data_and_store_mut(&mut *store);
    // All of it is looked at, whatever comes of it.
    let saved = host.pays(bytes.len()).map_err(No::Stop).and_then(|()| match snapshot(bytes) {
        Some(state) => host.save(&state),
        None => Ok(Err(crate::checkpoint::TooLarge)),
    });
    if let Ok(Err(_)) = saved {
        // It is not looked at again after each step.
        host.try_later();
    }
    leave(&mut store.as_context_mut())?;
    match saved {
        Err(No::Stop(stop)) => Err(stop.into()),
        _ => Ok(()),
    }
}

/// What is in memory, in one way only: its pages, then each block that is not all zeros, behind its
/// number, in order. Nothing if that is more than a checkpoint may have.
fn snapshot(bytes: &[u8]) -> Option<Vec<u8>> {
    let blocks = || bytes.chunks(BLOCK).enumerate().filter(|(_, block)| !is_zero(block));
    let size = 4 + blocks().count() * ENTRY;
    if Bytes(size as u64) > CHECKPOINT_BYTES_MAX {
        return None;
    }
    let mut state = Vec::with_capacity(size);
    state.extend_from_slice(&u32::try_from(bytes.len() / PAGE).ok()?.to_le_bytes());
    for (number, block) in blocks() {
        state.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
        state.extend_from_slice(block);
    }
    Some(state)
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// A snapshot that was read; its bytes may be anybody's.
struct Snapshot<'a> {
    pages: u32,
    blocks: &'a [u8],
}

impl<'a> Snapshot<'a> {
    fn read(state: &'a [u8]) -> Option<Self> {
        let (pages, blocks) = state.split_first_chunk::<4>()?;
        let snapshot = Self { pages: u32::from_le_bytes(*pages), blocks };
        let end = u64::from(snapshot.pages) * (PAGE / BLOCK) as u64;
        let mut next = 0;
        let whole = blocks.len().is_multiple_of(ENTRY);
        let good = whole
            && snapshot.blocks().all(|(number, block)| {
                let fits = (next..end).contains(&number) && !is_zero(block);
                next = number + 1;
                fits
            });
        good.then_some(snapshot)
    }

    fn blocks(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        self.blocks.chunks_exact(ENTRY).map(|entry| {
            let (number, block) = entry.split_at(4);
            let number = number.try_into().expect("split off four bytes");
            (u32::from_le_bytes(number).into(), block)
        })
    }
}

/// Whether a state is one that such a program could have, in so much memory.
pub(crate) fn is_state(module: &Module, state: &[u8], memory_max: u64) -> bool {
    let Some(ExternType::Memory(memory)) = module.get_export(MEMORY) else { return false };
    Snapshot::read(state).is_some_and(|snapshot| {
        let pages = u64::from(snapshot.pages);
        memory.minimum() <= pages
            && memory.maximum().is_none_or(|maximum| pages <= maximum)
            && pages * PAGE as u64 <= memory_max
    })
}

/// Puts back what was in memory. It costs the same at the start of each segment but the first,
/// wherever that runs.
async fn restore(store: &mut Store<Host>, memory: Memory, state: &[u8]) -> wasmtime::Result<()> {
    // A program whose start takes other memory than it had is in the wrong on every host alike.
    let odd = || Stop::Aborted;
    let snapshot = Snapshot::read(state).ok_or_else(odd)?;
    let grown = u64::from(snapshot.pages).checked_sub(memory.size(&*store)).ok_or_else(odd)?;
    let grown = memory.grow_async(&mut *store, grown).await;
    grown.map_err(|error| error.downcast_ref::<Stop>().map_or_else(odd, Stop::clone))?;
    enter(&mut store.as_context_mut())?;
    let (bytes, host) = memory.data_and_store_mut(&mut *store);
    let paid = host.pays(bytes.len());
    if paid.is_ok() {
        bytes.fill(0);
        for (number, block) in snapshot.blocks() {
            let at = usize::try_from(number).map_err(|_| odd())? * BLOCK;
            bytes[at..at + BLOCK].copy_from_slice(block);
        }
    }
    leave(&mut store.as_context_mut())?;
    paid.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use isos_base::random::Random;

    use super::*;

    fn memory() -> Vec<u8> {
        let mut memory = vec![0; 2 * PAGE];
        memory[5] = 1;
        memory[2 * PAGE - 1] = 9;
        memory
    }

    #[test]
    fn only_what_is_not_zero_is_saved_and_it_is_read_as_it_was() {
        let state = snapshot(&memory()).unwrap();
        assert_eq!(state.len(), 4 + 2 * ENTRY);
        let read = Snapshot::read(&state).unwrap();
        assert_eq!(read.pages, 2);
        let mut again = vec![0; 2 * PAGE];
        for (number, block) in read.blocks() {
            again[number as usize * BLOCK..][..BLOCK].copy_from_slice(block);
        }
        assert_eq!(again, memory());
        assert_eq!(snapshot(&[]).map(|state| state.len()), Some(4));
    }

    #[test]
    fn more_than_a_checkpoint_may_have_is_no_state() {
        let full = vec![1; CHECKPOINT_BYTES_MAX.as_usize()];
        assert_eq!(snapshot(&full), None);
    }

    #[test]
    fn what_nobody_could_have_saved_is_not_read() {
        let state = snapshot(&memory()).unwrap();
        let (first, second) = (state[4..4 + ENTRY].to_vec(), state[4 + ENTRY..].to_vec());
        let pages = &state[..4];
        let bad = [
            vec![],
            vec![1, 0, 0],
            [pages, &second, &first].concat(),
            [pages, &first, &first].concat(),
            [pages, &first[..ENTRY - 1]].concat(),
            [pages, &[0; ENTRY]].concat(),
            [&1_u32.to_le_bytes(), &second[..]].concat(),
        ];
        for bad in bad {
            assert!(Snapshot::read(&bad).is_none());
        }
        let mut random = Random::new(7);
        for _ in 0..2_000 {
            let mut bytes = state.clone();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
            if let Some(read) = Snapshot::read(&bytes) {
                assert!(read.blocks().all(|(number, _)| number < u64::from(read.pages) * 16));
            }
        }
    }
}
