//! What this host keeps for others: packs of fragments, who may write them, and how much of that
//! the complex is told.
//!
//! The owner's policy decides how much, at what price and whether now; the complex's signature who.
//! `leases` knows whose a lease is, `store` does what peers ask for, `serve` lets them in, `upkeep`
//! is everything that nobody asks for, `mend` what the complex asks for when others are gone.
//! Nothing of it exists while the owner offers nothing and nothing is kept.

mod leases;
mod mend;
mod serve;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use isos_base::fragment::wire::FRAGMENT_ALPN;
use isos_base::key::{PublicKey, SecretKey};
use isos_base::price::StoragePrice;
use isos_base::storage::{KEEPER_ADDRESSES_MAX, LeaseNews, ShelfOffer, ShelfReport};
use isos_base::{Bytes, HostId, Time};
use isos_disk::packs::{Lease, PackError, PackSettings};
use isos_disk::{Home, Packs, ShelfLimits};
use isos_kernel::host::{Input, SessionId};
use isos_kernel::policy::{DISK_FREE_LEAST, Keeping};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::clock;
use crate::core::Core;
use crate::door::Door;
use crate::traffic::Traffic;
use leases::{Leases, Remembered};

pub(crate) use serve::BUDGET_BYTES;
pub(crate) use upkeep::run;

/// What was taken in of the complex's words, and whose they are.
const HEARD_FILE: &str = "keeper.json";
/// Of the room, one part in so many is not offered: the index, and what waits to be rewritten.
const SPARE_PART: u64 = 16;
/// Calls of the disk at a time. Puts that come together share one wait for it.
const DISK_CALLS_MAX: usize = 16;
/// Batches of the complex's words that wait; the machine sends no more.
const NEWS_MAX: usize = 64;

/// What the owner allows, for whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Allowed {
    keeping: Keeping,
    /// What stays free of the disk.
    floor: Bytes,
    /// The agent stops.
    closing: bool,
}

/// A batch of words about leases, and the session in which they were said.
type News = (SessionId, Vec<LeaseNews>);

/// The keeper of a host.
#[derive(Debug)]
pub(crate) struct Keeper {
    home: Arc<Home>,
    key: SecretKey,
    complex: PublicKey,
    door: Arc<Door>,
    traffic: Arc<Traffic>,
    packs: OnceLock<Packs>,
    leases: Mutex<Leases>,
    allowed: watch::Sender<Allowed>,
    /// Something is there to be looked after that was not before.
    woken: Notify,
    disk: Semaphore,
    peers: serve::Peers,
    news: mpsc::Sender<News>,
    /// Until `upkeep` takes it.
    inbox: Mutex<Option<mpsc::Receiver<News>>>,
    /// What the machine was told last.
    told: Mutex<Option<(Option<Box<ShelfReport>>, bool)>>,
    counts: Counts,
    /// Why nothing can be kept.
    trouble: Mutex<Option<String>>,
}

