//! Which part of all a host belongs to, by an attribute: the slowest tenth, the largest quarter.
//!
//! Three ways. By *sketch* ([`crate::sketch`]): the borders of slices are the same for all, so a
//! host on one side stays there; this is what hosts go by. By a *window* of hosts that were told of
//! (Sliver: Gramoli and others 2009; Fernandez and others 2007): no aggregation is needed, and one
//! liar counts as one; it gets better with the root of samples. By *swapping* random numbers until
//! they lie in the order of the attribute (Jelasity, Kermarrec 2006): only to compare, in the
//! simulator.

use std::collections::VecDeque;

/// The slice of a rank in [0, 1], of so many; from 0.
#[must_use]
pub fn slice_of(rank: f64, slices: u32) -> u32 {
    // NaN becomes 0.
    ((rank * f64::from(slices)) as u32).min(slices.saturating_sub(1))
}

/// How many of all had less, as far as they were told of lately.
#[derive(Debug, Clone)]
pub struct Window<T> {
    told: VecDeque<(u64, T)>,
    capacity: usize,
}

impl<T: Copy> Window<T> {
    /// Of the last so many hosts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { told: VecDeque::new(), capacity }
    }

    /// Somebody was told of. Who is there already is only brought up to date: who is told of often
    /// counts once.
    pub fn offer(&mut self, name: u64, value: T) {
        if let Some((_, known)) = self.told.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
            return;
        }
        if self.told.len() >= self.capacity {
            self.told.pop_front();
        }
        self.told.push_back((name, value));
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = T> {
        self.told.iter().map(|(_, value)| *value)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether nobody was told of.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The share of them for which this holds; nothing of nobody.
    #[must_use]
    pub fn share(&self, holds: impl Fn(T) -> bool) -> Option<f64> {
        let fits = self.values().filter(|value| holds(*value)).count();
        (!self.is_empty()).then(|| fits as f64 / self.len() as f64)
    }
}

/// Lower values among samples, without keeping them: all that a rank needs while nobody comes or
/// goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ranking {
    lower: u32,
    seen: u32,
}

impl Ranking {
    /// Somebody was told of who has less, or has not.
    pub fn saw(&mut self, is_lower: bool) {
        self.lower += u32::from(is_lower);
        self.seen += 1;
    }

    /// The share that has less.
    #[must_use]
    pub fn rank(&self) -> f64 {
        if self.seen == 0 { 0.5 } else { f64::from(self.lower) / f64::from(self.seen) }
    }
}

/// Whether two hosts' random numbers lie in another order than their attributes, so that they
/// should be swapped.
#[must_use]
pub fn is_misordered(own: (f64, f64), other: (f64, f64)) -> bool {
    (own.0 - other.0) * (own.1 - other.1) < 0.0
}

/// How much a swap would bring: the product by which order is measured (JK's local gain). `own` and
/// `other` are attribute and number.
#[must_use]
pub fn gain(own: (f64, f64), other: (f64, f64)) -> f64 {
    (own.0 - other.0) * (other.1 - own.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_parts_of_equal_size() {
        let of = |rank| slice_of(rank, 10);
        assert_eq!([0.0, 0.05, 0.1, 0.55, 0.999, 1.0].map(of), [0, 0, 1, 5, 9, 9]);
        assert_eq!(slice_of(f64::NAN, 10), 0);
        assert_eq!(slice_of(0.5, 0), 0);
    }

    #[test]
    fn a_window_counts_everybody_once_and_forgets_the_first() {
        let mut window = Window::new(4);
        for (name, value) in [(1, 5), (2, 7), (1, 6), (1, 6), (3, 1), (4, 2)] {
            window.offer(name, value);
        }
        assert_eq!(window.share(|value| value < 6), Some(0.5));
        window.offer(5, 9);
        assert_eq!(window.values().collect::<Vec<_>>(), [7, 1, 2, 9]);
        assert_eq!(Window::<u8>::new(4).share(|_| true), None);
    }

    #[test]
    fn a_swap_of_the_misordered_is_a_gain() {
        let (low, high) = ((1.0, 0.9), (2.0, 0.1));
        assert!(is_misordered(low, high) && is_misordered(high, low));
        assert!(gain(low, high) > 0.0 && gain(high, low) > 0.0);
        assert!(!is_misordered((1.0, 0.1), (2.0, 0.9)));
    }
}
