//! How fast a peer must be.

use tokio::time::Instant;

use crate::limits;

/// The peer must move [`limits::STALL_BYTES_MIN`] in each [`limits::STALL_TIMEOUT`].
#[derive(Debug)]
pub(crate) struct Pace {
    pub(crate) deadline: Instant,
    moved: u64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { deadline: Instant::now() + limits::STALL_TIMEOUT, moved: 0 }
    }

    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        if self.moved >= limits::STALL_BYTES_MIN {
            *self = Self::new();
        }
    }

    /// Time that our own disk took is not the peer's fault.
    pub(crate) fn forgive(&mut self, since: Instant) {
        self.deadline += since.elapsed();
    }
}
