//! What tasks left.

use isos_base::JobId;
use isos_base::api::TaskView;
use isos_base::record::TaskState;
use isos_base::task::Output;
use isos_sdk::{Outcome, Saved};
use serde_json::{Value, json};

use crate::commands::job::results::Format;
use crate::output::{Page, Report, Table, Tone, clean, plural};

/// The accepted tasks of a job, a line each.
#[derive(Debug)]
pub(crate) struct TaskList {
    /// The job.
    pub(crate) job: JobId,
    /// Its tasks, in order.
    pub(crate) tasks: Vec<TaskView>,
}

/// Results that were saved.
#[derive(Debug)]
pub(crate) struct SavedReport {
    /// The job.
    pub(crate) job: JobId,
    /// What was saved where.
    pub(crate) saved: Saved,
    /// How it lies there.
    pub(crate) format: Format,
}

/// What one task printed: a line of a stream of JSON documents.
#[derive(Debug)]
pub(crate) struct TaskLog {
    /// The job.
    pub(crate) job: JobId,
    /// How the task ended.
    pub(crate) outcome: Outcome,
}

fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Open => "open",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
        TaskState::GivenUp => "given up",
    }
}

impl Report for TaskList {
    fn kind(&self) -> &'static str {
        "tasks"
    }

    fn text(&self, page: &mut Page) {
        if self.tasks.is_empty() {
            page.line(format!("no task of job {} has ended yet", self.job));
            return;
        }
        let mut table = Table::new(&[">task", "state", "end", ">fuel", "host", "output"]);
        for task in &self.tasks {
            let end = match (&task.exit, &task.why) {
                (Some(exit), _) => exit.to_string(),
                (None, Some(why)) => clean(why).into_owned(),
                (None, None) => String::new(),
            };
            let tone = if task.state == TaskState::Done { Tone::Plain } else { Tone::Bad };
            table.row(
                tone,
                vec![
                    task.task.to_string(),
                    word(task.state).into(),
                    end,
                    task.fuel.to_string(),
                    task.host.map(|host| host.short()).unwrap_or_default(),
                    task.output.map(|output| output.short()).unwrap_or_default(),
                ],
            );
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        json!({ "job": self.job, "tasks": self.tasks })
    }

    fn quiet(&self, page: &mut Page) {
        for task in &self.tasks {
            page.line(task.task.to_string());
        }
    }
}

impl Report for SavedReport {
    fn kind(&self) -> &'static str {
        "saved"
    }

    fn text(&self, page: &mut Page) {
        let saved = &self.saved;
        // What was given up has none.
        let results = plural(saved.done + saved.failed, "result");
        let mut text = format!("{results} of job {} in {}", self.job, saved.folder.display());
        for (count, word) in
            [(saved.failed, "failed"), (saved.given_up, "given up"), (saved.kept, "there before")]
        {
            if count > 0 {
                text.push_str(&format!(", {count} {word}"));
            }
        }
        page.line(text);
        let lies = match self.format {
            Format::Dir => "  TASK/stdout, TASK/stderr, TASK/out/..., results.jsonl, job.json",
            Format::Jsonl => "  a line of JSON a task",
            Format::Tar => "  job.json, TASK/result.json, TASK/stdout, TASK/stderr, TASK/out/...",
        };
        page.toned(Tone::Dim, lies);
    }

    fn json(&self) -> Value {
        json!({ "job": self.job, "saved": self.saved })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.saved.folder.display().to_string());
    }
}

impl TaskLog {
    fn output(&self) -> Output {
        self.outcome.output.clone().unwrap_or_default()
    }
}

impl Report for TaskLog {
    fn kind(&self) -> &'static str {
        "log"
    }

    fn text(&self, page: &mut Page) {
        self.quiet(page);
    }

    fn json(&self) -> Value {
        let output = self.output();
        let result = self.outcome.accepted.result.as_ref();
        json!({
            "job": self.job,
            "task": self.outcome.accepted.task,
            "exit": result.ok().map(|result| result.exit),
            "why": result.err(),
            "stdout": String::from_utf8_lossy(&output.stdout),
            "stderr": String::from_utf8_lossy(&output.stderr),
        })
    }

    fn quiet(&self, page: &mut Page) {
        page.line(clean(&String::from_utf8_lossy(&self.output().stdout)));
    }
}
