//! The complex at a glance: one honest verdict, then the figures.

use isos_base::Span;
use isos_base::api::{AccountView, ComplexStatus};
use serde_json::{Value, json};

use crate::output::{Page, Report, Tone, clean, credits, duration, plural};

/// What the complex answered just now, and how fast.
#[derive(Debug)]
pub(crate) struct StatusReport {
    /// Where it was asked.
    pub(crate) address: String,
    /// How long the answer took: the test from end to end.
    pub(crate) answered_in: Span,
    /// Its figures.
    pub(crate) status: ComplexStatus,
    /// Whose token asked.
    pub(crate) account: AccountView,
    /// What the token allows.
    pub(crate) rights: Vec<String>,
}

impl StatusReport {
    /// Whether the ledger is not what was written.
    pub(crate) const fn is_wrong(&self) -> bool {
        self.status.ledger_wrong.is_some() || self.status.ledger_sum != 0
    }

    /// One line, and whether all is well.
    fn verdict(&self) -> (Tone, String) {
        let status = &self.status;
        let hosts = &status.hosts;
        let present = hosts.working + hosts.idle + hosts.asleep + hosts.quiet;
        let work = match status.jobs {
            0 => "no open jobs".into(),
            jobs => {
                let tasks = plural(status.tasks_open, "task");
                format!("{} with {tasks} to go", plural(jobs, "open job"))
            }
        };
        if let Some(why) = &status.ledger_wrong {
            return (Tone::Bad, format!("fault: {}", clean(why)));
        }
        if status.ledger_sum != 0 {
            let sum = status.ledger_sum;
            return (Tone::Bad, format!("fault: the ledger sums to {sum} micro-credits, not 0"));
        }
        match (present, status.cores) {
            (0, _) => {
                (Tone::Warn, format!("no hosts, {work}: `isos ticket`, then `isos join TICKET`"))
            }
            (_, 0) => {
                let why = format!("{} but no cores offered now, {work}", plural(present, "host"));
                (Tone::Warn, format!("{why}: `isos host list` tells more"))
            }
            (_, cores) => {
                let size = format!("{}, {}", plural(present, "host"), plural(cores, "core"));
                (Tone::Good, format!("ok: {size}, {work}"))
            }
        }
    }
}

impl Report for StatusReport {
    fn kind(&self) -> &'static str {
        "status"
    }

    fn text(&self, page: &mut Page) {
        let (tone, verdict) = self.verdict();
        page.toned(tone, verdict);
        let status = &self.status;
        let answered = duration(self.answered_in);
        page.field("complex", format!("{}, answered in {answered}", self.address));
        let version = clean(&status.version).into_owned();
        page.field("", format!("version {version}, up {}", duration(status.up)));
        let hosts = &status.hosts;
        let states = [
            (hosts.working, "working"),
            (hosts.idle, "idle"),
            (hosts.asleep, "asleep"),
            (hosts.quiet, "quiet"),
            (hosts.lost, "lost"),
            (hosts.barred, "barred"),
        ];
        let states: Vec<String> = states
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        page.field("hosts", if states.is_empty() { "none".into() } else { states.join(", ") });
        page.field("price", format!("{} micro-credits per gigafuel", status.price.0));
        let head = status.ledger_head.short();
        let transfers = plural(status.transfers, "transfer");
        page.field("ledger", format!("{transfers}, sum {}, head {head}", status.ledger_sum));
        let account = &self.account;
        let name = format!("{} ({})", clean(&account.name), account.id);
        let (available, held) = (credits(account.available), credits(account.held));
        page.field("account", format!("{name}: available {available}, held {held}"));
        page.field("rights", clean(&self.rights.join(", ")));
    }

    fn json(&self) -> Value {
        let (tone, verdict) = self.verdict();
        json!({
            "ok": tone == Tone::Good,
            "verdict": verdict,
            "address": self.address,
            "answered_ms": self.answered_in.0.div_ceil(1_000),
            "complex": self.status,
            "account": self.account,
            "rights": self.rights,
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.verdict().1);
    }
}
