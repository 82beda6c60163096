//! The door: which handshakes begin, and how many at once.
//!
//! Handshakes run here, each in its own task with a timeout, so that a slow caller delays nobody;
//! what comes out are peers with a proven key. Whether such a peer is welcome is not decided here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use iroh::endpoint::IncomingAddr;
use isos_base::key::PublicKey;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

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

/// Who calls, as far as it is known before the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    V4([u8; 4]),
    /// The upper half: one household or one machine owns the lower.
    V6([u8; 8]),
    /// A key that a relay vouches for.
    Relayed([u8; 32]),
    /// A kind of address that this version of the transport did not have.
    Other,
}

impl Caller {
    fn of(address: &IncomingAddr) -> Self {
        match address {
            IncomingAddr::Ip(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => Self::V4(ip.octets()),
                IpAddr::V6(ip) => {
                    let mut block = [0; 8];
                    block.copy_from_slice(&ip.octets()[..8]);
                    Self::V6(block)
                }
            },
            IncomingAddr::Relay { endpoint_id, .. } => Self::Relayed(*endpoint_id.as_bytes()),
            _ => Self::Other,
        }
    }

    /// Whether its address can be forged and can be proven by a retry.
    fn is_direct(self) -> bool {
        matches!(self, Self::V4(_) | Self::V6(_))
    }
}

/// Handshakes in progress.
#[derive(Debug, Default)]
struct Gate {
    total: usize,
    by_caller: BTreeMap<Caller, usize>,
}

/// What happens to a caller.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The handshake begins.
    Begin,
    /// First it must show that packets to its address reach it.
    Prove,
    /// Too many.
    Refuse,
}

impl Gate {
    fn judge(&self, caller: Caller, proven: bool) -> Verdict {
        let count = self.by_caller.get(&caller).copied().unwrap_or(0);
        let unproven = caller.is_direct() && !proven;
        if self.total >= limits::HANDSHAKES_MAX {
            Verdict::Refuse
        } else if unproven
            && (self.total >= limits::HANDSHAKES_UNPROVEN_MAX
                || count >= limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX)
        {
            Verdict::Prove
        } else if count >= limits::ADDRESS_HANDSHAKES_MAX {
            Verdict::Refuse
        } else {
            Verdict::Begin
        }
    }

    fn begin(&mut self, caller: Caller) {
        self.total += 1;
        *self.by_caller.entry(caller).or_default() += 1;
    }

    fn end(&mut self, caller: Caller) {
        self.total -= 1;
        if let Some(count) = self.by_caller.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                self.by_caller.remove(&caller);
            }
        }
    }
}

/// One of the handshakes in progress; free again when dropped.
#[derive(Debug)]
struct Place {
    gate: Arc<Mutex<Gate>>,
    caller: Caller,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).end(self.caller);
    }
}

/// Runs until the endpoint closes; the channel's end then tells that.
pub(crate) async fn run(endpoint: iroh::Endpoint, accepts: bool, welcome: mpsc::Sender<Incoming>) {
    let gate = Arc::new(Mutex::new(Gate::default()));
    let held = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut handshakes = JoinSet::new();
    loop {
        let caller = tokio::select! {
            caller = endpoint.accept() => caller,
            Some(_) = handshakes.join_next() => continue,
        };
        let Some(caller) = caller else { break };
        if !accepts {
            caller.refuse();
            continue;
        }
        let origin = Caller::of(&caller.remote_addr());
        let verdict = {
            let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            let verdict = gate.judge(origin, caller.remote_addr_validated());
            if verdict == Verdict::Begin {
                gate.begin(origin);
            }
            verdict
        };
        match verdict {
            Verdict::Begin => {}
            Verdict::Prove => {
                if let Err(error) = caller.retry() {
                    error.into_incoming().refuse();
                }
                continue;
            }
            Verdict::Refuse => {
                tracing::debug!(?origin, "refused: too many handshakes");
                caller.refuse();
                continue;
            }
        }
        let place = Place { gate: gate.clone(), caller: origin };
        handshakes.spawn(greet(caller, place, held.clone(), welcome.clone()));
    }
}

/// One handshake.
async fn greet(
    caller: iroh::endpoint::Incoming,
    place: Place,
    held: Arc<Semaphore>,
    welcome: mpsc::Sender<Incoming>,
) {
    let connection = match timeout(limits::HANDSHAKE_TIMEOUT, caller.into_future()).await {
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
    // Waits while the shell is behind: the place stays taken, so that callers are refused.
    let _ = welcome.send(Incoming { connection, _place: place }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forger_cannot_keep_others_out_of_the_gate() {
        let mut gate = Gate::default();
        let (forged, other) = (Caller::V4([192, 0, 2, 1]), Caller::V4([192, 0, 2, 2]));
        for _ in 0..limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX {
            assert_eq!(gate.judge(forged, false), Verdict::Begin);
            gate.begin(forged);
        }
        assert_eq!(gate.judge(forged, false), Verdict::Prove);
        assert_eq!(gate.judge(forged, true), Verdict::Begin);
        assert_eq!(gate.judge(other, false), Verdict::Begin);
        for _ in limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX..limits::ADDRESS_HANDSHAKES_MAX {
            gate.begin(forged);
        }
        assert_eq!(gate.judge(forged, true), Verdict::Refuse);
        for _ in 0..limits::ADDRESS_HANDSHAKES_MAX {
            gate.end(forged);
        }
        assert_eq!((gate.total, gate.by_caller.len()), (0, 0));
    }

    #[test]
    fn a_full_gate_refuses_and_a_half_full_one_wants_proof() {
        let mut gate = Gate::default();
        for n in 0..limits::HANDSHAKES_MAX {
            let caller = Caller::V4((n as u32).to_be_bytes());
            let wanted = n < limits::HANDSHAKES_UNPROVEN_MAX;
            assert_eq!(gate.judge(caller, false) == Verdict::Begin, wanted);
            assert_eq!(gate.judge(caller, true), Verdict::Begin);
            gate.begin(caller);
        }
        assert_eq!(gate.judge(Caller::Relayed([1; 32]), true), Verdict::Refuse);
    }

    #[test]
    fn a_v6_network_is_one_caller() {
        let of = |text: &str| Caller::of(&IncomingAddr::Ip(text.parse().unwrap()));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:9"));
    }
}
