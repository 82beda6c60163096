//! What single auctions make of what there is, against the best that could be made of it.

use isos_base::price::Price;
use isos_base::random::Random;
use isos_kernel::market::{Ask, Bid, Clearing, Want, assign, at_price, clear};

use super::Setting;

/// Prices are drawn below this: a thousandth of it is the smallest step.
const SCALE: u64 = 100_000;

fn price(random: &mut Random) -> u32 {
    random.below(SCALE) as u32
}

/// A bid or an ask that is `shade` better for whoever makes it than what it is worth to him.
fn shaded(worth: u32, shade: f64, buys: bool) -> Price {
    let factor = if buys { 1.0 - shade } else { 1.0 + shade };
    Price((f64::from(worth) * factor) as u32)
}

/// What was gained: the worth of what was bought, less the cost of what was sold.
fn welfare(done: &Clearing<usize, usize>, worths: &[u32], costs: &[u32]) -> f64 {
    let sum = |of: &[(usize, u32)], each: &[u32]| -> f64 {
        of.iter().map(|&(key, units)| f64::from(each[key]) * f64::from(units)).sum()
    };
    sum(&done.buys, worths) - sum(&done.sells, costs)
}

fn bids(worths: &[u32], units: &[u32], shade: f64) -> Vec<Bid<usize>> {
    let bid = |(key, (&worth, &units))| Bid { key, price: shaded(worth, shade, true), units };
    worths.iter().zip(units).enumerate().map(bid).collect()
}

fn asks(costs: &[u32], units: &[u32], shade: f64) -> Vec<Ask<usize>> {
    let ask = |(key, (&cost, &units))| Ask { key, price: shaded(cost, shade, false), units };
    costs.iter().zip(units).enumerate().map(ask).collect()
}

/// As many sellers as buyers, one unit each: where the auction is thin, the posted price is the
/// middle.
pub(super) fn one_good(setting: &Setting, buyers: u32, shade: f64) -> f64 {
    let mut random = Random::new(setting.seed);
    let (mut got, mut best) = (0.0, 0.0);
    for _ in 0..setting.rounds {
        let worths: Vec<u32> = (0..buyers).map(|_| price(&mut random)).collect();
        let costs: Vec<u32> = (0..buyers).map(|_| price(&mut random)).collect();
        let ones = vec![1; buyers as usize];
        let done = clear(&bids(&worths, &ones, shade), &asks(&costs, &ones, shade));
        let done = if done.is_thin() {
            let middle = Price((SCALE / 2) as u32);
            at_price(&bids(&worths, &ones, shade), &asks(&costs, &ones, shade), middle)
        } else {
            done
        };
        got += welfare(&done, &worths, &costs);
        best +=
            welfare(&clear(&bids(&worths, &ones, 0.0), &asks(&costs, &ones, 0.0)), &worths, &costs);
    }
    got / best
}

/// Four classes, of which each can do what the ones below can; three times as much is wanted as
/// there is. Prices follow from tick to tick as they do in the complex. Compared with what could be
/// made if every host could do everything: no less than the best that is possible.
pub(super) fn nested_classes(setting: &Setting, shade: f64) -> f64 {
    const CLASSES: usize = 4;
    let mut random = Random::new(setting.seed ^ 0x6e65_7374);
    let (mut got, mut best) = (0.0, 0.0);
    let mut prices = vec![Price((SCALE / 2) as u32); CLASSES];
    let rounds = (setting.rounds / 20).max(4);
    for round in 0..rounds {
        let mut costs = Vec::new();
        let mut cores = Vec::new();
        let mut class_of = Vec::new();
        for _ in 0..200 {
            // Hosts with much memory cost more.
            let class = random.below(CLASSES as u64) as usize;
            costs.push(price(&mut random) / 4 + (class as u32 * SCALE as u32) / 40);
            cores.push(1 + random.below(8) as u32);
            class_of.push(class);
        }
        let supply: u32 = cores.iter().sum();
        let (mut worths, mut wanted, mut wants) = (Vec::new(), Vec::new(), Vec::new());
        while wanted.iter().sum::<u32>() < 3 * supply {
            let least = [0, 0, 0, 1, 1, 2, 3][random.below(7) as usize];
            let (worth, units) = (price(&mut random), 1 + random.below(40) as u32);
            wants.push(Want {
                key: worths.len(),
                bid: shaded(worth, shade, true),
                units,
                classes: (least..CLASSES).collect(),
            });
            worths.push(worth);
            wanted.push(units);
        }
        let all = asks(&costs, &cores, shade);
        let of_class = |class: usize| -> Vec<Ask<usize>> {
            all.iter().filter(|ask| class_of[ask.key] == class).copied().collect()
        };
        let by_class: Vec<Vec<Ask<usize>>> = (0..CLASSES).map(of_class).collect();
        let room: Vec<u64> =
            by_class.iter().map(|asks| asks.iter().map(|ask| u64::from(ask.units)).sum()).collect();
        let bids_of = assign(&wants, &room, &prices);
        let mut sum = 0.0;
        for class in 0..CLASSES {
            let done = clear(&bids_of[class], &by_class[class]);
            sum += welfare(&done, &worths, &costs);
            if let Some(price) = done.price {
                prices[class] = price;
            }
        }
        // The first round only finds the prices.
        if round > 0 {
            got += sum;
            let bound = clear(&bids(&worths, &wanted, 0.0), &asks(&costs, &cores, 0.0));
            best += welfare(&bound, &worths, &costs);
        }
    }
    got / best
}
