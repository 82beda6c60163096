//! `isos status`: asks this machine's agent, or else the complex as a buyer would.

use std::time::Instant;

use isos_agent::Order;
use isos_base::Span;

use crate::context::Context;
use crate::exit::End;
use crate::report::{AgentReport, StatusReport};

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Asks and tells.
pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<End> {
    // On a machine that lends itself, its own agent is what its owner asks about.
    let agent = isos_agent::ask(&context.settings.paths.agent_home(), Order::Status).await;
    if let Ok(status) = agent {
        context.out.show(&AgentReport(status))?;
        return Ok(End::Ok);
    }
    let client = context.client()?;
    let begin = Instant::now();
    let status = client.status().await?;
    let answered_in = Span::from_std(begin.elapsed());
    let who = client.whoami().await?;
    let address = client.address().to_owned();
    let (account, rights) = (who.account, who.rights);
    let report = StatusReport { address, answered_in, status, account, rights };
    context.out.show(&report)?;
    // Scripts look at the exit code alone.
    Ok(if report.is_wrong() { End::Wrong } else { End::Ok })
}
