//! Firm hosts and their bonds: whether promises are kept while owners come and go, who pays where
//! they are not, and what it brings to be clever about it.
//!
//! The rules are those of `kernel::complex::market::bond`, on the parts of `kernel::market`: in
//! each tick of a window firm hosts are called until as many stand as are reckoned with; a bond
//! loses for a tick in which its host is not there and the buyer is short; and those that stood
//! share their part of the premium. As in the complex, any host of the class serves the promise
//! first, firm or not. So nothing is short unless most of the class is gone at once: now and then
//! there is a *storm*, in which nearly all owners come back to their machines in the same minute.
//! What is owed is paid from bonds, then from what the promises themselves have brought.

use isos_base::price::Price;
use isos_base::random::Random;
use isos_base::{Fuel, MicroCredits};
use isos_kernel::market::{
    RESERVED_MAX_BPS, Reliability, bond, forward_price, hosts_needed, loss, penalty, standby,
    standby_of,
};

use super::Setting;

/// Half minutes of a window of an hour.
const TICKS: u32 = 120;
/// Of a core in a tick.
const WORK: Fuel = Fuel(100_000_000_000);
/// What work costs, of asks that are spread from a fourth of it to a fourth more.
const PRICE: Price = Price(100);
/// With which probability a promise is to be kept, in millionths.
const SERVICE_PPM: u32 = 990_000;
/// Nobody counts as there for certain.
const AVAILABLE_MAX_BPS: u32 = 9_900;
/// A host that is there leaves so seldom, and one that is away comes back so soon: nine of ten are
/// there.
const LEAVES_ONE_IN: u64 = 360;
const COMES_ONE_IN: u64 = 40;
/// Of hundred that are there, so many leave in a storm.
const STORM_TAKES: u64 = 85;

/// What is lived through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Season {
    /// Of hundred owners so many are firm, each with a core.
    pub(super) firm: u64,
    /// Of hundred firm owners so many leave as soon as they are called.
    pub(super) breakers: u64,
    /// One of so many windows has a storm; none if that is nothing.
    pub(super) storm_one_in: Option<u64>,
    /// Whether the first owner is a breaker, and nobody else if nobody else is.
    pub(super) first_breaks: bool,
    /// Whether the buyer wants nothing but in a storm.
    pub(super) lurks: bool,
}

impl Season {
    /// Owners come and go as they do, and nobody breaks anything.
    pub(super) const QUIET: Self =
        Self { firm: 40, breakers: 0, storm_one_in: None, first_breaks: false, lurks: false };
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) windows: u32,
    /// Windows in which all that was wanted was there.
    pub(super) kept: u32,
    /// Core-ticks.
    pub(super) wanted: u64,
    pub(super) given: u64,
    /// Owed for what was not there, paid for it, and of that from bonds.
    pub(super) owed: i64,
    pub(super) paid_back: i64,
    pub(super) forfeited: i64,
    /// Paid for the promises.
    pub(super) premium: i64,
    /// Of that, what is left for the complex.
    pub(super) pool: i64,
    /// What all firm owners had of it, and the first: their parts of premiums less what they lost.
    pub(super) owners: i64,
    pub(super) first: i64,
}

impl Outcome {
    pub(super) fn kept_share(&self) -> f64 {
        f64::from(self.kept) / f64::from(self.windows.max(1))
    }

    /// Three standard deviations of that share, if promises are kept exactly as often as said.
    pub(super) fn error(&self) -> f64 {
        let service = f64::from(SERVICE_PPM) / 1e6;
        3.0 * (service * (1.0 - service) / f64::from(self.windows.max(1))).sqrt()
    }

    pub(super) fn service() -> f64 {
        f64::from(SERVICE_PPM) / 1e6
    }

    /// What was paid of what was owed.
    pub(super) fn covered(&self) -> f64 {
        self.paid_back as f64 / self.owed.max(1) as f64
    }

    /// What came from bonds of what was paid back.
    pub(super) fn bonds_share(&self) -> f64 {
        self.forfeited as f64 / self.paid_back.max(1) as f64
    }

