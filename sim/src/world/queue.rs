//! What will happen, by time; of one time in the order in which it was planned.
//!
//! A heap with four children a place is half as deep as one with two, and what is planned lies
//! apart, in slots that are used again: nothing is allocated for an event.

use isos_base::Time;

const CHILDREN: usize = 4;

pub(super) struct Queue<T> {
    order: Vec<Key>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    planned: u64,
}

/// No two are equal: none has another's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Time,
    nth: u64,
    slot: usize,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { order: Vec::new(), slots: Vec::new(), free: Vec::new(), planned: 0 }
    }

    pub(super) fn plan(&mut self, at: Time, what: T) {
        self.planned += 1;
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(what),
            None => self.slots.push(Some(what)),
        }
        let key = Key { at, nth: self.planned, slot };
        let mut place = self.order.len();
        self.order.push(key);
        while place > 0 {
            let above = (place - 1) / CHILDREN;
            if self.order[above] < key {
                break;
            }
            self.order[place] = self.order[above];
            place = above;
        }
        self.order[place] = key;
    }

    pub(super) fn next(&mut self) -> Option<(Time, T)> {
        let first = *self.order.first()?;
        let last = self.order.pop()?;
        if !self.order.is_empty() {
            self.sink(last);
        }
        self.free.push(first.slot);
        self.slots[first.slot].take().map(|what| (first.at, what))
    }

    /// The first place is free: puts this there, or where it belongs below.
    fn sink(&mut self, key: Key) {
        let mut place = 0;
        loop {
            let from = place * CHILDREN + 1;
            let to = (from + CHILDREN).min(self.order.len());
            let Some(least) = (from..to).min_by_key(|&child| self.order[child]) else { break };
            if key < self.order[least] {
                break;
            }
            self.order[place] = self.order[least];
            place = least;
        }
        self.order[place] = key;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use isos_base::random::Random;

    use super::*;

    #[test]
    fn what_is_planned_comes_in_order_whatever_comes_between() {
        let mut random = Random::new(1);
        let (mut queue, mut model) = (Queue::new(), BTreeSet::new());
        for nth in 0..10_000_u64 {
            let at = Time(random.below(500));
            queue.plan(at, nth);
            model.insert((at, nth));
            while random.one_in(2) {
                assert_eq!(queue.next(), model.pop_first());
            }
        }
        while let Some(first) = model.pop_first() {
            assert_eq!(queue.next(), Some(first));
        }
        assert_eq!(queue.next(), None);
        assert!(queue.slots.len() < 5_000, "slots are used again: {}", queue.slots.len());
    }
}
