//! What is promised of prices, as properties.

use std::collections::BTreeMap;

use isos_base::market::TickPrice;
use isos_base::price::Price;
use isos_base::{Bytes, Fuel, MicroCredits, Time};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn bids(of: &[(u32, u32)]) -> Vec<Bid<usize>> {
    let bid =
        |(key, &(price, units)): (usize, &(u32, u32))| Bid { key, price: Price(price), units };
    of.iter().enumerate().map(bid).collect()
}

fn asks(of: &[(u32, u32)]) -> Vec<Ask<usize>> {
    let ask =
        |(key, &(price, units)): (usize, &(u32, u32))| Ask { key, price: Price(price), units };
    of.iter().enumerate().map(ask).collect()
}

/// What a buyer of one unit has of a clearing.
fn gain(done: &Clearing<usize, usize>, who: usize, worth: u32) -> i64 {
    let got = done.buys.iter().any(|&(key, _)| key == who);
    let price = done.price.map_or(0, |price| i64::from(price.0));
    if got { i64::from(worth) - price } else { 0 }
}

fn orders(units: u32) -> impl Strategy<Value = Vec<(u32, u32)>> {
    vec((0_u32..1_000, 0..=units), 0..24)
}

proptest! {
    #[test]
    fn what_is_bought_is_sold_at_one_price_that_nobody_regrets(
        buyers in orders(9),
        sellers in orders(9),
        fixed in proptest::option::of(0_u32..1_000),
    ) {
        let (buyers, sellers) = (bids(&buyers), asks(&sellers));
        let done = match fixed {
            None => clear(&buyers, &sellers),
            Some(price) => at_price(&buyers, &sellers, Price(price)),
        };
        let sum = |of: &[(usize, u32)]| of.iter().map(|&(_, units)| u64::from(units)).sum::<u64>();
        prop_assert_eq!(sum(&done.buys), done.units);
        prop_assert_eq!(sum(&done.sells), done.units);
        prop_assert_eq!(done.price.is_some(), done.units > 0);
        let price = done.price.unwrap_or_default();
        for &(who, units) in &done.buys {
            prop_assert!(buyers[who].price >= price && units <= buyers[who].units && units > 0);
        }
        for &(who, units) in &done.sells {
            prop_assert!(sellers[who].price <= price && units <= sellers[who].units && units > 0);
        }
        if fixed.is_none() {
            // Nobody is left out who would have paid what somebody left out asks.
            let got = |who| done.buys.iter().find(|it| it.0 == who).map_or(0, |it| it.1);
            let gave = |who| done.sells.iter().find(|it| it.0 == who).map_or(0, |it| it.1);
            let over = buyers.iter().filter(|bid| got(bid.key) < bid.units).map(|bid| bid.price);
            let left = sellers.iter().filter(|ask| gave(ask.key) < ask.units).map(|ask| ask.price);
            if let (Some(over), Some(left)) = (over.max(), left.min()) {
                prop_assert!(over < left, "{over:?} is bid and {left:?} asked, and both go home");
            }
        }
    }

    #[test]
    fn a_buyer_of_one_unit_cannot_gain_by_a_bid_that_is_not_what_it_is_worth(
        others in orders(3),
        sellers in orders(3),
        worth in 0_u32..1_000,
        lie in 0_u32..1_000,
        fixed in proptest::option::of(0_u32..1_000),
    ) {
        let sellers = asks(&sellers);
        let with = |price: u32| {
            let mut all = others.clone();
            all.push((price, 1));
            let (me, all) = (all.len() - 1, bids(&all));
            let done = match fixed {
                None => clear(&all, &sellers),
                Some(fixed) => at_price(&all, &sellers, Price(fixed)),
            };
            gain(&done, me, worth)
        };
        prop_assert!(with(worth) >= 0);
        prop_assert!(with(lie) <= with(worth));
    }

    #[test]
    fn a_posted_price_stays_in_its_band_and_steps_by_an_eighth_at_most(
        start in 1_u32..100_000,
        steps in vec((0_u64..2_000, 0_u64..2_000), 0..50),
    ) {
        let band = Band { floor: Price(10), ceiling: Price(50_000) };
        let mut posted = Posted::new(Price(start.clamp(10, 50_000)));
        for (demand, supply) in steps {
            let before = posted.milli();
            posted.step(demand, supply, band);
            let after = posted.milli();
            prop_assert!((10_000..=50_000_000).contains(&after));
            prop_assert!(after.abs_diff(before) <= before / 8 + 1, "{before} to {after}");
            if 10 * demand > 9 * supply {
                prop_assert!(after > before || after == 50_000_000);
            }
            if 10 * demand < 9 * supply {
                prop_assert!(after <= before);
            }
        }
    }

    #[test]
    fn the_share_keeps_nobody_waiting_longer_than_the_bound(
        wants in vec(1_u64..40, 1..20),
        quota in 1_u64..30,
    ) {
        let mut share = Share::default();
        let mut left: BTreeMap<usize, (u64, u64)> =
            wants.iter().enumerate().map(|(key, &units)| (key, (units, 1))).collect();
        let accounts = wants.len() as u64;
        let mut ticks = 0;
        while !left.is_empty() {
            ticks += 1;
            let wanted: u64 = left.values().map(|of| of.0).sum();
            let given = share.serve(quota, &left);
            prop_assert_eq!(given.values().sum::<u64>(), quota.min(wanted));
            for (key, units) in given {
                let of = left.get_mut(&key).unwrap();
                prop_assert!(units <= of.0);
                of.0 -= units;
                if of.0 == 0 {
                    left.remove(&key);
                    let bound = (wants[key] * accounts).div_ceil(quota);
                    prop_assert!(ticks <= bound, "{} units after {ticks} of {bound}", wants[key]);
                }
            }
        }
    }

    #[test]
    fn the_least_number_of_hosts_keeps_a_promise_and_one_less_does_not(
        wanted in 1_u32..300,
        available in 5_000_u32..10_000,
        service in 500_000_u32..999_900,
    ) {
        let hosts = hosts_needed(wanted, available, service, 100_000).unwrap();
        prop_assert!(kept_ppm(wanted, hosts, available) >= service);
        prop_assert!(hosts == wanted || kept_ppm(wanted, hosts - 1, available) < service);
        prop_assert_eq!(hosts_needed(wanted, available, service, hosts - 1), None);
    }

    #[test]
    fn what_is_shared_and_what_is_lost_never_adds_up_to_more_than_there_is(
        work in 0_i64..1 << 40,
        wanted in 1_u32..300,
        available in 5_000_u32..10_000,
        stood in vec(0_u64..5_000, 1..40),
        away in vec(0_u32..100, 1..40),
        short in 0_u64..500,
    ) {
        let work = MicroCredits(work);
        let hosts = hosts_needed(wanted, available, 900_000, 100_000).unwrap();
        let shared = standby(work, wanted, hosts);
        prop_assert!(shared.0 * i64::from(wanted) <= work.0 * i64::from(hosts - wanted));
        let places: u64 = stood.iter().sum();
        let given: i64 = stood.iter().map(|&it| standby_of(shared, it, places).0).sum();
        prop_assert!(given <= shared.0);
        let each = bond(work);
        prop_assert!(each.0 * 4 <= work.0);
        let missing = away.iter().map(|&it| u64::from(it)).sum();
        let lost: i64 = away.iter().map(|&it| loss(each, it, short, missing).0).sum();
        prop_assert!(lost <= each.0 * short.min(missing) as i64);
        let own = |it: u32| loss(each, it, short, missing).0 <= each.0 * i64::from(it);
        prop_assert!(away.iter().all(|&it| own(it)));
    }

    #[test]
    fn a_history_is_bounded_whatever_comes_in(
        ticks in vec((0_u64..2_000_000, 1_u32..500), 0..400),
    ) {
        let mut history = History::default();
        for (minutes, price) in ticks {
            history.note(tick(minutes * 60, price));
        }
        prop_assert!(history.is_whole());
    }
}

