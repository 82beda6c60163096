//! What hosts tell of themselves in numbers, and the scale of each: a domain outside of which
//! nothing is believed, and buckets in which a sketch counts.
//!
//! Scales are part of the protocol: a bucket must mean the same to all who add it up.

use isos_base::descriptor::MARKS;

/// Attributes that are told.
pub const ATTRIBUTES: usize = 7;
/// Buckets of a scale.
pub const BUCKETS: usize = 32;

const _: () = assert!(ATTRIBUTES <= MARKS, "a descriptor has room for all of them");

/// A number that each host has. New ones are added at the end, with a new version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// Cores that the owner ever lets us use.
    Cores,
    /// Memory that could be had now, in bytes.
    MemoryFree,
    /// Free disk, in bytes.
    DiskFree,
    /// Cores that others than our tasks keep busy.
    Load,
    /// 1 while a task of ours runs, else 0: its mean is the share of hosts that are busy.
    Busy,
    /// How long the agent has run, in seconds.
    Uptime,
    /// Core-hours that tasks of ours have used here since the agent started.
    CoreHours,
}

/// What one host tells: a number for each attribute.
pub type Told = [f64; ATTRIBUTES];

/// Buckets that grow by a factor, or are all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    /// The first bucket is everything below.
    least: f64,
    /// Buckets in which the bound doubles; 0 for buckets of one size, from 0 to `most`.
    per_octave: f64,
    /// Nothing is more.
    most: f64,
}

const fn scale(least: f64, per_octave: f64, most: f64) -> Scale {
    Scale { least, per_octave, most }
}

const GIB: f64 = (1_u64 << 30) as f64;

impl Attribute {
    /// All of them, in the order in which they travel.
    pub const ALL: [Self; ATTRIBUTES] = [
        Self::Cores,
        Self::MemoryFree,
        Self::DiskFree,
        Self::Load,
        Self::Busy,
        Self::Uptime,
        Self::CoreHours,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cores => "cores",
            Self::MemoryFree => "memory_free",
            Self::DiskFree => "disk_free",
            Self::Load => "load",
            Self::Busy => "busy",
            Self::Uptime => "uptime",
            Self::CoreHours => "core_hours",
        }
    }

    /// Its place among all.
    #[must_use]
    pub const fn at(self) -> usize {
        self as usize
    }

    const fn scale(self) -> Scale {
        match self {
            // 1, 2, 3 and 4 cores are each in the middle of a bucket.
            Self::Cores => scale(0.9, 3.0, 1_024.0),
            Self::MemoryFree => scale(GIB / 16.0, 2.0, 4_096.0 * GIB),
            Self::DiskFree => scale(GIB / 4.0, 2.0, 65_536.0 * GIB),
            Self::Load => scale(1.0 / 32.0, 2.0, 1_024.0),
            Self::Busy => scale(0.0, 0.0, 1.0),
            Self::Uptime => scale(60.0, 2.0, 1e9),
            Self::CoreHours => scale(0.01, 1.0, 1e8),
        }
    }

    /// The number, or the nearest one that there can be; 0 for what is none.
    #[must_use]
    pub fn clamp(self, value: f64) -> f64 {
        if value.is_nan() { 0.0 } else { value.clamp(0.0, self.most()) }
    }

    /// Nothing is more.
    #[must_use]
    pub const fn most(self) -> f64 {
        self.scale().most
    }

    /// The bucket that a number is in.
    #[must_use]
    pub fn bucket(self, value: f64) -> usize {
        let Scale { least, per_octave, most } = self.scale();
        let value = self.clamp(value);
        let at = if per_octave == 0.0 {
            value / most * BUCKETS as f64
        } else if value < least {
            0.0
        } else {
            1.0 + (value / least).log2() * per_octave
        };
        (at as usize).min(BUCKETS - 1)
    }

    /// From where to where a bucket reaches.
    #[must_use]
    pub fn bounds(self, bucket: usize) -> (f64, f64) {
        (self.bound(bucket), self.bound(bucket + 1))
    }

    fn bound(self, bucket: usize) -> f64 {
        let Scale { least, per_octave, most } = self.scale();
        if bucket == 0 {
            0.0
        } else if bucket >= BUCKETS {
            most
        } else if per_octave == 0.0 {
            most * bucket as f64 / BUCKETS as f64
        } else {
            least * 2_f64.powf((bucket - 1) as f64 / per_octave)
        }
    }

    /// A number as it stands in a descriptor: eight marks a bucket.
    #[must_use]
    pub fn mark(self, value: f64) -> u8 {
        let bucket = self.bucket(value);
        let (low, high) = self.bounds(bucket);
        let part = ((self.clamp(value) - low) / (high - low) * 8.0) as usize;
        (bucket * 8 + part.min(7)) as u8
    }

    /// The number that a mark stands for, near enough.
    #[must_use]
    pub fn of_mark(self, mark: u8) -> f64 {
        let (low, high) = self.bounds(usize::from(mark) / 8);
        low + (high - low) * (f64::from(mark % 8) + 0.5) / 8.0
    }
}

/// What a host tells, as it stands in its descriptor.
#[must_use]
pub fn marks(told: &Told) -> [u8; MARKS] {
    let mut marks = [0; MARKS];
    for (attribute, mark) in Attribute::ALL.into_iter().zip(&mut marks) {
        *mark = attribute.mark(told[attribute.at()]);
    }
    marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_is_within_its_bucket_and_near_its_mark(share in 0.0..=1.0_f64) {
            for attribute in Attribute::ALL {
                // Spread over all magnitudes.
                let value = attribute.most() * share.powi(12);
                let bucket = attribute.bucket(value);
                let (low, high) = attribute.bounds(bucket);
                prop_assert!(low <= value * (1.0 + 1e-9) && value <= high * (1.0 + 1e-9));
                let again = attribute.of_mark(attribute.mark(value));
                prop_assert_eq!(attribute.bucket(again), bucket);
            }
        }
    }

    #[test]
    fn what_is_no_number_of_the_domain_becomes_one() {
        for attribute in Attribute::ALL {
            for wild in [f64::NAN, f64::NEG_INFINITY, -1.0] {
                assert_eq!(attribute.clamp(wild), 0.0);
                assert_eq!(attribute.bucket(wild), 0);
            }
            assert_eq!(attribute.clamp(f64::INFINITY), attribute.most());
            assert_eq!(attribute.bucket(f64::INFINITY), BUCKETS - 1);
        }
    }

    #[test]
    fn scales_are_part_of_the_protocol() {
        let bounds: Vec<String> = Attribute::ALL
            .into_iter()
            .map(|it| format!("{} {:.3} {:.3}", it.name(), it.bounds(1).1, it.bounds(30).1))
            .collect();
        expect_test::expect![[r#"
            [
                "cores 1.134 921.600",
                "memory_free 94906265.624 2199023255552.000",
                "disk_free 379625062.497 8796093022208.000",
                "load 0.044 1024.000",
                "busy 0.062 0.969",
                "uptime 84.853 1966080.000",
                "core_hours 0.020 10737418.240",
            ]
        "#]]
        .assert_debug_eq(&bounds);
    }
}
