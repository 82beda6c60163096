//! What a replay of a journal found.

use isos_complex::{Difference, Replayed};
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone};

/// A replay.
#[derive(Debug)]
pub(crate) struct ReplayReport(pub(crate) Replayed);

impl Report for ReplayReport {
    fn kind(&self) -> &'static str {
        "replay"
    }

    fn text(&self, page: &mut Page) {
        let Replayed { version, batches, inputs, effects, cut_off, difference } = &self.0;
        page.field("journal of", format!("isos {version}"));
        page.field("replayed", format!("{batches} batches, {inputs} inputs, {effects} effects"));
        if *cut_off {
            page.field("its end", "cut off: the server was killed");
        }
        let Some(Difference { line, at, inputs, effect, recorded, now }) = difference else {
            page.toned(Tone::Good, "the machine decides as it did");
            return;
        };
        page.toned(Tone::Bad, format!("line {line}, at {at}: effect {effect} is another now"));
        for input in inputs {
            page.line(format!("  told      {input}"));
        }
        page.line(format!("  recorded  {}", recorded.as_deref().unwrap_or("nothing")));
        page.line(format!("  now       {}", now.as_deref().unwrap_or("nothing")));
    }

    fn json(&self) -> Value {
        json!(self.0)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(if self.0.difference.is_some() { "different" } else { "same" });
    }
}
