//! `isos query`: a question to all hosts, which this machine's agent asks without a server.

use clap::ValueEnum;
use isos_agent::QueryOrder;
use isos_base::Span;
use isos_gossip::query::{Fact, ROWS_MAX, WAIT_MAX};

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::{QueryReport, Wanted};

/// What to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which hosts, as CEL: 'host.memory_free >= 8GiB && host.country == "FI"'. Beside what jobs
    /// may ask for (name, agent, os, arch, cpus, memory, disk, country, engine), hosts tell:
    /// memory_free, disk_free, load, busy, uptime (seconds), core_hours, reliability (0 to 1),
    /// public
    #[arg(value_name = "CEL", default_value = "true")]
    text: String,
    /// How many of them to show
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..=ROWS_MAX as i64))]
    limit: u16,
    /// Which of them first: those with the most of this
    #[arg(long, value_name = "NUMBER", value_enum, default_value_t = By::Reliability)]
    by: By,
    /// Those with the least first
    #[arg(long)]
    least: bool,
    /// Only count them
    #[arg(long, conflicts_with = "sum")]
    count: bool,
    /// Only add this number up over all of them
    #[arg(long, value_name = "NUMBER", value_enum)]
    sum: Option<By>,
    /// Ask so many hosts at the most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ask: Option<u32>,
    /// Wait so long for answers, such as 5s [default: until hosts that cannot be called have met
    /// one that can, some 25s]
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
}

/// A number of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The share of the last weeks in which its agent has run
    Reliability,
    /// How long its agent has run
    Uptime,
    /// Memory that could be had now
    MemoryFree,
    /// Free disk
    DiskFree,
    /// Cores that the owner ever lends
    #[value(alias = "cpus")]
    Cores,
    /// Cores that others than our tasks keep busy
    Load,
    /// Whether a task runs
    Busy,
    /// Core-hours of our tasks since the agent started
    CoreHours,
}

impl By {
    fn fact(self) -> Fact {
        match self {
            Self::Reliability => Fact::Reliability,
            Self::Uptime => Fact::Uptime,
            Self::MemoryFree => Fact::MemoryFree,
            Self::DiskFree => Fact::DiskFree,
            Self::Cores => Fact::Cores,
            Self::Load => Fact::Load,
            Self::Busy => Fact::Busy,
            Self::CoreHours => Fact::CoreHours,
        }
    }
}

/// Asks and tells.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let Args { text, limit, by, least, count, sum, ask, wait } = args;
    if wait.is_some_and(|wait| wait == Span::ZERO || wait > WAIT_MAX) {
        return Err(Refusal::usage(format!("wait up to {WAIT_MAX}, and for some time")).into());
    }
    let wanted = match sum {
        Some(number) => Wanted::Sum(number.fact()),
        None if count => Wanted::Count,
        None => Wanted::Rows(by.fact()),
    };
    // Rows that nobody sees need not travel.
    let limit = if matches!(wanted, Wanted::Rows(_)) { limit } else { 0 };
    let order = QueryOrder { text: text.clone(), by: by.fact(), least, limit, hosts: ask, wait };
    let home = context.settings.paths.agent_home();
    let found = isos_agent::ask_query(&home, order).await??;
    let report = QueryReport { text, wanted, found };
    let end = if report.is_partial(ask) { End::Partial } else { End::Ok };
    context.out.show(&report)?;
    Ok(end)
}
