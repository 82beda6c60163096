//! Programs beside each other that did the same kind of work in the same run.

use serde_json::{Value, json};

use super::figure::number;

/// What a run of tasks took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    pub(super) tasks: f64,
    pub(super) secs: f64,
    /// CPU time of the server alone.
    pub(super) server_secs: f64,
    /// CPU time of all processes that took part.
    pub(super) all_secs: f64,
    /// Cores that were busy with anything else meanwhile, the kernel's own threads included.
    pub(super) others_cores: f64,
}

impl Run {
    fn rate(&self) -> f64 {
        self.tasks / self.secs
    }

    fn server_us(&self) -> f64 {
        self.server_secs * 1e6 / self.tasks
    }

    fn all_us(&self) -> f64 {
        self.all_secs * 1e6 / self.tasks
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) run: Run,
    /// Whose it is.
    pub(super) by: Whose,
    /// Its tasks were more than the server's business, so that only the server's CPU compares.
    pub(super) server_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Keeps what has ended on the disk before it says so.
    Ours,
    /// Keeps it in memory.
    Peer,
}

/// Programs with the same kind of work. What comes first is what the others are held against.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
}

/// All of them, and what is to be known about them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Comparison {
    pub(super) parts: Vec<Part>,
    pub(super) notes: Vec<String>,
}

/// Bytes that a line of a note may have.
const NOTE_WIDTH: usize = 100;
const COLUMNS: usize = 8;
const HEAD: [&str; COLUMNS] = [
    "",
    "tasks/s",
    "ours/it",
    "server us/task",
    "it/ours",
    "all us/task",
    "durable",
    "other cores",
];

impl Part {
    /// How many times as many tasks ours does in a second, and how many times as much CPU the
    /// server of the other needs for one.
    fn ratios(&self, row: &Row) -> (Option<f64>, Option<f64>) {
        let Some(first) = self.rows.first().filter(|_| row.by == Whose::Peer) else {
            return (None, None);
        };
        let ratio = |a: f64, b: f64| Some(a / b).filter(|ratio| ratio.is_finite());
        let rate = ratio(first.run.rate(), row.run.rate()).filter(|_| !row.server_only);
        (rate, ratio(row.run.server_us(), first.run.server_us()))
    }

    fn cells(&self, row: &Row) -> [String; COLUMNS] {
        let (rate, server) = self.ratios(row);
        let some = |value: Option<f64>| value.map_or_else(String::new, number);
        let whole = |value: f64| some(Some(value).filter(|_| !row.server_only));
        [
            format!("  {}", row.what),
            whole(row.run.rate()),
            some(rate),
            number(row.run.server_us()),
            some(server),
            whole(row.run.all_us()),
            if row.by == Whose::Ours { "yes" } else { "no" }.into(),
            format!("{:.2}", row.run.others_cores),
        ]
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            let (rate, server) = self.ratios(row);
            let whole = |value: f64| Some(value).filter(|_| !row.server_only);
            json!({
                "what": row.what,
                "durable": row.by == Whose::Ours,
                "tasks": row.run.tasks,
                "tasks_per_sec": whole(row.run.rate()),
                "tasks_per_sec_ours_by_it": rate,
                "server_us_per_task": row.run.server_us(),
                "server_us_it_by_ours": server,
                "all_us_per_task": whole(row.run.all_us()),
                "others_cores": row.run.others_cores,
            })
        };
        json!({ "part": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

impl Comparison {
    /// For people: a line each, and the notes at the foot.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![HEAD.map(str::to_owned)];
        for part in &self.parts {
            let mut title = [const { String::new() }; COLUMNS];
            title[0] = part.title.into();
            rows.push(title);
            rows.extend(part.rows.iter().map(|row| part.cells(row)));
        }
        let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max();
        let widths: Vec<usize> = (0..COLUMNS).map(|n| width(n).unwrap_or_default()).collect();
        let mut text = String::new();
        for row in &rows {
            let mut line = format!("  {:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                line.push_str(&format!("  {cell:>width$}"));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.notes.iter().for_each(|note| fold(note, &mut text));
        text
    }

    pub(super) fn json(&self) -> Value {
        let parts: Vec<_> = self.parts.iter().map(Part::json).collect();
        json!({ "parts": parts, "notes": self.notes })
    }
}

/// A note in lines that fit.
fn fold(note: &str, text: &mut String) {
    let mut line = "  *".to_owned();
    for word in note.split_whitespace() {
        if line.len() + 1 + word.len() > NOTE_WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = "   ".into();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn row(what: &str, by: Whose, tasks_per_sec: f64, server_us: f64) -> Row {
        let run = Run {
            tasks: tasks_per_sec,
            secs: 1.0,
            server_secs: server_us * tasks_per_sec / 1e6,
            all_secs: 2.0 * server_us * tasks_per_sec / 1e6,
            others_cores: 0.04,
        };
        Row { what: what.into(), run, by, server_only: false }
    }

    fn comparison() -> Comparison {
        let rows = vec![
            row("isos", Whose::Ours, 2_000.0, 50.0),
            row("isos, another way", Whose::Ours, 8_000.0, 10.0),
            row("a peer", Whose::Peer, 500.0, 600.0),
            Row { server_only: true, ..row("a part of one", Whose::Peer, 400.0, 25.0) },
        ];
        Comparison { parts: vec![Part { title: "work", rows }], notes: vec!["A note. ".repeat(15)] }
    }

    #[test]
    fn a_peer_is_held_against_the_first_and_a_ratio_above_one_is_in_our_favour() {
        let [ref part] = comparison().parts[..] else { panic!("one part") };
        let ratios: Vec<_> = part.rows.iter().map(|row| part.ratios(row)).collect();
        let none = (None, None);
        assert_eq!(ratios, [none, none, (Some(4.0), Some(12.0)), (None, Some(0.5))]);
        let alone = Part { rows: Vec::new(), ..part.clone() };
        assert_eq!(alone.ratios(&part.rows[2]), none, "without ours there is no ratio");
    }

    #[test]
    fn the_table_is_for_eyes_and_ends_with_the_notes() {
        expect![[r#"
            title
                                   tasks/s  ours/it  server us/task  it/ours  all us/task  durable  other cores
              work
                isos                  2000                     50.0                   100      yes         0.04
                isos, another way     8000                     10.0                  20.0      yes         0.04
                a peer                 500     4.00             600     12.0         1200       no         0.04
                a part of one                                  25.0     0.50                    no         0.04
              * A note. A note. A note. A note. A note. A note. A note. A note. A note. A note. A note. A note.
                A note. A note. A note.
        "#]].assert_eq(&format!("title\n{}", comparison().table()));
    }
}
