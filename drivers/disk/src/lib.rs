//! The disk driver: a [`Home`] that belongs to one process, in it a [`Shelf`] of whole objects, and
//! [`Packs`] of other people's fragments.
//!
//! Everything here is synchronous `std::fs`; shells call it through their runtime's blocking
//! threads. It decides nothing: what to keep, fetch or evict is the caller's business. One file
//! per object suits programs, inputs and outputs, of which a host holds thousands; the millions of
//! fragments of other people's backups lie in append-only packs with an index.
//!
//! Crash safety: a file appears under its name complete or not at all (temporary file, fsync where
//! asked, rename, fsync of the folder). Every step that changes the disk goes through one private
//! trait, so the tests stop the world, or cut the power, between any two of them. (The idea is
//! redb's `StorageBackend`.)

#![allow(clippy::disallowed_methods, reason = "a driver opens files: that is what it is for")]

mod error;
mod home;
mod index;
pub mod packs;
mod shelf;
mod storage;
mod writer;

#[cfg(test)]
mod tests;

pub use error::ShelfError;
pub use home::{HOME_FILE_BYTES_MAX, Home, HomeError};
pub use packs::Packs;
pub use shelf::{Durability, Pin, Shelf, ShelfLimits};
pub use storage::{Space, space};
pub use writer::ObjectWriter;
