//! What stands behind a reservation: hosts whose owners let them, each with a bond.
//!
//! Most hosts lend what is idle and owe nobody anything. An owner can say that a host is *firm*:
//! while a reservation's window lasts it may be called to stand behind it, a quarter of what its
//! cores would earn by then is set aside, and it shares the premium. It stops for its owner as at
//! once as ever. What that costs is a part of the bond for each tick in which it is not there *and*
//! the reservation is short, never more than was missing, and it goes to whom the promise was made.
//! Who gives notice stands for ten minutes more and gets the bond back.

use std::collections::BTreeMap;

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::Deed;
use isos_base::market::{BondRecord, BondState, FirmRecord, ReservationRecord, ReservationState};
use isos_base::record::{Change, Reason, system};
use isos_base::{AccountId, HostId, MicroCredits, ReservationId, Span};

use super::super::{Complex, Effect, Reply};
use super::reserve::{refused, times, usage};
use crate::ledger::{Posting, asked};
use crate::market::{TICK, loss, standby_of};

/// Who gives notice stands for so much longer.
const NOTICE: Span = Span::secs(600);
/// Hosts that are firm.
const FIRM_MAX: usize = 16_384;
/// Bonds of one reservation, those that are over too.
const BONDS_MAX: usize = 1_024;
/// Bonds that stand at a time.
const STANDING_MAX: usize = 16_384;
/// Cores of a host at the most.
const CORES_MAX: u32 = u16::MAX as u32;

/// Firm hosts, and what they stand in for.
#[derive(Debug, Default)]
pub(in crate::complex) struct Bonds {
    firm: BTreeMap<HostId, FirmRecord>,
    /// Of reservations that are not over.
    of: BTreeMap<(ReservationId, u32), BondRecord>,
}

impl Bonds {
    pub(in crate::complex) fn restore(firm: Vec<FirmRecord>, bonds: Vec<BondRecord>) -> Self {
        let bonds = bonds.into_iter().map(|bond| ((bond.reservation, bond.nth), bond));
        Self { firm: firm.into_iter().map(|it| (it.host, it)).collect(), of: bonds.collect() }
    }

    /// All of a reservation.
    fn behind(&self, id: ReservationId) -> impl Iterator<Item = &BondRecord> {
        self.of.range((id, 0)..=(id, u32::MAX)).map(|(_, bond)| bond)
    }

    /// Those that stand.
    fn standing(&self) -> impl Iterator<Item = &BondRecord> {
        self.of.values().filter(|bond| bond.state == BondState::Standing)
    }
}

impl Complex {
    /// Lets a host stand behind reservations, or changes with how many cores.
    pub(in crate::complex) fn offer_firm(
        &mut self,
        account: AccountId,
        host: HostId,
        cores: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        if self.market.band().is_none() {
            let message = "the operator fixes the price here: nothing is reserved, so there is \
                           nothing to stand behind";
            return Err(refused(message.into()));
        }
        self.own_host(account, host)?;
        if !(1..=CORES_MAX).contains(&cores) {
            return Err(usage(format!("a host is firm with 1 to {CORES_MAX} cores")));
        }
        let known = self.market.bonds.firm.get(&host).copied();
        if known.is_none() && self.market.bonds.firm.len() >= FIRM_MAX {
            return Err(refused(format!("{FIRM_MAX} hosts are firm, which is the limit")));
        }
        let since = known.map_or(self.now, |known| known.since);
        let record = FirmRecord { host, account, cores, since, leaves: None };
        if known != Some(record) {
            self.market.bonds.firm.insert(host, record);
            effects.push(Effect::Keep(Change::Firm(record)));
            self.audit(Some(account), Deed::FirmOffered { host, cores }, effects);
        }
        Ok(Reply::Firm(record))
    }

    /// Gives notice for a host: it is called to nothing new, and stands for what it was called to
    /// for ten minutes more. What it stands for while it is not there is no matter of notice.
    pub(in crate::complex) fn end_firm(
        &mut self,
        account: AccountId,
        host: HostId,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let known = self.market.bonds.firm.get(&host).filter(|it| it.account == account);
        let Some(&known) = known else {
            let message = format!("host {} of this account is not firm", host.short());
            return Err(Problem::new(ProblemCode::NotFound, message));
        };
        let leaves = known.leaves.unwrap_or(self.now + NOTICE);
        let record = FirmRecord { cores: 0, leaves: Some(leaves), ..known };
        self.market.bonds.firm.remove(&host);
        effects.push(Effect::Keep(Change::Firm(record)));
        let wanted: u32 = self.stands_with(host);
        if self.there(host).is_some_and(|cores| cores >= wanted) {
            let of_host = |bond: &&mut BondRecord| {
                bond.host == host && bond.state == BondState::Standing && bond.until > leaves
            };
            for bond in self.market.bonds.of.values_mut().filter(of_host) {
                bond.until = leaves;
                effects.push(Effect::Keep(Change::Bond(Box::new(bond.clone()))));
            }
        }
        self.audit(Some(account), Deed::FirmEnded { host, leaves }, effects);
        Ok(Reply::Firm(record))
    }

