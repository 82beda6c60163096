//! Jobs that could run in several classes: where each of them bids.
//!
//! Who bids most chooses first, and takes the cheapest class in which it can run and that has room;
//! what it wants beyond that goes to the next one. What nobody has room for is a bid in the
//! cheapest of its classes, whose price it raises.

use std::cmp::Reverse;

use isos_base::price::Price;

use super::Bid;

/// What somebody wants, and where it could have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want<K> {
    /// Whose.
    pub key: K,
    /// The most for a unit.
    pub bid: Price,
    /// How many units.
    pub units: u32,
    /// The classes in which it could run.
    pub classes: Vec<usize>,
}

/// The bids of each class, of which `room` has the units and `prices` the price of now.
#[must_use]
pub fn assign<K: Copy>(wants: &[Want<K>], room: &[u64], prices: &[Price]) -> Vec<Vec<Bid<K>>> {
    let mut bids = vec![Vec::new(); room.len()];
    let mut room = room.to_vec();
    let mut order: Vec<&Want<K>> = wants.iter().collect();
    order.sort_by_key(|want| Reverse(want.bid));
    for want in order {
        let mut classes = want.classes.clone();
        classes.sort_by_key(|class| (prices[*class], *class));
        let mut left = want.units;
        for &class in &classes {
            let units = left.min(u32::try_from(room[class]).unwrap_or(u32::MAX));
            room[class] -= u64::from(units);
            left -= units;
            if units > 0 {
                bids[class].push(Bid { key: want.key, price: want.bid, units });
            }
        }
        if let Some(&cheapest) = classes.first().filter(|_| left > 0) {
            bids[cheapest].push(Bid { key: want.key, price: want.bid, units: left });
        }
    }
    bids
}
