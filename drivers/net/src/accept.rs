//! The door: which handshakes begin, and how many at once.
//!
//! Handshakes run here, each in its own task with a timeout, so that a slow caller delays nobody;
//! what comes out are peers with a proven key. Whether such a peer is welcome is not decided here.
//! Callers for whom there is no place yet wait in order, before any cryptography, as long as they
//! would still be there when it is their turn; the others are refused at once.

mod gate;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isos_base::key::PublicKey;
use isos_base::peers::PEERS_ALPN;
use isos_base::rate::Rate;
use isos_base::wire::HOST_ALPN;
use isos_base::{Span, Time};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::gate::{Caller, Gate, Verdict};

use crate::connection::{Connection, code};
use crate::limits;

/// A peer that has proven its key and waits to be let in. Dropping it closes the connection.
#[derive(Debug)]
pub struct Incoming {
    connection: Connection,
    _place: Place,
}

impl Incoming {
    /// The protocol it wants to speak: one of those that the endpoint accepts.
    #[must_use]
    pub fn alpn(&self) -> &[u8] {
        self.connection.alpn()
    }

    /// The peer's key.
    #[must_use]
    pub fn remote(&self) -> PublicKey {
        self.connection.remote()
    }

    /// Where it calls from; `None` when relayed.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.connection.remote_address()
    }

    /// Lets it in.
    #[must_use]
    pub fn accept(self) -> Connection {
        self.connection
    }

    /// Turns it away with a code and a reason for people.
    pub fn refuse(self, code: u32, reason: &str) {
        self.connection.close(code, reason);
    }
}

/// The gate, and when a place in it gets free.
#[derive(Debug)]
struct Entrance {
    begun: Instant,
    gate: Mutex<Gate>,
    freed: Notify,
}

impl Entrance {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::default() + Span::from_std(self.begun.elapsed())
    }
}

/// One of the handshakes in progress; free again when dropped.
#[derive(Debug)]
struct Place {
    entrance: Arc<Entrance>,
    caller: Caller,
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.entrance.now();
        self.entrance.gate().end(now, self.caller);
        self.entrance.freed.notify_one();
    }
}

/// A caller for whom there is no place yet.
struct Waiting {
    call: iroh::endpoint::Incoming,
    caller: Caller,
    /// When it is refused if its turn has not come.
    until: Instant,
}

/// Runs until the endpoint closes; the channel's end then tells that.
pub(crate) async fn run(
    endpoint: iroh::Endpoint,
    open: Arc<AtomicBool>,
    rate: Rate,
    welcome: mpsc::Sender<Incoming>,
) {
    let entrance = Arc::new(Entrance {
        begun: Instant::now(),
        gate: Mutex::new(Gate::new(rate)),
        freed: Notify::new(),
    });
    let held = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut handshakes = JoinSet::new();
    let mut waiting = VecDeque::<Waiting>::new();
    loop {
        let too_late = waiting.front().map(|first| first.until);
        let call = tokio::select! {
            call = endpoint.accept() => call,
            Some(_) = handshakes.join_next() => continue,
            () = entrance.freed.notified() => {
                while let Some(first) = waiting.pop_front_if(|_| entrance.gate().next()) {
                    let place = Place { entrance: entrance.clone(), caller: first.caller };
                    handshakes.spawn(greet(first.call, place, held.clone(), welcome.clone()));
                }
                continue;
            }
            () = sleep_until(too_late.unwrap_or_else(Instant::now)), if too_late.is_some() => {
                if let Some(first) = waiting.pop_front() {
                    tracing::debug!(caller = ?first.caller, "refused: no place got free for it");
                    entrance.gate().leave(first.caller);
                    first.call.refuse();
                }
                continue;
            }
        };
        let Some(call) = call else { break };
        if !open.load(Ordering::Relaxed) {
            call.refuse();
            continue;
        }
        let caller = Caller::of(&call.remote_addr());
        let (now, proven) = (entrance.now(), call.remote_addr_validated());
        let verdict = entrance.gate().judge(now, caller, proven);
        match verdict {
            Verdict::Begin => {
                let place = Place { entrance: entrance.clone(), caller };
                handshakes.spawn(greet(call, place, held.clone(), welcome.clone()));
            }
            Verdict::Wait => {
                let until = Instant::now() + limits::HANDSHAKE_WAIT_MAX;
                waiting.push_back(Waiting { call, caller, until });
            }
            Verdict::Prove => {
                if let Err(error) = call.retry() {
                    error.into_incoming().refuse();
                }
            }
            Verdict::Refuse => {
                tracing::debug!(?caller, "refused: too many handshakes");
                call.refuse();
            }
        }
    }
}

/// One handshake.
async fn greet(
    call: iroh::endpoint::Incoming,
    place: Place,
    held: Arc<Semaphore>,
    welcome: mpsc::Sender<Incoming>,
) {
    let connection = match timeout(limits::HANDSHAKE_TIMEOUT, call.into_future()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(caller = ?place.caller, %error, "handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(caller = ?place.caller, "handshake took too long");
            return;
        }
    };
    let Ok(permit) = held.try_acquire_owned() else {
        Connection::new(connection, None).close(code::BUSY, "too many connections");
        return;
    };
    let connection = Connection::new(connection, Some(permit));
    if connection.alpn() != HOST_ALPN && connection.alpn() != PEERS_ALPN {
        connection.widen();
    }
    // Waits while the shell is behind: the place stays taken, so that callers are refused.
    let _ = welcome.send(Incoming { connection, _place: place }).await;
}
