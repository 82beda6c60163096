//! Programs on this host that address other ranks of their slice: their machines, who may call
//! them, and the way to their peers.
//!
//! A program has a [`Party`] for as long as its chamber is open. `talk` runs its machine, `line`
//! carries what it says and hears. Who the peers are says the complex; callers are let in whose key
//! is one of them, and nobody else.

mod line;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isos_base::key::PublicKey;
use isos_base::peers::{
    Answer, Ask, PEERS_ALPN, Peers as PeersTold, Place, REACH_ADDRESSES_MAX, Reach,
};
use isos_base::{HostId, JobId};
use isos_net::{Incoming, code};
use isos_peers::LineId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::door::Door;
use crate::traffic::Traffic;
use talk::{Message, Task};

/// What waits for a machine: who has more to say waits, and with it the connection it came by.
const MESSAGES_MAX: usize = 64;
/// Connections of one key: one for each job that two hosts have in common, and one that has failed.
const OF_KEY_MAX: u32 = 8;
/// Connections of all: 256 hosts of a slice, and some such slices. About 100 KiB each, and a window
/// of 512 KiB if a peer sends and we do not read.
const CALLERS_MAX: usize = 1_024;
/// What a program said last is waited for so long at the most: who has not heard it is gone by
/// then.
const FLUSH_MAX: Duration = Duration::from_secs(75);

/// All of them.
pub(crate) struct Peers {
    door: Arc<Door>,
    traffic: Arc<Traffic>,
    own: HostId,
    /// Whether the owner lets other hosts be spoken with now.
    allowed: watch::Sender<bool>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    talks: BTreeMap<JobId, Talking>,
    callers: BTreeMap<PublicKey, u32>,
    last_line: u64,
}

/// A program that addresses its peers.
struct Talking {
    run: u64,
    messages: mpsc::Sender<Message>,
    /// Who may call.
    hosts: BTreeSet<HostId>,
}

/// One program's place in it; dropping it ends what it says and hears.
pub(crate) struct Party {
    peers: Arc<Peers>,
    job: JobId,
    run: u64,
    messages: mpsc::Sender<Message>,
    answers: mpsc::UnboundedReceiver<Answer>,
    task: AbortHandle,
}

impl Peers {
    pub(crate) fn new(own: HostId, door: Arc<Door>, traffic: Arc<Traffic>) -> Arc<Self> {
        let allowed = watch::channel(false).0;
        Arc::new(Self { door, traffic, own, allowed, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change is whole before its guard is given back.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the owner lets other hosts be spoken with. What is under way waits.
    pub(crate) fn allow(&self, allowed: bool) {
        self.allowed.send_if_modified(|known| std::mem::replace(known, allowed) != allowed);
        self.open_door(&self.table());
    }

    fn open_door(&self, table: &Table) {
        self.door.set_open(PEERS_ALPN, *self.allowed.borrow() && !table.talks.is_empty());
    }

    /// A program of so many ranks is ready to begin.
    pub(crate) fn join(self: &Arc<Self>, job: JobId, size: u32) -> Party {
        let run = getrandom::u64().unwrap_or_default();
        let (messages, inbox) = mpsc::channel(MESSAGES_MAX);
        let (say, answers) = mpsc::unbounded_channel();
        let task = Task::new(self.clone(), (job, size, run), messages.clone(), say);
        let task = tokio::spawn(task.run(inbox)).abort_handle();
        let talking = Talking { run, messages: messages.clone(), hosts: BTreeSet::new() };
        let mut table = self.table();
        table.talks.insert(job, talking);
        self.open_door(&table);
        drop(table);
        Party { peers: self.clone(), job, run, messages, answers, task }
    }

    /// The complex says who the peers of a job are.
    pub(crate) async fn told(&self, peers: &PeersTold) {
        let messages = {
            let mut table = self.table();
            let Some(talking) = table.talks.get_mut(&peers.job) else { return };
            for peer in &peers.peers {
                match &peer.place {
                    Some(_) => talking.hosts.insert(peer.host),
                    None => talking.hosts.remove(&peer.host),
                };
            }
            talking.messages.clone()
        };
        let _ = messages.send(Message::Told(peers.clone())).await;
    }

    /// Takes callers from the door until it is closed.
    pub(crate) async fn accept(self: Arc<Self>) {
        let mut callers = self.door.callers(PEERS_ALPN);
        while let Some(incoming) = callers.recv().await {
            let Some(line) = self.enter(&incoming) else {
                incoming.refuse(code::REFUSED, "no program here has this peer");
                continue;
            };
            let peers = self.clone();
            let key = incoming.remote();
            tokio::spawn(async move {
                line::heard(&peers, incoming.accept(), line).await;
                peers.leave(key);
            });
        }
    }

    /// Lets a caller in whose key is that of a peer, if there is a place.
    fn enter(&self, incoming: &Incoming) -> Option<LineId> {
        let mut table = self.table();
        let key = incoming.remote();
        let is_peer = table.talks.values().any(|it| it.hosts.contains(&HostId(key)));
        let of_key = table.callers.get(&key).copied().unwrap_or(0);
        let all: u32 = table.callers.values().sum();
        if !is_peer || of_key >= OF_KEY_MAX || all as usize >= CALLERS_MAX {
            return None;
        }
        table.callers.insert(key, of_key + 1);
        table.last_line += 1;
        Some(LineId(table.last_line))
    }

    fn leave(&self, key: PublicKey) {
        let mut table = self.table();
        if let Some(of_key) = table.callers.get_mut(&key) {
            *of_key -= 1;
            if *of_key == 0 {
                table.callers.remove(&key);
            }
        }
    }

    /// The machine of a job's program.
    fn talk_of(&self, job: JobId) -> Option<mpsc::Sender<Message>> {
        self.table().talks.get(&job).map(|talking| talking.messages.clone())
    }
}

impl Party {
    /// What the complex is told: that the program is ready, and where its peers can call.
    pub(crate) fn reach(&self) -> Reach {
        let endpoint = self.peers.door.endpoint();
        let mut addresses = endpoint.addresses();
        addresses.truncate(REACH_ADDRESSES_MAX);
        let place = Place { addresses, relay: endpoint.relay(), run: self.run };
        Reach { job: self.job, place, begun: false }
    }

    /// The program asks for something; it waits for the answer.
    pub(crate) async fn ask(&self, ask: Ask) {
        let _ = self.messages.send(Message::Asked(ask)).await;
    }

    /// The program has ended: waits until its last messages are where they should be.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.messages.send(Message::Over(done)).await.is_ok() {
            let _ = tokio::time::timeout(FLUSH_MAX, flushed).await;
        }
    }
}

/// The next answer for a program that asks its peers. Loses nothing when it is cancelled.
pub(crate) async fn answer_of(party: &mut Option<Party>) -> Option<Answer> {
    match party {
        Some(party) => party.answers.recv().await,
        None => std::future::pending().await,
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.task.abort();
        let mut table = self.peers.table();
        // Another run may have its place already.
        if table.talks.get(&self.job).is_some_and(|talking| talking.run == self.run) {
            table.talks.remove(&self.job);
        }
        self.peers.open_door(&table);
    }
}
