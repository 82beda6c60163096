//! What people ask for: jobs, accounts, credits, revocations.

use isos_base::api::{JobView, Plan, Problem, ProblemCode};
use isos_base::audit::{Actor, Deed};
use isos_base::job::JobSpec;
use isos_base::price::Price;
use isos_base::record::{Change, IdempotencyRecord, JobRecord, JobState, Reason, system};
use isos_base::{AccountId, Guid, JobId, MicroCredits, ProposalId, Span};

use super::job::Job;
use super::{BankReply, Call, Complex, Effect, Reply, request_hash};
use crate::constraint::Constraint;
use crate::ledger::{LedgerError, Posting, job_hold};

/// How long a reply is remembered under its idempotency key.
const IDEMPOTENCY_KEPT: Span = Span::secs(2 * 86_400);
/// What a key is remembered with that made no job.
const NO_JOB: JobId = JobId(0);
/// Replies remembered for all accounts together; beyond it no request that names a key is done.
/// (Our own tests have not the time for a million.)
const IDEMPOTENCY_MAX: usize = if cfg!(test) { 60 } else { 1_000_000 };
/// Of them, those of one account.
const ACCOUNT_IDEMPOTENCY_MAX: usize = IDEMPOTENCY_MAX / 10;
/// Tasks of all jobs that are not over: 2 bits each, plus ranges.
const TASKS_MAX: u64 = 1_000_000_000;

impl Complex {
    pub(super) fn carry_out(
        &mut self,
        call: Call,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        match call {
            Call::Submit { account, spec, key } => self.submit(account, *spec, key, None, effects),
            Call::SubmitBid { account, spec, key, bid } => {
                self.submit(account, *spec, key, Some(bid), effects)
            }
            Call::Bid { job, bid } => self.change_bid(job, bid, effects),
            Call::Reserve { account, wish } => self.reserve(account, &wish, effects),
            Call::Unreserve { account, id } => self.unreserve(account, id, effects),
            Call::Firm { account, host, cores } => self.offer_firm(account, host, cores, effects),
            Call::EndFirm { account, host } => self.end_firm(account, host, effects),
            Call::Cancel { job } => self.cancel(job, effects),
            Call::OpenAccount { name, welcome } => self.open_account(&name, welcome, effects),
            Call::Mint { account, amount, why, key, by } => {
                self.grant_credits(account, amount, why, key, by, effects)
            }
            Call::RevokeToken { id, until, account, above } => {
                self.revoke_token(id, until, account, &above, effects)
            }
            Call::By { by, call } => self.carry_out_by(by, *call, effects),
            Call::As { holder, call } => {
                self.still_may(self.now, &holder)?;
                self.carry_out_by(Actor::from(&*holder), *call, effects)
            }
            Call::Lead { server, settings } => {
                self.audit(None, Deed::ServerLed { server, settings }, effects);
                Ok(Reply::Done)
            }
            Call::Bank(call) => self.bank_call(call, effects),
            Call::Keys(call) => self.about_keys(call, effects),
            Call::Storage(call) => self.storage_call(call, effects),
            Call::Slice(call) => self.slice_call(call, effects),
        }
    }

    fn carry_out_by(
        &mut self,
        by: Actor,
        call: Call,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        self.book.by = by;
        let answer = self.carry_out(call, effects);
        self.book.by = Actor::Complex;
        answer
    }

