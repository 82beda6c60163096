//! How many hosts believe that they belong to another tenth of all than they do: by counting who
//! has less, by swapping numbers until they are in order, and by the sketch.

use isos_base::random::Random;
use isos_gossip::Attribute;
use isos_gossip::sketch::Sketch;
use isos_gossip::slicing::{Ranking, gain, is_misordered, slice_of};

use super::flat::Flat;
use super::table::{Drawn, Row, Table, column};

/// Parts of all.
const SLICES: u32 = 10;
/// Cycles at which it is looked.
const LOOKED: [u32; 7] = [1, 2, 5, 10, 20, 40, 60];
/// A number that hosts have, spread over magnitudes.
const ATTRIBUTE: Attribute = Attribute::Uptime;

pub(super) fn table() -> Table {
    let mut columns: Vec<_> = LOOKED.map(|cycle| column(format!("c{cycle}"), 2)).to_vec();
    columns.push(column("SDM", 4));
    Table {
        title: "Slices: % of hosts that believe in a wrong tenth, by cycle, of a heavy-tailed number",
        of: "hosts, and how",
        columns,
        drawn: Drawn::Rows(0..LOOKED.len()),
        legend: "SDM: by how many slices a host is wrong in the end, on average. For the design, with \
                 Newscast among 10^5:\nranking 54.3, 48.0, 38.7, 30.5, 22.6, 16.3 (cycles 1 to 40), \
                 SDM 0.163; swapping (Jelasity, Kermarrec)\n61.5, -, 16.6, 8.4, 4.4, 2.5, 1.9.\n",
    }
}

/// How a host finds its slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Ranking,
    Swapping,
    Sketch,
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        for way in [Way::Ranking, Way::Swapping, Way::Sketch] {
            tell(trial(seed, hosts, way));
        }
    }
}

/// What each host has: the number, and what it needs to find its place.
struct Hosts {
    values: Vec<f64>,
    ranks: Vec<f64>,
    numbers: Vec<f64>,
    rankings: Vec<Ranking>,
    sketches: Vec<Sketch>,
}

impl Hosts {
    fn new(seed: u64, count: u32, way: Way) -> Self {
        let mut random = Random::new(seed ^ 0x0051_1ce5);
        // Pareto with an infinite variance, from two minutes upwards.
        let draw = |random: &mut Random| 120.0 / (1.0 - random.unit()).powf(1.0 / 1.5);
        let values: Vec<f64> = (0..count).map(|_| ATTRIBUTE.clamp(draw(&mut random))).collect();
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
        let mut ranks = vec![0.0; count as usize];
        for (at, n) in order.iter().enumerate() {
            ranks[*n as usize] = (at as f64 + 0.5) / f64::from(count);
        }
        let numbers = match way {
            Way::Swapping => (0..count).map(|_| random.unit()).collect(),
            _ => Vec::new(),
        };
        let rankings = match way {
            Way::Ranking => vec![Ranking::default(); count as usize],
            _ => Vec::new(),
        };
        let sketches = match way {
            Way::Sketch => values.iter().map(|value| Sketch::of(ATTRIBUTE, *value)).collect(),
            _ => Vec::new(),
        };
        Self { values, ranks, numbers, rankings, sketches }
    }

    fn believed(&self, n: usize, way: Way) -> f64 {
        match way {
            Way::Ranking => self.rankings[n].rank(),
            Way::Swapping => self.numbers[n],
            Way::Sketch => self.sketches[n].rank(ATTRIBUTE, self.values[n]),
        }
    }

    /// The share that is wrong, and by how much on average.
    fn disorder(&self, way: Way) -> (f64, f64) {
        let (mut wrong, mut off) = (0_u64, 0_u64);
        for (n, rank) in self.ranks.iter().enumerate() {
            let (is, said) = (slice_of(*rank, SLICES), slice_of(self.believed(n, way), SLICES));
            wrong += u64::from(is != said);
            off += u64::from(is.abs_diff(said));
        }
        let count = self.ranks.len() as f64;
        (wrong as f64 / count, off as f64 / count)
    }

    fn meet(&mut self, flat: &Flat, a: u32, b: u32, way: Way) {
        match way {
            Way::Ranking => {
                for (n, brought) in [(a, &flat.brought.0), (b, &flat.brought.1)] {
                    for link in brought.iter().filter(|link| link.host != n) {
                        let is_lower = self.values[link.host as usize] < self.values[n as usize];
                        self.rankings[n as usize].saw(is_lower);
                    }
                }
            }
            Way::Swapping => {
                // With whoever is known of whom it brings most.
                let of = |n: u32| (self.values[n as usize], self.numbers[n as usize]);
                let own = of(a);
                let best = flat
                    .known(a)
                    .iter()
                    .map(|link| link.host)
                    .max_by(|x, y| gain(own, of(*x)).total_cmp(&gain(own, of(*y))));
                if let Some(best) = best
                    && is_misordered(own, of(best))
                {
                    self.numbers.swap(a as usize, best as usize);
                }
            }
            Way::Sketch => {
                let both = self.sketches[a as usize].average(&self.sketches[b as usize]);
                self.sketches[a as usize] = both;
                self.sketches[b as usize] = both;
            }
        }
    }
}

fn trial(seed: u64, count: u32, way: Way) -> Row {
    let mut flat = Flat::new(seed, count, 1.0);
    let mut hosts = Hosts::new(seed, count, way);
    let mut values = Vec::new();
    let mut off = 0.0;
    for cycle in 1..=LOOKED[LOOKED.len() - 1] {
        flat.cycle(|flat, a, b| hosts.meet(flat, a, b, way));
        if LOOKED.contains(&cycle) {
            let (wrong, by) = hosts.disorder(way);
            values.push(wrong * 100.0);
            off = by;
        }
    }
    values.push(off);
    let how = match way {
        Way::Ranking => "ranking",
        Way::Swapping => "swapping",
        Way::Sketch => "sketch",
    };
    Row { name: format!("{count}, {how}"), values }
}