    /// Of the core-ticks that were wanted, those that were there or whose price was paid.
    pub(super) fn made_good(&self) -> f64 {
        let short = (self.wanted - self.given) as f64;
        (self.given as f64 + short * self.covered()) / self.wanted.max(1) as f64
    }

    pub(super) fn there(&self) -> f64 {
        self.given as f64 / self.wanted.max(1) as f64
    }

    /// Of premiums, what is left for the complex once all is paid.
    pub(super) fn left(&self) -> f64 {
        self.pool as f64 / self.premium.max(1) as f64
    }

    /// Of premiums, what firm owners have of them.
    pub(super) fn for_owners(&self) -> f64 {
        self.owners as f64 / self.premium.max(1) as f64
    }

    /// What the buyer had of his promises but work, as a part of what he paid for them.
    pub(super) fn buyer_gain(&self) -> f64 {
        (self.paid_back - self.premium) as f64 / self.premium.max(1) as f64
    }
}

struct Host {
    ask: u32,
    firm: bool,
    breaks: bool,
    there: bool,
    reliability: Reliability,
}

struct Bond {
    host: usize,
    amount: i64,
    stood: u64,
    lost: i64,
}

/// The terms of a window.
struct Promise {
    cores: u32,
    behind: u32,
    each: MicroCredits,
    premium: MicroCredits,
    penalty: MicroCredits,
    standby: MicroCredits,
}

/// Lives through windows, one after the other.
pub(super) fn live(setting: &Setting, season: &Season) -> Outcome {
    let mut random = Random::new(setting.seed ^ 0x6669_726d);
    // Its own luck, so that what somebody does changes nothing but what follows from it.
    let mut storms = Random::new(setting.seed ^ 0x0073_746f_726d);
    let mut hosts: Vec<Host> = (0..setting.hosts.max(20))
        .map(|n| {
            let firm = n == 0 || random.below(100) < season.firm;
            Host {
                ask: PRICE.0 / 4 + random.below(u64::from(PRICE.0)) as u32,
                firm,
                breaks: match n {
                    0 => season.first_breaks,
                    _ => firm && random.below(100) < season.breakers,
                },
                there: random.below(10) > 0,
                reliability: Reliability::default(),
            }
        })
        .collect();
    // The one that is looked at sells what it has.
    hosts[0].ask = PRICE.0 / 4;
    let mut outcome = Outcome::default();
    for _ in 0..setting.rounds.max(1) {
        let storm = season.storm_one_in.is_some_and(|n| storms.one_in(n));
        let at = storm.then(|| storms.below(u64::from(TICKS)) as u32);
        window(&mut hosts, season, at, &mut random, &mut outcome);
    }
    outcome
}

/// What may be promised at a fifth of what is there.
fn promise(hosts: &[Host]) -> Option<Promise> {
    let there = hosts.iter().filter(|host| host.there && host.ask <= PRICE.0);
    let mut reliable: Vec<u32> = there.map(|host| host.reliability.bps()).collect();
    reliable.sort_unstable();
    let supply = reliable.len() as u64;
    let available = reliable.get(reliable.len() / 2)?.to_owned().min(AVAILABLE_MAX_BPS);
    let room = u32::try_from(supply * RESERVED_MAX_BPS / 10_000).unwrap_or(u32::MAX);
    let cores = u32::try_from(supply / 5).unwrap_or(u32::MAX).max(1);
    // New hosts count as less, so that fewer can be promised at first.
    let promised = (1..=cores).rev().find_map(|cores| {
        hosts_needed(cores, available, SERVICE_PPM, room).map(|behind| (cores, behind))
    });
    let (cores, behind) = promised?;
    let whole = forward_price(PRICE, cores, behind).charge(WORK);
    let work = PRICE.earning(WORK);
    Some(Promise {
        cores,
        behind,
        each: bond(work),
        premium: MicroCredits(whole.0 - work.0),
        penalty: penalty(whole),
        standby: standby(work, cores, behind),
    })
}

