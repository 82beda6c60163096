//! `isos pause` and `isos resume`: the owner's word to the agent on this machine.

use isos_agent::{AgentStatus, Order, ask};
use isos_base::Span;

use crate::context::Context;
use crate::exit::End;
use crate::report::AgentReport;

/// For how long.
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// For this long, such as 2h; without it, until `isos resume`
    pub(crate) time: Option<Span>,
}

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {}

/// Lets the machine stand still.
pub(crate) async fn pause(args: PauseArgs, context: &Context) -> anyhow::Result<End> {
    tell(Order::Pause(args.time), context).await
}

/// Lets it go on.
pub(crate) async fn resume(_: ResumeArgs, context: &Context) -> anyhow::Result<End> {
    tell(Order::Resume, context).await
}

async fn tell(order: Order, context: &Context) -> anyhow::Result<End> {
    let agent: AgentStatus = ask(&context.settings.paths.agent_home(), order).await?;
    context.out.show(&AgentReport { agent, stands: None })?;
    Ok(End::Ok)
}