    fn submit(
        &mut self,
        account: AccountId,
        spec: JobSpec,
        key: Option<String>,
        bid: Option<Price>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let request = match bid {
            Some(bid) => request_hash(&(&spec, bid)),
            None => request_hash(&spec),
        };
        if let Some(job) = self.remembered(account, key.as_deref(), request)? {
            return Ok(self.submitted(job).map_or(Reply::Ended(job), Reply::Job));
        }
        self.room_for_key(account, key.as_deref())?;
        let price = self.bid_for(account, &spec, bid)?;
        let (constraint, hold) = self.check_job(account, &spec, price)?;
        let pinned = self.pin(account, &spec)?;
        let id = JobId(self.last_job.0 + 1);
        let posting = (hold > MicroCredits::ZERO).then(|| Posting::Hold {
            id: job_hold(id),
            debit: account,
            credit: system::ESCROW,
            amount: hold,
            expires: None,
            reason: Reason::Hold(id),
        });
        let mut changes = Vec::new();
        self.ledger
            .post(self.now, posting.as_slice(), &mut changes)
            .map_err(|error| refusal(&error, hold))?;
        self.last_job = id;
        effects.extend(changes.into_iter().map(Effect::Keep));
        let record = JobRecord {
            id,
            account,
            spec,
            state: JobState::Active,
            price,
            hold: job_hold(id),
            submitted: self.now,
            ended: None,
            spent: MicroCredits::ZERO,
            done: 0,
            failed: 0,
            given_up: 0,
            redone: Vec::new(),
            unchecked: 0,
            why: None,
            pinned,
        };
        effects.push(Effect::Keep(Change::Job(Box::new(record.clone()))));
        self.audit(Some(account), Deed::JobSubmitted { job: id, held: hold }, effects);
        self.jobs.insert(id, Job::new(record, constraint, &self.config));
        self.note_pinned(id);
        self.queue_or_leave(id);
        self.dirty_jobs.insert(id);
        self.remember(account, key, request, id, effects);
        Ok(Reply::Job(self.submitted(id).expect("inserted above")))
    }

    /// What is answered to who submitted a job; nothing if it ended long ago.
    fn submitted(&mut self, id: JobId) -> Option<Box<JobView>> {
        let view = self.job_view(id)?;
        let Some(mut job) = self.jobs.remove(&id) else { return Some(Box::new(view)) };
        let assured = Some(self.assured(&mut job));
        self.jobs.insert(id, job);
        Some(Box::new(JobView { assured, ..view }))
    }

    /// What was done lately under a key, if it was the same request.
    pub(super) fn remembered(
        &self,
        account: AccountId,
        key: Option<&str>,
        request: Guid,
    ) -> Result<Option<JobId>, Problem> {
        let Some(key) = key else { return Ok(None) };
        if key.is_empty() || key.len() > 128 {
            let message = "an idempotency key has 1 to 128 characters";
            return Err(Problem::new(ProblemCode::Usage, message));
        }
        match self.idempotency.get(&(account, key.to_owned())) {
            Some(record) if record.request != request => {
                let message = format!("key {key:?} was used for another request already");
                Err(Problem::new(ProblemCode::Usage, message))
            }
            known => Ok(known.map(|record| record.job)),
        }
    }

    /// Whether one more key of this account can be remembered. What was promised to be done once
    /// must not be done at all where that cannot be kept.
    pub(super) fn room_for_key(
        &self,
        account: AccountId,
        key: Option<&str>,
    ) -> Result<(), Problem> {
        if key.is_none() {
            return Ok(());
        }
        let busy = |message: String| Err(Problem::new(ProblemCode::Busy, message));
        if self.idempotency.len() >= IDEMPOTENCY_MAX {
            return busy(format!(
                "{IDEMPOTENCY_MAX} idempotency keys are remembered, no more: try later, or without \
                 a key"
            ));
        }
        let own = self.idempotency.range((account, String::new())..);
        let own = own.take_while(|((of, _), _)| *of == account).take(ACCOUNT_IDEMPOTENCY_MAX);
        // Counted only where it matters: an account alone may fill a half.
        if self.idempotency.len() >= IDEMPOTENCY_MAX / 2 && own.count() >= ACCOUNT_IDEMPOTENCY_MAX {
            return busy(format!(
                "{ACCOUNT_IDEMPOTENCY_MAX} idempotency keys of account {account} are remembered, \
                 each for {IDEMPOTENCY_KEPT}: try later, or without a key"
            ));
        }
        Ok(())
    }

    pub(super) fn remember(
        &mut self,
        account: AccountId,
        key: Option<String>,
        request: Guid,
        job: JobId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(key) = key else { return };
        let expires = self.now + IDEMPOTENCY_KEPT;
        let record = IdempotencyRecord { account, key: key.clone(), request, job, expires };
        effects.push(Effect::Keep(Change::Idempotency(record.clone())));
        self.idempotency.insert((account, key), record);
    }

