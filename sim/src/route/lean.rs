//! A million routers in a gigabyte: the shipped walk, over tables that are not kept.
//!
//! What stands in a router's bucket is drawn by a hash of seed, router and bucket from all routers
//! that belong there, whenever somebody looks at it; so a table takes no memory and is the same
//! each time. Each walk has the network to itself: what is measured is steps, time and the effect
//! of liars, not upkeep and not churn. Buckets are full, without regard to round trips.
//! Certificates are not signed here and all are taken for good, so nobody forges any.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use isos_base::key::{PublicKey, Signature};
use isos_base::random::Random;
use isos_base::time::{Span, Time};
use isos_base::{AccountId, HostId};
use isos_route::certificate::{Blocks, Certificate};
use isos_route::lookup::{Aim, Lookup};
use isos_route::notary::Verdict;
use isos_route::position::BITS;
use isos_route::rtt::Rtt;
use isos_route::wire::Find;
use isos_route::{Contact, Position, Tuning};

use super::Setting;
use super::liar::Lie;
use super::tally::{Outcome, Tally};
use crate::network::Spot;

/// Routers by place.
struct Keyspace {
    seed: u64,
    sorted: Vec<(Position, u32)>,
    spots: Vec<Spot>,
    bad: Vec<bool>,
    /// Bad routers by place.
    colluders: Vec<Position>,
    contacts: Vec<Option<Arc<Contact>>>,
    bucket: usize,
}

fn certificate(seed: u64, n: u32) -> Certificate {
    let mut random = Random::new(seed ^ (u64::from(n) << 24));
    let key: [u8; 32] = Position::anywhere(&mut random).into();
    let salt: [u8; 32] = Position::anywhere(&mut random).into();
    let mut short = [0; 16];
    short.copy_from_slice(&salt[..16]);
    Certificate {
        host: HostId(PublicKey(key)),
        owner: AccountId(u64::from(n)),
        blocks: Blocks::default(),
        epoch: 1,
        salt: short,
        expires: Time(u64::MAX),
        seal: Signature([0; 64]).into(),
    }
}

impl Keyspace {
    fn new(setting: &Setting) -> Self {
        let mut random = Random::new(setting.seed);
        let mut sorted: Vec<(Position, u32)> =
            (0..setting.hosts).map(|n| (certificate(setting.seed, n).place().into(), n)).collect();
        sorted.sort_unstable();
        let spots = (0..setting.hosts).map(|_| Spot::anywhere(&mut random)).collect();
        let bad: Vec<bool> = (0..setting.hosts).map(|_| random.unit() < setting.bad).collect();
        let colluders =
            sorted.iter().filter(|(_, n)| bad[*n as usize]).map(|(place, _)| *place).collect();
        let contacts = vec![None; setting.hosts as usize];
        let bucket = Tuning::default().bucket;
        Self { seed: setting.seed, sorted, spots, bad, colluders, contacts, bucket }
    }

    fn contact(&mut self, n: u32) -> Arc<Contact> {
        let seed = self.seed;
        let kept = &mut self.contacts[n as usize];
        let made = || {
            let contact = Contact::new(certificate(seed, n), None, Vec::new());
            Arc::new(contact.expect("it has no addresses"))
        };
        kept.get_or_insert_with(made).clone()
    }

    fn cell(&self, place: Position, shared: usize) -> std::ops::Range<usize> {
        let cell = place.cell(shared);
        let first = self.sorted.partition_point(|(place, _)| place < cell.start());
        let last = self.sorted.partition_point(|(place, _)| place <= cell.end());
        first..last
    }

    /// What a router has in one bucket: spread over all that belong there.
    fn bucket(&self, own: Position, shared: usize, into: &mut Vec<usize>) {
        let seed = self.seed ^ own.top() ^ ((shared as u64) << 56);
        let cell = own.somewhere_at(shared, &mut Random::new(seed)).cell(shared + 1);
        let cell = self.cell(*cell.start(), shared + 1);
        let count = cell.len();
        let offset = Random::new(seed.rotate_left(17)).below(count as u64) as usize;
        let most = count.min(self.bucket);
        into.extend((0..most).map(|at| cell.start + (offset + at * count / most) % count));
    }

    /// What an honest router answers.
    fn tell(&self, own: Position, find: &Find) -> Vec<u32> {
        let target = find.target;
        let most = usize::from(find.want) + find.known.len();
        let shared = own.shared_prefix(target);
        let mut all = Vec::new();
        if shared < BITS {
            self.bucket(own, shared, &mut all);
        }
        if all.len() < most {
            let mut deeper = shared + 1;
            while deeper < BITS && self.cell(own, deeper).len() > 1 {
                self.bucket(own, deeper, &mut all);
                deeper += 1;
            }
        }
        let mut farther = shared;
        while all.len() < most && farther > 0 {
            farther -= 1;
            self.bucket(own, farther, &mut all);
        }
        all.sort_unstable_by_key(|at| self.sorted[*at].0.distance(target));
        let places = all.into_iter().map(|at| self.sorted[at]);
        let may = places.filter(|(place, _)| {
            place.distance(target).top() <= find.within && !find.known.contains(&place.mark())
        });
        may.take(usize::from(find.want)).map(|(_, n)| n).collect()
    }