/// Since the agent started.
#[derive(Debug, Default)]
struct Counts {
    damaged: AtomicU64,
    gone: AtomicU64,
    /// Kept beyond what the owner allows now.
    over: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Counts {
    fn moved(&self) -> u64 {
        self.received.load(Ordering::Relaxed).wrapping_add(self.sent.load(Ordering::Relaxed))
    }
}

/// What an owner sees of what is kept for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperStatus {
    /// The policy's limit.
    pub limit: Bytes,
    /// What is offered of it.
    pub offered: Bytes,
    /// The least price of a GiB and month, in micro-credits.
    pub price_min: StoragePrice,
    /// Bytes on disk.
    pub used: Bytes,
    /// Fragments in them.
    pub fragments: u64,
    /// Leases that are good.
    pub leases: u64,
    /// What they have promised.
    pub leased: Bytes,
    /// Kept beyond what the owner allows now.
    pub over: Bytes,
    /// Whether more is taken in now.
    pub takes: bool,
    /// Whether peers are answered now.
    pub serves: bool,
    /// Who is connected.
    pub peers: u64,
    /// Bytes of fragments that came since the agent started.
    pub received: Bytes,
    /// And went.
    pub sent: Bytes,
    /// Fragments that were found damaged since then, and given up.
    pub damaged: u64,
    /// Fragments that had to go since then, damaged ones included.
    pub gone: u64,
    /// Why nothing can be kept, if so.
    pub trouble: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is whole before its guard is given back.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// A keeper of nothing yet: packs are opened by `upkeep` when there is something to keep.
    pub(crate) fn new(
        home: Arc<Home>,
        key: SecretKey,
        complex: PublicKey,
        door: Arc<Door>,
        traffic: Arc<Traffic>,
    ) -> Self {
        let (news, inbox) = mpsc::channel(NEWS_MAX);
        Self {
            home,
            key,
            complex,
            door,
            traffic,
            packs: OnceLock::new(),
            leases: Mutex::default(),
            allowed: watch::channel(Allowed::default()).0,
            woken: Notify::new(),
            disk: Semaphore::new(DISK_CALLS_MAX),
            peers: serve::Peers::default(),
            news,
            inbox: Mutex::new(Some(inbox)),
            told: Mutex::default(),
            counts: Counts::default(),
            trouble: Mutex::default(),
        }
    }

    /// The owner allows this from now on. Whoever is not to be answered any more is sent away at
    /// once.
    pub(crate) fn allow(&self, keeping: Keeping, floor: Bytes) {
        let floor = floor.max(DISK_FREE_LEAST);
        self.allowed.send_if_modified(|allowed| {
            let new = Allowed { keeping, floor, closing: allowed.closing };
            std::mem::replace(allowed, new) != new
        });
        self.door.set_open(FRAGMENT_ALPN, keeping.serves && self.packs.get().is_some());
        if !keeping.serves {
            self.peers.send_away();
        }
    }

    /// Bytes of fragments that have come and gone since the agent started.
    pub(crate) fn moved(&self) -> u64 {
        self.counts.moved()
    }

    /// What fragments take on disk, and what was promised in all.
    pub(crate) fn standing(&self) -> (Bytes, Bytes) {
        let Some(packs) = self.packs.get() else { return (Bytes::ZERO, Bytes::ZERO) };
        let (_, leased) = lock(&self.leases).good(clock::now());
        (packs.used().disk, leased)
    }

    /// Takes in what the complex says, in its order; the machine is told when it is done.
    pub(crate) fn take_in(&self, session: SessionId, news: Vec<LeaseNews>) {
        if self.news.try_send((session, news)).is_err() {
            // More than the machine lets wait: this cannot be.
            tracing::warn!("words about leases are lost until the next session");
        }
    }

    /// The packs in the home, if they can be opened. Blocks.
    fn open(&self, allowed: Allowed) -> Result<(), String> {
        if self.packs.get().is_some() {
            return Ok(());
        }
        let remembered = self.home.read(HEARD_FILE).map_err(|error| error.to_string())?;
        let remembered = remembered.and_then(|bytes| Remembered::read(&bytes));
        let is_new = !self.home.has_packs();
        if let Some(other) = remembered.filter(|it| !is_new && it.complex != self.complex) {
            // Lease numbers are a complex's own: one's cannot be told from another's.
            return Err(format!(
                "fragments of the complex {} are kept here: remove {} to keep for another",
                other.complex,
                self.home.packs_dir().display()
            ));
        }
        let settings = PackSettings::new(limits(allowed));
        let opened = self.home.packs(settings);
        let (packs, opened) = opened.map_err(|error| isos_base::causes::report(&error))?;
        if opened.replayed > 0 || opened.rebuilt || opened.packs_lost > 0 {
            tracing::info!(?opened, "the fragments that are kept were read again");
        }
        // An index that was made anew does not know what ended: the complex says it once more.
        let known = remembered.filter(|_| !is_new && !opened.rebuilt);
        lock(&self.leases).remember(known.map_or(Time(0), |known| known.heard));
        let _ = self.packs.set(packs);
        Ok(())
    }

