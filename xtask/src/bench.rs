//! `cargo xtask bench`: figures of the real program beside the bars of the design.
//!
//! A benchmark, never a test: a slow figure is printed with its ratio to the bar and fails nothing.
//! The programs are built in release and run as their users run them, as processes on loopback;
//! memory and CPU are read from `/proc`, so it runs on Linux only. What each line means is in
//! `docs/internals/bench.md`.

mod comparison;
mod database;
mod dispatch;
mod figure;
mod hosts;
mod idle;
mod overload;
mod peers;
mod process;
mod programs;
mod real;
mod shelf;
mod sim;
mod start;
mod store;
mod world;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::json;

use comparison::Comparison;
use database::Cluster;
use figure::{Figure, table};
use programs::Programs;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which; all but `peers`, if none is named.
    which: Vec<Bench>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Take the programs from this folder, such as target/release, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Tasks of each job of `real` [default: 100000], and of each peer [default: 10000].
    #[arg(long, value_name = "N")]
    tasks: Option<u32>,
    /// Tasks of `dispatch`, and of ours in `peers`, in hundredths of the usual ones.
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    scale: u32,
    /// The PostgreSQL that the server of `dispatch` runs over, each in a new database that goes
    /// afterwards: a URL with the right to make databases, or `private` for one of its own, as
    /// tests/postgres makes it. A file, if none is named.
    #[arg(long, value_name = "URL|private")]
    database: Option<String>,
    /// Hosts of `hosts` and `sim`.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    hosts: u32,
    /// Hosts of `overload` that come back at once.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    returning: u32,
    /// Fragments of `shelf`.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    fragments: u32,
    /// Hosts of `store`; of several numbers one world after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10")]
    keepers: Vec<usize>,
    /// For how long `idle`, `store` and `hosts` look, and `overload` asks.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
}

/// One benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Tasks through the server alone, with hosts that answer at once; a long queue; a restart.
    Dispatch,
    /// Short tasks through everything: a server, two agents, sandboxes, verification, payment.
    Real,
    /// What an agent without work costs its owner.
    Idle,
    /// What many idle hosts that poll cost a server.
    Hosts,
    /// More requests than a server can answer; all hosts at once after a crash.
    Overload,
    /// From a command to a world; the size of the program.
    Start,
    /// A host's packs of fragments: puts that are synced, gets, a million of them, a crash.
    Shelf,
    /// Objects on hosts: put, got, with hosts gone; small files; backups beside restic and borg, if
    /// they are installed.
    Store,
    /// How fast the simulator is.
    Sim,
    /// The work of `dispatch` and `real` beside that of HyperQueue and Dask, which are installed
    /// from PyPI into the target folder.
    Peers,
}

impl Bench {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The examples that it runs.
    fn examples(self) -> Vec<&'static str> {
        match self {
            Self::Dispatch | Self::Peers => vec!["busy_hosts"],
            Self::Hosts => vec!["idle_hosts"],
            Self::Overload => vec!["eager_clients", "returning_hosts"],
            Self::Shelf => vec!["packs"],
            Self::Real | Self::Idle | Self::Start | Self::Store | Self::Sim => Vec::new(),
        }
    }

    /// Adds figures as they are found, so that a later failure takes none away.
    fn run(self, programs: &Programs, arguments: &Arguments, found: &mut Found) -> Result<()> {
        let Found { figures, comparison } = found;
        match self {
            Self::Dispatch => {
                let cluster = arguments.database.as_deref().map(Cluster::open).transpose()?;
                dispatch::run(programs, arguments.scale, cluster.as_ref(), figures)
            }
            Self::Real => real::run(programs, arguments.tasks.unwrap_or(100_000), figures),
            Self::Idle => idle::run(programs, arguments.seconds, figures),
            Self::Hosts => hosts::run(programs, arguments.hosts, arguments.seconds, figures),
            Self::Overload => {
                overload::run(programs, arguments.returning, arguments.seconds, figures)
            }
            Self::Start => start::run(programs, figures),
            Self::Store => store::run(programs, &arguments.keepers, arguments.seconds, figures),
            Self::Shelf => shelf::run(programs, arguments.fragments, figures),
            Self::Sim => sim::run(programs, arguments.hosts, figures),
            Self::Peers => peers::run(
                programs,
                arguments.tasks.unwrap_or(10_000),
                arguments.scale,
                comparison.get_or_insert_default(),
            ),
        }
    }
}

/// Measures, and prints. Fails only if something could not be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let which = match arguments.which.as_slice() {
        // Other people's programs are fetched for who asks for them, and for nobody else.
        [] => Bench::value_variants().iter().filter(|bench| **bench != Bench::Peers).collect(),
        named => named.iter().collect::<Vec<_>>(),
    };
    ensure!(
        arguments.database.is_none() || which.contains(&&Bench::Dispatch),
        "--database is for `dispatch` alone"
    );
    let programs = match &arguments.programs {
        Some(folder) => Programs::find(folder)?,
        None => {
            let examples: Vec<_> = which.iter().flat_map(|bench| bench.examples()).collect();
            Programs::build(&examples, which.contains(&&Bench::Sim))?
        }
    };
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for bench in which {
        talk(&format!("{} ...", bench.name()));
        let (load, begun) = (process::load()?, Instant::now());
        let mut found = Found::default();
        if let Err(error) = bench.run(&programs, arguments, &mut found) {
            talk(&format!("{}: {error:#}", bench.name()));
            failures.push(bench.name());
        }
        let secs = begun.elapsed().as_secs_f64();
        let over = arguments.database.as_ref().filter(|_| *bench == Bench::Dispatch);
        let name = bench.name() + over.map_or("", |_| " over PostgreSQL");
        results.push(Results { name, load, secs, found });
    }
    if arguments.json { print_json(&results, &failures) } else { print_table(&results) }?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What one benchmark found.
#[derive(Default)]
struct Found {
    figures: Vec<Figure>,
    comparison: Option<Comparison>,
}

/// What one benchmark found, and when.
struct Results {
    name: String,
    /// Load average of the last minute when it began: what else the machine was doing.
    load: f64,
    secs: f64,
    found: Found,
}

fn print_table(results: &[Results]) -> Result<()> {
    let mut out = stdout().lock();
    for of in results {
        let Results { load, secs, .. } = of;
        let cores = process::cores();
        let name = &of.name;
        writeln!(out, "{name}  ({secs:.0} s; load {load:.2} before, {cores} cores)")?;
        if !of.found.figures.is_empty() {
            write!(out, "{}", table(&of.found.figures))?;
        }
        if let Some(comparison) = &of.found.comparison {
            write!(out, "{}", comparison.table())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn print_json(results: &[Results], failures: &[String]) -> Result<()> {
    let benches: Vec<_> = results
        .iter()
        .map(|of| {
            json!({
                "bench": of.name,
                "load_before": of.load,
                "secs": of.secs,
                "figures": of.found.figures.iter().map(Figure::json).collect::<Vec<_>>(),
                "comparison": of.found.comparison.as_ref().map(Comparison::json),
            })
        })
        .collect();
    let document = json!({
        "schema": 1,
        "cores": process::cores(),
        "benches": benches,
        "failures": failures,
    });
    let text = serde_json::to_string_pretty(&document).context("the figures as JSON")?;
    Ok(writeln!(stdout().lock(), "{text}")?)
}

/// A line for the person who waits.
#[expect(clippy::print_stderr, reason = "an xtask talks to the person who started it")]
fn talk(line: &str) {
    eprintln!("{line}");
}
