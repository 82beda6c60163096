//! Checkpoints: what a long task has saved, as those who do not run it see it.
//!
//! A task that saves its state is a chain of *segments*: each is a run of the program from its
//! start with what the segment before has saved. What is saved at the end of a segment is an
//! object, and its GUID is the segment's *root*: it covers the program's own bytes, its files and
//! streams, the fuel that was used, and the roots of all segments before. So two runs whose roots
//! are equal at one place are equal up to there, and two that differ differ from there on to the
//! end.
//!
//! What is in such an object is known to the sandbox alone.

use serde::{Deserialize, Serialize};

use crate::guid::Guid;
use crate::ids::LeaseId;
use crate::units::{Bytes, Fuel};

/// Segments that one task can have: their roots stay below 32 KiB.
pub const SEGMENTS_MAX: u32 = 1_000;
/// A segment is at least this long, however little fuel a job has: a tenth of a second.
pub const SEGMENT_FUEL_MIN: Fuel = Fuel(100_000_000);
/// All that is saved at the end of a segment: the program's bytes, its files and streams.
pub const CHECKPOINT_BYTES_MAX: Bytes = Bytes::mib(16);

/// The fuel after which a task of a job with so much fuel can save its state, and again after each
/// time. A part of what a program does, so the same on every host.
#[must_use]
pub const fn segment_fuel(fuel: Fuel) -> Fuel {
    let part = fuel.0.div_ceil(SEGMENTS_MAX as u64);
    if part > SEGMENT_FUEL_MIN.0 { Fuel(part) } else { SEGMENT_FUEL_MIN }
}

/// How far a task has come, as its host tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The lease that it runs under.
    pub lease: LeaseId,
    /// Index of the task in its job.
    pub task: u32,
    /// Fuel used at the end of the last of these segments.
    pub fuel: Fuel,
    /// Roots of all segments from the task's start, whoever ran them.
    pub roots: Vec<Guid>,
    /// The size of the object that the last root names, if it has been handed over.
    pub kept: Option<Bytes>,
}

impl Saved {
    /// Whether an honest host could have sent it about a task with so much fuel.
    #[must_use]
    pub fn is_plausible(&self, fuel: Fuel) -> bool {
        let segments = self.roots.len() as u64;
        (1..=u64::from(SEGMENTS_MAX)).contains(&segments)
            && self.fuel <= fuel
            && self.fuel.0 >= segments.saturating_mul(segment_fuel(fuel).0)
            && self.kept.is_none_or(|size| size <= object_bytes_max())
    }
}

/// Which part of a granted task is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The lease that it is granted under.
    pub lease: LeaseId,
    /// Index of the task in its job.
    pub task: u32,
    /// Where it goes on; nothing for its start.
    pub from: Option<Checkpoint>,
    /// It ends when so many segments have roots, which are what is asked for. Else it is run to its
    /// end.
    pub until: Option<u32>,
    /// [`chain_of`] the roots up to where it goes on, as whoever saved that has told them. A
    /// checkpoint that says otherwise is not gone on with: whoever did would be blamed for what
    /// another made up.
    pub chain: Option<Guid>,
}

/// A name for all roots of a task up to some segment: how many they are, and which.
#[must_use]
pub fn chain_of(roots: &[Guid]) -> Guid {
    let bytes: Vec<u8> = roots.iter().flat_map(|root| root.0).collect();
    Guid::of(&bytes)
}

/// What was saved of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The object: the root of the last segment before it.
    pub guid: Guid,
    /// Its size.
    pub size: Bytes,
    /// Fuel used up to there.
    pub fuel: Fuel,
}

/// The largest object that an honest host hands over: lengths and roots come on top of what a
/// program can save.
#[must_use]
pub const fn object_bytes_max() -> Bytes {
    Bytes(CHECKPOINT_BYTES_MAX.0 + (1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_job_has_more_segments_than_may_be_told() {
        for fuel in [0, 1, 99_999_999, 100_000_000, 1 << 40, u64::MAX - 1, u64::MAX] {
            let each = segment_fuel(Fuel(fuel));
            assert!(each >= SEGMENT_FUEL_MIN);
            assert!(fuel / each.0 <= u64::from(SEGMENTS_MAX), "{fuel} in parts of {each}");
        }
    }

    #[test]
    fn what_no_honest_host_says_is_seen_from_the_numbers() {
        let fuel = Fuel(1_000_000_000_000);
        let saved = |roots: usize, used, kept| Saved {
            lease: LeaseId(1),
            task: 0,
            fuel: Fuel(used),
            roots: vec![Guid::of(b"root"); roots],
            kept,
        };
        assert!(saved(1, 1_000_000_000, None).is_plausible(fuel));
        assert!(saved(1_000, fuel.0, Some(CHECKPOINT_BYTES_MAX)).is_plausible(fuel));
        assert!(!saved(0, 1_000_000_000, None).is_plausible(fuel), "nothing was saved");
        assert!(!saved(2, 1_000_000_001, None).is_plausible(fuel), "segments are longer");
        assert!(!saved(1, fuel.0 + 1, None).is_plausible(fuel), "more fuel than there is");
        assert!(!saved(1_001, fuel.0, None).is_plausible(fuel), "too many");
        assert!(!saved(1, fuel.0, Some(Bytes::mib(18))).is_plausible(fuel), "too large");
    }
}
