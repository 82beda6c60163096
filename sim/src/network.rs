//! The network between hosts: where they are, how long messages take, and which get lost.
//!
//! Hosts lie in a square, 70 ms from side to side, each behind an access line of its own; the
//! median round trip is 90 to 100 ms. A first request to somebody costs one more round trip for the
//! handshake, unless both have spoken within a minute.

use isos_base::random::Random;
use isos_base::time::Span;

/// From one side of the square to the other.
const SIDE_MICROS: f64 = 70_000.0;
/// The shortest way.
const BASE_MICROS: f64 = 1_000.0;
/// An access line, on average.
const LINE_MICROS: f64 = 5_000.0;
/// Jitter, as a part of the way.
const JITTER: f64 = 0.2;
/// UDP, IP and QUIC around a message.
pub(crate) const OVERHEAD_BYTES: u64 = 80;
/// What a handshake costs: both flights padded, keys and their signatures.
pub(crate) const HANDSHAKE_BYTES: u64 = 3_600;
/// A connection is kept for so long without use.
pub(crate) const KEPT: Span = Span::secs(60);

/// Where a host is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    x: f64,
    y: f64,
    line: f64,
}

impl Spot {
    /// Anywhere.
    pub(crate) fn anywhere(random: &mut Random) -> Self {
        let line = -LINE_MICROS * (1.0 - random.unit()).ln();
        Self { x: random.unit(), y: random.unit(), line }
    }

    /// The round trip between two, without jitter.
    pub(crate) fn round_trip(&self, other: &Self) -> Span {
        Span((2.0 * self.micros(other)) as u64)
    }

    fn micros(&self, other: &Self) -> f64 {
        let off = (self.x - other.x).hypot(self.y - other.y);
        BASE_MICROS + self.line + other.line + SIDE_MICROS * off
    }

    /// One way, this time.
    pub(crate) fn way(&self, other: &Self, random: &mut Random) -> Span {
        Span((self.micros(other) * (1.0 + JITTER * random.unit())) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_round_trip_is_that_of_the_open_internet() {
        let mut random = Random::new(1);
        let mut all: Vec<u64> = (0..10_001)
            .map(|_| {
                let (a, b) = (Spot::anywhere(&mut random), Spot::anywhere(&mut random));
                a.way(&b, &mut random).0 + b.way(&a, &mut random).0
            })
            .collect();
        all.sort_unstable();
        let median = all[5_000] / 1_000;
        assert!((80..120).contains(&median), "{median} ms");
    }
}
