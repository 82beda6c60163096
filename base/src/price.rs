//! What work and storage cost: micro-credits per gigafuel and per GiB and month, and the roundings
//! that keep money whole.

use serde::{Deserialize, Serialize};

use crate::time::Span;
use crate::units::{Bytes, Fuel, MicroCredits};

/// A price of work: micro-credits for 1,000,000,000 fuel.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Price(pub u32);

/// A price of storage: micro-credits for a GiB that is kept for a [`MONTH`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StoragePrice(pub u32);

/// What a month is where storage is paid by it: 30 days.
pub const MONTH: Span = Span::secs(30 * 86_400);

const GIGAFUEL: u128 = 1_000_000_000;
const GIB_MONTH: u128 = (MONTH.0 as u128) << 30;

impl Price {
    /// What the buyer pays for `fuel`: rounded up. Saturates far above any balance.
    #[must_use]
    pub fn charge(self, fuel: Fuel) -> MicroCredits {
        let exact = u128::from(self.0) * u128::from(fuel.0);
        MicroCredits(i64::try_from(exact.div_ceil(GIGAFUEL)).unwrap_or(i64::MAX))
    }

    /// What `fuel` earns a host, before the fee: rounded down.
    #[must_use]
    pub fn earning(self, fuel: Fuel) -> MicroCredits {
        let exact = u128::from(self.0) * u128::from(fuel.0);
        MicroCredits(i64::try_from(exact / GIGAFUEL).unwrap_or(i64::MAX))
    }
}

impl StoragePrice {
    fn exact(self, bytes: Bytes, time: Span) -> Option<u128> {
        (u128::from(bytes.0) * u128::from(time.0)).checked_mul(self.0.into())
    }

    /// What the buyer pays for `bytes` over `time`: rounded up. Saturates far above any balance.
    #[must_use]
    pub fn charge(self, bytes: Bytes, time: Span) -> MicroCredits {
        let up = self.exact(bytes, time).map(|exact| exact.div_ceil(GIB_MONTH));
        MicroCredits(up.and_then(|up| i64::try_from(up).ok()).unwrap_or(i64::MAX))
    }

    /// What that earns a host, before the fee: rounded down.
    #[must_use]
    pub fn earning(self, bytes: Bytes, time: Span) -> MicroCredits {
        let down = self.exact(bytes, time).map(|exact| exact / GIB_MONTH);
        MicroCredits(down.and_then(|down| i64::try_from(down).ok()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buyer_rounds_up_and_the_host_rounds_down() {
        let price = Price(100);
        assert_eq!(price.charge(Fuel(1)), MicroCredits(1));
        assert_eq!(price.earning(Fuel(1)), MicroCredits(0));
        assert_eq!(price.charge(Fuel(5_000_000_000)), MicroCredits(500));
        assert_eq!(price.earning(Fuel(5_000_000_000)), MicroCredits(500));
        assert_eq!(Price(u32::MAX).charge(Fuel(u64::MAX)).0, i64::MAX);
    }

    #[test]
    fn a_gib_for_a_month_costs_the_price_and_no_size_overflows() {
        let price = StoragePrice(100_000);
        assert_eq!(price.charge(Bytes::gib(1), MONTH), MicroCredits(100_000));
        assert_eq!(price.earning(Bytes::gib(1), MONTH), MicroCredits(100_000));
        assert_eq!(price.charge(Bytes::mib(1), Span::secs(60)), MicroCredits(1));
        assert_eq!(price.earning(Bytes::mib(1), Span::secs(60)), MicroCredits(0));
        let most = StoragePrice(u32::MAX).charge(Bytes(u64::MAX), Span(u64::MAX));
        assert_eq!(most.0, i64::MAX);
    }
}
