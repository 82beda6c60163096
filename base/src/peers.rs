//! Programs of one slice that address each other: what the complex says of them, and
//! `isos/peers/1`, by which their hosts carry what they say.
//!
//! The complex tells each host of a job who its peers are and where, by [`Peers`]; it carries none
//! of what they say. A host that has something for another one calls it, opens one stream, and
//! greets by [`Greeting`]; the other answers by [`Hearing`], and again whenever more has come or
//! was taken. A stream carries one direction of one pair, so two hosts that speak with each other
//! have two. How it is designed: docs/internals/peers.md.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{HostId, JobId};
use crate::time::Time;
use crate::units::Bytes;

/// The protocol between hosts whose programs address each other.
pub const PEERS_ALPN: &[u8] = b"isos/peers/1";
/// What a program imports to address others.
pub const PEERS_INTERFACE: &str = "isos:host/peers";

/// Bytes of one message: larger things are objects.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// What a message takes besides its bytes, so that a flood of empty ones is one.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 64;
/// Messages of one rank to another that were not received.
pub const PAIR_BYTES_MAX: Bytes = Bytes::mib(1);
/// Those of all ranks to one task. Each of them has its part of it and no more, so that nobody's
/// messages wait behind those of another.
pub const TASK_BYTES_MAX: Bytes = Bytes::mib(16);
/// A frame of the protocol: a message and some numbers.
pub const PEERS_FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64;
/// Addresses of one host.
pub const REACH_ADDRESSES_MAX: usize = 8;
/// Characters of a relay's name.
pub const REACH_RELAY_CHARS_MAX: usize = 256;

/// How many bytes a rank may have on their way to another one, in a job of so many: at least one
/// message of any size is always allowed.
#[must_use]
pub fn window(size: u32) -> u64 {
    let others = u64::from(size.saturating_sub(1).max(1));
    (TASK_BYTES_MAX.0 / others).min(PAIR_BYTES_MAX.0)
}

/// What a message of so many bytes takes of a window.
#[must_use]
pub const fn weight(bytes: usize) -> u64 {
    bytes as u64 + MESSAGE_OVERHEAD_BYTES
}

/// Where a host can be called for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// As it says itself, at most [`REACH_ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// Its relay.
    pub relay: Option<String>,
    /// Which run of the program it is: what another run has heard, this one has not.
    pub run: u64,
}

/// The program of a job is ready to begin on a host and will address its peers, or has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The job.
    pub job: JobId,
    /// Where its peers can call.
    pub place: Place,
    /// Whether it has been told of its peers, and may have spoken with them.
    pub begun: bool,
}

/// One of the ranks of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its rank.
    pub rank: u32,
    /// Its host: a connection from any other key is not from this rank.
    pub host: HostId,
    /// Where it can be called; nothing once it is gone.
    pub place: Option<Place>,
}

/// Who the ranks of a job are: of those that are not named nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// The job.
    pub job: JobId,
    /// Its leases are good until then from now on: their tasks have waited for each other.
    pub until: Option<Time>,
    /// By rank.
    pub peers: Vec<Peer>,
}

/// First frame of whoever calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The job.
    pub job: JobId,
    /// The caller's rank, which must be that of its key.
    pub from: u32,
    /// Which run of the program calls.
    pub from_run: u64,
    /// The rank that is called.
    pub to: u32,
    /// Which run of it is meant.
    pub to_run: u64,
}

/// What follows: a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Counts up by one from 1, over all connections of this pair in this direction.
    pub number: u64,
    /// What was said, at most [`MESSAGE_BYTES_MAX`].
    pub message: Vec<u8>,
}

/// What is answered: how far the other has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hearing {
    /// The last message that has come: it need not be sent again.
    pub heard: u64,
    /// The last one that the program has taken: there is room for more.
    pub taken: u64,
}

/// What a program asks of its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Bring this to a rank.
    Send {
        /// Which.
        to: u32,
        /// What.
        message: Vec<u8>,
    },
    /// Bring this to every other rank.
    Multicast(Vec<u8>),
    /// The next message.
    Receive {
        /// Of this rank, or of any.
        from: Option<u32>,
        /// Wait so many milliseconds for it.
        wait_ms: u64,
    },
}

/// What the host answers, once it can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is on its way to so many ranks.
    Sent(u32),
    /// This came, and from whom; nothing came in time.
    Received(Option<(u32, Vec<u8>)>),
    /// It cannot be.
    Problem(Problem),
}

/// Why a program cannot have what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Problem {
    /// That rank has ended, was given up, or cannot be reached, for good; or all others have.
    Gone,
    /// The message has more than [`MESSAGE_BYTES_MAX`].
    TooLarge,
    /// There is no such rank, or it is the program's own.
    NoRank,
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::codec::{decode, encode};

    fn golden<M>(message: &M, bytes: &Expect)
    where
        M: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let encoded = encode(message);
        bytes.assert_eq(&data_encoding::HEXLOWER.encode(&encoded));
        assert_eq!(&decode::<M>(&encoded).unwrap(), message);
    }

    /// Whoever changes one of these changes the protocol and must raise its version.
    #[test]
    fn the_bytes_of_the_protocol_do_not_change() {
        let greeting = Greeting { job: JobId(42), from: 300, from_run: 7, to: 1, to_run: 300 };
        golden(&greeting, &expect!["2aac020701ac02"]);
        golden(&Said { number: 300, message: vec![1, 2] }, &expect!["ac02020102"]);
        golden(&Said { number: 1, message: Vec::new() }, &expect!["0100"]);
        golden(&Hearing { heard: 300, taken: 2 }, &expect!["ac0202"]);
    }

    #[test]
    fn what_all_ranks_may_send_one_fits_its_memory_and_each_may_send_something() {
        for size in [1, 2, 3, 17, 18, 100, 256] {
            let window = window(size);
            assert!(window <= PAIR_BYTES_MAX.0);
            assert!(window * u64::from(size - 1) <= TASK_BYTES_MAX.0);
            assert!(window >= MESSAGE_BYTES_MAX as u64, "a largest message is hardly more");
        }
    }

    #[test]
    fn a_largest_message_fits_a_frame() {
        let message = vec![255; MESSAGE_BYTES_MAX];
        assert!(encode(&Said { number: u64::MAX, message }).len() <= PEERS_FRAME_BYTES_MAX);
    }
}
