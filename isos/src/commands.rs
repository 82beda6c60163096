//! The commands: each has its arguments and its `run` in a file of its own, and an arm here.
//!
//! A client's command is wrapped in [`Context::interruptible`]; a command that lives until it is
//! stopped handles that itself.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bank;
pub(crate) mod cloud;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod explain;
pub(crate) mod host;
pub(crate) mod job;
pub(crate) mod man;
pub(crate) mod market;
pub(crate) mod objects;
pub(crate) mod owner;
pub(crate) mod policy;
pub(crate) mod query;
pub(crate) mod quota;
pub(crate) mod replay;
pub(crate) mod slice;
pub(crate) mod status;
pub(crate) mod ticket;
pub(crate) mod token;
pub(crate) mod top;

use crate::context::Context;
use crate::exit::End;
use crate::world;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lend this machine, as its policy allows
    Join(world::join::JoinArgs),
    /// Run a program as many tasks on many hosts
    Submit(Box<job::submit::Args>),
    /// Put a file or folder onto other people's disks, sealed
    Put(objects::put::Args),
    /// Get an object, or files of it
    Get(objects::get::Args),
    /// Tell whether all is well
    Status(status::Args),
    /// Tell what this machine knows of all hosts by itself, without a server
    Cloud(cloud::Args),
    /// Ask all hosts something, without a server: which fit an expression, how many, how much
    Query(query::Args),
    /// Watch hosts on a map, load, prices and jobs, on a screen that renews itself
    Top(top::Args),
    /// List objects, or the files of one
    Ls(objects::list::Args),
    /// Give objects up
    Rm(objects::remove::Args),
    /// Tell how an object stands: fragments, hosts, how safe it is and why
    Stat(objects::stat::Args),
    /// Print the words by which somebody else reads an object, or looks after it
    Share(objects::share::Args),
    /// Check that objects are whole, read them, make anew what is lost
    Verify(objects::verify::Args),
    /// Snapshots of folders: create, list, browse, diff, restore, verify, forget, phrase
    #[command(subcommand)]
    Backup(backup::Command),
    /// Show what the account holds of others' disks, and what that costs
    Quota(quota::Args),
    /// Jobs: submit, list, show, wait, logs, results, trace, retry, cancel
    #[command(subcommand)]
    Job(job::Command),
    /// Slices (hosts under a name): create, list, show, run, grow, shrink, renew, drop
    #[command(subcommand)]
    Slice(slice::Command),
    /// Tell why a job, task, host, account or price is as it is, and what to do
    Explain(explain::Args),
    /// Let this machine stand still, for a time or until `resume`
    Pause(owner::PauseArgs),
    /// Let this machine go by its policy again
    Resume(owner::ResumeArgs),
    /// This machine's policy: show, check, explain, edit, template
    #[command(subcommand)]
    Policy(policy::Command),
    /// Accounts: show, statement, export, verify, payout, payouts, key, login, recovery, recover
    #[command(subcommand)]
    Account(account::Command),
    /// The bank of a complex (operators): rails, outbox, mint
    #[command(subcommand)]
    Bank(bank::Command),
    /// Prices: prices, history, ask, bid, reserve, firm
    #[command(subcommand)]
    Market(market::Command),
    /// See it all at work on this machine, in half a minute
    Tour(world::tour::TourArgs),
    /// Keep a world on this machine: a server and hosts, until Ctrl-C
    Dev(world::dev::DevArgs),
    /// Run a server of a complex
    Server(Box<world::server::ServerArgs>),
    /// Decide again what a server's journal says, to find out why it did what it did
    Replay(replay::Args),
    /// Make a ticket, by which others join or use the complex
    Ticket(ticket::Args),
    /// Tokens, the rights in tickets: create, inspect, attenuate, vouch, key, revoke
    #[command(subcommand)]
    Token(token::Command),
    /// What was done about rights and new credits, and by whom
    Audit(audit::Args),
    /// Hosts: list, show
    #[command(subcommand)]
    Host(host::Command),
    /// The settings and where they come from
    #[command(subcommand)]
    Config(config::Command),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page, or write all pages into a folder
    Man(man::Args),
}

impl Command {
    /// Whether it runs until it is stopped.
    pub(crate) const fn is_daemon(&self) -> bool {
        matches!(self, Self::Join(_) | Self::Server(_))
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    match command {
        Command::Join(args) => world::join::run(args, context).await,
        Command::Tour(args) => world::tour::run(args, context).await,
        Command::Dev(args) => world::dev::run(args, context).await,
        Command::Server(args) => world::server::run(*args, context).await,
        Command::Replay(args) => context.interruptible(replay::run(args, context)).await,
        Command::Pause(args) => context.interruptible(owner::pause(args, context)).await,
        Command::Resume(args) => context.interruptible(owner::resume(args, context)).await,
        Command::Submit(args) => context.interruptible(job::submit::run(*args, context)).await,
        Command::Status(args) => context.interruptible(status::run(args, context)).await,
        Command::Cloud(args) => context.interruptible(cloud::run(args, context)).await,
        Command::Query(args) => context.interruptible(query::run(args, context)).await,
        // Its screen is left before anything else is said, also when it is interrupted.
        Command::Top(args) => top::run(args, context).await,
        Command::Put(args) => context.interruptible(objects::put::run(args, context)).await,
        Command::Get(args) => context.interruptible(objects::get::run(args, context)).await,
        Command::Ls(args) => context.interruptible(objects::list::run(args, context)).await,
        Command::Rm(args) => context.interruptible(objects::remove::run(args, context)).await,
        Command::Stat(args) => context.interruptible(objects::stat::run(args, context)).await,
        Command::Share(args) => objects::share::run(&args, context),
        Command::Verify(args) => context.interruptible(objects::verify::run(args, context)).await,
        Command::Backup(command) => context.interruptible(backup::run(command, context)).await,
        Command::Quota(args) => context.interruptible(quota::run(args, context)).await,
        Command::Job(command) => context.interruptible(job::run(command, context)).await,
        Command::Slice(command) => context.interruptible(slice::run(command, context)).await,
        Command::Explain(args) => context.interruptible(explain::run(args, context)).await,
        // It waits for answers on a terminal, where an interrupt ends it as it does any program.
        Command::Policy(command) => policy::run(command, context).await,
        Command::Account(command) => context.interruptible(account::run(command, context)).await,
        Command::Bank(command) => context.interruptible(bank::run(command, context)).await,
        Command::Market(command) => context.interruptible(market::run(command, context)).await,
        Command::Audit(args) => context.interruptible(audit::run(args, context)).await,
        Command::Ticket(args) => context.interruptible(ticket::run(args, context)).await,
        Command::Token(command) => context.interruptible(token::run(command, context)).await,
        Command::Host(command) => context.interruptible(host::run(command, context)).await,
        Command::Config(command) => config::run(command, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
    }
}

/// A key that nobody else has, so that a request can be repeated when the line breaks.
fn fresh_key() -> anyhow::Result<String> {
    let no_randomness = |why| anyhow::anyhow!("no randomness for the request's key: {why}");
    isos_sdk::local::fresh_key().map_err(no_randomness)
}
