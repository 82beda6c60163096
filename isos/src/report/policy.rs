//! The owner's policy: what it says, whether it holds together, what it allows now.

use isos_base::Time;
use isos_kernel::policy::{Contradiction, Decision, Run, Week};
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone, ago, clean, plural};

/// What a policy means, a sentence a line; or a template.
#[derive(Debug)]
pub(crate) struct PolicyText {
    /// Where it is from: a path, `default`, or a template's name.
    pub(crate) source: String,
    /// Its sentences, or its text.
    pub(crate) lines: Vec<String>,
}

/// Whether a policy is free of mistakes.
#[derive(Debug)]
pub(crate) struct PolicyCheck {
    /// Where it is from.
    pub(crate) source: String,
    /// What it can never give on this machine.
    pub(crate) problems: Vec<Contradiction>,
}

/// What a policy allows now and why.
#[derive(Debug)]
pub(crate) struct PolicyNow {
    /// Where it is from.
    pub(crate) source: String,
    /// When this was decided.
    pub(crate) now: Time,
    /// The decision.
    pub(crate) decision: Decision,
    /// What holds in each hour of a week.
    pub(crate) week: Week,
}

impl Report for PolicyText {
    fn kind(&self) -> &'static str {
        "policy"
    }

    fn text(&self, page: &mut Page) {
        for line in &self.lines {
            page.line(clean(line));
        }
    }

    fn json(&self) -> Value {
        json!({ "source": self.source, "lines": self.lines })
    }

    fn quiet(&self, page: &mut Page) {
        self.text(page);
    }
}

impl Report for PolicyCheck {
    fn kind(&self) -> &'static str {
        "policy_check"
    }

    fn text(&self, page: &mut Page) {
        if self.problems.is_empty() {
            let ok = page.paint(Tone::Good, "ok");
            page.line(format!("{ok}: {}", self.source));
        }
        for problem in &self.problems {
            page.toned(Tone::Warn, clean(&problem.to_string()));
        }
    }

    fn json(&self) -> Value {
        let problems: Vec<Value> = self
            .problems
            .iter()
            .map(|Contradiction { first, second, problem, fix }| {
                json!({ "first": first, "second": second, "problem": problem, "fix": fix })
            })
            .collect();
        json!({ "source": self.source, "ok": self.problems.is_empty(), "problems": problems })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(if self.problems.is_empty() { "ok" } else { "not ok" });
    }
}

impl PolicyNow {
    fn runs(&self) -> bool {
        self.decision.allowance.run == Run::Full
    }

    /// A letter an hour: cores when idle, `.` for none, `+` for ten or more.
    fn week(&self, page: &mut Page) {
        page.line("cores given while the machine is idle, by hour (. none, + ten or more):");
        page.toned(Tone::Dim, "      0     6     12    18");
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        for (day, hours) in days.iter().zip(&self.week.0) {
            let letters: String = hours
                .iter()
                .map(|hour| match hour.cores_idle {
                    0 => '.',
                    cores => char::from_digit(cores.into(), 10).unwrap_or('+'),
                })
                .collect();
            page.line(format!("  {day} {letters}"));
        }
    }
}

impl Report for PolicyNow {
    fn kind(&self) -> &'static str {
        "policy_now"
    }

    fn text(&self, page: &mut Page) {
        let allowance = &self.decision.allowance;
        if self.runs() {
            let (cores, memory) = (plural(allowance.cores, "core"), allowance.memory);
            let gives = format!("gives {cores}, {memory} memory, {} disk", allowance.disk);
            page.toned(Tone::Good, gives);
        } else {
            page.toned(Tone::Warn, "gives nothing now");
        }
        page.field("policy", &self.source);
        for reason in &self.decision.reasons {
            let mark =
                if reason.blocks() { page.paint(Tone::Bad, "stops") } else { "notes".into() };
            // A reason's text ends with its remedy.
            page.line(format!("  {mark} {}", clean(&reason.to_string())));
        }
        if let Some(next) = self.decision.next_change {
            page.field("changes", format!("{} ({next})", ago(self.now, next)));
        }
        self.week(page);
    }

    fn json(&self) -> Value {
        let allowance = &self.decision.allowance;
        let reason = |reason: &isos_kernel::policy::Reason| {
            json!({
                "blocks": reason.blocks(),
                "why": reason.to_string(),
                "remedy": reason.remedy(),
            })
        };
        let reasons: Vec<Value> = self.decision.reasons.iter().map(reason).collect();
        json!({
            "source": self.source,
            "runs": self.runs(),
            "cores": allowance.cores,
            "memory": allowance.memory,
            "disk": allowance.disk,
            "price_min": allowance.price_min,
            "reasons": reasons,
            "next_change": self.decision.next_change.map(Time::to_rfc3339),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.decision.allowance.cores.to_string());
    }
}
