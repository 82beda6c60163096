//! The screen of `isos top`: a complex at a glance, while it is looked at.
//!
//! * `state`: what is known, what is asked next, what keys do; no terminal, no network
//! * `draw`: a state as characters, a function of it and of the size alone
//! * `countries`: where hosts are on the map
//! * `screen`: the terminal, keys, and the one request a second

mod countries;
mod draw;
mod screen;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use screen::{is_possible, run};
