//! Trust in hosts: whose word is taken, what is checked, pay that waits, and what a catch undoes.
//!
//! A host's results are taken on its credit, but for those that a coin picks *after* they arrived:
//! nothing about a task tells whether it will be checked. The formulas are
//! `kernel::verify::Assumed`'s. What was taken on credit can be taken back as long as the job is
//! not over, and is paid later.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::price::Price;
use isos_base::record::{BillRecord, Change, Held, JobRecord, LeaseRecord, LeaseState, Reason};
use isos_base::task::Digest;
use isos_base::{
    AccountId, BillId, Fuel, HostId, JobId, LeaseId, MicroCredits, Span, TaskRange, TaskSet,
};

use super::job::Job;
use super::place::unfit;
use super::restore::Cast;
use super::{Complex, Config, Effect, Host, RestoreError};
use crate::lease::Lease;
use crate::ledger::{Posting, Settlement, job_forfeit};
use crate::verify::{Assumed, Ballot, Rule};

/// A host that passed fewer checks is new: everything that it does is checked.
pub(super) const PROBATION_CHECKS: u64 = 10;
/// Leases of one host whose pay is held. With more everything is checked again, so that checks
/// pass and pay matures.
const HELD_LEASES_MAX: usize = 1_024;
/// Better hosts that are looked at before a host makes a check.
const BETTER_LOOKED_AT_MAX: usize = 64;
/// How old may be what is known of the middle of the hosts.
const MEDIAN_EVERY: Span = Span::secs(10);

/// How a host stands towards a job, for tasks that only it was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Standing {
    /// It is the buyer's own, or nobody else is there: its word is taken.
    Believed,
    /// It has a history, so that this share of its results is checked.
    Known {
        /// The share.
        rate: f64,
    },
}

/// A job that is over, some of whose hosts wait for their pay.
#[derive(Debug)]
pub(super) struct Over {
    /// As it ended, but for what was spent since.
    pub(super) record: JobRecord,
    /// Leases whose pay is held.
    pub(super) leases: BTreeSet<LeaseId>,
    /// What is set aside for them, all that is left in its hold.
    pub(super) reserved: MicroCredits,
}

impl Over {
    pub(super) const fn new(record: JobRecord) -> Self {
        Self { record, leases: BTreeSet::new(), reserved: MicroCredits::ZERO }
    }
}

const fn assumed(config: &Config) -> Assumed {
    Assumed { bad: config.bad_share, check_rate_min: config.check_rate_min }
}

impl Host {
    /// Whether another host is of another owner, and not of the same site.
    pub(super) fn is_independent(&self, other: &Self) -> bool {
        other.record.account != self.record.account
            && (other.block.is_none() || other.block != self.block)
    }
}

impl Complex {
    /// What is assumed of all hosts.
    pub(super) const fn assumed(&self) -> Assumed {
        assumed(&self.config)
    }

    /// The chance that a result of this host is wrong.
    pub(super) fn doubt(&self, host: HostId) -> f64 {
        let passed = self.hosts.get(&host).map_or(0, |host| host.record.trust.passed);
        self.assumed().doubt(passed)
    }

    /// The share of a host's results that jobs with this error rate check.
    pub(super) fn check_rate(&self, host: &Host, error_ppm: u32) -> f64 {
        let error = f64::from(error_ppm) / 1e6;
        let assumed = self.assumed();
        let trust = host.record.trust;
        let known = trust.passed >= assumed.checks_needed(error).max(PROBATION_CHECKS);
        if known && host.held.len() < HELD_LEASES_MAX {
            assumed.check_rate(trust.results, error)
        } else {
            1.0
        }
    }