    /// What colluders answer: those of them that are nearest.
    fn collude(&self, find: &Find) -> Vec<u32> {
        let most = usize::from(find.want) + find.known.len();
        let cell = |shared| {
            let cell = find.target.cell(shared);
            let first = self.colluders.partition_point(|place| place < cell.start());
            let last = self.colluders.partition_point(|place| place <= cell.end());
            &self.colluders[first..last]
        };
        let bits = self.colluders.len().max(1).ilog2() as usize;
        let cells = (0..=bits).rev().map(cell);
        let enough = cells.into_iter().find(|cell| cell.len() >= most);
        let mut near = enough.unwrap_or(&self.colluders).to_vec();
        near.sort_unstable_by_key(|place| place.distance(find.target));
        let may = near.into_iter().filter(|place| {
            place.distance(find.target).top() <= find.within && !find.known.contains(&place.mark())
        });
        may.take(usize::from(find.want)).filter_map(|place| self.number(place)).collect()
    }

    fn number(&self, place: Position) -> Option<u32> {
        let at = self.sorted.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        Some(self.sorted[at].1)
    }

    /// The honest router that is nearest.
    fn nearest(&self, target: Position) -> Option<Position> {
        let bits = self.sorted.len().max(1).ilog2() as usize + 8;
        (0..=bits).rev().find_map(|shared| {
            let cell = self.sorted.get(self.cell(target, shared))?;
            let honest = cell.iter().filter(|(_, n)| !self.bad[*n as usize]);
            honest.map(|(place, _)| *place).min_by_key(|place| place.distance(target))
        })
    }
}

/// When an answer comes, from where, what it tells; or that nobody waits for one any more.
type Due = (Span, Position, Option<Vec<u32>>);

/// Walks one after the other, each to the nearest router of some place.
#[must_use]
pub fn measure(setting: &Setting) -> Outcome {
    let mut keyspace = Keyspace::new(setting);
    let mut random = Random::new(setting.seed ^ 0x5eed);
    let mut tally = Tally::default();
    for _ in 0..setting.searches {
        let asker = (0..1_000).map(|_| random.below(u64::from(setting.hosts)) as u32);
        let asker = asker.into_iter().find(|n| !keyspace.bad[*n as usize]).unwrap_or(0);
        let target = Position::anywhere(&mut random);
        walk(setting, &mut keyspace, asker, target, &mut random, &mut tally);
    }
    Outcome { found: f64::NAN, ..tally.outcome() }
}

fn walk(
    setting: &Setting,
    keyspace: &mut Keyspace,
    asker: u32,
    target: Position,
    random: &mut Random,
    tally: &mut Tally,
) {
    let tuning = Tuning::default();
    let own = keyspace.contact(asker).position();
    let spot = keyspace.spots[asker as usize];
    let bucket = tuning.bucket as u8;
    let everybody =
        Find { target, within: u64::MAX, want: bucket, known: Vec::new(), pointers: false };
    let seeds: Vec<(Arc<Contact>, Rtt)> = keyspace
        .tell(own, &everybody)
        .into_iter()
        .map(|n| {
            let mut rtt = Rtt::default();
            rtt.add(spot.round_trip(&keyspace.spots[n as usize]));
            (keyspace.contact(n), rtt)
        })
        .collect();
    let aim = Aim {
        target,
        pointers: false,
        nearest: tuning.bucket,
        paths: setting.paths,
        alpha: tuning.alpha,
    };
    let mut walk = Lookup::new(own, aim, &seeds);
    let mut now = Span::ZERO;
    // Answers under way, and the times at which nobody waits for one any more.
    let mut queue: BinaryHeap<Reverse<Due>> = BinaryHeap::new();
    loop {
        while let Some(query) = walk.next_query() {
            let place = query.to.position();
            let Some(n) = keyspace.number(place) else { continue };
            let far = keyspace.spots[n as usize];
            // All are asked for the first time: a handshake before.
            let handshake = spot.round_trip(&far);
            let both = spot.way(&far, random) + far.way(&spot, random);
            let is_bad = keyspace.bad[n as usize];
            let is_lost = random.unit() < 2.0 * setting.loss;
            if is_lost || (is_bad && setting.lie == Lie::Silent) {
                queue.push(Reverse((now + Rtt::default().timeout(), place, None)));
                continue;
            }
            let said = if is_bad {
                keyspace.collude(&query.find)
            } else {
                keyspace.tell(place, &query.find)
            };
            queue.push(Reverse((now + handshake + both, place, Some(said))));
        }
        let Some(Reverse((at, place, said))) = queue.pop() else { break };
        now = at;
        if let Some(said) = said {
            let contacts: Vec<Arc<Contact>> =
                said.into_iter().map(|n| keyspace.contact(n)).collect();
            walk.answered(place, &contacts, |_| Verdict::Good, |_| Rtt::default());
        } else {
            walk.failed(place);
        }
    }
    tally.sought += 1;
    tally.asked += walk.asked() as u64;
    let found = walk.found();
    let right = keyspace.nearest(target);
    if let Some(found) = found.iter().find(|it| Some(it.contact.position()) == right) {
        tally.right += 1;
        tally.hops.push(found.hops);
        tally.took.push(now);
    }
}
