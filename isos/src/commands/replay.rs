//! `isos replay`: a server's journal, decided again by this program's machine.

use std::path::PathBuf;

use anyhow::Context as _;
use isos_base::Bytes;

use crate::context::Context;
use crate::exit::End;
use crate::report::ReplayReport;

/// What to replay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The journal that `isos server --journal FILE` has written
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check all invariants after each batch, which takes long
    #[arg(long)]
    pub(crate) check: bool,
    /// Print each batch: its time, what the machine was told, what it decided
    #[arg(long)]
    pub(crate) show: bool,
}

/// The longest text of an input or effect that is shown.
const SHOWN_MAX: Bytes = Bytes(2_000);

/// Replays and tells what was found; an error exit if the machine decides otherwise now.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let Args { file, check, show } = args;
    let replayed = tokio::task::spawn_blocking(move || {
        isos_complex::replay(&file, check, |at, inputs, effects| {
            if show {
                anstream::eprintln!("{at}");
                inputs.iter().for_each(|input| anstream::eprintln!("  < {}", short(input)));
                effects.iter().for_each(|effect| anstream::eprintln!("  > {}", short(effect)));
            }
        })
    })
    .await
    .context("the replay broke off: an invariant does not hold")??;
    let end = if replayed.difference.is_some() { End::Failed } else { End::Ok };
    context.out.show(&ReplayReport(replayed))?;
    Ok(end)
}

fn short(text: &str) -> String {
    text.chars().take(SHOWN_MAX.0 as usize).collect()
}
