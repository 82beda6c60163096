//! Hosts drawn from all that were ever told of, each as likely as any other, however often it was
//! told (the samplers of Brahms: Bortnikov and others 2009).
//!
//! Each sampler hashes hosts with a secret of its own and keeps the least. Who is told of a
//! thousand times has one hash like everybody, so neither hubs nor liars who fill views get more
//! than their share; only who is never told of is never drawn.

use isos_base::random::Random;

/// One draw.
#[derive(Debug, Clone)]
struct Sampler<T> {
    secret: u64,
    best: Option<(u64, T)>,
}

/// Several draws, independent of each other.
#[derive(Debug, Clone)]
pub struct Samplers<T>(Vec<Sampler<T>>);

/// Spreads a name over all numbers, under a secret.
fn mix(secret: u64, name: u64) -> u64 {
    Random::new(secret ^ Random::new(name).next_u64()).next_u64()
}

impl<T: Clone> Samplers<T> {
    /// So many, with nobody drawn yet.
    #[must_use]
    pub fn new(count: usize, random: &mut Random) -> Self {
        Self((0..count).map(|_| Sampler { secret: random.next_u64(), best: None }).collect())
    }

    /// Somebody was told of, under this name.
    pub fn offer(&mut self, name: u64, who: &T, is_newer: impl Fn(&T) -> bool) {
        for Sampler { secret, best } in &mut self.0 {
            let hash = mix(*secret, name);
            match best {
                Some((least, known)) if *least == hash => {
                    if is_newer(known) {
                        *known = who.clone();
                    }
                }
                Some((least, _)) if *least < hash => {}
                _ => *best = Some((hash, who.clone())),
            }
        }
    }

    /// Draws anew wherever somebody was drawn that is not wanted any more, with new secrets: else
    /// the next would be the one that comes after it, who may be its friend.
    pub fn renew(&mut self, random: &mut Random, is_wanted: impl Fn(&T) -> bool) {
        for sampler in &mut self.0 {
            if sampler.best.as_ref().is_some_and(|(_, known)| !is_wanted(known)) {
                *sampler = Sampler { secret: random.next_u64(), best: None };
            }
        }
    }

    /// Who was drawn; some may be there twice.
    pub fn drawn(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|sampler| sampler.best.as_ref().map(|(_, known)| known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_of_often_is_drawn_no_more_often() {
        let mut random = Random::new(1);
        let mut liars = 0;
        for _ in 0..200 {
            let mut samplers = Samplers::new(16, &mut random);
            for round in 0..50_u64 {
                // Ten liars are in each message, and one of ninety others.
                (0..10).for_each(|liar| samplers.offer(liar, &liar, |_| false));
                let honest = 10 + (round * 7) % 90;
                samplers.offer(honest, &honest, |_| false);
            }
            liars += samplers.drawn().filter(|who| **who < 10).count();
        }
        // 10 of the 60 that were told of.
        let share = f64::from(liars as u32) / (200.0 * 16.0);
        assert!((0.13..0.20).contains(&share), "{share}");
    }

    #[test]
    fn who_is_gone_is_drawn_anew() {
        let mut random = Random::new(2);
        let mut samplers = Samplers::new(8, &mut random);
        samplers.offer(1, &1, |_| false);
        samplers.renew(&mut random, |who| *who != 1);
        assert_eq!(samplers.drawn().count(), 0);
        samplers.offer(2, &2, |_| false);
        assert_eq!(samplers.drawn().count(), 8);
    }
}
