//! Firm reservations: cores that an account has for itself from one time to another, at a price
//! that is known, or it is compensated.
//!
//! In the window the account's jobs are served first, at the reserved price, until they have had so
//! many cores. Nothing stands idle for them: leases end within seconds. So what a reservation costs
//! is the promise alone: for each core and tick that was not short, the forward price less the
//! price of the work. Breaches are paid from the bonds of hosts that stood behind them (`bond`),
//! and then from what the complex has of premiums; hosts that lend what is idle never pay for
//! leaving.

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::Deed;
use isos_base::market::{ReservationRecord, ReservationState};
use isos_base::price::Price;
use isos_base::record::{Change, Reason, system};
use isos_base::{AccountId, Fuel, HostId, JobId, MicroCredits, ReservationId, Span, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::super::job::Job;
use super::super::place::{affordable, could_ever};
use super::super::session::Session;
use super::super::{Complex, Effect, Host, Reply};
use super::{Good, Reserved};
use crate::ledger::{LedgerError, Posting, asked};
use crate::market::{
    RESERVED_MAX_BPS, TICK, WHOLE_BPS, bond, forward_price, hosts_needed, penalty, reference_cores,
    standby,
};

/// Reservations of one account that are not over.
const ACCOUNT_MAX: usize = 64;
/// Of all accounts.
const ALL_MAX: usize = 4_096;
/// A window lasts no longer.
const WINDOW_MAX: Span = Span::secs(7 * 86_400);
/// And begins no later.
const AHEAD_MAX: Span = Span::secs(28 * 86_400);
/// Nobody is there for certain.
const AVAILABLE_MAX_BPS: u32 = 9_900;

/// Hosts of each class that are looked at for whether a job could use a reservation; and as many
/// that are not there.
const LIKE_MAX: usize = 64;

/// Hosts of each class.
type Like = Vec<Vec<HostId>>;

/// What is to be reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Of which class; the one with the most cores if not said.
    pub class: Option<String>,
    /// How many cores.
    pub cores: u32,
    /// From.
    pub from: Time,
    /// Until.
    pub until: Time,
    /// With which probability the promise is to be kept, in millionths.
    pub service_ppm: u32,
}

pub(super) fn refused(message: String) -> Problem {
    Problem::new(ProblemCode::Refused, message)
}

pub(super) fn usage(message: String) -> Problem {
    Problem::new(ProblemCode::Usage, message)
}

/// So many times an amount.
pub(super) fn times(amount: MicroCredits, n: u64) -> i64 {
    i64::try_from(i128::from(amount.0) * i128::from(n)).unwrap_or(i64::MAX)
}

impl Complex {
    /// What a reservation would be like: its number and hold are not given out yet.
    fn quote(&self, account: AccountId, wish: &Wish) -> Result<ReservationRecord, Problem> {
        if self.market.band().is_none() {
            let message = "the operator fixes the price here, so there is nothing to reserve";
            return Err(refused(message.into()));
        }
        let Wish { cores, from, until, service_ppm, .. } = *wish;
        if cores == 0 || until <= from || until.since(from) < TICK {
            let why = "a reservation is for at least one core and half a minute";
            return Err(usage(why.into()));
        }
        if !(500_000..=999_900).contains(&service_ppm) {
            return Err(usage("the service is from 0.5 to 0.9999".into()));
        }
        if from < self.now || until.since(from) > WINDOW_MAX || from > self.now + AHEAD_MAX {
            let why = format!(
                "a window begins from now ({}) to {AHEAD_MAX} ahead and lasts {WINDOW_MAX} at most",
                self.now
            );
            return Err(usage(why));
        }
        let good = self.good_wished(wish.class.as_deref())?;
        let taken: u32 = self
            .market
            .reservations
            .values()
            .map(|it| &it.record)
            .filter(|it| it.class == good.name && it.from < until && from < it.until)
            .fold(0, |sum, it| sum.saturating_add(it.behind));
        let most = u64::from(good.supply) * RESERVED_MAX_BPS / WHOLE_BPS;
        let room = u32::try_from(most).unwrap_or(u32::MAX).saturating_sub(taken);
        let available = good.available_bps.min(AVAILABLE_MAX_BPS);
        let behind = hosts_needed(cores, available, service_ppm, room).ok_or_else(|| {
            refused(format!(
                "{cores} cores of {} cannot be promised: it has {} cores, of which {most} may \
                 stand behind promises and {taken} do; {:.1} % of leases are finished",
                good.name,
                good.supply,
                f64::from(available) / 100.0
            ))
        })?;
        let price = good.expected(from, until);
        let forward = forward_price(price, cores, behind);
        // A core of the middle kind, for a tick.
        let fuel = Fuel(self.market.core_rate.saturating_mul(TICK.0 / 1_000_000));
        let (whole, work) = (forward.charge(fuel), price.earning(fuel));
        Ok(ReservationRecord {
            id: ReservationId(0),
            account,
            class: good.name.clone(),
            cores,
            behind,
            service_ppm,
            from,
            until,
            price,
            premium: MicroCredits(whole.0 - work.0),
            penalty: penalty(whole),
            hold: asked(account, ""),
            state: ReservationState::Booked,
            wanted: 0,
            given: 0,
            ticks: 0,
            paid: MicroCredits::ZERO,
            compensated: MicroCredits::ZERO,
            standby: standby(work, cores, behind),
            bond: bond(work),
            forfeited: MicroCredits::ZERO,
        })
    }

