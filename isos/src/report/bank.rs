//! Payouts, rails, and what operators have to agree on.

use isos_base::api::{DepositAddress, PayoutView, ProposalList, RailView};
use isos_base::record::{PayoutState, ProposalRecord, ProposalState, Proposed};
use isos_base::{AccountId, MicroCredits};
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, clean, credits, stamp};

/// One payout.
#[derive(Debug)]
pub(crate) struct PayoutReport(pub(crate) PayoutView);

/// Payouts, a line each.
#[derive(Debug)]
pub(crate) struct PayoutList {
    /// Them.
    pub(crate) payouts: Vec<PayoutView>,
    /// Whether they are those that wait, of all accounts.
    pub(crate) outbox: bool,
}

/// The ways for money.
#[derive(Debug)]
pub(crate) struct RailList(pub(crate) Vec<RailView>);

/// How to pay in.
#[derive(Debug)]
pub(crate) struct DepositAddresses(pub(crate) Vec<DepositAddress>);

/// One proposal.
#[derive(Debug)]
pub(crate) struct ProposalReport(pub(crate) ProposalRecord);

/// Proposals and the rule.
#[derive(Debug)]
pub(crate) struct Proposals(pub(crate) ProposalList);

const TIMES: &[&str] = &["asked", "ended"];
const PROPOSAL_TIMES: &[&str] = &["proposed", "expires", "ended"];

const fn state(state: PayoutState) -> &'static str {
    match state {
        PayoutState::Waiting => "waiting",
        PayoutState::Paid => "paid",
        PayoutState::Refused => "refused",
    }
}

/// What the rail said, or what is in the way.
fn said(payout: &PayoutView) -> String {
    let text = payout.answer.as_deref().or(payout.trouble.as_deref()).unwrap_or_default();
    clean(text).into_owned()
}

fn money(payout: &PayoutView) -> String {
    format!("{} {}", payout.money, clean(&payout.currency))
}

impl Report for PayoutReport {
    fn kind(&self) -> &'static str {
        "payout"
    }

    fn text(&self, page: &mut Page) {
        let payout = &self.0;
        page.toned(Tone::Bold, format!("payout {}: {}", payout.id, state(payout.state)));
        page.field("amount", credits(payout.amount));
        page.field("over", format!("{}, {}", clean(&payout.rail), money(payout)));
        page.field("to", clean(&payout.to));
        page.field("asked", payout.asked.to_string());
        let said = said(payout);
        if !said.is_empty() {
            page.field("said", said);
        }
        if payout.state == PayoutState::Waiting {
            page.line("`isos account payouts` tells what became of it");
        }
    }

    fn json(&self) -> Value {
        stamp(json!(self.0), TIMES)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.id.to_string());
    }
}

impl Report for PayoutList {
    fn kind(&self) -> &'static str {
        if self.outbox { "outbox" } else { "payouts" }
    }

    fn text(&self, page: &mut Page) {
        if self.payouts.is_empty() {
            page.line(if self.outbox { "no payout waits" } else { "no payouts" });
            return;
        }
        let mut table = Table::new(&[
            ">payout", ">account", ">credits", ">pays", "rail", "to", "asked", "state", ">tries",
            "said",
        ]);
        for payout in &self.payouts {
            let tone = if payout.trouble.is_some() { Tone::Bad } else { Tone::Plain };
            table.row(
                tone,
                vec![
                    payout.id.to_string(),
                    payout.account.to_string(),
                    payout.amount.to_string(),
                    money(payout),
                    clean(&payout.rail).into_owned(),
                    clean(&payout.to).into_owned(),
                    payout.asked.to_string(),
                    state(payout.state).into(),
                    payout.tries.to_string(),
                    said(payout),
                ],
            );
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        self.payouts.iter().map(|payout| stamp(json!(payout), TIMES)).collect()
    }

    fn quiet(&self, page: &mut Page) {
        for payout in &self.payouts {
            page.line(payout.id.to_string());
        }
    }
}

/// `0.020000 EUR for a credit`.
fn rate(rate: u64, currency: &str) -> String {
    let rate = MicroCredits(i64::try_from(rate).unwrap_or(i64::MAX));
    format!("{rate} {} for a credit", clean(currency))
}

