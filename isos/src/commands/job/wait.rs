//! `isos job wait`: progress until the end, and the results if wanted.

use std::path::PathBuf;

use isos_base::JobId;
use isos_base::api::JobView;
use isos_base::causes::report;
use isos_base::record::JobState;
use isos_sdk::{ClientError, Progress, Wanted};

use super::results::{self, Place};
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::progress::JobMeter;
use crate::report::JobReport;
use crate::selector::Jobs;

/// Which jobs, and where to put what they leave.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers (42; 1,3,5-8) or last
    #[arg(value_name = "JOBS")]
    pub(crate) jobs: Jobs,
    /// Bring the results of the one job into this folder, or file: see --format
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// Results as a folder (dir), a line of JSON a task (jsonl), or one tar file [default: dir]
    #[arg(long, value_name = "FORMAT", requires = "results")]
    pub(crate) format: Option<results::Format>,
}

/// Waits for all of them, one after another.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let jobs = args.jobs.resolve(context.client()?).await?;
    if let ([_, _, ..], Some(_)) = (jobs.as_slice(), &args.results) {
        return Err(Refusal::usage("--results takes one job at a time").into());
    }
    let mut end = None;
    for job in jobs {
        let named = args.results.clone().map(|path| Place::new(path, args.format));
        let place = named.or_else(|| usual_place(context, job));
        let this = until_over(context, job, place.as_ref()).await?;
        end = Some(end.map_or(this, |end: End| end.and(this)));
    }
    Ok(end.unwrap_or_default())
}

/// Where results go when nobody says: `results` of the settings, if it is set.
pub(crate) fn usual_place(context: &Context, job: JobId) -> Option<Place> {
    let results = context.settings.results.as_ref()?;
    Some(Place::new(results.value.join(format!("job-{job}")), None))
}

/// Waits for one job, brings its results home, and tells how it went.
pub(crate) async fn until_over(
    context: &Context,
    job: JobId,
    place: Option<&Place>,
) -> anyhow::Result<End> {
    context.goes_on(vec![
        format!("job {job} goes on; watch it: isos job wait {job}"),
        format!("stop it: isos job cancel {job}"),
    ]);
    let mut events = context.client()?.events(job);
    let mut meter = JobMeter::new(&context.out);
    loop {
        match events.progress().await {
            Ok(Some(Progress::Job(view))) => meter.at(&view),
            Ok(Some(Progress::Away { since, why })) => meter.away(job, since, &why),
            Ok(None) => break,
            Err(error) => {
                meter.finish();
                return Err(if meter.is_away() { stays_away(job, error) } else { error.into() });
            }
        }
    }
    meter.finish();
    context.goes_on(Vec::new());
    let Some(view) = events.last().cloned() else { return Ok(End::Ok) };
    let end = end_of(&view);
    if let Some(place) = place
        && let Some(report) = results::save(context, job, Wanted::All, place).await?
    {
        context.out.note(&context.out.text_of(&report));
    }
    context.out.show(&JobReport(view))?;
    if end != End::Ok {
        context.out.note(&format!("why: isos explain {job}, isos job results {job}"));
    }
    Ok(end)
}

/// The end of waiting for a complex that does not come back; what it says itself is another thing.
fn stays_away(job: JobId, error: ClientError) -> anyhow::Error {
    if ![5, 10].contains(&error.exit_code()) {
        return error.into();
    }
    let message = format!("the complex stays away: {}", report(&error));
    let hints = vec![format!("when it is back: isos job wait {job}")];
    Refusal::unreachable(message, hints).into()
}

/// All well, something to use, or nothing.
pub(crate) fn end_of(job: &JobView) -> End {
    match (job.state, job.tasks.done) {
        (JobState::Done | JobState::Active, _) => End::Ok,
        (JobState::Failed | JobState::Cancelled, 0) => End::Failed,
        (JobState::Failed | JobState::Cancelled, _) => End::Partial,
    }
}