    fn good_wished(&self, class: Option<&str>) -> Result<&Good, Problem> {
        let goods = &self.market.goods;
        let found = match class {
            Some(name) => goods.iter().find(|good| good.name == name),
            None => goods.iter().max_by_key(|good| good.supply),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = goods.iter().map(|good| good.name.as_str()).collect();
            let message = match class {
                Some(class) if !names.is_empty() => {
                    format!("there are no hosts of {class}; there are: {}", names.join(", "))
                }
                _ => "no hosts have joined yet, so there is nothing to reserve".into(),
            };
            Problem::new(ProblemCode::NotFound, message)
        })
    }

    /// Promises cores, and sets their premium aside.
    pub(in crate::complex) fn reserve(
        &mut self,
        account: AccountId,
        wish: &Wish,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let open = &self.market.reservations;
        let mine = open.values().filter(|it| it.record.account == account).count();
        if mine >= ACCOUNT_MAX || open.len() >= ALL_MAX {
            let max = if mine >= ACCOUNT_MAX { ACCOUNT_MAX } else { ALL_MAX };
            return Err(refused(format!("there are {max} reservations, which is the limit")));
        }
        let mut record = self.quote(account, wish)?;
        record.id = ReservationId(self.market.last_reservation.0 + 1);
        record.hold = asked(system::MINT, &format!("reservation {} hold", record.id));
        let ticks = record.until.since(record.from).0.div_ceil(TICK.0) + 1;
        let all = i128::from(record.premium.0) * i128::from(record.cores) * i128::from(ticks);
        let amount = MicroCredits(i64::try_from(all).unwrap_or(i64::MAX));
        let reason = Reason::Reserve(record.id);
        let posting = (amount > MicroCredits::ZERO).then_some(Posting::Hold {
            id: record.hold,
            debit: account,
            credit: system::FEES,
            amount,
            expires: None,
            reason,
        });
        let mut changes = Vec::new();
        self.ledger.post(self.now, posting.as_slice(), &mut changes).map_err(|error| match error {
            LedgerError::InsufficientFunds { available, .. } => refused(format!(
                "the promise costs up to {amount} credits, the account has {available}: reserve \
                 fewer cores or a shorter time"
            )),
            other => refused(other.to_string()),
        })?;
        effects.extend(changes.into_iter().map(Effect::Keep));
        self.market.last_reservation = record.id;
        effects.push(Effect::Keep(Change::Reservation(Box::new(record.clone()))));
        let deed = Deed::CoresReserved {
            reservation: record.id,
            class: record.class.clone(),
            cores: record.cores,
            from: record.from,
            until: record.until,
            held: amount,
        };
        self.audit(Some(account), deed, effects);
        self.market.reservations.insert(record.id, Reserved { record: record.clone(), left: 0 });
        Ok(Reply::Reserved(Box::new(record)))
    }

    /// Gives a reservation up whose window has not begun.
    pub(in crate::complex) fn unreserve(
        &mut self,
        account: AccountId,
        id: ReservationId,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let mine = |it: &&Reserved| it.record.account == account;
        let Some(known) = self.market.reservations.get(&id).filter(mine) else {
            let message = format!("there is no reservation {id} that is not over");
            return Err(Problem::new(ProblemCode::NotFound, message));
        };
        if known.record.state != ReservationState::Booked {
            return Err(refused(format!("the window of reservation {id} has begun")));
        }
        let record = self.end_reservation(id, ReservationState::Cancelled, effects);
        self.audit(Some(account), Deed::ReservationCancelled { reservation: id }, effects);
        Ok(Reply::Reserved(Box::new(record)))
    }

    /// Counts what reservations were promised, wanted and given at this tick, and gives them what
    /// is theirs until the next. Those whose windows are over are settled.
    pub(super) fn count_reservations(&mut self, effects: &mut Vec<Effect>) {
        let ids: Vec<ReservationId> = self.market.reservations.keys().copied().collect();
        let like = if ids.is_empty() { Like::new() } else { self.some_of_each_class() };
        for id in ids {
            let Some(reserved) = self.market.reservations.get(&id) else { continue };
            let record = reserved.record.clone();
            let (from, until) = (record.from, record.until);
            if self.now < from {
                continue;
            }
            let was_active = record.state == ReservationState::Active;
            // What was promised at the last tick is judged by what is so at this one.
            let (wanted, given) = match was_active {
                true => self.wanted_and_given(&record, &like),
                false => (0, 0),
            };
            let reserved = self.market.reservations.get_mut(&id).expect("looked up above");
            let record = &mut reserved.record;
            record.wanted += u64::from(wanted);
            record.given += u64::from(given);
            record.ticks += u64::from(was_active);
            let mut record = record.clone();
            if was_active {
                self.watch_bonds(&record, wanted - given, effects);
            }
            if self.now >= until {
                self.end_reservation(id, ReservationState::Over, effects);
                continue;
            }
            record.state = ReservationState::Active;
            self.end_bonds(&mut record, false, effects);
            self.call_firm(&record, effects);
            effects.push(Effect::Keep(Change::Reservation(Box::new(record.clone()))));
            let reserved = self.market.reservations.get_mut(&id).expect("looked up above");
            reserved.left = u64::from(record.cores) * TICK.0;
            reserved.record = record;
        }
    }

    /// How many of the cores that are promised an account could use, and how many it uses.
    fn wanted_and_given(&mut self, record: &ReservationRecord, like: &Like) -> (u32, u32) {
        let (account, class, cores) = (record.account, &record.class, record.cores);
        let waits = |job: &&Job| job.record.account == account && job.waiting() > 0;
        let ids: Vec<JobId> = self.jobs.values().filter(waits).map(|job| job.record.id).collect();
        let mut waiting = 0_u32;
        for id in ids {
            if waiting >= cores {
                break;
            }
            waiting = waiting.saturating_add(self.wants_of(id, record, like));
        }
        let mut busy: BTreeMap<HostId, u32> = BTreeMap::new();
        for job in self.jobs.values().filter(|job| job.record.account == account) {
            for lease in job.leases.iter().filter_map(|id| self.leases.get(id)) {
                *busy.entry(lease.record.host).or_default() += lease.out.count();
            }
        }
        let works = busy.into_iter().map(|(id, tasks)| {
            let host = &self.hosts[&id];
            let here = self.market.goods[host.good].name == *class;
            let cores = host.session.as_ref().map_or(0, Session::cores);
            let rate = self.market.core_rate;
            if here { reference_cores(tasks.min(cores), host.core_rate, rate) } else { 0 }
        });
        let works: u32 = works.fold(0, u32::saturating_add);
        let given = works.min(cores);
        (given.saturating_add(waiting).min(cores), given)
    }

    /// Tasks of a job that could go to cores of a reservation if these were there. What bids less,
    /// needs what no host of the class has, or cannot be paid for is not missed by anybody: else
    /// whoever wants nothing could wait for others to be away, and be compensated for it.
    fn wants_of(&mut self, id: JobId, record: &ReservationRecord, like: &Like) -> u32 {
        let Some(mut job) = self.jobs.remove(&id) else { return 0 };
        let good = self.market.goods.iter().position(|good| good.name == record.class);
        let hosts = good.and_then(|good| like.get(good)).into_iter().flatten();
        let fits = job.record.price >= record.price
            && hosts.filter_map(|host| self.hosts.get(host)).any(|host| {
                let accept = host.session.as_ref().map(|session| &session.offer.accept);
                accept.is_none_or(|accept| accept.allows(&job.record.spec.program))
                    && could_ever(&mut job, host)
            });
        let wants =
            if fits { job.waiting().min(affordable(&job, self.remaining(&job))) } else { 0 };
        self.jobs.insert(id, job);
        wants
    }

    /// Some hosts of each class: those that are there, and others, since these are what is missed.
    fn some_of_each_class(&self) -> Like {
        let mut like = vec![Vec::new(); self.market.goods.len()];
        for (there, max) in [(true, LIKE_MAX), (false, 2 * LIKE_MAX)] {
            let those = |host: &&Host| host.session.is_some() == there && !host.is_out();
            for host in self.hosts.values().filter(those) {
                if like[host.good].len() < max {
                    like[host.good].push(host.record.id);
                }
            }
        }
        like
    }

    /// Settles a reservation: what was not short is paid for, the rest goes back, and what was
    /// short is compensated, from bonds and then as far as the account's promises have brought
    /// something.
    fn end_reservation(
        &mut self,
        id: ReservationId,
        state: ReservationState,
        effects: &mut Vec<Effect>,
    ) -> ReservationRecord {
        let reserved = self.market.reservations.remove(&id).expect("the caller has looked");
        let mut record = reserved.record;
        record.state = state;
        self.end_bonds(&mut record, true, effects);
        let short = record.wanted - record.given;
        let kept = (u64::from(record.cores) * record.ticks).saturating_sub(short);
        let step = |what: &str| asked(system::MINT, &format!("reservation {id} {what}"));
        let mut postings = Vec::new();
        if let Some(hold) = self.ledger.hold(record.hold) {
            record.paid = MicroCredits(times(record.premium, kept).min(hold.remaining.0));
            let reason = Reason::Reserve(id);
            if record.paid > MicroCredits::ZERO {
                let (hold, amount) = (record.hold, record.paid);
                let reason = reason.clone();
                postings.push(Posting::Post { id: step("premium"), hold, amount, reason });
            }
            if record.paid < hold.remaining {
                let hold = record.hold;
                postings.push(Posting::Void { id: step("release"), hold, reason });
            }
        }
        let standby = self.share_premium(&record, kept, effects);
        let shared: i64 = standby.iter().map(|it| it.amount().map_or(0, |it| it.0)).sum();
        postings.extend(standby);
        // What bonds have not paid of it comes from what the promises to this account have
        // brought, as far as that is still there; never from others' or from other fees: a class
        // may be one owner's, who can reserve it under another name and leave at will. Accounts
        // that were paid more, when all shared, leave the less to the others.
        let fees = self.ledger.account_view(system::FEES).map_or(0, |view| view.available.0);
        let brought = record.paid.0 - shared;
        let fees = fees.saturating_add(brought);
        let mine = self.market.promises.get(&record.account).map_or(0, |mine| mine.0);
        let mine = mine.saturating_add(brought);
        let all = self.market.promises.values().fold(brought, |sum, it| sum.saturating_add(it.0));
        let there = mine.min(all).min(fees).max(0);
        let owed = (times(record.penalty, short) - record.forfeited.0).clamp(0, there);
        self.market.promises.insert(record.account, MicroCredits(mine.saturating_sub(owed)));
        record.compensated = MicroCredits(record.forfeited.0 + owed);
        if owed > 0 {
            postings.push(Posting::Direct {
                id: step("compensation"),
                debit: system::FEES,
                credit: record.account,
                amount: MicroCredits(owed),
                reason: Reason::Compensation(id),
            });
        }
        self.post_or_halt(&postings, effects);
        effects.push(Effect::Keep(Change::Reservation(Box::new(record.clone()))));
        record
    }
}

impl Good {
    /// What its price will be in a window, as far as the past says; else what it is.
    fn expected(&self, from: Time, until: Time) -> Price {
        const HOUR: Span = Span::secs(3_600);
        let (mut at, mut sum, mut hours) = (from, 0_u64, 0_u64);
        while at < until {
            sum += u64::from(self.history.forecast(at).unwrap_or(self.price).0);
            hours += 1;
            at += HOUR;
        }
        let mean = sum.checked_div(hours).and_then(|mean| u32::try_from(mean).ok());
        mean.map_or(self.price, Price)
    }
}
