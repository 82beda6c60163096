//! `isos-sim`: runs worlds by seed and says which promise broke, if one did.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use isos_base::random::Random;
use isos_sim::{Plan, run};

/// Simulates complexes with a thousand hosts, churn, lost frames, liars and killed servers.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Seeds to run; each is run twice and must give the same trace.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// So many more seeds, drawn from --entropy.
    #[arg(long, default_value_t = 0)]
    random: u32,
    /// What random seeds are drawn from; CI passes the time, and the seeds are printed.
    #[arg(long, default_value_t = 1)]
    entropy: u64,
    /// Hosts.
    #[arg(long, default_value_t = 1_000)]
    hosts: u32,
    /// Jobs.
    #[arg(long, default_value_t = 8)]
    jobs: u32,
    /// Tasks of each job.
    #[arg(long, default_value_t = 20_000)]
    tasks: u32,
    /// Share of hosts that lie.
    #[arg(long, default_value_t = 0.05)]
    liars: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut random = Random::new(args.entropy);
    let mut seeds = args.seeds.clone();
    seeds.extend((0..args.random).map(|_| random.next_u64()));
    let mut out = std::io::stdout().lock();
    for seed in seeds {
        let plan = Plan {
            hosts: args.hosts,
            jobs: args.jobs,
            tasks: args.tasks,
            liars: args.liars,
            ..Plan::new(seed)
        };
        let line = match (run(&plan), run(&plan)) {
            (Ok(first), Ok(second)) if first == second => format!("{first}"),
            (Ok(first), Ok(second)) => {
                let _ = writeln!(out, "seed {seed}: {} and {} differ", first.trace, second.trace);
                return ExitCode::FAILURE;
            }
            (Err(failure), _) | (_, Err(failure)) => {
                let _ = writeln!(out, "BROKEN {failure}");
                return ExitCode::FAILURE;
            }
        };
        let _ = writeln!(out, "{line}");
    }
    ExitCode::SUCCESS
}