fn window(
    hosts: &mut [Host],
    season: &Season,
    storm: Option<u32>,
    random: &mut Random,
    outcome: &mut Outcome,
) {
    let Some(promise) = promise(hosts) else {
        (0..TICKS).for_each(|_| pass(hosts, &[], false, random));
        return;
    };
    let Promise { cores, behind, .. } = promise;
    let mut bonds: Vec<Bond> = Vec::new();
    let (mut wanted, mut short, mut forfeited) = (0_u64, 0_u64, 0_i64);
    for tick in 0..TICKS {
        let called: Vec<usize> = bonds.iter().map(|bond| bond.host).collect();
        pass(hosts, &called, storm == Some(tick), random);
        let stormy = storm.is_some_and(|at| tick >= at);
        let here = hosts.iter().filter(|host| host.there && host.ask <= PRICE.0).count() as u64;
        let wants = if season.lurks && !stormy { 0 } else { u64::from(cores) };
        let lacks = wants - wants.min(here);
        (wanted, short) = (wanted + wants, short + lacks);
        let away = bonds.iter().filter(|bond| !hosts[bond.host].there).count() as u64;
        for bond in &mut bonds {
            let host = &mut hosts[bond.host];
            if host.there {
                bond.stood += 1;
                continue;
            }
            let lost = loss(promise.each, 1, lacks, away).0.min(bond.amount - bond.lost);
            if lost > 0 && bond.lost == 0 {
                host.reliability.note(false);
            }
            (bond.lost, forfeited) = (bond.lost + lost, forfeited + lost);
        }
        call(hosts, &mut bonds, &promise, TICKS - tick);
    }
    let ticks = u64::from(TICKS);
    let kept = u64::from(cores) * ticks - short;
    let paid = promise.premium.0 * kept as i64;
    let all = MicroCredits((promise.standby.0 * kept as i64).min(paid));
    let (mut shared, mut first) = (0, 0);
    for bond in &bonds {
        let part = standby_of(all, bond.stood, u64::from(behind) * ticks).0;
        shared += part;
        hosts[bond.host].reliability.note(bond.lost == 0);
        if bond.host == 0 {
            first += part - bond.lost;
        }
    }
    let owed = promise.penalty.0 * short as i64;
    outcome.pool += paid - shared;
    let rest = (owed - forfeited).clamp(0, outcome.pool);
    outcome.pool -= rest;
    outcome.windows += 1;
    outcome.kept += u32::from(short == 0);
    outcome.wanted += wanted;
    outcome.given += wanted - short;
    outcome.owed += owed;
    outcome.paid_back += forfeited + rest;
    outcome.forfeited += forfeited;
    outcome.premium += paid;
    outcome.owners += shared - forfeited;
    outcome.first += first;
}

/// Owners come and go. Whoever breaks what it was called to is away until the window ends, and
/// comes back like all others.
fn pass(hosts: &mut [Host], called: &[usize], storm: bool, random: &mut Random) {
    for host in hosts.iter_mut() {
        // As much luck is drawn for each, whatever it does.
        let (leaves, comes) = (random.one_in(LEAVES_ONE_IN), random.one_in(COMES_ONE_IN));
        let swept = random.below(100) < STORM_TAKES;
        host.there = match host.there {
            true => !(leaves || storm && swept),
            false => comes,
        };
    }
    for &host in called {
        hosts[host].there &= !hosts[host].breaks;
    }
}

/// Calls firm hosts that are there and ask no more than is paid, the most reliable first.
fn call(hosts: &[Host], bonds: &mut Vec<Bond>, promise: &Promise, ticks: u32) {
    let missing = (promise.behind as usize).saturating_sub(bonds.len());
    if missing == 0 {
        return;
    }
    let mut free: Vec<(std::cmp::Reverse<u32>, usize)> = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        let stands = bonds.iter().any(|bond| bond.host == n);
        if host.firm && host.there && !stands && host.ask <= PRICE.0 {
            free.push((std::cmp::Reverse(host.reliability.bps()), n));
        }
    }
    free.sort_unstable();
    let amount = promise.each.0 * i64::from(ticks);
    let called = free.into_iter().take(missing);
    bonds.extend(called.map(|(_, host)| Bond { host, amount, stood: 0, lost: 0 }));
}
