//! Snapshots of folders.

use std::path::PathBuf;

use isos_backup::browse::letter;
use isos_backup::tree::Visited;
use isos_backup::{Change, Created, Listed, Restored, Stats, Verified};
use isos_base::{Bytes, Guid, Time};
use isos_sdk::store::Fragments;
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, ago, one_line, plural, stamp_deep};

/// A snapshot that was made.
#[derive(Debug)]
pub(crate) struct SnapshotCreated {
    /// What it is.
    pub(crate) created: Created,
    /// What hosts have of it.
    pub(crate) fragments: Fragments,
}

/// Snapshots, the oldest first.
#[derive(Debug)]
pub(crate) struct SnapshotList(pub(crate) Vec<Listed>);

/// What is in a snapshot.
#[derive(Debug)]
pub(crate) struct EntryList(pub(crate) Vec<Visited>);

/// What differs between two.
#[derive(Debug)]
pub(crate) struct ChangeList(pub(crate) Vec<Change>);

/// What was restored.
#[derive(Debug)]
pub(crate) struct RestoredReport {
    /// Where to.
    pub(crate) to: PathBuf,
    /// What.
    pub(crate) restored: Restored,
    /// Whether it was only counted.
    pub(crate) dry_run: bool,
}

/// What was read and checked.
#[derive(Debug)]
pub(crate) struct BackupVerified {
    /// The snapshot.
    pub(crate) id: Guid,
    /// What was found.
    pub(crate) verified: Verified,
}

/// What was given up.
#[derive(Debug)]
pub(crate) struct Forgotten {
    /// Snapshots that go.
    pub(crate) going: Vec<Listed>,
    /// Snapshots that stay.
    pub(crate) staying: Vec<Listed>,
    /// Bytes on hosts that become free.
    pub(crate) freed: Bytes,
    /// Hosts that did not answer.
    pub(crate) silent: usize,
    /// Whether nothing was done.
    pub(crate) dry_run: bool,
}

/// The words by which all is found again.
#[derive(Debug)]
pub(crate) struct BackupPhrase(pub(crate) String);

/// As many letters of an id as tell snapshots apart.
const ID_CHARS: usize = 8;

fn short(id: Guid) -> String {
    id.to_string().chars().take(ID_CHARS).collect()
}

fn path(bytes: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(bytes))
}

fn listed_json(listed: &Listed) -> Value {
    let paths: Vec<String> = listed.paths.iter().map(|it| path(it)).collect();
    json!({
        "id": listed.root.object,
        "time": listed.time,
        "host": listed.host,
        "user": listed.user,
        "paths": paths,
        "tags": listed.tags,
        "partial": listed.partial,
        "stats": stats_json(&listed.stats),
    })
}

fn stats_json(stats: &Stats) -> Value {
    json!(stats)
}

fn visited_json(visited: &Visited) -> Value {
    json!({
        "path": path(&visited.path),
        "kind": letter(&visited.entry.kind).to_string(),
        "bytes": visited.entry.size(),
        "mode": format!("{:o}", visited.entry.meta.mode),
        "user": visited.entry.meta.user,
        "group": visited.entry.meta.group,
        "mtime": mtime(visited),
    })
}

/// Microseconds since 1970; the beginning of it for what is older.
fn mtime(visited: &Visited) -> Time {
    let stamp = visited.entry.meta.mtime;
    let secs = u64::try_from(stamp.secs).unwrap_or(0);
    Time(secs.saturating_mul(1_000_000) + u64::from(stamp.nanos / 1_000))
}

