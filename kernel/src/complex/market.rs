//! The market at work: every thirty seconds each class of hosts is cleared, and leases granted
//! until the next time have the price that came of it.
//!
//! All capacity is auctioned anew at each tick, since leases are short: what hosts offer at what
//! they ask against what jobs want at what they bid. Where that is too thin the posted price
//! stands. A lease has the price at which it was granted until it ends. Jobs that bid less than the
//! price get their account's turn of a tenth of the supply, at the price at which a tenth of it
//! sells. A check that none of those could make who come for the price costs what a dearer host
//! asks. Where the operator fixes the price nothing of this happens.

mod bond;
mod reserve;
mod view;

use std::collections::BTreeMap;

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::Deed;
use isos_base::host::HostSpec;
use isos_base::job::JobSpec;
use isos_base::market::{MarketRecord, ReservationRecord, TickPrice};
use isos_base::price::Price;
use isos_base::record::{Change, Reason, system};
use isos_base::{AccountId, Fuel, HostId, JobId, MicroCredits, ReservationId, Span, Time};
use serde::{Deserialize, Serialize};

pub(super) use self::bond::Bonds;
use super::job::Job;
use super::place::Unfit;
use super::{Complex, Effect, Host, Reply};
use crate::ledger::{LedgerError, Posting, asked};
use crate::market::{
    Ask, Band, Bid, CLASSES_MAX, History, Posted, Reliability, Share, TICK, Want, assign, at_price,
    class_of, clear, reference_cores, reference_time, shared_units,
};

pub use reserve::Wish;

/// How prices are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pricing {
    /// One price for all, which the operator sets.
    #[default]
    Fixed,
    /// An auction for each class, within this band. It opens at the operator's price.
    Market(Band),
}

/// A job bids so many times the price of now if nobody says what it bids. It pays the price, not
/// the bid; what it bids is only set aside.
const HEADROOM: u32 = 2;
/// Jobs whose bids are looked at in a tick.
const BIDS_MAX: usize = 65_536;
/// Hosts of a class that are asked whether they fit a job, before it counts as a bid for others.
const LIKE_MAX: usize = 8;
/// What a core does in a second until hosts have shown it.
const CORE_RATE: u64 = 10_000_000_000;
/// A task whose length nobody knows counts as so much of an account's turn.
const GUESS: Span = Span::secs(1);

/// What the machine knows of its market.
#[derive(Debug)]
pub(super) struct Market {
    pub(super) pricing: Pricing,
    opening: Price,
    goods: Vec<Good>,
    due: Time,
    share: Share<AccountId>,
    /// What is left of the turns of accounts until the next tick: micro-core-seconds.
    turns: BTreeMap<AccountId, u64>,
    reservations: BTreeMap<ReservationId, Reserved>,
    last_reservation: ReservationId,
    /// What the reservations of each account have brought the complex, less what it has been paid
    /// for those that were not kept.
    promises: BTreeMap<AccountId, MicroCredits>,
    bonds: Bonds,
    /// Fuel that the middle one of the hosts does in a second of one core.
    core_rate: u64,
}

/// A class.
#[derive(Debug)]
struct Good {
    name: String,
    posted: Posted,
    price: Price,
    /// What the share costs that goes in turn.
    fair: Price,
    history: History,
    /// Reference cores offered at the last tick, and hosts that offered them.
    supply: u32,
    hosts: u32,
    demand: u32,
    /// The middle of how likely its hosts finish what they begin.
    available_bps: u32,
}

/// A reservation that is not over.
#[derive(Debug)]
struct Reserved {
    record: ReservationRecord,
    /// What is left of it until the next tick: micro-core-seconds.
    left: u64,
}

/// On what a lease is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deal {
    pub(super) price: Price,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Whoever bids the price.
    Price,
    /// The account's turn.
    Turn,
    /// What the account has reserved.
    Reservation(ReservationId),
    /// A check that nobody could make who comes for the price: what the host asks.
    Check,
}

impl Deal {
    /// Whether it is for checks of what others have answered, and for nothing else.
    pub(super) const fn is_for_checks(self) -> bool {
        matches!(self.by, By::Check)
    }
}

/// Which class a host is of: a place among [`Market::goods`].
pub(super) type GoodId = usize;

