//! `isos submit`: files and options to a job, and, if wanted, to its results.

use std::path::PathBuf;

use anyhow::Context as _;
use isos_base::JobId;
use isos_base::api::SubmitRequest;
use isos_sdk::{Client, Prepared, Wanted};

use super::{results, wait};
use crate::commands::fresh_key;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::job_options::JobOptions;
use crate::output::{clean, plural};
use crate::progress::UploadMeter;
use crate::report::{JobReport, PlanReport};

/// What to run and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) job: JobOptions,
    /// Wait until the job is over, with progress; the exit code tells how it went
    #[arg(long)]
    pub(crate) wait: bool,
    /// Price and place it, and submit nothing; exits with 6 if it could not run now
    #[arg(long)]
    pub(crate) plan: bool,
    /// Take these options from a job file (TOML, same names); flags override it
    #[arg(long, value_name = "JOB.toml")]
    pub(crate) file: Option<PathBuf>,
    /// Submit only once, however often this is run with the same key
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
}

/// Submits, or plans.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let options = match &args.file {
        Some(path) => args.job.over(JobOptions::read(path)?),
        None => args.job,
    };
    let results = options.results.clone().map(|path| results::Place::new(path, options.format));
    match (&results, options.format) {
        (Some(place), _) => place.check_new()?,
        (None, Some(_)) => {
            return Err(Refusal::usage("--format is how results lie: add --results PATH").into());
        }
        (None, None) => {}
    }
    let submission = options.submission()?;
    let prepared = tokio::task::spawn_blocking(move || submission.prepare())
        .await
        .context("reading the inputs failed")??;
    if args.plan {
        return plan(prepared, client, context).await;
    }
    let key = match args.key {
        Some(key) => key,
        None => fresh_key()?,
    };
    let meter = UploadMeter::new(&context.out);
    let job = prepared.submit(client, Some(key), |now| meter.at(now)).await?;
    meter.finish();
    if let Some(assured) = &job.assured {
        context.out.note(&clean(&assured.why));
    }
    if !args.wait && results.is_none() {
        context.out.show(&JobReport(job.clone()))?;
        let id = job.id;
        context.out.note(&format!("next: isos job wait {id}, isos explain {id}"));
        return Ok(End::Ok);
    }
    context.out.note(&submitted(job.id, job.tasks.total));
    let place = results.or_else(|| wait::usual_place(context, job.id));
    if let Some(place) = &place {
        place.warn(context, &job, Wanted::All);
    }
    wait::until_over(context, job.id, place.as_ref()).await
}

fn submitted(job: JobId, tasks: u32) -> String {
    format!("job {job} submitted: {}", plural(tasks, "task"))
}

async fn plan(prepared: Prepared, client: &Client, context: &Context) -> anyhow::Result<End> {
    let Prepared { spec, bid, .. } = prepared;
    let tasks = spec.count;
    let plan = client.plan(&SubmitRequest { spec, key: None, bid }).await?;
    let report = PlanReport { plan, tasks };
    let end = if report.can_run() { End::Ok } else { End::Refused };
    context.out.show(&report)?;
    Ok(end)
}