    /// How a host stands towards a job.
    pub(super) fn standing(&mut self, id: JobId, host: HostId) -> Standing {
        let Some(job) = self.jobs.get(&id) else { return Standing::Believed };
        let Some(rule) = job.rule().filter(|rule| rule.asks_one_first()) else {
            return Standing::Believed;
        };
        let is_own = self.hosts[&host].record.account == job.record.account;
        if is_own || !self.could_ask(id, &[host]) {
            return Standing::Believed;
        }
        let Rule::Credibility { error_ppm, .. } = rule else {
            return Standing::Known { rate: 1.0 };
        };
        Standing::Known { rate: self.check_rate(&self.hosts[&host], error_ppm) }
    }

    /// Whether a job has everything checked that this host answers.
    pub(super) fn is_always_checked(&self, host: HostId, job: JobId) -> bool {
        let (Some(job), Some(host)) = (self.jobs.get(&job), self.hosts.get(&host)) else {
            return true;
        };
        match job.rule() {
            Some(Rule::Credibility { error_ppm, .. }) => {
                host.record.account != job.record.account && self.check_rate(host, error_ppm) >= 1.0
            }
            _ => true,
        }
    }

    /// Whether a result is to be checked. The same result is always drawn alike.
    pub(super) fn must_check(&self, standing: Standing, lease: LeaseId, task: u32) -> bool {
        let Standing::Known { rate } = standing else { return false };
        let mut about = [0; 12];
        about[..8].copy_from_slice(&lease.0.to_le_bytes());
        about[8..].copy_from_slice(&task.to_le_bytes());
        let hash = blake3::keyed_hash(&self.config.check_secret.0, &about);
        let mut drawn = [0; 8];
        drawn.copy_from_slice(&hash.as_bytes()[..8]);
        // The upper 53 bits as a number in [0, 1).
        ((u64::from_le_bytes(drawn) >> 11) as f64) < rate * (1_u64 << 53) as f64
    }

    /// Hosts that shall make a job's checks rather than this one: it has passed fewer checks than
    /// the job's error rate needs, and fewer than half of the connected hosts have. Liars that come
    /// and go under ever new names would else find their like to agree with.
    pub(super) fn better_checkers(&mut self, id: HostId, job: JobId) -> Vec<HostId> {
        let Some(job) = self.jobs.get_mut(&job) else { return Vec::new() };
        let Some(error_ppm) = job.rule().and_then(Rule::checkers_error_ppm) else {
            return Vec::new();
        };
        if self.median.0 + MEDIAN_EVERY <= self.now || self.median.0 > self.now {
            let middle = self.ranks.iter().nth(self.ranks.len() / 2);
            self.median = (self.now, middle.map_or(0, |&(passed, _)| passed));
        }
        let assumed = assumed(&self.config);
        let needed = assumed.checks_needed(f64::from(error_ppm) / 1e6).max(PROBATION_CHECKS);
        let needed = needed.min(self.median.1);
        if self.hosts[&id].record.trust.passed >= needed {
            return Vec::new();
        }
        let better = self.ranks.iter().rev().take_while(|(passed, _)| *passed >= needed);
        // Who gave tasks of the job back does not want it, whatever it says of itself.
        let id_of = job.record.id;
        let mut fits = |id: &HostId| {
            let host = &self.hosts[id];
            let session = host.session.as_ref();
            session.is_some_and(|session| !session.declined.contains_key(&id_of))
                && unfit(job, host, &self.market, self.now).is_none()
        };
        better.take(BETTER_LOOKED_AT_MAX).map(|&(_, id)| id).filter(|id| fits(id)).collect()
    }

    /// Under credibility two hosts that agree stand by a result with their word: if either is
    /// caught, it is done again. More of them do not need each other.
    pub(super) fn stand_by(&mut self, ballot: &Ballot, accepted: Digest, id: JobId, task: u32) {
        let job = self.jobs.get(&id);
        if !job.and_then(Job::rule).is_some_and(Rule::asks_one_first) {
            return;
        }
        let agreeing = || ballot.votes.iter().filter(|vote| vote.digest == accepted);
        if agreeing().count() != 2 {
            return;
        }
        for vote in agreeing() {
            if let Some(lease) = self.leases.get_mut(&vote.lease) {
                lease.word.insert(TaskRange::new(task, task + 1));
            }
        }
    }

