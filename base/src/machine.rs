//! The one shape of everything that decides.
//!
//! The enum dialect of the sans-I/O school (iroh-gossip's `State::handle`, quinn-proto): inputs are
//! past-tense facts, effects are imperatives, both are data, so a run can be logged, replayed and
//! shrunk. A shell drains all effects before it gives the next input (str0m's rule).

use crate::time::Time;

/// A deterministic machine.
pub trait Machine {
    /// What happened.
    type Input;
    /// What shall be done.
    type Effect;

    /// Takes one fact and appends what follows from it.
    ///
    /// `now` never runs backwards between calls; a machine that is given an earlier time uses the
    /// latest it has seen.
    fn step(&mut self, now: Time, input: Self::Input, effects: &mut Vec<Self::Effect>);

    /// When the machine wants to be stepped with its timer input at the latest.
    fn deadline(&self) -> Option<Time>;

    /// Asserts everything that must always hold. Slow; for tests and the simulator.
    fn check_invariants(&self);
}