    /// Everything that must hold before money is touched; the compiled constraint and the hold.
    fn check_job(
        &self,
        account: AccountId,
        spec: &JobSpec,
        price: Price,
    ) -> Result<(Option<Constraint>, MicroCredits), Problem> {
        let usage =
            |error: &dyn std::fmt::Display| Problem::new(ProblemCode::Usage, error.to_string());
        spec.check().map_err(|error| usage(&error))?;
        let constraint = spec
            .constraint
            .as_deref()
            .map(Constraint::compile)
            .transpose()
            .map_err(|e| usage(&e))?;
        let refuse = |message: String| Err(Problem::new(ProblemCode::Refused, message));
        let jobs = self.jobs.values().filter(|job| job.record.account == account).count();
        let jobs_max = self.config.account_jobs_max;
        if jobs >= jobs_max {
            return refuse(format!(
                "account {account} has {jobs} unfinished jobs, the limit is {jobs_max}: wait for \
                 some, or use one job with more tasks"
            ));
        }
        // A job of few of many tasks takes as much memory as one of all of them.
        let count = |job: &Job| u64::from(job.record.spec.count);
        let own: u64 =
            self.jobs.values().filter(|job| job.record.account == account).map(count).sum();
        let own_max = self.config.account_tasks_max;
        if own.saturating_add(u64::from(spec.count)) > own_max {
            return refuse(format!(
                "unfinished jobs of account {account} have {own} tasks and this one {}, the limit \
                 is {own_max}: wait for some, or make it smaller; the operator of the complex can \
                 raise --account-tasks",
                spec.count
            ));
        }
        let numbered: u64 = self.jobs.values().map(count).sum();
        if numbered + u64::from(spec.count) > TASKS_MAX {
            let message = format!(
                "jobs of {numbered} tasks are not over, the limit is {TASKS_MAX}: try later"
            );
            return Err(Problem::new(ProblemCode::Busy, message));
        }
        let hold = self.hold_for(spec, price);
        let one = price.charge(spec.fuel);
        let each = MicroCredits(one.0.saturating_mul(i64::from(spec.verify.replicas())));
        if hold < each {
            return refuse(format!(
                "one task may cost {each} credits (fuel {} at {} micro-credits per G), more than \
                 --max-price {hold}: raise it or lower --fuel",
                spec.fuel, price.0
            ));
        }
        Ok((constraint, hold))
    }

    /// The most that a job can cost.
    pub(super) fn hold_for(&self, spec: &JobSpec, price: Price) -> MicroCredits {
        let each = i128::from(price.charge(spec.fuel).0);
        let executions = i128::from(spec.task_count()) * i128::from(spec.verify.replicas_max());
        let all = MicroCredits(i64::try_from(each * executions).unwrap_or(i64::MAX));
        spec.price_max.map_or(all, |max| max.min(all))
    }

    /// What submitting would do, without doing it.
    ///
    /// # Errors
    /// As submitting, but for the balance, which is shown instead.
    pub fn plan(&self, account: AccountId, spec: &JobSpec) -> Result<Plan, Problem> {
        self.plan_at(account, spec, None)
    }

    /// The same for a job that says what it bids.
    ///
    /// # Errors
    /// As [`Complex::plan`].
    pub fn plan_at(
        &self,
        account: AccountId,
        spec: &JobSpec,
        bid: Option<Price>,
    ) -> Result<Plan, Problem> {
        let price = self.bid_for(account, spec, bid)?;
        let (constraint, hold) = self.check_job(account, spec, price)?;
        let pinned = self.pin(account, spec)?;
        let record = JobRecord {
            id: JobId(0),
            account,
            spec: spec.clone(),
            state: JobState::Active,
            price,
            hold: job_hold(JobId(0)),
            submitted: self.now,
            ended: None,
            spent: MicroCredits::ZERO,
            done: 0,
            failed: 0,
            given_up: 0,
            redone: Vec::new(),
            unchecked: 0,
            why: None,
            pinned,
        };
        let mut job = Job::new(record, constraint, &self.config);
        let looks = self.looks(&job);
        let mut obstacles = self.obstacles(&mut job, &looks);
        let lacking = self.lacking_voters(&mut job, &looks);
        let can_agree = lacking.is_none();
        obstacles.extend(lacking);
        let (mut hosts, mut cores) = (0, 0);
        for look in self.fitting(&mut job, &looks) {
            (hosts, cores) = (hosts + look.hosts, cores + look.cores);
        }
        let available =
            self.ledger.account_view(account).map_or(MicroCredits::ZERO, |view| view.available);
        let assured = self.assured(&mut job);
        Ok(Plan { hosts, cores, price, hold, available, can_agree, obstacles, assured })
    }

