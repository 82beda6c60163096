//! Prices over time, as lines of a terminal and as a picture. Block characters and plain SVG.

use std::fmt::Write;

use isos_base::Time;
use isos_base::price::Price;

/// The price at one time; over an hour it has a lowest and a highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dot {
    pub(super) at: Time,
    pub(super) low: Price,
    pub(super) price: Price,
    pub(super) high: Price,
}

impl Dot {
    pub(super) const fn of(at: Time, price: Price) -> Self {
        Self { at, low: price, price, high: price }
    }
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    /// In order of time.
    pub(super) dots: Vec<Dot>,
}

/// Columns of a terminal.
const COLUMNS: usize = 60;
const ROWS: u64 = 8;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;

impl Plot {
    /// The lowest and the highest price, with room so that a line is seen that never moves.
    fn range(&self) -> (u32, u32) {
        let low = self.dots.iter().map(|dot| dot.low.0).min().unwrap_or(0);
        let high = self.dots.iter().map(|dot| dot.high.0).max().unwrap_or(0);
        let room = ((high - low) / 10).max(1);
        (low.saturating_sub(room), high.saturating_add(room))
    }

    /// At most [`COLUMNS`] columns, each the mean of its dots.
    fn columns(&self) -> Vec<u32> {
        let wide = self.dots.len().div_ceil(COLUMNS).max(1);
        let mean = |dots: &[Dot]| {
            let sum: u64 = dots.iter().map(|dot| u64::from(dot.price.0)).sum();
            // A mean of prices is a price.
            (sum / dots.len() as u64) as u32
        };
        self.dots.chunks(wide).map(mean).collect()
    }

    /// For a terminal; nothing if there are no dots.
    pub(super) fn lines(&self) -> Vec<String> {
        let (Some(first), Some(last)) = (self.dots.first(), self.dots.last()) else {
            return Vec::new();
        };
        let (low, high) = self.range();
        let columns = self.columns();
        let eighths = |price: u32| {
            let over = u64::from(price.saturating_sub(low)) * ROWS * 8;
            (over / u64::from(high - low)).max(1)
        };
        let mut lines = Vec::new();
        for row in (0..ROWS).rev() {
            let mut line = match row {
                0 => format!("{low:>9} ┤"),
                _ if row == ROWS - 1 => format!("{high:>9} ┤"),
                _ => format!("{:>9} │", ""),
            };
            for &price in &columns {
                let fill = eighths(price).saturating_sub(row * 8).min(8);
                line.push(EIGHTHS[fill as usize]);
            }
            lines.push(line);
        }
        let (from, until) = (first.at.to_string(), last.at.to_string());
        let gap = columns.len().saturating_sub(from.chars().count() + until.chars().count()).max(2);
        lines.push(format!("{:>11}{from}{:gap$}{until}", "", ""));
        lines
    }

    /// For a file.
    pub(super) fn svg(&self) -> String {
        let (low, high) = self.range();
        let (from, until) = match (self.dots.first(), self.dots.last()) {
            (Some(first), Some(last)) => (first.at.0, last.at.0.max(first.at.0 + 1)),
            _ => (0, 1),
        };
        let x = |at: Time| LEFT + at.0.saturating_sub(from) as f64 / (until - from) as f64 * WIDTH;
        let over = f64::from((high - low).max(1));
        let y = |price: u32| TOP + HEIGHT - f64::from(price.saturating_sub(low)) / over * HEIGHT;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n",
            LEFT + WIDTH + 30.0,
            TOP + HEIGHT + 40.0,
            escaped(&self.title)
        );
        for part in 0..=4_u32 {
            // Between two prices there is a price.
            let price = low + ((u64::from(high - low) * u64::from(part)) / 4) as u32;
            let y = y(price);
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{price}</text>",
                LEFT + WIDTH,
                LEFT - 6.0,
                y + 4.0
            );
        }
        let there = self.dots.iter().map(|dot| (x(dot.at), y(dot.high.0)));
        let back = self.dots.iter().rev().map(|dot| (x(dot.at), y(dot.low.0)));
        let band: String = there.chain(back).map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
        let line: String = self
            .dots
            .iter()
            .map(|dot| format!("{:.1},{:.1} ", x(dot.at), y(dot.price.0)))
            .collect();
        let _ = writeln!(
            out,
            "<polygon points=\"{}\" fill=\"#2166ac\" fill-opacity=\"0.2\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#2166ac\" stroke-width=\"1.5\"/>",
            band.trim_end(),
            line.trim_end()
        );
        if let (Some(first), Some(last)) = (self.dots.first(), self.dots.last()) {
            let y = TOP + HEIGHT + 20.0;
            let _ = writeln!(
                out,
                "<text x=\"{LEFT}\" y=\"{y:.1}\">{}</text>\
                 <text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
                first.at,
                LEFT + WIDTH,
                last.at
            );
        }
        out + "</svg>\n"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
