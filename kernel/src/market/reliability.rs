//! How likely it is that a host finishes what it began: measured, and what is old fades.
//!
//! The mean of a Beta distribution that begins at Beta(2, 1), so a new host counts as two kept of
//! three. Each lease weighs 63/64 of the next one. A host's ask is divided by it, so that of two
//! that ask the same the reliable one sells first; it is paid for verified work either way.

use isos_base::price::Price;
use serde::{Deserialize, Serialize};

/// No host counts as worse than one that finishes every second lease.
pub const RELIABILITY_MIN_BPS: u32 = 5_000;

/// Kept and lost leases, in 1,024ths, faded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reliability {
    /// Leases that ended with every task reported.
    pub kept: u32,
    /// Leases that did not.
    pub lost: u32,
}

const ONE: u32 = 1_024;

impl Reliability {
    /// Of a host of which only is known how much it kept and lost in all.
    #[must_use]
    pub fn of(kept: u64, lost: u64) -> Self {
        const SUM_MAX: u64 = 63;
        let all = kept.saturating_add(lost).max(1);
        let part = |of: u64| {
            let of = u128::from(of) * u128::from(all.min(SUM_MAX)) * u128::from(ONE);
            (of / u128::from(all)) as u32
        };
        Self { kept: part(kept), lost: part(lost) }
    }

    /// A lease came to its end.
    pub fn note(&mut self, kept: bool) {
        let fade = |sum: u32| (u64::from(sum) * 63 / 64) as u32;
        (self.kept, self.lost) = (fade(self.kept), fade(self.lost));
        let of = if kept { &mut self.kept } else { &mut self.lost };
        // The sum stays below 64 of them.
        *of += ONE;
    }

    /// In hundredths of a percent, from [`RELIABILITY_MIN_BPS`] to 10,000.
    #[must_use]
    pub fn bps(self) -> u32 {
        let (kept, lost) = (u64::from(self.kept), u64::from(self.lost));
        let over = 2 * u64::from(ONE) + kept;
        let under = 3 * u64::from(ONE) + kept + lost;
        ((over * 10_000 / under) as u32).clamp(RELIABILITY_MIN_BPS, 10_000)
    }

    /// What a host's ask counts as in the auction: never less than what it asks.
    #[must_use]
    pub fn effective(self, ask: Price) -> Price {
        let exact = (u64::from(ask.0) * 10_000).div_ceil(u64::from(self.bps()));
        Price(u32::try_from(exact).unwrap_or(u32::MAX))
    }
}
