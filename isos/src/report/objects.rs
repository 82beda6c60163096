//! Objects on other people's disks.

mod put;

use std::collections::BTreeMap;
use std::path::PathBuf;

use isos_base::{Bytes, Guid};
use isos_sdk::store::catalogue::Entry;
use isos_sdk::store::{Gotten, Health, Mended, Planned, Proved, Removed, SegmentHealth};
use isos_store::durability::Estimate;
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, ago, one_line, plural, stamp_deep};

pub(crate) use put::{PutList, PutPlan, PutReport};

/// Nines that are shown: above, other causes than those of the model decide.
const NINES_SHOWN: f64 = 9.0;

/// Something that was got.
#[derive(Debug)]
pub(crate) struct GetReport {
    /// Its name.
    pub(crate) name: String,
    /// Where it is now.
    pub(crate) to: PathBuf,
    /// What came.
    pub(crate) gotten: Gotten,
}

/// All objects that have a name.
#[derive(Debug)]
pub(crate) struct ObjectList(pub(crate) BTreeMap<String, Entry>);

/// The files of an object.
#[derive(Debug)]
pub(crate) struct FileList {
    /// Its name.
    pub(crate) name: String,
    /// Names and sizes.
    pub(crate) files: Vec<(String, u64)>,
}

/// What was removed.
#[derive(Debug)]
pub(crate) struct RemovedReport {
    /// Names of objects.
    pub(crate) names: Vec<String>,
    /// What became of their fragments.
    pub(crate) removed: Removed,
}

/// What to hand on.
#[derive(Debug)]
pub(crate) struct ShareReport {
    /// Of what.
    pub(crate) name: String,
    /// The words.
    pub(crate) capability: String,
    /// Whether they let read.
    pub(crate) reads: bool,
}

/// How an object stands.
#[derive(Debug)]
pub(crate) struct HealthReport {
    /// Its name.
    pub(crate) name: String,
    /// What hosts say.
    pub(crate) health: Health,
}

/// How one of several objects stands.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Its name.
    pub(crate) name: String,
    /// Its name among hosts.
    pub(crate) guid: Option<Guid>,
    /// Its segments.
    pub(crate) segments: u32,
    /// Of which all fragments are there.
    pub(crate) whole: u32,
    /// Of which too few are.
    pub(crate) unreadable: u32,
    /// The worst of them.
    pub(crate) worst: Option<SegmentHealth>,
    /// Hosts that have something of it.
    pub(crate) hosts: u32,
    /// What was made anew.
    pub(crate) mended: Option<Mended>,
    /// What its hosts could show of what they say they have.
    pub(crate) proved: Option<Proved>,
    /// Bytes that were read and are right.
    pub(crate) read: Option<Bytes>,
    /// Why it could not be looked at.
    pub(crate) error: Option<String>,
}

/// How several objects stand.
#[derive(Debug)]
pub(crate) struct VerifyReport(pub(crate) Vec<Checked>);

/// `8.3 nines a year`, and nothing that nobody can promise.
fn nines(nines: f64) -> String {
    if nines > NINES_SHOWN { format!("over {NINES_SHOWN:.0}") } else { format!("{nines:.1}") }
}

fn worth(page: &mut Page, estimate: &Estimate) {
    let Estimate { nines: kept, read_nines, assumptions, .. } = estimate;
    page.field("safe", format!("{} nines a year that it is not lost", nines(*kept)));
    page.field("there", format!("{} nines that a read finds enough", nines(*read_nines)));
    for assumption in assumptions {
        page.field("if", assumption.to_string());
    }
}

fn planned(page: &mut Page, planned: &Planned) {
    let scheme = planned.plan.scheme;
    let code = scheme.code;
    page.field("code", format!("any {} of {} fragments are enough", code.m(), code.n()));
    page.field("class", planned.plan.class.to_string());
    worth(page, &planned.plan.estimate);
    for shortfall in &planned.plan.shortfalls {
        page.toned(Tone::Warn, format!("less than the class promises: {shortfall}"));
    }
    for relaxed in &planned.relaxed {
        page.toned(Tone::Warn, relaxed.to_string());
    }
}

