//! `isos-sim`: runs worlds by seed and says which promise broke, if one did.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use isos_base::random::Random;
use isos_sim::{
    Flaw, Plan, Report, every_effect, gossip, market, promise, route, run_with, store, verify,
};

/// Simulates complexes: servers that are killed, stopped and cut off, a database that goes away, a
/// thousand hosts with churn, lost frames and liars.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Seeds to run; each is run twice and must give the same trace.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// So many more seeds, drawn from --entropy; as with --drawn. Each tenth is run twice.
    #[arg(long, default_value_t = 0)]
    random: u32,
    /// What random seeds are drawn from; CI passes the time, and the seeds are printed.
    #[arg(long, default_value_t = 1)]
    entropy: u64,
    /// Let the seed say how many servers there are, of one to three, and which faults.
    #[arg(long)]
    drawn: bool,
    /// Servers; 1 unless it is drawn.
    #[arg(long)]
    servers: Option<u32>,
    /// Instead of faults by lot: a small world for each effect of the leader and of each host, in
    /// which it dies behind that effect. With a number, for each so-and-so-many-th.
    #[arg(long, value_name = "STRIDE", num_args = 0..=1, default_missing_value = "1")]
    every_effect: Option<u64>,
    /// Hosts; 1,000, or 4 with --every-effect.
    #[arg(long)]
    hosts: Option<u32>,
    /// Jobs; 8, or 5 with --every-effect.
    #[arg(long)]
    jobs: Option<u32>,
    /// Tasks of each job; 20,000, or 12 with --every-effect.
    #[arg(long)]
    tasks: Option<u32>,
    /// Share of hosts that lie.
    #[arg(long, default_value_t = 0.05)]
    liars: f64,
    /// Put a fault into the system, to see the checkers find it.
    #[arg(long, hide = true, value_parser = Flaw::named)]
    flaw: Option<Flaw>,
}

impl Args {
    fn plan(&self, seed: u64, drawn: bool) -> Plan {
        let plan = if drawn { Plan::drawn(seed) } else { Plan::new(seed) };
        self.sized(plan, (1_000, 8, 20_000))
    }

    /// The plan with what was asked for, and this where nothing was.
    fn sized(&self, plan: Plan, (hosts, jobs, tasks): (u32, u32, u32)) -> Plan {
        Plan {
            servers: self.servers.unwrap_or(plan.servers).max(1),
            hosts: self.hosts.unwrap_or(hosts).max(1),
            jobs: self.jobs.unwrap_or(jobs),
            tasks: self.tasks.unwrap_or(tasks).max(1),
            liars: self.liars,
            ..plan
        }
    }

    /// Dies behind every effect, and says how many there were.
    fn sweep(&self, seed: u64, stride: u64) -> Result<String, String> {
        let plan = self.sized(Plan::quiet(seed), (4, 5, 12));
        let flaw = self.flaw.unwrap_or_default();
        let swept = every_effect(&plan, stride, flaw).map_err(|it| it.to_string())?;
        Ok(format!(
            "seed {seed:>20}  {} effects of the leader, {} of {} hosts; {} worlds with a death",
            swept.leader,
            swept.hosts.iter().sum::<u64>(),
            swept.hosts.len(),
            swept.worlds
        ))
    }

