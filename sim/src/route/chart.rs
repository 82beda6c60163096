//! A study as a picture.

use super::{Lie, Study, study};
use crate::plot::{Plot, Series};

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
    let places: Vec<_> = names.iter().cloned().enumerate().collect();
    Plot { title, places: &places, series, least_high, decimals: 1 }.draw()
}
