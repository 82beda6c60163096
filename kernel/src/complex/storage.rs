//! Storage leases: parts of the disks of hosts that keep fragments, for accounts that store
//! objects.
//!
//! The machine chooses keepers that are there and have room, takes the room from what they offer,
//! sets the money aside, and pays for the time that has passed and in which they have shown that
//! they are there. All of an account's leases share one hold, of exactly what they may cost until
//! their ends, so that a change of many is one transfer or two. What the money follows from is the
//! leases' own records ([`StorageRecord`]); nothing is summed up that could drift.
//!
//! Not here: what objects are, how fragments are spread over countries and systems (whoever stores
//! knows that, is told all it takes, and may name the hosts), signatures, the fragments themselves.

mod change;
mod check;
mod choose;
mod keeper;
mod lease;
mod mend;
mod prove;
mod rent;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{KeeperView, LeaseChange, Problem, ProveRequest, StorageRequest};
use isos_base::price::StoragePrice;
use isos_base::record::{KeeperRecord, StorageRecord};
use isos_base::storage::StorageState;
use isos_base::{AccountId, Bytes, HostId, LeaseId, MicroCredits, Time, TransferId};
use serde::{Deserialize, Serialize};

use super::{Complex, Effect, Reply};

/// Leases of one account, those included of whose end a host has still to hear.
pub(super) const ACCOUNT_LEASES_MAX: usize = 16_384;
/// Of all accounts: about half a KiB each.
const LEASES_MAX: usize = 1_000_000;
/// On one host's disk.
const HOST_LEASES_MAX: usize = 65_536;

/// What can be asked for about storage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StorageCall {
    /// Lease of hosts.
    Lease {
        /// Who pays.
        account: AccountId,
        /// What.
        request: Box<StorageRequest>,
    },
    /// Renew leases, or make them larger or smaller.
    Change {
        /// Whose.
        account: AccountId,
        /// What to change.
        changes: Vec<LeaseChange>,
        /// The most for a GiB and month.
        price_max: Option<StoragePrice>,
    },
    /// Give leases up.
    Release {
        /// Whose.
        account: AccountId,
        /// Which.
        leases: Vec<LeaseId>,
    },
    /// Have a host prove that it has what a lease is paid for.
    Prove {
        /// Who pays.
        account: AccountId,
        /// Under which lease, and what.
        request: ProveRequest,
        /// A random number, which decides on the part of it that is to be shown.
        drawn: u32,
    },
}

/// What is answered to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageReply {
    /// These leases, as they are now.
    Leases(Vec<Leased>),
}

/// A lease, and what is known of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// The lease.
    pub record: StorageRecord,
    /// The host.
    pub keeper: KeeperView,
}

/// What the machine knows of storage.
#[derive(Debug, Default)]
pub(super) struct Storage {
    /// Leases that are open, and those of whose end their hosts have to hear.
    leases: BTreeMap<LeaseId, StorageRecord>,
    purses: BTreeMap<AccountId, Purse>,
    keepers: BTreeMap<HostId, Keeper>,
    /// When leases are settled, end, or need no more be told of.
    due: BTreeSet<(Time, LeaseId)>,
    /// When it is written down that connected keepers are there.
    watches: BTreeSet<(Time, HostId)>,
    /// When the last word about a lease was issued.
    last_word: Time,
    /// Proofs that hosts were asked for, by lease, and when each is looked at again.
    asked: BTreeMap<LeaseId, prove::Asked>,
    asked_due: BTreeSet<(Time, LeaseId)>,
    /// Orders to mend that were given, how many there ever were, and when it is looked for more.
    mending: BTreeMap<u64, mend::Mending>,
    mendings: u64,
    mend_at: Option<Time>,
    /// Leases that took the place of others before this machine was restored: nobody knows whether
    /// they were filled.
    unfilled: BTreeMap<mend::Owner, Vec<LeaseId>>,
    /// Since when this machine hears of keepers.
    hears_since: Option<Time>,
    /// Written at the end of the step.
    dirty_keepers: BTreeSet<HostId>,
}

/// What an account has of storage.
#[derive(Debug, Default)]
struct Purse {
    /// The hold of what its leases may cost, if they may cost anything.
    hold: Option<TransferId>,
    /// What they may cost.
    reserved: MicroCredits,
    /// What they amount to.
    bytes: Bytes,
    /// Those that are open.
    open: BTreeSet<LeaseId>,
    /// How many others there are.
    over: usize,
}

