//! A day of one class: hosts come and go with the hour, accounts have work and have none, and one
//! of them may be clever.
//!
//! Each tick is as in the complex: bids and asks are cleared, at the posted price where that is too
//! thin, and a tenth of the supply goes in turn to those that bid less. What an account cannot use
//! in a tick is lost to it: an account that waits for a better price is measured by what it misses.

use std::collections::BTreeMap;

use isos_base::price::Price;
use isos_base::random::Random;
use isos_kernel::market::{Ask, Band, Bid, Posted, Share, at_price, clear, shared_units};

use super::Setting;

/// What is lived through.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    seed: u64,
    accounts: u32,
    hosts: u32,
    ticks: u32,
}

impl Day {
    /// As a setting has it.
    #[must_use]
    pub const fn of(setting: &Setting) -> Self {
        let Setting { seed, accounts, hosts, ticks, .. } = *setting;
        Self { seed, accounts, hosts, ticks }
    }
}

/// Who is not as the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clever {
    /// Nobody: all say what it is worth to them.
    Honest,
    /// All buyers bid so much of it.
    AllShade(f64),
    /// The first account bids so much of it.
    Shade(f64),
    /// The first account has so many names.
    Split(u32),
    /// The first owner holds so much of its cores back.
    Withdraw(f64),
    /// The first account always wants all it can get, and bids no more than the cheapest host asks.
    FreeRider {
        /// Under so many names.
        names: u32,
    },
}

/// What came of a day.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The price of each tick.
    pub prices: Vec<u32>,
    gained: f64,
    best: f64,
    /// What the first account had of it: worth less what it paid.
    pub buyer: f64,
    /// What the first owner had of it: pay less cost.
    pub owner: f64,
    supply: u64,
    to_clever: u64,
    sold_ticks: u32,
}

impl Outcome {
    /// Of the best that was possible.
    #[must_use]
    pub fn welfare(&self) -> f64 {
        self.gained / self.best
    }

    /// The mean change of the price in a tick, as a part of it.
    #[must_use]
    pub fn volatility(&self) -> f64 {
        let changes = self.prices.windows(2).map(|pair| {
            (f64::from(pair[1]) - f64::from(pair[0])).abs() / f64::from(pair[0].max(1))
        });
        changes.sum::<f64>() / (self.prices.len().max(2) - 1) as f64
    }

    /// The share of ticks in which somebody bought something: where nobody does, no figure says
    /// anything.
    #[must_use]
    pub fn sold(&self) -> f64 {
        f64::from(self.sold_ticks) / self.prices.len().max(1) as f64
    }

    /// What the first account got of all that was offered.
    #[must_use]
    pub fn clever_share(&self) -> f64 {
        self.to_clever as f64 / self.supply.max(1) as f64
    }
}

/// Prices: fine enough that a step is no part of what is measured.
const BAND: Band = Band { floor: Price(100), ceiling: Price(1_000_000) };
const TICKS_OF_DAY: f64 = 2_880.0;
/// An account has work for so many ticks on average, and then none for as many.
const STAYS: u64 = 120;
/// A host stays in a state for so many.
const HOST_STAYS: u64 = 240;
/// Names begin here, so that none is another's.
const NAMES: u32 = 1 << 20;

struct Account {
    worth: u32,
    units: u32,
    busy: bool,
    paid: f64,
}

struct Host {
    cost: u32,
    cores: u32,
    there: bool,
}

struct World {
    random: Random,
    accounts: Vec<Account>,
    hosts: Vec<Host>,
}

impl World {
    fn new(day: &Day) -> Self {
        let mut random = Random::new(day.seed);
        let mut accounts = Vec::new();
        for _ in 0..day.accounts {
            let (worth, units) = (worth(&mut random), units(&mut random));
            accounts.push(Account { worth, units, busy: random.one_in(2), paid: 0.0 });
        }
        let mut hosts = Vec::new();
        for _ in 0..day.hosts {
            let (cost, cores) = (500 + random.below(9_000) as u32, 1 + random.below(16) as u32);
            hosts.push(Host { cost, cores, there: random.one_in(2) });
        }
        Self { random, accounts, hosts }
    }

