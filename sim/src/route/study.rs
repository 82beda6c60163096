//! Which settings are compared, and the tables that come of it.

use std::fmt::Write;

use isos_base::time::Span;

use super::{Lie, Outcome, Setting, lean, measure};
use crate::figures::{self, Figure, figure};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Study {
    /// More and more hosts, in a quiet world.
    Scale,
    /// Shorter and shorter lives.
    Churn,
    /// More and more liars of each kind, over one path and several.
    Liars,
}

/// One line: what stands in front, the setting, what came out.
pub type Row = (String, Setting, Outcome);

/// Median lives, in seconds; Bamboo's shortest is the last.
const SESSIONS: [u64; 4] = [4 * 3_600, 3_600, 900, 84];
/// Shares of liars, in percent.
const BAD: [u32; 4] = [0, 10, 20, 30];

/// Runs a study around a setting; each line is handed over as soon as it is there.
pub fn study(
    what: Study,
    base: &Setting,
    hosts: &[u32],
    is_lean: bool,
    mut tell: impl FnMut(&Row),
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, setting) in settings(what, base, hosts, is_lean) {
        let outcome = if is_lean { lean::measure(&setting) } else { measure(&setting) };
        rows.push((name, setting, outcome));
        rows.last().inspect(|row| tell(row));
    }
    rows
}

fn settings(what: Study, base: &Setting, hosts: &[u32], is_lean: bool) -> Vec<(String, Setting)> {
    let base = Setting { hosts: hosts.first().copied().unwrap_or(base.hosts), ..*base };
    match what {
        Study::Scale => hosts
            .iter()
            .map(|&hosts| {
                // Large worlds begin with full tables and need only find their pace.
                let settle = if hosts > 20_000 { Span::secs(420) } else { base.settle };
                (format!("{hosts} hosts"), Setting { hosts, settle, ..base })
            })
            .collect(),
        Study::Churn => {
            let quiet = ("no churn".to_owned(), base);
            let lives = SESSIONS.iter().map(|&secs| {
                let session = Some(Span::secs(secs));
                (format!("median {}", minutes(secs)), Setting { session, ..base })
            });
            std::iter::once(quiet).chain(lives).collect()
        }
        Study::Liars => {
            let lies: &[Lie] = if is_lean { &[Lie::Silent, Lie::Collude] } else { &Lie::ALL };
            let mut all = Vec::new();
            for paths in [1, 3, 6] {
                // So many worlds that each is shorter.
                let (settle, span) = (Span::secs(240), Span::secs(240));
                let base = Setting { paths, settle, span, ..base };
                all.push((format!("none, {paths} paths"), Setting { bad: 0.0, ..base }));
                for &lie in lies {
                    for percent in BAD.into_iter().filter(|percent| *percent > 0) {
                        let bad = f64::from(percent) / 100.0;
                        let name = format!("{percent} % {lie}, {paths} paths");
                        all.push((name, Setting { bad, lie, ..base }));
                    }
                }
            }
            all
        }
    }
}

fn minutes(secs: u64) -> String {
    match secs {
        0..600 => format!("{:.1} min", secs as f64 / 60.0),
        600..3_600 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3_600),
    }
}

/// Room for the name of a line.
const NAME: usize = 24;

/// All figures, in the order of both.
const FIGURES: [Figure<Outcome>; 16] = {
    use figures::Shown::{Number, Percent, Seconds};
    [
        figure(("hops", 6, Number(2)), ("hops", 3), |it| it.hops),
        figure(("max", 4, Number(0)), ("hops_max", 0), |it| f64::from(it.hops_max)),
        figure(("p50ms", 6, Number(0)), ("p50_ms", 0), |it| millis(it.p50)),
        figure(("p90ms", 6, Number(0)), ("p90_ms", 0), |it| millis(it.p90)),
        figure(("p99ms", 6, Number(0)), ("p99_ms", 0), |it| millis(it.p99)),
        figure(("found", 7, Percent), ("found", 4), |it| it.found),
        figure(("right", 7, Percent), ("right", 4), |it| it.right),
        figure(("asked", 6, Number(1)), ("asked", 1), |it| it.asked),
        figure(("lies", 5, Number(1)), ("lies", 2), |it| it.lies),
        figure(("copies", 7, Number(1)), ("copies", 2), |it| it.copies),
        figure(("B/s", 7, Number(0)), ("upkeep_bytes_s", 1), |it| it.upkeep_bytes),
        figure(("+hs", 6, Number(0)), ("handshake_bytes_s", 1), |it| it.handshake_bytes),
        figure(("", 0, Number(3)), ("upkeep_messages_s", 3), |it| it.upkeep_messages),
        figure(("contacts", 8, Number(0)), ("contacts", 1), |it| it.contacts),
        figure(("dead", 6, Percent), ("dead", 4), |it| it.dead),
        figure(("pace", 6, Seconds), ("pace_s", 3), |it| it.pace.as_secs_f64()),
    ]
};

/// Whole ones.
fn millis(span: Span) -> f64 {
    (span.0 / 1_000) as f64
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    figures::head(&FIGURES, NAME)
}

/// One line of it.
#[must_use]
pub fn line((name, _, outcome): &Row) -> String {
    figures::line(&FIGURES, (name, NAME), outcome)
}

/// What the columns are.
pub const LEGEND: &str = "\n\
hops: requests in a row to the nearest router or the first holder. found: of searches for what is \
held.\nright: of searches for a place, those that found the router nearest to it. asked, lies: \
routers asked by\na search, and liars that showed. copies: routers that a pointer was put to. B/s: \
what a router sends while\nnobody searches, with 80 bytes around each message; +hs: handshakes. \
contacts, dead: of a table. pace:\nbetween two probes.\n";

/// All figures, for other programs.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let names = figures::names(&FIGURES);
    let mut text = format!("setting,hosts,session_s,bad,lie,paths,loss{names}\n");
    for (name, setting, outcome) in rows {
        let session = setting.session.map(|span| span.as_secs_f64().to_string());
        let _ = writeln!(
            text,
            "\"{name}\",{},{},{},{},{},{}{}",
            setting.hosts,
            session.unwrap_or_default(),
            setting.bad,
            if setting.bad > 0.0 { setting.lie.to_string() } else { String::new() },
            setting.paths,
            setting.loss,
            figures::values(&FIGURES, outcome),
        );
    }
    text
}
