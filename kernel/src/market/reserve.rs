//! Firm reservations: how many hosts stand behind a promise, what it costs, and what its breach
//! costs whom.
//!
//! Hosts come and go, so a promise of `n` cores needs more than `n` behind it: the least `k` of
//! which `n` are there with the promised probability. The premium pays for the `k - n` others and
//! for the pool from which breaches are paid.

use isos_base::MicroCredits;
use isos_base::price::Price;

/// Added to the price of a reservation, for the pool that pays for breaches.
pub const PREMIUM_BPS: u64 = 1_000;
/// The most of a class's supply that may be promised.
pub const RESERVED_MAX_BPS: u64 = 3_000;
/// What a host that opted into firm work stands in for, of what it earns in the window.
const BOND_BPS: u64 = 2_500;
/// What a breach costs, of the price of what was not given: all of it, besides giving it back.
const PENALTY_BPS: u64 = 10_000;

const WHOLE: u64 = 10_000;
/// Probabilities are told in millionths.
const MILLION: f64 = 1e6;

/// The probability, in millionths and rounded down, that at least `wanted` of `hosts` are there
/// when each is with `available_bps` hundredths of a percent. It decides how many hosts stand
/// behind a promise, not what anybody is paid; only basic arithmetic, so it is the same everywhere.
#[must_use]
pub fn kept_ppm(wanted: u32, hosts: u32, available_bps: u32) -> u32 {
    if wanted == 0 {
        return 1_000_000;
    }
    if hosts < wanted || available_bps == 0 {
        return 0;
    }
    if available_bps >= 10_000 {
        return 1_000_000;
    }
    let odds = f64::from(available_bps) / f64::from(10_000 - available_bps);
    // Relative to the likeliest number, so that nothing underflows that matters.
    let mode = (u64::from(hosts) * u64::from(available_bps) / 10_000) as u32;
    let up = |k: u32| f64::from(hosts - k) / f64::from(k + 1) * odds;
    let (mut all, mut enough) = (0.0, 0.0);
    let mut note = |k: u32, weight: f64| {
        all += weight;
        if k >= wanted {
            enough += weight;
        }
    };
    let mut weight = 1.0;
    for k in mode..=hosts {
        note(k, weight);
        if k < hosts {
            weight *= up(k);
        }
    }
    weight = 1.0;
    for k in (0..mode).rev() {
        weight /= up(k);
        note(k, weight);
    }
    (enough / all * MILLION) as u32
}

/// The least number of hosts, at most `hosts_max`, of which `wanted` are there with a probability
/// of `service_ppm` millionths; nothing if so many are not enough.
#[must_use]
pub fn hosts_needed(
    wanted: u32,
    available_bps: u32,
    service_ppm: u32,
    hosts_max: u32,
) -> Option<u32> {
    let enough = |hosts: u32| kept_ppm(wanted, hosts, available_bps) >= service_ppm;
    if hosts_max < wanted || !enough(hosts_max) {
        return None;
    }
    let (mut low, mut high) = (wanted, hosts_max);
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(low)
}

/// The price of a reserved unit: the expected one, for each of the `hosts` behind `wanted`, and the
/// premium; rounded up.
#[must_use]
pub fn forward_price(expected: Price, wanted: u32, hosts: u32) -> Price {
    let over = u128::from(expected.0) * u128::from(hosts) * u128::from(WHOLE + PREMIUM_BPS);
    let under = u128::from(wanted.max(1)) * u128::from(WHOLE);
    Price(u32::try_from(over.div_ceil(under)).unwrap_or(u32::MAX))
}

/// What is paid for what was promised and not given, besides giving its price back.
#[must_use]
pub fn penalty(price_of_it: MicroCredits) -> MicroCredits {
    part(price_of_it, PENALTY_BPS)
}

/// What a firm host stands in for, of what it would earn.
#[must_use]
pub fn bond(earnings: MicroCredits) -> MicroCredits {
    part(earnings, BOND_BPS)
}

/// What the cores that stand behind a promise beyond those promised are worth, for each of those:
/// what is shared by whoever stands there. Of work that costs so much.
#[must_use]
pub fn standby(work: MicroCredits, wanted: u32, hosts: u32) -> MicroCredits {
    let exact = i128::from(work.0) * i128::from(hosts.saturating_sub(wanted));
    MicroCredits(i64::try_from(exact / i128::from(wanted.max(1))).unwrap_or(i64::MAX))
}

/// Of what is shared, what is for somebody who stood in so many of the places that there were.
#[must_use]
pub fn standby_of(all: MicroCredits, stood: u64, places: u64) -> MicroCredits {
    let exact = i128::from(all.0) * i128::from(stood) / i128::from(places.max(1));
    MicroCredits(i64::try_from(exact).unwrap_or(i64::MAX))
}

/// What a host loses of its bond, which is `each` a core and tick, for `away` cores that are not
/// there. `missing` are not there in all, of which only `short` were wanted: nobody loses for more
/// than was missed.
#[must_use]
pub fn loss(each: MicroCredits, away: u32, short: u64, missing: u64) -> MicroCredits {
    let exact = i128::from(each.0) * i128::from(away) * i128::from(short.min(missing))
        / i128::from(missing.max(1));
    MicroCredits(i64::try_from(exact).unwrap_or(i64::MAX))
}

fn part(of: MicroCredits, bps: u64) -> MicroCredits {
    let exact = i128::from(of.0) * i128::from(bps) / i128::from(WHOLE);
    MicroCredits(i64::try_from(exact).unwrap_or(i64::MAX))
}
