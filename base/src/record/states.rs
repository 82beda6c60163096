//! States of tasks, packed two bits a task, and read whole bytes at a time where neighbours are
//! alike.

use serde::{Deserialize, Serialize};

use crate::ranges::TaskRange;

/// Where a task stands: two bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum TaskState {
    /// Not accepted yet: waiting, running, or with too few votes.
    Open = 0,
    /// A result with exit code 0 was accepted.
    Done = 1,
    /// A result was accepted that says the program failed.
    Failed = 2,
    /// Given up: too many faults, no agreement, cancelled.
    GivenUp = 3,
}

impl TaskState {
    /// From its two bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Open,
            1 => Self::Done,
            2 => Self::Failed,
            _ => Self::GivenUp,
        }
    }
}

/// The runs of equal states of the first `count` tasks in `bits`, in order; together they are all
/// of them. What lies behind the end of `bits` is open.
pub fn runs(bits: &[u8], count: u32) -> impl Iterator<Item = (TaskState, TaskRange)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= count {
            return None;
        }
        let (start, state) = (at, state_of(bits, at));
        at = end_of_run(bits, start, state).min(count);
        Some((state, TaskRange::new(start, at)))
    })
}

/// The state of one task.
#[must_use]
pub fn state_of(bits: &[u8], task: u32) -> TaskState {
    bits.get(task as usize / 4)
        .map_or(TaskState::Open, |byte| TaskState::from_bits(byte >> (task % 4 * 2)))
}

/// Whether all tasks of a range are in one state.
#[must_use]
pub fn are_all(bits: &[u8], range: TaskRange, state: TaskState) -> bool {
    range.is_empty()
        || (state_of(bits, range.start) == state
            && end_of_run(bits, range.start, state) >= range.end)
}

/// Puts all tasks of a range, which are open and within `bits`, into one state.
pub fn fill(bits: &mut [u8], range: TaskRange, state: TaskState) {
    let one = |bits: &mut [u8], task: u32| {
        bits[task as usize / 4] |= (state as u8) << (task % 4 * 2);
    };
    if range.is_empty() {
        return;
    }
    let whole = range.start.next_multiple_of(4).min(range.end);
    let rest = (range.end / 4 * 4).max(whole);
    (range.start..whole).for_each(|task| one(bits, task));
    bits[whole as usize / 4..rest as usize / 4].fill(state as u8 * 0b0101_0101);
    (rest..range.end).for_each(|task| one(bits, task));
}

/// Opens all tasks of a range within `bits` again.
pub fn reopen(bits: &mut [u8], range: TaskRange) {
    for task in range.tasks() {
        bits[task as usize / 4] &= !(0b11 << (task % 4 * 2));
    }
}

/// One past the last task that is like `start`, which is in `state`: beyond the end of `bits` if
/// all that follow are.
fn end_of_run(bits: &[u8], start: u32, state: TaskState) -> u32 {
    let mut at = start + 1;
    while !at.is_multiple_of(4) {
        if state_of(bits, at) != state {
            return at;
        }
        at += 1;
    }
    let like = state as u8 * 0b0101_0101;
    let rest = bits.get(at as usize / 4..).unwrap_or_default();
    let Some(same) = rest.iter().position(|byte| *byte != like) else {
        // Nothing but tasks of this state, and behind them open ones.
        return if state == TaskState::Open { u32::MAX } else { at + rest.len() as u32 * 4 };
    };
    at += same as u32 * 4;
    while state_of(bits, at) == state {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_million_tasks_are_a_few_runs() {
        let mut bits = vec![0; 2_500_000];
        fill(&mut bits, TaskRange::new(3, 9_000_002), TaskState::Done);
        fill(&mut bits, TaskRange::new(9_999_999, 10_000_000), TaskState::Failed);
        let found: Vec<_> = runs(&bits, 10_000_000).collect();
        let range = TaskRange::new;
        assert_eq!(
            found,
            [
                (TaskState::Open, range(0, 3)),
                (TaskState::Done, range(3, 9_000_002)),
                (TaskState::Open, range(9_000_002, 9_999_999)),
                (TaskState::Failed, range(9_999_999, 10_000_000)),
            ]
        );
        let none: Vec<_> = runs(&[], u32::MAX).collect();
        assert_eq!(none, [(TaskState::Open, range(0, u32::MAX))]);
    }

    proptest! {
        #[test]
        fn runs_say_what_the_bits_say(
            bits in prop::collection::vec(
                prop_oneof![Just(0), Just(0x55), Just(0xaa), Just(0xff), any::<u8>()], 0..40
            ),
            count in 0..200_u32,
        ) {
            let mut next = 0;
            let mut last = None;
            for (state, range) in runs(&bits, count) {
                prop_assert_eq!(range.start, next);
                prop_assert!(!range.is_empty() && last != Some(state));
                prop_assert!(range.tasks().all(|task| state_of(&bits, task) == state));
                prop_assert!(are_all(&bits, range, state));
                prop_assert!(!are_all(&bits, TaskRange::new(range.start, count + 1), state)
                    || range.end == count);
                (next, last) = (range.end, Some(state));
            }
            prop_assert_eq!(next, count);
        }

        #[test]
        fn what_is_opened_again_is_open_and_nothing_else(
            bits in prop::collection::vec(any::<u8>(), 30), start in 0..60_u32, len in 0..60_u32,
        ) {
            let mut opened = bits.clone();
            let range = TaskRange::new(start, start + len);
            reopen(&mut opened, range);
            for task in 0..120 {
                let open = range.tasks().contains(&task);
                let wanted = if open { TaskState::Open } else { state_of(&bits, task) };
                prop_assert_eq!(state_of(&opened, task), wanted);
            }
        }

        #[test]
        fn filling_is_setting_one_by_one(start in 0..60_u32, len in 0..60_u32, kind in 1..4_u8) {
            let state = TaskState::from_bits(kind);
            let mut bits = vec![0; 30];
            let range = TaskRange::new(start, start + len);
            fill(&mut bits, range, state);
            for task in 0..120 {
                let wanted = if range.tasks().contains(&task) { state } else { TaskState::Open };
                prop_assert_eq!(state_of(&bits, task), wanted);
            }
        }
    }
}
