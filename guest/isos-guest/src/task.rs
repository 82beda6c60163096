//! Which task of how many this run is, and which share of the work that means.

use std::env;
use std::ops::Range;

use crate::Failure;

/// One task of a job: `index` of `count`, with `index < count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    index: u64,
    count: u64,
}

impl Task {
    /// Fails when `count` is zero or `index` is not below it.
    pub fn new(index: u64, count: u64) -> Result<Self, Failure> {
        if index < count {
            Ok(Self { index, count })
        } else {
            Err(Failure::new(format!("task {index} of {count} does not exist")))
        }
    }

    /// The task that the host named in `ISOS_TASK` and `ISOS_TASKS`; alone (0 of 1) without them.
    pub fn from_env() -> Result<Self, Failure> {
        Self::or_env(None, None)
    }

    /// As [`Task::from_env`], but numbers given on the command line win.
    pub fn or_env(index: Option<u64>, count: Option<u64>) -> Result<Self, Failure> {
        let index = index.map_or_else(|| variable("ISOS_TASK", 0), Ok)?;
        let count = count.map_or_else(|| variable("ISOS_TASKS", 1), Ok)?;
        Self::new(index, count)
    }

    /// Number of this task, from 0.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// Number of tasks in the job, at least 1.
    #[must_use]
    pub fn count(self) -> u64 {
        self.count
    }

    /// This task's share of `items` things: contiguous, disjoint from the others', all covered,
    /// sizes differing by at most one. Empty for some when there are more tasks than items.
    #[must_use]
    pub fn share(self, items: usize) -> Range<usize> {
        let cut = |index: u64| {
            let at = items as u128 * u128::from(index) / u128::from(self.count);
            usize::try_from(at).expect("a cut is at most `items`, which is a usize")
        };
        cut(self.index)..cut(self.index + 1)
    }
}

/// Number of this task, from 0, as the host says in `ISOS_TASK`.
pub fn task() -> Result<u64, Failure> {
    Task::from_env().map(Task::index)
}

/// Number of tasks in the job, as the host says in `ISOS_TASKS`.
pub fn tasks() -> Result<u64, Failure> {
    Task::from_env().map(Task::count)
}

/// Which host of how many this run is on, where it runs on a slice: the host's rank, as `ISOS_RANK`
/// and `ISOS_SIZE` say; alone (0 of 1) elsewhere.
pub fn rank() -> Result<Task, Failure> {
    Task::new(variable("ISOS_RANK", 0)?, variable("ISOS_SIZE", 1)?)
}

fn variable(name: &str, absent: u64) -> Result<u64, Failure> {
    let Some(value) = env::var_os(name) else {
        return Ok(absent);
    };
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Failure::new(format!("{name}={} is not a number", value.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_cover_everything() {
        for (items, count) in [(10, 3), (3, 10), (0, 4), (200, 200), (usize::MAX, 7)] {
            let mut next = 0;
            for index in 0..count {
                let share = Task::new(index, count).unwrap().share(items);
                assert_eq!(share.start, next);
                assert!(share.len().abs_diff(items / count as usize) <= 1);
                next = share.end;
            }
            assert_eq!(next, items);
        }
    }

    #[test]
    fn a_task_beyond_the_count_is_refused() {
        assert_eq!(Task::new(4, 4).unwrap_err().to_string(), "task 4 of 4 does not exist");
        assert!(Task::new(0, 0).is_err());
    }

    #[test]
    fn numbers_on_the_command_line_win() {
        let task = Task::or_env(Some(3), Some(9)).unwrap();
        assert_eq!((task.index(), task.count()), (3, 9));
    }
}
