//! The bank's edge: payouts and deposits over rails, and what more than one operator decides.
//!
//! A payout is a hold and a row in the outbox, in one commit. The shell takes rows from the outbox,
//! gives each to its rail under a key that never changes, and tells here what the rail answered for
//! good: then the hold is posted, or voided with the reason. A deposit is named by the rail's own
//! id, from which its transfers have theirs, so that it counts once. What an exchange moves in
//! credits and what it moves in money are postings of one batch (see `ledger::currency`).
//!
//! Not here: how a rail moves money (the shell's `rail`), whether a deposit that was made long ago
//! is known (the shell asks the database first: it keeps every id, the machine the latest).

mod propose;
mod view;

use std::collections::{BTreeMap, VecDeque};

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::Deed;
use isos_base::record::system::{self, Edge};
use isos_base::record::{
    Change, PayoutRecord, PayoutState, ProposalRecord, ProposalState, Proposed, Reason, Snapshot,
};
use isos_base::{AccountId, JobId, MicroCredits, PayoutId, ProposalId, Time};
use serde::{Deserialize, Serialize};

use super::{Complex, Effect, Reply, request_hash};
use crate::ledger::{self, CurrencyError, Ledger, LedgerError, PayoutLeg, Posting};

pub use propose::APPROVALS_MAX;

/// Payouts of one account that wait.
const ACCOUNT_WAITING_MAX: usize = 100;
/// Payouts that wait in all, about 500 bytes each: a rail that is away for long fills the outbox.
const WAITING_MAX: usize = 100_000;
/// Payouts of one account in a day.
const ACCOUNT_DAY_MAX: usize = 1_000;
/// Characters of where to.
const TO_CHARS_MAX: usize = 256;
/// Characters of a rail's answer that are kept: they stand in a transfer's reason.
const ANSWER_CHARS_MAX: usize = 200;
/// A credit in micro-credits, and a unit of a currency in its millionths.
const MILLION: i128 = 1_000_000;

/// What a rail is to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RailTerms {
    /// Its name, unique.
    pub name: String,
    /// What it pays in: [`CREDIT`](crate::ledger::CREDIT), or the code of a currency.
    pub currency: String,
    /// Millionths of the currency for a credit; 1,000,000 where it pays in credits.
    pub rate: u64,
    /// The smallest amount that it can pay, in millionths of the currency: 10,000 for cents.
    pub unit: u64,
}

/// Settings of the bank. All of them are the operator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankConfig {
    /// The ways out and in.
    pub rails: Vec<RailTerms>,
    /// The least that is paid out at once.
    pub payout_min: MicroCredits,
    /// The most that one account is paid out in a day.
    pub payout_day_max: MicroCredits,
    /// So many operators must agree before credits are made. It raises what is in force, and does
    /// not lower it: for that, as many as are in force must agree.
    pub mint_approvals: u16,
}

impl Default for BankConfig {
    fn default() -> Self {
        Self {
            rails: Vec::new(),
            payout_min: MicroCredits::CREDIT,
            payout_day_max: MicroCredits::credits(10_000),
            mint_approvals: 1,
        }
    }
}

/// What can be asked of the bank. Rights have been checked by the shell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum BankCall {
    /// Credits are to leave.
    Payout {
        /// Whose.
        account: AccountId,
        /// How many.
        amount: MicroCredits,
        /// Over which rail; may be left out where there is one.
        rail: Option<String>,
        /// Where to.
        to: String,
        /// The caller's idempotency key.
        key: Option<String>,
    },
    /// A rail has answered a payout for good: a receipt, or why it never will be.
    Settle {
        /// Which.
        payout: PayoutId,
        /// The answer.
        answer: Result<String, String>,
    },
    /// Money came in.
    Deposit {
        /// For whom.
        account: AccountId,
        /// Over which rail.
        rail: String,
        /// The rail's own id of it.
        id: String,
        /// How much, in millionths of the rail's currency.
        money: MicroCredits,
    },
    /// Another operator agrees with a proposal.
    Approve {
        /// Which.
        proposal: ProposalId,
        /// Who.
        by: AccountId,
    },
    /// An operator refuses a proposal; or takes it back.
    Refuse {
        /// Which.
        proposal: ProposalId,
        /// Who.
        by: AccountId,
    },
    /// So many operators are to agree from now on.
    Approvals {
        /// How many.
        approvals: u16,
        /// Who proposes it.
        by: AccountId,
    },
}