fn planned_json(planned: &Planned) -> Value {
    let plan = &planned.plan;
    let text = |it: &dyn std::fmt::Display| Value::from(it.to_string());
    json!({
        "class": plan.class,
        "code": { "m": plan.scheme.code.m(), "n": plan.scheme.code.n() },
        "repair_at": plan.scheme.repair_at,
        "commit_at": plan.commit_at,
        "estimate": estimate_json(&plan.estimate),
        "shortfalls": plan.shortfalls.iter().map(|it| text(it)).collect::<Vec<_>>(),
        "relaxed": planned.relaxed.iter().map(|it| text(it)).collect::<Vec<_>>(),
    })
}

fn estimate_json(estimate: &Estimate) -> Value {
    let assumptions: Vec<String> = estimate.assumptions.iter().map(ToString::to_string).collect();
    json!({
        "nines_a_year": estimate.nines,
        "read_nines": estimate.read_nines,
        "expansion": estimate.expansion,
        "assumptions": assumptions,
    })
}

impl Report for GetReport {
    fn kind(&self) -> &'static str {
        "got"
    }

    fn text(&self, page: &mut Page) {
        let what = plural(self.gotten.files.len() as u64, "file");
        let to = self.to.display();
        page.line(format!("{}: {} in {what} -> {to}", one_line(&self.name), self.gotten.bytes));
    }

    fn json(&self) -> Value {
        let file = |(path, bytes): &(PathBuf, Bytes)| json!({ "path": path, "bytes": bytes });
        let liars: Vec<String> = self.gotten.liars.iter().map(ToString::to_string).collect();
        json!({
            "name": self.name,
            "bytes": self.gotten.bytes,
            "files": self.gotten.files.iter().map(file).collect::<Vec<_>>(),
            "wrong_hosts": liars,
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.to.display().to_string());
    }
}

impl Report for ObjectList {
    fn kind(&self) -> &'static str {
        "objects"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing was put yet: `isos put PATH` does");
            return;
        }
        let heads = ["name", ">size", ">files", "code", "class", ">on hosts", "put"];
        let mut table = Table::new(&heads);
        for (name, entry) in &self.0 {
            let (m, n) = entry.code;
            let row = vec![
                one_line(name) + if entry.is_folder { "/" } else { "" },
                entry.bytes.to_string(),
                entry.files.to_string(),
                format!("{m}-of-{n}"),
                entry.class.to_string(),
                entry.stored.to_string(),
                ago(page.now(), entry.put),
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let object = |(name, entry): (&String, &Entry)| {
            let mut value = json!(entry);
            value["name"] = name.as_str().into();
            // Who reads a list need not be able to read what is listed.
            if let Some(fields) = value.as_object_mut() {
                fields.remove("capability");
            }
            value
        };
        stamp_deep(Value::Array(self.0.iter().map(object).collect()), &["put"])
    }

    fn quiet(&self, page: &mut Page) {
        self.0.keys().for_each(|name| page.line(one_line(name)));
    }
}

impl Report for FileList {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn text(&self, page: &mut Page) {
        let mut table = Table::new(&[">size", "file"]);
        for (name, size) in &self.files {
            table.row(Tone::Plain, vec![Bytes(*size).to_string(), one_line(name)]);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let file = |(name, size): &(String, u64)| json!({ "name": name, "bytes": size });
        json!({ "name": self.name, "files": self.files.iter().map(file).collect::<Vec<_>>() })
    }

    fn quiet(&self, page: &mut Page) {
        self.files.iter().for_each(|(name, _)| page.line(one_line(name)));
    }
}

impl Report for RemovedReport {
    fn kind(&self) -> &'static str {
        "removed"
    }

