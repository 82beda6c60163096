//! What work costs: micro-credits per gigafuel, and the two roundings that keep money whole.

use serde::{Deserialize, Serialize};

use crate::units::{Fuel, MicroCredits};

/// A price of work: micro-credits for 1,000,000,000 fuel.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Price(pub u32);

const GIGAFUEL: u128 = 1_000_000_000;

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
}
