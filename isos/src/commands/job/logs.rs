//! `isos job logs`: what tasks wrote, in the order in which they were accepted.

use isos_base::task::Output;
use isos_sdk::Outcome;

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
    let mut results = client.results(job, true, args.what.task).await?;
    let mut any = false;
    while let Some(outcome) = results.next().await? {
        any = true;
        match context.out.mode() {
            Mode::Json => context.out.show(&TaskLog { job, outcome })?,
            Mode::Text | Mode::Quiet => context.out.bytes(&text(&outcome, args.stderr, prefix))?,
        }
    }
    if !any {
        context.out.note(&format!("nothing of job {job} has been accepted yet"));
    }
    Ok(End::Ok)
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
    fn lines_of_several_tasks_begin_with_the_task() {
        let outcome = outcome(7, b"one\ntwo");
        assert_eq!(text(&outcome, false, true), b"7: one\n7: two\n");
        assert_eq!(text(&outcome, false, false), b"one\ntwo");
        assert_eq!(text(&outcome, true, true), b"");
    }
}
