//! The end of leases and jobs: what was verified is paid, the rest of the hold goes back.

use isos_base::job::JobSpec;
use isos_base::record::{BillRecord, Change, JobState, LeaseRecord, LeaseState, Reason, system};
use isos_base::wire::ToHost;
use isos_base::{BillId, Fuel, JobId, LeaseId, MicroCredits, Span, Time};

use super::job::Job;
use super::place::affordable;
use super::trust::Over;
use super::{Complex, ENDED_KEPT_MAX, Effect};
use crate::ledger::{LedgerError, Posting, Settlement, job_held, job_release};

/// Work of one account for one job is paid together, this long after the first of it.
const BILL_OPEN_FOR: Span = Span::secs(10);

impl Complex {
    /// What is left in a job's hold.
    pub(super) fn remaining(&self, job: &Job) -> MicroCredits {
        self.ledger.hold(job.record.hold).map_or(MicroCredits::ZERO, |hold| hold.remaining)
    }

    /// Settles a lease once nothing of it is out or undecided.
    pub(super) fn settle_if_over(&mut self, id: LeaseId, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get(&id) else {
            return;
        };
        if lease.out.is_empty() && lease.record.state == LeaseState::Open {
            self.due.clear(id);
            self.dirty_leases.insert(id);
        }
        if !lease.out.is_empty() {
            return;
        }
        if lease.undecided > 0 || !lease.moved.is_empty() {
            let lease = self.leases.get_mut(&id).expect("looked up above");
            lease.record.state = LeaseState::Returned;
            return;
        }
        if !self.hold_pay(id) {
            self.finish_lease(id, effects);
        }
    }

    /// Puts a lease of a job that is not over on the bill, unless its host was caught.
    pub(super) fn finish_lease(&mut self, id: LeaseId, effects: &mut Vec<Effect>) {
        let mut lease = self.leases.remove(&id).expect("the caller has looked it up");
        self.dirty_leases.remove(&id);
        let job_id = lease.record.job;
        let job = self.jobs.get_mut(&job_id).expect("an unsettled lease has a job");
        job.leases.remove(&id);
        job.reserved.0 -= lease.reserved.0;
        let host = self.hosts.get_mut(&lease.record.host).expect("hosts are never forgotten");
        host.leases.remove(&id);
        // A host that was caught forfeits what stands on no bill yet, and the buyer keeps it.
        let is_worth = lease.record.accepted > 0 || lease.record.fuel > Fuel(0);
        if host.record.barred.is_none() && is_worth {
            lease.record.bill = Some(self.put_on_bill(&lease.record));
        }
        lease.record.state = LeaseState::Settled;
        self.dirty_hosts.insert(lease.record.host);
        self.dirty_jobs.insert(job_id);
        effects.push(Effect::Keep(Change::Lease(Box::new(lease.record))));
    }

    /// Adds a lease to what its job owes its account. What is owed stays set aside until it is
    /// posted.
    fn put_on_bill(&mut self, lease: &LeaseRecord) -> BillId {
        let job = self.jobs.get_mut(&lease.job).expect("an unsettled lease has a job");
        let price = lease.price;
        let id = *job.bills.entry((lease.account, price)).or_insert_with(|| {
            let id = BillId(self.last_bill.0 + 1);
            self.last_bill = id;
            let bill = BillRecord {
                id,
                job: lease.job,
                account: lease.account,
                leases: 0,
                tasks: 0,
                fuel: Fuel(0),
                price,
                opened: self.now,
                posted: None,
                charged: MicroCredits::ZERO,
                paid: MicroCredits::ZERO,
                fee: MicroCredits::ZERO,
            };
            self.bills.insert(id, bill);
            id
        });
        let bill = self.bills.get_mut(&id).expect("open bills of a job are kept");
        let before = price.charge(bill.fuel);
        bill.leases += 1;
        bill.tasks += u64::from(lease.accepted);
        bill.fuel += lease.fuel;
        job.reserved.0 += price.charge(bill.fuel).0 - before.0;
        let earning = price.earning(lease.fuel);
        let pay = earning.0 - self.fee_rate.fee(earning).0;
        let host = self.hosts.get_mut(&lease.host).expect("hosts are never forgotten");
        if let Some(session) = &mut host.session {
            session.earned.0 += pay;
        }
        self.dirty_bills.insert(id);
        id
    }

    /// Posts the bills that have been open for long enough.
    pub(super) fn post_due_bills(&mut self, effects: &mut Vec<Effect>) {
        // Bills are opened in the order of their numbers.
        while let Some((&id, bill)) = self.bills.first_key_value()
            && bill.opened + BILL_OPEN_FOR <= self.now
        {
            self.post_bill(id, effects);
        }
    }

    /// When the next bill is due.
    pub(super) fn next_bill(&self) -> Option<Time> {
        self.bills.first_key_value().map(|(_, bill)| bill.opened + BILL_OPEN_FOR)
    }