    /// Somebody comes or goes; at night more hosts are there, by day more is wanted.
    fn pass(&mut self, tick: u32) {
        let phase = f64::from(tick) / TICKS_OF_DAY * std::f64::consts::TAU;
        let night = 0.5 + 0.25 * phase.cos();
        let random = &mut self.random;
        for account in &mut self.accounts {
            if random.one_in(STAYS) {
                account.busy = random.unit() > 0.8 * night;
                account.worth = worth(random);
                account.units = units(random);
            }
        }
        for host in &mut self.hosts {
            if random.one_in(HOST_STAYS) {
                host.there = random.unit() < 0.3 + 0.8 * night;
            }
        }
    }
}

fn worth(random: &mut Random) -> u32 {
    2_000 + random.below(28_000) as u32
}

fn units(random: &mut Random) -> u32 {
    1 + random.below(24) as u32
}

/// What an account is under its names.
fn owner_of(key: u32) -> usize {
    if key >= NAMES { 0 } else { key as usize }
}

/// Lives through a day.
#[must_use]
pub fn live(day: &Day, clever: Clever) -> Outcome {
    let mut world = World::new(day);
    let mut posted = Posted::new(Price(8_000));
    let mut share = Share::default();
    let mut outcome = Outcome::default();
    for tick in 0..day.ticks {
        world.pass(tick);
        let bids = bids(&world, clever);
        let asks = asks(&world, clever);
        one_tick(&mut world, clever, &bids, &asks, (&mut posted, &mut share), &mut outcome);
    }
    outcome
}

fn bids(world: &World, clever: Clever) -> Vec<Bid<u32>> {
    let mut bids = Vec::new();
    let cheapest = world.hosts.iter().filter(|host| host.there).map(|host| host.cost).min();
    for (key, account) in world.accounts.iter().enumerate() {
        let first = key == 0;
        if let (true, Clever::FreeRider { names }) = (first, clever) {
            // What is wanted without end is worth little.
            let price = Price(cheapest.unwrap_or(500) * 3);
            bids.extend((0..names).map(|n| Bid { key: NAMES + n, price, units: 1_000 }));
            continue;
        }
        if !account.busy {
            continue;
        }
        let factor = match clever {
            Clever::AllShade(factor) => factor,
            Clever::Shade(factor) if first => factor,
            _ => 1.0,
        };
        let price = Price((f64::from(account.worth) * factor) as u32);
        match clever {
            Clever::Split(names) if first => {
                let each = account.units.div_ceil(names);
                let mut left = account.units;
                for n in 0..names {
                    let units = each.min(left);
                    left -= units;
                    bids.push(Bid { key: NAMES + n, price, units });
                }
            }
            _ => bids.push(Bid { key: key as u32, price, units: account.units }),
        }
    }
    bids
}

fn asks(world: &World, clever: Clever) -> Vec<Ask<u32>> {
    let there = world.hosts.iter().enumerate().filter(|(_, host)| host.there);
    let ask = |(key, host): (usize, &Host)| {
        let kept = match clever {
            Clever::Withdraw(part) if key == 0 => 1.0 - part,
            _ => 1.0,
        };
        let units = (f64::from(host.cores) * kept).round() as u32;
        Ask { key: key as u32, price: Price(host.cost), units }
    };
    there.map(ask).collect()
}