    /// Votes that turned out right are passed checks: of the host that answered first, which could
    /// not know that it would be checked; of a new host always, and of all under a quorum, which no
    /// host can tell from other work.
    pub(super) fn credit(&mut self, ballot: &Ballot, accepted: Digest, job: JobId) {
        // A buyer who picks its hosts, or has its own, could have them praise each other.
        let picks = self.picks_hosts(job);
        let Some(job) = self.jobs.get(&job) else { return };
        let one_first = job.rule().is_some_and(Rule::asks_one_first);
        let buyer = job.record.account;
        let right = ballot.votes.iter().filter(|vote| vote.digest == accepted).count();
        for (n, vote) in ballot.votes.iter().enumerate() {
            let host = self.hosts.get_mut(&vote.host).expect("hosts are never forgotten");
            let earns = !picks && right >= 2 && host.record.account != buyer;
            if vote.digest != accepted || !earns {
                continue;
            }
            let trust = &mut host.record.trust;
            trust.results += 1;
            if n == 0 || !one_first || trust.passed < PROBATION_CHECKS {
                if self.ranks.remove(&(trust.passed, vote.host)) {
                    self.ranks.insert((trust.passed + 1, vote.host));
                }
                trust.passed += 1;
                // What several hosts say of one lease, or one host of several, are proofs apart.
                let others = ballot
                    .votes
                    .iter()
                    .filter(|other| other.digest == accepted && other.host != vote.host);
                if let Some(lease) = self.leases.get_mut(&vote.lease) {
                    let news = others.filter(|other| lease.checkers.insert(other.host)).count();
                    host.proofs += u64::from(news > 0);
                }
                self.dirty_hosts.insert(vote.host);
                self.passed.insert(vote.host);
            }
        }
    }

    /// Holds the pay of a lease that has nothing open, if some of its results were taken on credit.
    /// Says whether it is held.
    pub(super) fn hold_pay(&mut self, id: LeaseId) -> bool {
        let lease = self.leases.get_mut(&id).expect("the caller has looked it up");
        if lease.record.held.is_some() {
            return true;
        }
        let host = self.hosts.get_mut(&lease.record.host).expect("hosts are never forgotten");
        // Two strangers who agree are right but for the chance that both are bad. Where less is
        // accepted, their word can be taken back for as long as that of one who was not checked.
        let job = &self.jobs[&lease.record.job];
        let pairs_wait = job.record.spec.verify.error_ppm().is_some_and(|error_ppm| {
            f64::from(error_ppm) / 1e6 < self.config.bad_share * self.config.bad_share
        });
        let waits = lease.on_credit > 0 || (pairs_wait && !lease.word.is_empty());
        if !waits || host.record.barred.is_some() {
            return false;
        }
        let passed = host.record.trust.passed + self.config.mature_checks;
        lease.matures = host.proofs + self.config.mature_checks;
        let until = self.now + self.config.mature_after;
        lease.record.held = Some(Held { passed, until });
        lease.record.state = LeaseState::Returned;
        host.leases.remove(&id);
        host.held.insert((lease.matures, id));
        self.held_due.insert((until, id));
        self.dirty_hosts.insert(lease.record.host);
        self.dirty_leases.insert(id);
        // What it owes is known now, and one rounding is enough.
        let job = self.jobs.get_mut(&lease.record.job).expect("it is not over before its leases");
        let owed = lease.record.price.charge(lease.record.fuel);
        job.reserved.0 -= lease.reserved.0 - owed.0;
        lease.reserved = owed;
        true
    }

