//! What more than one operator decides: new credits, and how many must agree.
//!
//! An operator is known by the account of the token: the steadiest name that a token has. One
//! account agrees once. Whoever may make tokens for other operators could agree in their names, so
//! that is closed once as many as must agree have agreed to the rule itself (it is *sealed*).

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::Deed;
use isos_base::record::{Change, ProposalRecord, ProposalState, Proposed};
use isos_base::{AccountId, MicroCredits, ProposalId, Span};

use super::super::{Complex, Effect};
use super::{BankReply, refuse, usage};
use crate::ledger::REASON_CHARS_MAX;

/// A proposal is void after this time.
const OPEN_FOR: Span = Span::secs(7 * 86_400);
/// Proposals that are open.
const PROPOSALS_OPEN_MAX: usize = 100;
/// Operators that can be made to agree.
pub const APPROVALS_MAX: u16 = 5;
/// Characters of a reason that others are to agree to: their names have to stand behind it.
const WHY_CHARS_MAX: usize = 160;

impl Complex {
    /// So many operators must agree before credits are made, and whether so many have agreed to
    /// that: then no operator can undo it alone.
    #[must_use]
    pub fn approvals(&self) -> (u16, bool) {
        (self.bank.approvals, self.bank.sealed)
    }

    /// Proposals that are open, in order.
    pub fn proposals(&self) -> impl Iterator<Item = &ProposalRecord> {
        self.bank.open.values()
    }

    /// Takes what the operator of this server wants for more than what is in force.
    pub(super) fn raise_approvals(&mut self, effects: &mut Vec<Effect>) {
        let wanted = self.config.bank.mint_approvals.min(APPROVALS_MAX);
        let in_force = self.bank.approvals;
        if wanted < in_force {
            effects.push(Effect::Say(format!(
                "{in_force} operators must agree before credits are made; --mint-approvals \
                 {wanted} does not lower that: `isos bank mint approvals {wanted}` proposes it"
            )));
        }
        if wanted > in_force {
            (self.bank.approvals, self.bank.sealed) = (wanted, false);
            let mut record = self.new_proposal(Proposed::Approvals(wanted), Vec::new(), 0);
            (record.state, record.ended) = (ProposalState::Done, Some(self.now));
            self.keep_proposal(&record, effects);
        }
    }

    /// Writes down where a proposal stands, in both books.
    fn keep_proposal(&mut self, record: &ProposalRecord, effects: &mut Vec<Effect>) {
        effects.push(Effect::Keep(Change::Proposal(Box::new(record.clone()))));
        let ProposalRecord { id, what, agreed, needed, state, .. } = record.clone();
        let account = match what {
            Proposed::Mint { account, .. } => Some(account),
            Proposed::Approvals(_) => None,
        };
        let deed = Deed::ProposalMoved { proposal: id, what, agreed, needed, state };
        self.audit(account, deed, effects);
    }

    fn new_proposal(
        &mut self,
        what: Proposed,
        agreed: Vec<AccountId>,
        needed: u16,
    ) -> ProposalRecord {
        let id = ProposalId(self.bank.last_proposal.0 + 1);
        self.bank.last_proposal = id;
        ProposalRecord {
            id,
            what,
            agreed,
            needed,
            proposed: self.now,
            expires: self.now + OPEN_FOR,
            state: ProposalState::Open,
            refused_by: None,
            ended: None,
        }
    }

    /// Whether credits need more than one operator.
    pub(in super::super) fn must_agree(&self) -> bool {
        self.bank.approvals > 1
    }

    /// Proposes new credits; `again` is what the same request has led to before.
    pub(in super::super) fn propose_mint(
        &mut self,
        again: Option<ProposalId>,
        account: AccountId,
        amount: MicroCredits,
        why: String,
        by: AccountId,
        effects: &mut Vec<Effect>,
    ) -> Result<BankReply, Problem> {
        if let Some(id) = again {
            let open = self.bank.open.get(&id).cloned().map(Box::new).map(BankReply::Proposal);
            return Ok(open.unwrap_or(BankReply::Done));
        }
        if why.chars().count() > WHY_CHARS_MAX {
            return usage(format!(
                "the reason is too long: {WHY_CHARS_MAX} characters leave room for who agreed"
            ));
        }
        if self.ledger.account(account).is_none() {
            let message = format!("there is no account {account}");
            return Err(Problem::new(ProblemCode::NotFound, message));
        }
        if amount <= MicroCredits::ZERO {
            return usage(format!("{amount} credits are no credits: propose more than zero"));
        }
        let needed = self.bank.approvals;
        self.propose(Proposed::Mint { account, amount, why }, by, needed, effects)
    }

