//! Sets of task indices as sorted, disjoint ranges: a job of ten million tasks is one of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Tasks `start..end` of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskRange {
    /// The first task.
    pub start: u32,
    /// One past the last task.
    pub end: u32,
}

impl TaskRange {
    /// The range `start..end`.
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// How many tasks; 0 for a range that is upside down.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no task in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// What is in both; empty if nothing is.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let start = self.start.max(other.start);
        Self { start, end: self.end.min(other.end).max(start) }
    }

    /// Its tasks in order.
    pub fn tasks(self) -> std::ops::Range<u32> {
        self.start..self.end
    }
}

/// `7`, or `5..10` for 5 to 9.
impl std::fmt::Display for TaskRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.len() == 1 {
            return f.pad(&self.start.to_string());
        }
        f.pad(&format!("{}..{}", self.start, self.end))
    }
}

/// A set of tasks. Neighbouring ranges are always merged, so size follows fragmentation, not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSet {
    /// start -> end.
    ranges: BTreeMap<u32, u32>,
    count: u32,
}

impl TaskSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: BTreeMap::new(), count: 0 }
    }

    /// The set of all tasks of a job with `count` tasks.
    #[must_use]
    pub fn full(count: u32) -> Self {
        let mut set = Self::new();
        set.insert(TaskRange::new(0, count));
        set
    }

    /// How many tasks.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many ranges it takes.
    #[must_use]
    pub fn fragments(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = TaskRange> + '_ {
        self.ranges.iter().map(|(&start, &end)| TaskRange { start, end })
    }

    /// Whether `task` is in the set.
    #[must_use]
    pub fn contains(&self, task: u32) -> bool {
        self.ranges.range(..=task).next_back().is_some_and(|(_, &end)| task < end)
    }

    /// Adds a range; what is there already stays. Returns how many tasks are new.
    pub fn insert(&mut self, range: TaskRange) -> u32 {
        if range.is_empty() {
            return 0;
        }
        let before = self.count;
        let TaskRange { mut start, mut end } = range;
        if let Some((&s, &e)) = self.ranges.range(..=start).next_back()
            && e >= start
        {
            start = s;
            end = end.max(e);
            self.ranges.remove(&s);
            self.count -= e - s;
        }
        while let Some((&s, &e)) = self.ranges.range(start..=end).next() {
            end = end.max(e);
            self.ranges.remove(&s);
            self.count -= e - s;
        }
        self.ranges.insert(start, end);
        self.count += end - start;
        self.count - before
    }

    /// Takes a range out; what is not there stays out. Returns how many tasks went.
    pub fn remove(&mut self, range: TaskRange) -> u32 {
        if range.is_empty() {
            return 0;
        }
        let before = self.count;
        if let Some((&s, &e)) = self.ranges.range(..range.start).next_back()
            && e > range.start
        {
            self.ranges.insert(s, range.start);
            self.count -= e - range.start;
            if e > range.end {
                self.ranges.insert(range.end, e);
                self.count += e - range.end;
            }
        }
        while let Some((&s, &e)) = self.ranges.range(range.start..range.end).next() {
            self.ranges.remove(&s);
            self.count -= e - s;
            if e > range.end {
                self.ranges.insert(range.end, e);
                self.count += e - range.end;
            }
        }
        before - self.count
    }

    /// Takes up to `tasks` tasks in at most `fragments_max` ranges from the front.
    pub fn take_front(&mut self, tasks: u32, fragments_max: usize) -> Vec<TaskRange> {
        let mut taken = Vec::new();
        let mut left = tasks;
        while left > 0 && taken.len() < fragments_max {
            let Some((&start, &end)) = self.ranges.iter().next() else { break };
            let range = TaskRange::new(start, end.min(start.saturating_add(left)));
            self.remove(range);
            left -= range.len();
            taken.push(range);
        }
        taken
    }
}

impl FromIterator<TaskRange> for TaskSet {
    fn from_iter<I: IntoIterator<Item = TaskRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn model(set: &TaskSet) -> BTreeSet<u32> {
        set.iter().flat_map(TaskRange::tasks).collect()
    }

    #[test]
    fn a_full_set_is_one_range() {
        let mut set = TaskSet::full(10_000_000);
        assert_eq!((set.count(), set.fragments()), (10_000_000, 1));
        assert_eq!(set.take_front(3, 9), [TaskRange::new(0, 3)]);
        set.insert(TaskRange::new(0, 3));
        assert_eq!(set.fragments(), 1);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_set_of_numbers(
            ops in prop::collection::vec((0..3u8, 0..60u32, 0..20u32), 1..60)
        ) {
            let mut set = TaskSet::new();
            let mut truth = BTreeSet::new();
            for (op, start, len) in ops {
                let range = TaskRange::new(start, start + len);
                match op {
                    0 => {
                        let added = range.tasks().filter(|t| truth.insert(*t)).count();
                        prop_assert_eq!(set.insert(range) as usize, added);
                    }
                    1 => {
                        let gone = range.tasks().filter(|t| truth.remove(t)).count();
                        prop_assert_eq!(set.remove(range) as usize, gone);
                    }
                    _ => {
                        let taken = set.take_front(len, 2);
                        prop_assert!(taken.len() <= 2);
                        for t in taken.into_iter().flat_map(TaskRange::tasks) {
                            prop_assert!(truth.remove(&t));
                        }
                    }
                }
                prop_assert_eq!(&model(&set), &truth);
                prop_assert_eq!(set.count() as usize, truth.len());
                prop_assert!((0..90).all(|t| set.contains(t) == truth.contains(&t)));
                let ranges: Vec<_> = set.iter().collect();
                prop_assert!(ranges.windows(2).all(|w| w[0].end < w[1].start));
            }
        }
    }
}
