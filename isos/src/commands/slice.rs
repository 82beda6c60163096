//! `isos slice`: hosts that are held together by a name, as one distributed virtual machine.

pub(crate) mod run;

use isos_base::Span;
use isos_base::api::{SliceChange, SliceRequest, SliceView};

use super::fresh_key;
use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::{SliceList, SliceReport};

/// What to do with slices.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Put hosts together, of different owners and networks as long as there are such
    Create(CreateArgs),
    /// List slices that are not over
    List,
    /// Show a slice: its hosts, who is away, who was replaced and why
    Show(Named),
    /// Run a program on every host of a slice at once, and show what each prints as it ends
    Run(Box<run::Args>),
    /// Give a slice more hosts
    Grow(Sized),
    /// Give a slice fewer hosts: those of the highest ranks leave it
    Shrink(Sized),
    /// Let a slice last longer, or end earlier
    Renew(RenewArgs),
    /// Give a slice up, and cancel the jobs on it
    Drop(Named),
}

/// Which slice.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    slice: String,
}

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// A name for it: letters, digits, '-', '_', '.'
    #[arg(value_name = "NAME")]
    slice: String,
    /// How many hosts
    #[arg(long, short = 'n', value_name = "N")]
    hosts: u32,
    /// Which hosts, as CEL: 'host.cpus >= 4 && host.country == "FI"'
    #[arg(long, value_name = "CEL")]
    r#where: Option<String>,
    /// How long it lasts, from 1m to 28d; see `isos slice renew`
    #[arg(long = "for", value_name = "TIME", default_value = "7d")]
    lasting: Span,
}

/// How large a slice is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Sized {
    /// Its name
    #[arg(value_name = "NAME")]
    slice: String,
    /// How many hosts it has then, in all
    #[arg(long, short = 'n', value_name = "N")]
    hosts: u32,
}

/// How long a slice is to last.
#[derive(Debug, clap::Args)]
pub(crate) struct RenewArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    slice: String,
    /// How long, from now on, from 1m to 28d
    #[arg(long = "for", value_name = "TIME", default_value = "7d")]
    lasting: Span,
}

/// Asks and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let view = match command {
        Command::Run(args) => return run::run(*args, context).await,
        Command::List => {
            context.out.show(&SliceList(client.slices().await?))?;
            return Ok(End::Ok);
        }
        Command::Create(args) => create(args, context).await?,
        Command::Show(Named { slice }) => client.slice(&slice).await?,
        Command::Grow(args) => resize(args, true, context).await?,
        Command::Shrink(args) => resize(args, false, context).await?,
        Command::Renew(RenewArgs { slice, lasting }) => {
            let change = SliceChange { until: Some(clock::now() + lasting), hosts: None };
            client.change_slice(&slice, &change).await?
        }
        Command::Drop(Named { slice }) => client.drop_slice(&slice).await?,
    };
    context.out.show(&SliceReport(view))?;
    Ok(End::Ok)
}

async fn create(args: CreateArgs, context: &Context) -> anyhow::Result<SliceView> {
    let request = SliceRequest {
        name: args.slice,
        hosts: args.hosts,
        constraint: args.r#where,
        until: clock::now() + args.lasting,
        key: Some(fresh_key()?),
    };
    let made = context.client()?.make_slice(&request).await?;
    let name = &made.name;
    context.out.note(&format!("next: isos slice run {name} PROGRAM.wasm, isos slice show {name}"));
    Ok(made)
}

/// Asked for by what it is to be, so that it can be said again.
async fn resize(args: Sized, more: bool, context: &Context) -> anyhow::Result<SliceView> {
    let Sized { slice, hosts } = args;
    let client = context.client()?;
    let has = client.slice(&slice).await?.slivers.len();
    let wrong = match more {
        true if (hosts as usize) < has => Some("shrink"),
        false if (hosts as usize) > has => Some("grow"),
        _ => None,
    };
    if let Some(other) = wrong {
        return Err(Refusal::usage(format!(
            "slice {slice} has {has} hosts: --hosts is how many it has then, so this is `isos slice \
             {other} {slice} --hosts {hosts}`"
        ))
        .into());
    }
    Ok(client.change_slice(&slice, &SliceChange { hosts: Some(hosts), until: None }).await?)
}
