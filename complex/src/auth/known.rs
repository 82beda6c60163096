//! What was found of tokens: each account has its share of the room, so that nobody pushes out
//! those of others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use isos_base::{AccountId, Guid, Time};

/// Tokens that are remembered: some kilobytes each at the most.
const TOKENS_MAX: usize = 16_384;
/// Those of one account; with more in use, some are looked at again.
const ACCOUNT_TOKENS_MAX: usize = 512;

/// Tokens by the hash of their bytes, with what was found.
#[derive(Debug)]
pub(super) struct Known<T> {
    entries: HashMap<Guid, Entry<T>>,
    /// Those of each account, the one that was used longest ago first.
    by_use: BTreeMap<AccountId, BTreeMap<u64, Guid>>,
    /// How many each account has, the most last.
    by_count: BTreeSet<(usize, AccountId)>,
    uses: u64,
}

#[derive(Debug)]
struct Entry<T> {
    what: T,
    account: AccountId,
    until: Time,
    used: u64,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        let (by_use, by_count) = (BTreeMap::new(), BTreeSet::new());
        Self { entries: HashMap::new(), by_use, by_count, uses: 0 }
    }
}

impl<T: Clone> Known<T> {
    /// What was found, until it is over.
    pub(super) fn get(&mut self, id: Guid, now: Time) -> Option<T> {
        let Entry { what, account, until, .. } = self.take(id)?;
        if until <= now {
            return None;
        }
        self.insert(id, account, what.clone(), until);
        Some(what)
    }

    /// Remembers it. When there is no room, the account forgets its own, or whoever has most.
    pub(super) fn put(&mut self, id: Guid, account: AccountId, what: T, until: Time) {
        self.take(id);
        if self.count(account) >= ACCOUNT_TOKENS_MAX {
            self.forget_one(account);
        } else if self.entries.len() >= TOKENS_MAX
            && let Some(&(_, most)) = self.by_count.last()
        {
            self.forget_one(most);
        }
        self.insert(id, account, what, until);
    }

    /// Something else is true of it from now on, if it is remembered.
    pub(super) fn change(&mut self, id: Guid, what: T) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.what = what;
        }
    }

    fn count(&self, account: AccountId) -> usize {
        self.by_use.get(&account).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, id: Guid, account: AccountId, what: T, until: Time) {
        self.uses += 1;
        let used = self.uses;
        let count = self.count(account);
        self.by_count.remove(&(count, account));
        self.by_count.insert((count + 1, account));
        self.by_use.entry(account).or_default().insert(used, id);
        self.entries.insert(id, Entry { what, account, until, used });
    }

    fn take(&mut self, id: Guid) -> Option<Entry<T>> {
        let entry = self.entries.remove(&id)?;
        let account = entry.account;
        let count = self.count(account);
        self.by_count.remove(&(count, account));
        if count > 1 {
            self.by_count.insert((count - 1, account));
            self.by_use.entry(account).or_default().remove(&entry.used);
        } else {
            self.by_use.remove(&account);
        }
        Some(entry)
    }

    fn forget_one(&mut self, account: AccountId) {
        let first = self.by_use.get(&account).and_then(|ids| ids.first_key_value());
        let first = first.map(|(_, id)| *id);
        first.map(|id| self.take(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000);
    const LATER: Time = Time(1_000_000);

    fn id(account: u64, n: u64) -> Guid {
        Guid::of(format!("{account} {n}").as_bytes())
    }

    fn put(known: &mut Known<&'static str>, account: u64, n: u64) {
        known.put(id(account, n), AccountId(account), "good", LATER);
    }

    #[test]
    fn an_account_with_many_tokens_forgets_its_own_and_those_in_use_last() {
        let mut known = Known::default();
        put(&mut known, 1, 0);
        put(&mut known, 2, 0);
        for n in 1..=10_000 {
            assert_eq!(known.get(id(1, 0), NOW), Some("good"), "it is in use");
            put(&mut known, 1, n);
        }
        assert_eq!(known.entries.len(), ACCOUNT_TOKENS_MAX + 1);
        assert_eq!(known.get(id(2, 0), NOW), Some("good"), "another account has its own share");
        assert_eq!(known.get(id(1, 1), NOW), None);
    }

    #[test]
    fn when_there_is_no_room_whoever_has_most_forgets() {
        let mut known = Known::default();
        (0..200).for_each(|n| put(&mut known, 1, n));
        let alone = (TOKENS_MAX - 200) as u64;
        (0..alone).for_each(|account| put(&mut known, 100 + account, 0));
        assert_eq!(known.entries.len(), TOKENS_MAX);
        (0..150).for_each(|n| put(&mut known, 2, n));
        assert_eq!(known.entries.len(), TOKENS_MAX);
        assert!((0..alone).all(|account| known.get(id(100 + account, 0), NOW).is_some()));
        let most = known.by_count.last().map(|(most, _)| *most);
        assert_eq!(most, Some(100), "the two who had most have as many");
    }

    #[test]
    fn a_token_is_remembered_until_its_end_and_may_change_before() {
        let mut known = Known::default();
        put(&mut known, 1, 0);
        assert_eq!(known.get(id(1, 0), Time(LATER.0 - 1)), Some("good"));
        known.change(id(1, 0), "revoked");
        assert_eq!(known.get(id(1, 0), NOW), Some("revoked"));
        assert_eq!(known.get(id(1, 0), LATER), None);
        assert!(known.entries.is_empty() && known.by_use.is_empty() && known.by_count.is_empty());
    }
}
