//! How hosts lie.

use isos_base::{Guid, LeaseId};
use isos_kernel::verify::Assumed;

/// How a host lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cheat {
    /// It gives so many right answers first.
    pub(crate) after: u64,
    /// Then so large a share of its answers is wrong.
    pub(crate) rate: f64,
    /// It knows what is checked: see [`Flaw::Secret`](crate::Flaw::Secret).
    pub(crate) knows: Option<Secret>,
}

/// By what the complex draws its checks, which no host may know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secret {
    pub(crate) key: Guid,
    pub(crate) assumed: Assumed,
    pub(crate) error: f64,
}

impl Secret {
    /// Whether a result can be drawn by lot, of a host that has given so many: as
    /// `kernel::complex` draws it, and with room for what was not accepted of it.
    pub(super) fn may_check(&self, lease: LeaseId, task: u32, answers: u64) -> bool {
        let about = [&lease.0.to_le_bytes()[..], &task.to_le_bytes()].concat();
        let hash = blake3::keyed_hash(&self.key.0, &about);
        let mut drawn = [0; 8];
        drawn.copy_from_slice(&hash.as_bytes()[..8]);
        let part = (u64::from_le_bytes(drawn) >> 11) as f64 / (1_u64 << 53) as f64;
        part < self.assumed.check_rate(answers / 2, self.error)
    }
}
