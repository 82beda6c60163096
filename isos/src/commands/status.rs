//! `isos status`: asks this machine's agent, or else the complex as a buyer would.

use std::time::{Duration, Instant};

use isos_agent::control::AskError;
use isos_agent::{AgentStatus, Order, Resting, ask, resting};
use isos_base::api::FirmView;
use isos_base::{HostId, Span};
use isos_kernel::host::HostState;
use isos_sdk::{Address, Client};

use crate::config::Origin;
use crate::context::Context;
use crate::exit::End;
use crate::report::{AgentReport, RestingReport, StatusReport};

/// The complex is waited for no longer where the agent itself has answered, or does not run.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Asks and tells.
pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<End> {
    // On a machine that lends itself, its own agent is what its owner asks about.
    let home = context.settings.paths.agent_home();
    match ask(&home, Order::Status).await {
        Ok(agent) => {
            let stands = stands_in(&agent, resting(&home)).await;
            context.out.show(&AgentReport { agent, stands })?;
            return Ok(End::Ok);
        }
        Err(AskError::NotRunning { .. }) => {}
        Err(error @ AskError::Talk(_)) => return Err(error.into()),
    }
    if let Some(resting) = resting(&home) {
        // Who has nothing else to ask about asks about the agent.
        let server = context.settings.server.as_ref();
        if server.is_none_or(|server| matches!(server.origin, Origin::Joined(_))) {
            let seen = at_its_complex(&resting, async |client, host| {
                client.host(&host.to_string()).await.ok()
            });
            let report = RestingReport { seen: seen.await, resting };
            context.out.show(&report)?;
            return Ok(End::Away);
        }
        context.out.note("no agent runs on this machine, which has joined: `isos join` starts it");
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

/// What the host stands in for behind reservations, as its complex knows it; nothing if that cannot
/// be asked now, or it stands in for nothing.
async fn stands_in(agent: &AgentStatus, joined: Option<Resting>) -> Option<FirmView> {
    if matches!(agent.host_status.state, HostState::Offline { .. } | HostState::Refused(_)) {
        return None;
    }
    at_its_complex(&joined?, async |client, host| {
        client.firm().await.ok()?.into_iter().find(|it| it.host == host)
    })
    .await
}

/// Asks the complex that this machine has joined, with the right by which it has.
async fn at_its_complex<T>(
    joined: &Resting,
    question: impl AsyncFnOnce(&Client, HostId) -> Option<T>,
) -> Option<T> {
    let address = Address::Ticket(Box::new(joined.ticket.clone()));
    let client = Client::with_key(&address, None, None).ok()?;
    let answer = tokio::time::timeout(PATIENCE, question(&client, joined.host)).await;
    client.close().await;
    answer.ok().flatten()
}