    /// The line that runs this world alone.
    fn again(&self, plan: &Plan, drawn: bool) -> String {
        let Plan { seed, servers, hosts, jobs, tasks, liars, .. } = plan;
        let drawn = if drawn { " --drawn" } else { "" };
        let flaw = self.flaw.map(|flaw| format!(" --flaw {flaw}")).unwrap_or_default();
        format!(
            "isos-sim --seeds {seed}{drawn} --servers {servers} --hosts {hosts} --jobs {jobs} \
             --tasks {tasks} --liars {liars}{flaw}"
        )
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measures how many wrong results get through, for several cheats and ways to verify.
    Verify(Verify),
    /// Measures what the market makes of what there is, and what it brings to be clever.
    Market(Market),
    /// Measures steps, time, what is found and what it costs to route, against size, churn, liars.
    Route(Route),
    /// Measures what is lost and what repair moves, over years of hosts that come and go.
    Store(Store),
    /// Measures what hosts know of all without a server: sums, views, slices, distances; and the
    /// machine as it ships, with loss, churn, crashes and liars.
    Gossip(Gossip),
}

#[derive(Debug, clap::Args)]
struct Gossip {
    /// What to measure.
    #[arg(value_enum)]
    study: GossipStudy,
    /// Hosts; of several numbers, what is not about size takes the first.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    hosts: Vec<u32>,
    /// Where the luck comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also writes all figures into this file, as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also draws a picture into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum GossipStudy {
    /// How fast averages come together, and how well they count.
    Sums,
    /// Who is known by how many, and how soon the dead are forgotten.
    Views,
    /// How many hosts find the part of all to which they belong.
    Slices,
    /// How well coordinates tell round trips.
    Distances,
    /// How soon a tenth of all stands in a ring, and does again when a part of it dies.
    Rings,
    /// The machine as it ships; up to some ten thousand hosts.
    Machine,
    /// How many of all hosts a question reaches, and how soon.
    Queries,
}

/// Prints line by line with what each took of this machine, since some take minutes; then writes
/// the files.
fn whisper(args: &Gossip) -> ExitCode {
    let (study, hosts_max) = match args.study {
        GossipStudy::Sums => (gossip::Study::Sums, 4_000_000),
        GossipStudy::Views => (gossip::Study::Views, 4_000_000),
        GossipStudy::Slices => (gossip::Study::Slices, 4_000_000),
        GossipStudy::Distances => (gossip::Study::Distances, 4_000_000),
        GossipStudy::Rings => (gossip::Study::Rings, 4_000_000),
        GossipStudy::Machine => (gossip::Study::Machine, 20_000),
        GossipStudy::Queries => (gossip::Study::Queries, 100_000),
    };
    let hosts: Vec<u32> = args.hosts.iter().map(|&hosts| hosts.clamp(50, hosts_max)).collect();
    let table = study.table();
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{}", table.head()).and_then(|()| out.flush());
    let mut rows = Vec::new();
    let mut before = used().0;
    study.run(args.seed, &hosts, |row| {
        let (now, memory) = used();
        let _ = writeln!(out, "{}   {:.1} CPU-s, {memory} MB", table.line(&row), now - before)
            .and_then(|()| out.flush());
        before = now;
        rows.push(row);
    });
    let _ = write!(out, "\n{}", table.legend);
    let csv = args.csv.as_ref().map(|path| (path, table.csv(&rows)));
    let svg = args.svg.as_ref().map(|path| (path, table.chart(&rows)));
    for (path, text) in csv.into_iter().chain(svg) {
        if let Err(error) = write_file(path, &text) {
            let _ = writeln!(out, "cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Processor time of this process in seconds, and the memory that it has in megabytes; 0 where the
/// system does not say.
#[expect(clippy::disallowed_methods, reason = "a program that says what it costs")]
fn used() -> (f64, u64) {
    /// Of the kernel's clock, wherever Linux runs on the machines that we know.
    const TICKS_PER_SECOND: f64 = 100.0;
    const PAGE_BYTES: u64 = 4_096;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may have spaces.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    ((field(11) + field(12)) as f64 / TICKS_PER_SECOND, field(21) * PAGE_BYTES / 1_000_000)
}

#[derive(Debug, clap::Args)]
struct Route {
    /// What to compare.
    #[arg(value_enum)]
    study: StudyName,
    /// Routers; of several numbers, `scale` compares them and the others take the first.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    hosts: Vec<u32>,
    /// Where the luck comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Disjoint paths of a walk; `liars` compares several.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    paths: Option<u8>,
    /// Searches of each line.
    #[arg(long, default_value_t = 2_000)]
    searches: u32,
    /// Draw tables when they are looked at instead of keeping them: for a million hosts.
    #[arg(long)]
    lean: bool,
    #[command(flatten)]
    files: Files,
}

/// What a study writes besides its table.
#[derive(Debug, clap::Args)]
struct Files {
    /// Also writes all figures into this file, as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also draws a picture into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Files {
    fn write(
        &self,
        out: &mut impl Write,
        csv: impl FnOnce() -> String,
        svg: impl FnOnce() -> String,
    ) -> ExitCode {
        let csv = self.csv.as_ref().map(|path| (path, csv()));
        let svg = self.svg.as_ref().map(|path| (path, svg()));
        for (path, text) in csv.into_iter().chain(svg) {
            if let Err(error) = write_file(path, &text) {
                let _ = writeln!(out, "cannot write {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum StudyName {
    /// More and more hosts.
    Scale,
    /// Shorter and shorter lives.
    Churn,
    /// More and more liars.
    Liars,
}

/// Prints line by line, since some take minutes; then writes the files.
fn walk(args: &Route) -> ExitCode {
    let what = match args.study {
        StudyName::Scale => route::Study::Scale,
        StudyName::Churn => route::Study::Churn,
        StudyName::Liars => route::Study::Liars,
    };
    let mut out = std::io::stdout().lock();
    if args.lean && matches!(what, route::Study::Churn) {
        let _ = writeln!(out, "nobody comes or goes in the lean mode: leave --lean out");
        return ExitCode::FAILURE;
    }
    let hosts: Vec<u32> = args.hosts.iter().map(|&hosts| hosts.clamp(10, 4_000_000)).collect();
    let quiet = route::Setting::quiet(args.seed, hosts.first().copied().unwrap_or(1_000));
    let paths = args.paths.map_or(quiet.paths, usize::from);
    let base = route::Setting { searches: args.searches.max(1), paths, ..quiet };
    let _ = write!(out, "{}", route::head());
    let rows = route::study(what, &base, &hosts, args.lean, |row| {
        let _ = write!(out, "{}", route::line(row)).and_then(|()| out.flush());
    });
    let _ = write!(out, "{}", route::LEGEND);
    args.files.write(&mut out, || route::csv(&rows), || route::chart(what, &rows))
}

#[derive(Debug, clap::Args)]
struct Store {
    /// What to compare.
    #[arg(value_enum)]
    study: StoreStudy,
    /// Hosts that keep; who goes for good is replaced.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(20..=4_000))]
    hosts: u32,
    /// Segments that are kept.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    segments: u32,
    /// Virtual years.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    years: u32,
    /// The share of hosts that are off at night.
    #[arg(long, default_value_t = 0.5)]
    sleepers: f64,
    /// What repair may move, times what the model says that it must.
    #[arg(long, default_value_t = 4.0)]
    budget: f64,
    /// Where the luck comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum StoreStudy {
    /// What is lost, beside what the formulas say.
    Model,
    /// What repair moves, beside repair that waits for nothing and an oracle.
    Traffic,
    /// Hosts that go together.
    Together,
}

/// Prints line by line, since some take minutes; then writes the files.
fn keep(args: &Store) -> ExitCode {
    let what = match args.study {
        StoreStudy::Model => store::Study::Model,
        StoreStudy::Traffic => store::Study::Traffic,
        StoreStudy::Together => store::Study::Together,
    };
    let base = store::Setting {
        hosts: args.hosts,
        segments: args.segments,
        years: args.years,
        sleepers: args.sleepers.clamp(0.0, 1.0),
        budget: args.budget.max(0.0),
        ..store::Setting::usual(args.seed)
    };
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{}", store::head());
    let rows = store::study(what, &base, |row| {
        let _ = write!(out, "{}", store::line(row)).and_then(|()| out.flush());
    });
    let _ = write!(out, "{}", store::LEGEND);
    args.files.write(&mut out, || store::csv(&rows), || store::chart(what, &rows))
}

#[derive(Debug, clap::Args)]
struct Market {
    /// Where the luck comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Accounts that want work done.
    #[arg(long, default_value_t = 300)]
    accounts: u32,
    /// Hosts, each of an owner of its own.
    #[arg(long, default_value_t = 300)]
    hosts: u32,
    /// Ticks of half a minute.
    #[arg(long, default_value_t = 2_880)]
    ticks: u32,
    /// Repetitions of single auctions.
    #[arg(long, default_value_t = 2_000)]
    rounds: u32,
    /// Also draws the price of the day into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Prints the figures beside their targets; fails if one is missed.
fn trade(args: &Market) -> ExitCode {
    let setting = market::Setting {
        seed: args.seed,
        accounts: args.accounts.max(2),
        hosts: args.hosts.max(2),
        ticks: args.ticks.max(2),
        rounds: args.rounds.max(1),
    };
    let measured = market::measure(&setting);
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{}", market::table(&measured.figures));
    if let Some(path) = &args.svg
        && let Err(error) = write_file(path, &market::chart(&measured.prices))
    {
        let _ = writeln!(out, "cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if measured.figures.iter().all(market::Figure::is_met) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// Where the luck comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hosts, each of an owner of its own.
    #[arg(long, default_value_t = 100)]
    hosts: u32,
    /// Share of hosts that are bad.
    #[arg(long, default_value_t = 0.05)]
    bad: f64,
    /// Tasks of all jobs.
    #[arg(long, default_value_t = 200_000)]
    tasks: u32,
    /// Jobs, one after the other: what a job had accepted when it ended is not taken back.
    #[arg(long, default_value_t = 20)]
    jobs: u32,
    /// Only long tasks that are checked by stretches.
    #[arg(long, conflicts_with = "svg")]
    stretches: bool,
    /// Also draws a picture into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Prints the tables, and draws the picture; fails if a promise is broken.
fn measure(args: &Verify) -> ExitCode {
    let base = verify::Setting {
        seed: args.seed,
        policy: verify::Policy::Adaptive,
        strategy: verify::Strategy::Honest,
        hosts: args.hosts,
        bad: args.bad,
        tasks: args.tasks,
        jobs: args.jobs.max(1),
    };
    let mut out = std::io::stdout().lock();
    let rows = if args.stretches { Vec::new() } else { verify::compare(&base) };
    if !args.stretches {
        let _ = writeln!(out, "{}", verify::table(&rows));
    }
    let rows_of_stretches = verify::stretches::compare(&base);
    let _ = write!(out, "{}", verify::stretches::table(&rows_of_stretches));
    if let Some(path) = &args.svg
        && let Err(error) = write_file(path, &verify::chart(&rows))
    {
        let _ = writeln!(out, "cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    let broken = [promise::broken(&rows), promise::broken(&rows_of_stretches)].concat();
    for what in &broken {
        let _ = writeln!(out, "BROKEN {what}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "a program, and the picture is its output")]
fn write_file(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}

fn main() -> ExitCode {
    let args = Args::parse();
    match &args.command {
        Some(Command::Verify(verify)) => return measure(verify),
        Some(Command::Market(market)) => return trade(market),
        Some(Command::Route(route)) => return walk(route),
        Some(Command::Store(store)) => return keep(store),
        Some(Command::Gossip(gossip)) => return whisper(gossip),
        None => {}
    }
    let mut out = std::io::stdout().lock();
    if args.seeds.is_empty() && args.random == 0 {
        let _ = writeln!(out, "nothing was run: say which worlds, by --seeds 1,2 or --random 10");
        return ExitCode::from(2);
    }
    let mut random = Random::new(args.entropy);
    let named = args.seeds.iter().map(|&seed| (seed, args.drawn, true));
    let drawn = (1..=args.random).map(|n| (random.next_u64(), true, n % TWICE_ONE_IN == 0));
    for (seed, drawn, twice) in named.chain(drawn) {
        if let Some(stride) = args.every_effect {
            match args.sweep(seed, stride) {
                Ok(swept) => _ = writeln!(out, "{swept}"),
                Err(what) => {
                    let _ = writeln!(out, "BROKEN {what}");
                    return ExitCode::FAILURE;
                }
            }
            continue;
        }
        let plan = args.plan(seed, drawn);
        let flaw = args.flaw.unwrap_or_default();
        match if twice { run_twice(&plan, flaw) } else { run_once(&plan, flaw) } {
            Ok(report) => _ = writeln!(out, "{report}"),
            Err(what) => {
                let _ = writeln!(out, "BROKEN {what}\nagain: {}", args.again(&plan, drawn));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// One in so many random seeds is run twice: what makes two runs differ does so in most worlds.
const TWICE_ONE_IN: u32 = 10;

fn run_once(plan: &Plan, flaw: Flaw) -> Result<Report, String> {
    // A machine that finds its own invariants broken panics, and says so on standard error.
    let ran = catch_unwind(AssertUnwindSafe(|| run_with(plan, flaw)));
    ran.map_err(|_| format!("seed {}: a panic", plan.seed))?.map_err(|it| it.to_string())
}

/// The same seed must give the same trace. Both runs at once: neither knows of the other.
#[expect(clippy::disallowed_methods, reason = "a program; each world is one thread's")]
fn run_twice(plan: &Plan, flaw: Flaw) -> Result<Report, String> {
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| run_once(plan, flaw));
        (run_once(plan, flaw), second.join())
    });
    let second = second.map_err(|_| format!("seed {}: a panic", plan.seed))?;
    let (first, second) = (first?, second?);
    if first != second {
        return Err(format!("seed {}: {} and {} differ", plan.seed, first.trace, second.trace));
    }
    Ok(first)
}