    fn own_host(&self, account: AccountId, host: HostId) -> Result<(), Problem> {
        let known = self.hosts.get(&host).filter(|it| it.record.account == account);
        match known {
            None => {
                let message = format!(
                    "account {account} has no host {}: `isos host list` shows which it has",
                    host.short()
                );
                Err(Problem::new(ProblemCode::NotFound, message))
            }
            Some(known) if known.is_out() => {
                let message = format!("host {} gets no work: `isos explain` it", host.short());
                Err(refused(message))
            }
            Some(_) => Ok(()),
        }
    }

    /// Cores with which a host stands behind reservations.
    fn stands_with(&self, host: HostId) -> u32 {
        let standing = self.market.bonds.standing().filter(|bond| bond.host == host);
        standing.map(|bond| bond.cores).fold(0, u32::saturating_add)
    }

    /// Cores that a host offers now; nothing if that cannot be known, since it sleeps as it was
    /// told to, or this server has only begun.
    fn there(&self, host: HostId) -> Option<u32> {
        let Some(known) = self.hosts.get(&host) else { return Some(0) };
        if known.is_out() {
            return Some(0);
        }
        match &known.session {
            Some(session) => Some(session.cores()),
            None if known.wakes > self.now || self.now < self.back_by => None,
            None => Some(0),
        }
    }

    /// Looks who of those behind a reservation is there at this tick, in which it was short of so
    /// many cores, and takes from the bonds of those who are not.
    pub(super) fn watch_bonds(
        &mut self,
        record: &ReservationRecord,
        short: u32,
        effects: &mut Vec<Effect>,
    ) {
        // What a host offers counts for its oldest promise first.
        let mut left: BTreeMap<HostId, Option<u32>> = BTreeMap::new();
        let mut away: Vec<((ReservationId, u32), u32)> = Vec::new();
        for (key, bond) in &self.market.bonds.of {
            if bond.state != BondState::Standing {
                continue;
            }
            let rest = left.entry(bond.host).or_insert_with(|| self.there(bond.host));
            let here = rest.map_or(bond.cores, |rest| rest.min(bond.cores));
            *rest = rest.map(|rest| rest - here);
            if key.0 == record.id {
                away.push((*key, bond.cores - here));
            }
        }
        let missing: u64 = away.iter().map(|(_, cores)| u64::from(*cores)).sum();
        for (key, cores) in away {
            let bond = self.market.bonds.of.get_mut(&key).expect("it was just found");
            bond.stood += u64::from(bond.cores - cores);
            bond.missed += u64::from(cores);
            let lost = loss(record.bond, cores, short.into(), missing);
            if lost > MicroCredits::ZERO {
                if bond.lost == MicroCredits::ZERO
                    && let Some(host) = self.hosts.get_mut(&bond.host)
                {
                    host.reliability.note(false);
                }
                bond.lost = MicroCredits((bond.lost.0 + lost.0).min(bond.amount.0));
            }
            effects.push(Effect::Keep(Change::Bond(Box::new(bond.clone()))));
        }
    }

    /// Settles bonds of a reservation whose time is over, or all of them.
    pub(super) fn end_bonds(
        &mut self,
        record: &mut ReservationRecord,
        all: bool,
        effects: &mut Vec<Effect>,
    ) {
        let id = record.id;
        let over = |bond: &&BondRecord| {
            bond.state == BondState::Standing && (all || bond.until <= self.now)
        };
        let over: Vec<u32> =
            self.market.bonds.behind(id).filter(over).map(|bond| bond.nth).collect();
        let mut postings = Vec::new();
        for nth in over {
            let bond = self.market.bonds.of.get_mut(&(id, nth)).expect("it was just found");
            let lost = bond.lost;
            bond.state = match lost {
                MicroCredits::ZERO => BondState::Returned,
                _ => BondState::Forfeited,
            };
            effects.push(Effect::Keep(Change::Bond(Box::new(bond.clone()))));
            let hold = bond.hold;
            if self.ledger.hold(hold).is_none() {
                continue;
            }
            if lost > MicroCredits::ZERO {
                record.forfeited.0 += lost.0;
                let (id, reason) = (step(id, nth, "forfeit"), Reason::Forfeit(id));
                postings.push(Posting::Post { id, hold, amount: lost, reason });
            }
            let (id, reason) = (step(id, nth, "release"), Reason::Bond(id));
            postings.push(Posting::Void { id, hold, reason });
        }
        self.post_or_halt(&postings, effects);
    }

