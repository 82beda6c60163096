//! The complex's own accounts.

use crate::ids::AccountId;

/// Where credits come from. It may be in debt; see [`may_owe`] for who else may.
pub const MINT: AccountId = AccountId(1);
/// Where held money stands until it is posted on.
pub const ESCROW: AccountId = AccountId(2);
/// The complex's fee.
pub const FEES: AccountId = AccountId(3);
/// What rounding leaves.
pub const ROUNDING: AccountId = AccountId(4);
/// The first account of a person.
pub const FIRST_PERSON: AccountId = AccountId(100);

/// The first of the accounts of currencies; each currency has a block of four.
const FIRST_OF_CURRENCIES: u64 = 10;
/// Currencies that a complex can have, credits among them: block 0 is theirs.
pub const CURRENCIES_MAX: u64 = 20;

/// What an account of a currency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// In credits: what left for the currency.
    Payout = 0,
    /// In credits: what came from the currency. May owe.
    Deposit = 1,
    /// In the currency: what there is to pay out from.
    Liquidity = 2,
    /// In the currency: the mirror of the world outside. May owe.
    Outside = 3,
}

impl Edge {
    /// All four, in the order of their accounts.
    pub const ALL: [Self; 4] = [Self::Payout, Self::Deposit, Self::Liquidity, Self::Outside];

    /// The first part of the account's name; the currency is the second: `payout/EUR`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payout => "payout",
            Self::Deposit => "deposit",
            Self::Liquidity => "liquidity",
            Self::Outside => "outside",
        }
    }
}

/// The account of a currency, which is below [`CURRENCIES_MAX`].
#[must_use]
pub const fn edge(currency: u64, edge: Edge) -> AccountId {
    AccountId(FIRST_OF_CURRENCIES + 4 * currency + edge as u64)
}

/// Which account of which currency this is, if it is one.
#[must_use]
pub const fn edge_of(account: AccountId) -> Option<(u64, Edge)> {
    if account.0 < FIRST_OF_CURRENCIES || account.0 >= FIRST_OF_CURRENCIES + 4 * CURRENCIES_MAX {
        return None;
    }
    let place = account.0 - FIRST_OF_CURRENCIES;
    Some((place / 4, Edge::ALL[(place % 4) as usize]))
}

/// What an account's money is: 0 for credits. Money moves between accounts of one currency
/// alone; what is exchanged for another is two transfers of one batch.
#[must_use]
pub const fn currency_of(account: AccountId) -> u64 {
    match edge_of(account) {
        Some((currency, Edge::Liquidity | Edge::Outside)) => currency,
        _ => 0,
    }
}

/// Whether an account may be in debt: where money comes into being, or in from outside.
#[must_use]
pub const fn may_owe(account: AccountId) -> bool {
    account.0 == MINT.0 || matches!(edge_of(account), Some((_, Edge::Deposit | Edge::Outside)))
}
