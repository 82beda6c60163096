//! The market: a share that moves as geometric Brownian motion, and the prices known exactly.

use isos_guest::Failure;

/// A call on a share. Rates and volatility are yearly fractions (0.03 is 3 %).
#[derive(Clone, Debug)]
pub(crate) struct Market {
    pub(crate) spot: f64,
    pub(crate) strike: f64,
    pub(crate) rate: f64,
    pub(crate) volatility: f64,
    pub(crate) years: f64,
    /// Equal steps from now to the end; the average is taken over their ends.
    pub(crate) steps: u32,
}

impl Market {
    /// Refuses what has no price.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let above_nought = [
            ("--spot", self.spot),
            ("--strike", self.strike),
            ("--volatility", self.volatility),
            ("--years", self.years),
            ("--steps", f64::from(self.steps)),
        ];
        for (name, value) in above_nought {
            if !(value.is_finite() && value > 0.0) {
                return Err(Failure::new(format!("{name} is {value}; it must be above 0")));
            }
        }
        if self.rate.is_finite() {
            Ok(())
        } else {
            Err(Failure::new(format!("--rate is {}", self.rate)))
        }
    }

    /// What a payment at the end is worth now, for each unit.
    pub(crate) fn discount(&self) -> f64 {
        libm::exp(-self.rate * self.years)
    }

    /// Black and Scholes, J. Political Economy 81, 1973.
    pub(crate) fn european_call(&self) -> f64 {
        let mean = (self.rate - 0.5 * self.volatility * self.volatility) * self.years;
        self.log_normal_call(mean, self.volatility * libm::sqrt(self.years))
    }

    /// The call on the geometric mean of the steps' ends: Kemna and Vorst, J. Banking and
    /// Finance 14, 1990, in its form for `steps` dates.
    pub(crate) fn geometric_asian_call(&self) -> f64 {
        let n = f64::from(self.steps);
        let drift = self.rate - 0.5 * self.volatility * self.volatility;
        let mean = drift * self.years * (n + 1.0) / (2.0 * n);
        let variance = self.years * (n + 1.0) * (2.0 * n + 1.0) / (6.0 * n * n);
        self.log_normal_call(mean, self.volatility * libm::sqrt(variance))
    }

    /// The call on `spot * exp(X)`, where X is normal with this mean and deviation.
    fn log_normal_call(&self, mean: f64, deviation: f64) -> f64 {
        let lower = (libm::log(self.spot / self.strike) + mean) / deviation;
        let forward = self.spot * libm::exp(mean + 0.5 * deviation * deviation);
        let worth = forward * normal_below(lower + deviation) - self.strike * normal_below(lower);
        self.discount() * worth
    }
}

/// How likely a standard normal number is below `x`.
fn normal_below(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market() -> Market {
        Market {
            spot: 100.0,
            strike: 100.0,
            rate: 0.05,
            volatility: 0.2,
            years: 1.0,
            steps: 100_000,
        }
    }

    #[test]
    fn the_european_call_has_its_textbook_price() {
        assert!((market().european_call() - 10.4506).abs() < 1e-4);
    }

    #[test]
    fn the_geometric_asian_call_has_its_textbook_price() {
        // Kemna and Vorst's continuous limit for these numbers is 5.5468.
        assert!((market().geometric_asian_call() - 5.5468).abs() < 1e-3);
    }

    #[test]
    fn one_step_makes_the_asian_a_european() {
        let market = Market { steps: 1, ..market() };
        assert!((market.geometric_asian_call() - market.european_call()).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_price_is_refused() {
        let failure = Market { volatility: 0.0, ..market() }.check().unwrap_err();
        assert_eq!(failure.to_string(), "--volatility is 0; it must be above 0");
        assert!(Market { spot: f64::NAN, ..market() }.check().is_err());
        assert!(market().check().is_ok());
    }
}