impl Report for RailList {
    fn kind(&self) -> &'static str {
        "rails"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no rails: this complex pays nothing out (`isos server --rail file=DIR`)");
            return;
        }
        for rail in &self.0 {
            page.toned(Tone::Bold, format!("rail {}", clean(&rail.name)));
            page.field("pays", rate(rail.rate, &rail.currency));
            page.field("at least", credits(rail.payout_min));
            page.field("a day", format!("at most {} an account", credits(rail.payout_day_max)));
            if let Some(liquidity) = rail.liquidity {
                page.field("there is", format!("{liquidity} {}", clean(&rail.currency)));
            }
            page.field("waiting", rail.waiting.to_string());
            if let Some(trouble) = &rail.trouble {
                page.toned(Tone::Bad, format!("  {}", clean(trouble)));
            }
        }
    }

    fn json(&self) -> Value {
        json!(self.0)
    }

    fn quiet(&self, page: &mut Page) {
        for rail in &self.0 {
            page.line(clean(&rail.name));
        }
    }
}

impl Report for DepositAddresses {
    fn kind(&self) -> &'static str {
        "deposit_addresses"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("this complex takes nothing in: its operator has given it no rail");
        }
        for it in &self.0 {
            page.toned(Tone::Bold, format!("over {}", clean(&it.rail)));
            page.field("rate", rate(it.rate, &it.currency));
            page.field("address", clean(&it.address));
        }
    }

    fn json(&self) -> Value {
        json!(self.0)
    }

    fn quiet(&self, page: &mut Page) {
        for it in &self.0 {
            page.line(clean(&it.address));
        }
    }
}

fn what(proposal: &ProposalRecord) -> String {
    match &proposal.what {
        Proposed::Mint { account, amount, why } => {
            format!("{} for account {account}: {}", credits(*amount), clean(why))
        }
        Proposed::Approvals(approvals) => format!("{approvals} operators must agree"),
    }
}

fn accounts(all: &[AccountId]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    if all.is_empty() { "the start of the server".into() } else { all.join(", ") }
}

fn stands(proposal: &ProposalRecord) -> String {
    match (proposal.state, proposal.refused_by) {
        (ProposalState::Open, _) => {
            format!("open: {} of {} agree", proposal.agreed.len(), proposal.needed)
        }
        (ProposalState::Done, _) => "done".into(),
        (ProposalState::Refused, Some(by)) => format!("refused by {by}"),
        (ProposalState::Refused, None) => "refused".into(),
        (ProposalState::Expired, _) => "expired".into(),
    }
}

impl Report for ProposalReport {
    fn kind(&self) -> &'static str {
        "proposal"
    }

    fn text(&self, page: &mut Page) {
        let proposal = &self.0;
        page.toned(Tone::Bold, format!("proposal {}: {}", proposal.id, stands(proposal)));
        page.field("what", what(proposal));
        page.field("agreed", accounts(&proposal.agreed));
        if proposal.state == ProposalState::Open {
            page.field("expires", proposal.expires.to_string());
            page.line(format!(
                "another operator agrees by: isos bank mint approve {}",
                proposal.id
            ));
        }
    }

    fn json(&self) -> Value {
        stamp(json!(self.0), PROPOSAL_TIMES)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.id.to_string());
    }
}

impl Report for Proposals {
    fn kind(&self) -> &'static str {
        "proposals"
    }

    fn text(&self, page: &mut Page) {
        let ProposalList { approvals, sealed, proposals } = &self.0;
        let rule = match (approvals, sealed) {
            (1, _) => "one operator alone makes credits".to_owned(),
            (n, true) => format!("{n} operators must agree, and none can undo that alone"),
            (n, false) => format!(
                "{n} operators must agree; until {n} have agreed to that, one who makes tokens for \
                 others can undo it: isos bank mint approvals {n}"
            ),
        };
        page.line(rule);
        if proposals.is_empty() {
            return;
        }
        let mut table = Table::new(&[">proposal", "when", "what", "agreed", "state"]);
        for proposal in proposals {
            let row = vec![
                proposal.id.to_string(),
                proposal.proposed.to_string(),
                what(proposal),
                accounts(&proposal.agreed),
                stands(proposal),
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let ProposalList { approvals, sealed, proposals } = &self.0;
        let proposals: Vec<Value> =
            proposals.iter().map(|it| stamp(json!(it), PROPOSAL_TIMES)).collect();
        json!({ "approvals": approvals, "sealed": sealed, "proposals": proposals })
    }

    fn quiet(&self, page: &mut Page) {
        let open = self.0.proposals.iter().filter(|it| it.state == ProposalState::Open);
        for proposal in open {
            page.line(proposal.id.to_string());
        }
    }
}
