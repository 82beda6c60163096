//! `isos job retry`: what failed or was given up, once more, as a new job.

use std::path::PathBuf;

use isos_base::api::{JobView, SubmitRequest};
use isos_base::record::TaskState;
use isos_base::{MicroCredits, TaskRange};
use isos_sdk::{Rerun, Wanted};

use super::results::{Format, Place};
use super::wait;
use crate::commands::fresh_key;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::output::plural;
use crate::report::JobReport;
use crate::selector::{OneJob, TaskPart};

/// Which tasks of which job.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A number or last
    #[arg(value_name = "JOB")]
    pub(crate) job: OneJob,
    /// Those whose program failed, those that were given up, or all of both
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub(crate) only: Only,
    /// Of these tasks: 5..10 is 5 to 9; also 5.., ..10, or 7
    #[arg(long, value_name = "TASKS")]
    pub(crate) tasks: Option<TaskPart>,
    /// The most that the new job may cost [default: as before]
    #[arg(long, value_name = "CREDITS")]
    pub(crate) max_price: Option<MicroCredits>,
    /// Wait until the new job is over, with progress; the exit code tells how it went
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait, and bring the new job's results into this new folder, or file: see --format
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// Results as a folder (dir), a line of JSON a task (jsonl), or one tar file [default: dir]
    #[arg(long, value_name = "FORMAT", requires = "results")]
    pub(crate) format: Option<Format>,
    /// Submit only once, however often this is run with the same key
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
}

/// Which ends are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Only {
    /// The program failed
    Failed,
    /// Given up: cancelled, too many faults, no agreement
    GivenUp,
    /// Whatever is not done
    All,
}

impl Only {
    fn states(self) -> &'static [TaskState] {
        match self {
            Self::Failed => &[TaskState::Failed],
            Self::GivenUp => &[TaskState::GivenUp],
            Self::All => &[TaskState::Failed, TaskState::GivenUp],
        }
    }
}

/// Submits the new job.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let place = args.results.map(|path| Place::new(path, args.format));
    if let Some(place) = &place {
        place.check_new()?;
    }
    let job = args.job.resolve(client).await?;
    let old = client.job(job).await?;
    let part = args.tasks.map_or(TaskRange::new(0, u32::MAX), |TaskPart(part)| part);
    let rerun = client.rerun(&old, args.only.states(), part).await?;
    let mut spec = match (rerun.spec, rerun.rest) {
        (Some(spec), None) => spec,
        (spec, rest) => return Err(refusal(&old, part, &Rerun { spec, rest }).into()),
    };
    if args.max_price.is_some() {
        spec.price_max = args.max_price;
    }
    let key = args.key.map_or_else(fresh_key, Ok)?;
    let new = client.submit(&SubmitRequest { spec, key: Some(key), bid: None }).await?;
    let (id, tasks) = (new.id, plural(new.tasks.total, "task"));
    if !args.wait && place.is_none() {
        context.out.show(&JobReport(new))?;
        context.out.note(&format!("{tasks} of job {job} again; next: isos job wait {id}"));
        return Ok(End::Ok);
    }
    context.out.note(&format!("job {id} submitted: {tasks} of job {job} again"));
    let place = place.or_else(|| wait::usual_place(context, id));
    if let Some(place) = &place {
        place.warn(context, &new, Wanted::All);
    }
    wait::until_over(context, id, place.as_ref()).await
}

/// Why there is no job to be made of it.
fn refusal(old: &JobView, part: TaskRange, rerun: &Rerun) -> Refusal {
    let id = old.id;
    let Some(rest) = rerun.rest else {
        let tasks = old.tasks;
        let (done, failed, given_up) = (tasks.done, tasks.failed, tasks.given_up);
        let why = format!(
            "job {id} has no such tasks: {done} of {} done, {failed} failed, {given_up} given up",
            tasks.total
        );
        return Refusal::not_found(why);
    };
    let most = isos_base::limits::JOB_RANGES_MAX;
    let (from, end) = (part.start, part.end);
    let end = if end == u32::MAX { String::new() } else { end.to_string() };
    let mut refusal = Refusal::usage(format!(
        "the tasks of job {id} to be run again lie in more than {most} ranges, one job takes no \
         more: run them as several"
    ));
    refusal.hints = vec![
        format!("isos job retry {id} --tasks {from}..{rest}"),
        format!("isos job retry {id} --tasks {rest}..{end}"),
    ];
    refusal
}

#[cfg(test)]
mod tests {
    use isos_base::record::JobState;

    use super::*;
    use crate::report::tests::job;

    #[test]
    fn what_is_too_much_for_one_job_comes_with_the_commands_for_several() {
        let old = job(42, JobState::Failed);
        let part = TaskRange::new(100, u32::MAX);
        let many = refusal(&old, part, &Rerun { spec: None, rest: Some(8_300) });
        expect_test::expect![
            "the tasks of job 42 to be run again lie in more than 4096 ranges, one job takes no more: run them as several"
        ]
        .assert_eq(&many.message);
        let wanted = ["isos job retry 42 --tasks 100..8300", "isos job retry 42 --tasks 8300.."];
        assert_eq!(many.hints, wanted);
        let none = refusal(&old, part, &Rerun { spec: None, rest: None });
        expect_test::expect!["job 42 has no such tasks: 198 of 200 done, 1 failed, 1 given up"]
            .assert_eq(&none.message);
    }
}
