//! `isos job results`: which tasks have ended, or all that they left.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use isos_base::JobId;
use isos_base::api::JobView;
use isos_sdk::{
    ClientError, Pack, PackTo, Saved, Wanted, check_results_file, check_results_folder,
};

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::progress::SaveMeter;
use crate::report::{SavedReport, TaskList};
use crate::selector::{OneJob, TaskPart};

/// More folders beside each other than this are slow to list, copy and remove.
const FOLDERS_MAX: u32 = 100_000;

/// Whose results.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A number or last
    #[arg(value_name = "JOB")]
    pub(crate) job: OneJob,
    /// Only these tasks: 5..10 is 5 to 9; also 5.., ..10, or 7
    #[arg(long, value_name = "TASKS")]
    pub(crate) tasks: Option<TaskPart>,
    /// Bring them home: a folder (dir), a line of JSON a task (jsonl), or one tar file
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Where to: a folder, or a new file; - is standard output, also if nothing is said
    #[arg(long, visible_alias = "results", value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// List tasks from this one on
    #[arg(long, value_name = "TASK", conflicts_with_all = ["output", "format", "tasks"])]
    pub(crate) from: Option<u32>,
    /// List at most so many
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["output", "format"],
        default_value = "1000"
    )]
    pub(crate) limit: u32,
}

/// How results lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A folder a task: TASK/stdout, TASK/stderr, TASK/out/..., and results.jsonl
    #[default]
    Dir,
    /// A line of JSON a task, with what it printed
    Jsonl,
    /// One tar file of all folders
    Tar,
}

/// Where results go, and how.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    path: PathBuf,
    format: Format,
}

impl Place {
    /// The place that flags name: a folder, unless they say otherwise.
    pub(crate) fn new(path: PathBuf, format: Option<Format>) -> Self {
        Self { path, format: format.unwrap_or_default() }
    }

    /// Whether a new job's results can go there.
    pub(crate) fn check_new(&self) -> Result<(), ClientError> {
        match self.format {
            Format::Dir => check_results_folder(&self.path),
            Format::Jsonl | Format::Tar => self.check_file(),
        }
    }

    /// Whether results can go there, also such as go on in their folder.
    fn check_file(&self) -> Result<(), ClientError> {
        if self.format == Format::Dir || self.is_stdout() {
            return Ok(());
        }
        check_results_file(&self.path)
    }

    fn is_stdout(&self) -> bool {
        self.format != Format::Dir && self.path.as_os_str() == "-"
    }

    /// Says so, once, when there would be more folders than anybody wants.
    pub(crate) fn warn(&self, context: &Context, job: &JobView, wanted: Wanted) {
        let tasks = match wanted {
            Wanted::All => job.tasks.total,
            Wanted::Range(range) => range.len().min(job.tasks.total),
            Wanted::Task(_) => 1,
        };
        if self.format == Format::Dir && tasks > FOLDERS_MAX {
            context.out.note(&format!(
                "warning: {tasks} tasks make {tasks} folders; --format jsonl and --format tar make \
                 one file"
            ));
        }
    }

    fn flags(&self) -> String {
        let format = match self.format {
            Format::Dir => "",
            Format::Jsonl => " --format jsonl",
            Format::Tar => " --format tar",
        };
        format!("{format} --output {}", self.path.display())
    }
}

/// Lists or saves.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let job = args.job.resolve(client).await?;
    let place = match (args.format, args.output) {
        (None, None) => {
            let (from, end) = match args.tasks {
                Some(TaskPart(range)) => (Some(range.start), range.end),
                None => (args.from, u32::MAX),
            };
            let limit = args.limit.min(end - from.unwrap_or(0));
            let mut tasks = client.tasks(job, from, Some(limit)).await?;
            tasks.retain(|task| task.task < end);
            context.out.show(&TaskList { job, tasks })?;
            return Ok(End::Ok);
        }
        (format, Some(path)) => Place::new(path, format),
        (Some(Format::Dir), None) => {
            return Err(Refusal::usage("--format dir needs a folder: --output DIR").into());
        }
        (format, None) => Place::new("-".into(), format),
    };
    let wanted = args.tasks.map_or(Wanted::All, |TaskPart(range)| Wanted::Range(range));
    place.check_file()?;
    place.warn(context, &client.job(job).await?, wanted);
    let Some(report) = save(context, job, wanted, &place).await? else { return Ok(End::Ok) };
    let saved = &report.saved;
    let end = match (saved.done, saved.failed + saved.given_up) {
        (_, 0) => End::Ok,
        (0, _) => End::Failed,
        _ => End::Partial,
    };
    if place.is_stdout() {
        context.out.note(&context.out.text_of(&report));
    } else {
        context.out.show(&report)?;
    }
    Ok(end)
}

/// Brings the results home. Nothing when whoever reads them has read enough.
pub(crate) async fn save(
    context: &Context,
    job: JobId,
    wanted: Wanted,
    place: &Place,
) -> anyhow::Result<Option<SavedReport>> {
    let stays = match place.format {
        Format::Dir => "what was saved stays; go on",
        Format::Jsonl | Format::Tar => "nothing was kept; again",
    };
    context.goes_on(vec![format!("{stays}: isos job results {job}{}", place.flags())]);
    let meter = SaveMeter::new(&context.out);
    let saved = bring(context, job, wanted, place, &meter).await;
    meter.finish();
    let saved = match saved {
        Ok(saved) => saved,
        Err(error) if place.is_stdout() && is_broken_pipe(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    context.goes_on(Vec::new());
    Ok(Some(SavedReport { job, saved, format: place.format }))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let file = error.downcast_ref::<ClientError>();
    matches!(file, Some(ClientError::File { source, .. })
        if source.kind() == io::ErrorKind::BrokenPipe)
}

async fn bring(
    context: &Context,
    job: JobId,
    wanted: Wanted,
    place: &Place,
    meter: &SaveMeter,
) -> anyhow::Result<Saved> {
    let client = context.client()?;
    let progress = |count| meter.at(count);
    let pack = match place.format {
        Format::Dir => {
            return Ok(client.save_results(job, wanted, &place.path, progress).await?);
        }
        Format::Jsonl => Pack::Jsonl,
        Format::Tar => Pack::Tar,
    };
    let to = if !place.is_stdout() {
        PackTo::File(place.path.clone())
    } else if pack == Pack::Tar && io::stdout().is_terminal() {
        let why = "a tar file is nothing to read: --output FILE, or pipe it on";
        return Err(Refusal::usage(why).into());
    } else {
        PackTo::Sink(Box::new(io::stdout()))
    };
    Ok(client.pack_results(job, wanted, pack, to, progress).await?)
}
