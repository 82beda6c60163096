//! The price of a day as a picture.

use crate::plot::{Plot, Series};

const TICKS_OF_HOUR: usize = 120;

/// Draws prices, tick by tick.
#[must_use]
pub fn chart(prices: &[u32]) -> String {
    let hours = (0..prices.len()).step_by(6 * TICKS_OF_HOUR);
    let places: Vec<_> = hours.map(|tick| (tick, format!("{} h", tick / TICKS_OF_HOUR))).collect();
    let values = prices.iter().copied().map(f64::from).collect();
    let series = [Series { name: String::new(), values }];
    let title = "The price of one class through a day";
    Plot { title, places: &places, series: &series, least_high: 1.0, decimals: 0 }.draw()
}