/// Clears a tick and counts what everybody had of it.
fn one_tick(
    world: &mut World,
    clever: Clever,
    bids: &[Bid<u32>],
    asks: &[Ask<u32>],
    (posted, share): (&mut Posted, &mut Share<u32>),
    outcome: &mut Outcome,
) {
    let before = posted.price();
    let full = clear(bids, asks);
    let price = if full.is_thin() { before } else { full.price.unwrap_or(before) };
    let supply: u64 = asks.iter().map(|ask| u64::from(ask.units)).sum();
    let (patient, fair) = patient(world, bids, asks, price, supply);
    let turns = share.serve(shared_units(supply), &patient);
    // The cheapest cores are those that are shared.
    let shared: u64 = turns.values().sum();
    let mut left = shared;
    let mut rest: Vec<Ask<u32>> = asks.to_vec();
    rest.sort_by_key(|ask| ask.price);
    let mut sells: Vec<(u32, u32, Price)> = Vec::new();
    for ask in &mut rest {
        let some = u32::try_from(left).unwrap_or(u32::MAX).min(ask.units);
        (ask.units, left) = (ask.units - some, left - u64::from(some));
        sells.push((ask.key, some, fair));
    }
    let done = at_price_of_all(bids, &rest, price);
    let mut buys: Vec<(u32, u32, Price)> = Vec::new();
    buys.extend(done.0.iter().map(|&(key, units)| (key, units, price)));
    let turned = turns.iter().map(|(&key, &units)| (key, units as u32, fair));
    buys.extend(turned);
    sells.extend(done.1.iter().map(|&(key, units)| (key, units, price)));
    outcome.sold_ticks += u32::from(buys.iter().any(|&(_, units, _)| units > 0));
    for (key, units, price) in buys {
        let account = &mut world.accounts[owner_of(key)];
        let (units, price) = (f64::from(units), f64::from(price.0));
        let worth = match clever {
            // It is worth to him what he says, or he would be no rider.
            Clever::FreeRider { .. } if owner_of(key) == 0 => price,
            _ => f64::from(account.worth),
        };
        account.paid += units * price;
        outcome.gained += units * worth;
        if owner_of(key) == 0 {
            outcome.buyer += units * (worth - price);
            outcome.to_clever += units as u64;
        }
    }
    for (key, units, price) in sells {
        let cost = f64::from(world.hosts[key as usize].cost);
        outcome.gained -= f64::from(units) * cost;
        if key == 0 {
            outcome.owner += f64::from(units) * (f64::from(price.0) - cost);
        }
    }
    outcome.supply += supply;
    outcome.best += best(world, clever);
    outcome.prices.push(price.0);
    let willing = bids.iter().filter(|bid| bid.price >= before).map(|bid| u64::from(bid.units));
    let offered = asks.iter().filter(|ask| ask.price <= before).map(|ask| u64::from(ask.units));
    posted.step(willing.sum(), offered.sum(), BAND);
}

/// Accounts that bid less than the price and at least that of the share, and that price.
fn patient(
    world: &World,
    bids: &[Bid<u32>],
    asks: &[Ask<u32>],
    price: Price,
    supply: u64,
) -> (BTreeMap<u32, (u64, u64)>, Price) {
    let mut offered: Vec<_> = asks.iter().map(|ask| (ask.price, ask.units)).collect();
    offered.sort_unstable();
    let mut left = shared_units(supply);
    let fair = offered.iter().find(|(_, units)| {
        left = left.saturating_sub(u64::from(*units));
        left == 0
    });
    let fair = fair.map_or(price, |(price, _)| *price).min(price);
    let mut patient = BTreeMap::new();
    for bid in bids.iter().filter(|bid| (fair..price).contains(&bid.price)) {
        // As in the complex: what an account has paid so far, in powers of two. Names are new.
        let paid = if bid.key >= NAMES { 0.0 } else { world.accounts[bid.key as usize].paid };
        let credits = (paid / 1e6) as u64;
        let weight = 1 + u64::from(credits.checked_ilog2().map_or(0, |log| log + 1));
        patient.insert(bid.key, (u64::from(bid.units), weight));
    }
    (patient, fair)
}

/// How many units by whom.
type Units = Vec<(u32, u32)>;

/// Sales at a price that the auction has found: of those that can pay it, who bids most first.
fn at_price_of_all(bids: &[Bid<u32>], asks: &[Ask<u32>], price: Price) -> (Units, Units) {
    let mut order = bids.to_vec();
    order.sort_by_key(|bid| std::cmp::Reverse(bid.price));
    let done = at_price(&order, asks, price);
    (done.buys, done.sells)
}

/// The best that could be made of a tick, by what things are really worth.
fn best(world: &World, clever: Clever) -> f64 {
    let honest = match clever {
        Clever::FreeRider { .. } => clever,
        _ => Clever::Honest,
    };
    let (bids, asks) = (bids(world, honest), asks(world, Clever::Honest));
    let done = clear(&bids, &asks);
    let worth = |key: u32| match clever {
        Clever::FreeRider { .. } if owner_of(key) == 0 => 0.0,
        _ => f64::from(world.accounts[owner_of(key)].worth),
    };
    let worths = done.buys.iter().map(|&(key, units)| f64::from(units) * worth(key)).sum::<f64>();
    let cost = |key: u32| f64::from(world.hosts[key as usize].cost);
    worths - done.sells.iter().map(|&(key, units)| f64::from(units) * cost(key)).sum::<f64>()
}

/// What being clever brings, as a part of what honesty brings.
pub(super) struct Gains {
    /// The best of the grid of shading factors.
    pub(super) shading: (f64, f64),
    /// Of ten accounts instead of one.
    pub(super) split: f64,
    /// The best of the grid of cores held back, in percent.
    pub(super) withdrawal: (f64, f64),
}

