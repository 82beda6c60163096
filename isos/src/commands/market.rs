//! `isos market`: prices, what they were and will be, what is asked and bid, what is reserved.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use isos_base::api::{FirmRequest, ReserveRequest};
use isos_base::price::Price;
use isos_base::{ReservationId, Span};

use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::policy::{Machine, load};
use crate::report::{
    AskReport, FirmList, HistoryReport, JobDetails, PricesReport, ReservationList,
    ReservationReport,
};
use crate::selector::Jobs;

/// What to do on the market.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show prices, what they will be, and how many core-hours the account may use
    Prices,
    /// Draw what the prices of a class of hosts were
    History(HistoryArgs),
    /// Show what this machine's policy asks through the week, beside what is paid
    Ask {
        /// A policy file [default: policy.toml in the configuration folder]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Change what jobs pay at the most
    Bid {
        /// Numbers (42; 1,3,5-8) or last
        #[arg(value_name = "JOBS")]
        jobs: Jobs,
        /// Micro-credits for a gigafuel
        #[arg(value_name = "PRICE")]
        price: u32,
    },
    /// Reserve cores, so that they are there or it is compensated; without CORES, list what is
    Reserve(ReserveArgs),
    /// Let a host stand behind reservations for a part of their premium, with a bond; without HOST,
    /// list those that do
    Firm(FirmArgs),
}

/// Which host, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct FirmArgs {
    /// Name or key of a host of the account
    #[arg(value_name = "HOST")]
    host: Option<String>,
    /// With how many cores at the most
    #[arg(long, value_name = "N", requires = "host", conflicts_with = "leave")]
    cores: Option<u32>,
    /// Give notice: it is called to nothing new, and may go without loss after ten minutes
    #[arg(long, requires = "host")]
    leave: bool,
}

/// Which past, and where to draw it.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The class, as `isos market prices` names it [default: the one with the most cores]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// How far back, such as 7d; up to an hour is shown by the half minute [default: 1h]
    #[arg(long, value_name = "TIME", default_value = "1h")]
    past: Span,
    /// Also draw a picture into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What to reserve.
#[derive(Debug, clap::Args)]
pub(crate) struct ReserveArgs {
    /// How many cores
    #[arg(value_name = "CORES", requires = "lasting", conflicts_with = "cancel")]
    cores: Option<u32>,
    /// When the window begins, from now on, such as 2h
    #[arg(long = "in", value_name = "TIME", default_value = "0s")]
    ahead: Span,
    /// How long it lasts, such as 1h
    #[arg(long = "for", value_name = "TIME")]
    lasting: Option<Span>,
    /// Of which class of hosts [default: the one with the most cores]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// With which probability the promise is to be kept, from 0.5 to 0.9999
    #[arg(long, value_name = "P", default_value = "0.99", value_parser = service)]
    service: u32,
    /// Give this reservation up, before its window begins
    #[arg(long, value_name = "N")]
    cancel: Option<ReservationId>,
}

/// A probability, in millionths.
fn service(text: &str) -> Result<u32, String> {
    let number: f64 = text.parse().map_err(|_| "use a number, such as 0.99".to_owned())?;
    if !(0.5..=0.9999).contains(&number) {
        return Err("it is from 0.5 to 0.9999".into());
    }
    Ok((number * 1e6).round() as u32)
}

/// Asks and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    match command {
        Command::Prices => {
            let client = context.client()?;
            let prices = client.prices().await?;
            let barter = client.barter().await?;
            context.out.show(&PricesReport { prices, barter })?;
        }
        Command::History(args) => {
            let history = context.client()?.price_history(args.class.as_deref()).await?;
            let report = HistoryReport::new(history, args.past, clock::now());
            if let Some(path) = &args.svg {
                draw(path, &report.svg())?;
                context.out.note(&format!("drawn: {}", path.display()));
            }
            context.out.show(&report)?;
        }
        Command::Ask { file } => {
            let paths = &context.settings.paths;
            let loaded = load(file.as_deref(), paths)?;
            let week = loaded.policy.week(&Machine::look(paths)?.caps);
            // Without a complex the policy is shown alone.
            let prices = match context.client() {
                Ok(client) => client.prices().await.ok(),
                Err(_) => None,
            };
            context.out.show(&AskReport { source: loaded.source, week, prices })?;
        }
        Command::Bid { jobs, price } => {
            let client = context.client()?;
            let mut views = Vec::new();
            for job in jobs.resolve(client).await? {
                views.push(client.bid(job, Price(price)).await?);
            }
            context.out.show(&JobDetails(views))?;
        }
        Command::Reserve(args) => return reserve(args, context).await,
        Command::Firm(args) => firm(args, context).await?,
    }
    Ok(End::Ok)
}

async fn firm(args: FirmArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let Some(which) = &args.host else {
        context.out.show(&FirmList(client.firm().await?))?;
        return Ok(());
    };
    let host = client.host(which).await?.id;
    let view = match (args.leave, args.cores) {
        (true, _) => client.end_firm(host).await?,
        (false, Some(cores)) => client.offer_firm(&FirmRequest { host, cores }).await?,
        (false, None) => {
            let why = "with how many cores? `isos market firm HOST --cores 4`, or `--leave`";
            return Err(Refusal::usage(why).into());
        }
    };
    context.out.show(&FirmList(vec![view]))?;
    Ok(())
}

async fn reserve(args: ReserveArgs, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    if let Some(id) = args.cancel {
        context.out.show(&ReservationReport(client.unreserve(id).await?))?;
        return Ok(End::Ok);
    }
    let (Some(cores), Some(lasting)) = (args.cores, args.lasting) else {
        if args.lasting.is_some() {
            return Err(
                Refusal::usage("how many cores? `isos market reserve CORES --for 1h`").into()
            );
        }
        context.out.show(&ReservationList(client.reservations().await?))?;
        return Ok(End::Ok);
    };
    // A window that begins now begins when the request arrives.
    const ON_ITS_WAY: Span = Span::secs(2);
    let from = clock::now() + args.ahead.max(ON_ITS_WAY);
    let request = ReserveRequest {
        class: args.class,
        cores,
        from,
        until: from + lasting,
        service_ppm: args.service,
    };
    context.out.show(&ReservationReport(client.reserve(&request).await?))?;
    Ok(End::Ok)
}

fn draw(path: &Path, svg: &str) -> anyhow::Result<()> {
    std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}