    /// Takes a batch of words into the packs and remembers how far it goes. Blocks.
    fn learn(&self, news: &[LeaseNews]) -> Result<(), String> {
        let Some(last) = news.last() else { return Ok(()) };
        let failed = |error: PackError| isos_base::causes::report(&error);
        let packs = self.packs.get().ok_or("there are no packs")?;
        packs.grant(&news.iter().map(Lease::from).collect::<Vec<_>>()).map_err(failed)?;
        packs.save().map_err(failed)?;
        let remembered = Remembered { complex: self.complex, heard: last.issued };
        let kept = self.home.write(HEARD_FILE, &remembered.bytes());
        kept.map_err(|error| isos_base::causes::report(&error))?;
        lock(&self.leases).told(news);
        Ok(())
    }

    /// How the shelf stands, for the complex; and whether a session is wanted for its sake.
    fn report(&self) -> (Option<Box<ShelfReport>>, bool) {
        let Allowed { keeping, .. } = *self.allowed.borrow();
        if self.packs.get().is_none() {
            return (None, false);
        }
        let room = keeping.room;
        let mut addresses = self.door.endpoint().addresses();
        addresses.truncate(KEEPER_ADDRESSES_MAX);
        let offer = ShelfOffer {
            bytes: Bytes(room.0 - room.0 / SPARE_PART),
            price_min: keeping.price_min,
            addresses,
            relay: self.door.endpoint().relay(),
        };
        let leases = lock(&self.leases);
        let is_of_use = keeping.limit > Bytes::ZERO || leases.good(clock::now()).0 > 0;
        let report = ShelfReport { offer, heard: leases.heard() };
        (Some(Box::new(report)), keeping.serves && is_of_use)
    }

    /// Tells the machine how the shelf stands, if it does not know.
    pub(crate) async fn tell(&self, core: &Core) {
        let now = self.report();
        {
            let mut told = lock(&self.told);
            if told.as_ref() == Some(&now) || (told.is_none() && now.0.is_none()) {
                return;
            }
            *told = Some(now.clone());
        }
        let (report, stays) = now;
        core.input(Input::ShelfLooked { report, stays }).await;
    }

    /// What the owner sees; nothing while nothing is offered and nothing is kept.
    pub(crate) fn status(&self) -> Option<KeeperStatus> {
        let Allowed { keeping, .. } = *self.allowed.borrow();
        let trouble = lock(&self.trouble).clone();
        let used = self.packs.get().map(Packs::used);
        if used.is_none() && trouble.is_none() {
            return None;
        }
        let (leases, leased) = lock(&self.leases).good(clock::now());
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { damaged, gone, over, received, sent } = &self.counts;
        let room = if trouble.is_none() { keeping.room } else { Bytes::ZERO };
        Some(KeeperStatus {
            limit: keeping.limit,
            offered: Bytes(room.0 - room.0 / SPARE_PART),
            price_min: keeping.price_min,
            used: used.map_or(Bytes::ZERO, |used| used.disk),
            fragments: used.map_or(0, |used| used.count),
            leases,
            leased,
            over: Bytes(count(over)),
            takes: keeping.takes,
            serves: keeping.serves,
            peers: self.peers.count(),
            received: Bytes(count(received)),
            sent: Bytes(count(sent)),
            damaged: count(damaged),
            gone: count(gone),
            trouble,
        })
    }

    /// The agent stops: what waits for the index is written.
    pub(crate) fn close(&self) {
        self.allowed.send_modify(|allowed| allowed.closing = true);
        self.peers.send_away();
        if let Some(Err(error)) = self.packs.get().map(Packs::save) {
            tracing::warn!("the next start reads fragments again: {error}");
        }
    }

    fn host(&self) -> HostId {
        HostId(self.key.public())
    }
}

/// The policy's limit holds for what is on disk; what is cut by the owner's own files, the floor
/// holds.
fn limits(allowed: Allowed) -> ShelfLimits {
    ShelfLimits { quota: allowed.keeping.limit, free_floor: allowed.floor }
}