    /// Lets the pay go of hosts that have passed enough checks.
    pub(super) fn mature_passed(&mut self, effects: &mut Vec<Effect>) {
        let mut mature = Vec::new();
        for id in std::mem::take(&mut self.passed) {
            let host = &self.hosts[&id];
            let proofs = host.proofs;
            mature.extend(host.held.iter().take_while(|held| held.0 <= proofs).map(|held| held.1));
        }
        self.release(mature, effects);
    }

    /// Lets the pay go that was held for long enough.
    pub(super) fn mature_due(&mut self, effects: &mut Vec<Effect>) {
        let due = self.held_due.iter().take_while(|(at, _)| *at <= self.now);
        let due = due.map(|&(_, lease)| lease).collect();
        self.release(due, effects);
    }

    /// Puts these leases on the bill; those of a job that is over are paid at once, together.
    fn release(&mut self, leases: Vec<LeaseId>, effects: &mut Vec<Effect>) {
        let mut late: BTreeMap<(JobId, AccountId, Price), Vec<LeaseId>> = BTreeMap::new();
        for id in leases {
            self.unhold(id);
            let record = &self.leases[&id].record;
            if self.jobs.contains_key(&record.job) {
                self.finish_lease(id, effects);
            } else {
                late.entry((record.job, record.account, record.price)).or_default().push(id);
            }
        }
        for ((job, account, price), leases) in late {
            self.pay_late(job, account, price, &leases, effects);
        }
    }

    /// The lease is held no more.
    fn unhold(&mut self, id: LeaseId) {
        let lease = self.leases.get_mut(&id).expect("held leases are kept");
        let held = lease.record.held.take().expect("it is held");
        let host = self.hosts.get_mut(&lease.record.host).expect("hosts are never forgotten");
        host.held.remove(&(lease.matures, id));
        self.held_due.remove(&(held.until, id));
    }

    /// Pays leases of one account, at one price, and of a job that is over.
    fn pay_late(
        &mut self,
        job: JobId,
        account: AccountId,
        price: Price,
        leases: &[LeaseId],
        effects: &mut Vec<Effect>,
    ) {
        let bill = BillId(self.last_bill.0 + 1);
        self.last_bill = bill;
        let over = self.over.get_mut(&job).expect("a held lease has a job");
        let (mut fuel, mut tasks) = (Fuel(0), 0);
        for id in leases {
            let mut lease = self.leases.remove(id).expect("held leases are kept");
            self.dirty_leases.remove(id);
            over.leases.remove(id);
            over.reserved.0 -= lease.reserved.0;
            fuel += lease.record.fuel;
            tasks += u64::from(lease.record.accepted);
            lease.record.bill = Some(bill);
            lease.record.state = LeaseState::Settled;
            effects.push(Effect::Keep(Change::Lease(Box::new(lease.record))));
        }
        let (charge, earning) = (price.charge(fuel), price.earning(fuel));
        let fee = self.fee_rate.fee(earning);
        let hold = over.record.hold;
        over.record.spent.0 += charge.0;
        let settlement = Settlement { bill, hold, earner: account, charge, earning, fee };
        let mut postings = Vec::new();
        settlement.postings(&mut postings).expect("charge >= earning >= fee by construction");
        self.post_or_halt(&postings, effects);
        effects.push(Effect::Keep(Change::Bill(Box::new(BillRecord {
            id: bill,
            job,
            account,
            leases: u32::try_from(leases.len()).unwrap_or(u32::MAX),
            tasks,
            fuel,
            price,
            opened: self.now,
            posted: Some(self.now),
            charged: charge,
            paid: MicroCredits(earning.0 - fee.0),
            fee,
        }))));
        self.note_over(job, effects);
    }

