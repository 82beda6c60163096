//! Slices, and what ran on one.

use isos_base::api::{SliceView, SliverView};
use isos_base::slice::SliceState;
use isos_base::{Fuel, HostId, JobId};
use isos_sdk::{LINE_STDOUT_MAX, Outcome};
use serde_json::{Value, json};

use super::host;
use crate::output::{Page, Report, Table, Tone, ago, clean, one_line, plural, stamp_deep};

const TIMES: &[&str] = &["made", "until", "ended", "since", "away", "at"];

/// One slice with its hosts.
#[derive(Debug)]
pub(crate) struct SliceReport(pub(crate) SliceView);

/// Slices, a line each.
#[derive(Debug)]
pub(crate) struct SliceList(pub(crate) Vec<SliceView>);

/// What ran on a slice, and how it ended on each host.
#[derive(Debug)]
pub(crate) struct SliceRunReport {
    /// The slice.
    pub(crate) slice: String,
    /// The job.
    pub(crate) job: JobId,
    /// Each host, by rank.
    pub(crate) ranks: Vec<RankReport>,
}

/// How a program ended on one host.
#[derive(Debug)]
pub(crate) struct RankReport {
    rank: u32,
    name: String,
    host: Option<HostId>,
    /// Whether it ended well.
    ok: bool,
    /// How it ended.
    end: String,
    /// The program's exit code, if it has one.
    exit: Option<i32>,
    fuel: Fuel,
    /// What it printed, as far as is told.
    stdout: String,
    stderr: String,
    /// Whether it printed more.
    cut: bool,
}

fn word(state: SliceState) -> &'static str {
    match state {
        SliceState::Open => "open",
        SliceState::Dropped => "dropped",
        SliceState::Over => "over",
    }
}

fn away(slice: &SliceView) -> usize {
    slice.slivers.iter().filter(|sliver| sliver.why.is_some()).count()
}

impl Report for SliceReport {
    fn kind(&self) -> &'static str {
        "slice"
    }

    fn text(&self, page: &mut Page) {
        let slice = &self.0;
        let title = page.paint(Tone::Bold, &format!("slice {}", clean(&slice.name)));
        let lost = away(slice);
        let tone = match (slice.state, lost) {
            (SliceState::Open, 0) => Tone::Good,
            (SliceState::Open, _) => Tone::Warn,
            _ => Tone::Dim,
        };
        let state = page.paint(tone, word(slice.state));
        page.line(format!("{title}  {state}"));
        let hosts = plural(slice.slivers.len() as u64, "host");
        page.field("hosts", if lost > 0 { format!("{hosts}, {lost} not there") } else { hosts });
        if let Some(constraint) = &slice.constraint {
            page.field("where", one_line(constraint));
        }
        page.field("made", format!("{} ({})", ago(page.now(), slice.made), slice.made));
        match slice.ended {
            Some(at) => page.field("ended", format!("{} ({at})", ago(page.now(), at))),
            None => {
                page.field("until", format!("{} ({})", ago(page.now(), slice.until), slice.until));
            }
        }
        let mut table = Table::new(&[">rank", "host", "key", "state", "country", "since", "why"]);
        for sliver in &slice.slivers {
            table.row(tone_of(sliver), row(page, sliver));
        }
        page.table(&table);
        for gone in &slice.replaced {
            let (host, at) = (gone.host.short(), ago(page.now(), gone.at));
            let text =
                format!("rank {}: {host} was replaced {at}: {}", gone.rank, clean(&gone.why));
            page.toned(Tone::Dim, text);
        }
    }

    fn json(&self) -> Value {
        stamp_deep(json!(self.0), TIMES)
    }

    fn quiet(&self, page: &mut Page) {
        for sliver in &self.0.slivers {
            page.line(sliver.host.to_string());
        }
    }
}

fn tone_of(sliver: &SliverView) -> Tone {
    if sliver.why.is_some() { Tone::Warn } else { host::tone(sliver.state) }
}

fn row(page: &Page, sliver: &SliverView) -> Vec<String> {
    let state = if sliver.away.is_some() { "away" } else { host::word(sliver.state) };
    vec![
        sliver.rank.to_string(),
        clean(&sliver.name).into_owned(),
        sliver.host.short(),
        state.into(),
        sliver.country.as_deref().map(clean).unwrap_or_default().into_owned(),
        ago(page.now(), sliver.since),
        sliver.why.as_deref().map(clean).unwrap_or_default().into_owned(),
    ]
}

