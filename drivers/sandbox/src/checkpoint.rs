//! What is saved at the end of a segment, and how a task goes on from it.
//!
//! A save that is due ends the instance, whether or not anybody wants the checkpoint: the program
//! is started anew from what it has saved, with the same files, streams, clock and random bytes. So
//! a task that was moved and one that was not do the same by construction, to the unit of fuel; a
//! program that forgets to save something is wrong in the same way everywhere, and no honest host
//! is ever suspected because of it. When a save is due follows from fuel alone.
//!
//! A checkpoint may come from a host that lies. It is read like anything foreign, and one that is
//! not of this very task is not used.

use isos_base::checkpoint::{CHECKPOINT_BYTES_MAX, SEGMENTS_MAX, object_bytes_max, segment_fuel};
use isos_base::{Bytes, Fuel, Guid, codec};
use serde::{Deserialize, Serialize};

use crate::engine::ENGINE;
use crate::host::Host;
use crate::protocol::{Order, Setup};
use crate::stop::{Answer, Stop};
use crate::vfs::memory::{self, SavedNode};

/// A task between two of its segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// What task this is of: see [`identity`].
    pub(crate) of: Guid,
    /// Used by all segments so far.
    pub(crate) fuel: Fuel,
    /// What sleeping and looking at the clock have added to it.
    pub(crate) slept_ns: u64,
    /// Random bytes drawn.
    pub(crate) random: u64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Files and folders of `/out` and `/tmp`, each behind the folder that it is in.
    #[serde(deserialize_with = "memory::few")]
    pub(crate) files: Vec<SavedNode>,
    /// The number of the next file.
    pub(crate) next_inode: u64,
    /// Roots of the segments before the last.
    pub(crate) roots: Vec<Guid>,
    /// What the program gave.
    pub(crate) state: Vec<u8>,
}

impl Checkpoint {
    /// One with something in every part, and with these files, for those who test what reads it.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn sample(memory: memory::Memory) -> Self {
        let (files, next_inode) = memory.into_saved();
        Self {
            of: Guid::of(b"task"),
            fuel: Fuel(3 * isos_base::checkpoint::SEGMENT_FUEL_MIN.0),
            slept_ns: 7,
            random: 9,
            stdout: b"out".to_vec(),
            stderr: b"err".to_vec(),
            files,
            next_inode,
            roots: vec![Guid::of(b"one"), Guid::of(b"two")],
            state: b"state".to_vec(),
        }
    }

    /// The object.
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads an object that is a checkpoint of this task; nothing if it is not one.
    pub(crate) fn decode(bytes: &[u8], of: Guid, fuel: Fuel) -> Option<Self> {
        if bytes.len() > object_bytes_max().as_usize() {
            return None;
        }
        let checkpoint: Self = codec::decode(bytes).ok()?;
        let segments = checkpoint.roots.len() as u64 + 1;
        let good = checkpoint.of == of
            && checkpoint.fuel <= fuel
            && segments <= u64::from(SEGMENTS_MAX)
            && checkpoint.fuel.0 >= segments.saturating_mul(segment_fuel(fuel).0)
            // Equal checkpoints have equal bytes, or roots would not compare.
            && checkpoint.encode() == bytes;
        good.then_some(checkpoint)
    }
}

/// What a task's behaviour depends on: a checkpoint of anything else is not one of it.
pub(crate) fn identity(setup: &Setup, order: &Order) -> Guid {
    let spec = &setup.spec;
    let sizes = (spec.fuel, spec.memory, spec.output_max);
    let job = (spec.program, &spec.args, &spec.env, &spec.inputs, spec.count);
    Guid::of(&codec::encode(&("isos-checkpoint-1", ENGINE, job, sizes, order.task, &order.file)))
}

/// Saving and restoring, as a task's host functions see it.
#[derive(Debug, Default)]
pub(crate) struct Saving {
    /// What this segment was started from.
    pub(crate) restored: Option<Vec<u8>>,
    /// What it ended with.
    pub(crate) saved: Option<Vec<u8>>,
    /// The fuel that was left at its start.
    pub(crate) fuel_start: u64,
    /// Fuel of a segment at the least.
    pub(crate) fuel_each: u64,
}

/// Why a due save is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Host {
    /// Whether a save would be taken now.
    pub(crate) const fn save_is_due(&self) -> bool {
        self.would_save_at(self.fuel_left())
    }

    /// Whether one would be when so much fuel is left.
    pub(crate) const fn would_save_at(&self, fuel_left: u64) -> bool {
        self.saving.fuel_start.saturating_sub(fuel_left) >= self.saving.fuel_each
    }

    /// None is due again before a segment more.
    pub(crate) const fn try_later(&mut self) {
        self.saving.fuel_start = self.fuel_left();
    }

    /// Ends the segment if a save is due and nothing is too large; else the program goes on.
    pub(crate) fn save(&mut self, state: &[u8]) -> Answer<Result<(), TooLarge>> {
        if !self.save_is_due() {
            return Ok(Ok(()));
        }
        // Each file is looked at, whatever comes of it.
        self.handles(self.vfs.memory.nodes());
        let streams = (state.len() + self.stdout.len() + self.stderr.len()) as u64;
        let Some(files) = self.vfs.memory.saved_bytes() else { return Ok(Err(TooLarge)) };
        let size = files.saturating_add(streams);
        if Bytes(size) > CHECKPOINT_BYTES_MAX {
            return Ok(Err(TooLarge));
        }
        self.pays(usize::try_from(size).unwrap_or(usize::MAX))?;
        let mut saved = Vec::new();
        saved.try_reserve_exact(state.len()).map_err(|_| Stop::NoMemory)?;
        saved.extend_from_slice(state);
        self.saving.saved = Some(saved);
        Err(Stop::Saved.into())
    }
}

#[cfg(test)]
mod tests {
    use isos_base::checkpoint::SEGMENT_FUEL_MIN;
    use isos_base::random::Random;

    use super::*;
    use crate::vfs::memory::{Memory, Quota};

    const FUEL: Fuel = Fuel(10 * SEGMENT_FUEL_MIN.0);
    const QUOTA: Quota = Quota { out: 10_000, out_nodes: 100, tmp: 10_000 };

    fn checkpoint() -> Checkpoint {
        Checkpoint::sample(Memory::new(QUOTA))
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_only_for_its_task() {
        let (one, of) = (checkpoint(), Guid::of(b"task"));
        assert_eq!(Checkpoint::decode(&one.encode(), of, FUEL).as_ref(), Some(&one));
        assert_eq!(Checkpoint::decode(&one.encode(), Guid::of(b"other"), FUEL), None);
        assert_eq!(Checkpoint::decode(&one.encode(), of, Fuel(one.fuel.0 - 1)), None, "too much");
        let cheap = Checkpoint { fuel: Fuel(one.fuel.0 - 1), ..one.clone() };
        assert_eq!(Checkpoint::decode(&cheap.encode(), of, FUEL), None, "too many segments");
        let mut longer = one.encode();
        longer.push(0);
        assert_eq!(Checkpoint::decode(&longer, of, FUEL), None);
    }

    #[test]
    fn odd_bytes_are_no_checkpoint_and_never_a_panic() {
        let good = checkpoint().encode();
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(3) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.below(256) as u8),
                }
            }
            if let Some(read) = Checkpoint::decode(&bytes, Guid::of(b"task"), FUEL) {
                assert_eq!(read.encode(), bytes);
                let _ = Memory::restore(QUOTA, read.files, read.next_inode);
            }
        }
    }
}
