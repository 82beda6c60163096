//! What a job would cost and where it would run; tickets.

use isos_base::api::{Plan, TicketReply};
use serde_json::{Value, json};

use super::explain::reasons;
use crate::output::{Page, Report, Tone, ago, clean, credits, plural, stamp};

/// A plan.
#[derive(Debug)]
pub(crate) struct PlanReport {
    /// The complex's answer.
    pub(crate) plan: Plan,
    /// Tasks of the job.
    pub(crate) tasks: u32,
}

/// A ticket.
#[derive(Debug)]
pub(crate) struct TicketReport(pub(crate) TicketReply);

impl PlanReport {
    /// Whether it could start now.
    pub(crate) fn can_run(&self) -> bool {
        self.plan.hosts > 0 && self.plan.can_agree && self.is_affordable()
    }

    fn is_affordable(&self) -> bool {
        self.plan.hold <= self.plan.available
    }
}

impl Report for PlanReport {
    fn kind(&self) -> &'static str {
        "plan"
    }

    fn text(&self, page: &mut Page) {
        let plan = &self.plan;
        let verdict = match (plan.hosts, self.is_affordable()) {
            (0, _) => page.paint(Tone::Bad, "no host can run it now"),
            (_, false) => page.paint(Tone::Bad, "the account cannot pay for it"),
            _ if !plan.can_agree => {
                page.paint(Tone::Bad, "too few hosts can agree on its results now")
            }
            _ => page.paint(Tone::Good, "it can run now"),
        };
        page.line(format!("{}: {verdict}; nothing was submitted", plural(self.tasks, "task")));
        page.field("hosts", format!("{}, {}", plan.hosts, plural(plan.cores, "core")));
        page.field("price", format!("{} micro-credits per gigafuel", plan.price.0));
        page.field("holds", format!("{}, the most it can cost", credits(plan.hold)));
        page.field("available", credits(plan.available));
        page.field("checks", clean(&plan.assured.why));
        if !plan.obstacles.is_empty() {
            page.line("in the way:");
            reasons(page, &plan.obstacles);
        }
    }

    fn json(&self) -> Value {
        let mut value = json!(self.plan);
        value["tasks"] = json!(self.tasks);
        value["can_run"] = json!(self.can_run());
        value
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.plan.hold.to_string());
    }
}

impl Report for TicketReport {
    fn kind(&self) -> &'static str {
        "ticket"
    }

    fn text(&self, page: &mut Page) {
        page.line(&self.0.ticket);
    }

    fn json(&self) -> Value {
        stamp(json!(self.0), &["expires"])
    }

    fn quiet(&self, page: &mut Page) {
        page.line(&self.0.ticket);
    }
}

/// A ticket was taken back.
#[derive(Debug)]
pub(crate) struct Revoked;

impl Report for Revoked {
    fn kind(&self) -> &'static str {
        "revoked"
    }

    fn text(&self, page: &mut Page) {
        page.line("the ticket is good for nothing any more; hosts that came by it are sent away");
    }

    fn json(&self) -> Value {
        json!({ "revoked": true })
    }

    fn quiet(&self, _: &mut Page) {}
}

impl TicketReport {
    /// What to tell beside it.
    pub(crate) fn note(&self, now: isos_base::Time) -> String {
        let TicketReply { account, expires, .. } = &self.0;
        let when = ago(now, *expires);
        let who = "whoever has it can use it";
        let how = "isos join TICKET, or isos --server TICKET";
        format!("for account {account}, expires {expires} ({when}); {who}: {how}")
    }
}
