//! The owner's policy: what it says, whether it holds together, what it allows now.

use isos_base::Time;
use isos_base::price::Price;
use isos_base::sensors::LocalClock;
use isos_kernel::policy::{Contradiction, Decision, Millicores, Run, Week, WeekHour};
use isos_sandbox::Keeper;
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone, ago, clean};

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
    /// Where the clock on the wall stands.
    pub(crate) clock: LocalClock,
    /// The least price outside of all windows.
    pub(crate) price_min: Price,
    /// Who holds the limits on this machine.
    pub(crate) keepers: Vec<Keeper>,
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

/// `held by cgroup v2 (cpu.max)`, and what that cannot do.
pub(super) fn held(keeper: &Keeper) -> String {
    match &keeper.gap {
        None => format!("held by {}", clean(&keeper.by)),
        Some(gap) => format!("held by {}; not held: {}", clean(&keeper.by), clean(gap)),
    }
}

impl PolicyNow {
    fn runs(&self) -> bool {
        self.decision.allowance.run == Run::Full
    }

    fn week_json(&self) -> Value {
        let hour = |hour: &WeekHour| {
            json!({
                "window": hour.window,
                "cores_in_use": count(hour.cpu_in_use),
                "cores_idle": count(hour.cpu_idle),
                "price_min": hour.price_min,
                "changes": hour.changes,
            })
        };
        let days = self.week.0.iter();
        days.map(|hours| Value::from(hours.iter().map(hour).collect::<Vec<_>>())).collect()
    }

    /// Seven rows of 24 letters: one letter for hours in which the same holds, and what each means.
    fn week(&self, page: &mut Page) {
        let minute = self.minute_of_week();
        let (today, hour) = (minute / 1_440, minute % 1_440 / 60);
        page.line("the week, an hour a letter (a capital: it changes within the hour):");
        let mark = format!("{}v", " ".repeat(hour));
        page.toned(Tone::Dim, format!("      {mark}"));
        page.toned(Tone::Dim, "      0     6     12    18");
        let mut kinds: Vec<&WeekHour> = Vec::new();
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        for (day, hours) in self.week.0.iter().enumerate() {
            let mut row = String::new();
            for hour in hours {
                let known = kinds.iter().position(|kind| same(kind, hour));
                let index = known.unwrap_or_else(|| {
                    kinds.push(hour);
                    kinds.len() - 1
                });
                let letter = letter(&kinds, index);
                let letter = if hour.changes { letter.to_ascii_uppercase() } else { letter };
                row += &page.paint(tone(hour, self.price_min), &letter.to_string());
            }
            let mark = if day == today { '>' } else { ' ' };
            page.line(format!("{mark} {} {row}", days[day]));
        }
        for (index, kind) in kinds.iter().enumerate() {
            let letter = page.paint(tone(kind, self.price_min), &letter(&kinds, index).to_string());
            page.line(format!("  {letter}   {}", self.meaning(kind)));
        }
    }

    fn meaning(&self, hour: &WeekHour) -> String {
        let mut text = match (hour.cpu_idle, hour.cpu_in_use) {
            (Millicores::NONE, _) => "nothing runs".to_owned(),
            (idle, Millicores::NONE) => format!("{idle} while you are away"),
            (idle, in_use) if in_use == idle => format!("{idle} at any time"),
            (idle, in_use) if in_use.0 % 1_000 == 0 => {
                format!("{idle} while you are away, {} while you are not", in_use.cores())
            }
            (idle, in_use) => format!("{idle} while you are away, {in_use} while you are not"),
        };
        if hour.cpu_idle > Millicores::NONE && hour.price_min != self.price_min {
            text += &match times(hour.price_min, self.price_min) {
                Some(times) => format!(", only at {times}x the price ({})", hour.price_min.0),
                None => format!(", only at {} or more", hour.price_min.0),
            };
        }
        if let Some(window) = &hour.window {
            text += &format!(" (window {:?})", clean(window));
        }
        text
    }

    /// Where the clock on the wall stands, from Monday 00:00.
    fn minute_of_week(&self) -> usize {
        let local = self.now.unix_secs() as i64 + i64::from(self.clock.utc_offset_secs);
        // 1970 began on a Thursday.
        ((local.div_euclid(60) + 3 * 1_440).rem_euclid(7 * 1_440)) as usize
    }
}

/// A number of cores: a whole one, but for a part of one core.
fn count(cpu: Millicores) -> Value {
    match cpu.0 % 1_000 {
        0 => cpu.cores().into(),
        _ => cpu.as_cores().into(),
    }
}

/// Whether the same holds in both hours.
fn same(a: &WeekHour, b: &WeekHour) -> bool {
    let of =
        |hour: &WeekHour| (hour.window.clone(), hour.cpu_in_use, hour.cpu_idle, hour.price_min);
    of(a) == of(b)
}

/// `.` where nothing runs, else letters in the order in which they come in the week.
fn letter(kinds: &[&WeekHour], index: usize) -> char {
    if kinds[index].cpu_idle == Millicores::NONE {
        return '.';
    }
    let before = kinds[..index].iter().filter(|kind| kind.cpu_idle > Millicores::NONE).count();
    u8::try_from(before).ok().filter(|&nth| nth < 26).map_or('*', |nth| (b'a' + nth).into())
}

fn tone(hour: &WeekHour, price_min: Price) -> Tone {
    if hour.cpu_idle == Millicores::NONE {
        Tone::Dim
    } else if hour.price_min > price_min {
        Tone::Warn
    } else {
        Tone::Good
    }
}

/// How many times a price is another, as an owner would say it.
fn times(price: Price, base: Price) -> Option<String> {
    (base.0 > 0).then(|| {
        let times = f64::from(price.0) / f64::from(base.0);
        format!("{times:.1}").trim_end_matches(".0").to_owned()
    })
}

impl Report for PolicyNow {
    fn kind(&self) -> &'static str {
        "policy_now"
    }

    fn text(&self, page: &mut Page) {
        let allowance = &self.decision.allowance;
        if self.runs() {
            let (cpu, memory) = (allowance.cpu, allowance.memory);
            let gives = format!("gives {cpu}, {memory} memory, {} disk", allowance.disk);
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
        for keeper in &self.keepers {
            page.field(&keeper.limit, held(keeper));
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
            "cores": count(allowance.cpu),
            "memory": allowance.memory,
            "disk": allowance.disk,
            "storage": allowance.keeping,
            "price_min": allowance.price_min,
            "reasons": reasons,
            "keepers": self.keepers,
            "week": self.week_json(),
            "next_change": self.decision.next_change.map(Time::to_rfc3339),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(count(self.decision.allowance.cpu).to_string());
    }
}
