//! Addressing the other ranks of a slice, directly from host to host.
//!
//! Messages of one rank to another arrive in order, each at most once, and none is lost while both
//! run. A rank that has ended, was given up or cannot be reached is gone for good; what it sent
//! before is received first. Sending waits while too much is on its way that the other has not
//! received, so two ranks that only send to each other wait for ever.
//!
//! ```no_run
//! use isos_guest::peers;
//! use std::time::Duration;
//!
//! if peers::rank() == 0 {
//!     for _ in 1..peers::size() {
//!         let (rank, message) = peers::receive(Duration::from_secs(60))?.expect("soon enough");
//!         println!("rank {rank} says {}", String::from_utf8_lossy(&message));
//!     }
//! } else {
//!     peers::send(0, b"hello")?;
//! }
//! # Ok::<(), isos_guest::peers::Problem>(())
//! ```
//!
//! Natively, a program is rank 0 of 1. A module that uses this imports `isos:host/peers`, which is
//! there on a slice alone (`isos slice run`), and not together with [`crate::checkpoint`].

use std::fmt;
use std::time::Duration;

use crate::Failure;

/// Bytes of one message at the most; larger things are sent in parts.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Why something cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// That rank is gone, for good; or all others are.
    Gone,
    /// A message is larger than [`MESSAGE_BYTES_MAX`].
    TooLarge,
    /// There is no such rank, or it is the program's own.
    NoRank,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the rank is gone: it has ended, or its host was lost",
            Self::TooLarge => "a message has 64 KiB at the most",
            Self::NoRank => "there is no such rank besides this one",
        })
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(problem.to_string())
    }
}

/// The program's own rank, from 0.
#[must_use]
pub fn rank() -> u32 {
    host::rank()
}

/// How many ranks there are.
#[must_use]
pub fn size() -> u32 {
    host::size()
}

/// Sends a message to a rank; returns once it is on its way.
///
/// # Errors
/// Any [`Problem`]; nothing is sent then.
pub fn send(to: u32, message: &[u8]) -> Result<(), Problem> {
    host::send(to, message)
}

/// Sends a message to every other rank. Those that are gone are left out; to how many it is on its
/// way.
///
/// # Errors
/// [`Problem::TooLarge`].
pub fn multicast(message: &[u8]) -> Result<u32, Problem> {
    host::multicast(message)
}

/// The next message of any rank, and whose it is; nothing if none comes in time.
///
/// # Errors
/// [`Problem::Gone`] when all others are, and nothing of them is left.
pub fn receive(wait: Duration) -> Result<Option<(u32, Vec<u8>)>, Problem> {
    host::receive(None, wait)
}

/// The next message of this rank; nothing if none comes in time.
///
/// # Errors
/// [`Problem::Gone`] when it is, and nothing of it is left; [`Problem::NoRank`].
pub fn receive_from(from: u32, wait: Duration) -> Result<Option<Vec<u8>>, Problem> {
    Ok(host::receive(Some(from), wait)?.map(|(_, message)| message))
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "calls into the host, each with a buffer that lives meanwhile")]
mod host {
    use std::time::Duration;

    use super::Problem;

    #[link(wasm_import_module = "isos:host/peers")]
    unsafe extern "C" {
        #[link_name = "rank"]
        fn own_rank() -> i32;
        #[link_name = "size"]
        fn all_ranks() -> i32;
        #[link_name = "send"]
        fn send_at(to: u32, at: *const u8, length: usize) -> i32;
        #[link_name = "multicast"]
        fn multicast_at(at: *const u8, length: usize) -> i32;
        #[link_name = "receive"]
        fn receive_of(from: i32, wait: u64, who: *mut u32) -> i32;
        fn message(at: *mut u8, length: usize) -> i32;
    }

    /// Nothing came in time.
    const NOTHING: i32 = -5;

    fn problem(code: i32) -> Problem {
        match code {
            -2 => Problem::TooLarge,
            -3 => Problem::NoRank,
            _ => Problem::Gone,
        }
    }

    fn number(code: i32) -> Result<u32, Problem> {
        u32::try_from(code).map_err(|_| problem(code))
    }

    pub(super) fn rank() -> u32 {
        // SAFETY: takes nothing and gives a number.
        unsafe { own_rank() }.cast_unsigned()
    }

    pub(super) fn size() -> u32 {
        // SAFETY: takes nothing and gives a number.
        unsafe { all_ranks() }.cast_unsigned()
    }

    pub(super) fn send(to: u32, message: &[u8]) -> Result<(), Problem> {
        // SAFETY: the host reads what is there.
        number(unsafe { send_at(to, message.as_ptr(), message.len()) }).map(drop)
    }

    pub(super) fn multicast(message: &[u8]) -> Result<u32, Problem> {
        // SAFETY: the host reads what is there.
        number(unsafe { multicast_at(message.as_ptr(), message.len()) })
    }

    pub(super) fn receive(
        from: Option<u32>,
        wait: Duration,
    ) -> Result<Option<(u32, Vec<u8>)>, Problem> {
        let from = match from.map(i32::try_from) {
            None => -1,
            Some(Ok(from)) => from,
            Some(Err(_)) => return Err(Problem::NoRank),
        };
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut who = 0;
        // SAFETY: the host writes one number there.
        let length = unsafe { receive_of(from, wait, &raw mut who) };
        if length == NOTHING {
            return Ok(None);
        }
        let mut bytes = vec![0; number(length)? as usize];
        // SAFETY: the host writes as many bytes as are there.
        number(unsafe { message(bytes.as_mut_ptr(), bytes.len()) })?;
        Ok(Some((who, bytes)))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    use std::time::Duration;

    use super::{MESSAGE_BYTES_MAX, Problem};

    pub(super) fn rank() -> u32 {
        0
    }

    pub(super) fn size() -> u32 {
        1
    }

    pub(super) fn send(_to: u32, _message: &[u8]) -> Result<(), Problem> {
        Err(Problem::NoRank)
    }

    pub(super) fn multicast(message: &[u8]) -> Result<u32, Problem> {
        if message.len() > MESSAGE_BYTES_MAX { Err(Problem::TooLarge) } else { Ok(0) }
    }

    pub(super) fn receive(
        from: Option<u32>,
        _wait: Duration,
    ) -> Result<Option<(u32, Vec<u8>)>, Problem> {
        Err(if from.is_some() { Problem::NoRank } else { Problem::Gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natively_a_program_is_alone() {
        assert_eq!((rank(), size()), (0, 1));
        assert_eq!(send(1, b"anybody?"), Err(Problem::NoRank));
        assert_eq!(multicast(b"anybody?"), Ok(0));
        assert_eq!(receive(Duration::ZERO), Err(Problem::Gone));
        assert_eq!(receive_from(1, Duration::ZERO), Err(Problem::NoRank));
    }
}
