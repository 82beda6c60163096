//! The outcomes as a picture: a row for each kind of cheat, a mark for each policy, further to the
//! right the more wrong results it let through. Plain SVG, no library.

use std::fmt::Write;

use super::{Outcome, Policy, Setting};

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
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">Wrong results among accepted ones</text>\n",
        NAMES + WIDTH + 30.0
    );
    legend(&mut out);
    for power in LOWEST as i32..=HIGHEST as i32 {
        let x = at(10_f64.powi(power));
        let bottom = height - 24.0;
        let name = if power == LOWEST as i32 { "none".into() } else { format!("1e{power}") };
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" \
             stroke=\"#dddddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            TOP - 14.0,
            bottom + 16.0
        );
    }
    for (row, name) in strategies.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let _ = writeln!(out, "<text x=\"10\" y=\"{:.1}\">{name}</text>", y + 4.0);
        let of_row = rows.iter().filter(|(setting, _)| setting.strategy.to_string() == *name);
        for (setting, outcome) in of_row {
            let n = place(setting.policy);
            let (x, y) = (at(outcome.error()), y + (n as f64 - 2.5) * 4.0);
            let colour = COLOURS[n];
            let _ =
                writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
            if let Some(bound) = setting.policy.bound(setting.bad) {
                let x = at(bound);
                let _ = writeln!(
                    out,
                    "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" \
                     stroke=\"{colour}\" stroke-width=\"2\"/>",
                    y - 4.0,
                    y + 4.0
                );
            }
        }
    }
    out + "</svg>\n"
}

/// The names of the policies; a stroke is what one promises.
fn legend(out: &mut String) {
    for (n, policy) in Policy::ALL.into_iter().enumerate() {
        let (x, colour) = (10.0 + 150.0 * n as f64, COLOURS[n]);
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"42\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"46\">{policy}</text>",
            x + 5.0,
            x + 14.0
        );
    }
    out.push_str(
        "<text x=\"10\" y=\"64\" fill=\"#666666\">a stroke is what a rule promises</text>\n",
    );
}

/// The number of a policy among those that are compared.
fn place(policy: Policy) -> usize {
    Policy::ALL.iter().position(|other| *other == policy).unwrap_or(Policy::ALL.len() - 1)
}
