//! Hosts.

use isos_base::HostId;
use isos_base::api::{HostState, HostView};
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, ago, clean, plural, stamp};

const TIMES: &[&str] = &["joined", "seen"];

/// One host in full.
#[derive(Debug)]
pub(crate) struct HostReport(pub(crate) HostView);

/// Hosts, a line each.
#[derive(Debug)]
pub(crate) struct HostList(pub(crate) Vec<HostView>);

/// The word for how a host takes part.
pub(super) fn word(state: HostState) -> &'static str {
    match state {
        HostState::Working => "working",
        HostState::Idle => "idle",
        HostState::Asleep => "asleep",
        HostState::Quiet => "quiet",
        HostState::Lost => "lost",
        HostState::Barred => "barred",
    }
}

/// The colour of that.
pub(super) fn tone(state: HostState) -> Tone {
    match state {
        HostState::Working => Tone::Good,
        HostState::Idle => Tone::Plain,
        HostState::Asleep | HostState::Quiet => Tone::Dim,
        HostState::Lost => Tone::Warn,
        HostState::Barred => Tone::Bad,
    }
}

/// `2/4`: offered now, of all that the owner ever gives.
fn cores(host: &HostView) -> String {
    format!("{}/{}", host.offer.as_ref().map_or(0, |offer| offer.cores), host.spec.cpus)
}

impl Report for HostReport {
    fn kind(&self) -> &'static str {
        "host"
    }

    fn text(&self, page: &mut Page) {
        let host = &self.0;
        let spec = &host.spec;
        let title = page.paint(Tone::Bold, &format!("host {}", clean(&spec.name)));
        let state = page.paint(tone(host.state), word(host.state));
        page.line(format!("{title}  {state}"));
        page.field("key", host.id.to_string());
        if let Some(why) = &host.barred {
            page.field("barred", page.paint(Tone::Bad, &clean(why)));
        }
        page.field("seen", format!("{} ({})", ago(page.now(), host.seen), host.seen));
        page.field("joined", format!("{} ({})", ago(page.now(), host.joined), host.joined));
        page.field("account", host.account.to_string());
        let country = spec.country.as_deref().unwrap_or("country unknown");
        let machine = format!(
            "{} {}, {}, {} memory, {} disk, {country}",
            spec.os,
            spec.arch,
            plural(spec.cpus, "core"),
            spec.memory,
            spec.disk
        );
        page.field("machine", clean(&machine));
        page.field("agent", clean(&format!("{}, {}", spec.agent, spec.engine)));
        match &host.offer {
            Some(offer) => {
                let now = format!(
                    "{}, {} memory, {} disk, from {} micro-credits per gigafuel",
                    plural(offer.cores, "core"),
                    offer.memory,
                    offer.disk,
                    offer.price_min.0
                );
                page.field("offers", now);
                for reason in &offer.reasons {
                    page.field("", clean(reason));
                }
            }
            None => page.field("offers", "nothing: it is not connected"),
        }
        page.field("tasks", host.tasks.to_string());
        let record = format!("{} accepted, {} rejected, {} lost", host.good, host.bad, host.lost);
        page.field("results", record);
    }

    fn json(&self) -> Value {
        stamp(json!(self.0), TIMES)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(word(self.0.state));
    }
}

impl Report for HostList {
    fn kind(&self) -> &'static str {
        "hosts"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no hosts; `isos ticket` makes a ticket, `isos join TICKET` adds a machine");
            return;
        }
        let mut table = Table::new(&[
            "name", "key", "state", ">cores", ">memory", ">tasks", ">good", ">bad", ">lost", "seen",
        ]);
        for host in &self.0 {
            table.row(
                tone(host.state),
                vec![
                    clean(&host.spec.name).into_owned(),
                    host.id.short(),
                    word(host.state).into(),
                    cores(host),
                    host.offer.as_ref().map_or("-".into(), |offer| offer.memory.to_string()),
                    host.tasks.to_string(),
                    host.good.to_string(),
                    host.bad.to_string(),
                    host.lost.to_string(),
                    ago(page.now(), host.seen),
                ],
            );
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        self.0.iter().map(|host| stamp(json!(host), TIMES)).collect()
    }

    fn quiet(&self, page: &mut Page) {
        for host in &self.0 {
            page.line(host.id.to_string());
        }
    }
}

/// A host has another key.
#[derive(Debug)]
pub(crate) struct HostKeyRotated {
    /// The key before.
    pub(crate) old: HostId,
    /// The key now.
    pub(crate) new: HostId,
}

impl Report for HostKeyRotated {
    fn kind(&self) -> &'static str {
        "host_key_rotated"
    }

    fn text(&self, page: &mut Page) {
        page.line(format!("this host has the key {} now", self.new));
        page.toned(Tone::Dim, format!("{} is good for nothing any more", self.old));
        page.toned(Tone::Dim, "Go on with `isos join`.");
    }

    fn json(&self) -> Value {
        json!({ "old": self.old, "new": self.new })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.new.to_string());
    }
}
