//! Views of up to millions of hosts in two arrays, swapped by the functions that the shipped
//! machine uses (`isos_gossip::view`), one cycle after the other.
//!
//! What is left out: time within a cycle, signatures, and whoever falls back on a file when all
//! that it knows are gone.

use isos_base::random::Random;
use isos_gossip::view::{self, Entry, Slots};

/// That one host knows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    pub(super) host: u32,
    /// The cycle in which that host said so.
    heard: u32,
}

impl Entry for Link {
    type Id = u32;

    fn id(&self) -> u32 {
        self.host
    }

    fn heard(&self) -> u64 {
        u64::from(self.heard)
    }
}

/// One host's view: a part of the array.
struct Row<'a> {
    links: &'a mut [Link],
    len: &'a mut u8,
}

impl Slots for Row<'_> {
    type Entry = Link;

    fn capacity(&self) -> usize {
        self.links.len()
    }

    fn entries(&self) -> &[Link] {
        &self.links[..usize::from(*self.len)]
    }

    fn replace(&mut self, at: usize, entry: Link) {
        self.links[at] = entry;
    }

    fn push(&mut self, entry: Link) {
        self.links[usize::from(*self.len)] = entry;
        *self.len += 1;
    }

    fn take(&mut self, at: usize) -> Link {
        let taken = self.links[at];
        *self.len -= 1;
        self.links[at] = self.links[usize::from(*self.len)];
        taken
    }
}

/// Views of one kind, of all hosts.
#[derive(Debug)]
struct Views {
    links: Vec<Link>,
    lens: Vec<u8>,
    capacity: usize,
}

impl Views {
    fn new(hosts: u32, capacity: usize) -> Self {
        let hosts = hosts as usize;
        Self { links: vec![Link::default(); hosts * capacity], lens: vec![0; hosts], capacity }
    }

    fn row(&mut self, n: u32) -> Row<'_> {
        let at = n as usize * self.capacity;
        Row { links: &mut self.links[at..at + self.capacity], len: &mut self.lens[n as usize] }
    }

    fn of(&self, n: u32) -> &[Link] {
        let at = n as usize * self.capacity;
        &self.links[at..at + usize::from(self.lens[n as usize])]
    }
}

/// All hosts.
#[derive(Debug)]
pub(super) struct Flat {
    pub(super) random: Random,
    hosts: u32,
    /// The first so many can be called.
    public: u32,
    swap: usize,
    views: Views,
    private: Views,
    alive: Vec<bool>,
    now: u32,
    /// What the last swap has brought to its two hosts.
    pub(super) brought: (Vec<Link>, Vec<Link>),
}

impl Flat {
    /// So many hosts, this share of which can be called; each knows others at random.
    pub(super) fn new(seed: u64, hosts: u32, public: f64) -> Self {
        let tuning = isos_gossip::Tuning::default();
        let mut random = Random::new(seed);
        let public = ((f64::from(hosts) * public) as u32).clamp(1, hosts);
        let mut views = Views::new(hosts, tuning.view);
        let mut private = Views::new(hosts, if public < hosts { tuning.view } else { 0 });
        for n in 0..hosts {
            for _ in 0..tuning.view {
                let host = random.below(u64::from(public)) as u32;
                view::swap_in(&mut views.row(n), n, &[], [Link { host, heard: 0 }]);
                if public < hosts {
                    let host = public + random.below(u64::from(hosts - public)) as u32;
                    view::swap_in(&mut private.row(n), n, &[], [Link { host, heard: 0 }]);
                }
            }
        }
        let alive = vec![true; hosts as usize];
        let (swap, brought) = (tuning.swap, Default::default());
        Self { random, hosts, public, swap, views, private, alive, now: 0, brought }
    }

    pub(super) fn hosts(&self) -> u32 {
        self.hosts
    }

    pub(super) fn is_alive(&self, n: u32) -> bool {
        self.alive[n as usize]
    }

    pub(super) fn living(&self) -> u32 {
        self.alive.iter().filter(|alive| **alive).count() as u32
    }

    /// Whom a host can call.
    pub(super) fn known(&self, n: u32) -> &[Link] {
        self.views.of(n)
    }

