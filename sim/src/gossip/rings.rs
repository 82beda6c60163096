//! How soon a tenth of all hosts stands in a ring, and how soon it does again when a part of it
//! dies.

use isos_base::random::Random;
use isos_gossip::ring::{Member, Ring};
use isos_gossip::view::Entry;

use super::flat::Flat;
use super::table::{Drawn, Row, Table, column};

/// The share of hosts that belong to the ring.
const PART: f64 = 0.1;
/// Members that are known on each side, and that are given.
const REACH: usize = 10;
/// Who was not heard of for so many cycles is not told of.
const FORGOTTEN_AFTER: u64 = 10;
/// Cycles after the beginning, and after the crash, at which it is looked.
const LOOKED: [u32; 5] = [2, 5, 10, 15, 20];

pub(super) fn table() -> Table {
    let mut columns: Vec<_> = LOOKED.map(|cycle| column(format!("c{cycle}"), 2)).to_vec();
    columns.extend(LOOKED.map(|cycle| column(format!("+{cycle}"), 2)));
    Table {
        title: "Rings: % of neighbours of a tenth of all hosts that are not the right ones yet",
        of: "hosts, and what happens",
        columns,
        drawn: Drawn::Rows(0..2 * LOOKED.len()),
        legend: "c: cycles after the beginning, when members know only those in their views. +: cycles \
                 after the crash.\nPublished (Jelasity, Montresor, Babaoglu 2009): a sorted ring of \
                 10^5 to 10^6 in some 15 to 20 cycles, as recalled.\n",
    }
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        for crash in [0.0, 0.3] {
            tell(trial(seed, hosts, crash));
        }
    }
}

struct World {
    flat: Flat,
    places: Vec<u64>,
    /// By number; nothing for those that do not belong.
    rings: Vec<Option<Ring<u32>>>,
    random: Random,
    now: u64,
}

impl World {
    fn new(seed: u64, hosts: u32) -> Self {
        let mut random = Random::new(seed ^ 0x2126);
        let places: Vec<u64> = (0..hosts).map(|_| random.next_u64()).collect();
        let mut ring = |place: &u64| (random.unit() < PART).then(|| Ring::new(*place, REACH));
        let rings = places.iter().map(&mut ring).collect();
        Self { flat: Flat::new(seed, hosts, 1.0), places, rings, random, now: FORGOTTEN_AFTER }
    }

    /// A cycle of views, and one of the ring.
    fn cycle(&mut self) {
        self.flat.cycle(|_, _, _| {});
        self.now += 1;
        for n in 0..self.flat.hosts() {
            if !self.flat.is_alive(n) {
                continue;
            }
            let Some(mut ring) = self.rings[n as usize].take() else { continue };
            for link in self.flat.known(n) {
                // Whether somebody belongs, its descriptor says, and when it was made.
                if self.rings[link.host as usize].is_some() {
                    let (place, who) = (self.places[link.host as usize], link.host);
                    let heard = FORGOTTEN_AFTER + link.heard();
                    ring.learn(Member { place, who, heard });
                }
            }
            // Also those that are in a view still, though they are dead.
            ring.forget_before(self.now - FORGOTTEN_AFTER);
            self.rings[n as usize] = Some(ring);
            self.meet(n);
        }
    }

    /// Meets one of the nearest.
    fn meet(&mut self, n: u32) {
        let Some(ring) = ring_of(&self.rings, n) else { return };
        let known = ring.known();
        let near = known.len().min(6);
        if near == 0 {
            return;
        }
        let at = self.random.below(near as u64) as usize;
        let to = if at.is_multiple_of(2) { known[at / 2] } else { known[known.len() - 1 - at / 2] };
        if !self.flat.is_alive(to.who) {
            if let Some(ring) = &mut self.rings[n as usize] {
                ring.forget(to.who);
            }
            return;
        }
        let ours = ring.give(to.place, (n, self.now), 2 * REACH);
        let own = self.places[n as usize];
        let theirs =
            ring_of(&self.rings, to.who).map(|it| it.give(own, (to.who, self.now), 2 * REACH));
        for (who, got) in [(to.who, ours), (n, theirs.unwrap_or_default())] {
            if let Some(ring) = &mut self.rings[who as usize] {
                got.into_iter().for_each(|member| ring.learn(member));
            }
        }
    }

    /// The share of neighbours that are wrong.
    fn wrong(&self) -> f64 {
        let living = (0..self.flat.hosts()).filter(|n| self.flat.is_alive(*n));
        let mut order: Vec<(u64, u32)> = living
            .filter(|n| self.rings[*n as usize].is_some())
            .map(|n| (self.places[n as usize], n))
            .collect();
        order.sort_unstable();
        let mut wrong = 0;
        for (at, (_, n)) in order.iter().enumerate() {
            let Some(ring) = ring_of(&self.rings, *n) else { continue };
            let next = order[(at + 1) % order.len()].1;
            let before = order[(at + order.len() - 1) % order.len()].1;
            wrong += u32::from(ring.next().is_none_or(|it| it.who != next));
            wrong += u32::from(ring.previous().is_none_or(|it| it.who != before));
        }
        f64::from(wrong) / (2 * order.len().max(1)) as f64
    }
}

fn ring_of(rings: &[Option<Ring<u32>>], n: u32) -> Option<&Ring<u32>> {
    rings[n as usize].as_ref()
}

fn trial(seed: u64, hosts: u32, crash: f64) -> Row {
    let mut world = World::new(seed, hosts);
    let mut values = Vec::new();
    let mut look = |world: &mut World| {
        for cycle in 1..=LOOKED[LOOKED.len() - 1] {
            world.cycle();
            if LOOKED.contains(&cycle) {
                values.push(world.wrong() * 100.0);
            }
        }
    };
    look(&mut world);
    let mut name = format!("{hosts}");
    if crash > 0.0 {
        name = format!("{hosts}, {:.0} % die", crash * 100.0);
        world.flat.crash(crash);
        look(&mut world);
    } else {
        values.extend([f64::NAN; LOOKED.len()]);
    }
    Row { name, values }
}
