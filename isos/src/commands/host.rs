//! `isos host`: the machines of the complex.

use isos_agent::KeyChange;
use isos_base::HostId;
use isos_base::keyring::Want;
use isos_base::rotation::consent;
use isos_sdk::{Address, Client};

use crate::commands::account::claim;
use crate::context::Context;
use crate::exit::End;
use crate::report::{HostKeyRotated, HostList, HostReport};

/// What to do with hosts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the hosts that the token may see
    List,
    /// Show one host
    Show {
        /// Its name, its key, or the key's beginning
        #[arg(value_name = "HOST")]
        host: String,
    },
    /// Give this machine's host another key, while its agent stands still: account, history and
    /// trust follow, the key before is good for nothing from then on
    RotateKey,
}

/// Asks and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    match command {
        Command::List => context.out.show(&HostList(context.client()?.hosts().await?))?,
        Command::Show { host } => {
            context.out.show(&HostReport(context.client()?.host(&host).await?))?;
        }
        Command::RotateKey => rotate_key(context).await?,
    }
    Ok(End::Ok)
}

/// The complex first, then the file: whatever happens between them, running it again goes on.
async fn rotate_key(context: &Context) -> anyhow::Result<()> {
    let change = KeyChange::begin(&context.settings.paths.agent_home())?;
    let (old, new) = (change.old.public(), change.new.public());
    let complex = change.ticket.complex;
    let consent = consent(&change.new, &complex, &old);
    let claim = claim(complex, &change.old, Want::Rotate { key: new, consent })?;
    // The old key is the right; the token may have ended long ago.
    let ticket = isos_base::ticket::Ticket { token: Vec::new(), ..change.ticket.clone() };
    let client = Client::new(&Address::Ticket(Box::new(ticket)), None)?;
    client.rotate_host(&claim).await?;
    change.finish()?;
    context.out.show(&HostKeyRotated { old: HostId(old), new: HostId(new) })?;
    Ok(())
}
