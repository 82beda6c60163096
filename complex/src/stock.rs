//! Whose the bytes on the shelf are, so that no account fills it alone.
//!
//! An object is of the account that brought it, or for whose job a host left it; one that several
//! have named is of the first. What was there before the server began is nobody's until the
//! collector comes by and finds a job that names it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isos_base::api::{Problem, ProblemCode};
use isos_base::{AccountId, Bytes, Guid};
use isos_disk::Shelf;

/// Objects, and how much each account has. Some fifty bytes an object.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// How much of what others leave free one account may have, in percent; 0 is all of it.
    percent: u64,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    objects: HashMap<Guid, (AccountId, u64)>,
    bytes: BTreeMap<AccountId, u64>,
}

impl Book {
    fn add(&mut self, account: AccountId, bytes: u64) {
        let sum = self.bytes.entry(account).or_default();
        *sum = sum.saturating_add(bytes);
    }

    fn less(&mut self, account: AccountId, bytes: u64) {
        if let Some(sum) = self.bytes.get_mut(&account) {
            *sum = sum.saturating_sub(bytes);
            if *sum == 0 {
                self.bytes.remove(&account);
            }
        }
    }

    fn enter(&mut self, guid: Guid, account: AccountId, bytes: u64) {
        if self.objects.contains_key(&guid) {
            return;
        }
        self.objects.insert(guid, (account, bytes));
        self.add(account, bytes);
    }
}

/// Room for an object that is on its way, among its account's own; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Shelved {
    book: Arc<Mutex<Book>>,
    account: AccountId,
    bytes: u64,
}

impl Shelved {
    /// The object has come.
    pub(crate) fn keep(self, guid: Guid) {
        lock(&self.book).enter(guid, self.account, self.bytes);
    }
}

impl Drop for Shelved {
    fn drop(&mut self) {
        lock(&self.book).less(self.account, self.bytes);
    }
}

impl Stock {
    pub(crate) fn new(percent: u32) -> Self {
        Self { percent: u64::from(percent.min(100)), book: Arc::default() }
    }

    /// Room for an object of this size, if the account's share has it. Asks the disk.
    pub(crate) fn reserve(
        &self,
        shelf: &Shelf,
        account: AccountId,
        size: Bytes,
    ) -> Result<Shelved, Problem> {
        let limits = shelf.limits();
        let used = shelf.used().0.saturating_add(shelf.reserved().0);
        // An unknown file system is as large as the quota; whoever writes hears of it.
        let free = shelf.space().map_or(u64::MAX, |space| space.free.0);
        let room = used.saturating_add(free.saturating_sub(limits.free_floor.0));
        self.reserve_of(limits.quota.0.min(room), used, account, size)
    }

    /// The same on a shelf of `all` bytes of which `used` are taken.
    fn reserve_of(
        &self,
        all: u64,
        used: u64,
        account: AccountId,
        size: Bytes,
    ) -> Result<Shelved, Problem> {
        let mut book = lock(&self.book);
        let own = book.bytes.get(&account).copied().unwrap_or(0);
        let left = all.saturating_sub(used.saturating_sub(own));
        let may = (u128::from(left) * u128::from(self.percent) / 100) as u64;
        if self.percent > 0 && own.saturating_add(size.0) > may {
            let (own, may, percent) = (Bytes(own), Bytes(may), self.percent);
            let why = format!(
                "{size} more is too much: account {account} has {own} on the shelf and may have \
                 {may}, {percent} % of what others leave free; what no job names goes after a day, \
                 and results when they are not kept any more: wait for that, upload less, or ask \
                 the operator to raise --account-shelf or --objects-max"
            );
            return Err(Problem::new(ProblemCode::Refused, why));
        }
        book.add(account, size.0);
        Ok(Shelved { book: self.book.clone(), account, bytes: size.0 })
    }

    /// The object is there and of this account, if it is of none yet.
    pub(crate) fn belongs(&self, guid: Guid, account: AccountId, size: Bytes) {
        lock(&self.book).enter(guid, account, size.0);
    }

    /// Forgets what is not on the shelf any more.
    pub(crate) fn recount(&self, shelf: &Shelf) {
        let mut book = lock(&self.book);
        let gone: Vec<Guid> =
            book.objects.keys().filter(|guid| !shelf.contains(guid)).copied().collect();
        for guid in gone {
            if let Some((account, bytes)) = book.objects.remove(&guid) {
                book.less(account, bytes);
            }
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // Numbers alone: whatever a panic left is as good as any.
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use isos_disk::{Durability, ShelfLimits};

    use super::*;

    const ADA: AccountId = AccountId(100);
    const BOB: AccountId = AccountId(101);

    #[test]
    fn an_account_has_half_of_what_others_leave_and_no_more() {
        let stock = Stock::new(50);
        let first = stock.reserve_of(1_000, 0, ADA, Bytes(500)).unwrap();
        let refused = stock.reserve_of(1_000, 500, ADA, Bytes(1)).unwrap_err();
        assert_eq!(refused.code, ProblemCode::Refused);
        expect_test::expect![
            "1 B more is too much: account 100 has 500 B on the shelf and may have 500 B, 50 % of \
             what others leave free; what no job names goes after a day, and results when they are \
             not kept any more: wait for that, upload less, or ask the operator to raise \
             --account-shelf or --objects-max"
        ]
        .assert_eq(&refused.message);
        first.keep(Guid::of(b"first"));
        assert!(stock.reserve_of(1_000, 500, BOB, Bytes(251)).is_err(), "half of the other half");
        let second = stock.reserve_of(1_000, 500, BOB, Bytes(250)).unwrap();
        drop(second);
        assert_eq!(lock(&stock.book).bytes.get(&BOB), None, "what did not come takes no room");
    }

    #[test]
    fn what_was_removed_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let limits = ShelfLimits { quota: Bytes(1_000), free_floor: Bytes::ZERO };
        let shelf = Shelf::open(folder.path(), limits, Durability::Cache).unwrap();
        let stock = Stock::new(50);
        let here = shelf.put(&[1; 400]).unwrap();
        stock.belongs(here, ADA, Bytes(400));
        stock.belongs(here, BOB, Bytes(400));
        assert_eq!(lock(&stock.book).bytes.get(&BOB), None, "it is of the first");
        assert!(stock.reserve(&shelf, ADA, Bytes(101)).is_err());
        shelf.remove(&here).unwrap();
        stock.recount(&shelf);
        assert!(stock.reserve(&shelf, ADA, Bytes(500)).is_ok());
        assert!(lock(&stock.book).objects.is_empty());
    }

    #[test]
    fn without_a_limit_an_account_may_have_it_all() {
        assert!(Stock::new(0).reserve_of(1_000, 0, ADA, Bytes(1_000_000)).is_ok());
    }
}
