//! What hosts answered that were asked without a server.

use isos_agent::{QueryFound, QueryRow};
use isos_base::{Bytes, Span};
use isos_gossip::query::Fact;
use serde_json::{Map, Value, json};

use crate::output::{Page, Report, Table, Tone, clean, duration, plural};

/// So large a share of all hosts was asked if all were: their number is an estimate.
const ALL: f64 = 0.95;
/// Of more than so many times all hosts somebody tells who cannot count.
const TOO_MANY: f64 = 1.2;

/// What is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Hosts, in the order of this number.
    Rows(Fact),
    /// How many fit.
    Count,
    /// A number of those that fit, added up.
    Sum(Fact),
}

/// A question and what came of it.
#[derive(Debug)]
pub(crate) struct QueryReport {
    pub(crate) text: String,
    pub(crate) wanted: Wanted,
    pub(crate) found: QueryFound,
}

fn shown(fact: Fact, value: f64) -> String {
    match fact {
        Fact::MemoryFree | Fact::DiskFree => Bytes(value as u64).to_string(),
        Fact::Uptime => duration(Span((value * 1e6) as u64).rounded()),
        Fact::Busy if value == 0.0 => "no".into(),
        Fact::Busy => "yes".into(),
        Fact::Reliability => format!("{:.1} %", value * 100.0),
        Fact::Cores => format!("{value:.0}"),
        Fact::Load | Fact::CoreHours => format!("{value:.1}"),
    }
}

fn sum(fact: Fact, value: f64) -> String {
    match fact {
        Fact::Busy => format!("{value:.0}"),
        Fact::Reliability => format!("{value:.1}"),
        _ => shown(fact, value),
    }
}

fn numbers(values: impl IntoIterator<Item = f64>) -> Map<String, Value> {
    let named = Fact::ALL.into_iter().zip(values).map(|(fact, value)| {
        let value = match fact {
            Fact::MemoryFree | Fact::DiskFree => json!(value as u64),
            _ => json!(value),
        };
        (fact.name().to_owned(), value)
    });
    named.collect()
}

impl QueryReport {
    /// Whether some hosts were not asked that should have been, as far as is known.
    pub(crate) fn is_partial(&self, most: Option<u32>) -> bool {
        let QueryFound { asked, lost, hosts, .. } = &self.found;
        let all = most.map_or(f64::INFINITY, f64::from).min(hosts.unwrap_or(0.0));
        *lost > 0 || f64::from(*asked) < (all * ALL).floor()
    }

    /// Whether more were asked than there can be.
    fn is_doubtful(&self) -> bool {
        let hosts = self.found.hosts.unwrap_or(f64::INFINITY);
        f64::from(self.found.asked) > hosts * TOO_MANY + 4.0
    }

    fn sum_of(&self, fact: Fact) -> f64 {
        self.found.sums.get(fact.at()).copied().unwrap_or(0.0)
    }

    fn asked(&self) -> String {
        let QueryFound { asked, hosts, waited, .. } = &self.found;
        let all = match hosts {
            Some(hosts) => format!(" of about {}", plural(hosts.round().max(0.0) as u64, "host")),
            None => ", of how many nobody knows yet".into(),
        };
        format!("{asked}{all}, in {:.1} s", waited.as_secs_f64())
    }

    fn cells(row: &QueryRow) -> Vec<String> {
        let mut cells =
            vec![clean(&row.name).into_owned(), row.host.short(), clean(&row.country).into_owned()];
        cells.extend(Fact::ALL.map(|fact| shown(fact, row.facts[fact.at()].into())));
        cells
    }
}

impl Report for QueryReport {
    fn kind(&self) -> &'static str {
        "query"
    }

    fn text(&self, page: &mut Page) {
        let QueryFound { asked, matched, lost, rows, .. } = &self.found;
        let is_whole = !self.is_partial(None) && !self.is_doubtful();
        let tone = if is_whole { Tone::Good } else { Tone::Warn };
        let fit = format!("{matched} of {} that were asked", plural(*asked, "host"));
        page.toned(
            tone,
            match self.wanted {
                Wanted::Sum(fact) => format!(
                    "{} {}, over {fit}",
                    sum(fact, self.sum_of(fact)),
                    fact.name().replace('_', " "),
                ),
                Wanted::Count | Wanted::Rows(_) => {
                    format!("{fit}: {}", clean(&self.text))
                }
            },
        );
        page.field("asked", self.asked());
        if *lost > 0 {
            let silent = format!(
                "{} took the question on and fell silent, with all that they asked",
                plural(*lost, "host"),
            );
            page.field("lost", page.paint(Tone::Warn, &silent));
        }
        if self.is_doubtful() {
            let doubt = "more were asked than there are: somebody counts wrongly";
            page.field("doubt", page.paint(Tone::Warn, doubt));
        }
        let Wanted::Rows(fact) = self.wanted else { return };
        if rows.is_empty() {
            return;
        }
        let by = fact.name().replace('_', " ");
        page.field("shown", format!("{}, by {by}", plural(rows.len() as u64, "host")));
        page.line("");
        let mut table = Table::new(&[
            "host",
            "key",
            "country",
            ">cores",
            ">memory free",
            ">disk free",
            ">load",
            "busy",
            ">uptime",
            ">core hours",
            ">reliability",
        ]);
        rows.iter().for_each(|row| table.row(Tone::Plain, Self::cells(row)));
        page.table(&table);
    }

    fn json(&self) -> Value {
        let QueryFound { asked, matched, lost, hosts, waited, sums, rows } = &self.found;
        let rows = rows.iter().map(|row| {
            let mut fields = numbers(row.facts.map(f64::from));
            fields.insert("host".into(), json!(row.host));
            fields.insert("name".into(), json!(row.name));
            fields.insert("country".into(), json!(row.country));
            Value::Object(fields)
        });
        json!({
            "expression": self.text,
            "asked": asked,
            "matched": matched,
            "lost": lost,
            "hosts": hosts,
            "partial": self.is_partial(None),
            "waited_seconds": waited.as_secs_f64(),
            "sums": numbers(sums.iter().copied()),
            "rows": rows.collect::<Vec<_>>(),
        })
    }

    fn quiet(&self, page: &mut Page) {
        match self.wanted {
            Wanted::Rows(_) => {
                self.found.rows.iter().for_each(|row| page.line(row.host.to_string()));
            }
            Wanted::Count => page.line(self.found.matched.to_string()),
            Wanted::Sum(fact) => page.line(self.sum_of(fact).to_string()),
        }
    }
}