impl Report for SnapshotCreated {
    fn kind(&self) -> &'static str {
        "snapshot"
    }

    fn text(&self, page: &mut Page) {
        let (head, stats) = (&self.created.head, &self.created.head.stats);
        let id = self.created.capability.object().map(|(guid, _)| short(guid)).unwrap_or_default();
        let tone = if head.partial { Tone::Warn } else { Tone::Good };
        let partial = if head.partial { ", not whole" } else { "" };
        page.toned(tone, format!("snapshot {id} is stored{partial}"));
        let kept = format!("{} in {}", Bytes(stats.bytes), plural(stats.files, "file"));
        page.field("keeps", format!("{kept}, {} unchanged", stats.unchanged));
        let new = Bytes(stats.new);
        page.field("new", format!("{new}, {} when packed", Bytes(stats.stored)));
        let fragments = &self.fragments;
        let on = plural(fragments.hosts as u64, "host");
        page.field("on hosts", format!("{} more on {on}", fragments.stored));
        let problems = &self.created.problems;
        if problems.count > 0 {
            let all = plural(problems.count, "problem");
            let lost = plural(problems.lost, "file");
            page.toned(Tone::Warn, format!("{all}, {lost} not whole"));
        }
        if fragments.missing > 0 {
            let missing = plural(fragments.missing, "fragment");
            page.toned(Tone::Warn, format!("{missing} found no host"));
        }
    }

    fn json(&self) -> Value {
        let created = &self.created;
        let problem = |it: &isos_backup::Problem| {
            let trouble = format!("{:?}", it.trouble);
            json!({ "path": path(&it.path), "trouble": trouble, "why": it.why })
        };
        let problems: Vec<Value> = created.problems.first.iter().map(problem).collect();
        let value = json!({
            "id": created.capability.object().map(|(guid, _)| guid),
            "parent": created.head.parent,
            "time": created.head.time,
            "partial": created.head.partial,
            "stats": stats_json(&created.head.stats),
            "stored_on_hosts": self.fragments.stored,
            "hosts": self.fragments.hosts,
            "missing": self.fragments.missing,
            "problems": problems,
        });
        stamp_deep(value, &["time"])
    }

    fn quiet(&self, page: &mut Page) {
        if let Some((guid, _)) = self.created.capability.object() {
            page.line(guid.to_string());
        }
    }
}

impl Report for SnapshotList {
    fn kind(&self) -> &'static str {
        "snapshots"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no snapshot was kept yet: `isos backup create PATH` does");
            return;
        }
        let mut table =
            Table::new(&["id", "made", "machine", "paths", ">files", ">size", ">new", "tags"]);
        for listed in &self.0 {
            let paths: Vec<String> = listed.paths.iter().map(|it| path(it)).collect();
            let row = vec![
                short(listed.root.object),
                ago(page.now(), listed.time),
                one_line(&listed.host),
                paths.join(" "),
                listed.stats.files.to_string(),
                Bytes(listed.stats.bytes).to_string(),
                Bytes(listed.stats.new).to_string(),
                one_line(&listed.tags.join(",")),
            ];
            table.row(if listed.partial { Tone::Warn } else { Tone::Plain }, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        stamp_deep(Value::Array(self.0.iter().map(listed_json).collect()), &["time"])
    }

    fn quiet(&self, page: &mut Page) {
        self.0.iter().for_each(|listed| page.line(listed.root.object.to_string()));
    }
}

impl Report for EntryList {
    fn kind(&self) -> &'static str {
        "entries"
    }

    fn text(&self, page: &mut Page) {
        let mut table = Table::new(&["mode", "owner", ">size", "changed", "path"]);
        for visited in &self.0 {
            let meta = &visited.entry.meta;
            let row = vec![
                format!("{}{:04o}", letter(&visited.entry.kind), meta.mode),
                one_line(&format!("{}:{}", meta.user, meta.group)),
                Bytes(visited.entry.size()).to_string(),
                ago(page.now(), mtime(visited)),
                path(&visited.path),
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        stamp_deep(Value::Array(self.0.iter().map(visited_json).collect()), &["mtime"])
    }

    fn quiet(&self, page: &mut Page) {
        self.0.iter().for_each(|visited| page.line(path(&visited.path)));
    }
}

fn change(change: &Change) -> (&'static str, &Visited) {
    match change {
        Change::Added(after) => ("added", after),
        Change::Removed(before) => ("removed", before),
        Change::Changed(_, after) => ("changed", after),
        Change::Metadata(_, after) => ("metadata", after),
    }
}

impl Report for ChangeList {
    fn kind(&self) -> &'static str {
        "changes"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing differs");
            return;
        }
        for (word, visited) in self.0.iter().map(change) {
            page.line(format!("{word:<9} {}", path(&visited.path)));
        }
    }

    fn json(&self) -> Value {
        let one = |(word, visited): (&str, &Visited)| {
            let mut value = visited_json(visited);
            value["change"] = word.into();
            value
        };
        let all = self.0.iter().map(change).map(one).collect();
        stamp_deep(Value::Array(all), &["mtime"])
    }

    fn quiet(&self, page: &mut Page) {
        self.0.iter().for_each(|it| page.line(path(&change(it).1.path)));
    }
}

