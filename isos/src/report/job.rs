//! Jobs.

use isos_base::Time;
use isos_base::api::{AccountView, JobView, TaskCounts};
use isos_base::job::JobSpec;
use isos_base::record::JobState;
use serde_json::{Value, json};

use crate::output::{
    Page, Report, Table, Tone, ago, clean, credits, duration, one_line, plural, stamp,
};

const TIMES: &[&str] = &["submitted", "ended"];

/// One job in short: what submitting, waiting and cancelling answer.
#[derive(Debug)]
pub(crate) struct JobReport(pub(crate) JobView);

/// Jobs in full.
#[derive(Debug)]
pub(crate) struct JobDetails(pub(crate) Vec<JobView>);

/// Jobs, a line each.
#[derive(Debug)]
pub(crate) struct JobList {
    /// The jobs.
    pub(crate) jobs: Vec<JobView>,
    /// Whose they may be, where they need not be one's own.
    pub(crate) accounts: Option<Vec<AccountView>>,
}

impl JobList {
    /// The name of a job's account.
    fn owner(accounts: &[AccountView], job: &JobView) -> String {
        let account = accounts.iter().find(|account| account.id == job.account);
        account.map_or_else(|| job.account.to_string(), |account| clean(&account.name).into_owned())
    }
}

/// The word for a state, as in JSON.
pub(crate) fn state_word(state: JobState) -> &'static str {
    match state {
        JobState::Active => "active",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

fn tone(state: JobState) -> Tone {
    match state {
        JobState::Active => Tone::Plain,
        JobState::Done => Tone::Good,
        JobState::Failed => Tone::Bad,
        JobState::Cancelled => Tone::Dim,
    }
}

/// Tasks of which no more is to come.
pub(crate) fn ended(tasks: &TaskCounts) -> u32 {
    tasks.done.saturating_add(tasks.failed).saturating_add(tasks.given_up)
}

/// `118 of 120 done, 1 failed, 1 given up`.
fn progress(tasks: &TaskCounts) -> String {
    let mut text = format!("{} of {} done", tasks.done, tasks.total);
    let others = [
        (tasks.running, "running"),
        (tasks.checking, "being checked"),
        (tasks.waiting, "waiting"),
        (tasks.failed, "failed"),
        (tasks.given_up, "given up"),
    ];
    for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {word}"));
    }
    text
}

/// `of 200 tasks, 3..10, 17 and 40 ranges more`.
fn which(spec: &JobSpec) -> String {
    const SHOWN_MAX: usize = 8;
    let shown: Vec<_> = spec.tasks.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    let more = match spec.tasks.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {} more", plural(more as u32, "range")),
    };
    format!("of {}, {}{more}", plural(spec.count, "task"), shown.join(", "))
}

fn value(job: &JobView) -> Value {
    stamp(json!(job), TIMES)
}

/// How long it has been going on, or went on.
fn took(job: &JobView, now: Time) -> String {
    duration(job.ended.unwrap_or(now).since(job.submitted))
}

impl Report for JobReport {
    fn kind(&self) -> &'static str {
        "job"
    }

    fn text(&self, page: &mut Page) {
        let job = &self.0;
        let state = page.paint(tone(job.state), state_word(job.state));
        let mut parts = vec![format!("job {} {state}: {}", job.id, progress(&job.tasks))];
        parts.push(took(job, page.now()));
        if job.hosts > 0 {
            parts.push(plural(job.hosts, "host"));
        }
        parts.push(format!("spent {}", credits(job.spent)));
        if job.held.0 > 0 {
            parts.push(format!("held {}", credits(job.held)));
        }
        if let Some(why) = &job.why {
            parts.push(clean(why).into_owned());
        }
        page.line(parts.join(", "));
    }

    fn json(&self) -> Value {
        value(&self.0)
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.0.id.to_string());
    }
}

