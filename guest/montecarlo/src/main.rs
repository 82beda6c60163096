//! Prices an option by simulating what the share may do: European or average-price (Asian) call.
//!
//! ```text
//! montecarlo [--payoff european|asian] [--paths 2000] [--steps 252] [--seed 1]
//!            [--spot 100] [--strike 105] [--rate 0.03] [--volatility 0.25] [--years 1]
//!            [--task I --tasks N]
//! ```
//! Every task simulates its own `--paths` and prints one line of JSON. To merge tasks, add up
//! `paths`, `sum` and `sum_of_squares`; `price` and `standard_error` are those of this task alone.
//! `closed_form` is the exact price where there is one: for the European call (Black, Scholes
//! 1973), and for the *geometric* average (Kemna, Vorst 1990), which bounds the Asian from below.

mod market;
mod simulation;

use std::io::Write;
use std::process::ExitCode;

use isos_guest::{Failure, Rng, Task};
use market::Market;
use simulation::{Payoff, Totals};

/// What the command line asks for.
struct Options {
    market: Market,
    payoff: Payoff,
    paths: u32,
    seed: u64,
    task: Task,
}

fn main() -> ExitCode {
    isos_guest::finish(run())
}

fn run() -> Result<(), Failure> {
    let options = options()?;
    let mut rng = Rng::for_task(options.seed, options.task);
    let totals = simulation::run(&options.market, options.payoff, options.paths, &mut rng);
    std::io::stdout()
        .write_all(line(&options, &totals).as_bytes())
        .map_err(|error| Failure::because("write the result", error))
}

fn line(options: &Options, totals: &Totals) -> String {
    let Options { market, payoff, task, seed, .. } = options;
    let closed_form = match payoff {
        Payoff::European => market.european_call(),
        Payoff::Asian => market.geometric_asian_call(),
    };
    format!(
        "{{\"task\":{},\"tasks\":{},\"seed\":{seed},\"payoff\":\"{}\",\"paths\":{},\"sum\":{},\
         \"sum_of_squares\":{},\"price\":{},\"standard_error\":{},\"closed_form\":{}}}\n",
        task.index(),
        task.count(),
        payoff.name(),
        totals.paths,
        totals.sum,
        totals.sum_of_squares,
        totals.mean(),
        totals.standard_error(),
        closed_form,
    )
}

fn options() -> Result<Options, Failure> {
    let mut arguments = pico_args::Arguments::from_env();
    let options = read(&mut arguments)?;
    if let Some(unknown) = arguments.finish().first() {
        return Err(Failure::new(format!("unknown argument {}", unknown.to_string_lossy())));
    }
    options.market.check()?;
    if options.paths == 0 {
        return Err(Failure::new("--paths must be at least 1"));
    }
    Ok(options)
}

fn read(arguments: &mut pico_args::Arguments) -> Result<Options, Failure> {
    let bad = |error| Failure::because("read the arguments", error);
    let mut number = |key: &'static str, absent: f64| {
        arguments.opt_value_from_str(key).map(|value| value.unwrap_or(absent)).map_err(bad)
    };
    let (spot, strike) = (number("--spot", 100.0)?, number("--strike", 105.0)?);
    let (rate, volatility) = (number("--rate", 0.03)?, number("--volatility", 0.25)?);
    let years = number("--years", 1.0)?;
    let steps = arguments.opt_value_from_str("--steps").map_err(bad)?.unwrap_or(252);
    let task = arguments.opt_value_from_str("--task").map_err(bad)?;
    let tasks = arguments.opt_value_from_str("--tasks").map_err(bad)?;
    Ok(Options {
        market: Market { spot, strike, rate, volatility, years, steps },
        payoff: arguments.opt_value_from_str("--payoff").map_err(bad)?.unwrap_or(Payoff::European),
        paths: arguments.opt_value_from_str("--paths").map_err(bad)?.unwrap_or(2_000),
        seed: arguments.opt_value_from_str("--seed").map_err(bad)?.unwrap_or(1),
        task: Task::or_env(task, tasks)?,
    })
}
