//! The one binary: reads the command line, runs one command, and says how it went.
//!
//! Decides nothing: servers, hosts and clients live in their own crates. To add a command, write
//! `commands/<name>.rs` with its arguments and a `run`, and give it an arm in [`commands`].

mod cli;
mod clock;
mod commands;
mod config;
mod context;
mod exit;
mod help;
mod job_options;
mod local;
mod output;
mod paths;
mod policy;
mod progress;
mod report;
mod selector;
mod text;
mod top;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use crate::cli::Cli;
use crate::context::Context;
use crate::exit::Code;
use crate::output::{Mode, Output};

/// How long a goodbye to the complex, or work that nobody waits for any more, may take.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// Threads of the runtime: the kernel's constraints are parsed by recursion.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    // A sandboxed child must wall itself in before any thread exists.
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == world::CHILD) {
        return isos_sandbox::child_main(args);
    }
    let code = match cli::parse(std::env::args_os()) {
        Ok(cli) => run(cli),
        Err(refused) => refused.show(),
    };
    ExitCode::from(code as u8)
}

fn run(cli: Cli) -> Code {
    let (global, command) = (cli.global, cli.command);
    let plain = Output::new(Mode::of(&global), global.color.unwrap_or_default());
    let context = match Context::new(&global) {
        Ok(context) => context,
        Err(error) => return plain.error(&error),
    };
    init_tracing(global.verbose, command.is_daemon());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.enable_all().thread_stack_size(STACK_BYTES).build() {
        Ok(runtime) => runtime,
        Err(error) => return plain.error(&error.into()),
    };
    let code = runtime.block_on(async {
        let outcome = commands::run(command, &context).await;
        // A goodbye that nobody hears is no reason to fail.
        let _ = tokio::time::timeout(GOODBYE_MAX, context.close()).await;
        match outcome {
            Ok(end) => end.code(),
            Err(error) => context.out.error(&error),
        }
    });
    runtime.shutdown_timeout(GOODBYE_MAX);
    code
}

/// Diagnostics go to standard error: warnings always, more with `-v`, `-vv`, `-vvv`. What runs for
/// long keeps a log with times.
fn init_tracing(verbose: u8, daemon: bool) {
    let level = match verbose + u8::from(daemon) {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let filter = format!("off,isos={level}");
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false);
    if daemon { log.init() } else { log.without_time().init() }
}
