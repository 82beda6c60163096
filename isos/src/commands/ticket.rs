//! `isos ticket`: one string by which others join or use the complex.

use isos_base::Span;
use isos_base::api::TicketRequest;

use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::TicketReport;

/// What the ticket is for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The account that hosts earn for and jobs are paid from; made if there is none
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// What it allows: join, submit, read
    #[arg(long, value_name = "RIGHT,...", value_delimiter = ',', default_value = "join,submit")]
    pub(crate) rights: Vec<String>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) valid: Span,
}

/// Rights that a ticket can carry.
const RIGHTS: [&str; 3] = ["join", "submit", "read"];

/// Asks and tells.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    if let Some(unknown) = args.rights.iter().find(|right| !RIGHTS.contains(&right.as_str())) {
        let known = RIGHTS.join(", ");
        return Err(Refusal::usage(format!("{unknown:?} is no right: there are {known}")).into());
    }
    let client = context.client()?;
    let account = match args.account {
        Some(account) => account,
        None => client.whoami().await?.account.name,
    };
    let request = TicketRequest { account, rights: args.rights, valid: args.valid };
    let report = TicketReport(client.ticket(&request).await?);
    context.out.show(&report)?;
    context.out.note(&report.note(clock::now()));
    Ok(End::Ok)
}