impl JobDetails {
    fn one(page: &mut Page, job: &JobView) {
        let state = page.paint(tone(job.state), state_word(job.state));
        let title = page.paint(Tone::Bold, &format!("job {} {}", job.id, one_line(&job.name)));
        page.line(format!("{title}  {state}"));
        page.field("tasks", progress(&job.tasks));
        if !job.spec.tasks.is_empty() {
            page.field("which", which(&job.spec));
        }
        page.field("hosts", job.hosts.to_string());
        for it in &job.resumed {
            let all = u128::from(job.spec.fuel.0.max(1));
            let percent = u128::from(it.fuel.0) * 100 / all;
            let of = format!("{percent} % ({} of at most {} fuel)", it.fuel, job.spec.fuel);
            let host = it.host.short();
            page.field("moved", format!("task {} resumed from {of} on host {host}", it.task));
        }
        page.field("submitted", format!("{} ({})", ago(page.now(), job.submitted), job.submitted));
        if let Some(ended) = job.ended {
            let took = duration(ended.since(job.submitted));
            page.field("ended", format!("{} ({ended}), after {took}", ago(page.now(), ended)));
        }
        if let Some(why) = &job.why {
            page.field("given up", format!("what was not done: {}", clean(why)));
        }
        page.field("account", job.account.to_string());
        page.field("pays", format!("at most {} micro-credits per gigafuel", job.price.0));
        page.field("held", credits(job.held));
        page.field("spent", credits(job.spent));
        let spec = &job.spec;
        if let Some(most) = spec.price_max {
            page.field("at most", credits(most));
        }
        page.field("program", format!("{} ({})", spec.program, spec.program_size));
        if !spec.args.is_empty() {
            page.field("arguments", one_line(&spec.args.join(" ")));
        }
        for (name, value) in &spec.env {
            page.field("variable", one_line(&format!("{name}={value}")));
        }
        for mount in &spec.inputs {
            let path = one_line(&mount.path);
            page.field("input", format!("/in/{path} ({}, {})", mount.size, mount.guid.short()));
        }
        if let Some(each) = &spec.each {
            page.field("each", format!("a file for each task ({})", each.short()));
        }
        let limits = format!(
            "memory {}, fuel {}, time {}, output {}",
            spec.memory, spec.fuel, spec.timeout, spec.output_max
        );
        page.field("limits", limits);
        page.field("verified", format!("{}, {} attempts", spec.verify, spec.attempts_max));
        if job.unchecked > 0 {
            let of = "of its results are one owner's word: nobody independent could check them";
            page.field("unchecked", format!("{} {of}", job.unchecked));
        }
        if let Some(constraint) = &spec.constraint {
            page.field("where", one_line(constraint));
        }
        if let Some(slice) = &spec.slice {
            page.field("slice", format!("{}: each task on the host of its rank", clean(slice)));
        }
    }
}

impl Report for JobDetails {
    fn kind(&self) -> &'static str {
        "jobs"
    }

    fn text(&self, page: &mut Page) {
        for (index, job) in self.0.iter().enumerate() {
            if index > 0 {
                page.line("");
            }
            Self::one(page, job);
        }
    }

    fn json(&self) -> Value {
        self.0.iter().map(value).collect()
    }

    fn quiet(&self, page: &mut Page) {
        for job in &self.0 {
            page.line(state_word(job.state));
        }
    }
}

impl Report for JobList {
    fn kind(&self) -> &'static str {
        "jobs"
    }

    fn text(&self, page: &mut Page) {
        if self.jobs.is_empty() {
            page.line("no jobs; `isos submit PROGRAM.wasm` makes one");
            return;
        }
        let mut heads = vec![
            ">job",
            "name",
            "state",
            ">done",
            ">of",
            ">failed",
            ">hosts",
            ">spent",
            "submitted",
        ];
        if self.accounts.is_some() {
            heads.insert(1, "account");
        }
        let mut table = Table::new(&heads);
        for job in &self.jobs {
            let failed = job.tasks.failed + job.tasks.given_up;
            let mut cells = vec![
                job.id.to_string(),
                one_line(&job.name),
                state_word(job.state).into(),
                job.tasks.done.to_string(),
                job.tasks.total.to_string(),
                failed.to_string(),
                job.hosts.to_string(),
                job.spent.to_string(),
                ago(page.now(), job.submitted),
            ];
            if let Some(accounts) = &self.accounts {
                cells.insert(1, Self::owner(accounts, job));
            }
            table.row(tone(job.state), cells);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        self.jobs.iter().map(value).collect()
    }

    fn quiet(&self, page: &mut Page) {
        for job in &self.jobs {
            page.line(job.id.to_string());
        }
    }
}
