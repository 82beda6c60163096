//! The client against small servers on loopback that behave, and misbehave, as told.

mod files;
mod packs;
mod requests;
mod reruns;
mod samples;
mod streams;
