//! What the API says of prices, their past, and what is reserved.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, HostId, ReservationId};
use crate::market::{
    BondRecord, BondState, FirmRecord, HourPrice, ReservationRecord, ReservationState, TickPrice,
};
use crate::price::Price;
use crate::time::Time;
use crate::units::{Fuel, MicroCredits};

/// All prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PricesView {
    /// Whether the operator sets one price; if not, a market makes them.
    pub fixed: bool,
    /// No price falls lower.
    pub floor: Price,
    /// No price rises higher.
    pub ceiling: Price,
    /// Fuel that a core does in a second, by the middle one of the hosts: what core-hours are
    /// reckoned by. Nothing is billed by it.
    pub core_rate: u64,
    /// When prices change next.
    pub next: Option<Time>,
    /// Each class of hosts.
    pub classes: Vec<MarketView>,
}

/// The price of a class of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MarketView {
    /// Its name: the architecture, and GiB of memory for each core.
    pub class: String,
    /// What work costs now.
    pub price: Price,
    /// What it costs where an auction is too thin.
    pub posted: Price,
    /// What the share costs that goes round robin over accounts.
    pub fair: Price,
    /// The mean price of the last hour.
    pub hour: Price,
    /// What an hour of one core costs now, by the middle one of the hosts.
    pub core_hour: MicroCredits,
    /// Hosts that are connected.
    pub hosts: u32,
    /// Cores that were offered at the last tick.
    pub supply: u32,
    /// Cores that were wanted.
    pub demand: u32,
    /// How many of 10,000 leases its middle host finishes.
    pub available_bps: u32,
    /// What the price will be, by the hour, as far as the past says.
    pub forecast: Vec<ForecastView>,
}

/// A price to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForecastView {
    /// When the hour begins.
    pub at: Time,
    /// Its price.
    pub price: Price,
}

/// The past of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MarketHistory {
    /// Its name.
    pub class: String,
    /// The last hour, oldest first.
    pub ticks: Vec<TickPrice>,
    /// The last six weeks, oldest first.
    pub hours: Vec<HourPrice>,
}

/// The market in hours instead of credits, for one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BarterView {
    /// Whose.
    pub account: AccountId,
    /// Verified work that its hosts did in the last week.
    pub gave: Fuel,
    /// The same in thousandths of a core-hour.
    pub gave_milli: u64,
    /// What it may spend.
    pub available: MicroCredits,
    /// The price of now.
    pub price: Price,
    /// What it may use at that, in thousandths of a core-hour.
    pub now_milli: u64,
    /// The lowest price that is forecast within a day.
    pub later: Option<ForecastView>,
    /// What it may use at that.
    pub later_milli: Option<u64>,
}

/// A request to change what a job bids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BidRequest {
    /// The most for a gigafuel.
    pub bid: Price,
}

/// A request for a firm reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReserveRequest {
    /// Of which class of hosts; the one with the most cores if not said.
    pub class: Option<String>,
    /// How many cores.
    pub cores: u32,
    /// From.
    pub from: Time,
    /// Until.
    pub until: Time,
    /// With which probability the promise is to be kept, in millionths.
    pub service_ppm: u32,
}

/// A firm reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReservationView {
    /// Its number.
    pub id: ReservationId,
    /// Whose.
    pub account: AccountId,
    /// Of which class.
    pub class: String,
    /// Where it stands.
    pub state: ReservationState,
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
    /// What the promise costs for each core and half minute.
    pub premium: MicroCredits,
    /// What is paid for each core and half minute that was wanted and not there.
    pub penalty: MicroCredits,
    /// Core-ticks that were promised so far.
    pub promised: u64,
    /// Of these, those that were wanted.
    pub wanted: u64,
    /// Of these, those that were there.
    pub given: u64,
    /// Paid for the promise.
    pub paid: MicroCredits,
    /// Paid back for its breach.
    pub compensated: MicroCredits,
    /// Of that, what came from bonds of hosts.
    pub forfeited: MicroCredits,
}

/// A request that a host stand behind reservations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FirmRequest {
    /// Which host; it must earn for the account.
    pub host: HostId,
    /// With how many cores at the most.
    pub cores: u32,
}

/// A host that stands behind reservations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FirmView {
    /// Which host.
    pub host: HostId,
    /// Whose bonds they are.
    pub account: AccountId,
    /// With how many cores at the most; 0 if it stands behind nothing new.
    pub cores: u32,
    /// Since when.
    pub since: Time,
    /// When it may go without loss, once notice was given.
    pub leaves: Option<Time>,
    /// Its bonds of reservations that are not over, the oldest first.
    pub bonds: Vec<BondView>,
}

/// What a host stands in for behind one reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BondView {
    /// Behind which reservation.
    pub reservation: ReservationId,
    /// With how many cores.
    pub cores: u32,
    /// From.
    pub from: Time,
    /// Until.
    pub until: Time,
    /// What was set aside.
    pub amount: MicroCredits,
    /// Where it stands.
    pub state: BondState,
    /// Core-ticks in which it was there.
    pub stood: u64,
    /// Core-ticks in which it was not.
    pub missed: u64,
    /// What it lost so far.
    pub lost: MicroCredits,
}

impl FirmView {
    /// What is shown of it.
    #[must_use]
    pub fn of<'a>(record: &FirmRecord, bonds: impl Iterator<Item = &'a BondRecord>) -> Self {
        let view = |bond: &BondRecord| BondView {
            reservation: bond.reservation,
            cores: bond.cores,
            from: bond.from,
            until: bond.until,
            amount: bond.amount,
            state: bond.state,
            stood: bond.stood,
            missed: bond.missed,
            lost: bond.lost,
        };
        Self {
            host: record.host,
            account: record.account,
            cores: record.cores,
            since: record.since,
            leaves: record.leaves,
            bonds: bonds.map(view).collect(),
        }
    }
}

impl ReservationView {
    /// What is shown of it.
    #[must_use]
    pub fn of(record: &ReservationRecord) -> Self {
        Self {
            id: record.id,
            account: record.account,
            class: record.class.clone(),
            state: record.state,
            cores: record.cores,
            behind: record.behind,
            service_ppm: record.service_ppm,
            from: record.from,
            until: record.until,
            price: record.price,
            premium: record.premium,
            penalty: record.penalty,
            promised: u64::from(record.cores) * record.ticks,
            wanted: record.wanted,
            given: record.given,
            paid: record.paid,
            compensated: record.compensated,
            forfeited: record.forfeited,
        }
    }
}
