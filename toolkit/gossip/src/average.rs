//! Push-pull averaging (Jelasity, Montresor, Babaoglu 2005): two hosts meet, and both go on with
//! the average of what both had. After some thirty meetings of each all have the average of all.
//!
//! What is averaged gives the rest: of numbers of which one host has 1 and all others 0 the average
//! is one in as many as there are hosts; times that, an average is a sum; an average of squares
//! gives the variance; shares by bucket, quantiles. Extremes spread like a rumour beside it.
//!
//! Averaging has no defence against who lies about its own number. What there is: nothing is
//! believed outside of its domain ([`Sums::is_possible`]); many count at once, each begun by
//! another host, and the median is taken ([`Instances`]); and who differs late, when all have
//! nearly the same, is not met ([`Sums::agrees`]). What lies do all the same is measured, and no
//! money rests on it.

use isos_base::codec;
use isos_base::{Guid, HostId};
use serde::{Deserialize, Serialize};

use crate::attribute::{ATTRIBUTES, Attribute, Told};
use crate::sketch::Sketch;

/// Counts that run at once: so many that the median is right where seven are not.
pub const INSTANCES_MAX: usize = 16;

/// The average of two, where there is nothing to know but that.
#[must_use]
pub fn average(a: f64, b: f64) -> f64 {
    0.5 * (a + b)
}

/// Counts of hosts, each begun by one of them with 1. Of all that were begun those go on that have
/// the least names, so nobody has to agree on who begins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Instances(Vec<(u64, f64)>);

impl Instances {
    /// Begun by one host.
    #[must_use]
    pub fn begun_as(name: u64) -> Self {
        Self(vec![(name, 1.0)])
    }

    /// With these values; nothing if hosts cannot have them.
    #[must_use]
    pub fn of(mut values: Vec<(u64, f64)>) -> Option<Self> {
        values.sort_by_key(|(name, _)| *name);
        Some(Self(values)).filter(Self::is_possible)
    }

    /// What a host is called in an epoch.
    #[must_use]
    pub fn name(host: HostId, epoch: u64) -> u64 {
        let Guid(hash) = Guid::of(&codec::encode(&(epoch, host)));
        hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// The average of both. Who has not heard of a count has 0 of it.
    #[must_use]
    pub fn average(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::with_capacity(INSTANCES_MAX);
        while both.len() < INSTANCES_MAX {
            let (name, a, b) = match (ours.peek(), theirs.peek()) {
                (Some(&&(name, a)), Some(&&(other, b))) if name == other => (name, a, b),
                (Some(&&(name, a)), Some(&&(other, _))) if name < other => (name, a, 0.0),
                (Some(&&(name, a)), None) => (name, a, 0.0),
                (_, Some(&&(name, b))) => (name, 0.0, b),
                (None, None) => break,
            };
            ours.next_if(|it| it.0 == name);
            theirs.next_if(|it| it.0 == name);
            both.push((name, average(a, b)));
        }
        Self(both)
    }

    /// Hosts as each count has them, least first.
    #[must_use]
    pub fn counts(&self) -> Vec<f64> {
        let known = self.0.iter().filter(|(_, value)| *value > 0.0);
        let mut counts: Vec<f64> = known.map(|(_, value)| 1.0 / value).collect();
        counts.sort_by(f64::total_cmp);
        counts
    }

    /// Hosts: the median of all counts.
    #[must_use]
    pub fn count(&self) -> Option<f64> {
        let counts = self.counts();
        let middle = counts.len() / 2;
        match counts.len() {
            0 => None,
            even if even % 2 == 0 => Some(average(counts[middle - 1], counts[middle])),
            _ => Some(counts[middle]),
        }
    }

    /// The names of those that run.
    pub fn names(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// Counts that run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody has begun to count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn value(&self, name: u64) -> f64 {
        let at = self.0.binary_search_by_key(&name, |(name, _)| *name);
        at.map_or(0.0, |at| self.0[at].1)
    }

    fn is_possible(&self) -> bool {
        self.0.len() <= INSTANCES_MAX
            && self.0.is_sorted_by(|(a, _), (b, _)| a < b)
            && self.0.iter().all(|(_, value)| (0.0..=1.0).contains(value))
    }

    /// Leaves out counts whose names are less than those of so many hosts can be: names are hashes,
    /// and who makes some up to push others out must take lower ones than are there.
    pub fn drop_made_up(&mut self, hosts: f64) {
        let mut kept = 0;
        self.0.retain(|(name, _)| {
            // Twice as many as there were: they may have come since.
            let expected = 2.0 * hosts * (*name as f64 / 2_f64.powi(64));
            let fits = f64::from(kept + 1) <= expected + 3.0 * expected.sqrt() + 3.0;
            kept += i32::from(fits);
            fits
        });
    }
}

/// Of one attribute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The mean of squares.
    pub square: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Moments {
    /// Of one host.
    #[must_use]
    pub fn of(value: f64) -> Self {
        Self { mean: value, square: value * value, least: value, most: value }
    }

    /// The average of both.
    #[must_use]
    pub fn average(&self, other: &Self) -> Self {
        Self {
            mean: average(self.mean, other.mean),
            square: average(self.square, other.square),
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }

    /// How far hosts are from the mean, as the standard deviation.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        (self.square - self.mean * self.mean).max(0.0).sqrt()
    }

    fn is_possible(&self, attribute: Attribute) -> bool {
        let most = attribute.most();
        // What rounding leaves.
        let slack = 1.0 + 1e-6;
        let all = [self.mean, self.least, self.most];
        all.iter().all(|value| (0.0..=most).contains(value))
            && self.least <= self.mean * slack
            && self.mean <= self.most * slack
            && self.square * slack >= self.mean * self.mean
            && self.square <= self.most * self.most * slack
    }
}

/// All that is averaged at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Counts of hosts.
    pub instances: Instances,
    /// Of each attribute.
    pub moments: [Moments; ATTRIBUTES],
    /// Of each attribute.
    pub sketches: [Sketch; ATTRIBUTES],
}

