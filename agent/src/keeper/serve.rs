//! Who is let in to what is kept: so many peers at once, so many of one key, none that asks for
//! nothing for long.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{HeadSet, Piece, SignedGrant, SignedHead, SignedReceipt};
use isos_base::key::PublicKey;
use isos_base::{Bytes, Guid, LeaseId, Span, Time};
use isos_net::{Connection, FragmentBudget, FragmentStore, Incoming, code, serve_fragments};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Keeper, lock};
use crate::traffic::Traffic;

/// Peers at a time. Each can make this side hold a window of 4 MiB, if it sends and we do not read.
const PEERS_MAX: usize = 32;
/// Of one key.
const PEERS_OF_KEY_MAX: usize = 4;
/// Who asks for nothing for so long is left, and calls again.
const IDLE: Duration = Duration::from_secs(300);
/// Who has asked for nothing for so long makes room for somebody else.
const YIELDS: Duration = Duration::from_secs(5);
/// Memory for fragments on their way, of all peers together.
pub(crate) const BUDGET_BYTES: u64 = 32 << 20;
/// With a rate, what is on its way is no more than so much time's worth: the owner's rate is held
/// by not reading on.
const BUDGET_TIME: Span = Span::secs(5);

/// Those who are connected.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    peers: BTreeMap<u64, Peer>,
}

#[derive(Debug)]
struct Peer {
    connection: Connection,
    asked: Arc<Asked>,
}

/// When somebody has asked for something, in milliseconds since the connection began.
#[derive(Debug)]
struct Asked {
    began: Instant,
    last: AtomicU64,
}

impl Asked {
    fn now(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(ms, Ordering::Relaxed);
    }

    fn idle(&self) -> Duration {
        self.began
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

impl Peers {
    pub(super) fn count(&self) -> u64 {
        lock(&self.0).peers.len() as u64
    }

    /// Nobody is answered any more.
    pub(super) fn send_away(&self) {
        for peer in std::mem::take(&mut lock(&self.0).peers).into_values() {
            peer.connection.close(code::BUSY, "not now: the owner does not allow it");
        }
    }

    /// Lets a peer in if there is a place.
    fn enter(&self, incoming: Incoming) -> Option<(u64, Connection, Arc<Asked>)> {
        let mut table = lock(&self.0);
        let of_key = |peer: &&Peer| peer.connection.remote() == incoming.remote();
        if table.peers.values().filter(of_key).count() >= PEERS_OF_KEY_MAX {
            incoming.refuse(code::BUSY, "too many connections of this key");
            return None;
        }
        if table.peers.len() >= PEERS_MAX {
            let idlest = table.peers.iter().max_by_key(|(_, peer)| peer.asked.idle());
            let idlest = idlest.filter(|(_, peer)| peer.asked.idle() >= YIELDS).map(|(id, _)| *id);
            let Some(peer) = idlest.and_then(|id| table.peers.remove(&id)) else {
                incoming.refuse(code::BUSY, "too many connections");
                return None;
            };
            peer.connection.close(code::BUSY, "others wait");
        }
        table.last += 1;
        let id = table.last;
        let connection = incoming.accept();
        let asked = Arc::new(Asked { began: Instant::now(), last: AtomicU64::new(0) });
        table.peers.insert(id, Peer { connection: connection.clone(), asked: asked.clone() });
        Some((id, connection, asked))
    }

    fn leave(&self, id: u64) {
        lock(&self.0).peers.remove(&id);
    }
}

/// The store, for one peer: notes that it asks for something.
struct OfPeer {
    keeper: Arc<Keeper>,
    asked: Arc<Asked>,
}

impl FragmentStore for OfPeer {
    async fn present(&self, from: PublicKey, grant: SignedGrant) -> Result<Time, FragmentRefusal> {
        self.asked.now();
        self.keeper.present(from, grant).await
    }

    async fn put(
        &self,
        from: PublicKey,
        lease: LeaseId,
        fragment: Guid,
        bytes: Vec<u8>,
    ) -> Result<SignedReceipt, FragmentRefusal> {
        self.asked.now();
        self.keeper.put(from, lease, fragment, bytes).await
    }

    async fn read(
        &self,
        from: PublicKey,
        fragment: Guid,
        first: u32,
        count: u32,
    ) -> Result<Option<Piece>, FragmentRefusal> {
        self.asked.now();
        self.keeper.read(from, fragment, first, count).await
    }

    async fn has(
        &self,
        from: PublicKey,
        fragments: Vec<Guid>,
    ) -> Result<Vec<bool>, FragmentRefusal> {
        self.asked.now();
        self.keeper.has(from, fragments).await
    }

    async fn remove(
        &self,
        from: PublicKey,
        lease: LeaseId,
        fragments: Vec<Guid>,
    ) -> Result<u32, FragmentRefusal> {
        self.asked.now();
        self.keeper.remove(from, lease, fragments).await
    }

    async fn used(&self, from: PublicKey, lease: LeaseId) -> Result<Bytes, FragmentRefusal> {
        self.asked.now();
        self.keeper.used(from, lease).await
    }

    async fn set_head(
        &self,
        from: PublicKey,
        lease: LeaseId,
        head: SignedHead,
    ) -> Result<HeadSet, FragmentRefusal> {
        self.asked.now();
        self.keeper.set_head(from, lease, head).await
    }

    async fn head(
        &self,
        _: PublicKey,
        key: PublicKey,
    ) -> Result<Option<SignedHead>, FragmentRefusal> {
        self.asked.now();
        self.keeper.head(key).await
    }
}

/// Takes peers from the door until the endpoint is closed.
pub(super) async fn accept(keeper: Arc<Keeper>, mut callers: mpsc::Receiver<Incoming>) {
    let bytes = budget_bytes(&keeper.traffic);
    let mut budget = (bytes, FragmentBudget::new(bytes));
    while let Some(incoming) = callers.recv().await {
        let is_open = keeper.allowed.borrow().keeping.serves && keeper.packs.get().is_some();
        if !is_open {
            incoming.refuse(code::BUSY, "nothing is kept for others here now");
            continue;
        }
        let Some((id, connection, asked)) = keeper.peers.enter(incoming) else { continue };
        // Those who are in keep the memory that they have; the owner's rate has seldom changed.
        let bytes = budget_bytes(&keeper.traffic);
        if budget.0 != bytes {
            budget = (bytes, FragmentBudget::new(bytes));
        }
        let budget = budget.1.clone();
        let keeper = keeper.clone();
        tokio::spawn(async move {
            let store = Arc::new(OfPeer { keeper: keeper.clone(), asked: asked.clone() });
            let serving = serve_fragments(connection.clone(), store, budget);
            tokio::pin!(serving);
            loop {
                let rest = IDLE.saturating_sub(asked.idle());
                tokio::select! {
                    () = &mut serving => break,
                    () = tokio::time::sleep(rest), if !rest.is_zero() => {}
                    () = std::future::ready(()), if rest.is_zero() => {
                        connection.close(code::DONE, "nothing was asked for");
                        break;
                    }
                }
            }
            keeper.peers.leave(id);
        });
    }
}

fn budget_bytes(traffic: &Traffic) -> u64 {
    let worth = traffic.worth(BUDGET_TIME);
    worth.map_or(BUDGET_BYTES, |worth| worth.0.min(BUDGET_BYTES))
}
