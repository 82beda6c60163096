//! The door: who calls this host, and to whom in here a caller is shown. Only this file lets
//! connections in.
//!
//! Each protocol is somebody's, who opens and closes its own part; the socket answers while any is
//! open. What a caller may then do is for whoever takes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isos_net::{Endpoint, Incoming, code};
use tokio::sync::mpsc;

/// Callers that wait to be taken, of one protocol.
const WAITING_MAX: usize = 16;

/// The door of a host.
#[derive(Debug)]
pub(crate) struct Door {
    endpoint: Endpoint,
    rooms: Mutex<BTreeMap<&'static [u8], Room>>,
}

#[derive(Debug)]
struct Room {
    callers: mpsc::Sender<Incoming>,
    open: bool,
}

impl Door {
    /// A door that is closed. `run` must run for anybody to be let in.
    pub(crate) fn new(endpoint: Endpoint) -> Arc<Self> {
        endpoint.set_open(false);
        Arc::new(Self { endpoint, rooms: Mutex::default() })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<&'static [u8], Room>> {
        // Each change is whole before its guard is given back.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who call for this protocol, from now on.
    pub(crate) fn callers(&self, alpn: &'static [u8]) -> mpsc::Receiver<Incoming> {
        let (callers, called) = mpsc::channel(WAITING_MAX);
        let mut rooms = self.rooms();
        let open = rooms.get(alpn).is_some_and(|room| room.open);
        rooms.insert(alpn, Room { callers, open });
        called
    }

    /// Lets callers of this protocol in, or not any more. Those who are in stay.
    pub(crate) fn set_open(&self, alpn: &'static [u8], open: bool) {
        let mut rooms = self.rooms();
        let room = rooms.entry(alpn);
        // Whoever takes callers may come later.
        room.or_insert_with(|| Room { callers: mpsc::channel(1).0, open }).open = open;
        self.endpoint.set_open(rooms.values().any(|room| room.open));
    }

    /// Shows callers in until the endpoint is closed.
    pub(crate) async fn run(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let room = {
                let rooms = self.rooms();
                let room = rooms.get(incoming.alpn()).filter(|room| room.open);
                room.map(|room| room.callers.clone())
            };
            let Some(callers) = room else {
                incoming.refuse(code::BUSY, "nobody is let in for that now");
                continue;
            };
            if let Err(full) = callers.try_send(incoming) {
                let (mpsc::error::TrySendError::Full(caller)
                | mpsc::error::TrySendError::Closed(caller)) = full;
                caller.refuse(code::BUSY, "too many callers");
            }
        }
        // Nobody calls any more: whoever takes callers hears that.
        self.rooms().clear();
    }
}