    /// Proposes how many must agree: to raise it, so many have to show that they are there; to
    /// lower it, as many as are in force.
    pub(super) fn propose_approvals(
        &mut self,
        approvals: u16,
        by: AccountId,
        effects: &mut Vec<Effect>,
    ) -> Result<BankReply, Problem> {
        if !(1..=APPROVALS_MAX).contains(&approvals) {
            return usage(format!("1 to {APPROVALS_MAX} operators can be made to agree"));
        }
        let needed = approvals.max(self.bank.approvals);
        self.propose(Proposed::Approvals(approvals), by, needed, effects)
    }

    fn propose(
        &mut self,
        what: Proposed,
        by: AccountId,
        needed: u16,
        effects: &mut Vec<Effect>,
    ) -> Result<BankReply, Problem> {
        let same = |it: &&ProposalRecord| it.what == what && it.agreed.first() == Some(&by);
        if let Some(open) = self.bank.open.values().find(same) {
            return Ok(BankReply::Proposal(Box::new(open.clone())));
        }
        if self.bank.open.len() >= PROPOSALS_OPEN_MAX {
            return refuse(format!(
                "{PROPOSALS_OPEN_MAX} proposals are open, which is the limit: approve or refuse \
                 some (`isos bank mint list`)"
            ));
        }
        let record = self.new_proposal(what, vec![by], needed);
        self.carry_on(record, effects)
    }

    pub(super) fn approve(
        &mut self,
        id: ProposalId,
        by: AccountId,
        effects: &mut Vec<Effect>,
    ) -> Result<BankReply, Problem> {
        let mut record = self.open_proposal(id)?;
        if record.agreed.contains(&by) {
            return refuse(format!(
                "account {by} has agreed to proposal {id} already: another operator must"
            ));
        }
        record.agreed.push(by);
        self.carry_on(record, effects)
    }

    pub(super) fn refuse_proposal(
        &mut self,
        id: ProposalId,
        by: AccountId,
        effects: &mut Vec<Effect>,
    ) -> Result<BankReply, Problem> {
        let mut record = self.open_proposal(id)?;
        (record.refused_by, record.ended) = (Some(by), Some(self.now));
        record.state = ProposalState::Refused;
        self.bank.open.remove(&id);
        self.keep_proposal(&record, effects);
        Ok(BankReply::Proposal(Box::new(record)))
    }

    /// An open proposal, whose time is not over.
    fn open_proposal(&self, id: ProposalId) -> Result<ProposalRecord, Problem> {
        let open = self.bank.open.get(&id).filter(|it| it.expires > self.now);
        let none = || {
            let message =
                format!("there is no open proposal {id}; `isos bank mint list` shows all");
            Problem::new(ProblemCode::NotFound, message)
        };
        open.cloned().ok_or_else(none)
    }

    /// Does what is proposed if enough agree now; else it stays open.
    fn carry_on(
        &mut self,
        mut record: ProposalRecord,
        effects: &mut Vec<Effect>,
    ) -> Result<BankReply, Problem> {
        // What has been raised meanwhile holds for what is open too.
        let needed = usize::from(record.needed.max(self.bank.approvals));
        if record.agreed.len() >= needed {
            match &record.what {
                Proposed::Mint { account, amount, why } => {
                    let text = self.with_names(why, &record.agreed);
                    self.mint(*account, *amount, text, effects)?;
                }
                Proposed::Approvals(approvals) => {
                    self.bank.approvals = *approvals;
                    self.bank.sealed = *approvals > 1;
                }
            }
            (record.state, record.ended) = (ProposalState::Done, Some(self.now));
            self.bank.open.remove(&record.id);
        } else {
            self.bank.open.insert(record.id, record.clone());
        }
        self.keep_proposal(&record, effects);
        Ok(BankReply::Proposal(Box::new(record)))
    }

    /// The reason, with who proposed and who agreed, as far as there is room.
    fn with_names(&self, why: &str, agreed: &[AccountId]) -> String {
        let named = |id: &AccountId| match self.ledger.account(*id) {
            Some(account) => format!("{} ({id})", account.name),
            None => id.to_string(),
        };
        let text = |of: &dyn Fn(&AccountId) -> String| {
            let mut names = agreed.iter().map(of);
            let first = names.next().unwrap_or_default();
            let others: Vec<String> = names.collect();
            match others.is_empty() {
                true => why.to_owned(),
                false => format!("{why}; proposed by {first}, approved by {}", others.join(", ")),
            }
        };
        let long = text(&named);
        if long.chars().count() <= REASON_CHARS_MAX { long } else { text(&|id| id.to_string()) }
    }

    /// Closes proposals whose time is over.
    pub(in super::super) fn expire_proposals(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        let over: Vec<_> = self.bank.open.extract_if(.., |_, it| it.expires <= now).collect();
        for (_, mut record) in over {
            (record.state, record.ended) = (ProposalState::Expired, Some(now));
            self.keep_proposal(&record, effects);
        }
    }
}
