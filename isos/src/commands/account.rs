//! `isos account`: what there is, what is held, and what moved.

mod export;
mod keys;

pub(crate) use keys::claim;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use isos_agent::Order;
use isos_base::MicroCredits;
use isos_base::api::{CreditReply, PayoutRequest};
use isos_sdk::StatementPart;

use crate::context::Context;
use crate::exit::End;
use crate::report::{
    AccountList, AccountReport, DepositAddresses, PayoutList, PayoutReport, ProposalReport,
    StatementReport,
};

/// What to do with accounts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show an account: what is available, held, received, paid, and what its hosts earned
    Show {
        /// Its number or name
        #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
    /// List an account's transfers, oldest first
    Statement {
        /// Its number or name
        #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
        /// Only what is behind this position of the ledger
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
        /// At most so many transfers
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Bring home an account's whole statement, signed by the complex; or a month of it
    Export(export::ExportArgs),
    /// Check an exported statement, asking nobody: its sums, its bills, its chain, its signature
    Verify(export::VerifyArgs),
    /// Bring home where the whole ledger stood at a midnight (UTC), signed by the complex
    Head(export::HeadArgs),
    /// Pay credits out, over a rail; they are held until the rail has answered for good
    Payout {
        /// How many credits, such as 5 or 0.25
        #[arg(value_name = "CREDITS")]
        amount: MicroCredits,
        /// Where to, in the rail's own words: a name, a bank account, an address
        #[arg(long, value_name = "TEXT")]
        to: String,
        /// Over which rail, where there are several: `isos bank rails` shows them
        #[arg(long, value_name = "NAME")]
        rail: Option<String>,
        /// From which account: its number or name; operators pay out `fees` and `rounding`
        #[arg(long, value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
        /// Pay out only once, however often this is run with the same key
        #[arg(long, value_name = "TEXT")]
        key: Option<String>,
    },
    /// List an account's payouts, the newest first
    Payouts {
        /// Its number or name
        #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Show how to pay in for an account, over each rail
    DepositAddress {
        /// Its number or name
        #[arg(value_name = "ACCOUNT", default_value = "me", value_parser = NonEmpty::new())]
        account: String,
    },
    /// Its keys: whoever has one acts for it, without a token
    #[command(subcommand)]
    Key(keys::Command),
    /// A phrase that gives the account back when all keys are lost
    #[command(subcommand)]
    Recovery(keys::Recovery),
    /// Ask for an account by its recovery phrase: this machine's key becomes its only one
    Recover(keys::RecoverArgs),
    /// Print a short-lived token for this machine's key, for programs that use the HTTP API
    Login(keys::LoginArgs),
    /// List all accounts (operators)
    List,
    /// Give credits to an account (operators); a proposal where several must agree
    Credit {
        /// Its number or name
        #[arg(value_name = "ACCOUNT", value_parser = NonEmpty::new())]
        account: String,
        /// How many credits, such as 5 or 0.25
        #[arg(value_name = "CREDITS")]
        amount: MicroCredits,
        /// What for; stands in the statement
        #[arg(long, value_name = "TEXT", default_value = "gift")]
        why: String,
        /// Give them only once, however often this is run with the same key
        #[arg(long, value_name = "TEXT")]
        key: Option<String>,
    },
}

/// Asks and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    match command {
        // Asks nobody.
        Command::Verify(args) => return export::verify(&args, context),
        Command::Export(args) => return export::export(&args, context).await,
        Command::Head(args) => return export::head(&args, context).await,
        Command::Key(command) => return keys::run(command, context).await,
        Command::Recovery(command) => return keys::recovery(command, context).await,
        Command::Recover(args) => return keys::recover(args, context).await,
        Command::Login(args) => return keys::login(args, context).await,
        Command::Show { account } => {
            let client = context.client()?;
            let view = client.account(&account).await?;
            let earnings = client.earnings(&account).await?;
            // Which of the hosts is this machine, only its agent can tell.
            let agent = isos_agent::ask(&context.settings.paths.agent_home(), Order::Status).await;
            let here = agent.ok().map(|status| status.host);
            context.out.show(&AccountReport { account: view, earnings, here })?;
        }
        Command::Statement { account, after, limit } => {
            let client = context.client()?;
            let part = StatementPart { after, limit };
            context.out.show(&StatementReport(client.statement(&account, part).await?))?;
        }
        Command::List => {
            let accounts = context.client()?.accounts().await?;
            context.out.show(&AccountList(accounts))?;
        }
        Command::Credit { account, amount, why, key } => {
            let client = context.client()?;
            let key = key.map_or_else(super::fresh_key, Ok)?;
            match client.credit(&account, amount, &why, Some(&key)).await? {
                CreditReply::Credited(account) => {
                    let report = AccountReport { account, earnings: Vec::new(), here: None };
                    context.out.show(&report)?;
                }
                CreditReply::Proposed(proposal) => context.out.show(&ProposalReport(proposal))?,
            }
        }
        Command::Payout { amount, to, rail, account, key } => {
            let client = context.client()?;
            let key = key.map_or_else(super::fresh_key, Ok)?;
            let request = PayoutRequest { amount, to, rail, key: Some(key) };
            context.out.show(&PayoutReport(client.pay_out(&account, &request).await?))?;
        }
        Command::Payouts { account, limit } => {
            let payouts = context.client()?.payouts(&account, limit).await?;
            context.out.show(&PayoutList { payouts, outbox: false })?;
        }
        Command::DepositAddress { account } => {
            let addresses = context.client()?.deposit_addresses(&account).await?;
            context.out.show(&DepositAddresses(addresses))?;
        }
    }
    Ok(End::Ok)
}
