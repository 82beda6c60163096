//! The simulation: paths of the share, what each pays, and sums that add up over tasks.

use std::str::FromStr;

use isos_guest::Rng;

use crate::market::Market;

/// What is paid at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payoff {
    /// By how much the last price exceeds the strike.
    European,
    /// By how much the arithmetic average of the steps exceeds the strike.
    Asian,
}

impl Payoff {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::European => "european",
            Self::Asian => "asian",
        }
    }
}

impl FromStr for Payoff {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::European, Self::Asian]
            .into_iter()
            .find(|payoff| payoff.name() == text)
            .ok_or_else(|| format!("payoff `{text}` is neither european nor asian"))
    }
}

/// Sums over paths of their payments' present value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) paths: u32,
    pub(crate) sum: f64,
    pub(crate) sum_of_squares: f64,
}

impl Totals {
    pub(crate) fn mean(&self) -> f64 {
        self.sum / f64::from(self.paths)
    }

    /// Standard deviation of the mean.
    pub(crate) fn standard_error(&self) -> f64 {
        let n = f64::from(self.paths);
        let variance = (self.sum_of_squares / n - self.mean() * self.mean()).max(0.0);
        libm::sqrt(variance / n)
    }
}

/// Simulates `paths` paths.
pub(crate) fn run(market: &Market, payoff: Payoff, paths: u32, rng: &mut Rng) -> Totals {
    let step = market.years / f64::from(market.steps);
    let drift = (market.rate - 0.5 * market.volatility * market.volatility) * step;
    let deviation = market.volatility * libm::sqrt(step);
    let discount = market.discount();
    let mut totals = Totals { paths, ..Totals::default() };
    for _ in 0..paths {
        let mut growth = 0.0;
        let mut sum_of_prices = 0.0;
        for _ in 0..market.steps {
            growth += drift + deviation * rng.normal();
            if payoff == Payoff::Asian {
                sum_of_prices += market.spot * libm::exp(growth);
            }
        }
        let price = match payoff {
            Payoff::European => market.spot * libm::exp(growth),
            Payoff::Asian => sum_of_prices / f64::from(market.steps),
        };
        let worth = discount * (price - market.strike).max(0.0);
        totals.sum += worth;
        totals.sum_of_squares += worth * worth;
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKET: Market =
        Market { spot: 100.0, strike: 105.0, rate: 0.03, volatility: 0.25, years: 1.0, steps: 12 };

    #[test]
    fn the_european_price_agrees_with_the_closed_form() {
        let totals = run(&MARKET, Payoff::European, 50_000, &mut Rng::new(1));
        let away = (totals.mean() - MARKET.european_call()).abs();
        assert!(away < 3.0 * totals.standard_error(), "{away} away");
    }

    #[test]
    fn the_asian_price_is_a_little_above_the_geometric_one() {
        let totals = run(&MARKET, Payoff::Asian, 50_000, &mut Rng::new(1));
        let above = totals.mean() - MARKET.geometric_asian_call();
        assert!(above > 0.0 && above < 0.5, "{above} above");
    }

    #[test]
    fn payoffs_are_read_by_name() {
        assert_eq!("asian".parse(), Ok(Payoff::Asian));
        assert!("bermudan".parse::<Payoff>().is_err());
    }
}
