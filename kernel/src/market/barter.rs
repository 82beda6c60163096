//! The market in hours instead of credits: what somebody's machines gave, and what that buys.
//!
//! Work is billed by deterministic fuel. How much of it a core does in an hour differs from host to
//! host; hosts measure it, and what is shown goes by the middle one. Nothing is billed by it.

use isos_base::price::Price;
use isos_base::{Fuel, MicroCredits};

/// Seconds of an hour of one core.
pub const CORE_HOUR_SECS: u64 = 3_600;
const GIGA: u128 = 1_000_000_000;

/// What an account gave and may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barter {
    /// Given, in thousandths of a core-hour.
    pub gave_milli: u64,
    /// May be used at the price of now, in the same.
    pub now_milli: u64,
    /// May be used at the lowest price that is forecast.
    pub later_milli: Option<u64>,
}

/// Fuel of core-hours, on a core that does `core_rate` fuel a second.
#[must_use]
pub fn fuel_of_core_hours(milli: u64, core_rate: u64) -> Fuel {
    let exact = u128::from(milli) * u128::from(core_rate) * u128::from(CORE_HOUR_SECS) / 1_000;
    Fuel(u64::try_from(exact).unwrap_or(u64::MAX))
}

/// The same the other way round; 0 where no rate is known.
#[must_use]
pub fn core_hours_milli(fuel: Fuel, core_rate: u64) -> u64 {
    let hour = u128::from(core_rate) * u128::from(CORE_HOUR_SECS);
    let exact = (u128::from(fuel.0) * 1_000).checked_div(hour).unwrap_or(0);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// What an hour of such a core costs.
#[must_use]
pub fn price_of_core_hour(price: Price, core_rate: u64) -> MicroCredits {
    price.charge(fuel_of_core_hours(1_000, core_rate))
}

/// Thousandths of a core-hour that an amount buys.
fn buys_milli(amount: MicroCredits, price: Price, core_rate: u64) -> u64 {
    let fuel = (u128::try_from(amount.0).unwrap_or(0) * GIGA).checked_div(price.0.into());
    let fuel = fuel.map_or(u64::MAX, |fuel| u64::try_from(fuel).unwrap_or(u64::MAX));
    core_hours_milli(Fuel(fuel), core_rate)
}

impl Barter {
    /// Of an account that gave `gave` and has `available`.
    #[must_use]
    pub fn new(
        gave: Fuel,
        available: MicroCredits,
        now: Price,
        later: Option<Price>,
        core_rate: u64,
    ) -> Self {
        let buys = |price| buys_milli(available, price, core_rate);
        Self {
            gave_milli: core_hours_milli(gave, core_rate),
            now_milli: buys(now),
            later_milli: later.map(buys),
        }
    }
}