    /// Writes what changed about a job that is over; its hold is closed once nobody waits for pay.
    fn note_over(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let over = self.over.get(&id).expect("the caller has looked it up");
        let (record, left) = (over.record.clone(), over.reserved);
        if over.leases.is_empty() {
            self.over.remove(&id);
            let (hold, reason) = (record.hold, Reason::Release(id));
            if self.ledger.hold(hold).is_some() {
                self.post_or_halt(&[Posting::Void { id: job_forfeit(id), hold, reason }], effects);
            }
        }
        if let Some(view) = self.ended.iter_mut().find(|view| view.id == id) {
            (view.spent, view.held) = (record.spent, left);
            view.why.clone_from(&record.why);
        }
        effects.push(Effect::Keep(Change::Job(Box::new(record))));
        self.dirty_jobs.insert(id);
    }

    /// A host was caught: what it got accepted on its credit is done again where its job is not
    /// over, and none of its work that is not paid will be.
    pub(super) fn forfeit(&mut self, id: HostId, effects: &mut Vec<Effect>) {
        let host = &self.hosts[&id];
        let held: Vec<LeaseId> = host.held.iter().map(|&(_, lease)| lease).collect();
        let all: Vec<LeaseId> = held.iter().chain(&host.leases).copied().collect();
        let mut taken_back: BTreeMap<JobId, TaskSet> = BTreeMap::new();
        for lease in all {
            let Some(lease) = self.leases.get_mut(&lease) else { continue };
            let word = std::mem::take(&mut lease.word);
            let Some(job) = self.jobs.get_mut(&lease.record.job) else { continue };
            if word.is_empty() {
                continue;
            }
            let count = word.count().min(lease.record.accepted);
            lease.record.accepted -= count;
            lease.record.rejected += count;
            self.dirty_leases.insert(lease.record.id);
            self.dirty_jobs.insert(lease.record.job);
            job.reopen(&word);
            let tasks = taken_back.entry(lease.record.job).or_default();
            word.iter().for_each(|range| _ = tasks.insert(range));
        }
        for (job_id, word) in taken_back {
            let Some(job) = self.jobs.get_mut(&job_id) else { continue };
            // It says which tasks have several results.
            effects.push(Effect::Keep(Change::Job(Box::new(job.full_record()))));
            // Whoever agreed with it is paid, but these tasks are not its lease's any more: it may
            // be the one that does them again.
            for other in job.leases.clone() {
                let other = self.leases.get_mut(&other).expect("a job's leases are kept");
                let shared =
                    |range: TaskRange| other.word.iter().map(move |it| it.intersect(&range));
                let shared: TaskSet = word.iter().flat_map(shared).collect();
                if shared.is_empty() {
                    continue;
                }
                let mut left: TaskSet = other.record.ranges.iter().copied().collect();
                for range in shared.iter() {
                    left.remove(range);
                    other.word.remove(range);
                }
                other.record.ranges = left.iter().collect();
                self.dirty_leases.insert(other.record.id);
            }
            self.queue_or_leave(job_id);
            // What its hold does not pay for any more ends it.
            self.judged.insert(job_id);
        }
        let mut late = BTreeMap::new();
        for lease in held {
            self.unhold(lease);
            let job = self.leases[&lease].record.job;
            if self.jobs.contains_key(&job) {
                self.finish_lease(lease, effects);
            } else {
                *late.entry(job).or_insert(0) += self.drop_late(lease, effects);
            }
        }
        for (job, tasks) in late {
            let over = self.over.get_mut(&job).expect("a held lease has a job");
            let why = format!(
                "{tasks} results are of host {}, which was caught after the job was over; they were \
                 not paid: submit these tasks again if they matter",
                id.short()
            );
            over.record.why.get_or_insert(why);
            self.note_over(job, effects);
        }
    }

    /// Settles a lease of a job that is over with nothing. Gives the number of its results.
    fn drop_late(&mut self, id: LeaseId, effects: &mut Vec<Effect>) -> u32 {
        let mut lease = self.leases.remove(&id).expect("held leases are kept");
        self.dirty_leases.remove(&id);
        let over = self.over.get_mut(&lease.record.job).expect("a held lease has a job");
        over.leases.remove(&id);
        over.reserved.0 -= lease.reserved.0;
        lease.record.state = LeaseState::Settled;
        let results = lease.record.accepted;
        effects.push(Effect::Keep(Change::Lease(Box::new(lease.record))));
        results
    }
}