impl Sums {
    /// What a host begins an epoch with.
    #[must_use]
    pub fn begin(name: u64, told: &Told) -> Self {
        let value = |attribute: Attribute| attribute.clamp(told[attribute.at()]);
        Self {
            instances: Instances::begun_as(name),
            moments: Attribute::ALL.map(|attribute| Moments::of(value(attribute))),
            sketches: Attribute::ALL.map(|attribute| Sketch::of(attribute, value(attribute))),
        }
    }

    /// The average of both.
    #[must_use]
    pub fn average(&self, other: &Self) -> Self {
        Self {
            instances: self.instances.average(&other.instances),
            moments: std::array::from_fn(|at| self.moments[at].average(&other.moments[at])),
            sketches: std::array::from_fn(|at| self.sketches[at].average(&other.sketches[at])),
        }
    }

    /// Whether hosts can have this at all, honest ones.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let attributes = Attribute::ALL.into_iter().zip(&self.moments);
        self.instances.is_possible()
            && attributes.into_iter().all(|(attribute, it)| it.is_possible(attribute))
            && self.sketches.iter().all(Sketch::is_whole)
    }

    /// Whether another may have this after so many cycles of the epoch. Values come together by a
    /// factor of 0.3 a cycle in variance; who is further away than six deviations of a slower pace
    /// (0.45) allow has lost or made up something, and would only spread it.
    #[must_use]
    pub fn agrees(&self, other: &Self, cycles: u32) -> bool {
        let pace = 0.45_f64.powf(f64::from(cycles) / 2.0);
        let hosts = self.instances.count().unwrap_or(1.0).max(1.0);
        // A count begins with one host that has all of it.
        let apart = 6.0 * hosts.sqrt() * pace + LATE_SLACK;
        if apart < 1.0 {
            let off = |&(name, ours): &(u64, f64)| {
                let theirs = other.instances.value(name);
                (ours - theirs).abs() > apart * ours.max(theirs)
            };
            let wrong = self.instances.0.iter().filter(|it| off(it)).count();
            if wrong * 2 > self.instances.len() {
                return false;
            }
        }
        // A share is between 0 and 1, so its deviation is at most a half to begin with.
        let apart = 3.0 * pace + LATE_SLACK;
        self.sketches.iter().zip(&other.sketches).all(|(a, b)| a.distance(b) <= apart)
    }
}

/// By so much two may differ however late it is: messages get lost.
const LATE_SLACK: f64 = 0.02;

#[cfg(test)]
mod tests;
