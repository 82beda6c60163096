//! `isos config`: what is set, and who said so.

use crate::context::Context;
use crate::exit::End;
use crate::report::SettingsReport;

/// What to do with the settings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the settings in force
    Show {
        /// And where each comes from
        #[arg(long)]
        origin: bool,
    },
}

/// Shows them.
pub(crate) fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let Command::Show { origin } = command;
    context.out.show(&SettingsReport::new(context.settings.clone(), origin))?;
    Ok(End::Ok)
}
