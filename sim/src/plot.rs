//! Plots as plain SVG: a frame, a scale, lines and what they are called. No library, and nothing is
//! decided here: what is drawn is printed as a table as well.

use std::fmt::Write;

/// Of lines that are there to read others by.
pub(crate) const GRID: &str = "#dddddd";

const COLOURS: [&str; 6] = ["#2166ac", "#b2182b", "#1b7837", "#ef8a62", "#762a83", "#4d4d4d"];
const LEFT: f64 = 70.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 60.0;
const WIDTH: f64 = 700.0;
const HEIGHT: f64 = 260.0;
/// Height of a name below the frame.
const NAME: f64 = 18.0;
/// Parts of the scale.
const PARTS: u32 = 4;

/// What is drawn so far.
pub(crate) struct Picture(String);

/// Which end of a text stands where it is put.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Start,
    Middle,
    End,
}

impl Picture {
    /// A white sheet with a title.
    pub(crate) fn new((width, height): (f64, f64), title: &str) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"24\" font-size=\"15\">{title}</text>\n"
        ))
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), at: At, text: &str) {
        let anchor = match at {
            At::Start => "start",
            At::Middle => "middle",
            At::End => "end",
        };
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        );
    }

    pub(crate) fn dot(&mut self, (x, y): (f64, f64), colour: &str) {
        let _ = writeln!(self.0, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
    }

    fn curve(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\"/>",
            points.join(" ")
        );
    }

    pub(crate) fn done(self) -> String {
        self.0 + "</svg>\n"
    }
}

/// Lines over places that are equally far from each other, from zero upwards.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    /// Places that have a name.
    pub(crate) places: &'a [(usize, String)],
    pub(crate) series: &'a [Series],
    /// The scale reaches so far at the least.
    pub(crate) least_high: f64,
    /// Digits of its numbers behind the point.
    pub(crate) decimals: usize,
}

/// One line of it.
pub(crate) struct Series {
    /// What stands below, if there is something to tell apart.
    pub(crate) name: String,
    /// At each place; where there is no number, nothing is drawn.
    pub(crate) values: Vec<f64>,
}

impl Plot<'_> {
    pub(crate) fn draw(&self) -> String {
        let Self { title, places, series, least_high, decimals } = *self;
        let known = || series.iter().flat_map(|it| &it.values).filter(|value| !value.is_nan());
        let high = known().fold(least_high, |high, value| high.max(*value)) * 1.02;
        let longest = series.iter().map(|it| it.values.len()).max().unwrap_or(0);
        let last = longest.max(2) - 1;
        let x = |at: usize| LEFT + at as f64 / last as f64 * WIDTH;
        let y = |value: f64| TOP + HEIGHT - value / high * HEIGHT;
        let bottom = TOP + HEIGHT + 40.0;
        let named = series.iter().filter(|it| !it.name.is_empty()).count();
        let size = (LEFT + WIDTH + RIGHT, bottom + NAME * named as f64);
        let mut picture = Picture::new(size, title);
        for part in 0..=PARTS {
            let value = high / f64::from(PARTS) * f64::from(part);
            let y = y(value);
            picture.line((LEFT, y), (LEFT + WIDTH, y), GRID, 1.0);
            picture.text((LEFT - 6.0, y + 4.0), At::End, &format!("{value:.decimals$}"));
        }
        for (at, name) in places {
            picture.text((x(*at), TOP + HEIGHT + 20.0), At::Middle, name);
        }
        for (n, Series { name, values }) in series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let known = values.iter().enumerate().filter(|(_, value)| !value.is_nan());
            picture.curve(known.map(|(at, value)| (x(at), y(*value))), colour);
            if !name.is_empty() {
                let line = bottom + NAME * n as f64;
                picture.dot((LEFT, line - 4.0), colour);
                picture.text((LEFT + 10.0, line), At::Start, name);
            }
        }
        picture.done()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_drawn_on_one_scale_and_named() {
        let series =
            |name: &str, values: &[f64]| Series { name: name.into(), values: values.into() };
        let series = [series("one", &[0.0, 5.0, 10.0]), series("two", &[1.0, f64::NAN, 1.0])];
        let places = [(0, "here".to_owned()), (2, "there".to_owned())];
        let plot =
            Plot { title: "T", places: &places, series: &series, least_high: 1.0, decimals: 1 };
        let svg = plot.draw();
        let lines: Vec<&str> = svg.lines().filter(|line| line.starts_with("<polyline")).collect();
        let [one, two] = lines[..] else { panic!("{svg}") };
        assert!(one.contains("70.0,320.0 420.0,192.5 770.0,65.1"), "{one}");
        assert!(two.contains("\"70.0,294.5 770.0,294.5\""), "{two}");
        assert!([">one<", ">two<", ">there<", ">10.2<"].iter().all(|it| svg.contains(it)), "{svg}");
    }
}
