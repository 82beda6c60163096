//! `isos quota`: what the account holds of others' disks, and what that costs.

use crate::context::Context;
use crate::exit::End;
use crate::report::QuotaReport;

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Asks and tells.
pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<End> {
    let quota = context.client()?.quota().await?;
    context.out.show(&QuotaReport(quota))?;
    Ok(End::Ok)
}
