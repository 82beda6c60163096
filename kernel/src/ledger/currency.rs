//! Currencies beside credits, and the complex's own accounts of each.
//!
//! Four accounts a currency, see [`system::Edge`]. Whatever is exchanged is two transfers of one
//! batch, so that each currency sums to zero by itself: credits move between a person and the
//! payout or deposit account, money between liquidity and the world outside. What there is to pay
//! out from is what came in: liquidity may not owe. Money is counted in millionths, as credits are.

use isos_base::AccountId;
use isos_base::record::system::{self, Edge};
use thiserror::Error;

use super::Ledger;
use super::account::empty;

/// The code of credits themselves, which are exchanged for nothing.
pub const CREDIT: &str = "credit";
/// Characters of a currency's code.
const CODE_CHARS_MAX: usize = 12;

/// Why a currency is not taken up. The ledger has not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CurrencyError {
    /// Not a code.
    #[error("{0:?} is no code of a currency: use up to {CODE_CHARS_MAX} letters and digits")]
    Code(String),
    /// No room.
    #[error("there are {} currencies, which is the limit", system::CURRENCIES_MAX)]
    TooMany,
}

/// Whether a name is kept for accounts of currencies.
pub(super) fn is_kept(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| Edge::ALL.iter().any(|it| it.name() == first))
}

impl Ledger {
    /// The number of a currency; it gets one, and its accounts, if it has none yet. As with all of
    /// the complex's own accounts, their rows are said when money first touches them.
    ///
    /// # Errors
    /// [`CurrencyError`].
    pub fn take_up_currency(&mut self, code: &str) -> Result<u64, CurrencyError> {
        let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain || code.is_empty() || code.len() > CODE_CHARS_MAX {
            return Err(CurrencyError::Code(code.into()));
        }
        let number = match self.currency(code) {
            Some(number) => number,
            None if code == CREDIT => 0,
            None => {
                let taken = |number: u64| {
                    Edge::ALL.iter().any(|&it| self.accounts.contains_key(&edge(number, it)))
                };
                let free = (1..system::CURRENCIES_MAX).find(|&number| !taken(number));
                free.ok_or(CurrencyError::TooMany)?
            }
        };
        for it in Edge::ALL {
            // Credits are exchanged for nothing.
            let needed = number > 0 || matches!(it, Edge::Payout | Edge::Deposit);
            if needed && !self.accounts.contains_key(&edge(number, it)) {
                let name = format!("{}/{code}", it.name());
                self.index_account(empty(edge(number, it), &name, None));
            }
        }
        Ok(number)
    }

    /// The number of a currency that was taken up.
    fn currency(&self, code: &str) -> Option<u64> {
        let mut names = Edge::ALL.iter().map(|it| format!("{}/{code}", it.name()));
        let account = names.find_map(|name| self.account_by_name(&name))?;
        system::edge_of(account).map(|(number, _)| number)
    }
}

fn edge(number: u64, edge: Edge) -> AccountId {
    system::edge(number, edge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_keeps_its_number_and_its_names() {
        let mut ledger = Ledger::new();
        assert_eq!(ledger.take_up_currency(CREDIT), Ok(0));
        assert_eq!(ledger.take_up_currency("EUR"), Ok(1));
        assert_eq!(ledger.take_up_currency("USD"), Ok(2));
        assert_eq!(ledger.take_up_currency("EUR"), Ok(1));
        assert_eq!(ledger.account_by_name("liquidity/USD"), Some(edge(2, Edge::Liquidity)));
        assert_eq!(ledger.account_by_name("liquidity/credit"), None);
        let taken = ledger.open_account("payout/mine", None, &mut Vec::new());
        assert!(taken.is_err(), "{taken:?}");
        assert!(matches!(ledger.take_up_currency("E/R"), Err(CurrencyError::Code(_))));
        for number in 3..system::CURRENCIES_MAX {
            assert_eq!(ledger.take_up_currency(&format!("C{number}")), Ok(number));
        }
        assert_eq!(ledger.take_up_currency("more"), Err(CurrencyError::TooMany));
        ledger.check_invariants();
    }
}
