//! The outcomes as a picture: a row for each kind of cheat, a mark for each policy, further to the
//! right the more wrong results it let through.

use super::{Outcome, Policy, Setting};
use crate::plot::{At, GRID, Picture};

const COLOURS: [&str; 6] = ["#1b7837", "#5aae61", "#2166ac", "#b2182b", "#ef8a62", "#4d4d4d"];
/// Left of the axis.
const NAMES: f64 = 250.0;
const WIDTH: f64 = 640.0;
const ROW: f64 = 34.0;
const TOP: f64 = 90.0;
/// Powers of ten at the ends of the axis.
const LOWEST: f64 = -6.0;
const HIGHEST: f64 = 0.0;

/// Where an error rate stands; none at all stands at the left end.
fn at(error: f64) -> f64 {
    let power = if error > 0.0 { error.log10().clamp(LOWEST, HIGHEST) } else { LOWEST };
    NAMES + (power - LOWEST) / (HIGHEST - LOWEST) * WIDTH
}

/// Draws the outcomes of [`super::compare`].
#[must_use]
pub fn chart(rows: &[(Setting, Outcome)]) -> String {
    let mut strategies: Vec<String> =
        rows.iter().map(|(setting, _)| setting.strategy.to_string()).collect();
    strategies.dedup();
    let height = TOP + ROW * strategies.len() as f64 + 30.0;
    let size = (NAMES + WIDTH + 30.0, height);
    let mut picture = Picture::new(size, "Wrong results among accepted ones");
    legend(&mut picture);
    for power in LOWEST as i32..=HIGHEST as i32 {
        let (x, bottom) = (at(10_f64.powi(power)), height - 24.0);
        let name = if power == LOWEST as i32 { "none".into() } else { format!("1e{power}") };
        picture.line((x, TOP - 14.0), (x, bottom), GRID, 1.0);
        picture.text((x, bottom + 16.0), At::Middle, &name);
    }
    for (row, name) in strategies.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        picture.text((10.0, y + 4.0), At::Start, name);
        let of_row = rows.iter().filter(|(setting, _)| setting.strategy.to_string() == *name);
        for (setting, outcome) in of_row {
            let n = place(setting.policy);
            let (y, colour) = (y + (n as f64 - 2.5) * 4.0, COLOURS[n]);
            picture.dot((at(outcome.error()), y), colour);
            if let Some(bound) = setting.policy.bound(setting.bad) {
                let x = at(bound);
                picture.line((x, y - 4.0), (x, y + 4.0), colour, 2.0);
            }
        }
    }
    picture.done()
}

/// The names of the policies; a stroke is what one promises.
fn legend(picture: &mut Picture) {
    for (n, policy) in Policy::ALL.into_iter().enumerate() {
        let x = 10.0 + 150.0 * n as f64;
        picture.dot((x + 5.0, 42.0), COLOURS[n]);
        picture.text((x + 14.0, 46.0), At::Start, &policy.to_string());
    }
    picture.text((10.0, 64.0), At::Start, "a stroke is what a rule promises");
}

/// The number of a policy among those that are compared.
fn place(policy: Policy) -> usize {
    Policy::ALL.iter().position(|other| *other == policy).unwrap_or(Policy::ALL.len() - 1)
}
