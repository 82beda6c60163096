//! The bank's part of the API: payouts, rails, where to pay in, what operators agree on.

use serde::{Deserialize, Serialize};

use super::AccountView;
use crate::ids::{AccountId, PayoutId};
use crate::record::{PayoutRecord, PayoutState, ProposalRecord};
use crate::time::Time;
use crate::units::MicroCredits;

/// An order to pay out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PayoutView {
    /// Its number.
    pub id: PayoutId,
    /// Whose credits.
    pub account: AccountId,
    /// How many, in micro-credits.
    pub amount: MicroCredits,
    /// The rail it goes over.
    pub rail: String,
    /// What the rail pays in: `credit`, or the code of a currency.
    pub currency: String,
    /// How much the rail pays, in millionths of the currency.
    pub money: MicroCredits,
    /// Where to, in the rail's own words.
    pub to: String,
    /// Where it stands.
    pub state: PayoutState,
    /// When it was asked for.
    pub asked: Time,
    /// When the rail answered for good.
    pub ended: Option<Time>,
    /// What it answered: a receipt, or why not.
    pub answer: Option<String>,
    /// How often this server has tried.
    pub tries: u32,
    /// Why the last try came to nothing.
    pub trouble: Option<String>,
}

impl From<PayoutRecord> for PayoutView {
    fn from(record: PayoutRecord) -> Self {
        let PayoutRecord { id, account, amount, hold: _, rail, currency, money, to, .. } = record;
        let PayoutRecord { state, asked, ended, answer, .. } = record;
        let (tries, trouble) = (0, None);
        Self {
            id,
            account,
            amount,
            rail,
            currency,
            money,
            to,
            state,
            asked,
            ended,
            answer,
            tries,
            trouble,
        }
    }
}

/// A request to pay out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PayoutRequest {
    /// How many micro-credits.
    pub amount: MicroCredits,
    /// Where to, in the rail's own words.
    pub to: String,
    /// Over which rail; may be left out where there is one.
    #[serde(default)]
    pub rail: Option<String>,
    /// Chosen by the caller: the same key pays once, however often it is sent.
    #[serde(default)]
    pub key: Option<String>,
}

/// A way for money out and in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RailView {
    /// Its name.
    pub name: String,
    /// What it pays in: `credit`, or the code of a currency.
    pub currency: String,
    /// Millionths of the currency for a credit.
    pub rate: u64,
    /// The least that is paid out, in micro-credits.
    pub payout_min: MicroCredits,
    /// The most that one account is paid out in a day, in micro-credits.
    pub payout_day_max: MicroCredits,
    /// What there is of the currency to pay out from, in its millionths; nothing for credits.
    pub liquidity: Option<MicroCredits>,
    /// Payouts that wait for it.
    pub waiting: u64,
    /// Why it does not work now, if it does not.
    pub trouble: Option<String>,
}

/// How to pay in for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DepositAddress {
    /// The rail.
    pub rail: String,
    /// What it takes.
    pub currency: String,
    /// Millionths of the currency for a credit.
    pub rate: u64,
    /// What to write, or where to pay to, in the rail's own words.
    pub address: String,
}

/// A request to change how many operators must agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApprovalsRequest {
    /// How many operators must agree from then on.
    pub approvals: u16,
}

/// What operators have to agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProposalList {
    /// So many operators must agree before credits are made.
    pub approvals: u16,
    /// Whether as many have agreed to that: then none can undo it alone.
    pub sealed: bool,
    /// Proposals, the newest first.
    pub proposals: Vec<ProposalRecord>,
}

/// What became of a wish for credits: they are there, or others have to agree first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum CreditReply {
    /// The account, with the credits.
    Credited(AccountView),
    /// The proposal, which waits for other operators.
    Proposed(ProposalRecord),
}