    /// What the premium of a reservation has for each of those who stood behind it; their bonds
    /// are settled, and forgotten here.
    pub(super) fn share_premium(
        &mut self,
        record: &ReservationRecord,
        kept: u64,
        effects: &mut Vec<Effect>,
    ) -> Vec<Posting> {
        let id = record.id;
        let all = MicroCredits(times(record.standby, kept)).min(record.paid);
        let places = u64::from(record.behind).saturating_mul(record.ticks);
        let mut postings = Vec::new();
        let bonds: Vec<BondRecord> = self.market.bonds.behind(id).cloned().collect();
        for mut bond in bonds {
            self.market.bonds.of.remove(&(id, bond.nth));
            bond.paid = standby_of(all, bond.stood, places);
            if bond.paid > MicroCredits::ZERO {
                postings.push(Posting::Direct {
                    id: step(id, bond.nth, "standby"),
                    debit: system::FEES,
                    credit: bond.account,
                    amount: bond.paid,
                    reason: Reason::Standby(id),
                });
            }
            effects.push(Effect::Keep(Change::Bond(Box::new(bond))));
        }
        postings
    }

    /// Calls firm hosts until there are as many cores as are to stand behind a reservation: those
    /// that are there, ask no more than it pays, and can cover their bond; the likeliest to stay
    /// first.
    pub(super) fn call_firm(&mut self, record: &ReservationRecord, effects: &mut Vec<Effect>) {
        let id = record.id;
        let of_this = self.market.bonds.behind(id);
        let stand = of_this.filter(|bond| bond.state == BondState::Standing);
        let stand: u32 = stand.map(|bond| bond.cores).fold(0, u32::saturating_add);
        let mut missing = record.behind.saturating_sub(stand);
        let mut nth = self.market.bonds.behind(id).last().map_or(0, |bond| bond.nth + 1);
        if missing == 0 || record.until <= self.now || self.market.bonds.firm.is_empty() {
            return;
        }
        let mut taken: BTreeMap<HostId, u32> = BTreeMap::new();
        for bond in self.market.bonds.standing() {
            *taken.entry(bond.host).or_default() += bond.cores;
        }
        let mut standing = self.market.bonds.standing().count();
        let mut free: Vec<_> = self
            .market
            .bonds
            .firm
            .values()
            .filter_map(|firm| {
                let host = self.hosts.get(&firm.host).filter(|host| !host.is_out())?;
                let session = host.session.as_ref()?;
                let fits = self.market.goods[host.good].name == record.class
                    && host.record.account == firm.account
                    && firm.account != record.account
                    && session.offer.price_min <= record.price;
                let taken = taken.get(&firm.host).copied().unwrap_or(0);
                let cores = firm.cores.min(session.cores()).saturating_sub(taken);
                let rank = std::cmp::Reverse(host.reliability.bps());
                (fits && cores > 0).then_some((rank, firm.host, firm.account, cores))
            })
            .collect();
        free.sort_unstable();
        let ticks = record.until.since(self.now).0.div_ceil(TICK.0);
        let each = MicroCredits(times(record.bond, ticks));
        for (_, host, account, cores) in free {
            if missing == 0 || nth as usize >= BONDS_MAX || standing >= STANDING_MAX {
                break;
            }
            let available = self.ledger.account_view(account).map_or(0, |view| view.available.0);
            let covered = match each.0 {
                0 => u32::MAX,
                each => u32::try_from(available.max(0) / each).unwrap_or(u32::MAX),
            };
            let cores = cores.min(missing).min(covered);
            if cores == 0 {
                continue;
            }
            let amount = MicroCredits(times(each, cores.into()));
            let hold = step(id, nth, "hold");
            if amount > MicroCredits::ZERO {
                let (debit, credit) = (account, record.account);
                let (expires, reason) = (None, Reason::Bond(id));
                let hold = Posting::Hold { id: hold, debit, credit, amount, expires, reason };
                let mut changes = Vec::new();
                // Others can have used up what there is room for.
                if self.ledger.post(self.now, &[hold], &mut changes).is_err() {
                    continue;
                }
                effects.extend(changes.into_iter().map(Effect::Keep));
            }
            let bond = BondRecord {
                reservation: id,
                nth,
                host,
                account,
                cores,
                from: self.now,
                until: record.until,
                amount,
                hold,
                state: BondState::Standing,
                stood: 0,
                missed: 0,
                lost: MicroCredits::ZERO,
                paid: MicroCredits::ZERO,
            };
            effects.push(Effect::Keep(Change::Bond(Box::new(bond.clone()))));
            self.market.bonds.of.insert((id, nth), bond);
            (missing, nth, standing) = (missing - cores, nth + 1, standing + 1);
        }
    }

