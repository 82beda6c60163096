//! The numbers of gossip, and why they are what they are. What they lead to among a thousand to a
//! million hosts is measured in docs/internals/gossip.md.

use isos_base::time::{Span, Time};

/// What can be chosen for one complex. All of its hosts must agree on `cycle` and `gamma`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Each host begins one exchange a cycle. 10 s keeps an idle host below 1.5 KB/s.
    pub cycle: Span,
    /// Cycles of an epoch, after which sums begin anew with what hosts tell then. 30: the variance
    /// falls to a third in each, and lost messages have cost little yet.
    pub gamma: u32,
    /// Hosts that can be called and are known; as many again that cannot. 20: half of all can die
    /// at once, and one in a million of the others knows nobody alive.
    pub view: usize,
    /// Entries that are given in an exchange, this host itself included. Some 230 bytes each, and
    /// the budget of 1.5 KB/s is not for more.
    pub swap: usize,
    /// Draws of hosts that nobody can lead.
    pub samplers: usize,
    /// Hosts whose marks are remembered, against liars: 256 are right to 3 % of rank.
    pub window: usize,
    /// Who was not heard of for so many cycles is not told of any more.
    pub forgotten_after: u64,
    /// Hosts to which a question is handed on. 3: with two tries more it comes to nearly all hosts
    /// that can be called before anybody's next cycle, and the others pick it up.
    pub fanout: usize,
    /// Observers that must have found a host gone before it is believed.
    pub observers: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            cycle: Span::secs(10),
            gamma: 30,
            view: 20,
            swap: 3,
            samplers: 24,
            window: 256,
            forgotten_after: 90,
            fanout: 3,
            observers: 3,
        }
    }
}

/// What is gathered is carried up one step in an eighth of a cycle,
const STEP_PARTS: u64 = 8;
/// but not in less than a busy machine needs for two round trips.
const STEP_LEAST: Span = Span::millis(600);

impl Tuning {
    /// By how much earlier a host has gathered all than the one that asked it.
    #[must_use]
    pub fn step(&self) -> Span {
        Span(self.cycle.0 / STEP_PARTS).max(STEP_LEAST)
    }

    /// What a question and its answer may take between two hosts that are far from each other.
    #[must_use]
    pub fn round_trip(&self) -> Span {
        Span(self.step().0 / 4)
    }

    /// How long a host that was handed a question may take to say so.
    #[must_use]
    pub fn patience(&self) -> Span {
        Span(self.step().0.saturating_mul(2))
    }

    /// How long it may take to say what it has found, so that there is time to ask it again.
    #[must_use]
    pub fn gathered_in(&self) -> Span {
        Span(self.step().0 / 2)
    }

    /// When the cycle of the clock began that is now: one descriptor is signed in each.
    #[must_use]
    pub fn slot(&self, now: Time) -> Time {
        let cycle = self.cycle.0.max(1);
        Time(now.0 / cycle * cycle)
    }

    /// How long an epoch is.
    #[must_use]
    pub fn epoch(&self) -> Span {
        Span(self.cycle.0.saturating_mul(u64::from(self.gamma)).max(1))
    }
}
