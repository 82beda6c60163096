//! `isos:host/peers` for core modules: flat functions beside those of WASI.
//!
//! * `rank() -> i32`, `size() -> i32`
//! * `send(to, at, length) -> i32`: 0 when it is on its way, or less than 0, see below.
//! * `multicast(at, length) -> i32`: to how many it is on its way, or less than 0.
//! * `receive(from, wait, who) -> i32`: waits so many milliseconds (i64) for a message of the rank
//!   `from`, or of any when that is -1; gives its length, with the sender's rank at `who`, or less
//!   than 0.
//! * `message(at, length) -> i32`: puts what was received last to `at`, once; 0 when it has
//!   `length` bytes.
//!
//! Less than 0 are: -1 gone, -2 too large, -3 no such rank, -4 not within memory, -5 nothing came
//! in time.

use isos_base::peers::{PEERS_INTERFACE as MODULE, Problem};
use wasmtime::Linker;

use super::{Ctx, call};
use crate::host::Host;

const FAULT: i32 = -4;
const NOTHING: i32 = -5;

const fn code(problem: Problem) -> i32 {
    match problem {
        Problem::Gone => -1,
        Problem::TooLarge => -2,
        Problem::NoRank => -3,
    }
}

/// Counts are of ranks and of bytes of one message.
fn count(of: u32) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

pub(super) fn add_to_linker(l: &mut Linker<Host>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "rank", |c: Ctx<'_>| {
        let mut rank = 0;
        call(c, |_, h| {
            rank = count(h.peers_rank().0);
            Ok(())
        })?;
        Ok(rank)
    })?;
    l.func_wrap(MODULE, "size", |c: Ctx<'_>| {
        let mut size = 0;
        call(c, |_, h| {
            size = count(h.peers_rank().1);
            Ok(())
        })?;
        Ok(size)
    })?;
    l.func_wrap(MODULE, "send", |c: Ctx<'_>, to: u32, at: u32, length: u32| {
        let mut answer = FAULT;
        call(c, |g, h| {
            let sent = h.peers_send(Some(to), g.slice(at, length)?)?;
            answer = sent.map_or_else(code, |_| 0);
            Ok(())
        })?;
        Ok(answer)
    })?;
    l.func_wrap(MODULE, "multicast", |c: Ctx<'_>, at: u32, length: u32| {
        let mut answer = FAULT;
        call(c, |g, h| {
            let sent = h.peers_send(None, g.slice(at, length)?)?;
            answer = sent.map_or_else(code, count);
            Ok(())
        })?;
        Ok(answer)
    })?;
    l.func_wrap(MODULE, "receive", |c: Ctx<'_>, from: i32, wait: u64, who: u32| {
        let mut answer = FAULT;
        call(c, |g, h| {
            // A message is not taken that could not be told of.
            g.put_u32(who, 0)?;
            let from = (from != -1).then_some(from.cast_unsigned());
            answer = match h.peers_receive(from, wait)? {
                Ok(Some((rank, message))) => {
                    g.put_u32(who, rank)?;
                    let length = i32::try_from(message.len()).unwrap_or(i32::MAX);
                    h.peers_keep(message);
                    length
                }
                Ok(None) => NOTHING,
                Err(problem) => code(problem),
            };
            Ok(())
        })?;
        Ok(answer)
    })?;
    l.func_wrap(MODULE, "message", |c: Ctx<'_>, at: u32, length: u32| {
        let mut answer = FAULT;
        call(c, |g, h| {
            let into = g.slice_mut(at, length)?;
            let message = h.peers_kept();
            if message.len() == into.len() {
                into.copy_from_slice(&message);
                answer = 0;
            }
            Ok(())
        })?;
        Ok(answer)
    })?;
    Ok(())
}