impl Market {
    pub(super) fn new(pricing: Pricing, opening: Price) -> Self {
        let opening = match pricing {
            Pricing::Fixed => opening,
            Pricing::Market(band) => opening.clamp(band.floor, band.ceiling.max(band.floor)),
        };
        Self {
            pricing,
            opening,
            goods: Vec::new(),
            due: Time(0),
            share: Share::default(),
            turns: BTreeMap::new(),
            reservations: BTreeMap::new(),
            last_reservation: ReservationId(0),
            promises: BTreeMap::new(),
            bonds: Bonds::default(),
            core_rate: CORE_RATE,
        }
    }

    pub(super) fn band(&self) -> Option<Band> {
        match self.pricing {
            Pricing::Fixed => None,
            Pricing::Market(band) => Some(band),
        }
    }

    /// When it was to be cleared at the latest.
    pub(super) const fn due(&self) -> Time {
        self.due
    }

    /// When it is to be cleared.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.band().map(|_| self.due)
    }

    /// The class of such a host; the last one if there are too many.
    pub(super) fn enter(&mut self, spec: &HostSpec) -> GoodId {
        let name = class_of(spec);
        if let Some(known) = self.goods.iter().position(|good| good.name == name) {
            return known;
        }
        if self.goods.len() < CLASSES_MAX {
            self.goods.push(Good::new(name, self.opening));
        }
        self.goods.len() - 1
    }

    /// At what a job's tasks may go to a host of a class that asks so much, or why not.
    pub(super) fn deal(&self, job: &Job, good: GoodId, ask: Price) -> Result<Deal, Unfit> {
        let (lacks_checkers, job) = (job.unsure.lacks_checkers, &job.record);
        let bid = job.price;
        let at = |price, by| Ok(Deal { price, by });
        if self.band().is_none() {
            if ask > bid {
                return Err(Unfit::Price { wants: ask.0, pays: bid.0, until: None });
            }
            return at(bid, By::Price);
        }
        let good = &self.goods[good];
        let reserved = self.reservations.values().find(|it| {
            let record = &it.record;
            it.left > 0
                && record.account == job.account
                && record.class == good.name
                && (ask..=bid).contains(&record.price)
        });
        if let Some(Reserved { record, .. }) = reserved {
            return at(record.price, By::Reservation(record.id));
        }
        if (ask..=bid).contains(&good.price) {
            return at(good.price, By::Price);
        }
        if bid < good.price
            && (ask..=bid).contains(&good.fair)
            && self.turns.get(&job.account).is_some_and(|left| *left > 0)
        {
            return at(good.fair, By::Turn);
        }
        if lacks_checkers && (good.price..=bid).contains(&ask) {
            return at(ask, By::Check);
        }
        Err(if bid < good.price {
            Unfit::Bid { price: good.price.0 }
        } else {
            Unfit::Price { wants: ask.0, pays: good.price.0, until: None }
        })
    }

    /// Work was granted on these terms, to cores that do so much in a second: the turn or the
    /// reservation has so much less left.
    pub(super) fn granted(
        &mut self,
        deal: Deal,
        account: AccountId,
        tasks: u32,
        work: Span,
        rate: Option<u64>,
    ) {
        let work = if work.0 == 0 { GUESS.0.saturating_mul(tasks.into()) } else { work.0 };
        let work = reference_time(work, rate, self.core_rate);
        match deal.by {
            By::Price | By::Check => {}
            By::Turn => {
                if let Some(left) = self.turns.get_mut(&account) {
                    *left = left.saturating_sub(work);
                }
            }
            By::Reservation(id) => {
                if let Some(reserved) = self.reservations.get_mut(&id) {
                    reserved.left = reserved.left.saturating_sub(work);
                }
            }
        }
    }

    /// Accounts whose reservations have something left: their jobs go first.
    pub(super) fn first_accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        let left = self.reservations.values().filter(|it| it.left > 0);
        left.map(|it| it.record.account)
    }

    /// The highest price of any class.
    fn highest(&self) -> Price {
        self.goods.iter().map(|good| good.price).max().unwrap_or(self.opening)
    }

    pub(super) fn restore(
        &mut self,
        markets: Vec<MarketRecord>,
        (reservations, last, brought): (
            Vec<ReservationRecord>,
            ReservationId,
            Vec<(AccountId, MicroCredits)>,
        ),
        bonds: Bonds,
    ) {
        let Some(band) = self.band() else { return };
        let within = |price: Price| price.clamp(band.floor, band.ceiling.max(band.floor));
        for record in markets.into_iter().take(CLASSES_MAX) {
            let mut good = Good::new(record.class, self.opening);
            good.posted = Posted::from_milli(record.posted_milli);
            (good.price, good.fair) = (within(record.price), record.fair);
            good.history = History::restore(record.ticks, record.hours);
            self.goods.push(good);
        }
        let open = reservations.into_iter().map(|record| (record.id, Reserved { record, left: 0 }));
        self.reservations = open.collect();
        (self.last_reservation, self.promises) = (last, brought.into_iter().collect());
        self.bonds = bonds;
    }
}

