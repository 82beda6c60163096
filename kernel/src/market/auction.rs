//! The k-double auction of one class: who buys and who sells, at one price.
//!
//! Bids in falling order and asks in rising order meet at the last unit `k` that a bid pays for.
//! The price is the lower end of what separates those that trade from those that do not,
//! `max(ask k, bid k+1)`: a buyer of one unit cannot move it by a bid that wins, so it does best
//! to say what the unit is worth to it. No unit is bought above its bid or sold below its ask, and
//! what buyers pay is what sellers get.

use std::cmp::Reverse;

use isos_base::price::Price;

/// Below so many units an auction is too thin for its price to mean anything.
pub const THIN_UNITS: u64 = 5;

/// What somebody pays at the most for each of some units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bid<K> {
    /// Whose.
    pub key: K,
    /// The most for a unit.
    pub price: Price,
    /// How many.
    pub units: u32,
}

/// What somebody wants at the least for each of some units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<K> {
    /// Whose.
    pub key: K,
    /// The least for a unit.
    pub price: Price,
    /// How many.
    pub units: u32,
}

/// Who trades at which price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearing<B, A> {
    /// For every unit alike; nothing when no bid meets an ask.
    pub price: Option<Price>,
    /// Units that are traded.
    pub units: u64,
    /// By whom they are bought; the units add up to [`Clearing::units`].
    pub buys: Vec<(B, u32)>,
    /// By whom they are sold; the same.
    pub sells: Vec<(A, u32)>,
    /// Who bids for the next unit, which is not traded.
    pub next: Option<B>,
}

impl<B, A> Clearing<B, A> {
    const fn nothing() -> Self {
        Self { price: None, units: 0, buys: Vec::new(), sells: Vec::new(), next: None }
    }
}

impl<B: Eq + Copy, A: Eq + Copy> Clearing<B, A> {
    /// Whether too little is traded for the price to mean anything, or the price is that of one
    /// side alone: one seller, or one buyer against whom nobody bids.
    #[must_use]
    pub fn is_thin(&self) -> bool {
        fn alone<K: Eq + Copy>(mut of: impl Iterator<Item = K>) -> bool {
            of.next().is_none_or(|first| of.all(|key| key == first))
        }
        let buyers = self.buys.iter().map(|(key, _)| *key).chain(self.next);
        self.units < THIN_UNITS || alone(buyers) || alone(self.sells.iter().map(|(key, _)| *key))
    }
}

/// Clears a class. Of equal bids, and of equal asks, those that stand first trade first.
#[must_use]
pub fn clear<B: Copy, A: Copy>(bids: &[Bid<B>], asks: &[Ask<A>]) -> Clearing<B, A> {
    let mut bids: Vec<Bid<B>> = bids.iter().filter(|bid| bid.units > 0).copied().collect();
    let mut asks: Vec<Ask<A>> = asks.iter().filter(|ask| ask.units > 0).copied().collect();
    bids.sort_by_key(|bid| Reverse(bid.price));
    asks.sort_by_key(|ask| ask.price);
    let units = traded(&bids, &asks);
    if units == 0 {
        return Clearing::nothing();
    }
    let last_ask = unit(units, asks.iter().map(|ask| (ask.price, ask.units)));
    let next_bid = unit(units + 1, bids.iter().map(|bid| ((bid.price, bid.key), bid.units)));
    Clearing {
        price: last_ask.max(next_bid.map(|(price, _)| price)),
        units,
        next: next_bid.map(|(_, key)| key),
        buys: first(units, bids.iter().map(|bid| (bid.key, bid.units))),
        sells: first(units, asks.iter().map(|ask| (ask.key, ask.units))),
    }
}

/// The most units of which each is bid at least what is asked for it, both sides in their order.
fn traded<B, A>(bids: &[Bid<B>], asks: &[Ask<A>]) -> u64 {
    let (mut units, mut ask_at, mut sold) = (0, 0, 0);
    for bid in bids {
        let mut wanted = bid.units;
        while wanted > 0
            && let Some(ask) = asks.get(ask_at)
            && ask.price <= bid.price
        {
            let some = wanted.min(ask.units - sold);
            (wanted, sold, units) = (wanted - some, sold + some, units + u64::from(some));
            if sold == ask.units {
                (ask_at, sold) = (ask_at + 1, 0);
            }
        }
        if wanted > 0 {
            break;
        }
    }
    units
}

/// To what the `n`-th unit belongs, from 1; nothing if there are fewer.
fn unit<T>(n: u64, mut of: impl Iterator<Item = (T, u32)>) -> Option<T> {
    let mut passed = 0;
    of.find_map(|(what, units)| {
        passed += u64::from(units);
        (passed >= n).then_some(what)
    })
}

/// Trades at a price that is given. Of those who are willing, the ones that stand first are served
/// first, whatever they bid: by a higher bid nobody gets ahead.
#[must_use]
pub fn at_price<B: Copy, A: Copy>(
    bids: &[Bid<B>],
    asks: &[Ask<A>],
    price: Price,
) -> Clearing<B, A> {
    let willing = bids.iter().filter(|bid| bid.price >= price);
    let demand: u64 = willing.clone().map(|bid| u64::from(bid.units)).sum();
    let mut offered: Vec<&Ask<A>> = asks.iter().filter(|ask| ask.price <= price).collect();
    offered.sort_by_key(|ask| ask.price);
    let supply: u64 = offered.iter().map(|ask| u64::from(ask.units)).sum();
    let units = demand.min(supply);
    if units == 0 {
        return Clearing::nothing();
    }
    let buys = first(units, willing.map(|bid| (bid.key, bid.units)));
    let sells = first(units, offered.into_iter().map(|ask| (ask.key, ask.units)));
    Clearing { price: Some(price), units, buys, sells, next: None }
}

/// The first `units` of what there is.
fn first<K>(units: u64, of: impl Iterator<Item = (K, u32)>) -> Vec<(K, u32)> {
    let mut left = units;
    let mut taken = Vec::new();
    for (key, units) in of {
        let most = u32::try_from(left).unwrap_or(u32::MAX);
        let some = units.min(most);
        if some > 0 {
            taken.push((key, some));
        }
        left -= u64::from(some);
        if left == 0 {
            break;
        }
    }
    taken
}
