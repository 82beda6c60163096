//! A study as a picture.

use super::{Study, study};
use crate::plot::{Plot, Series};

/// Draws a study.
#[must_use]
pub fn chart(what: Study, rows: &[study::Row]) -> String {
    let of = |name: &str, value: &dyn Fn(&study::Row) -> f64| Series {
        name: name.into(),
        values: rows.iter().map(value).collect(),
    };
    let lost = of("lost", &|row| f64::from(row.2.lost));
    match what {
        Study::Model => {
            let model = of("expected by the model", &|row| row.2.expected);
            draw("Segments lost, and expected", rows, &[lost, model])
        }
        Study::Traffic => {
            // One that waits for nothing would press all others to the ground.
            let least = |value: f64| if value > 20.0 { f64::NAN } else { value };
            let moved = of("moved by repair a month, for each byte", &|row| least(row.2.moved));
            let model = of("the model", &|row| row.2.moved_model);
            draw("Bytes moved by repair", rows, &[moved, model])
        }
        Study::Together => draw("Segments lost when hosts go together", rows, &[lost]),
    }
}

/// Names stand below as numbers, in the order of the table.
fn draw(title: &str, rows: &[study::Row], series: &[Series]) -> String {
    let places: Vec<_> = (0..rows.len()).map(|at| (at, (at + 1).to_string())).collect();
    let named = rows
        .iter()
        .enumerate()
        .map(|(at, (name, ..))| Series { name: format!("{}: {name}", at + 1), values: Vec::new() });
    let drawn = series.iter().map(|it| Series { name: it.name.clone(), values: it.values.clone() });
    let all: Vec<Series> = drawn.chain(named).collect();
    Plot { title, places: &places, series: &all, least_high: 1.0, decimals: 1 }.draw()
}