impl Complex {
    /// A lease whose pay is held, from the database.
    pub(super) fn restore_held(
        &mut self,
        record: LeaseRecord,
        cast: Cast,
    ) -> Result<(), RestoreError> {
        let id = record.id;
        let missing =
            |what: &dyn std::fmt::Display| RestoreError::Rows(format!("lease {id} names {what}"));
        let held = record.held.expect("the caller has looked");
        let host = self.hosts.get_mut(&record.host).ok_or_else(|| missing(&"an unknown host"))?;
        let mut alone: TaskSet = record.ranges.iter().copied().collect();
        cast.tasks.iter().for_each(|range| _ = alone.remove(range));
        let reserved = if let Some(job) = self.jobs.get_mut(&record.job) {
            let owed = record.price.charge(record.fuel);
            job.leases.insert(id);
            job.reserved.0 += owed.0;
            owed
        } else {
            let over = self.over.get_mut(&record.job).ok_or_else(|| missing(&"an unknown job"))?;
            let owed = record.price.charge(record.fuel);
            over.leases.insert(id);
            over.reserved.0 += owed.0;
            owed
        };
        let matures = host.proofs + self.config.mature_checks;
        host.held.insert((matures, id));
        self.held_due.insert((held.until, id));
        let (on_credit, out) = (alone.count(), TaskSet::new());
        let word = alone.iter().chain(cast.pairs.iter()).collect();
        let (checkers, moved, undecided) = (BTreeSet::new(), BTreeSet::new(), 0);
        let lease =
            Lease { record, out, undecided, on_credit, moved, word, checkers, matures, reserved };
        self.leases.insert(id, lease);
        Ok(())
    }

    /// A lease whose pay is held is where it is looked for.
    pub(super) fn check_held(&self, lease: &Lease) {
        let (id, record) = (lease.record.id, &lease.record);
        let held = record.held.expect("the caller has looked");
        assert!(lease.out.is_empty() && lease.undecided == 0, "lease {id}: held, so all decided");
        let host = &self.hosts[&record.host];
        assert!(host.held.contains(&(lease.matures, id)), "lease {id}: its host knows it");
        assert!(host.record.barred.is_none(), "lease {id}: a barred host has forfeited it");
        assert!(self.held_due.contains(&(held.until, id)), "lease {id}: it matures some day");
        let job = self.jobs.get(&record.job).map(|job| &job.leases);
        let over = self.over.get(&record.job).map(|over| &over.leases);
        assert!(job.or(over).is_some_and(|leases| leases.contains(&id)), "lease {id}: its job");
        if let Some(job) = self.jobs.get(&record.job) {
            let decided = |task| !job.is_open(task);
            let tasks = lease.word.iter().flat_map(TaskRange::tasks);
            assert!(tasks.into_iter().all(decided), "lease {id}: what was taken is decided");
        }
    }

    /// Jobs that are over have set aside what they may still have to pay, and nothing else.
    pub(super) fn check_over(&self) {
        let held = self.leases.values().filter(|lease| lease.record.held.is_some()).count();
        assert_eq!(held, self.held_due.len());
        for (id, over) in &self.over {
            let owed: i64 = over.leases.iter().map(|lease| self.leases[lease].reserved.0).sum();
            assert_eq!(owed, over.reserved.0, "job {id}: what it owes is set aside");
            assert!(!over.leases.is_empty(), "job {id}: nobody waits for its pay");
            let left = self.ledger.hold(over.record.hold).map_or(0, |hold| hold.remaining.0);
            assert!(left >= owed, "job {id}: {left} is left for {owed}");
        }
    }
}
