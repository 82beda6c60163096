//! `isos job retry`: what failed or was given up, once more, as a new job.

use std::path::PathBuf;

use isos_base::api::{JobView, SubmitRequest};
use isos_base::record::TaskState;
use isos_base::{MicroCredits, TaskRange};
use isos_sdk::Wanted;

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
    let key = args.key.map_or_else(fresh_key, Ok)?;
    let mut rerun = client.rerun(&old, args.only.states(), part).await?;
    match (&rerun.spec, rerun.rest) {
        (None, None) => return Err(no_such_tasks(&old).into()),
        (_, Some(rest)) if place.is_some() => return Err(many_results(&old, rest).into()),
        _ => {}
    }
    let mut new = Vec::new();
    loop {
        if let Some(mut spec) = rerun.spec {
            if args.max_price.is_some() {
                spec.price_max = args.max_price;
            }
            let key = Some(key_of(&key, new.len()));
            new.push(client.submit(&SubmitRequest { spec, key, bid: None }).await?);
        }
        let Some(rest) = rerun.rest else { break };
        let part = TaskRange::new(rest, part.end);
        rerun = client.rerun(&old, args.only.states(), part).await?;
    }
    let mut end = End::Ok;
    for new in new {
        let (id, tasks) = (new.id, plural(new.tasks.total, "task"));
        if !args.wait && place.is_none() {
            context.out.show(&JobReport(new))?;
            context.out.note(&format!("{tasks} of job {job} again; next: isos job wait {id}"));
            continue;
        }
        context.out.note(&format!("job {id} submitted: {tasks} of job {job} again"));
        let usual = wait::usual_place(context, id);
        let place = place.as_ref().or(usual.as_ref());
        if let Some(place) = place {
            place.warn(context, &new, Wanted::All);
        }
        let ended = wait::until_over(context, id, place).await?;
        end = if end == End::Ok { ended } else { end };
    }
    Ok(end)
}

/// A key for each of several jobs, the same ones each time.
fn key_of(key: &str, n: usize) -> String {
    if n == 0 { key.to_owned() } else { format!("{key} {}", n + 1) }
}

fn no_such_tasks(old: &JobView) -> Refusal {
    let tasks = old.tasks;
    let (done, failed, given_up) = (tasks.done, tasks.failed, tasks.given_up);
    Refusal::not_found(format!(
        "job {} has no such tasks: {done} of {} done, {failed} failed, {given_up} given up",
        old.id, tasks.total
    ))
}

/// One job takes so many ranges; what several bring home does not fit into one place.
fn many_results(old: &JobView, rest: u32) -> Refusal {
    let most = isos_base::limits::JOB_RANGES_MAX;
    let mut refusal = Refusal::usage(format!(
        "the tasks of job {} to be run again lie in more than {most} ranges and make several jobs: \
         their results have no one place",
        old.id
    ));
    refusal.hints = vec![
        "leave --results out, and fetch each job's with isos job results".to_owned(),
        format!("or run a part: --tasks ..{rest}"),
    ];
    refusal
}

#[cfg(test)]
mod tests {
    use isos_base::record::JobState;

    use super::*;
    use crate::report::tests::job;

    #[test]
    fn what_is_too_much_for_one_job_makes_several_that_are_the_same_each_time() {
        let old = job(42, JobState::Failed);
        assert_eq!([0, 1, 2].map(|n| key_of("k", n)), ["k", "k 2", "k 3"]);
        let many = many_results(&old, 8_300);
        expect_test::expect![
            "the tasks of job 42 to be run again lie in more than 4096 ranges and make several jobs: their results have no one place"
        ]
        .assert_eq(&many.message);
        assert_eq!(many.hints[1], "or run a part: --tasks ..8300");
        expect_test::expect!["job 42 has no such tasks: 198 of 200 done, 1 failed, 1 given up"]
            .assert_eq(&no_such_tasks(&old).message);
    }
}
