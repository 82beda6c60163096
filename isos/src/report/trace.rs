//! The life of a task.

use isos_base::Span;
use isos_base::trace::{TaskTrace, TraceStep, TryEnd};
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, clean, plural, stamp};

/// Where a task's time went, as a table with a bar for each step.
#[derive(Debug)]
pub(crate) struct TraceReport(pub(crate) TaskTrace);

/// Characters of the line of time.
const BAR_CHARS: u64 = 32;

impl TraceReport {
    /// The end of the line of time: of the last step that is known.
    fn end(&self) -> Span {
        let of_tries = self.0.tries.iter().flat_map(|tried| &tried.steps);
        let ends = self.0.steps.iter().chain(of_tries);
        let ends = ends.map(|step| step.from + step.length.unwrap_or(Span::ZERO));
        ends.max().unwrap_or(Span::ZERO)
    }

    fn rows<'a>(&self, table: &mut Table, steps: impl Iterator<Item = &'a TraceStep>) {
        let end = self.end();
        for step in steps.filter(|step| step.length != Some(Span::ZERO)) {
            table.row(
                if step.length.is_none() { Tone::Warn } else { Tone::Plain },
                vec![
                    step.step.words().into(),
                    step.place.words().into(),
                    short(step.from),
                    step.length.map_or_else(|| "goes on".into(), short),
                    bar(step, end),
                ],
            );
        }
    }
}

/// `85 us`, `3.4 ms`, `1.20 s`, `95 s`.
fn short(span: Span) -> String {
    match span.0 {
        0..1_000 => format!("{} us", span.0),
        1_000..100_000 => format!("{:.1} ms", span.0 as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", span.0 as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.2} s", span.as_secs_f64()),
        _ => format!("{:.0} s", span.as_secs_f64()),
    }
}

/// Where a step lies on the line of time; one that goes on reaches its end.
fn bar(step: &TraceStep, end: Span) -> String {
    let place = |at: Span| (at.0.min(end.0) * BAR_CHARS).checked_div(end.0).unwrap_or(0);
    let from = place(step.from).min(BAR_CHARS - 1);
    let until = step.length.map_or(BAR_CHARS, |length| place(step.from + length));
    let filled = if step.length.is_none() { "-" } else { "#" };
    let chars = until.saturating_sub(from).max(1);
    let bar = filled.repeat(usize::try_from(chars).unwrap_or(1));
    format!("{}{bar}", " ".repeat(usize::try_from(from).unwrap_or(0)))
}

fn words(end: &TryEnd) -> (Tone, String) {
    match end {
        TryEnd::Open => (Tone::Warn, "no word of it yet".into()),
        TryEnd::Result => (Tone::Good, "gave a result".into()),
        TryEnd::Fault(why) => (Tone::Bad, format!("failed: {}", clean(why))),
        TryEnd::Returned => (Tone::Warn, "was given back unstarted".into()),
        TryEnd::Lost => (Tone::Bad, "ended without a word".into()),
    }
}

impl Report for TraceReport {
    fn kind(&self) -> &'static str {
        "trace"
    }

    fn text(&self, page: &mut Page) {
        const HEADS: [&str; 5] = ["STEP", "PLACE", ">BEGINS", ">TAKES", "WHEN"];
        let trace = &self.0;
        let about = page.paint(Tone::Bold, &format!("task {}@{}", trace.job, trace.task));
        let how = match trace.total {
            Some(total) => format!("ended {} after its submission", short(total)),
            None => "is open".into(),
        };
        let tries = plural(trace.tries.len() as u64, "execution");
        page.line(format!("{about} {how}; {tries}"));
        let mut table = Table::new(&HEADS);
        self.rows(&mut table, trace.steps.iter());
        page.table(&table);
        for tried in &trace.tries {
            let (tone, end) = words(&tried.end);
            let end = page.paint(tone, &end);
            page.line("");
            page.line(format!("on host {} (lease {}): {end}", tried.host.short(), tried.lease));
            let mut table = Table::new(&HEADS);
            self.rows(&mut table, tried.steps.iter());
            page.table(&table);
        }
    }

    fn json(&self) -> Value {
        stamp(json!(self.0), &["submitted"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.total.map_or_else(|| "open".into(), |total| total.to_string()));
    }
}
