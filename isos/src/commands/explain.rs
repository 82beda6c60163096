//! `isos explain`: all reasons, from the structures that decide.

use crate::context::Context;
use crate::exit::End;
use crate::report::ExplainReport;
use crate::selector::{JobTask, OneJob};

/// What to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A job (42, last), a task (42@7), an account (account, account:NAME), a reservation
    /// (reservation:3), price, or a host (its name, its key, or the key's beginning)
    #[arg(value_name = "ID")]
    pub(crate) what: String,
}

/// Asks and tells.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let what = match args.what.parse() {
        Ok(JobTask { job: OneJob::Last, task }) => {
            let job = OneJob::Last.resolve(client).await?;
            task.map_or_else(|| job.to_string(), |task| format!("{job}@{task}"))
        }
        // Everything else the complex knows how to read.
        _ => args.what,
    };
    context.out.show(&ExplainReport(client.explain(&what).await?))?;
    Ok(End::Ok)
}
