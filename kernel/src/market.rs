//! How prices are made: an auction for each class of hosts, a posted price where it is too thin, a
//! share that is everybody's in turn, reservations, and what all of that was in the past.
//!
//! Pure parts that know nothing of jobs, leases or each other's callers; `complex::market` puts
//! them to work and `isos-sim market` measures them. Prices and amounts are integers, rounded
//! against whoever gains by the rounding: no float moves money.
//!
//! The rules and their figures are those of [docs/market.md](../../docs/market.md). The auction is
//! McAfee's double auction (1992) without its trade reduction, at the lower end of its interval;
//! the posted price moves as Ethereum's base fee does (EIP-1559); the share is a deficit round
//! robin (Shreedhar and Varghese 1995).

mod assign;
mod auction;
mod barter;
mod class;
mod history;
mod posted;
mod reliability;
mod reserve;
mod share;
#[cfg(test)]
mod tests;
mod units;

pub use assign::{Want, assign};
pub use auction::{Ask, Bid, Clearing, THIN_UNITS, at_price, clear};
pub use barter::{
    Barter, CORE_HOUR_SECS, core_hours_milli, fuel_of_core_hours, price_of_core_hour,
};
pub use class::{CLASSES_MAX, class_of};
pub use history::{HOURS_KEPT, History, TICKS_KEPT};
pub use posted::{Band, Posted};
pub use reliability::{RELIABILITY_MIN_BPS, Reliability};
pub use reserve::{
    PREMIUM_BPS, RESERVED_MAX_BPS, bond, forward_price, hosts_needed, kept_ppm, loss, penalty,
    standby, standby_of,
};
pub use share::Share;
pub use units::{reference_cores, reference_time};

use isos_base::Span;

/// The market clears so often.
pub const TICK: Span = Span::secs(30);
/// The part of each class's supply that goes round robin over accounts, in hundredths of a percent.
pub const SHARE_BPS: u64 = 1_000;
/// Hundredths of a percent in a whole.
pub const WHOLE_BPS: u64 = 10_000;

/// Units of `supply` that go round robin over accounts: one at the least, where there is any.
#[must_use]
pub fn shared_units(supply: u64) -> u64 {
    (supply * SHARE_BPS).div_ceil(WHOLE_BPS)
}
