//! `isos bank`: what operators see and decide of the bank.

use isos_base::ProposalId;

use crate::context::Context;
use crate::exit::End;
use crate::report::{PayoutList, ProposalReport, Proposals, RailList};

/// What to do with the bank.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the ways for money out and in, and how they do
    Rails,
    /// List the payouts that wait for their rails
    Outbox,
    /// What several operators decide: list, approve, refuse, approvals
    #[command(subcommand)]
    Mint(Mint),
}

/// What to do with proposals.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Mint {
    /// List proposals, the newest first
    List,
    /// Agree with a proposal of another operator
    Approve {
        /// Its number
        #[arg(value_name = "PROPOSAL")]
        proposal: ProposalId,
    },
    /// Refuse a proposal, or take your own back
    Refuse {
        /// Its number
        #[arg(value_name = "PROPOSAL")]
        proposal: ProposalId,
    },
    /// Propose how many operators must agree before credits are made
    Approvals {
        /// How many, from 1 to 5
        #[arg(value_name = "N")]
        approvals: u16,
    },
}

/// Asks and tells.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    match command {
        Command::Rails => context.out.show(&RailList(client.rails().await?))?,
        Command::Outbox => {
            let payouts = client.outbox().await?;
            context.out.show(&PayoutList { payouts, outbox: true })?;
        }
        Command::Mint(Mint::List) => {
            context.out.show(&Proposals(client.proposals().await?))?;
        }
        Command::Mint(Mint::Approve { proposal }) => {
            context.out.show(&ProposalReport(client.approve(proposal).await?))?;
        }
        Command::Mint(Mint::Refuse { proposal }) => {
            context.out.show(&ProposalReport(client.refuse(proposal).await?))?;
        }
        Command::Mint(Mint::Approvals { approvals }) => {
            let proposal = client.propose_approvals(approvals).await?;
            context.out.show(&ProposalReport(proposal))?;
        }
    }
    Ok(End::Ok)
}
