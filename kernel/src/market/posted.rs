//! The posted price: what "run now" costs, led by use as Ethereum's base fee is (EIP-1559).
//!
//! After each tick it moves towards the price at which nine tenths of what is offered are used:
//! by a quarter of how far use is from that, and by an eighth at the most. It never leaves its
//! band, whose ends the operator sets and everybody can see.

use isos_base::price::Price;
use serde::{Deserialize, Serialize};

/// Where a posted price may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Band {
    /// It falls no lower.
    pub floor: Price,
    /// It rises no higher.
    pub ceiling: Price,
}

/// A price that moves by less than a micro-credit at a time: kept in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Posted(u64);

const MILLI: u64 = 1_000;
/// A step is `(u - u*) / u* * eta` of the price, with `u* = 9/10` and `eta = 1/4`: for a use of
/// `demand / supply` that is `(10 demand - 9 supply) / (36 supply)`.
const USE_OVER: i128 = 10;
const USE_UNDER: i128 = 9;
const STEP_UNDER: i128 = 36;
/// The most that a step may be, as a part of the price.
const STEP_MAX_UNDER: i128 = 8;

impl Posted {
    /// A price to begin with.
    #[must_use]
    pub fn new(price: Price) -> Self {
        Self(u64::from(price.0) * MILLI)
    }

    /// From thousandths of a micro-credit, as it is kept.
    #[must_use]
    pub const fn from_milli(milli: u64) -> Self {
        Self(milli)
    }

    /// Thousandths of a micro-credit.
    #[must_use]
    pub const fn milli(self) -> u64 {
        self.0
    }

    /// The price that is shown and paid: the nearest micro-credit.
    #[must_use]
    pub fn price(self) -> Price {
        Price(u32::try_from((self.0 + MILLI / 2) / MILLI).unwrap_or(u32::MAX))
    }

    /// Moves it after a tick in which `demand` units would have paid it, of `supply` units offered
    /// at it. Where nothing is wanted and nothing offered, nothing is learnt.
    pub fn step(&mut self, demand: u64, supply: u64, band: Band) {
        let price = i128::from(self.0);
        let most = price / STEP_MAX_UNDER;
        let (demand, supply) = (i128::from(demand), i128::from(supply));
        let step = match (demand, supply) {
            (0, 0) => 0,
            (_, 0) => most,
            _ => {
                let far = USE_OVER * demand - USE_UNDER * supply;
                (price * far / (STEP_UNDER * supply)).clamp(-most, most)
            }
        };
        let (floor, ceiling) = (Self::new(band.floor).0, Self::new(band.ceiling).0);
        // At least a thousandth of a micro-credit, or a very low price would never move.
        let moved = if step == 0 && demand > supply { price + 1 } else { price + step };
        let moved = u64::try_from(moved.max(0)).unwrap_or(u64::MAX);
        self.0 = moved.clamp(floor, ceiling.max(floor));
    }
}
