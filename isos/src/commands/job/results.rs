//! `isos job results`: which tasks have ended, or all that they left.

use std::path::{Path, PathBuf};

use isos_base::JobId;
use isos_sdk::Wanted;

use crate::context::Context;
use crate::exit::End;
use crate::progress::SaveMeter;
use crate::report::{SavedReport, TaskList};
use crate::selector::{OneJob, TaskPart};

/// Whose results.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A number or last
    #[arg(value_name = "JOB")]
    pub(crate) job: OneJob,
    /// Bring them into this folder: TASK/stdout, TASK/out/..., results.jsonl
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// Only these tasks: 5..10 is 5 to 9; also 5.., ..10, or 7
    #[arg(long, value_name = "TASKS")]
    pub(crate) tasks: Option<TaskPart>,
    /// List tasks from this one on
    #[arg(long, value_name = "TASK", conflicts_with_all = ["results", "tasks"])]
    pub(crate) from: Option<u32>,
    /// List at most so many
    #[arg(long, value_name = "N", conflicts_with = "results", default_value = "1000")]
    pub(crate) limit: u32,
}

/// Lists or saves.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let job = args.job.resolve(client).await?;
    let Some(folder) = args.results else {
        let (from, end) = match args.tasks {
            Some(TaskPart(range)) => (Some(range.start), range.end),
            None => (args.from, u32::MAX),
        };
        let limit = args.limit.min(end - from.unwrap_or(0));
        let mut tasks = client.tasks(job, from, Some(limit)).await?;
        tasks.retain(|task| task.task < end);
        context.out.show(&TaskList { job, tasks })?;
        return Ok(End::Ok);
    };
    let wanted = args.tasks.map_or(Wanted::All, |TaskPart(range)| Wanted::Range(range));
    let report = save(context, job, wanted, &folder).await?;
    let saved = &report.saved;
    let end = match (saved.done, saved.failed + saved.given_up) {
        (_, 0) => End::Ok,
        (0, _) => End::Failed,
        _ => End::Partial,
    };
    context.out.show(&report)?;
    Ok(end)
}

/// Brings the results home.
pub(crate) async fn save(
    context: &Context,
    job: JobId,
    wanted: Wanted,
    folder: &Path,
) -> anyhow::Result<SavedReport> {
    context.goes_on(vec![format!(
        "what was saved stays; go on: isos job results {job} --results {}",
        folder.display()
    )]);
    let meter = SaveMeter::new(&context.out);
    let saved =
        context.client()?.save_results(job, wanted, folder, |count| meter.at(count)).await?;
    meter.finish();
    context.goes_on(Vec::new());
    Ok(SavedReport { job, saved })
}
