//! Accounts: opening them, finding them, and what their owners see.

use isos_base::key::PublicKey;
use isos_base::limits::NAME_CHARS_MAX;
use isos_base::record::{AccountRecord, Change, system};
use isos_base::{AccountId, MicroCredits};
use thiserror::Error;

use super::Ledger;
use super::balances::Balances;

/// Accounts of one complex: about 200 bytes each are held in memory.
pub const ACCOUNTS_MAX: usize = 10_000_000;

/// The complex's own accounts and their names, which nobody else can take.
pub(super) const SYSTEM: [(AccountId, &str); 4] = [
    (system::MINT, "mint"),
    (system::ESCROW, "escrow"),
    (system::FEES, "fees"),
    (system::ROUNDING, "rounding"),
];

pub(super) fn empty(id: AccountId, name: &str, key: Option<PublicKey>) -> AccountRecord {
    AccountRecord {
        id,
        name: name.into(),
        key,
        debits_pending: MicroCredits::ZERO,
        debits_posted: MicroCredits::ZERO,
        credits_pending: MicroCredits::ZERO,
        credits_posted: MicroCredits::ZERO,
    }
}

/// What an account's owner sees. Screens show this and nothing reckoned by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Its number.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// What can be spent now: `earned - spent - held`. Negative for the mint alone.
    pub available: MicroCredits,
    /// Set aside for jobs that run.
    pub held: MicroCredits,
    /// All that ever came in for good: pay, grants, gifts.
    pub earned: MicroCredits,
    /// All that ever went out for good.
    pub spent: MicroCredits,
    /// Held by others for this account: escrow alone has such.
    pub promised: MicroCredits,
}

/// Why an account is not opened. The ledger has not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenAccountError {
    /// Empty or too long.
    #[error("an account name of {0} characters; it must have 1 to {NAME_CHARS_MAX}")]
    NameLength(usize),
    /// Control characters, invisible ones, or space at an end.
    #[error(
        "the account name {0:?} has characters that do not print, or begins or ends with space"
    )]
    NameNotPrintable(String),
    /// It looks like one of the complex's own accounts.
    #[error("the account name {0:?} is kept for the complex's own accounts of a currency")]
    NameKept(String),
    /// The name belongs to another.
    #[error("the account name {name:?} is taken by account {account}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        account: AccountId,
    },
    /// The key belongs to another.
    #[error("the key already owns account {account}")]
    KeyTaken {
        /// Whose it is.
        account: AccountId,
    },
    /// No room.
    #[error("there are {ACCOUNTS_MAX} accounts, which is the limit")]
    TooManyAccounts,
}

impl Ledger {
    /// Opens an account and appends its row. Names are unique, of 1 to 64 printable characters; a
    /// key owns one account at the most.
    ///
    /// # Errors
    /// [`OpenAccountError`]; the ledger has not changed then.
    pub fn open_account(
        &mut self,
        name: &str,
        key: Option<PublicKey>,
        out: &mut Vec<Change>,
    ) -> Result<AccountId, OpenAccountError> {
        let chars = name.chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) {
            return Err(OpenAccountError::NameLength(chars));
        }
        if !name.chars().all(is_printable) || name.trim() != name {
            return Err(OpenAccountError::NameNotPrintable(name.into()));
        }
        if super::currency::is_kept(name) {
            return Err(OpenAccountError::NameKept(name.into()));
        }
        if let Some(&account) = self.names.get(name) {
            return Err(OpenAccountError::NameTaken { name: name.into(), account });
        }
        if let Some(account) = key.and_then(|key| self.keys.get(&key).copied()) {
            return Err(OpenAccountError::KeyTaken { account });
        }
        if self.accounts.len() >= ACCOUNTS_MAX {
            return Err(OpenAccountError::TooManyAccounts);
        }
        // Accounts are never removed, so the highest number is the last one given.
        let last = self.accounts.last_key_value().map_or(AccountId(0), |(id, _)| *id);
        let id = AccountId((last.0 + 1).max(system::FIRST_PERSON.0));
        let record = empty(id, name, key);
        out.push(Change::Account(Box::new(record.clone())));
        self.index_account(record);
        Ok(id)
    }

    /// An account's row.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&AccountRecord> {
        self.accounts.get(&id)
    }

    /// All accounts, by number.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountRecord> {
        self.accounts.values()
    }

    /// Accounts from one on, by number.
    pub fn accounts_behind(
        &self,
        from: std::ops::Bound<AccountId>,
    ) -> impl Iterator<Item = AccountId> {
        self.accounts.range((from, std::ops::Bound::Unbounded)).map(|(id, _)| *id)
    }

    /// The account of this name.
    #[must_use]
    pub fn account_by_name(&self, name: &str) -> Option<AccountId> {
        self.names.get(name).copied()
    }

    /// The account that this key owns.
    #[must_use]
    pub fn account_by_key(&self, key: &PublicKey) -> Option<AccountId> {
        self.keys.get(key).copied()
    }

    /// What the account's owner sees.
    #[must_use]
    pub fn account_view(&self, id: AccountId) -> Option<AccountView> {
        let record = self.accounts.get(&id)?;
        Some(AccountView {
            id,
            name: record.name.clone(),
            available: Balances::of(record).available(),
            held: record.debits_pending,
            earned: record.credits_posted,
            spent: record.debits_posted,
            promised: record.credits_pending,
        })
    }
}

/// What `{:?}` shows as itself, which leaves out control, format (bidirectional marks, zero-width
/// spaces), private and unassigned characters.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\') || c.escape_debug().count() == 1
}
