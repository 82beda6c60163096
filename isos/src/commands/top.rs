//! `isos top`: the complex on a screen that renews itself.

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::output::Mode;
use crate::top;

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Shows it until the user quits.
pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<End> {
    if context.out.mode() != Mode::Text || !top::is_possible() {
        let mut refusal = Refusal::usage("`isos top` is a screen: it needs a terminal");
        refusal.hints.push(
            "for programs and logs: `isos status --json`, `isos host list --json`, `isos job list \
             --json`, `isos market prices --json`"
                .into(),
        );
        return Err(refusal.into());
    }
    top::run(context.client()?.clone(), context.out.has_color()).await?;
    Ok(End::Ok)
}
