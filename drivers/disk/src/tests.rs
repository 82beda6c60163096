//! Homes and shelves, in working order and after every crash.

mod crash;
mod home;
mod shelf;

use isos_base::Bytes;

use crate::ShelfLimits;

/// Room enough, no floor.
fn roomy() -> ShelfLimits {
    ShelfLimits { quota: Bytes::gib(1), free_floor: Bytes::ZERO }
}