    /// Moves the money of a bill and closes it.
    fn post_bill(&mut self, id: BillId, effects: &mut Vec<Effect>) {
        let Some(mut bill) = self.bills.remove(&id) else {
            return;
        };
        self.dirty_bills.remove(&id);
        let job = self.jobs.get_mut(&bill.job).expect("a job's bills are posted before it ends");
        job.bills.remove(&(bill.account, bill.price));
        let (charge, earning) = (bill.price.charge(bill.fuel), bill.price.earning(bill.fuel));
        let fee = self.fee_rate.fee(earning);
        let hold = job.record.hold;
        job.reserved.0 -= charge.0;
        job.record.spent.0 += charge.0;
        let job_record = job.full_record();
        self.dirty_jobs.insert(bill.job);
        let settlement = Settlement { bill: id, hold, earner: bill.account, charge, earning, fee };
        let mut postings = Vec::new();
        settlement.postings(&mut postings).expect("charge >= earning >= fee by construction");
        self.post_or_halt(&postings, effects);
        // What was spent is not counted from anything else.
        effects.push(Effect::Keep(Change::Job(Box::new(job_record))));
        bill.posted = Some(self.now);
        (bill.charged, bill.paid, bill.fee) = (charge, MicroCredits(earning.0 - fee.0), fee);
        effects.push(Effect::Keep(Change::Bill(Box::new(bill))));
    }

    /// Posts what the machine itself derived. A refusal means that the machine's own sums are
    /// wrong, and no further decision about money may rest on them.
    pub(super) fn post_or_halt(&mut self, postings: &[Posting], effects: &mut Vec<Effect>) {
        let mut changes = Vec::new();
        let posted: Result<(), LedgerError> = self.ledger.post(self.now, postings, &mut changes);
        if let Err(error) = posted {
            panic!("the ledger refuses a settlement of reserved money: {error}");
        }
        effects.extend(changes.into_iter().map(Effect::Keep));
    }

    /// Ends a job once every task is decided.
    pub(super) fn end_if_over(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.open() > 0 {
            if job.is_spent(affordable(job, self.remaining(job)))
                && self.leases_of(job).all(|lease| lease.out.is_empty())
            {
                // Nothing is out and nothing more can be paid: waiting would be for ever.
                if self.settle_unsure(id, effects) {
                    return; // It is looked at again.
                }
                let Some(job) = self.jobs.get(&id) else { return };
                let uncapped = JobSpec { price_max: None, ..job.record.spec.clone() };
                let all = self.hold_for(&uncapped, job.record.price);
                let capped = job.record.spec.price_max.is_some_and(|max| max < all);
                let why = match capped {
                    true => "its hold is spent: submit again with a higher --max-price".to_owned(),
                    false => format!(
                        "its hold is spent, since hosts disagreed too often: `isos job retry {id}` \
                         runs again what is left"
                    ),
                };
                self.end_job(id, JobState::Failed, Some(why), effects);
            }
            return;
        }
        let state = if job.is_done() { JobState::Done } else { JobState::Failed };
        self.end_job(id, state, None, effects);
    }

    /// Ends a job: whoever still works on it stops, every lease is settled, the hold is voided.
    /// Open tasks are given up because of `why`, as one: that costs the same for one and for a
    /// hundred million.
    pub(super) fn end_job(
        &mut self,
        id: JobId,
        state: JobState,
        why: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        // All that is out comes back before anything is settled: what comes back can decide tasks
        // on which other leases have votes.
        let all = job.leases.clone();
        for &lease in &all {
            let Some(entry) = self.leases.get_mut(&lease) else { continue };
            if entry.record.held.is_some() || entry.out.is_empty() {
                continue;
            }
            let host = entry.record.host;
            let out: Vec<_> = entry.out.iter().collect();
            if let Some(session) = self.hosts.get(&host).and_then(|host| host.session.as_ref()) {
                effects.push(Effect::Send(session.id, ToHost::Revoke(vec![lease])));
            }
            self.take_back(lease, &out, effects);
        }
        for lease in all {
            // Some have been settled meanwhile: nobody may be left to agree with.
            let Some(entry) = self.leases.get_mut(&lease) else { continue };
            if entry.record.held.is_none() {
                entry.undecided = 0;
                entry.moved.clear();
                self.settle_if_over(lease, effects);
            }
        }
        // What was given back can have decided other tasks, barred a host, and ended the job.
        let Some(job) = self.jobs.get(&id) else { return };
        let bills: Vec<BillId> = job.bills.values().copied().collect();
        for bill in bills {
            self.post_bill(bill, effects);
        }
        let mut job = self.jobs.remove(&id).expect("looked up above");
        self.share.leave(job.record.account, id);
        let release = Posting::Void {
            id: job_release(id),
            hold: job.record.hold,
            reason: Reason::Release(id),
        };
        if self.ledger.hold(job.record.hold).is_some() {
            self.post_or_halt(&[release], effects);
        }
        // What is held for hosts stays aside for them, and not a micro-credit more.
        let held = job.reserved;
        if held > MicroCredits::ZERO {
            job.record.hold = job_held(id);
            let hold = Posting::Hold {
                id: job_held(id),
                debit: job.record.account,
                credit: system::ESCROW,
                amount: held,
                expires: None,
                reason: Reason::Hold(id),
            };
            self.post_or_halt(&[hold], effects);
        }
        job.record.state = state;
        job.record.ended = Some(self.now);
        job.record.why = why.filter(|_| job.open() > 0);
        job.write_dirty(effects);
        if job.rule().is_some() || job.chains.used {
            effects.push(Effect::Keep(Change::DropVotes(id)));
        }
        effects.push(Effect::Keep(Change::Job(Box::new(job.full_record()))));
        self.dirty_jobs.insert(id);
        if self.ended.len() == ENDED_KEPT_MAX {
            self.ended.pop_front();
        }
        let mut view = Self::ended_view(job.full_record());
        view.held = held;
        self.ended.push_back(view);
        if !job.leases.is_empty() {
            let record = job.full_record();
            self.over.insert(id, Over { record, leases: job.leases, reserved: held });
        }
    }
}
