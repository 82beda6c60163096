//! One session with the complex: frames both ways over one stream.

use std::sync::Arc;

use isos_base::wire::{HOST_ALPN, ToComplex, ToHost};
use isos_kernel::host::{Input, SessionId};
use isos_net::{FrameReceiver, FrameSender, PeerAddr, code};
use tokio::sync::{Notify, mpsc};

use crate::Shared;
use crate::core::Core;
use crate::servers::add_relay;

/// Frames sent in one write.
const FRAMES_AT_ONCE: usize = 64;

/// Connects, and carries frames until one side ends it.
pub(crate) async fn run(
    shared: Arc<Shared>,
    core: Core,
    session: SessionId,
    outbox: mpsc::UnboundedReceiver<ToComplex>,
) {
    let why = match connected(&shared, &core, session, outbox).await {
        Ok(why) | Err(why) => why,
    };
    core.input(Input::Disconnected { session, why }).await;
}

async fn connected(
    shared: &Shared,
    core: &Core,
    session: SessionId,
    outbox: mpsc::UnboundedReceiver<ToComplex>,
) -> Result<String, String> {
    let connect = shared.servers.connect(&shared.endpoint, HOST_ALPN).await;
    let (peer, connection) = connect.map_err(|error| error.to_string())?;
    let stream = connection.open().await.map_err(|error| error.to_string())?;
    core.input(Input::Connected { session }).await;
    let welcomed = Notify::new();
    let why = tokio::select! {
        why = listen(shared, core, session, (&peer, &welcomed), stream.receiver) => why,
        why = talk(stream.sender, outbox) => why,
        () = describe(shared, core, session, &welcomed) => "the agent stops".into(),
    };
    shared.objects.session_ended(session);
    connection.close(code::DONE, "bye");
    Ok(why)
}

/// Lets the complex hear how this host describes itself, whenever that is worth it after it has
/// heard so once. Whoever says so before the welcome is hung up on.
async fn describe(shared: &Shared, core: &Core, session: SessionId, welcomed: &Notify) {
    welcomed.notified().await;
    let mut described = shared.cloud.described();
    described.mark_unchanged();
    while described.changed().await.is_ok() {
        let own = described.borrow_and_update().clone();
        if let Some(own) = own {
            let frame = ToComplex::Described(Box::new((*own).clone()));
            core.say(session, frame).await;
        }
    }
}

async fn listen(
    shared: &Shared,
    core: &Core,
    session: SessionId,
    (peer, welcomed): (&PeerAddr, &Notify),
    mut receiver: FrameReceiver,
) -> String {
    loop {
        match receiver.recv::<ToHost>().await {
            Ok(Some(frame)) => {
                match frame {
                    ToHost::Servers(servers) => {
                        if shared.servers.told(&shared.home, servers) {
                            for relay in shared.servers.relays() {
                                add_relay(&shared.endpoint, &relay).await;
                            }
                        }
                        continue;
                    }
                    // Objects are for members, and where the session is.
                    ToHost::Welcome { .. } => {
                        shared.objects.session_began(session, peer.clone());
                        if let Some(own) = shared.cloud.describe().await {
                            core.say(session, ToComplex::Described(Box::new(own))).await;
                        }
                        welcomed.notify_one();
                    }
                    ToHost::Introduced(introduction) => {
                        shared.cloud.introduced(*introduction).await;
                        continue;
                    }
                    // Before the machine lets the program begin that asks for them.
                    ToHost::Peers(ref peers) => shared.peers.told(peers).await,
                    _ => {}
                }
                shared.tracer.frame(&frame);
                core.input(Input::FrameArrived { session, frame }).await;
            }
            Ok(None) => return "the complex ended the session".into(),
            Err(error) => return error.to_string(),
        }
    }
}

/// Writes frames until the machine drops the session; then what was written is delivered first.
async fn talk(mut sender: FrameSender, mut outbox: mpsc::UnboundedReceiver<ToComplex>) -> String {
    /// The complex has this long to take the last frame.
    const LAST_FRAME: std::time::Duration = std::time::Duration::from_secs(2);
    let mut frames = Vec::new();
    while outbox.recv_many(&mut frames, FRAMES_AT_ONCE).await > 0 {
        if let Err(error) = sender.send_all(&frames).await {
            return error.to_string();
        }
        frames.clear();
    }
    let last = async {
        sender.finish().await?;
        sender.delivered().await
    };
    let _ = tokio::time::timeout(LAST_FRAME, last).await;
    "closed".into()
}