/// A host that keeps fragments.
#[derive(Debug)]
struct Keeper {
    record: KeeperRecord,
    /// How much of what it offers is leased, and by how many leases.
    leased: Bytes,
    open: usize,
    /// All leases on its disk by when the last word about each was issued.
    words: BTreeMap<Time, LeaseId>,
    /// Those of them that are over.
    over: BTreeMap<Time, LeaseId>,
    /// Leases for which it was asked to prove something.
    asked: BTreeSet<LeaseId>,
    /// Up to which word it was told in this session; nothing until it has said what it knows.
    told: Option<Time>,
    /// When its row was written last.
    written: Time,
    /// Whether it stands among [`Storage::watches`].
    watched: bool,
}

impl Keeper {
    fn new(record: KeeperRecord) -> Self {
        let written = record.counted;
        let (words, over, asked) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (leased, open, told, watched) = (Bytes::ZERO, 0, None, false);
        Self { record, leased, open, words, over, asked, told, written, watched }
    }

    /// What it offers besides what is leased.
    fn free(&self) -> Bytes {
        Bytes(self.record.offer.bytes.0.saturating_sub(self.leased.0))
    }
}

impl Storage {
    /// When something is due.
    pub(super) fn next(&self) -> Option<Time> {
        let first = |at: &BTreeSet<(Time, LeaseId)>| at.first().map(|&(at, _)| at);
        let watch = self.watches.first().map(|&(at, _)| at);
        [first(&self.due), first(&self.asked_due), watch, self.mend_at].into_iter().flatten().min()
    }

    /// When the next word about a lease is issued: no two have the same time, so that a host can
    /// say by one number what it has heard.
    fn next_word(&mut self, now: Time) -> Time {
        self.last_word = now.max(Time(self.last_word.0 + 1));
        self.last_word
    }

    /// Takes a lease in as it is now, in place of what it was.
    fn put(&mut self, new: StorageRecord) {
        let id = new.id;
        if !new.is_open() || self.asked.contains_key(&id) && self.leases[&id].host != new.host {
            self.unask(id);
        }
        if let Some(old) = self.leases.remove(&id) {
            self.due.remove(&(rent::due_at(&old), id));
            let purse = self.purses.get_mut(&old.account).expect("a lease has a purse");
            let keeper = self.keepers.get_mut(&old.host).expect("a lease has a keeper");
            keeper.words.remove(&old.issued);
            keeper.over.remove(&old.issued);
            purse.reserved.0 -= old.reserved().0;
            if old.state == StorageState::Open {
                purse.open.remove(&id);
                purse.bytes.0 -= old.bytes.0;
                keeper.leased.0 -= old.bytes.0;
                keeper.open -= 1;
            } else {
                purse.over -= 1;
            }
        }
        if !new.is_of_use() {
            if self.purses.get(&new.account).is_some_and(Purse::is_empty) {
                self.purses.remove(&new.account);
            }
            return;
        }
        self.last_word = self.last_word.max(new.issued);
        self.due.insert((rent::due_at(&new), id));
        let purse = self.purses.entry(new.account).or_default();
        let keeper = self.keepers.get_mut(&new.host).expect("the caller has looked");
        keeper.words.insert(new.issued, id);
        purse.reserved.0 += new.reserved().0;
        if new.is_open() {
            purse.open.insert(id);
            purse.bytes.0 += new.bytes.0;
            keeper.leased.0 += new.bytes.0;
            keeper.open += 1;
        } else {
            purse.over += 1;
            keeper.over.insert(new.issued, id);
        }
        self.may_mend(new.issued);
        self.leases.insert(id, new);
    }
}

impl Purse {
    fn is_empty(&self) -> bool {
        self.hold.is_none() && self.open.is_empty() && self.over == 0
    }

    fn count(&self) -> usize {
        self.open.len() + self.over
    }
}

impl Complex {
    pub(super) fn storage_call(
        &mut self,
        call: StorageCall,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        match call {
            StorageCall::Lease { account, request } => {
                self.lease_storage(account, *request, effects)
            }
            StorageCall::Change { account, changes, price_max } => {
                self.change_storage(account, &changes, price_max, effects)
            }
            StorageCall::Release { account, leases } => {
                self.release_storage(account, leases, effects)
            }
            StorageCall::Prove { account, request, drawn } => {
                self.ask_for_proof(account, request, drawn, effects)
            }
        }
    }

    /// The answer about some leases.
    fn leased(&self, leases: impl IntoIterator<Item = StorageRecord>) -> Reply {
        let all = leases.into_iter().filter_map(|record| {
            let keeper = self.keeper_view(self.now, record.host)?;
            Some(Leased { record, keeper })
        });
        Reply::Storage(StorageReply::Leases(all.collect()))
    }
}
