//! How a number is spread over all hosts: the share of hosts in each bucket of its scale.
//!
//! Shares are averaged like any other number, so a sketch is exact but for the width of its
//! buckets, wherever and in whatever order sketches meet. (A t-digest would be smaller where values
//! lie close together; what it leaves out at each of some thirty meetings, nobody adds up.) From it
//! every host knows its own rank, and the borders of slices are the same for all.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attribute::{Attribute, BUCKETS};

/// Shares of hosts, by bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sketch([f32; BUCKETS]);

/// Shares below are nobody's: left out on the way.
const LEAST_SHARE: f32 = 1e-9;

impl Sketch {
    /// Of one host.
    #[must_use]
    pub fn of(attribute: Attribute, value: f64) -> Self {
        let mut shares = [0.0; BUCKETS];
        shares[attribute.bucket(value)] = 1.0;
        Self(shares)
    }

    /// The average of both.
    #[must_use]
    pub fn average(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| 0.5 * (self.0[at] + other.0[at])))
    }

    /// The share of hosts that have less; of those in the same bucket, as if they were spread over
    /// it evenly.
    #[must_use]
    pub fn rank(&self, attribute: Attribute, value: f64) -> f64 {
        let at = attribute.bucket(value);
        let (low, high) = attribute.bounds(at);
        let part = ((attribute.clamp(value) - low) / (high - low)).clamp(0.0, 1.0);
        let below: f64 = self.0[..at].iter().map(|share| f64::from(*share)).sum();
        (below + part * f64::from(self.0[at])).clamp(0.0, 1.0)
    }

    /// The number that this share of hosts is below.
    #[must_use]
    pub fn quantile(&self, attribute: Attribute, share: f64) -> f64 {
        let mut below = 0.0;
        for (at, here) in self.0.iter().enumerate() {
            let here = f64::from(*here);
            if here > 0.0 && below + here >= share {
                let (low, high) = attribute.bounds(at);
                return low + (high - low) * ((share - below) / here).clamp(0.0, 1.0);
            }
            below += here;
        }
        let last = self.0.iter().rposition(|share| *share > 0.0).unwrap_or(0);
        attribute.bounds(last).1
    }

    /// The most by which shares of both differ.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        let each = self.0.iter().zip(&other.0).map(|(a, b)| f64::from((a - b).abs()));
        each.fold(0.0, f64::max)
    }

    /// Whether all hosts are in it, each once: what a peer says must be a sketch at all.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let all: f64 = self.0.iter().map(|share| f64::from(*share)).sum();
        self.0.iter().all(|share| (0.0..=1.0).contains(share)) && (all - 1.0).abs() < 1e-3
    }
}

/// Which buckets have hosts, the first in the lowest bit, and the shares of these.
#[derive(Serialize, Deserialize)]
struct Cells(u32, Vec<f32>);

const _: () = assert!(BUCKETS <= 32, "each bucket has a bit");

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut which, mut cells) = (0, Vec::new());
        for (at, share) in self.0.iter().enumerate() {
            if *share >= LEAST_SHARE {
                which |= 1_u32 << at;
                cells.push(*share);
            }
        }
        Cells(which, cells).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Cells(which, cells) = Cells::deserialize(deserializer)?;
        if which.count_ones() as usize != cells.len() {
            return Err(serde::de::Error::custom("a sketch with other buckets than it says"));
        }
        let mut shares = [0.0; BUCKETS];
        let with_hosts = shares.iter_mut().enumerate().filter(|(at, _)| which >> at & 1 == 1);
        for ((_, share), cell) in with_hosts.zip(cells) {
            *share = cell;
        }
        Ok(Self(shares))
    }
}

#[cfg(test)]
mod tests {
    use isos_base::codec::{decode, encode};
    use isos_base::random::Random;

    use super::*;

    /// What all have in the end: the average of all of them.
    fn all(values: &[f64]) -> Sketch {
        let mut shares = [0.0; BUCKETS];
        for value in values {
            shares[Attribute::Cores.bucket(*value)] += 1.0 / values.len() as f32;
        }
        Sketch(shares)
    }

    #[test]
    fn quantiles_and_ranks_are_right_to_the_width_of_a_bucket() {
        let mut random = Random::new(1);
        let mut values: Vec<f64> = (0..10_001).map(|_| 2_f64.powf(8.0 * random.unit())).collect();
        let sketch = all(&values);
        values.sort_by(f64::total_cmp);
        for percent in [1, 10, 50, 90, 99] {
            let (share, exact) = (f64::from(percent) / 100.0, values[percent as usize * 100]);
            let told = sketch.quantile(Attribute::Cores, share);
            assert!((told / exact).log2().abs() < 1.0 / 3.0, "{percent} %: {told}, is {exact}");
            let rank = sketch.rank(Attribute::Cores, exact);
            assert!((rank - share).abs() < 0.02, "{exact} has rank {rank}, is {share}");
        }
    }

    #[test]
    fn a_sketch_is_read_as_it_was_written_and_takes_no_more_than_it_has() {
        let one = Sketch::of(Attribute::Cores, 4.0);
        assert_eq!(encode(&one).len(), 7);
        let two = one.average(&Sketch::of(Attribute::Cores, 16.0));
        assert_eq!(decode(&encode(&two)), Ok(two));
        assert!(two.is_whole());
        assert!(decode::<Sketch>(&encode(&Cells(1 << 31, vec![0.5, 0.5]))).is_err());
        assert!(decode::<Sketch>(&encode(&Cells(u32::MAX, vec![0.5, 0.5]))).is_err());
    }

    #[test]
    fn what_is_not_of_hosts_is_no_sketch() {
        let mut shares = [0.0; BUCKETS];
        assert!(!Sketch(shares).is_whole(), "of nobody");
        (shares[0], shares[1]) = (2.0, -1.0);
        assert!(!Sketch(shares).is_whole());
        (shares[0], shares[1]) = (f32::NAN, 1.0);
        assert!(!Sketch(shares).is_whole());
    }
}
