//! End to end: the real program, real sockets, real processes, kill -9.
//!
//! Each test makes its own world in its own folder on loopback, bounded in time, and ends only the
//! processes that it started.

mod abuse;
mod backup;
mod bad_input;
mod bank;
mod big;
mod browser;
mod checkpoints;
mod clocks;
mod cloud;
mod crashes;
mod dev;
mod exits;
mod full_disk;
mod jobs;
mod keepers;
mod keys;
mod market;
mod money;
mod namespaces;
mod objects;
mod owner;
mod rights;
mod sensors;
mod servers;
mod slices;
mod world;