impl Report for SliceList {
    fn kind(&self) -> &'static str {
        "slices"
    }

    fn text(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no slices; `isos slice create NAME --hosts N` makes one");
            return;
        }
        let mut table = Table::new(&["name", ">hosts", ">not there", "until", "where"]);
        for slice in &self.0 {
            let lost = away(slice);
            table.row(
                if lost > 0 { Tone::Warn } else { Tone::Plain },
                vec![
                    clean(&slice.name).into_owned(),
                    slice.slivers.len().to_string(),
                    lost.to_string(),
                    ago(page.now(), slice.until),
                    slice.constraint.as_deref().map(one_line).unwrap_or_default(),
                ],
            );
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        self.0.iter().map(|slice| stamp_deep(json!(slice), TIMES)).collect()
    }

    fn quiet(&self, page: &mut Page) {
        for slice in &self.0 {
            page.line(clean(&slice.name));
        }
    }
}

impl RankReport {
    /// How a task ended.
    pub(crate) fn of(name: String, outcome: &Outcome) -> Self {
        let accepted = &outcome.accepted;
        let output = outcome.output.as_ref();
        let (stdout, more) = head(output.map_or(&[], |output| output.stdout.as_slice()));
        let (stderr, still_more) = head(output.map_or(&[], |output| output.stderr.as_slice()));
        let (ok, end, exit, fuel) = match &accepted.result {
            Ok(result) => {
                let exit = match result.exit {
                    isos_base::task::Exit::Code(code) => Some(code),
                    _ => None,
                };
                (result.exit.is_success(), result.exit.to_string(), exit, result.fuel)
            }
            Err(why) => (false, why.clone(), None, Fuel(0)),
        };
        let (rank, host, cut) = (accepted.task, accepted.host, more || still_more);
        Self { rank, name, host, ok, end, exit, fuel, stdout, stderr, cut }
    }

    /// Of a task that has no result of its own.
    pub(crate) fn none(rank: u32, host: HostId, name: String, end: String) -> Self {
        let (stdout, stderr) = (String::new(), String::new());
        let (host, exit, fuel) = (Some(host), None, Fuel(0));
        Self { rank, name, host, ok: false, end, exit, fuel, stdout, stderr, cut: false }
    }
}

/// As much of what was printed as one document tells, and whether there is more.
fn head(bytes: &[u8]) -> (String, bool) {
    let shown = &bytes[..bytes.len().min(LINE_STDOUT_MAX)];
    (String::from_utf8_lossy(shown).into_owned(), shown.len() < bytes.len())
}

impl SliceRunReport {
    /// Where it runs, in words.
    pub(crate) fn on(slice: &SliceView) -> String {
        format!("{} of slice {}", plural(slice.slivers.len() as u64, "host"), clean(&slice.name))
    }
}

impl Report for SliceRunReport {
    fn kind(&self) -> &'static str {
        "slice_run"
    }

    fn text(&self, page: &mut Page) {
        let well = self.ranks.iter().filter(|rank| rank.ok).count();
        let all = plural(self.ranks.len() as u64, "host");
        let line = format!("job {} on slice {}: {well} of {all} ended well", self.job, self.slice);
        page.toned(if well == self.ranks.len() { Tone::Good } else { Tone::Bad }, line);
        let mut table = Table::new(&[">rank", "host", "end", ">fuel"]);
        for rank in &self.ranks {
            table.row(
                if rank.ok { Tone::Plain } else { Tone::Bad },
                vec![
                    rank.rank.to_string(),
                    rank.name.clone(),
                    clean(&rank.end).into_owned(),
                    rank.fuel.to_string(),
                ],
            );
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let rank = |rank: &RankReport| {
            json!({
                "rank": rank.rank,
                "name": rank.name,
                "host": rank.host,
                "ok": rank.ok,
                "end": rank.end,
                "exit": rank.exit,
                "fuel": rank.fuel,
                "stdout": rank.stdout,
                "stderr": rank.stderr,
                "cut": rank.cut,
            })
        };
        let ranks: Vec<Value> = self.ranks.iter().map(rank).collect();
        json!({ "slice": self.slice, "job": self.job, "hosts": ranks })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.job.to_string());
    }
}
