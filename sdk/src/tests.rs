//! The client against small servers on loopback that behave, and misbehave, as told.

mod files;
mod requests;
mod samples;
mod streams;
