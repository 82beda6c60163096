//! `isos share`: the words by which somebody else reads an object, or only looks after it.

use super::{catalogue, find};
use crate::context::Context;
use crate::exit::End;
use crate::report::ShareReport;

/// What, and how much of a right.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of an object, or a capability
    #[arg(value_name = "OBJECT")]
    object: String,
    /// Only the right to find, check and repair it, not to read it
    #[arg(long)]
    verify: bool,
}

/// Tells.
pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<End> {
    let named = find(&catalogue(context)?, &args.object)?;
    let capability = if args.verify {
        named.capability.verify().to_string()
    } else {
        named.capability.to_string()
    };
    context.out.show(&ShareReport { name: named.title(), capability, reads: !args.verify })?;
    Ok(End::Ok)
}
