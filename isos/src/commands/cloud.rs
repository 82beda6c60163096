//! `isos cloud`: what this machine's agent knows of all hosts, and beside it what the complex says,
//! if it answers.

use std::time::Duration;

use isos_base::api::ComplexStatus;

use crate::context::Context;
use crate::exit::End;
use crate::report::CloudReport;

/// The complex has so long to answer: what this command is for is known without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Asks and tells.
pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<End> {
    let cloud = isos_agent::ask_cloud(&context.settings.paths.agent_home()).await?;
    let complex = tokio::time::timeout(PATIENCE, complex(context)).await;
    let complex = complex.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer")));
    let complex = complex.map_err(|error| format!("{error:#}"));
    context.out.show(&CloudReport { cloud, complex })?;
    Ok(End::Ok)
}

async fn complex(context: &Context) -> anyhow::Result<ComplexStatus> {
    Ok(context.client()?.status().await?)
}
