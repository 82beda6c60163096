//! `isos host`: the machines of the complex.

use crate::context::Context;
use crate::exit::End;
use crate::report::{HostList, HostReport};

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
}

/// Asks and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    match command {
        Command::List => context.out.show(&HostList(client.hosts().await?))?,
        Command::Show { host } => context.out.show(&HostReport(client.host(&host).await?))?,
    }
    Ok(End::Ok)
}