    fn text(&self, page: &mut Page) {
        let Removed { fragments, leases, silent } = &self.removed;
        let bytes = Bytes(leases.values().map(|bytes| bytes.0).sum());
        let gone = format!("{} of {bytes}", plural(*fragments, "fragment"));
        page.line(format!("{}: hosts removed {gone}", one_line(&self.names.join(", "))));
        if *silent > 0 {
            let silent = plural(*silent as u64, "host");
            let text = format!("{silent} did not answer: there it goes when the lease ends");
            page.toned(Tone::Warn, text);
        }
    }

    fn json(&self) -> Value {
        let bytes: u64 = self.removed.leases.values().map(|bytes| bytes.0).sum();
        json!({
            "names": self.names,
            "fragments": self.removed.fragments,
            "bytes": bytes,
            "silent_hosts": self.removed.silent,
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.removed.fragments.to_string());
    }
}

impl Report for ShareReport {
    fn kind(&self) -> &'static str {
        "capability"
    }

    fn text(&self, page: &mut Page) {
        page.line(&self.capability);
    }

    fn json(&self) -> Value {
        json!({ "name": self.name, "capability": self.capability, "reads": self.reads })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(&self.capability);
    }
}

impl Report for HealthReport {
    fn kind(&self) -> &'static str {
        "health"
    }

    fn text(&self, page: &mut Page) {
        let health = &self.health;
        let tone = if health.is_readable() { Tone::Bold } else { Tone::Bad };
        let manifest = &health.manifest;
        let plain: u64 = manifest.segments.iter().map(|it| u64::from(it.length)).sum();
        let name = one_line(&self.name);
        page.toned(tone, format!("{name}: {}", state(health)));
        page.field("object", manifest.guid().to_string());
        page.field("class", manifest.class.to_string());
        page.field("sealed", Bytes(plain).to_string());
        let stored = Bytes(manifest.stored_bytes());
        let segments = plural(manifest.segments.len() as u64, "segment");
        page.field("fragments", format!("{segments}, {stored} when all are there"));
        if let Some(worst) = health.worst() {
            let SegmentHealth { m, n, found } = worst;
            page.field("worst", format!("{found} of {n} fragments are there, {m} are enough"));
        }
        let silent = match health.silent {
            0 => String::new(),
            silent => format!(", {silent} more did not answer"),
        };
        let (on, of) = (health.hosts.len(), health.asked);
        page.field("hosts", format!("{on} of {of} that answered have some{silent}"));
        page.field("manifest", format!("on {}", plural(health.manifests, "host")));
        if let Some(estimate) = &health.worth {
            worth(page, estimate);
        }
        let mut table = Table::new(&["host", ">fragments", "owner", "network", "system", "agent"]);
        for (keeper, fragments) in &health.hosts {
            let row = vec![
                keeper.host.short(),
                fragments.to_string(),
                keeper.owner.to_string(),
                keeper.block.clone().unwrap_or_default(),
                one_line(&keeper.os),
                one_line(&keeper.agent),
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let health = &self.health;
        let segment = |it: &SegmentHealth| json!({ "m": it.m, "n": it.n, "found": it.found });
        let hosts: Vec<Value> = health
            .hosts
            .iter()
            .map(|(keeper, fragments)| json!({ "host": keeper.host, "fragments": fragments }))
            .collect();
        json!({
            "name": self.name,
            "guid": health.manifest.guid(),
            "class": health.manifest.class,
            "readable": health.is_readable(),
            "segments": health.segments.iter().map(segment).collect::<Vec<_>>(),
            "hosts": hosts,
            "manifests": health.manifests,
            "asked": health.asked,
            "silent": health.silent,
            "estimate": health.worth.as_ref().map(estimate_json),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(state(&self.health));
    }
}

fn state(health: &Health) -> &'static str {
    if !health.is_readable() {
        "cannot be read now"
    } else if health.segments.iter().all(|it| it.found >= it.n) {
        "whole"
    } else {
        "can be read, fragments are missing"
    }
}

impl Checked {
    /// Whether nothing is to be done about it.
    pub(crate) fn is_good(&self) -> bool {
        self.error.is_none() && self.whole == self.segments && self.unproved() == 0
    }

    /// Hosts that could not show what they say they have.
    fn unproved(&self) -> usize {
        self.proved.as_ref().map_or(0, |proved| proved.failed.len())
    }

    fn state(&self) -> String {
        match (&self.error, self.unreadable) {
            (Some(error), _) => error.clone(),
            (None, 0) if self.is_good() => "whole".into(),
            (None, 0) if self.unproved() > 0 => {
                format!(
                    "{} cannot show what they say they have",
                    plural(self.unproved() as u64, "host")
                )
            }
            (None, 0) => "fragments are missing".into(),
            (None, unreadable) => format!("{unreadable} segments cannot be read now"),
        }
    }

    fn mended(&self) -> String {
        self.mended.as_ref().map_or_else(String::new, |it| plural(it.fragments, "fragment"))
    }
}

impl Report for VerifyReport {
    fn kind(&self) -> &'static str {
        "verified"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing was put yet");
            return;
        }
        let heads =
            ["object", ">hosts", ">segments", "worst", ">shown", ">read", ">made anew", "state"];
        let mut table = Table::new(&heads);
        for checked in &self.0 {
            let worst = checked.worst.as_ref();
            let row = vec![
                one_line(&checked.name),
                checked.hosts.to_string(),
                checked.segments.to_string(),
                worst.map_or_else(String::new, |it| format!("{} of {}", it.found, it.n)),
                checked.proved.as_ref().map_or_else(String::new, |it| it.passed.to_string()),
                checked.read.map(|bytes| bytes.to_string()).unwrap_or_default(),
                checked.mended(),
                checked.state(),
            ];
            table.row(if checked.is_good() { Tone::Plain } else { Tone::Bad }, row);
        }
        page.table(&table);
        let failed = self.0.iter().filter_map(|it| it.proved.as_ref()).flat_map(|it| &it.failed);
        for failed in failed {
            let asks = match failed.lease {
                Some(lease) => {
                    format!("the complex asks it, too, and lease {lease} ends if it cannot")
                }
                None => "no lease there is yours".into(),
            };
            let (host, fragment) = (failed.host.short(), failed.fragment.short());
            let text = format!("host {host} did not show {fragment}: {}; {asks}", failed.why);
            page.toned(Tone::Warn, text);
        }
    }

    fn json(&self) -> Value {
        let one = |it: &Checked| {
            let proved = it.proved.as_ref().map(|it| {
                let failed = it.failed.iter().map(|it| {
                    let (host, fragment) = (it.host, it.fragment);
                    json!({ "host": host, "fragment": fragment, "why": it.why, "lease": it.lease })
                });
                let failed: Vec<Value> = failed.collect();
                json!({ "passed": it.passed, "silent": it.silent, "failed": failed })
            });
            let worst = it.worst.as_ref().map(|it| json!({ "found": it.found, "of": it.n }));
            let mended = it.mended.as_ref().map(
                |it| json!({ "fragments": it.fragments, "missing": it.missing, "lost": it.lost }),
            );
            json!({
                "name": it.name,
                "guid": it.guid,
                "good": it.is_good(),
                "segments": it.segments,
                "whole": it.whole,
                "unreadable": it.unreadable,
                "worst": worst,
                "hosts": it.hosts,
                "proved": proved,
                "read": it.read,
                "mended": mended,
                "error": it.error,
            })
        };
        Value::Array(self.0.iter().map(one).collect())
    }

    fn quiet(&self, page: &mut Page) {
        for checked in self.0.iter().filter(|it| !it.is_good()) {
            page.line(one_line(&checked.name));
        }
    }
}