impl Report for RestoredReport {
    fn kind(&self) -> &'static str {
        "restored"
    }

    fn text(&self, page: &mut Page) {
        let Restored { stats, skipped, problems } = &self.restored;
        let verb = if self.dry_run { "would be restored" } else { "restored" };
        let what = format!("{} in {}", Bytes(stats.bytes), plural(stats.files, "file"));
        let tone = if problems.is_partial() { Tone::Warn } else { Tone::Good };
        page.toned(tone, format!("{what} {verb} to {}", self.to.display()));
        if *skipped > 0 {
            let skipped = plural(*skipped, "file");
            page.line(format!(
                "{skipped} were there and stayed: --overwrite changed replaces them"
            ));
        }
        if problems.count > 0 {
            page.toned(Tone::Warn, plural(problems.count, "problem"));
        }
    }

    fn json(&self) -> Value {
        let Restored { stats, skipped, problems } = &self.restored;
        json!({
            "to": self.to,
            "dry_run": self.dry_run,
            "stats": stats_json(stats),
            "skipped": skipped,
            "problems": problems.count,
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.restored.stats.files.to_string());
    }
}

impl Report for BackupVerified {
    fn kind(&self) -> &'static str {
        "verified_snapshot"
    }

    fn text(&self, page: &mut Page) {
        let verified = &self.verified;
        let id = short(self.id);
        if verified.damaged == 0 && verified.problems.count == 0 {
            let read = Bytes(verified.stats.read);
            page.toned(
                Tone::Good,
                format!("snapshot {id} is whole: {read} were read and are right"),
            );
            return;
        }
        let damaged = plural(verified.damaged, "chunk");
        page.toned(Tone::Bad, format!("snapshot {id}: {damaged} of {} damaged", verified.chunks));
        for problem in &verified.problems.first {
            page.line(format!("{}: {}", path(&problem.path), one_line(&problem.why)));
        }
    }

    fn json(&self) -> Value {
        let verified = &self.verified;
        json!({
            "id": self.id,
            "chunks": verified.chunks,
            "damaged": verified.damaged,
            "problems": verified.problems.count,
            "read": verified.stats.read,
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.verified.damaged.to_string());
    }
}

impl Report for Forgotten {
    fn kind(&self) -> &'static str {
        "forgotten"
    }

    fn text(&self, page: &mut Page) {
        let verb = if self.dry_run { "would go" } else { "went" };
        let going = plural(self.going.len() as u64, "snapshot");
        let staying = self.staying.len();
        page.line(format!("{going} {verb}, {staying} stay; {} on hosts become free", self.freed));
        for listed in &self.going {
            let made = ago(page.now(), listed.time);
            page.line(format!("  {} {made} {}", short(listed.root.object), one_line(&listed.host)));
        }
        if self.silent > 0 {
            let silent = plural(self.silent as u64, "host");
            let text = format!("{silent} did not answer: there it goes when the lease ends");
            page.toned(Tone::Warn, text);
        }
    }

    fn json(&self) -> Value {
        let value = json!({
            "going": self.going.iter().map(listed_json).collect::<Vec<_>>(),
            "staying": self.staying.len(),
            "freed": self.freed,
            "silent_hosts": self.silent,
            "dry_run": self.dry_run,
        });
        stamp_deep(value, &["time"])
    }

    fn quiet(&self, page: &mut Page) {
        self.going.iter().for_each(|listed| page.line(listed.root.object.to_string()));
    }
}

impl Report for BackupPhrase {
    fn kind(&self) -> &'static str {
        "phrase"
    }

    fn text(&self, page: &mut Page) {
        page.toned(Tone::Bold, &self.0);
        page.line(
            "Whoever has these words can read all that you have put. Write them down, on paper.",
        );
        page.line("On a new machine: `isos backup phrase --enter`, then `isos backup list`.");
    }

    fn json(&self) -> Value {
        json!({ "words": self.0 })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(&self.0);
    }
}
