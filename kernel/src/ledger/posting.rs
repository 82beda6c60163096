//! What can be asked of the ledger, and why it says no.

use isos_base::record::Reason;
use isos_base::{AccountId, MicroCredits, Time, TransferId};
use thiserror::Error;

use super::chain::fingerprint;

/// Postings of one batch: TigerBeetle's message has room for as many, and a batch is applied within
/// a few milliseconds.
pub const BATCH_POSTINGS_MAX: usize = 8_190;
/// Open holds: one a running job, about 100 bytes each.
pub const HOLDS_OPEN_MAX: usize = 1_000_000;
/// Characters of the free text in a reason.
pub const REASON_CHARS_MAX: usize = 256;

/// One movement of money. The postings of a batch are linked: all happen or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posting {
    /// Money moves at once.
    Direct {
        /// Unique for ever.
        id: TransferId,
        /// Account that gives.
        debit: AccountId,
        /// Account that gets.
        credit: AccountId,
        /// How much, more than zero.
        amount: MicroCredits,
        /// Why.
        reason: Reason,
    },
    /// Money is set aside: the giver cannot spend it, the getter does not have it yet.
    Hold {
        /// Unique for ever; names the hold from now on.
        id: TransferId,
        /// Account that gives.
        debit: AccountId,
        /// Account that gets what is posted.
        credit: AccountId,
        /// The most that can be posted, more than zero.
        amount: MicroCredits,
        /// When what is left goes back by itself, if it does; after `now`.
        expires: Option<Time>,
        /// Why.
        reason: Reason,
    },
    /// A part of a hold becomes final; the rest stays held. A hold that is used up stays open, with
    /// nothing in it, until it is voided, so that whoever ends a job voids without asking.
    Post {
        /// Unique for ever.
        id: TransferId,
        /// Which hold.
        hold: TransferId,
        /// How much, more than zero and at most what is left.
        amount: MicroCredits,
        /// Why.
        reason: Reason,
    },
    /// What is left of a hold, be it nothing, goes back, and the hold is closed.
    Void {
        /// Unique for ever.
        id: TransferId,
        /// Which hold.
        hold: TransferId,
        /// Why.
        reason: Reason,
    },
}

impl Posting {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> TransferId {
        match self {
            Self::Direct { id, .. }
            | Self::Hold { id, .. }
            | Self::Post { id, .. }
            | Self::Void { id, .. } => *id,
        }
    }

    /// How much it moves or sets aside; nothing of a void, which gives back what is left.
    #[must_use]
    pub const fn amount(&self) -> Option<MicroCredits> {
        match self {
            Self::Direct { amount, .. } | Self::Hold { amount, .. } | Self::Post { amount, .. } => {
                Some(*amount)
            }
            Self::Void { .. } => None,
        }
    }

    pub(super) const fn reason(&self) -> &Reason {
        match self {
            Self::Direct { reason, .. }
            | Self::Hold { reason, .. }
            | Self::Post { reason, .. }
            | Self::Void { reason, .. } => reason,
        }
    }

    /// What a repetition must have in common with the first: everything but the expiry, which is
    /// reckoned from the clock, so that an honest retry differs in it.
    pub(super) fn fingerprint(&self) -> isos_base::Guid {
        match self {
            Self::Direct { id, debit, credit, amount, reason } => {
                fingerprint(&(0u8, id, debit, credit, amount, reason))
            }
            Self::Hold { id, debit, credit, amount, expires: _, reason } => {
                fingerprint(&(1u8, id, debit, credit, amount, reason))
            }
            Self::Post { id, hold, amount, reason } => {
                fingerprint(&(2u8, id, hold, amount, reason))
            }
            Self::Void { id, hold, reason } => fingerprint(&(3u8, id, hold, reason)),
        }
    }
}

/// Why a batch is refused. **No variant changes the ledger**: a batch happens whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// The account has too little that is not spent or held.
    #[error("account {account} has {available} credits available, {needed} are needed")]
    InsufficientFunds {
        /// Whose.
        account: AccountId,
        /// What it has.
        available: MicroCredits,
        /// What the posting takes.
        needed: MicroCredits,
    },
    /// Zero or less.
    #[error("transfer {id} is of {amount} credits; it must be of more than zero")]
    AmountNotPositive {
        /// The posting.
        id: TransferId,
        /// Its amount.
        amount: MicroCredits,
    },
    /// A balance would leave what an account can count, about 9.2 trillion credits.
    #[error("transfer {id} of {amount} credits would overflow the balance of account {account}")]
    BalanceOverflow {
        /// The posting.
        id: TransferId,
        /// Its amount.
        amount: MicroCredits,
        /// The account that has no room.
        account: AccountId,
    },
    /// No such account.
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// Both sides are the same account.
    #[error("transfer {id} is from account {account} to itself")]
    SameAccount {
        /// The posting.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// The sides are of different currencies.
    #[error("transfer {id} is from account {debit} to {credit}, which is of another currency")]
    OtherCurrency {
        /// The posting.
        id: TransferId,
        /// Who would give.
        debit: AccountId,
        /// Who would get.
        credit: AccountId,
    },
    /// Another transfer already has this id.
    #[error("transfer {0} already exists with other content")]
    IdTaken(TransferId),
    /// The hold never was, has been voided, or has expired.
    #[error("there is no open hold {0}")]
    HoldNotOpen(TransferId),
    /// The hold's time is over; it can only be voided.
    #[error("hold {hold} expired at {expired}")]
    HoldExpired {
        /// Which.
        hold: TransferId,
        /// When.
        expired: Time,
    },
    /// The hold would expire before it begins.
    #[error("hold {hold} would expire at {expires}, which is not after now, {now}")]
    ExpiryInThePast {
        /// Which.
        hold: TransferId,
        /// The wanted expiry.
        expires: Time,
        /// The ledger's time.
        now: Time,
    },
    /// More is posted than is left.
    #[error("hold {hold} has {remaining} credits left, {needed} are needed")]
    HoldExceeded {
        /// Which.
        hold: TransferId,
        /// What is left.
        remaining: MicroCredits,
        /// What is posted.
        needed: MicroCredits,
    },
    /// The free text is too long.
    #[error("the reason of transfer {id} has {chars} characters, the limit is {REASON_CHARS_MAX}")]
    ReasonTooLong {
        /// The posting.
        id: TransferId,
        /// Its characters.
        chars: usize,
    },
    /// Too many postings at once.
    #[error("a batch of {0} postings, the limit is {BATCH_POSTINGS_MAX}")]
    BatchTooLong(usize),
    /// Too many holds.
    #[error("{HOLDS_OPEN_MAX} holds are open, which is the limit; void some or try again later")]
    TooManyHolds,
}