/// What the bank replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BankReply {
    /// The payout is in the outbox; or was, if it was asked for before.
    Payout(PayoutId),
    /// A proposal as it is now.
    Proposal(Box<ProposalRecord>),
    /// It is done.
    Done,
}

/// What the machine knows of the bank.
#[derive(Debug, Default)]
pub(super) struct Bank {
    /// The outbox.
    waiting: BTreeMap<PayoutId, PayoutRecord>,
    /// What accounts were paid out on the last day, or may yet be.
    lately: BTreeMap<AccountId, VecDeque<(Time, PayoutId, MicroCredits)>>,
    /// Proposals that are open.
    open: BTreeMap<ProposalId, ProposalRecord>,
    /// So many operators must agree.
    approvals: u16,
    /// Whether so many have agreed to that: then none can undo it alone.
    sealed: bool,
    /// Numbers of the rails' currencies.
    currencies: BTreeMap<String, u64>,
    last_payout: PayoutId,
    last_proposal: ProposalId,
}

/// Limits are said as what to do.
fn refuse<T>(message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::new(ProblemCode::Refused, message))
}

fn usage<T>(message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::new(ProblemCode::Usage, message))
}

/// The first characters of a text that others wrote, without what does not print.
fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(ANSWER_CHARS_MAX).collect()
}

impl RailTerms {
    /// What so many credits are in its currency, rounded down to what it can pay.
    fn money_for(&self, amount: MicroCredits) -> MicroCredits {
        let exact = i128::from(amount.0) * i128::from(self.rate) / MILLION;
        let unit = i128::from(self.unit.max(1));
        MicroCredits(i64::try_from(exact / unit * unit).unwrap_or(i64::MAX))
    }

    /// What so much of its currency is in credits, rounded down; nothing if it cannot be counted.
    fn credits_for(&self, money: MicroCredits) -> Option<MicroCredits> {
        let exact = i128::from(money.0) * MILLION / i128::from(self.rate.max(1));
        i64::try_from(exact).ok().map(MicroCredits)
    }
}

impl Bank {
    /// Takes up the currencies of all rails.
    pub(super) fn begin(ledger: &mut Ledger, config: &BankConfig) -> Result<Self, CurrencyError> {
        let mut bank = Self { approvals: config.mint_approvals.max(1), ..Self::default() };
        for rail in &config.rails {
            let number = ledger.take_up_currency(&rail.currency)?;
            bank.currencies.insert(rail.currency.clone(), number);
        }
        Ok(bank)
    }

    /// When the next proposal expires.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        // They are few, and all live equally long.
        self.open.values().map(|proposal| proposal.expires).min()
    }
}

