//! The command line as a whole: global flags, the command, and what a bad line answers.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;
use crate::exit::{Code, Refusal};
use crate::help;
use crate::output::{Color, Mode, Output};

/// An Internet-scale operating system: many owners' idle machines as one computer.
#[derive(Debug, Parser)]
#[command(name = "isos", version, propagate_version = true, subcommand_required = true)]
#[command(arg_required_else_help = true, max_term_width = 100)]
#[command(after_long_help = help::AFTER)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print JSON: one document {"schema", "type", "data"} on stdout, errors as JSON on stderr
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print only what a script needs: ids, amounts
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more on stderr; twice or three times for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours [default: auto] [env: ISOS_COLOR, NO_COLOR]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<Color>,
    /// Keep configuration, state and cache in this folder [env: ISOS_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The complex: a ticket, or a URL on this machine [env: ISOS_SERVER]
    #[arg(long, global = true, value_name = "URL|TICKET")]
    pub(crate) server: Option<String>,
    /// The right to use it, where a ticket does not carry it [env: ISOS_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// A command line that is not run.
#[derive(Debug)]
pub(crate) struct Refused {
    error: clap::Error,
    json: bool,
}

/// The definition: what completions and manual pages are made from.
pub(crate) fn command() -> clap::Command {
    numbers_may_be_negative(Cli::command())
}

/// Values with a unit, which whoever reads them checks.
const QUANTITIES: [&str; 7] = ["CREDITS", "PERCENT", "PRICE", "RATE", "SIZE", "TIME", "P"];

/// What begins with a minus and is a number, or stands where a quantity is wanted, is a value,
/// refused by who reads it: clap would take it for a flag that nobody knows.
fn numbers_may_be_negative(command: clap::Command) -> clap::Command {
    let is_quantity = |arg: &clap::Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| QUANTITIES.contains(&name.as_str()))
    };
    let value = |arg: clap::Arg| match arg.get_action().takes_values() {
        true if is_quantity(&arg) => arg.allow_hyphen_values(true),
        true => arg.allow_negative_numbers(true),
        false => arg,
    };
    command.mut_args(value).mut_subcommands(numbers_may_be_negative)
}

/// Reads a command line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Refused> {
    let args: Vec<OsString> = args.into_iter().collect();
    // A line that cannot be read has no flags yet, so this one is looked for.
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    help::grouped(command())
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .and_then(|cli| match cli.global {
            // clap compares flags of one command only, and one of these may stand before it.
            Global { json: true, quiet: true, .. } => {
                let why = "the argument '--json' cannot be used with '--quiet'";
                Err(command().error(ErrorKind::ArgumentConflict, why))
            }
            _ => Ok(cli),
        })
        .map_err(|error| Refused { error, json })
}

impl Refused {
    /// The mistake in one line: what stands above the usage, with the arguments that it lists.
    fn sentence(&self) -> String {
        let text = self.error.render().to_string();
        let text = text.trim();
        let text = text.strip_prefix("error: ").unwrap_or(text);
        let lines: Vec<&str> =
            text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        lines.join(" ")
    }

    /// Prints help or the mistake.
    pub(crate) fn show(&self) -> Code {
        if !self.error.use_stderr() {
            // Help or the version: somebody may have closed the pipe, which is fine.
            let _ = self.error.print();
            return Code::Ok;
        }
        if self.json {
            let refusal = Refusal::usage(self.sentence());
            return Output::new(Mode::Json, Color::Never).error(&refusal.into());
        }
        let _ = self.error.print();
        Code::Usage
    }
}

#[cfg(test)]
mod tests;