impl Good {
    fn new(name: String, price: Price) -> Self {
        Self {
            name,
            posted: Posted::new(price),
            price,
            fair: price,
            history: History::default(),
            supply: 0,
            hosts: 0,
            demand: 0,
            available_bps: Reliability::default().bps(),
        }
    }

    fn record(&self, at: Time) -> MarketRecord {
        MarketRecord {
            class: self.name.clone(),
            posted_milli: self.posted.milli(),
            price: self.price,
            fair: self.fair,
            at,
            ticks: self.history.ticks().copied().collect(),
            hours: self.history.hours().copied().collect(),
        }
    }

    /// Clears it once; what is wanted and offered is noted.
    fn clear(&mut self, now: Time, bids: &[Bid<AccountId>], asks: &[Ask<AccountId>], band: Band) {
        let count = |of: &mut dyn Iterator<Item = u32>| of.fold(0_u32, u32::saturating_add);
        self.demand = count(&mut bids.iter().map(|bid| bid.units));
        self.supply = count(&mut asks.iter().map(|ask| ask.units));
        if self.demand == 0 && self.supply == 0 {
            return;
        }
        let before = self.posted.price();
        let done = clear(bids, asks);
        let done = if done.is_thin() { at_price(bids, asks, before) } else { done };
        self.price = done.price.unwrap_or(before).clamp(band.floor, band.ceiling);
        let willing = bids.iter().filter(|bid| bid.price >= before);
        let offered = asks.iter().filter(|ask| ask.price <= before);
        let willing = willing.map(|bid| u64::from(bid.units)).sum();
        let offered = offered.map(|ask| u64::from(ask.units)).sum();
        self.posted.step(willing, offered, band);
        // Below the price at which a tenth of what is offered sells, no tenth can be shared.
        let mut asked: Vec<_> = asks.iter().map(|ask| (ask.price, ask.units)).collect();
        asked.sort_unstable();
        let mut left = shared_units(self.supply.into());
        let fair = asked.iter().find(|(_, units)| {
            left = left.saturating_sub(u64::from(*units));
            left == 0
        });
        self.fair = fair.map_or(self.price, |(price, _)| *price).min(self.price);
        self.history.note(TickPrice {
            at: now,
            price: self.price,
            units: u32::try_from(done.units).unwrap_or(u32::MAX),
            supply: self.supply,
            demand: self.demand,
        });
    }
}

impl Complex {
    /// Clears the market if it is time.
    pub(super) fn clear_market(&mut self, effects: &mut Vec<Effect>) {
        let Some(band) = self.market.band() else { return };
        if self.now < self.market.due {
            return;
        }
        self.market.due = Time((self.now.0 / TICK.0 + 1) * TICK.0);
        self.measure_cores();
        let asks = self.asks(band);
        let wants = self.wants();
        let units = |asks: &Vec<Ask<AccountId>>| asks.iter().map(|it| u64::from(it.units)).sum();
        let room: Vec<u64> = asks.iter().map(units).collect();
        let prices: Vec<Price> = self.market.goods.iter().map(|good| good.price).collect();
        let bids = assign(&wants, &room, &prices);
        for (good, (bids, asks)) in self.market.goods.iter_mut().zip(bids.iter().zip(&asks)) {
            good.clear(self.now, bids, asks, band);
            if !bids.is_empty() || !asks.is_empty() {
                effects.push(Effect::Keep(Change::Market(Box::new(good.record(self.now)))));
            }
        }
        self.give_turns(&wants);
        self.count_reservations(effects);
        // Prices have changed, so who got nothing may get something now.
        let waiting = self.jobs.iter().filter(|(_, job)| job.waiting() > 0).map(|(id, _)| *id);
        self.news.extend(waiting);
    }