    /// A host has another key: it is firm under that one, and so are its bonds.
    pub(in crate::complex) fn move_firm(
        &mut self,
        old: HostId,
        new: HostId,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(record) = self.market.bonds.firm.remove(&old) {
            let gone = FirmRecord { cores: 0, ..record };
            let moved = FirmRecord { host: new, ..record };
            self.market.bonds.firm.insert(new, moved);
            effects.extend([gone, moved].map(|it| Effect::Keep(Change::Firm(it))));
        }
        for bond in self.market.bonds.of.values_mut().filter(|bond| bond.host == old) {
            bond.host = new;
            effects.push(Effect::Keep(Change::Bond(Box::new(bond.clone()))));
        }
    }

    /// Firm hosts of one account or of all, with their bonds; also hosts that have given notice and
    /// still stand.
    pub fn firm(
        &self,
        account: Option<AccountId>,
    ) -> impl Iterator<Item = (FirmRecord, Vec<&BondRecord>)> {
        let mut all: BTreeMap<HostId, (FirmRecord, Vec<&BondRecord>)> = BTreeMap::new();
        let mine = move |of: AccountId| account.is_none_or(|account| account == of);
        for (host, record) in self.market.bonds.firm.iter().filter(|(_, it)| mine(it.account)) {
            all.insert(*host, (*record, Vec::new()));
        }
        for bond in self.market.bonds.of.values().filter(|bond| mine(bond.account)) {
            let gone = FirmRecord {
                host: bond.host,
                account: bond.account,
                cores: 0,
                since: bond.from,
                leaves: Some(bond.until),
            };
            all.entry(bond.host).or_insert((gone, Vec::new())).1.push(bond);
        }
        all.into_values()
    }

    /// What bonds of a reservation have lost that are not settled.
    pub(in crate::complex) fn bonds_lost(&self, id: ReservationId) -> MicroCredits {
        let standing = self.market.bonds.behind(id);
        let standing = standing.filter(|bond| bond.state == BondState::Standing);
        MicroCredits(standing.map(|bond| bond.lost.0).sum())
    }

    /// Bonds of a reservation that is not over, settled ones too.
    pub(in crate::complex) fn bonds_behind(
        &self,
        id: ReservationId,
    ) -> impl Iterator<Item = &BondRecord> {
        self.market.bonds.behind(id)
    }

    /// As what a host is firm, if it is.
    pub(in crate::complex) fn is_firm(&self, host: HostId) -> Option<&FirmRecord> {
        self.market.bonds.firm.get(&host)
    }

    /// What a host stands in for, of reservations that are not over.
    pub(in crate::complex) fn bonds_of(&self, host: HostId) -> impl Iterator<Item = &BondRecord> {
        self.market.bonds.of.values().filter(move |bond| bond.host == host)
    }

    /// What stands behind reservations is what is noted of it.
    pub(in crate::complex) fn check_bonds(&self) {
        let mut behind: BTreeMap<ReservationId, u64> = BTreeMap::new();
        for bond in self.market.bonds.of.values() {
            let id = bond.reservation;
            let reservation = self.market.reservations.get(&id);
            let record = &reservation.expect("a bond has a reservation that is not over").record;
            assert_eq!(record.state, ReservationState::Active, "reservation {id} has begun");
            assert!(bond.lost <= bond.amount && bond.lost.0 >= 0, "reservation {id}: its bond");
            let held = self.ledger.hold(bond.hold).map(|hold| hold.remaining);
            if bond.state == BondState::Standing {
                let amount = (bond.amount > MicroCredits::ZERO).then_some(bond.amount);
                assert_eq!(held, amount, "reservation {id}: the bond that stands is set aside");
                *behind.entry(id).or_default() += u64::from(bond.cores);
            } else {
                assert_eq!(held, None, "reservation {id}: a bond that is over is settled");
            }
            let most = u64::from(record.behind) * record.ticks;
            let all = self.market.bonds.behind(id).map(|bond| bond.stood + bond.missed);
            assert!(all.sum::<u64>() <= most, "reservation {id}: nobody stands twice");
        }
        for (id, cores) in behind {
            let most = self.market.reservations[&id].record.behind;
            assert!(cores <= most.into(), "reservation {id}: {cores} stand for {most}");
        }
    }
}

fn step(id: ReservationId, nth: u32, what: &str) -> isos_base::TransferId {
    asked(system::MINT, &format!("reservation {id} bond {nth} {what}"))
}
