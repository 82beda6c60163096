//! Sessions of hosts: frames in, frames out, over one authenticated QUIC stream.

use std::sync::Arc;
use std::time::Duration;

use isos_base::HostId;
use isos_base::capability::Right;
use isos_base::wire::{API_ALPN, HOST_ALPN, Hello, OBJECT_ALPN, ToComplex, ToHost};
use isos_kernel::complex::{Input, SessionId};
use isos_net::{Connection, FrameReceiver, Incoming, code};
use tokio::sync::mpsc;

use crate::clock;
use crate::http;
use crate::objects::Admitted;
use crate::server::Shared;

/// A caller has this long to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections served at once; the next is refused politely.
const CONNECTIONS_MAX: usize = 50_000;

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(shared: Arc<Shared>) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            incoming.refuse(code::BUSY, "too many connections: try again in a minute");
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            serve(shared, incoming).await;
            drop(place);
        });
    }
}

async fn serve(shared: Arc<Shared>, incoming: Incoming) {
    match incoming.alpn().to_vec().as_slice() {
        HOST_ALPN => host(shared, incoming.accept()).await,
        OBJECT_ALPN => objects(shared, incoming).await,
        API_ALPN => http::serve_quic(shared, incoming.accept()).await,
        _ => incoming.refuse(code::BAD_FRAME, "no such protocol"),
    }
}

/// Objects are for hosts that are members: those with a session.
async fn objects(shared: Arc<Shared>, incoming: Incoming) {
    if !shared.admitted.contains(incoming.remote()) {
        incoming.refuse(code::REFUSED, "say hello on isos/host/1 first");
        return;
    }
    isos_net::serve_objects(incoming.accept(), shared.store.clone()).await;
}

async fn host(shared: Arc<Shared>, connection: Connection) {
    let host = HostId(connection.remote());
    let opening = async {
        let mut stream = connection.accept().await?;
        match stream.receiver.recv::<ToComplex>().await {
            Ok(Some(ToComplex::Hello(hello))) => Some((stream, hello)),
            _ => None,
        }
    };
    let Ok(Some((stream, hello))) = tokio::time::timeout(HELLO_TIMEOUT, opening).await else {
        connection.close(code::BAD_FRAME, "the first frame must be a hello");
        return;
    };
    let (session, outbox) = shared.core.open_session();
    came(&shared, host, session, &connection, hello).await;
    let talk = tokio::spawn(talk(shared.clone(), stream.sender, outbox, connection.clone()));
    listen(&shared, session, stream.receiver, &connection).await;
    shared.core.close_session(session);
    shared.core.input(Input::HostWent { session }).await;
    let _ = talk.await;
}

async fn came(
    shared: &Shared,
    host: HostId,
    session: SessionId,
    connection: &Connection,
    hello: Box<Hello>,
) {
    let admission = hello.token.as_ref().map(|token| {
        let holder = shared.tokens.check(token, clock::now()).map_err(|error| error.to_string())?;
        match holder.may(Right::Join) {
            true => Ok(holder.account),
            false => Err("its token does not have the right \"join\"".to_owned()),
        }
    });
    let address = connection.remote_address().map(|address| address.ip());
    shared.core.input(Input::HostCame { host, session, address, hello, admission }).await;
}

/// Reads frames until the host goes, errs, or is closed.
async fn listen(
    shared: &Shared,
    session: SessionId,
    mut receiver: FrameReceiver,
    connection: &Connection,
) {
    loop {
        match receiver.recv::<ToComplex>().await {
            Ok(Some(frame)) => {
                shared.counters.frames_in();
                shared.core.input(Input::HostSaid { session, frame }).await;
            }
            Ok(None) => return,
            Err(error) => {
                let who = connection.remote();
                tracing::debug!(host = %HostId(who).short(), "session ended: {error}");
                connection.close(code::BAD_FRAME, &error.to_string());
                return;
            }
        }
    }
}

/// Writes frames until the machine closes the session.
async fn talk(
    shared: Arc<Shared>,
    mut sender: isos_net::FrameSender,
    mut outbox: mpsc::Receiver<ToHost>,
    connection: Connection,
) {
    /// A host has this long to take the last frame before the connection is dropped.
    const LAST_FRAME: Duration = Duration::from_secs(2);
    let mut frames = Vec::new();
    // Who was welcomed may move objects, for as long as the session lasts.
    let mut member = None;
    while outbox.recv_many(&mut frames, 64).await > 0 {
        if frames.iter().any(|frame| matches!(frame, ToHost::Welcome { .. })) {
            member = Some(Admitted::enter(&shared.admitted, connection.remote()));
        }
        if sender.send_all(&frames).await.is_err() {
            return;
        }
        frames.clear();
    }
    drop(member);
    let last = async {
        sender.finish().await?;
        sender.delivered().await
    };
    let _ = tokio::time::timeout(LAST_FRAME, last).await;
    connection.close(code::DONE, "bye");
}
