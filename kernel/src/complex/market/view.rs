//! What is shown of the market.

use isos_base::api::{ForecastView, MarketHistory, MarketView, PricesView};
use isos_base::market::ReservationRecord;
use isos_base::price::Price;
use isos_base::{AccountId, Span, Time};

use super::super::Complex;
use super::{Good, GoodId, Pricing};
use crate::market::price_of_core_hour;

/// Hours ahead of which prices are shown.
const AHEAD: u64 = 24;
const HOUR: Span = Span::secs(3_600);

impl Complex {
    /// The prices of all classes, now and in the hours to come.
    #[must_use]
    pub fn prices(&self) -> PricesView {
        let rate = self.market.core_rate;
        let (fixed, floor, ceiling) = match self.market.pricing {
            Pricing::Fixed => (true, self.config.price, self.config.price),
            Pricing::Market(band) => (false, band.floor, band.ceiling),
        };
        let view = |good: &Good| self.market_view(good, fixed);
        PricesView {
            fixed,
            floor,
            ceiling,
            core_rate: rate,
            next: self.market.deadline(),
            classes: self.market.goods.iter().map(view).collect(),
        }
    }

    fn market_view(&self, good: &Good, fixed: bool) -> MarketView {
        let price = if fixed { self.config.price } else { good.price };
        let forecast = (1..=AHEAD).filter_map(|hours| {
            let at = Time(self.now.0 / HOUR.0 * HOUR.0) + Span(hours * HOUR.0);
            good.history.forecast(at).map(|price| ForecastView { at, price })
        });
        MarketView {
            class: good.name.clone(),
            price,
            posted: if fixed { price } else { good.posted.price() },
            fair: if fixed { price } else { good.fair },
            hour: good.history.hour_mean(self.now).unwrap_or(price),
            core_hour: price_of_core_hour(price, self.market.core_rate),
            hosts: good.hosts,
            supply: good.supply,
            demand: good.demand,
            available_bps: good.available_bps,
            forecast: if fixed { Vec::new() } else { forecast.collect() },
        }
    }

    /// The past of a class; of the one with the most cores if none is named.
    #[must_use]
    pub fn market_history(&self, class: Option<&str>) -> Option<MarketHistory> {
        let goods = &self.market.goods;
        let good = match class {
            Some(name) => goods.iter().find(|good| good.name == name),
            None => goods.iter().max_by_key(|good| good.supply),
        }?;
        Some(MarketHistory {
            class: good.name.clone(),
            ticks: good.history.ticks().copied().collect(),
            hours: good.history.hours().copied().collect(),
        })
    }

    /// What a core does in a second, by the middle one of the hosts.
    #[must_use]
    pub const fn core_rate(&self) -> u64 {
        self.market.core_rate
    }

    /// The price of now, and the lowest that is forecast within a day: of the largest class.
    #[must_use]
    pub fn price_outlook(&self) -> (Price, Option<(Time, Price)>) {
        let largest = self.market.goods.iter().max_by_key(|good| good.supply);
        match (self.market.pricing, largest) {
            (Pricing::Market(_), Some(good)) => {
                (good.price, good.history.cheapest(self.now, AHEAD))
            }
            _ => (self.config.price, None),
        }
    }

    /// What a lease on a host of a class costs now.
    pub(in crate::complex) fn price_of(&self, good: GoodId) -> Price {
        match self.market.pricing {
            Pricing::Fixed => self.config.price,
            Pricing::Market(_) => self.market.goods[good].price,
        }
    }

    /// Whether a market makes prices.
    pub(in crate::complex) fn is_auctioned(&self) -> bool {
        self.market.pricing != Pricing::Fixed
    }

    /// Classes of which a market makes the prices; none where the operator fixes one price.
    pub(in crate::complex) fn auctioned(&self) -> impl Iterator<Item = MarketView> {
        let auctioned = self.is_auctioned();
        let goods = self.market.goods.iter().filter(move |_| auctioned);
        goods.map(|good| self.market_view(good, false))
    }

    /// Reservations that are not over, of one account or of all.
    pub fn reservations(
        &self,
        account: Option<AccountId>,
    ) -> impl Iterator<Item = &ReservationRecord> {
        let open = self.market.reservations.values().map(|it| &it.record);
        open.filter(move |it| account.is_none_or(|account| it.account == account))
    }
}
