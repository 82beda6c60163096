//! Storage as the database knows it, and what must always hold of it.

use isos_base::record::{KeeperRecord, StorageRecord};
use isos_base::storage::StorageState;
use isos_base::{Bytes, MicroCredits};

use super::super::{Complex, RestoreError};
use super::{Keeper, Purse, rent};
use crate::ledger::storage_account;

impl Complex {
    /// Takes up what a database has of storage; hosts and ledger are there already.
    pub(in crate::complex) fn restore_storage(
        &mut self,
        keepers: Vec<KeeperRecord>,
        leases: Vec<StorageRecord>,
    ) -> Result<(), RestoreError> {
        let wrong = |what: String| Err(RestoreError::Rows(what));
        for record in keepers {
            if !self.hosts.contains_key(&record.host) {
                return wrong(format!("keeper {} is no host", record.host));
            }
            self.storage.keepers.insert(record.host, Keeper::new(record));
        }
        for lease in leases {
            if !self.storage.keepers.contains_key(&lease.host) {
                return wrong(format!("lease {} is on {}, no keeper", lease.id, lease.host));
            }
            self.storage.put(lease);
        }
        self.storage.unfilled = self.storage.replaced_lately(self.now);
        for hold in self.ledger.holds() {
            let Some(account) = storage_account(hold.id) else { continue };
            self.storage.purses.entry(account).or_default().hold = Some(hold.id);
        }
        for (account, purse) in &self.storage.purses {
            let held = self.held_in(purse);
            if held != purse.reserved {
                let cost = purse.reserved;
                return wrong(format!("{held} is held for storage of {account}, it costs {cost}"));
            }
        }
        Ok(())
    }

    fn held_in(&self, purse: &Purse) -> MicroCredits {
        let hold = purse.hold.and_then(|hold| self.ledger.hold(hold));
        hold.map_or(MicroCredits::ZERO, |hold| hold.remaining)
    }

    pub(in crate::complex) fn check_storage(&self) {
        let storage = &self.storage;
        for (account, purse) in &storage.purses {
            let held = self.held_in(purse);
            assert_eq!(held, purse.reserved, "account {account}: its hold is what leases may cost");
            assert_eq!(purse.hold.is_some(), held > MicroCredits::ZERO, "account {account}");
            let open = purse.open.iter().map(|id| &storage.leases[id]);
            let costs: i64 = open.clone().map(|lease| lease.reserved().0).sum();
            let bytes: u64 = open.map(|lease| lease.bytes.0).sum();
            assert_eq!((costs, bytes), (purse.reserved.0, purse.bytes.0), "account {account}");
        }
        let mut holds = 0;
        for hold in self.ledger.holds() {
            let Some(account) = storage_account(hold.id) else { continue };
            holds += 1;
            let known = storage.purses.get(&account).and_then(|purse| purse.hold);
            assert_eq!(known, Some(hold.id), "an account has one hold for its storage");
        }
        assert_eq!(holds, storage.purses.values().filter(|it| it.hold.is_some()).count());
        let mut words = 0;
        for (host, keeper) in &storage.keepers {
            assert!(self.hosts.contains_key(host), "a keeper is a host");
            let leases = keeper.words.iter().map(|(at, id)| (at, &storage.leases[id]));
            let mut leased = Bytes::ZERO;
            for (at, lease) in leases {
                assert_eq!((lease.issued, lease.host), (*at, *host), "lease {}", lease.id);
                let is_open = lease.state == StorageState::Open;
                assert_eq!(is_open, !keeper.over.contains_key(at), "lease {}", lease.id);
                leased.0 += if is_open { lease.bytes.0 } else { 0 };
            }
            assert_eq!(leased, keeper.leased, "host {host}: room that is taken");
            assert_eq!(keeper.words.len() - keeper.over.len(), keeper.open, "host {host}");
            assert!(keeper.record.counted <= self.now, "host {host}: no time before it passes");
            words += keeper.words.len();
        }
        assert_eq!(words, storage.leases.len(), "each lease stands with its host");
        assert_eq!(storage.due.len(), storage.leases.len(), "each lease is due once");
        assert_eq!(storage.asked.len(), storage.asked_due.len(), "each question is due once");
        let asked: usize = storage.keepers.values().map(|keeper| keeper.asked.len()).sum();
        assert_eq!(storage.asked.len(), asked, "each question is one to its host");
        assert!(storage.asked.keys().all(|id| storage.leases[id].is_open()), "of open leases");
        for (id, lease) in &storage.leases {
            assert!(lease.is_of_use(), "lease {id} need not be remembered");
            assert!(storage.due.contains(&(rent::due_at(lease), *id)), "lease {id} is due");
            let purse = &storage.purses[&lease.account];
            let is_open = lease.state == StorageState::Open;
            assert_eq!(purse.open.contains(id), is_open, "lease {id}: its purse knows it");
            assert!(lease.settled <= lease.until && lease.paid <= lease.charged, "lease {id}");
            assert!(lease.issued <= storage.last_word, "lease {id}: words count up");
        }
    }
}