/// Days of which the mean is taken.
const DAYS: u64 = 12;

/// Lets the first account and the first owner try everything, against all others being honest.
pub(super) fn best_gains(day: &Day) -> Gains {
    let days: Vec<Day> =
        (0..DAYS).map(|n| Day { seed: day.seed.wrapping_add(n * 7_919), ..*day }).collect();
    let sum = |clever: Clever, of: fn(&Outcome) -> f64| -> f64 {
        days.iter().map(|day| of(&live(day, clever))).sum()
    };
    let buyer: fn(&Outcome) -> f64 = |outcome| outcome.buyer;
    let owner: fn(&Outcome) -> f64 = |outcome| outcome.owner;
    let honest = (sum(Clever::Honest, buyer), sum(Clever::Honest, owner));
    let best = |grid: &[f64], clever: fn(f64) -> Clever, of: fn(&Outcome) -> f64, base: f64| {
        let tried = grid.iter().map(|&part| (part, sum(clever(part), of) / base - 1.0));
        // Where honesty brings nothing there is nothing to compare with, and no number says so.
        let worse = |best: f64, gain: f64| gain > best || gain.is_nan();
        tried.fold((0.0, f64::MIN), |best, it| if worse(best.1, it.1) { it } else { best })
    };
    let shades = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25];
    let held = [0.25, 0.5, 0.75];
    let shading = best(&shades, Clever::Shade, buyer, honest.0);
    let withdrawal = best(&held, Clever::Withdraw, owner, honest.1);
    Gains {
        shading,
        split: sum(Clever::Split(10), buyer) / honest.0 - 1.0,
        withdrawal: (withdrawal.0 * 100.0, withdrawal.1),
    }
}

/// How long the patient wait.
pub(super) struct Wait {
    pub(super) p99: f64,
    pub(super) longest: f64,
    pub(super) gini: f64,
    /// Jobs that were waited for.
    pub(super) jobs: usize,
}

/// Accounts that bid no more than the share costs, each with one job after another, while others
/// buy the rest: each wait as a part of what it may be at the most.
pub(super) fn longest_wait(setting: &Setting) -> Wait {
    let mut random = Random::new(setting.seed ^ 0x7761_6974);
    let accounts = u64::from(setting.accounts.max(2));
    let quota = shared_units(u64::from(setting.hosts) * 8);
    let mut share = Share::default();
    let mut jobs: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut begun: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
    let mut parts = Vec::new();
    // Ticks and units of each account, over all of its jobs.
    let mut waited = vec![(0.0, 0.0); accounts as usize];
    for tick in 0..setting.ticks {
        for key in 0..accounts {
            jobs.entry(key).or_insert_with(|| {
                let units = 1 + random.below(3 * quota);
                begun.insert(key, (tick, units));
                (units, 1)
            });
        }
        for (key, units) in share.serve(quota, &jobs) {
            let job = jobs.get_mut(&key).expect("it was wanted");
            job.0 -= units;
            if job.0 == 0 {
                jobs.remove(&key);
                let (since, wanted) = begun[&key];
                let ticks = f64::from(tick - since + 1);
                // A turn that was another's when the job came counts as well.
                let bound = (wanted * accounts).div_ceil(quota) + 1;
                parts.push(ticks / bound as f64);
                let (all_ticks, all_units) = &mut waited[key as usize];
                (*all_ticks, *all_units) = (*all_ticks + ticks, *all_units + wanted as f64);
            }
        }
    }
    parts.sort_by(f64::total_cmp);
    let each = waited.iter().filter(|(_, units)| *units > 0.0).map(|(ticks, units)| ticks / units);
    let each = each.collect();
    let at = |part: f64| parts.get((parts.len() as f64 * part) as usize).copied();
    let longest = parts.last().copied().unwrap_or(0.0);
    let jobs = parts.len();
    Wait { p99: at(0.99).unwrap_or(longest), longest, gini: gini(each), jobs }
}

/// How unequal: 0 if all have the same, nearly 1 if one has all.
fn gini(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let (n, sum) = (of.len() as f64, of.iter().sum::<f64>());
    let ranked: f64 = of.iter().zip(1_u32..).map(|(it, rank)| it * f64::from(rank)).sum();
    2.0 * ranked / (n * sum) - (n + 1.0) / n
}
