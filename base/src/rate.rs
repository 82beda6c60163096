//! How often somebody may do something, and how long they wait otherwise.
//!
//! A token bucket for each of many callers, kept as the one moment at which it is full again (the
//! generic cell rate algorithm of ATM networks). The table has a limit, and whoever comes when it
//! is full takes the place of the caller who owes least, *with* what that one owes (Space-Saving;
//! Metwally, Agrawal, El Abbadi, 2005). So nobody gains by being forgotten, however many others
//! an attacker sends to push an entry out: what is taken for a caller's debt is never less than
//! their real one. The price is that a newcomer pays for the least debtor, which is nothing at all
//! until more callers than there are places are in debt at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::time::{Span, Time};

/// So much in a second, for ever, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In each second; 0 is without limit.
    pub per_second: u64,
    /// At once, by somebody who has not taken anything for a while.
    pub burst: u64,
}

impl Rate {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 0 };

    /// How long it takes until so much is there; rounded up, so that it is never more in a second.
    fn span(self, amount: u64) -> Span {
        let micros = (u128::from(amount) * 1_000_000).div_ceil(u128::from(self.per_second.max(1)));
        Span(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// A bucket for each caller, for at most so many of them.
#[derive(Debug)]
pub struct Rates<K> {
    rate: Rate,
    callers_max: usize,
    /// When each debtor owes nothing any more. Who is not here owes nothing.
    full_at: BTreeMap<K, Time>,
    /// The same, the least debtor first.
    by_debt: BTreeSet<(Time, K)>,
}

impl<K: Ord + Copy> Rates<K> {
    /// Nobody owes anything yet. There is room for one caller at least.
    #[must_use]
    pub fn new(rate: Rate, callers_max: usize) -> Self {
        let callers_max = callers_max.max(1);
        Self { rate, callers_max, full_at: BTreeMap::new(), by_debt: BTreeSet::new() }
    }

    /// Takes so much, if it is there; more than the burst is taken when the bucket is full.
    ///
    /// # Errors
    /// How long to wait until it is there; nothing is taken then.
    pub fn take(&mut self, now: Time, caller: K, amount: u64) -> Result<(), Span> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        self.forget_the_paid(now);
        let most = self.rate.span(self.rate.burst);
        let after = self.owed(now, caller) + self.rate.span(amount).min(most);
        if after > most {
            return Err(Span(after.0 - most.0));
        }
        match self.full_at.get(&caller) {
            Some(&at) => _ = self.by_debt.remove(&(at, caller)),
            None if self.is_full() => {
                if let Some((_, least)) = self.by_debt.pop_first() {
                    self.full_at.remove(&least);
                }
            }
            None => {}
        }
        self.full_at.insert(caller, now + after);
        self.by_debt.insert((now + after, caller));
        Ok(())
    }

    /// How much of the burst is used up, from 0 to 1.
    #[must_use]
    pub fn used(&self, now: Time, caller: K) -> f64 {
        let most = self.rate.span(self.rate.burst);
        self.owed(now, caller).0 as f64 / most.0.max(1) as f64
    }

    /// What a caller owes, as the time until it is paid.
    fn owed(&self, now: Time, caller: K) -> Span {
        let full_at = match self.full_at.get(&caller) {
            None if self.is_full() => self.by_debt.first().map(|&(at, _)| at),
            known => known.copied(),
        };
        // A clock that was set back would make a debt of hours.
        full_at.map_or(Span::ZERO, |at| at.since(now).min(self.rate.span(self.rate.burst)))
    }

    fn is_full(&self) -> bool {
        self.full_at.len() >= self.callers_max
    }

    /// Callers that owe something, as far as is known since the last that took.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Whether nobody owes anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full_at.is_empty()
    }

    fn forget_the_paid(&mut self, now: Time) {
        while let Some(&(at, caller)) = self.by_debt.first()
            && at <= now
        {
            self.by_debt.pop_first();
            self.full_at.remove(&caller);
        }
    }
}

/// Where a caller is, as coarse as addresses are given out: one owner has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// One address.
    V4([u8; 4]),
    /// A /56: what one household or one rented machine gets at the most.
    V6([u8; 7]),
    /// Behind a relay, wherever that is. All of these count as one, since a new key costs nothing,
    /// but one that may do [`Origin::RELAYED_TIMES`] as much. How many places that are held at once
    /// are theirs is for those to say who have the places.
    Relayed,
    /// Behind a proxy of the operator's, which sees to limits itself: nothing is counted.
    Proxy,
}

/// A /48 of IPv6: what one site gets that asks for it, 256 origins. Who has one can come from
/// another of these each time, so all of them together are counted as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(pub [u8; 6]);

impl Site {
    /// How many times as often as one address a whole site may do something.
    pub const TIMES: u64 = 4;
}

impl Origin {
    /// How many times as much as one address all relayed callers together may do.
    pub const RELAYED_TIMES: u64 = 16;

    /// The origin of this address; of none, that of relayed callers.
    #[must_use]
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
            None => Self::Relayed,
        }
    }

    /// The site that it is a part of.
    #[must_use]
    pub const fn site(self) -> Option<Site> {
        match self {
            Self::V6([a, b, c, d, e, f, _]) => Some(Site([a, b, c, d, e, f])),
            Self::V4(_) | Self::Relayed | Self::Proxy => None,
        }
    }

    /// What one thing counts where [`Origin::RELAYED_TIMES`] is the whole of a direct caller's.
    #[must_use]
    pub const fn weight(self) -> u64 {
        match self {
            Self::V4(_) | Self::V6(_) => Self::RELAYED_TIMES,
            Self::Relayed => 1,
            Self::Proxy => 0,
        }
    }
}

#[cfg(test)]
mod tests;
