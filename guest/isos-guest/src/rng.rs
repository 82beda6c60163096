//! Randomness that is the same on every host: a seed of the job, a stream for each task.
//!
//! The generator is xoshiro256++ (Blackman, Vigna, "Scrambled linear pseudorandom number
//! generators", ACM TOMS 47, 2021), its state filled by SplitMix64 (Steele, Lea, Flood,
//! OOPSLA 2014) as its authors recommend. It is not for secrets.

use crate::Task;

/// A generator of random numbers; equal seeds give equal sequences everywhere.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
    spare_normal: Option<f64>,
}

impl Rng {
    /// A generator from one number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mix = SplitMix64(seed);
        Self::from_state([mix.next(), mix.next(), mix.next(), mix.next()])
    }

    /// The generator of one task: tasks with the same `seed` get unrelated sequences.
    #[must_use]
    pub fn for_task(seed: u64, task: Task) -> Self {
        let mut mix = SplitMix64(seed);
        let job = mix.next();
        Self::new(job ^ SplitMix64(task.index()).next())
    }

    fn from_state(state: [u64; 4]) -> Self {
        Self { state, spare_normal: None }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// A number in `0.0..1.0`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A normally distributed number, mean 0, variance 1: Marsaglia's polar method (1964).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let x = 2.0 * self.unit() - 1.0;
            let y = 2.0 * self.unit() - 1.0;
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = libm::sqrt(-2.0 * libm::log(square) / square);
                self.spare_normal = Some(y * scale);
                return x * scale;
            }
        }
    }
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_its_authors_numbers() {
        let mut mix = SplitMix64(1_234_567);
        assert_eq!(mix.next(), 6_457_827_717_110_365_317);
        assert_eq!(mix.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn xoshiro_gives_its_authors_numbers() {
        let mut rng = Rng::from_state([1, 2, 3, 4]);
        let first: Vec<u64> = (0..4).map(|_| rng.bits()).collect();
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!(first, expected);
    }

    #[test]
    fn tasks_get_sequences_of_their_own_and_the_same_each_time() {
        let first = |index| Rng::for_task(7, Task::new(index, 10).unwrap()).bits();
        assert_eq!(first(3), first(3));
        assert_ne!(first(3), first(4));
    }

    #[test]
    fn normal_numbers_have_mean_nought_and_variance_one() {
        let mut rng = Rng::new(1);
        let n = 200_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let x = rng.normal();
            sum += x;
            squares += x * x;
        }
        let mean = sum / f64::from(n);
        let variance = squares / f64::from(n) - mean * mean;
        assert!(mean.abs() < 0.01, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
    }
}
