//! Homes, shelves and packs, in working order and after every crash.

mod crash;
mod heads;
mod home;
mod packs;
mod packs_crash;
mod shelf;

use isos_base::Bytes;

use crate::ShelfLimits;

/// Room enough, no floor.
fn roomy() -> ShelfLimits {
    ShelfLimits { quota: Bytes::gib(1), free_floor: Bytes::ZERO }
}
