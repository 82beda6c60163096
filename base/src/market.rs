//! What a market remembers and shows: ticks, hours, classes, reservations. Plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, HostId, ReservationId, TransferId};
use crate::price::Price;
use crate::time::Time;
use crate::units::MicroCredits;

/// One clearing of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TickPrice {
    /// When it was cleared.
    pub at: Time,
    /// At which price.
    pub price: Price,
    /// Reference cores that were traded.
    pub units: u32,
    /// Reference cores offered, at any price.
    pub supply: u32,
    /// Cores wanted, at any price.
    pub demand: u32,
}

/// An hour of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HourPrice {
    /// Hours since 1970.
    pub hour: u32,
    /// The lowest price.
    pub low: Price,
    /// The highest.
    pub high: Price,
    /// The sum of its ticks' prices.
    pub sum: u64,
    /// How many ticks.
    pub ticks: u32,
    /// Core-ticks that were traded.
    pub units: u64,
}

const HOUR_MICROS: u64 = 3_600_000_000;

impl HourPrice {
    /// The mean price.
    #[must_use]
    pub fn mean(&self) -> Price {
        let ticks = u64::from(self.ticks.max(1));
        Price(u32::try_from((self.sum + ticks / 2) / ticks).unwrap_or(u32::MAX))
    }

    /// When it began.
    #[must_use]
    pub fn at(&self) -> Time {
        Time(u64::from(self.hour) * HOUR_MICROS)
    }
}

/// What is durable of a class: its prices and their past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketRecord {
    /// Its name.
    pub class: String,
    /// The posted price in thousandths of a micro-credit.
    pub posted_milli: u64,
    /// The price until the next tick.
    pub price: Price,
    /// The price of the share that goes round robin.
    pub fair: Price,
    /// When it was last cleared.
    pub at: Time,
    /// The last hour, oldest first.
    pub ticks: Vec<TickPrice>,
    /// The last weeks, oldest first.
    pub hours: Vec<HourPrice>,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReservationState {
    /// Its window has not begun.
    Booked,
    /// It is now.
    Active,
    /// It is over and settled.
    Over,
    /// It was cancelled before it began.
    Cancelled,
}

/// A firm reservation: so many cores of a class for an account, from one time to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRecord {
    /// Its number.
    pub id: ReservationId,
    /// Whose.
    pub account: AccountId,
    /// Of which class.
    pub class: String,
    /// How many cores are promised.
    pub cores: u32,
    /// How many stand behind the promise.
    pub behind: u32,
    /// With which probability it is kept, in millionths.
    pub service_ppm: u32,
    /// From.
    pub from: Time,
    /// Until.
    pub until: Time,
    /// What work of the account costs a gigafuel in the window.
    pub price: Price,
    /// What the promise costs for each core and tick, besides the work.
    pub premium: MicroCredits,
    /// What is paid for each core and tick that was wanted and not given.
    pub penalty: MicroCredits,
    /// The hold from which the premium is paid.
    pub hold: TransferId,
    /// Where it stands.
    pub state: ReservationState,
    /// Core-ticks that its account wanted, of those promised.
    pub wanted: u64,
    /// Of these, those that it got.
    pub given: u64,
    /// Ticks of the window that were counted.
    pub ticks: u64,
    /// Paid for the promise.
    pub paid: MicroCredits,
    /// Paid back for its breach, besides the premium.
    pub compensated: MicroCredits,
    /// Of the premium, what those share who stand behind it.
    #[serde(default)]
    pub standby: MicroCredits,
    /// What whoever stands behind it loses for each core and tick that is missed.
    #[serde(default)]
    pub bond: MicroCredits,
    /// Of what was paid back, what came from bonds.
    #[serde(default)]
    pub forfeited: MicroCredits,
}

/// A host whose owner lets it stand behind reservations, with a bond for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmRecord {
    /// Which host.
    pub host: HostId,
    /// Whose bonds they are.
    pub account: AccountId,
    /// With how many cores at the most; 0 once it stands behind nothing new.
    pub cores: u32,
    /// Since when.
    pub since: Time,
    /// When it may go without loss, once notice was given.
    pub leaves: Option<Time>,
}

/// Where a bond stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BondState {
    /// Its host stands behind the reservation.
    Standing,
    /// It went back whole.
    Returned,
    /// Some of it went to whom the promise was broken, the rest went back.
    Forfeited,
}

/// What a host stands in for behind one reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondRecord {
    /// Behind which reservation.
    pub reservation: ReservationId,
    /// Counts up in a reservation.
    pub nth: u32,
    /// Which host.
    pub host: HostId,
    /// Whose bond it is.
    pub account: AccountId,
    /// With how many cores.
    pub cores: u32,
    /// From.
    pub from: Time,
    /// Until: the end of the window, or of the time of notice.
    pub until: Time,
    /// What is set aside.
    pub amount: MicroCredits,
    /// The hold of it.
    pub hold: TransferId,
    /// Where it stands.
    pub state: BondState,
    /// Core-ticks in which it was there.
    pub stood: u64,
    /// Core-ticks in which it was not.
    pub missed: u64,
    /// What it lost so far, for those in which the reservation was short.
    pub lost: MicroCredits,
    /// What it was paid for standing there.
    pub paid: MicroCredits,
}

/// What each account has to its name, of sums that are never negative in the end.
pub fn by_account(
    sums: impl IntoIterator<Item = (AccountId, i128)>,
) -> Vec<(AccountId, MicroCredits)> {
    let mut all: BTreeMap<AccountId, i128> = BTreeMap::new();
    for (account, sum) in sums {
        *all.entry(account).or_default() += sum;
    }
    all.into_iter().map(|(account, sum)| (account, MicroCredits::clamped(sum))).collect()
}

impl ReservationRecord {
    /// What it has brought the complex, once it is over: its premium, less what was paid for its
    /// breach but for what came from bonds. Parts of the premium that are for hosts are still in
    /// it.
    #[must_use]
    pub fn brought(&self) -> i128 {
        let paid = i128::from(self.compensated.0) - i128::from(self.forfeited.0);
        i128::from(self.paid.0) - paid
    }

    /// Whether its window has not ended.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, ReservationState::Booked | ReservationState::Active)
    }
}
