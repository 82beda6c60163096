//! Where a host is among others, such that distances are round trips: Vivaldi (Dabek and others
//! 2004) with a height for the access line, and the filter of Ledlie and others (2007), which lets
//! a latency move nobody that was not seen a few times.

use std::collections::VecDeque;

use isos_base::HostId;
use isos_base::descriptor::{Coordinate, DIMENSIONS};
use isos_base::random::Random;
use isos_base::time::Span;

/// How far one sample moves a host, and its error.
const STEP: f64 = 0.25;
/// No line is shorter, in milliseconds: heights that became 0 would stay so.
const HEIGHT_LEAST: f64 = 0.1;
/// A round trip that is longer says nothing of where hosts are.
pub const ROUND_TRIP_MAX: Span = Span::secs(3);
/// Samples of one peer of which the median is taken.
const SAMPLES: usize = 4;
/// Peers whose last samples are kept.
const PEERS_MAX: usize = 64;

/// A coordinate with its fractions, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    at: [f64; DIMENSIONS],
    height: f64,
    error: f64,
}

impl Default for Point {
    fn default() -> Self {
        Self { at: [0.0; DIMENSIONS], height: HEIGHT_LEAST, error: 1.0 }
    }
}

impl Point {
    /// The round trip that is expected between both, in milliseconds.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        let squares = self.at.iter().zip(&other.at).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt() + self.height + other.height
    }

    /// How wrong distances are, as a part of them.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.error
    }

    /// Moves by one sample: the round trip to somebody who is there, in milliseconds.
    pub fn update(&mut self, other: &Self, round_trip: f64, random: &mut Random) {
        if !(round_trip > 0.0 && round_trip <= ROUND_TRIP_MAX.as_secs_f64() * 1e3) {
            return;
        }
        let expected = self.distance(other);
        let weight = self.error / (self.error + other.error).max(1e-6);
        let off = (expected - round_trip).abs() / round_trip;
        self.error = (off * STEP * weight + self.error * (1.0 - STEP * weight)).clamp(0.0, 1.0);
        let force = STEP * weight * (round_trip - expected);
        let mut way: [f64; DIMENSIONS] = std::array::from_fn(|at| self.at[at] - other.at[at]);
        let mut long = way.iter().map(|it| it * it).sum::<f64>().sqrt();
        if long < 1e-3 {
            // At the same place: away in any direction.
            way = std::array::from_fn(|_| random.unit() - 0.5);
            long = way.iter().map(|it| it * it).sum::<f64>().sqrt().max(1e-3);
        }
        // Heights are a part of the way: up and down again.
        let whole = long + self.height + other.height;
        for (at, way) in self.at.iter_mut().zip(way) {
            *at = (*at + force * way / long * (long / whole)).clamp(-3_000.0, 3_000.0);
        }
        let up = force * (self.height + other.height) / whole;
        self.height = (self.height + up).clamp(HEIGHT_LEAST, 3_000.0);
    }
}

impl From<Coordinate> for Point {
    fn from(coordinate: Coordinate) -> Self {
        Self {
            at: coordinate.at.map(|it| f64::from(it) / 10.0),
            height: (f64::from(coordinate.height) / 10.0).max(HEIGHT_LEAST),
            error: f64::from(coordinate.error) / 255.0,
        }
    }
}

impl From<Point> for Coordinate {
    fn from(point: Point) -> Self {
        // These casts saturate.
        Self {
            at: point.at.map(|it| (it * 10.0).round() as i16),
            height: (point.height * 10.0).round() as u16,
            error: (point.error * 255.0).round() as u8,
        }
    }
}

/// The last round trips to some peers.
#[derive(Debug, Clone, Default)]
pub struct Filter(VecDeque<(HostId, VecDeque<f64>)>);

impl Filter {
    /// Takes a sample in milliseconds, and gives the median of the last few of this peer.
    pub fn sample(&mut self, peer: HostId, round_trip: f64) -> f64 {
        let at = self.0.iter().position(|(known, _)| *known == peer);
        let mut samples = at.and_then(|at| self.0.remove(at)).map(|it| it.1).unwrap_or_default();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(round_trip);
        let mut sorted: Vec<f64> = samples.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        // Of two in the middle the lesser: what comes on top is a queue.
        let median = sorted[(sorted.len() - 1) / 2];
        if self.0.len() >= PEERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((peer, samples));
        median
    }

    /// Peers that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was no sample yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn check(&self) {
        assert!(self.0.len() <= PEERS_MAX, "too many peers are measured");
        assert!(self.0.iter().all(|(_, it)| it.len() <= SAMPLES), "too many samples");
    }
}

#[cfg(test)]
mod tests {
    use isos_base::key::PublicKey;

    use super::*;

    #[test]
    fn distances_become_round_trips() {
        let mut random = Random::new(1);
        // In a square of 70 ms with lines of 1 to 9 ms.
        let real: Vec<(f64, f64, f64)> = (0..60)
            .map(|_| (70.0 * random.unit(), 70.0 * random.unit(), 1.0 + 8.0 * random.unit()))
            .collect();
        let round_trip = |a: usize, b: usize| {
            let ((x, y, line), (to_x, to_y, to_line)) = (real[a], real[b]);
            (x - to_x).hypot(y - to_y) + line + to_line
        };
        let mut points = vec![Point::default(); 60];
        for _ in 0..200 {
            for n in 0..60 {
                let other = random.below(60) as usize;
                if other != n {
                    // As it travels.
                    let there = Point::from(Coordinate::from(points[other]));
                    points[n].update(&there, round_trip(n, other), &mut random);
                }
            }
        }
        let mut off: Vec<f64> = (0..60)
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .map(|(a, b)| (points[a].distance(&points[b]) / round_trip(a, b) - 1.0).abs())
            .collect();
        off.sort_by(f64::total_cmp);
        assert!(off[off.len() / 2] < 0.10, "median error {}", off[off.len() / 2]);
        assert!(points.iter().all(|point| point.error() < 0.3));
    }

    #[test]
    fn what_is_no_round_trip_moves_nobody() {
        let (mut point, other) = (Point::default(), Point::default());
        for wild in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e9] {
            point.update(&other, wild, &mut Random::new(1));
        }
        assert_eq!(point, Point::default());
    }

    #[test]
    fn one_late_packet_is_not_a_long_way() {
        let mut filter = Filter::default();
        let peer = HostId(PublicKey([1; 32]));
        let medians: Vec<f64> =
            [20.0, 21.0, 900.0, 22.0, 20.0].map(|it| filter.sample(peer, it)).to_vec();
        assert_eq!(medians, [20.0, 20.0, 21.0, 21.0, 21.0]);
        for n in 0..200 {
            filter.sample(HostId(PublicKey([n; 32])), 1.0);
            filter.check();
        }
        assert_eq!(filter.len(), PEERS_MAX);
    }
}
