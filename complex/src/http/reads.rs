//! Objects that are held in memory whole: how much of them at once, of one account and of all.
//!
//! Outputs in a stream of results are, and lists of files: a slow reader, or many at once, must not
//! make of them more than a server has.

use std::sync::Arc;

use isos_base::{AccountId, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::door::{Door, Share};
use crate::metrics::Queue;

/// All of them together, in KiB: 1 GiB.
const KIB_MAX: u32 = 1 << 20;

/// Memory for whole objects.
pub(crate) struct Reads(Arc<Semaphore>);

impl Default for Reads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(KIB_MAX as usize)))
    }
}

/// Room for one object, until it is dropped.
pub(super) struct Room {
    _share: Share<AccountId>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Reads {
    /// How much of it is taken, in KiB.
    pub(super) fn queue(&self) -> Queue {
        let max = KIB_MAX as usize;
        Queue { name: "reads_kib", waiting: max - self.0.available_permits(), max }
    }

    /// Waits for room for an object of this size, first among the account's own.
    pub(super) async fn room(&self, door: &Door, account: AccountId, size: Bytes) -> Room {
        let share = door.reading(account, size).await;
        let kib = u32::try_from(size.0.div_ceil(1 << 10)).unwrap_or(KIB_MAX).min(KIB_MAX);
        // It is never closed.
        let all = self.0.clone().acquire_many_owned(kib).await.ok();
        Room { _share: share, _all: all }
    }
}

/// Bytes with the room that they take.
pub(super) struct Roomy {
    pub(super) bytes: Vec<u8>,
    pub(super) _room: Option<Room>,
}

impl AsRef<[u8]> for Roomy {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