    /// This share of all dies at once.
    pub(super) fn crash(&mut self, share: f64) {
        for alive in &mut self.alive {
            *alive &= self.random.unit() >= share;
        }
    }

    /// A cycle: what each host does with the one that it meets is the caller's.
    pub(super) fn cycle(&mut self, mut meet: impl FnMut(&mut Self, u32, u32)) {
        self.now += 1;
        for n in 0..self.hosts {
            if self.is_alive(n)
                && let Some(other) = self.swap(n)
            {
                meet(self, n, other);
            }
        }
    }

    /// One host's exchange; with whom, if that one lives.
    fn swap(&mut self, n: u32) -> Option<u32> {
        let mut row = self.views.row(n);
        let other = view::oldest(&row).map(|at| row.take(at).host)?;
        if !self.is_alive(other) {
            return None;
        }
        let mut offer = self.give(n, other, self.swap - 1);
        let given: Vec<u32> = offer.iter().map(Entry::id).collect();
        offer.push(Link { host: n, heard: self.now });
        let back = self.give(other, n, self.swap);
        let theirs: Vec<u32> = back.iter().map(Entry::id).collect();
        self.take_in(other, &theirs, &offer);
        self.take_in(n, &given, &back);
        self.brought = (back, offer);
        Some(other)
    }

    /// As `machine/cycle.rs` does it.
    fn give(&mut self, n: u32, to: u32, count: usize) -> Vec<Link> {
        let (public, private) = (self.views.of(n).len(), self.private.of(n).len());
        let of_private = private.min((count / 2).max(count.saturating_sub(public)));
        let mut drawn = view::draw(&self.views.row(n), count - of_private, &mut self.random);
        if of_private > 0 {
            drawn.extend(view::draw(&self.private.row(n), of_private, &mut self.random));
        }
        drawn.retain(|link| link.host != to);
        drawn
    }

    fn take_in(&mut self, n: u32, given: &[u32], got: &[Link]) {
        let public = self.public;
        let of = |is_public: bool| {
            got.iter().copied().filter(move |link| (link.host < public) == is_public)
        };
        view::swap_in(&mut self.views.row(n), n, given, of(true));
        if self.public < self.hosts {
            view::swap_in(&mut self.private.row(n), n, given, of(false));
        }
    }

    /// How many hosts know each, of those that live.
    pub(super) fn in_degrees(&self) -> Vec<u32> {
        let mut known = vec![0; self.hosts as usize];
        for n in (0..self.hosts).filter(|n| self.is_alive(*n)) {
            self.views.of(n).iter().for_each(|link| known[link.host as usize] += 1);
        }
        known.truncate(self.public as usize);
        known
    }

    /// The share of links to hosts that are gone, of those who live.
    pub(super) fn dead_links(&self) -> f64 {
        let living = (0..self.hosts).filter(|n| self.is_alive(*n));
        let links = living.flat_map(|n| self.views.of(n));
        let (all, dead) = links.fold((0_u64, 0_u64), |(all, dead), link| {
            (all + 1, dead + u64::from(!self.is_alive(link.host)))
        });
        dead as f64 / all.max(1) as f64
    }

    /// The share of those who live that are in the largest group in which all can hear of each
    /// other.
    pub(super) fn connected(&self) -> f64 {
        let mut group: Vec<u32> = (0..self.hosts).collect();
        fn root(group: &mut [u32], mut n: u32) -> u32 {
            while group[n as usize] != n {
                group[n as usize] = group[group[n as usize] as usize];
                n = group[n as usize];
            }
            n
        }
        for n in (0..self.hosts).filter(|n| self.is_alive(*n)) {
            for link in self.views.of(n).iter().filter(|link| self.is_alive(link.host)) {
                let (a, b) = (root(&mut group, n), root(&mut group, link.host));
                group[a as usize] = b;
            }
        }
        let mut sizes = vec![0_u32; self.hosts as usize];
        for n in (0..self.hosts).filter(|n| self.is_alive(*n)) {
            sizes[root(&mut group, n) as usize] += 1;
        }
        let largest = sizes.iter().copied().max().unwrap_or(0);
        f64::from(largest) / f64::from(self.living().max(1))
    }
}
