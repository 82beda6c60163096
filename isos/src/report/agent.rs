//! How this machine's agent stands: one honest verdict, then why.

use isos_agent::{AgentStatus, KeeperStatus};
use isos_base::Bytes;
use isos_kernel::host::HostState;
use serde_json::{Value, json};

use super::policy::held;
use crate::output::{Page, Report, Tone, ago, clean, credits, plural, stamp_deep};

const TIMES: &[&str] = &["now", "last_seen", "next", "since", "until", "retry_at"];

/// What the agent on this machine says of itself.
#[derive(Debug)]
pub(crate) struct AgentReport(pub(crate) AgentStatus);

impl AgentReport {
    fn verdict(&self) -> (Tone, String) {
        let status = &self.0.host_status;
        match &status.state {
            HostState::Working => {
                let tasks = plural(status.running, "task");
                (Tone::Good, format!("working: {tasks} running, {} queued", status.queued))
            }
            HostState::Idle => (Tone::Good, "idle: connected, no work now".into()),
            HostState::Sleeping { .. } => {
                (Tone::Good, "idle: no work now, the complex will be asked again".into())
            }
            HostState::Suspended { .. } => {
                let why = self.0.offer.reasons.first().map_or("", String::as_str);
                (Tone::Warn, format!("standing still: {}", clean(why)))
            }
            HostState::Connecting => (Tone::Warn, "connecting to the complex".into()),
            HostState::Offline { why, .. } => (Tone::Bad, format!("offline: {}", clean(why))),
            HostState::Refused(refusal) => (Tone::Bad, clean(&refusal.to_string()).into_owned()),
            HostState::Stopped => (Tone::Warn, "stopping".into()),
        }
    }
}

/// What is kept for others, and whether all is well with it.
fn kept(storage: &KeeperStatus) -> Vec<String> {
    let KeeperStatus { used, limit, fragments, leases, leased, over, .. } = storage;
    let (fragments, leases) = (plural(*fragments, "fragment"), plural(*leases, "lease"));
    let mut lines = vec![
        format!("{used} of {limit} kept for others: {fragments}; {leased} promised by {leases}"),
        format!("{} offered, {} came and {} went", storage.offered, storage.received, storage.sent),
    ];
    lines.extend(match (storage.serves, storage.takes) {
        (false, _) => Some("nobody reaches it now: see the policy".into()),
        (true, false) => Some("nothing more is taken now, what is there can be read".into()),
        (true, true) => None,
    });
    if *over > Bytes::ZERO {
        lines.push(format!("{over} more than you allow: promised, so they go when leases end"));
    }
    if storage.gone > 0 {
        let gone = plural(storage.gone, "fragment");
        lines.push(format!("{gone} gone since the agent started, {} damaged", storage.damaged));
    }
    lines.extend(storage.trouble.as_ref().map(|why| format!("nothing is kept: {}", clean(why))));
    lines
}

impl Report for AgentReport {
    fn kind(&self) -> &'static str {
        "agent"
    }

    fn text(&self, page: &mut Page) {
        let (tone, verdict) = self.verdict();
        page.toned(tone, verdict);
        let agent = &self.0;
        let status = &agent.host_status;
        page.field("host", format!("{}, version {}", agent.host.short(), clean(&agent.version)));
        let seen = match status.last_seen {
            Some(at) => format!("the complex was heard {}", ago(agent.now, at)),
            None => "the complex was not heard yet".into(),
        };
        page.field("complex", seen);
        page.field("cores", status.cores.to_string());
        let (done, failed, back) = (status.done, status.failed, status.returned);
        page.field("tasks", format!("{done} done, {failed} failed, {back} given back"));
        page.field("earned", format!("{} since the agent started", credits(status.earned)));
        for (n, reason) in agent.offer.reasons.iter().enumerate() {
            page.field(if n == 0 { "policy" } else { "" }, clean(reason));
        }
        let moved = agent.moved;
        page.field("network", format!("{} moved today, {} this month", moved.day, moved.month));
        for (n, line) in agent.storage.iter().flat_map(kept).enumerate() {
            page.field(if n == 0 { "storage" } else { "" }, line);
        }
        for keeper in &agent.keepers {
            page.field(&keeper.limit, held(keeper));
        }
        if !agent.walls.is_empty() {
            page.field("sandbox", clean(&agent.walls.join(", ")));
        }
    }

    fn json(&self) -> Value {
        let (tone, verdict) = self.verdict();
        let agent = stamp_deep(json!(self.0), TIMES);
        json!({ "ok": tone == Tone::Good, "verdict": verdict, "agent": agent })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.verdict().1);
    }
}