fn tick(secs: u64, price: u32) -> TickPrice {
    let at = Time(secs * 1_000_000);
    TickPrice { at, price: Price(price), units: 1, supply: 2, demand: 1 }
}

#[test]
fn the_price_is_the_lower_end_of_what_parts_those_who_trade_from_those_who_do_not() {
    let buyers = bids(&[(50, 2), (40, 2), (30, 2)]);
    let sellers = asks(&[(10, 3), (35, 5)]);
    let done = clear(&buyers, &sellers);
    // The fourth unit is bid 40 and asked 35; the fifth would be bid 30.
    assert_eq!((done.units, done.price), (4, Some(Price(35))));
    assert_eq!(done.buys, [(0, 2), (1, 2)]);
    assert_eq!(done.sells, [(0, 3), (1, 1)]);
    // One cheap seller for all: the first bid that goes home empty says the price.
    let done = clear(&buyers, &asks(&[(10, 3)]));
    assert_eq!((done.units, done.price), (3, Some(Price(40))));
    assert!(done.is_thin(), "three units, from one seller");
    assert_eq!(clear(&bids(&[(5, 9)]), &sellers), clear(&[], &sellers));
}

#[test]
fn an_auction_is_thin_with_few_units_or_with_one_side_alone() {
    let sellers = asks(&[(1, 4), (2, 4)]);
    assert!(!clear(&bids(&[(9, 3), (8, 3)]), &sellers).is_thin());
    assert!(clear(&bids(&[(9, 2), (8, 2)]), &sellers).is_thin(), "four units");
    assert!(clear(&bids(&[(9, 8)]), &sellers).is_thin(), "one buyer");
    assert!(clear(&bids(&[(9, 20)]), &sellers).is_thin(), "who bids against itself");
    assert!(!clear(&bids(&[(9, 8), (7, 1)]), &sellers).is_thin(), "somebody bids against it");
    assert!(clear(&bids(&[(9, 3), (8, 3)]), &asks(&[(1, 9)])).is_thin(), "one seller");
}

