//! `isos job`: work, from asking for it to bringing home what it left.

pub(crate) mod logs;
pub(crate) mod results;
pub(crate) mod retry;
pub(crate) mod submit;
pub(crate) mod trace;
pub(crate) mod wait;

use std::future::Future;

use isos_base::JobId;
use isos_base::api::JobView;
use isos_sdk::ClientError;

use crate::context::Context;
use crate::exit::End;
use crate::report::{JobDetails, JobList, JobReport};
use crate::selector::Jobs;

/// What to do with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run a program as many tasks on many hosts
    Submit(Box<submit::Args>),
    /// List jobs, the newest first
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value = "20")]
        limit: u32,
        /// Only jobs older than this one
        #[arg(long, value_name = "JOB")]
        before: Option<JobId>,
    },
    /// Show everything about jobs
    Show(Which),
    /// Wait until jobs are over
    Wait(wait::Args),
    /// Print what tasks wrote to stdout
    Logs(logs::Args),
    /// List the tasks that have ended, or bring their results home
    Results(results::Args),
    /// Show the life of a task, step by step: server, network, agent, sandbox
    Trace(trace::Args),
    /// Run what failed or was given up again, as a new job
    Retry(Box<retry::Args>),
    /// Cancel jobs: what is done is paid for, the rest comes back
    Cancel(Which),
}

/// Which jobs.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Numbers (42; 1,3,5-8) or last
    #[arg(value_name = "JOBS")]
    pub(crate) jobs: Jobs,
}

/// Runs one of them.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    match command {
        Command::Submit(args) => submit::run(*args, context).await,
        Command::List { limit, before } => {
            let jobs = client.jobs(Some(limit), before).await?;
            // An operator sees the jobs of all, so whose each is must be said.
            let operator = client.whoami().await?.rights.iter().any(|right| right == "operate");
            let accounts = if operator { Some(client.accounts().await?) } else { None };
            context.out.show(&JobList { jobs, accounts })?;
            Ok(End::Ok)
        }
        Command::Show(which) => {
            let jobs = which.jobs.resolve(client).await?;
            let (found, end) = each(context, &jobs, |job| client.job(job)).await?;
            context.out.show(&JobDetails(found))?;
            Ok(end)
        }
        Command::Wait(args) => wait::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Results(args) => results::run(args, context).await,
        Command::Trace(args) => trace::run(args, context).await,
        Command::Retry(args) => retry::run(*args, context).await,
        Command::Cancel(which) => {
            let jobs = which.jobs.resolve(client).await?;
            let (cancelled, end) = each(context, &jobs, |job| client.cancel(job)).await?;
            match cancelled.as_slice() {
                [job] => context.out.show(&JobReport(job.clone()))?,
                _ => context.out.show(&JobList { jobs: cancelled, accounts: None })?,
            }
            Ok(end)
        }
    }
}

/// Does one thing to each job. What the complex says no to is told and passed over, unless it is
/// all of them.
async fn each<F>(
    context: &Context,
    jobs: &[JobId],
    act: impl Fn(JobId) -> F,
) -> anyhow::Result<(Vec<JobView>, End)>
where
    F: Future<Output = Result<JobView, ClientError>>,
{
    let mut views = Vec::new();
    let mut refused = Vec::new();
    for job in jobs {
        match act(*job).await {
            Ok(view) => views.push(view),
            Err(error @ ClientError::Problem(_)) => refused.push((*job, error)),
            Err(error) => return Err(error.into()),
        }
    }
    if views.is_empty() {
        // All were refused, so there is a first one.
        return match refused.into_iter().next() {
            Some((_, error)) => Err(error.into()),
            None => Ok((views, End::Ok)),
        };
    }
    let end = if refused.is_empty() { End::Ok } else { End::Partial };
    for (job, error) in refused {
        context.out.error(&anyhow::Error::new(error).context(format!("job {job}")));
    }
    Ok((views, end))
}
