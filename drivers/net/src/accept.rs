//! The door: which handshakes begin, and how many at once.
//!
//! Handshakes run here, each in its own task with a timeout, so that a slow caller delays nobody;
//! what comes out are peers with a proven key. Whether such a peer is welcome is not decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use iroh::endpoint::IncomingAddr;
use isos_base::key::PublicKey;
use isos_base::rate::{Origin, Rate, Rates};
use isos_base::{Span, Time};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

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
    /// From an address, which can be forged and can be proven by a retry.
    Direct(Origin),
    /// A key that a relay vouches for.
    Relayed([u8; 32]),
    /// A kind of address that this version of the transport did not have.
    Other,
}

impl Caller {
    fn of(address: &IncomingAddr) -> Self {
        match address {
            IncomingAddr::Ip(address) => Self::Direct(Origin::of(Some(address.ip()))),
            IncomingAddr::Relay { endpoint_id, .. } => Self::Relayed(*endpoint_id.as_bytes()),
            _ => Self::Other,
        }
    }

    /// Who pays for its handshakes.
    fn origin(self) -> Origin {
        match self {
            Self::Direct(origin) => origin,
            Self::Relayed(_) | Self::Other => Origin::Relayed,
        }
    }
}

/// Handshakes in progress, and what addresses have had of them lately.
#[derive(Debug)]
struct Gate {
    total: usize,
    by_caller: BTreeMap<Caller, usize>,
    rates: Rates<Origin>,
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
    /// For at most so many handshakes from one address.
    fn new(Rate { per_second, burst }: Rate) -> Self {
        let times = Origin::RELAYED_TIMES;
        let rate = Rate { per_second: per_second * times, burst: burst * times };
        let rates = Rates::new(rate, limits::ADDRESSES_REMEMBERED_MAX);
        Self { total: 0, by_caller: BTreeMap::new(), rates }
    }

    /// What happens to a caller; the handshake that begins is counted.
    fn judge(&mut self, now: Time, caller: Caller, proven: bool) -> Verdict {
        let count = self.by_caller.get(&caller).copied().unwrap_or(0);
        let unproven = matches!(caller, Caller::Direct(_)) && !proven;
        let origin = caller.origin();
        if self.total >= limits::HANDSHAKES_MAX {
            return Verdict::Refuse;
        }
        if unproven
            && (self.total >= limits::HANDSHAKES_UNPROVEN_MAX
                || count >= limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX
                // Whoever forges an address must not use up what its owner may have.
                || self.rates.used(now, origin) >= 0.5)
        {
            return Verdict::Prove;
        }
        if count >= limits::ADDRESS_HANDSHAKES_MAX
            || self.rates.take(now, origin, origin.weight()).is_err()
        {
            return Verdict::Refuse;
        }
        self.total += 1;
        *self.by_caller.entry(caller).or_default() += 1;
        Verdict::Begin
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
pub(crate) async fn run(
    endpoint: iroh::Endpoint,
    accepts: bool,
    rate: Rate,
    welcome: mpsc::Sender<Incoming>,
) {
    let begun = Instant::now();
    let gate = Arc::new(Mutex::new(Gate::new(rate)));
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
        let now = Time::default() + Span::from_std(begun.elapsed());
        let proven = caller.remote_addr_validated();
        let verdict =
            gate.lock().unwrap_or_else(PoisonError::into_inner).judge(now, origin, proven);
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

    const NOW: Time = Time(1_000_000);

    fn gate() -> Gate {
        Gate::new(Rate::UNLIMITED)
    }

    fn at(number: u32) -> Caller {
        Caller::Direct(Origin::V4(number.to_be_bytes()))
    }

    #[test]
    fn a_forger_cannot_keep_others_out_of_the_gate() {
        let (mut gate, forged, other) = (gate(), at(1), at(2));
        for _ in 0..limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX {
            assert_eq!(gate.judge(NOW, forged, false), Verdict::Begin);
        }
        assert_eq!(gate.judge(NOW, forged, false), Verdict::Prove);
        assert_eq!(gate.judge(NOW, other, false), Verdict::Begin);
        gate.end(other);
        for _ in limits::ADDRESS_HANDSHAKES_UNPROVEN_MAX..limits::ADDRESS_HANDSHAKES_MAX {
            assert_eq!(gate.judge(NOW, forged, true), Verdict::Begin);
        }
        assert_eq!(gate.judge(NOW, forged, true), Verdict::Refuse);
        for _ in 0..limits::ADDRESS_HANDSHAKES_MAX {
            gate.end(forged);
        }
        assert_eq!((gate.total, gate.by_caller.len()), (0, 0));
    }

    #[test]
    fn a_full_gate_refuses_and_a_half_full_one_wants_proof() {
        let mut gate = gate();
        for n in 0..limits::HANDSHAKES_MAX as u32 {
            if n as usize >= limits::HANDSHAKES_UNPROVEN_MAX {
                assert_eq!(gate.judge(NOW, at(n), false), Verdict::Prove);
            }
            assert_eq!(gate.judge(NOW, at(n), true), Verdict::Begin);
        }
        assert_eq!(gate.judge(NOW, Caller::Relayed([1; 32]), true), Verdict::Refuse);
    }

    #[test]
    fn an_address_that_dials_without_end_is_refused_and_may_again_later() {
        let mut gate = Gate::new(Rate { per_second: 2, burst: 10 });
        let mut dial = |now, caller, proven| {
            let verdict = gate.judge(now, caller, proven);
            if verdict == Verdict::Begin {
                gate.end(caller);
            }
            verdict
        };
        for _ in 0..5 {
            assert_eq!(dial(NOW, at(1), false), Verdict::Begin);
        }
        // The second half is for those who prove that it is theirs.
        assert_eq!(dial(NOW, at(1), false), Verdict::Prove);
        for _ in 0..5 {
            assert_eq!(dial(NOW, at(1), true), Verdict::Begin);
        }
        assert_eq!(dial(NOW, at(1), true), Verdict::Refuse);
        assert_eq!(dial(NOW, at(2), false), Verdict::Begin, "others are unharmed");
        assert_eq!(dial(NOW + Span::secs(1), at(1), true), Verdict::Begin);
        // A new key behind a relay costs nothing: all keys together have a limit.
        let mut begun = 0;
        while dial(NOW, Caller::Relayed([begun; 32]), true) == Verdict::Begin {
            begun += 1;
        }
        assert_eq!(u64::from(begun), 10 * Origin::RELAYED_TIMES);
    }

    #[test]
    fn a_v6_network_is_one_caller() {
        let of = |text: &str| Caller::of(&IncomingAddr::Ip(text.parse().unwrap()));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8:0:ff::ffff:2]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:100::1]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:9"));
    }
}
