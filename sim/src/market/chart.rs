//! The price of a day as a picture. Plain SVG, no library.

use std::fmt::Write;

const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const TICKS_OF_HOUR: usize = 120;

/// Draws prices, tick by tick.
#[must_use]
pub fn chart(prices: &[u32]) -> String {
    let high = f64::from(prices.iter().copied().max().unwrap_or(1).max(1)) * 1.05;
    let last = prices.len().max(2) - 1;
    let x = |tick: usize| LEFT + tick as f64 / last as f64 * WIDTH;
    let y = |price: f64| TOP + HEIGHT - price / high * HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">The price of one class through a day</text>\n",
        LEFT + WIDTH + 30.0,
        TOP + HEIGHT + 40.0
    );
    for part in 0..=4_u32 {
        let price = high / 4.0 * f64::from(part);
        let y = y(price);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{price:.0}</text>",
            LEFT + WIDTH,
            LEFT - 6.0,
            y + 4.0
        );
    }
    for hour in (0..=last / TICKS_OF_HOUR).step_by(6) {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{hour} h</text>",
            x(hour * TICKS_OF_HOUR),
            TOP + HEIGHT + 20.0
        );
    }
    let dots = prices.iter().enumerate();
    let line: String =
        dots.map(|(tick, price)| format!("{:.1},{:.1} ", x(tick), y(f64::from(*price)))).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#2166ac\" stroke-width=\"1.2\"/>",
        line.trim_end()
    );
    out + "</svg>\n"
}
