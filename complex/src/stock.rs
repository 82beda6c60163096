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

/// What an object counts at the least, however small it is: a file takes a block of the disk, an
/// entry of its folder and a line here.
const LEAST: u64 = 4 << 10;

/// What an object of this size counts among its account's own.
fn counted(bytes: u64) -> u64 {
    bytes.max(LEAST)
}

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
    held: BTreeMap<AccountId, Held>,
}

/// What an account has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// As the shelf reckons.
    bytes: u64,
    /// As it counts.
    counted: u64,
}

impl Book {
    fn add(&mut self, account: AccountId, bytes: u64) {
        let held = self.held.entry(account).or_default();
        held.bytes = held.bytes.saturating_add(bytes);
        held.counted = held.counted.saturating_add(counted(bytes));
    }

    fn less(&mut self, account: AccountId, bytes: u64) {
        if let Some(held) = self.held.get_mut(&account) {
            held.bytes = held.bytes.saturating_sub(bytes);
            held.counted = held.counted.saturating_sub(counted(bytes));
            if held.counted == 0 {
                self.held.remove(&account);
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
        if free.saturating_sub(limits.free_floor.0) < size.0 {
            let (free, floor) = (Bytes(free), limits.free_floor);
            let why = format!(
                "the server's disk is full: {free} are free, of which {floor} must stay free, and \
                 this needs {size}: the operator must make room there"
            );
            return Err(Problem::new(ProblemCode::Refused, why));
        }
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
        let own = book.held.get(&account).copied().unwrap_or_default();
        let left = all.saturating_sub(used.saturating_sub(own.bytes));
        let may = (u128::from(left) * u128::from(self.percent) / 100) as u64;
        if self.percent > 0 && own.counted.saturating_add(counted(size.0)) > may {
            let (own, may, percent) = (Bytes(own.counted), Bytes(may), self.percent);
            let least = Bytes(LEAST);
            let why = format!(
                "{size} more is too much: account {account} has {own} on the shelf and may have \
                 {may}, {percent} % of what others leave free, where each object counts {least} at \
                 the least; what no job names goes after a day, and results when they are not kept \
                 any more: wait for that, upload less, or ask the operator to raise \
                 --account-shelf or --objects-max"
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

    const KIB: u64 = 1 << 10;

    #[test]
    fn an_account_has_half_of_what_others_leave_and_no_more() {
        let (stock, all) = (Stock::new(50), 1_000 * KIB);
        let first = stock.reserve_of(all, 0, ADA, Bytes(500 * KIB)).unwrap();
        let refused = stock.reserve_of(all, 500 * KIB, ADA, Bytes(1)).unwrap_err();
        assert_eq!(refused.code, ProblemCode::Refused);
        expect_test::expect![
            "1 B more is too much: account 100 has 500 KiB on the shelf and may have 500 KiB, \
             50 % of what others leave free, where each object counts 4 KiB at the least; what \
             no job names goes after a day, and results when they are not kept any more: wait for \
             that, upload less, or ask the operator to raise --account-shelf or --objects-max"
        ]
        .assert_eq(&refused.message);
        first.keep(Guid::of(b"first"));
        let of_bob = |size| stock.reserve_of(all, 500 * KIB, BOB, Bytes(size));
        assert!(of_bob(250 * KIB + 1).is_err(), "half of the other half");
        let second = of_bob(250 * KIB).unwrap();
        drop(second);
        assert_eq!(lock(&stock.book).held.get(&BOB), None, "what did not come takes no room");
    }

    #[test]
    fn tiny_objects_take_their_part_of_what_an_account_has() {
        let (stock, all) = (Stock::new(50), 800 * KIB);
        let tiny: Vec<_> = std::iter::from_fn(|| {
            let used = lock(&stock.book).held.get(&ADA).map_or(0, |held| held.bytes);
            stock.reserve_of(all, used, ADA, Bytes(3)).ok()
        })
        .take(1_000)
        .collect();
        assert_eq!(tiny.len(), 100, "four KiB each, though the shelf has 300 bytes of them");
        let used = 3 * tiny.len() as u64;
        let half = (all - used) / 2;
        assert!(stock.reserve_of(all, used, BOB, Bytes(half)).is_ok(), "others lose nothing by it");
        drop(tiny);
        assert_eq!(lock(&stock.book).held.get(&ADA), None);
    }

    #[test]
    fn what_was_removed_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let limits = ShelfLimits { quota: Bytes(100 * KIB), free_floor: Bytes::ZERO };
        let shelf = Shelf::open(folder.path(), limits, Durability::Cache).unwrap();
        let stock = Stock::new(50);
        let size = 40 * KIB;
        let here = shelf.put(&vec![1; size as usize]).unwrap();
        stock.belongs(here, ADA, Bytes(size));
        stock.belongs(here, BOB, Bytes(size));
        assert_eq!(lock(&stock.book).held.get(&BOB), None, "it is of the first");
        assert!(stock.reserve(&shelf, ADA, Bytes(10 * KIB + 1)).is_err());
        shelf.remove(&here).unwrap();
        stock.recount(&shelf);
        assert!(stock.reserve(&shelf, ADA, Bytes(50 * KIB)).is_ok());
        assert!(lock(&stock.book).objects.is_empty());
    }

    #[test]
    fn without_a_limit_an_account_may_have_it_all() {
        assert!(Stock::new(0).reserve_of(1_000, 0, ADA, Bytes(1_000_000)).is_ok());
    }
}
