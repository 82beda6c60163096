//! Connections between ranks: one carries what one of them says, and how far the other is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use isos_base::peers::{Greeting, Place, Said};
use isos_base::{Bytes, HostId};
use isos_net::{Connection, PeerAddr, call_peer, code, hear_peer};
use isos_peers::{CallId, Input, LineId};
use tokio::sync::{mpsc, oneshot};

use super::Peers;
use super::talk::{Message, Welcome};
use crate::traffic::Way;

/// How often it is looked again whether the owner's cap leaves room.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// What a frame takes beside its message.
const FRAME_BYTES: u64 = 64;

/// Who is called.
pub(super) struct To {
    pub(super) rank: u32,
    pub(super) call: CallId,
    pub(super) host: HostId,
    pub(super) place: Place,
    pub(super) greeting: Greeting,
}

/// Calls a rank, and says to it what there is to say, until one side ends that.
pub(super) async fn call(
    peers: Arc<Peers>,
    machine: mpsc::Sender<Message>,
    to: To,
    said: mpsc::UnboundedReceiver<Said>,
) {
    let (rank, call) = (to.rank, to.call);
    if let Err(why) = called(&peers, &machine, to, said).await {
        tracing::debug!("rank {rank} is not reached: {why}");
    }
    let _ = machine.send(Message::Input(Input::CallEnded { rank, call })).await;
}

async fn called(
    peers: &Peers,
    machine: &mpsc::Sender<Message>,
    to: To,
    mut said: mpsc::UnboundedReceiver<Said>,
) -> Result<(), String> {
    let To { rank, call, host, place, greeting } = to;
    let address = PeerAddr { key: host.0, addresses: place.addresses, relay: place.relay };
    moves(peers, Way::Up, 0).await;
    let reached = call_peer(peers.door.endpoint(), &address, greeting).await;
    let (line, hearing) = reached.map_err(|error| isos_base::causes::report(&error))?;
    // What was given to the connection: nobody has heard more, whatever he says. So what waits here
    // is no more than the window of the pair.
    let given = AtomicU64::new(hearing.heard);
    let _ = machine.send(Message::Input(Input::Reached { rank, call, hearing })).await;
    let (mut sender, mut receiver) = (line.sender, line.receiver);
    let says = async {
        while let Some(said) = said.recv().await {
            moves(peers, Way::Up, said.message.len()).await;
            given.store(said.number, Ordering::Relaxed);
            sender.send(&said).await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    };
    let hears = async {
        while let Some(hearing) = receiver.recv().await.map_err(|error| error.to_string())? {
            if hearing.heard > given.load(Ordering::Relaxed) {
                return Err("it says that it has heard what was not said yet".into());
            }
            moves(peers, Way::Down, 0).await;
            let _ = machine.send(Message::Input(Input::Heard { rank, call, hearing })).await;
        }
        Ok(())
    };
    tokio::select! {
        ended = says => ended,
        ended = hears => ended,
    }
}

/// Hears a caller, if it is a rank that this one has not given up, until one side ends that.
pub(super) async fn heard(peers: &Peers, connection: Connection, line: LineId) {
    let host = HostId(connection.remote());
    let Ok((caller, greeting)) = hear_peer(connection.clone()).await else {
        return connection.close(code::BAD_FRAME, "no greeting came");
    };
    let refuse = || connection.close(code::REFUSED, "no such rank is expected here");
    let Some(machine) = peers.talk_of(greeting.job) else { return refuse() };
    let (answer, answered) = oneshot::channel();
    let _ = machine.send(Message::Called { host, greeting, line, answer }).await;
    let Ok(Welcome { rank, mut hearing }) = answered.await else { return refuse() };
    let (mut sender, mut receiver) = (caller.sender, caller.receiver);
    let tells = async {
        loop {
            let now = *hearing.borrow_and_update();
            moves(peers, Way::Up, 0).await;
            // Whoever ends the watch ends this line.
            if sender.send(&now).await.is_err() || hearing.changed().await.is_err() {
                return;
            }
        }
    };
    let hears = async {
        while let Ok(Some(Said { number, message })) = receiver.recv().await {
            moves(peers, Way::Down, message.len()).await;
            let arrived = Input::Arrived { rank, line, number, message };
            if machine.send(Message::Input(arrived)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = tells => {}
        () = hears => {}
    }
    connection.close(code::DONE, "bye");
    let _ = machine.send(Message::Input(Input::LineEnded { rank, line })).await;
}

/// Counts what goes one way, and waits until it may: as the owner's rate, caps and quiet want it.
/// Meanwhile nothing more is read or written, so whoever sends waits as well.
async fn moves(peers: &Peers, way: Way, bytes: usize) {
    let mut allowed = peers.allowed.subscribe();
    let _ = allowed.wait_for(|allowed| *allowed).await;
    let size = Bytes(bytes as u64 + FRAME_BYTES);
    while !peers.traffic.has_room(size) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    tokio::time::sleep(peers.traffic.moves(way, size)).await;
}