    fn cancel(&mut self, id: JobId, effects: &mut Vec<Effect>) -> Result<Reply, Problem> {
        if let Some(job) = self.jobs.get(&id) {
            let account = job.record.account;
            self.end_job(id, JobState::Cancelled, Some("cancelled".into()), effects);
            self.audit(Some(account), Deed::JobCancelled { job: id }, effects);
        }
        match self.job_view(id) {
            Some(view) => Ok(Reply::Job(Box::new(view))),
            None => {
                Err(Problem::new(ProblemCode::NotFound, format!("there is no running job {id}")))
            }
        }
    }

    fn open_account(
        &mut self,
        name: &str,
        welcome: MicroCredits,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        if let Some(account) = self.ledger.account_by_name(name) {
            if account < system::FIRST_PERSON {
                let message = format!("{name:?} is an account of the complex itself");
                return Err(Problem::new(ProblemCode::Refused, message));
            }
            return Ok(Reply::Account(account));
        }
        let mut changes = Vec::new();
        let account = self
            .ledger
            .open_account(name, None, &mut changes)
            .map_err(|error| Problem::new(ProblemCode::Usage, error.to_string()))?;
        effects.extend(changes.into_iter().map(Effect::Keep));
        self.audit(Some(account), Deed::AccountOpened { name: name.into() }, effects);
        if welcome > MicroCredits::ZERO {
            self.mint(account, welcome, "welcome".into(), effects)?;
        }
        Ok(Reply::Account(account))
    }

    /// Credits by the operator, once for the same key; or a proposal of them, where several must
    /// agree.
    fn grant_credits(
        &mut self,
        account: AccountId,
        amount: MicroCredits,
        why: String,
        key: Option<String>,
        by: AccountId,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let request = request_hash(&(account, amount, &why));
        // Keys of grants are the mint's, so that they are apart from those of anybody's jobs.
        let asked = self.remembered(system::MINT, key.as_deref(), request)?;
        if self.must_agree() {
            let again = asked.map(|JobId(made)| ProposalId(made));
            let reply = self.propose_mint(again, account, amount, why, by, effects)?;
            if let (None, BankReply::Proposal(it)) = (again, &reply) {
                self.remember(system::MINT, key, request, JobId(it.id.0), effects);
            }
            return Ok(Reply::Bank(reply));
        }
        if asked.is_none() {
            self.mint(account, amount, why, effects)?;
            self.remember(system::MINT, key, request, NO_JOB, effects);
        }
        let view = self.account_view(account).map(Box::new);
        let none = || Problem::new(ProblemCode::NotFound, format!("there is no account {account}"));
        view.map(Reply::Credited).ok_or_else(none)
    }

    pub(super) fn mint(
        &mut self,
        account: AccountId,
        amount: MicroCredits,
        why: String,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let (seq, _) = self.ledger.head();
        let posting = Posting::Direct {
            id: crate::ledger::asked(system::MINT, &format!("mint {}", seq + 1)),
            debit: system::MINT,
            credit: account,
            amount,
            reason: Reason::Grant(why.clone()),
        };
        let mut changes = Vec::new();
        let posted = self.ledger.post(self.now, &[posting], &mut changes);
        posted.map_err(|error| Problem::new(ProblemCode::Usage, error.to_string()))?;
        effects.extend(changes.into_iter().map(Effect::Keep));
        let (transfer, _) = self.ledger.head();
        self.audit(Some(account), Deed::CreditsGranted { amount, why, transfer }, effects);
        Ok(())
    }
}

fn refusal(error: &LedgerError, hold: MicroCredits) -> Problem {
    let message = match error {
        LedgerError::InsufficientFunds { account, available, .. } => format!(
            "the job may cost up to {hold} credits, account {account} has {available}: lower \
             --fuel or --count, or set --max-price"
        ),
        other => other.to_string(),
    };
    Problem::new(ProblemCode::Refused, message)
}
