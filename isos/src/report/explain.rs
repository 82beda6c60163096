//! Why something is as it is.

use isos_base::api::{Explanation, ReasonView};
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone, clean};

/// An explanation: the verdict, then everything that leads to it.
#[derive(Debug)]
pub(crate) struct ExplainReport(pub(crate) Explanation);

/// Reasons under each other, each with what can be done.
pub(crate) fn reasons(page: &mut Page, reasons: &[ReasonView]) {
    for reason in reasons {
        let about = page.paint(Tone::Bold, &clean(&reason.about));
        page.line(format!("  {about}: {}", clean(&reason.why)));
        if let Some(remedy) = &reason.remedy {
            page.line(format!("      {} {}", page.paint(Tone::Good, "->"), clean(remedy)));
        }
    }
}

impl Report for ExplainReport {
    fn kind(&self) -> &'static str {
        "explanation"
    }

    fn text(&self, page: &mut Page) {
        let about = page.paint(Tone::Bold, &clean(&self.0.about));
        page.line(format!("{about}: {}", clean(&self.0.verdict)));
        reasons(page, &self.0.reasons);
    }

    fn json(&self) -> Value {
        json!(self.0)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(clean(&self.0.verdict));
    }
}
