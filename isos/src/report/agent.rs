//! How this machine's agent stands: one honest verdict, then why.

use isos_agent::{AgentStatus, KeeperStatus, Resting};
use isos_base::Bytes;
use isos_base::api::{FirmView, HostView};
use isos_base::market::BondState;
use isos_kernel::host::HostState;
use serde_json::{Value, json};

use super::policy::held;
use crate::output::{Page, Report, Tone, ago, clean, credits, plural, stamp_deep};

const TIMES: &[&str] = &["now", "last_seen", "next", "since", "until", "retry_at"];

/// What the agent on this machine says of itself.
#[derive(Debug)]
pub(crate) struct AgentReport {
    /// Its own words.
    pub(crate) agent: AgentStatus,
    /// What its complex says that the host stands in for behind reservations.
    pub(crate) stands: Option<FirmView>,
}

/// A machine that has joined, and whose agent does not run.
#[derive(Debug)]
pub(crate) struct RestingReport {
    /// What is left of it here.
    pub(crate) resting: Resting,
    /// What its complex says, if it answers.
    pub(crate) seen: Option<HostView>,
}

impl AgentReport {
    fn verdict(&self) -> (Tone, String) {
        let status = &self.agent.host_status;
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
                let why = self.agent.offer.reasons.first().map_or("", String::as_str);
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

/// With what the host stands behind reservations, and what that has cost so far.
fn stands_in(firm: &FirmView) -> Vec<String> {
    let mut lines = vec![match (firm.cores, firm.leaves) {
        (0, Some(leaves)) => format!("notice was given, stands for nothing after {leaves}"),
        (cores, _) => format!("{} may be called to stand behind reservations", cores_of(cores)),
    }];
    lines.extend(firm.bonds.iter().filter(|bond| bond.state == BondState::Standing).map(|bond| {
        let lost = match (bond.missed, bond.lost) {
            (0, _) => String::new(),
            (missed, lost) => format!(", {missed} core-ticks missed, {} lost", credits(lost)),
        };
        let (cores, amount) = (cores_of(bond.cores), credits(bond.amount));
        let (reservation, until) = (bond.reservation, bond.until);
        format!("reservation {reservation}: {cores} until {until}, a bond of {amount}{lost}")
    }));
    lines
}

fn cores_of(count: u32) -> String {
    plural(count, "core")
}

impl RestingReport {
    fn verdict(&self) -> String {
        let was = if self.resting.paused { ", and is paused" } else { "" };
        format!("no agent runs on this machine, which has joined{was}: `isos join` starts it")
    }
}

impl Report for RestingReport {
    fn kind(&self) -> &'static str {
        "agent"
    }

    fn text(&self, page: &mut Page) {
        page.toned(Tone::Warn, self.verdict());
        page.field("host", self.resting.host.short());
        page.field("complex", self.resting.complex.to_string());
        if let Some(ran) = self.resting.ran {
            page.field("ran", format!("{} or later", ago(page.now(), ran)));
        }
        if let Some(host) = &self.seen {
            let state = super::host::word(host.state);
            let seen = ago(page.now(), host.seen);
            page.field("there", format!("the complex calls it {state}, and heard it {seen}"));
        }
    }

    fn json(&self) -> Value {
        let Resting { host, complex, ran, paused, .. } = &self.resting;
        let home = json!({ "host": host, "complex": complex, "ran": ran, "paused": paused });
        json!({
            "ok": false,
            "verdict": self.verdict(),
            "agent": null,
            "resting": stamp_deep(home, &["ran"]),
            "seen": stamp_deep(json!(self.seen), &["joined", "seen"]),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.verdict());
    }
}

impl Report for AgentReport {
    fn kind(&self) -> &'static str {
        "agent"
    }

    fn text(&self, page: &mut Page) {
        let (tone, verdict) = self.verdict();
        page.toned(tone, verdict);
        let agent = &self.agent;
        let status = &agent.host_status;
        page.field("host", format!("{}, version {}", agent.host.short(), clean(&agent.version)));
        let seen = match status.last_seen {
            Some(at) => format!("the complex spoke {}", ago(agent.now, at)),
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
        if let Some(trouble) = &agent.policy.trouble {
            page.toned(Tone::Bad, format!("the policy of before holds: {}", clean(trouble)));
        }
        let moved = agent.moved;
        page.field("network", format!("{} moved today, {} this month", moved.day, moved.month));
        for (n, line) in agent.storage.iter().flat_map(kept).enumerate() {
            page.field(if n == 0 { "storage" } else { "" }, line);
        }
        for (n, line) in self.stands.iter().flat_map(stands_in).enumerate() {
            page.field(if n == 0 { "firm" } else { "" }, line);
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
        let agent = stamp_deep(json!(self.agent), TIMES);
        let stands_in = stamp_deep(json!(self.stands), &["since", "leaves", "from", "until"]);
        json!({
            "ok": tone == Tone::Good,
            "verdict": verdict,
            "agent": agent,
            "stands_in": stands_in,
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.verdict().1);
    }
}

#[cfg(test)]
mod tests {
    use isos_base::api::BondView;
    use isos_base::key::PublicKey;
    use isos_base::{AccountId, HostId, MicroCredits, ReservationId, Time};

    use super::*;

    fn bond(reservation: u64, state: BondState, missed: u64, lost: i64) -> BondView {
        BondView {
            reservation: ReservationId(reservation),
            cores: 2,
            from: Time(1_794_916_800_000_000),
            until: Time(1_794_920_400_000_000),
            amount: MicroCredits(264_000),
            state,
            stood: 8,
            missed,
            lost: MicroCredits(lost),
        }
    }

    #[test]
    fn what_a_host_stands_in_for_is_said_with_what_it_has_cost() {
        let firm = FirmView {
            host: HostId(PublicKey([7; 32])),
            account: AccountId(101),
            cores: 1,
            since: Time(0),
            leaves: None,
            bonds: vec![
                bond(3, BondState::Standing, 0, 0),
                bond(4, BondState::Returned, 0, 0),
                bond(5, BondState::Standing, 4, 26_400),
            ],
        };
        expect_test::expect![[r#"
            [
                "1 core may be called to stand behind reservations",
                "reservation 3: 2 cores until 2026-11-17T13:00:00Z, a bond of 0.264000 credits",
                "reservation 5: 2 cores until 2026-11-17T13:00:00Z, a bond of 0.264000 credits, 4 core-ticks missed, 0.026400 credits lost",
            ]
        "#]]
        .assert_debug_eq(&stands_in(&firm));
    }
}
