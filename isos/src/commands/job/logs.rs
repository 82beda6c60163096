//! `isos job logs`: what tasks wrote, in the order in which they were accepted.

use isos_base::task::Output;
use isos_sdk::{Outcome, Wanted};

use crate::context::Context;
use crate::exit::End;
use crate::output::Mode;
use crate::report::TaskLog;
use crate::selector::JobTask;

/// Whose output.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A job (42, last) or one task of it (42@7)
    #[arg(value_name = "JOB[@TASK]")]
    pub(crate) what: JobTask,
    /// What they wrote to stderr instead
    #[arg(long)]
    pub(crate) stderr: bool,
}

/// Prints it. With several tasks each line begins with its task; in JSON, a document a task.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let job = args.what.job.resolve(client).await?;
    let prefix = args.what.task.is_none() && client.job(job).await?.tasks.total > 1;
    let wanted = args.what.task.map_or(Wanted::All, Wanted::Task);
    let mut results = client.results(job, true, wanted).await?;
    let mut any = false;
    while let Some(outcome) = results.next().await? {
        any = true;
        let mishap = mishap(&outcome).map(|why| (outcome.accepted.task, why));
        match context.out.mode() {
            Mode::Json => context.out.show(&TaskLog { job, outcome })?,
            Mode::Text | Mode::Quiet => context.out.bytes(&text(&outcome, args.stderr, prefix))?,
        }
        if let Some((task, why)) = mishap {
            context.out.note(&format!("task {job}@{task}: {why}"));
        }
    }
    if !any {
        // Tasks that were given up together have no result; the complex knows why.
        let what = match args.what.task {
            Some(task) => format!("{job}@{task}"),
            None => job.to_string(),
        };
        let why = client.explain(&what).await?;
        context.out.note(&format!("{} has printed nothing: {}", why.about, why.verdict));
    }
    Ok(End::Ok)
}

/// How a task ended, if not well.
fn mishap(outcome: &Outcome) -> Option<String> {
    match &outcome.accepted.result {
        Ok(result) if result.exit.is_success() => None,
        Ok(result) => Some(format!("the program failed: {}", result.exit)),
        Err(why) => Some(format!("given up: {why}")),
    }
}

fn text(outcome: &Outcome, stderr: bool, prefix: bool) -> Vec<u8> {
    let empty = Output::default();
    let output = outcome.output.as_ref().unwrap_or(&empty);
    let bytes = if stderr { &output.stderr } else { &output.stdout };
    if !prefix {
        return bytes.clone();
    }
    let mut text = Vec::with_capacity(bytes.len() + 16);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(format!("{}: ", outcome.accepted.task).as_bytes());
        text.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::outcome;

    #[test]
    fn a_task_without_a_result_says_why() {
        let mut lost = outcome(7, b"");
        assert_eq!(mishap(&lost), None);
        lost.accepted.result = Err("5 of 5 attempts failed: timed out".into());
        assert_eq!(mishap(&lost).unwrap(), "given up: 5 of 5 attempts failed: timed out");
    }

    #[test]
    fn lines_of_several_tasks_begin_with_the_task() {
        let outcome = outcome(7, b"one\ntwo");
        assert_eq!(text(&outcome, false, true), b"7: one\n7: two\n");
        assert_eq!(text(&outcome, false, false), b"one\ntwo");
        assert_eq!(text(&outcome, true, true), b"");
    }
}
