//! A study as a picture. Plain SVG, no library.

use std::fmt::Write;

use super::{Lie, Study, study};

const COLOURS: [&str; 6] = ["#2166ac", "#b2182b", "#1b7837", "#ef8a62", "#762a83", "#4d4d4d"];
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 260.0;
const PART_OF_LEGEND: f64 = 18.0;

/// One line of the picture.
struct Series {
    name: String,
    values: Vec<f64>,
}

/// Draws a study.
#[must_use]
pub fn chart(what: Study, rows: &[study::Row]) -> String {
    let of = |name: &str, value: &dyn Fn(&study::Row) -> f64| Series {
        name: name.into(),
        values: rows.iter().map(value).collect(),
    };
    let names: Vec<String> = rows.iter().map(|(name, ..)| name.clone()).collect();
    match what {
        Study::Scale => {
            let hops = of("requests in a row, mean", &|row| row.2.hops);
            let most = of("the most", &|row| f64::from(row.2.hops_max));
            draw("Steps to the nearest router", &names, &[hops, most], 8.0)
        }
        Study::Churn => {
            let found = of("holders found, %", &|row| row.2.found * 100.0);
            let right = of("nearest router found, %", &|row| row.2.right * 100.0);
            let bytes = of("upkeep, B/s and router, in tens", &|row| row.2.upkeep_bytes / 10.0);
            draw("Searches and upkeep against churn", &names, &[found, right, bytes], 100.0)
        }
        Study::Liars => liars(rows),
    }
}

/// A line for each kind of lie and number of paths, over the share of liars.
fn liars(rows: &[study::Row]) -> String {
    let mut shares: Vec<f64> = rows.iter().map(|(_, setting, _)| setting.bad).collect();
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    let names: Vec<String> = shares.iter().map(|bad| format!("{:.0} %", bad * 100.0)).collect();
    let mut paths: Vec<usize> = rows.iter().map(|(_, setting, _)| setting.paths).collect();
    paths.dedup();
    let mut all = Vec::new();
    for lie in [Lie::Collude, Lie::Silent] {
        for &paths in &paths {
            let value = |bad: &f64| {
                let mut fits = rows.iter().filter(|(_, setting, _)| {
                    setting.paths == paths
                        && setting.bad == *bad
                        && (setting.lie == lie || setting.bad == 0.0)
                });
                fits.next().map_or(f64::NAN, |row| row.2.right * 100.0)
            };
            let values = shares.iter().map(value).collect();
            all.push(Series { name: format!("{lie}, {paths} paths"), values });
        }
    }
    draw("Nearest router found, %, against the share of liars", &names, &all, 100.0)
}

fn draw(title: &str, names: &[String], series: &[Series], least_high: f64) -> String {
    let values = series.iter().flat_map(|it| &it.values).filter(|value| !value.is_nan());
    let high = values.fold(least_high, |high, value| high.max(*value)) * 1.02;
    let last = names.len().max(2) - 1;
    let x = |at: usize| LEFT + at as f64 / last as f64 * WIDTH;
    let y = |value: f64| TOP + HEIGHT - value / high * HEIGHT;
    let bottom = TOP + HEIGHT + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\">{title}</text>\n",
        LEFT + WIDTH + 60.0,
        bottom + PART_OF_LEGEND * series.len() as f64 + 10.0
    );
    for part in 0..=4_u32 {
        let value = high / 4.0 * f64::from(part);
        let y = y(value);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
            LEFT + WIDTH,
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (at, name) in names.iter().enumerate() {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            x(at),
            TOP + HEIGHT + 20.0
        );
    }
    for (n, Series { name, values }) in series.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let known = values.iter().enumerate().filter(|(_, value)| !value.is_nan());
        let dots: String =
            known.map(|(at, value)| format!("{:.1},{:.1} ", x(at), y(*value))).collect();
        let line = bottom + PART_OF_LEGEND * n as f64;
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\
             <circle cx=\"{LEFT}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{line:.1}\">{name}</text>",
            dots.trim_end(),
            line - 4.0,
            LEFT + 10.0
        );
    }
    out + "</svg>\n"
}
