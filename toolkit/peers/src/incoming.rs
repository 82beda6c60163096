//! What one rank says: heard in order, kept until it is taken.

use std::collections::VecDeque;

use isos_base::Time;
use isos_base::peers::{Hearing, MESSAGE_BYTES_MAX, weight};

use crate::SILENCE_MAX;
use crate::talk::LineId;

/// One direction of a pair, at its end.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    heard: u64,
    queue: VecDeque<Vec<u8>>,
    weight: u64,
    /// The connection on which it speaks.
    line: Option<LineId>,
    /// Since when it has none any more.
    lost: Option<Time>,
}

impl Incoming {
    /// It calls: what it said before on another connection was heard so far.
    pub(crate) fn called(&mut self, line: LineId) -> Hearing {
        (self.line, self.lost) = (Some(line), None);
        self.hearing()
    }

    pub(crate) fn line_ended(&mut self, line: LineId, now: Time) {
        if self.line == Some(line) {
            (self.line, self.lost) = (None, Some(now));
        }
    }

    /// It speaks on a connection, which is of no use any more if that is not its current one.
    ///
    /// # Errors
    /// Nobody who keeps to the protocol says that.
    pub(crate) fn arrived(
        &mut self,
        line: LineId,
        number: u64,
        message: Vec<u8>,
        window: u64,
    ) -> Result<bool, &'static str> {
        if self.line != Some(line) {
            return Ok(false);
        }
        if number != self.heard + 1 {
            return Err("its messages are not in order");
        }
        if message.len() > MESSAGE_BYTES_MAX {
            return Err("a message of it is too large");
        }
        let after = self.weight + weight(message.len());
        if self.weight > 0 && after > window {
            return Err("it says more than there is room for");
        }
        self.heard = number;
        self.weight = after;
        self.queue.push_back(message);
        Ok(true)
    }

    /// The next message.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let message = self.queue.pop_front()?;
        self.weight -= weight(message.len());
        Some(message)
    }

    pub(crate) const fn line(&self) -> Option<LineId> {
        self.line
    }

    pub(crate) fn hearing(&self) -> Hearing {
        Hearing { heard: self.heard, taken: self.heard - self.queue.len() as u64 }
    }

    /// When it is gone, if it does not call before.
    pub(crate) fn silent_at(&self) -> Option<Time> {
        self.lost.map(|since| since + SILENCE_MAX)
    }

    /// It does not come back.
    pub(crate) fn part(&mut self) {
        (self.line, self.lost) = (None, None);
    }

    pub(crate) fn check(&self, window: u64) {
        let weights = self.queue.iter().map(|message| weight(message.len()));
        assert_eq!(weights.sum::<u64>(), self.weight, "what is kept");
        assert!(self.weight <= window || self.queue.len() == 1, "no more than there is room for");
    }
}