    /// What hosts offer and ask, by class.
    fn asks(&mut self, band: Band) -> Vec<Vec<Ask<AccountId>>> {
        let mut asks = vec![Vec::new(); self.market.goods.len()];
        let mut reliable = vec![Vec::new(); asks.len()];
        for host in self.hosts.values().filter(|host| host.record.barred.is_none()) {
            let Some(session) = host.session.as_ref() else { continue };
            reliable[host.good].push(host.reliability.bps());
            if session.offer.cores > 0 {
                let price = host.reliability.effective(session.offer.price_min).max(band.floor);
                let rate = self.market.core_rate;
                let units = reference_cores(session.cores(), host.core_rate, rate);
                let key = host.record.account;
                asks[host.good].push(Ask { key, price, units });
            }
        }
        for (good, mut reliable) in self.market.goods.iter_mut().zip(reliable) {
            good.hosts = u32::try_from(reliable.len()).unwrap_or(u32::MAX);
            reliable.sort_unstable();
            if let Some(middle) = reliable.get(reliable.len() / 2) {
                good.available_bps = *middle;
            }
        }
        asks
    }

    /// What jobs want, whoever came first standing first.
    fn wants(&mut self) -> Vec<Want<AccountId>> {
        let mut like: Vec<Vec<HostId>> = vec![Vec::new(); self.market.goods.len()];
        for (id, host) in &self.hosts {
            let like = &mut like[host.good];
            if host.session.is_some() && like.len() < LIKE_MAX {
                like.push(*id);
            }
        }
        // As many as there are, as cores or as reference cores.
        let supply = self.market.goods.iter().fold(0_u32, |sum, it| sum.saturating_add(it.supply));
        let cores = self.cores_offered.max(supply);
        let mut wants = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.open() > 0).take(BIDS_MAX) {
            let fits = |host: &Host, job: &mut Job| super::place::could_ever(job, host);
            let goods = like
                .iter()
                .enumerate()
                .filter(|(_, hosts)| hosts.iter().any(|id| fits(&self.hosts[id], job)));
            let goods: Vec<GoodId> = goods.map(|(good, _)| good).collect();
            let out = job.leases.iter().filter_map(|id| self.leases.get(id));
            let out: u32 = out.map(|lease| lease.out.count()).fold(0, u32::saturating_add);
            let wanted = job.waiting().saturating_add(out).min(cores.max(1));
            let (key, bid) = (job.record.account, job.record.price);
            wants.push(Want { key, bid, units: wanted, classes: goods });
        }
        wants
    }

    /// Hands the turns of the next tick out to accounts that bid less than the price.
    fn give_turns(&mut self, wants: &[Want<AccountId>]) {
        let mut waiting: BTreeMap<AccountId, (u64, u64)> = BTreeMap::new();
        for want in wants {
            let goods = want.classes.iter().map(|good| &self.market.goods[*good]);
            let mut patient = goods.filter(|good| (good.fair..good.price).contains(&want.bid));
            if patient.next().is_some() {
                let entry = waiting.entry(want.key).or_default();
                entry.0 += u64::from(want.units);
            }
        }
        for (account, entry) in &mut waiting {
            // What an account has paid for work so far cannot be made up by many accounts.
            let paid = self.ledger.account_view(*account).map_or(0, |view| view.spent.0);
            let credits = u64::try_from(paid / MicroCredits::CREDIT.0).unwrap_or(0);
            entry.1 = 1 + u64::from(credits.checked_ilog2().map_or(0, |log| log + 1));
        }
        let supply: u64 = self.market.goods.iter().map(|good| u64::from(good.supply)).sum();
        let given = self.market.share.serve(shared_units(supply), &waiting);
        let turn = |units: u64| units.saturating_mul(TICK.0);
        self.market.turns = given.into_iter().map(|(key, units)| (key, turn(units))).collect();
    }

    /// What a host offers, in reference cores.
    pub(super) fn units_of(&self, host: &Host) -> u32 {
        let cores = host.session.as_ref().map_or(0, super::session::Session::cores);
        reference_cores(cores, host.core_rate, self.market.core_rate)
    }

    /// The middle one of what hosts have shown that a core does.
    fn measure_cores(&mut self) {
        let sessions = self.hosts.values().filter(|host| host.session.is_some());
        let mut rates: Vec<u64> = sessions.filter_map(|host| host.core_rate).collect();
        if !rates.is_empty() {
            let middle = rates.len() / 2;
            self.market.core_rate = *rates.select_nth_unstable(middle).1;
        }
    }

    /// What a job pays at the most, from what was asked for.
    pub(super) fn bid_for(
        &self,
        account: AccountId,
        spec: &JobSpec,
        bid: Option<Price>,
    ) -> Result<Price, Problem> {
        let Some(band) = self.market.band() else {
            let price = self.config.price;
            return match bid {
                Some(bid) if bid < price => {
                    let message = format!(
                        "this complex has one price, {} micro-credits per gigafuel, and a job that \
                         bids {} would wait for ever: bid more, or leave it out",
                        price.0, bid.0
                    );
                    Err(Problem::new(ProblemCode::Refused, message))
                }
                _ => Ok(price),
            };
        };
        if let Some(bid) = bid {
            if bid < band.floor {
                let message = format!(
                    "prices fall no lower than {} micro-credits per gigafuel: bid that or more",
                    band.floor.0
                );
                return Err(Problem::new(ProblemCode::Usage, message));
            }
            return Ok(bid);
        }
        let price = self.market.highest();
        let high = Price(price.0.saturating_mul(HEADROOM));
        let available = self.ledger.account_view(account).map(|view| view.available);
        let covered = available.is_some_and(|available| self.hold_for(spec, high) <= available);
        Ok(if covered { high } else { price })
    }

    /// Changes what a job bids, and what is set aside for it.
    pub(super) fn change_bid(
        &mut self,
        id: JobId,
        bid: Price,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let none = || Problem::new(ProblemCode::NotFound, format!("there is no running job {id}"));
        let job = self.jobs.get(&id).ok_or_else(none)?;
        if self.market.band().is_none() {
            let message = "the operator fixes the price here: there is nothing to bid";
            return Err(Problem::new(ProblemCode::Refused, message));
        }
        let (account, hold) = (job.record.account, job.record.hold);
        let bid = self.bid_for(account, &job.record.spec, Some(bid))?;
        let spec = &job.record.spec;
        let executions = i128::from(job.open()) * i128::from(spec.verify.replicas_max());
        let rest = i128::from(bid.charge(spec.fuel).0) * executions + i128::from(job.reserved.0);
        let rest = i64::try_from(rest).unwrap_or(i64::MAX);
        let most = spec.price_max.map_or(i64::MAX, |max| max.0.saturating_sub(job.record.spent.0));
        let amount = MicroCredits(rest.min(most).max(job.reserved.0));
        let (seq, _) = self.ledger.head();
        let step = |what: &str| asked(system::MINT, &format!("bid {id} {what} {}", seq + 1));
        let new = step("hold");
        let mut postings = Vec::new();
        if self.ledger.hold(hold).is_some() {
            postings.push(Posting::Void { id: step("void"), hold, reason: Reason::Release(id) });
        }
        if amount > MicroCredits::ZERO {
            postings.push(Posting::Hold {
                id: new,
                debit: account,
                credit: system::ESCROW,
                amount,
                expires: None,
                reason: Reason::Hold(id),
            });
        }
        let mut changes = Vec::new();
        self.ledger.post(self.now, &postings, &mut changes).map_err(|error| match error {
            LedgerError::InsufficientFunds { available, .. } => Problem::new(
                ProblemCode::Refused,
                format!(
                    "at that bid the job may cost {amount} credits more, there are {available}"
                ),
            ),
            other => Problem::new(ProblemCode::Refused, other.to_string()),
        })?;
        effects.extend(changes.into_iter().map(Effect::Keep));
        let job = self.jobs.get_mut(&id).expect("looked up above");
        job.record.price = bid;
        job.record.hold = new;
        effects.push(Effect::Keep(Change::Job(Box::new(job.full_record()))));
        self.audit(Some(account), Deed::BidChanged { job: id, bid, held: amount }, effects);
        self.dirty_jobs.insert(id);
        self.news.insert(id);
        self.queue_or_leave(id);
        let view = self.job_view(id).expect("it runs");
        Ok(Reply::Job(Box::new(view)))
    }

    /// A host reported: what its cores do in a second, by what it says of the time.
    pub(super) fn note_core(&mut self, host: HostId, fuel: Fuel, busy: Span) {
        const SHORT: Span = Span::millis(20);
        if busy < SHORT {
            return;
        }
        let rate = u128::from(fuel.0) * 1_000_000 / u128::from(busy.0);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if let Some(host) = self.hosts.get_mut(&host) {
            // The mean follows within some ten reports.
            let old = host.core_rate.unwrap_or(rate);
            host.core_rate = Some(old / 8 * 7 + rate / 8);
        }
    }
}
