//! Which settings are compared, and the tables that come of it.

use std::fmt::Write;

use isos_base::time::Span;

use super::{Lie, Outcome, Setting, lean, measure};

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

fn percent(share: f64) -> String {
    if share.is_nan() { "-".into() } else { format!("{:.1}%", share * 100.0) }
}

fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() { "-".into() } else { format!("{value:.decimals$}") }
}

fn millis(span: Span) -> u64 {
    span.0 / 1_000
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    format!(
        "{:<24} {:>6} {:>4} {:>6} {:>6} {:>6} {:>7} {:>7} {:>6} {:>5} {:>7} {:>7} {:>6} {:>8} {:>6} {:>6}\n",
        "",
        "hops",
        "max",
        "p50ms",
        "p90ms",
        "p99ms",
        "found",
        "right",
        "asked",
        "lies",
        "copies",
        "B/s",
        "+hs",
        "contacts",
        "dead",
        "pace"
    )
}

/// One line of it.
#[must_use]
pub fn line((name, _, it): &Row) -> String {
    format!(
        "{name:<24} {:>6} {:>4} {:>6} {:>6} {:>6} {:>7} {:>7} {:>6} {:>5} {:>7} {:>7} {:>6} {:>8} {:>6} {:>5}s\n",
        number(it.hops, 2),
        it.hops_max,
        millis(it.p50),
        millis(it.p90),
        millis(it.p99),
        percent(it.found),
        percent(it.right),
        number(it.asked, 1),
        number(it.lies, 1),
        number(it.copies, 1),
        number(it.upkeep_bytes, 0),
        number(it.handshake_bytes, 0),
        number(it.contacts, 0),
        percent(it.dead),
        number(it.pace.as_secs_f64(), 1),
    )
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
    let mut text = String::from(
        "setting,hosts,session_s,bad,lie,paths,loss,hops,hops_max,p50_ms,p90_ms,p99_ms,found,right,\
         asked,lies,copies,upkeep_bytes_s,handshake_bytes_s,upkeep_messages_s,contacts,dead,pace_s\n",
    );
    for (name, setting, it) in rows {
        let session = setting.session.map(|span| span.as_secs_f64().to_string());
        let _ = writeln!(
            text,
            "\"{name}\",{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            setting.hosts,
            session.unwrap_or_default(),
            setting.bad,
            if setting.bad > 0.0 { setting.lie.to_string() } else { String::new() },
            setting.paths,
            setting.loss,
            number(it.hops, 3),
            it.hops_max,
            millis(it.p50),
            millis(it.p90),
            millis(it.p99),
            number(it.found, 4),
            number(it.right, 4),
            number(it.asked, 1),
            number(it.lies, 2),
            number(it.copies, 2),
            number(it.upkeep_bytes, 1),
            number(it.handshake_bytes, 1),
            number(it.upkeep_messages, 3),
            number(it.contacts, 1),
            number(it.dead, 4),
            it.pace.as_secs_f64(),
        );
    }
    text
}
