//! What the bank keeps beside the ledger: orders to pay out, and what operators have to agree on.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, PayoutId, ProposalId, TransferId};
use crate::time::{Span, Time};
use crate::units::MicroCredits;

/// Where a payout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// In the outbox: its rail has not answered for good yet.
    Waiting,
    /// The rail has taken it.
    Paid,
    /// The rail will never take it, and the money went back.
    Refused,
}

/// An order to pay out over a rail. The credits are held until the rail has answered for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutRecord {
    /// Its number.
    pub id: PayoutId,
    /// Whose credits.
    pub account: AccountId,
    /// How many.
    pub amount: MicroCredits,
    /// The hold of the credits.
    pub hold: TransferId,
    /// By what name the rail is known.
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
}

impl PayoutRecord {
    /// Payouts count towards the most of a day for so long.
    pub const DAY: Span = Span::secs(86_400);
}

/// What operators have to agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Proposed {
    /// New credits for an account.
    Mint {
        /// For whom.
        account: AccountId,
        /// How many.
        amount: MicroCredits,
        /// Why, for the statement.
        why: String,
    },
    /// How many operators must agree from then on.
    Approvals(u16),
}

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProposalState {
    /// Not enough operators have agreed yet.
    Open,
    /// Enough have, and it is done.
    Done,
    /// An operator refused it.
    Refused,
    /// Its time ran out.
    Expired,
}

/// A proposal of one operator that others have to agree to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProposalRecord {
    /// Its number.
    pub id: ProposalId,
    /// What is proposed.
    pub what: Proposed,
    /// The operators who agree, by their accounts; the first has proposed it.
    pub agreed: Vec<AccountId>,
    /// How many must.
    pub needed: u16,
    /// When it was proposed.
    pub proposed: Time,
    /// When it is void if not enough have agreed.
    pub expires: Time,
    /// Where it stands.
    pub state: ProposalState,
    /// Who refused it, if somebody did.
    pub refused_by: Option<AccountId>,
    /// When it was done, refused or expired.
    pub ended: Option<Time>,
}

/// What an account earned in a month of thirty days, for demurrage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarnedRecord {
    /// Whose. The mint's rows say how far a day has come: 0 the last one that is done, 1 the
    /// account that was looked at last.
    pub account: AccountId,
    /// Months since 1970, from 1; 0 for what was paid in, less what was paid out.
    pub month: u32,
    /// How much.
    pub amount: MicroCredits,
}

impl EarnedRecord {
    /// How long a month is.
    pub const MONTH: Span = Span::secs(30 * 86_400);
    /// Months before the last one that are still of use.
    pub const KEPT: u32 = 3;

    /// Of rows, those that are of use when the newest is of `newest`.
    #[must_use]
    pub const fn is_of_use(month: u32, newest: u32) -> bool {
        month <= 1 || month + Self::KEPT >= newest
    }
}
