//! Which share of hosts can be called: counted by those who are called.
//!
//! Each host begins one exchange a cycle with a public one that is drawn from all, so of the
//! exchanges that come to public hosts that share is begun by public hosts (Croupier). They tell
//! their count, and everybody takes the mean of the last few that it was told.

use std::collections::VecDeque;

use isos_base::descriptor::Access;

/// Exchanges that are counted, and counts that are remembered.
const COUNTED: usize = 64;
/// Fewer say nothing.
const LEAST: usize = 8;

/// What is known of the share.
#[derive(Debug, Clone, Default)]
pub struct Ratio {
    came: VecDeque<Access>,
    told: VecDeque<f32>,
}

impl Ratio {
    /// Somebody began an exchange.
    pub fn came(&mut self, access: Access) {
        push(&mut self.came, access);
    }

    /// Somebody told its count. What is no share is not heard.
    pub fn told(&mut self, share: f32) {
        if (0.0..=1.0).contains(&share) {
            push(&mut self.told, share);
        }
    }

    /// The own count, to be told.
    #[must_use]
    pub fn counted(&self) -> Option<f32> {
        let public = self.came.iter().filter(|it| **it == Access::Public).count();
        (self.came.len() >= LEAST).then(|| public as f32 / self.came.len() as f32)
    }

    /// The share of public hosts.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let own = self.counted().into_iter();
        let (sum, count) = self
            .told
            .iter()
            .copied()
            .chain(own)
            .fold((0.0, 0.0), |(sum, n), it| (sum + f64::from(it), n + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    pub(crate) fn check(&self) {
        assert!(self.came.len() <= COUNTED && self.told.len() <= COUNTED, "too much is counted");
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() >= COUNTED {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_what_came_and_what_was_told() {
        let mut ratio = Ratio::default();
        assert_eq!(ratio.share(), None);
        ratio.told(0.2);
        ratio.told(f32::NAN);
        ratio.told(7.0);
        assert!((ratio.share().unwrap() - 0.2).abs() < 1e-6);
        for n in 0..1_000 {
            ratio.came(if n % 4 == 0 { Access::Public } else { Access::Private });
            ratio.told(0.25);
            ratio.check();
        }
        assert_eq!(ratio.counted(), Some(0.25));
        assert!((ratio.share().unwrap() - 0.25).abs() < 1e-6);
    }
}