#[test]
fn a_posted_price_rises_when_more_than_nine_tenths_is_used_and_falls_when_less_is() {
    let band = Band { floor: Price(1), ceiling: Price(1_000_000) };
    let after = |demand, supply| {
        let mut posted = Posted::new(Price(100));
        posted.step(demand, supply, band);
        posted.milli()
    };
    assert_eq!(after(90, 100), 100_000);
    assert_eq!(after(100, 100), 102_777, "a quarter of 11.1 % over");
    assert_eq!(after(500, 100), 112_500, "an eighth at the most");
    assert_eq!(after(0, 100), 87_500);
    assert_eq!(after(7, 0), 112_500, "wanted, and nothing offered");
    assert_eq!(after(0, 0), 100_000, "nothing is learnt");
    let mut low = Posted::new(Price(1));
    (0..2_000).for_each(|_| low.step(2, 1, band));
    assert_eq!(low.price(), Price(1_000_000), "the lowest price can rise");
}

#[test]
fn turns_go_on_where_the_last_tick_ended_and_weights_are_bounded() {
    let mut share = Share::default();
    let wants = BTreeMap::from([("a", (9, 1)), ("b", (9, 1)), ("c", (9, 1))]);
    let first = share.serve(2, &wants);
    assert_eq!(first, BTreeMap::from([("a", 1), ("b", 1)]));
    assert_eq!(share.serve(2, &wants), BTreeMap::from([("c", 1), ("a", 1)]));
    let wants = BTreeMap::from([("rich", (1_000, 1_000_000)), ("poor", (1_000, 1))]);
    let given = Share::default().serve(170, &wants);
    assert_eq!(given, BTreeMap::from([("rich", 160), ("poor", 10)]));
    // One who wants little leaves the rest to the others.
    let wants = BTreeMap::from([(1, (1, 1)), (2, (100, 1))]);
    assert_eq!(Share::default().serve(50, &wants), BTreeMap::from([(1, 1), (2, 49)]));
}

#[test]
fn a_host_counts_as_what_it_did_lately_and_never_as_less_than_a_half() {
    let mut host = Reliability::default();
    assert_eq!(host.bps(), 6_666);
    (0..200).for_each(|_| host.note(true));
    assert!(host.bps() > 9_800, "{}", host.bps());
    assert_eq!(host.effective(Price(98)).0.max(99), host.effective(Price(98)).0);
    (0..30).for_each(|_| host.note(false));
    assert!((5_500..7_000).contains(&host.bps()), "{}", host.bps());
    (0..900).for_each(|_| host.note(false));
    assert_eq!(host.bps(), RELIABILITY_MIN_BPS);
    assert_eq!(host.effective(Price(100)), Price(200));
    assert!(host.effective(Price(u32::MAX)) == Price(u32::MAX));
}

