//! `isos ticket`: one string by which others join or use the complex, until it is taken back.

use isos_base::api::TicketRequest;
use isos_base::ticket::Ticket;
use isos_base::{Span, capability};

use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::{Revoked, TicketReport};

/// What the ticket is for; or which one is taken back.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The account that hosts earn for and jobs are paid from; made if there is none [default: your
    /// own]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// What it allows: join, submit, read, manage, operate
    #[arg(long, value_name = "RIGHT,...", value_delimiter = ',', default_value = "join,submit")]
    pub(crate) rights: Vec<String>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) valid: Span,
}

/// What else to do with tickets.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take a ticket back: it is good for nothing any more, and its hosts are sent away
    Revoke {
        /// The ticket, or the token in it
        #[arg(value_name = "TICKET")]
        ticket: String,
    },
}

/// Rights that a ticket can carry.
const RIGHTS: [&str; 5] = ["join", "submit", "read", "manage", "operate"];

/// Asks and tells.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    if let Some(Command::Revoke { ticket }) = args.command {
        return revoke(&ticket, context).await;
    }
    check_rights(&args.rights)?;
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

/// Whether these are rights that a ticket can carry.
pub(crate) fn check_rights(rights: &[String]) -> Result<(), Refusal> {
    match rights.iter().find(|right| !RIGHTS.contains(&right.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let known = RIGHTS.join(", ");
            Err(Refusal::usage(format!("{unknown:?} is no right: there are {known}")))
        }
    }
}

/// Takes a ticket back: the operator's may be anybody's, others only their own.
pub(crate) async fn revoke(text: &str, context: &Context) -> anyhow::Result<End> {
    let token = match text.parse::<Ticket>() {
        Ok(ticket) => capability::to_text(&ticket.token),
        // A server says itself what is no token.
        Err(_) => text.to_owned(),
    };
    context.client()?.revoke_token(&token).await?;
    context.out.show(&Revoked)?;
    Ok(End::Ok)
}