impl Complex {
    /// Takes over what a snapshot has of the bank.
    pub(super) fn restore_bank(
        &mut self,
        snapshot: &mut Snapshot,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CurrencyError> {
        self.bank = Bank::begin(&mut self.ledger, &self.config.bank)?;
        self.bank.last_payout = snapshot.last_payout;
        self.bank.last_proposal = snapshot.last_proposal;
        for record in std::mem::take(&mut snapshot.payouts) {
            if record.state != PayoutState::Refused {
                let lately = self.bank.lately.entry(record.account).or_default();
                lately.push_back((record.asked, record.id, record.amount));
            }
            if record.state == PayoutState::Waiting {
                self.bank.waiting.insert(record.id, record);
            }
        }
        self.bank.approvals = 1;
        for record in std::mem::take(&mut snapshot.proposals) {
            match (&record.what, record.state) {
                (_, ProposalState::Open) => _ = self.bank.open.insert(record.id, record),
                (&Proposed::Approvals(approvals), ProposalState::Done) => {
                    self.bank.approvals = approvals;
                    self.bank.sealed = approvals > 1 && record.agreed.len() > 1;
                }
                _ => {}
            }
        }
        self.raise_approvals(effects);
        Ok(())
    }

    pub(super) fn bank_call(
        &mut self,
        call: BankCall,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let reply = match call {
            BankCall::Payout { account, amount, rail, to, key } => {
                BankReply::Payout(self.ask_payout(account, amount, rail, to, key, effects)?)
            }
            BankCall::Settle { payout, answer } => {
                self.settle_payout(payout, answer, effects)?;
                BankReply::Done
            }
            BankCall::Deposit { account, rail, id, money } => {
                self.take_deposit(account, &rail, &id, money, effects)?;
                BankReply::Done
            }
            BankCall::Approve { proposal, by } => self.approve(proposal, by, effects)?,
            BankCall::Refuse { proposal, by } => self.refuse_proposal(proposal, by, effects)?,
            BankCall::Approvals { approvals, by } => {
                self.propose_approvals(approvals, by, effects)?
            }
        };
        Ok(Reply::Bank(reply))
    }

    /// The rail of this name, or the only one.
    fn rail(&self, name: Option<&str>) -> Result<RailTerms, Problem> {
        let rails = &self.config.bank.rails;
        if rails.is_empty() {
            return refuse("this complex pays nothing out: its operator has given it no --rail");
        }
        let found = match name {
            Some(name) => rails.iter().find(|rail| rail.name == name),
            None if rails.len() == 1 => rails.first(),
            None => None,
        };
        let names: Vec<_> = rails.iter().map(|rail| rail.name.as_str()).collect();
        let names = names.join(", ");
        match (found, name) {
            (Some(rail), _) => Ok(rail.clone()),
            (None, Some(name)) => {
                let message = format!("there is no rail {name:?}; there are: {names}");
                Err(Problem::new(ProblemCode::NotFound, message))
            }
            (None, None) => usage(format!("say over which rail (--rail); there are: {names}")),
        }
    }

    fn currency_of(&self, rail: &RailTerms) -> u64 {
        self.bank.currencies.get(&rail.currency).copied().unwrap_or(0)
    }

    fn ask_payout(
        &mut self,
        account: AccountId,
        amount: MicroCredits,
        rail: Option<String>,
        to: String,
        key: Option<String>,
        effects: &mut Vec<Effect>,
    ) -> Result<PayoutId, Problem> {
        let request = request_hash(&("payout", amount, &rail, &to));
        // Of a request that made no job, the number is of what it did make.
        if let Some(JobId(made)) = self.remembered(account, key.as_deref(), request)? {
            return Ok(PayoutId(made));
        }
        self.room_for_key(account, key.as_deref())?;
        let rail = self.rail(rail.as_deref())?;
        self.check_payout(account, amount, &to)?;
        let money = rail.money_for(amount);
        if money <= MicroCredits::ZERO {
            return refuse(format!("{amount} credits come to nothing in {}", rail.currency));
        }
        let id = PayoutId(self.bank.last_payout.0 + 1);
        let (currency, reason) = (self.currency_of(&rail), Reason::Payout(id));
        let mut postings = vec![Posting::Hold {
            id: ledger::payout(id).hold,
            debit: account,
            credit: system::edge(currency, Edge::Payout),
            amount,
            expires: None,
            reason: reason.clone(),
        }];
        if currency > 0 {
            postings.push(Posting::Hold {
                id: ledger::payout_money(id).hold,
                debit: system::edge(currency, Edge::Liquidity),
                credit: system::edge(currency, Edge::Outside),
                amount: money,
                expires: None,
                reason,
            });
        }
        let mut changes = Vec::new();
        let posted = self.ledger.post(self.now, &postings, &mut changes);
        posted.map_err(|error| not_paid_out(&error, amount, money, &rail))?;
        effects.extend(changes.into_iter().map(Effect::Keep));
        self.bank.last_payout = id;
        let record = PayoutRecord {
            id,
            account,
            amount,
            hold: ledger::payout(id).hold,
            rail: rail.name,
            currency: rail.currency,
            money,
            to,
            state: PayoutState::Waiting,
            asked: self.now,
            ended: None,
            answer: None,
        };
        effects.push(Effect::Keep(Change::Payout(Box::new(record.clone()))));
        self.bank.lately.entry(account).or_default().push_back((self.now, id, amount));
        let (rail, to) = (record.rail.clone(), record.to.clone());
        self.audit(Some(account), Deed::PayoutAsked { payout: id, amount, rail, to }, effects);
        self.bank.waiting.insert(id, record);
        self.remember(account, key, request, JobId(id.0), effects);
        Ok(id)
    }

    /// Everything that does not depend on the rail.
    fn check_payout(
        &mut self,
        account: AccountId,
        amount: MicroCredits,
        to: &str,
    ) -> Result<(), Problem> {
        let own = [system::FEES, system::ROUNDING].contains(&account);
        if account < system::FIRST_PERSON && !own {
            return refuse(format!("account {account} is the complex's own and pays nothing out"));
        }
        let chars = to.chars().count();
        if !(1..=TO_CHARS_MAX).contains(&chars) || to.chars().any(char::is_control) {
            return usage(format!(
                "where to pay to has {chars} characters: use 1 to {TO_CHARS_MAX} that print"
            ));
        }
        let BankConfig { payout_min, payout_day_max, .. } = self.config.bank;
        if amount < payout_min || amount <= MicroCredits::ZERO {
            return refuse(format!("{amount} credits are too few: at least {payout_min} are paid"));
        }
        let waiting = self.bank.waiting.values().filter(|it| it.account == account).count();
        if waiting >= ACCOUNT_WAITING_MAX {
            return refuse(format!("{waiting} payouts of account {account} wait: let some end"));
        }
        if self.bank.waiting.len() >= WAITING_MAX {
            let message = format!("{WAITING_MAX} payouts wait, which is the limit: try later");
            return Err(Problem::new(ProblemCode::Busy, message));
        }
        let now = self.now;
        let is_old = |at: Time| at + PayoutRecord::DAY <= now;
        self.bank.lately.retain(|_, lately| {
            while lately.front().is_some_and(|&(at, ..)| is_old(at)) {
                lately.pop_front();
            }
            !lately.is_empty()
        });
        let Some(lately) = self.bank.lately.get(&account) else {
            return within_day(MicroCredits::ZERO, amount, payout_day_max);
        };
        if lately.len() >= ACCOUNT_DAY_MAX {
            return refuse(format!("{ACCOUNT_DAY_MAX} payouts in a day are the limit: wait"));
        }
        let sum: i64 = lately.iter().fold(0, |sum, (.., amount)| sum.saturating_add(amount.0));
        within_day(MicroCredits(sum), amount, payout_day_max)
    }

    fn settle_payout(
        &mut self,
        id: PayoutId,
        answer: Result<String, String>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        // It was settled before: whoever asks has not heard of it.
        let Some(mut record) = self.bank.waiting.remove(&id) else { return Ok(()) };
        let reason = match &answer {
            Ok(_) => Reason::Payout(id),
            Err(why) => Reason::Refused(id, clipped(why)),
        };
        let mut postings = Vec::new();
        for PayoutLeg { hold, post, void } in [ledger::payout(id), ledger::payout_money(id)] {
            let Some(open) = self.ledger.hold(hold) else { continue };
            let amount = open.remaining;
            if answer.is_ok() {
                postings.push(Posting::Post { id: post, hold, amount, reason: reason.clone() });
            }
            // A hold that is used up is closed by being voided.
            postings.push(Posting::Void { id: void, hold, reason: reason.clone() });
        }
        self.post_or_halt(&postings, effects);
        record.ended = Some(self.now);
        (record.state, record.answer) = match answer {
            Ok(receipt) => (PayoutState::Paid, Some(clipped(&receipt))),
            Err(why) => (PayoutState::Refused, Some(clipped(&why))),
        };
        if record.state == PayoutState::Refused
            && let Some(lately) = self.bank.lately.get_mut(&record.account)
        {
            lately.retain(|&(_, payout, _)| payout != id);
        }
        let PayoutRecord { account, amount, state, ref answer, .. } = record;
        let paid = state == PayoutState::Paid;
        let answer = answer.clone().unwrap_or_default();
        let deed = Deed::PayoutEnded { payout: id, amount, paid, answer };
        effects.push(Effect::Keep(Change::Payout(Box::new(record))));
        self.audit(Some(account), deed, effects);
        Ok(())
    }

    fn take_deposit(
        &mut self,
        account: AccountId,
        rail: &str,
        id: &str,
        money: MicroCredits,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let rail = self.rail(Some(rail))?;
        if account < system::FIRST_PERSON {
            return refuse(format!("account {account} is the complex's own and takes no deposit"));
        }
        let amount = rail.credits_for(money).filter(|amount| *amount > MicroCredits::ZERO);
        let Some(amount) = amount else {
            return refuse(format!("{money} {} come to no credits", rail.currency));
        };
        let currency = self.currency_of(&rail);
        let reason = Reason::Deposit(format!("{}: {id}", rail.name));
        let mut postings = vec![Posting::Direct {
            id: ledger::deposit(&rail.name, id),
            debit: system::edge(currency, Edge::Deposit),
            credit: account,
            amount,
            reason: reason.clone(),
        }];
        if currency > 0 {
            postings.push(Posting::Direct {
                id: ledger::deposit_money(&rail.name, id),
                debit: system::edge(currency, Edge::Outside),
                credit: system::edge(currency, Edge::Liquidity),
                amount: money,
                reason,
            });
        }
        let mut changes = Vec::new();
        let posted = self.ledger.post(self.now, &postings, &mut changes);
        posted.map_err(|error| {
            let message = match error {
                LedgerError::IdTaken(_) => {
                    format!("{id:?} is a deposit that was taken already, with another content")
                }
                other => other.to_string(),
            };
            Problem::new(ProblemCode::Refused, message)
        })?;
        // The same once more changes nothing.
        let is_new = !changes.is_empty();
        effects.extend(changes.into_iter().map(Effect::Keep));
        if is_new {
            let (transfer, _) = self.ledger.head();
            let (rail, id) = (rail.name, id.to_owned());
            self.audit(Some(account), Deed::Deposited { amount, rail, id, transfer }, effects);
        }
        Ok(())
    }

    /// What must hold of the bank: the outbox and the open holds of payouts are the same.
    pub(super) fn check_bank(&self) {
        let is_payout = |hold: isos_base::TransferId| hold == ledger::payout(low(hold)).hold;
        let held = self.ledger.holds().filter(|hold| is_payout(hold.id));
        let held: Vec<_> = held.map(|hold| (low(hold.id), hold.debit, hold.remaining)).collect();
        let waiting = self.bank.waiting.values();
        let waiting: Vec<_> = waiting.map(|it| (it.id, it.account, it.amount)).collect();
        assert_eq!(waiting, held, "the outbox is not what is held for payouts");
        for proposal in self.bank.open.values() {
            assert_eq!(proposal.state, ProposalState::Open);
            let agreed = proposal.agreed.len();
            let distinct: std::collections::BTreeSet<_> = proposal.agreed.iter().collect();
            assert_eq!(distinct.len(), agreed, "nobody agrees twice");
        }
        assert!(self.bank.approvals > 0);
    }
}

/// The number in an id that was made from one.
fn low(id: isos_base::TransferId) -> PayoutId {
    PayoutId(id.0 as u64)
}

fn within_day(
    before: MicroCredits,
    amount: MicroCredits,
    most: MicroCredits,
) -> Result<(), Problem> {
    if before.0.saturating_add(amount.0) > most.0 {
        return refuse(format!(
            "{before} credits were asked for within a day, with {amount} more than the most of \
             {most}: ask for less, or wait"
        ));
    }
    Ok(())
}

fn not_paid_out(
    error: &LedgerError,
    amount: MicroCredits,
    money: MicroCredits,
    rail: &RailTerms,
) -> Problem {
    let message = match error {
        LedgerError::InsufficientFunds { account, available, .. } => {
            match system::edge_of(*account) {
                Some(_) => format!(
                    "the complex has {available} {0} to pay out from, {money} {0} are needed: try \
                     later, or ask its operator",
                    rail.currency
                ),
                None => format!("account {account} has {available} credits, not {amount}"),
            }
        }
        other => other.to_string(),
    };
    Problem::new(ProblemCode::Refused, message)
}