#[test]
fn a_hundred_cores_at_nine_tenths_need_about_a_hundred_and_twenty_hosts() {
    let hosts = hosts_needed(100, 9_000, 990_000, 1_000).unwrap();
    assert!((117..=121).contains(&hosts), "{hosts}");
    // E[p] k/n (1 + 10 %).
    assert_eq!(forward_price(Price(100), 100, 120), Price(132));
    assert_eq!(penalty(MicroCredits(1_000)), MicroCredits(1_000));
    assert_eq!(bond(MicroCredits(1_001)), MicroCredits(250));
    assert_eq!(hosts_needed(10, 9_000, 990_000, 9), None);
    assert_eq!(kept_ppm(5_000, 6_000, 9_000), 1_000_000, "large numbers do not underflow");
    assert_eq!((kept_ppm(1, 1, 9_000), kept_ppm(0, 0, 0)), (900_000, 1_000_000));
}

#[test]
fn a_forecast_is_the_same_hour_of_past_weeks_and_before_that_of_past_days() {
    let mut history = History::default();
    // Nights are cheap: a day, then the same hour of the next one is asked for.
    for hour in 0..24_u64 {
        let price = if hour < 6 { 67 } else { 100 };
        history.note(tick(hour * 3_600, price));
        history.note(tick(hour * 3_600 + 30, price + 2));
    }
    let noon = Time(23 * 3_600 * 1_000_000 + 40 * 1_000_000);
    assert_eq!(history.forecast(Time((24 + 3) * 3_600_000_000)), Some(Price(68)));
    assert_eq!(history.cheapest(noon, 24).map(|(_, price)| price), Some(Price(68)));
    assert_eq!(history.hour_mean(noon), Some(Price(101)));
    assert_eq!(history.forecast(Time(0)), None, "nothing is known of what was before");
    let week = |n: u64| (7 * 24 * n + 3) * 3_600;
    history.note(tick(week(1), 50));
    // Of two weeks the last weighs twice the one before.
    assert_eq!(history.forecast(Time(week(2) * 1_000_000)), Some(Price(56)));
}

#[test]
fn the_barter_view_counts_in_hours_of_a_measured_core() {
    let rate = 10_000_000_000;
    // A core-hour is 36,000 G, so 100 micro-credits a G make 3.6 credits.
    assert_eq!(price_of_core_hour(Price(100), rate), MicroCredits(3_600_000));
    let gave = fuel_of_core_hours(41_000, rate);
    let barter = Barter::new(gave, MicroCredits(136_800_000), Price(100), Some(Price(67)), rate);
    assert_eq!((barter.gave_milli, barter.now_milli), (41_000, 38_000));
    assert_eq!(barter.later_milli, Some(56_716));
    assert_eq!(core_hours_milli(Fuel(u64::MAX), 0), 0);
    let free = Barter::new(Fuel(0), MicroCredits(1), Price(0), None, rate);
    assert!(free.now_milli > 0 && free.later_milli.is_none());
}

#[test]
fn hosts_are_classed_by_architecture_and_memory_for_a_core() {
    let spec = |arch: &str, cpus, gib| isos_base::host::HostSpec {
        name: String::new(),
        agent: String::new(),
        os: String::new(),
        arch: arch.into(),
        cpus,
        memory: Bytes::gib(gib),
        disk: Bytes::ZERO,
        country: None,
        engine: String::new(),
    };
    assert_eq!(class_of(&spec("x86_64", 4, 16)), "x86_64-4g");
    assert_eq!(class_of(&spec("x86_64", 4, 27)), "x86_64-4g");
    assert_eq!(class_of(&spec("aarch64", 8, 2)), "aarch64-1g");
    assert_eq!(class_of(&spec("<b>", 0, 4_096)), "b-32g");
    assert_eq!(class_of(&spec("", 1, 1)), "unknown-1g");
}
