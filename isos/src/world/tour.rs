//! `isos tour`: a worldwide computer on this machine in half a minute, with everything that can go
//! wrong going wrong: a host dies, another lies.
//!
//! Nothing here is played: server and hosts are processes of this program, the job is the gene
//! matcher of `guest/`, the results are compared with a run of the same program on this machine
//! alone, and every figure comes from the complex's ledger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use isos_base::api::{AccountView, HostView, JobView};
use isos_base::job::Verify;
use isos_base::record::JobState;
use isos_base::task::Output;
use isos_base::{Fuel, Guid, JobId, MicroCredits, Span};
use isos_sandbox::{Event, Order, Part, Sandbox, SandboxConfig, Setup};
use isos_sdk::{Client, Input, Submission, Tasks, Wanted};

use super::local::{HostPlan, World};
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::output::Mode;
use crate::report::Started;

const PROGRAM: &[u8] = include_bytes!("../../../guest/modules/genematch.wasm");
const LIBRARY: &[u8] = include_bytes!("../../../guest/data/library.fasta");
const QUERIES: &[u8] = include_bytes!("../../../guest/data/queries.fasta");
const TASKS: u32 = 200;
const HOSTS: usize = 6;
/// Which of the hosts lies, and which dies.
const LIAR: usize = 4;
const MORTAL: usize = 1;
/// The whole tour ends by itself after this time, whatever hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often a line tells how far it is where there is no bar.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// How busy the machine is, if that can be read, as the end of a sentence.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split_whitespace().next();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    load.map_or_else(String::new, |load| format!(" (load {load} on {cores} cores)"))
}

/// What `isos tour` is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TourArgs {
    /// Keep the world's folder afterwards, logs and all.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What the tour found; `--json` prints it.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Findings {
    /// Tasks of the job.
    pub(crate) tasks: u32,
    /// Results equal to those of a run on this machine alone.
    pub(crate) equal: u32,
    /// Why the liar was barred.
    pub(crate) liar_barred: String,
    /// What the liar earned.
    pub(crate) liar_earned: MicroCredits,
    /// What the buyer paid.
    pub(crate) paid: MicroCredits,
    /// What the honest owners earned together.
    pub(crate) earned: MicroCredits,
    /// The complex's fee and what rounding left.
    pub(crate) fees: MicroCredits,
    /// Sum of all balances.
    pub(crate) ledger_sum: i128,
    /// The job's time.
    pub(crate) job_secs: f64,
    /// The tour's time.
    pub(crate) total_secs: f64,
}

/// A fresh folder that only this user can enter.
pub(crate) fn temporary_home(what: &str) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let name = format!("isos-{what}-{}-{:08x}", std::process::id(), getrandom::u32()?);
    let home = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&home)
        .with_context(|| format!("cannot make {}", home.display()))?;
    Ok(home)
}

/// Takes the tour.
pub(crate) async fn run(args: TourArgs, context: &Context) -> anyhow::Result<End> {
    let talk = Talk { quiet: context.out.mode() != Mode::Text };
    let findings = guided(args, &talk).await?;
    let quiet = format!("{} of {} equal", findings.equal, findings.tasks);
    context.out.show(&Started { kind: "tour", data: findings, quiet })?;
    Ok(End::Ok)
}

async fn guided(args: TourArgs, talk: &Talk) -> anyhow::Result<Findings> {
    let home = temporary_home("tour")?;
    let tour = tokio::select! {
        tour = tokio::time::timeout(PATIENCE, tour(&home, talk)) => {
            tour.unwrap_or_else(|_| bail!(
                "the tour did not end within {} minutes, of the 20 s that it takes on a machine that \
                 does nothing else{}: try again when it has less to do",
                PATIENCE.as_secs() / 60,
                load()
            ))
        }
        asked = super::asked_to_end(false) => match asked {
            Ok(()) => Err(Refusal::interrupted(Vec::new()).into()),
            Err(error) => Err(error.into()),
        },
    };
    let kept = args.keep || tour.is_err();
    if kept {
        talk.say(&format!("The world's folder, with logs, stays in {}", home.display()));
    } else {
        std::fs::remove_dir_all(&home)
            .with_context(|| format!("cannot remove {}", home.display()))?;
        talk.say("Everything is cleaned away.");
    }
    if tour.is_ok() {
        talk.say(&next_steps(&super::this_program()));
    }
    tour
}

/// What to do next, with the name by which this program can be called.
fn next_steps(isos: &str) -> String {
    let steps = [
        ("dev", "a world that stays up, with a dashboard"),
        ("server", "a complex of your own"),
        ("join TICKET", "lend it a machine"),
        ("submit PROGRAM.wasm", "run a job on it"),
    ];
    let lines = steps.map(|(command, what)| format!("\n  {isos} {command:<20} {what}"));
    format!("\nNext:{}", lines.concat())
}

struct Talk {
    quiet: bool,
}

impl Talk {
    fn say(&self, text: &str) {
        if !self.quiet {
            anstream::eprintln!("{text}");
        }
    }

    fn head(&self, text: &str) {
        use owo_colors::OwoColorize;
        self.say(&format!("\n{}", text.bold()));
    }
}

async fn tour(home: &Path, talk: &Talk) -> anyhow::Result<Findings> {
    let started = Instant::now();
    talk.head("1. A world starts");
    let mut world = World::start(home, "127.0.0.1:0").await?;
    for n in 0..HOSTS {
        let name = format!("host-{}", n + 1);
        world
            .add_host(&HostPlan {
                name,
                lies: n == LIAR,
                cores: 1,
                // Somebody watches: on a machine that does something else besides, work in the
                // time that nobody wants would take for ever.
                in_front: true,
                ..HostPlan::default()
            })
            .await?;
    }
    world.wait_for_hosts(HOSTS).await?;
    talk.say(&format!(
        "   a server with its database and {HOSTS} hosts, each a process with its own key, folder and \
         owner\n   ready after {:.1} s; dashboard {}",
        started.elapsed().as_secs_f64(),
        world.ready.api
    ));

    talk.head("2. A real job");
    let ticket = world.ticket("buyer", &["submit", "read"]).await?;
    let buyer = Client::new(&ticket.parse()?, None)?;
    let submission = write_job(home)?;
    let job = submission.prepare()?.submit(&buyer, None, |_| {}).await?;
    talk.say(&format!(
        "   {TASKS} tasks: each aligns a protein with 611 others (Smith-Waterman, BLOSUM62)\n   every \
         result is made sure of by two hosts of different owners; {} credits are held",
        job.held
    ));
    let (view, job_time) = watch(&buyer, job.id, &mut world, talk).await?;
    ensure!(view.state == JobState::Done, "the job ended as {:?}", view.state);

    talk.head("3. The results");
    let results = collect(&buyer, job.id).await?;
    let alone_started = Instant::now();
    let alone = run_alone(home, &submission).await?;
    let equal = (0..TASKS).filter(|task| results.get(task) == alone.get(task)).count() as u32;
    talk.say(&format!(
        "   {equal} of {TASKS} are byte for byte those of a run on this machine alone ({:.1} s)",
        alone_started.elapsed().as_secs_f64()
    ));
    ensure!(equal == TASKS, "{} results are wrong", TASKS - equal);

    talk.head("4. The liar");
    let hosts: Vec<HostView> = world.operator.hosts().await?;
    let liar = hosts.iter().find(|host| host.id == world.hosts[LIAR].id).context("the liar")?;
    let why = liar.barred.clone().context("the liar was not found out")?;
    talk.say(&format!("   {} is barred: {why}", world.hosts[LIAR].name));

    talk.head("5. The money");
    let money = money(&world, &view, talk).await?;
    let findings = Findings {
        tasks: TASKS,
        equal,
        liar_barred: why,
        job_secs: job_time.as_secs_f64(),
        total_secs: started.elapsed().as_secs_f64(),
        ..money
    };
    ensure!(findings.ledger_sum == 0, "the ledger does not sum to zero");
    ensure!(findings.liar_earned == MicroCredits::ZERO, "the liar was paid");
    buyer.close().await;
    world.stop().await;
    talk.head("6. The end");
    talk.say(&format!("   the tour took {:.1} s", started.elapsed().as_secs_f64()));
    Ok(findings)
}

fn write_job(home: &Path) -> anyhow::Result<Submission> {
    let folder = home.join("job");
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in
        [("genematch.wasm", PROGRAM), ("library.fasta", LIBRARY), ("queries.fasta", QUERIES)]
    {
        std::fs::write(folder.join(name), bytes)?;
    }
    let input = |name: &str| Input { host: folder.join(name), guest: None };
    Ok(Submission {
        name: Some("genematch".into()),
        tasks: Tasks::Count(TASKS),
        inputs: vec![input("library.fasta"), input("queries.fasta")],
        fuel: Some(Fuel(5_000_000_000)),
        verify: Some(Verify::Quorum { agree: 2, of: 3 }),
        ..Submission::new(folder.join("genematch.wasm"))
    })
}

/// Follows the job; in its middle a host dies.
async fn watch(
    buyer: &Client,
    job: JobId,
    world: &mut World,
    talk: &Talk,
) -> anyhow::Result<(JobView, Duration)> {
    let started = Instant::now();
    let bar = if talk.quiet { ProgressBar::hidden() } else { ProgressBar::new(TASKS.into()) };
    let style = "   {bar:30} {pos}/{len} tasks, {per_sec:.0}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).context("the bar's template")?);
    // Where there is no terminal for a bar, a line tells now and then.
    let mut due = started + SAY_EVERY;
    let mut events = buyer.events(job);
    let mut last = None;
    let mut killed = false;
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            () = tokio::time::sleep_until(due.into()) => {
                due += SAY_EVERY;
                if bar.is_hidden() {
                    talk.say(&format!("   {} of {TASKS} tasks{}", bar.position(), load()));
                }
                continue;
            }
            error = world.server_ended() => return Err(error),
        };
        let Some(view) = event else { break };
        let ended = view.tasks.done + view.tasks.failed + view.tasks.given_up;
        bar.set_position(ended.into());
        if !killed && ended >= TASKS / 5 {
            killed = true;
            world.hosts[MORTAL].kill().await?;
            let name = &world.hosts[MORTAL].name;
            bar.println(format!("   {name} is killed in mid-work: its tasks go to others"));
        }
        last = Some(view);
    }
    bar.finish_and_clear();
    let view = last.context("the job vanished")?;
    let time = started.elapsed();
    talk.say(&format!(
        "   {} tasks done in {:.1} s on {HOSTS} hosts, one killed, one lying",
        view.tasks.done,
        time.as_secs_f64()
    ));
    ensure!(killed, "no host was killed: the job ended too early");
    Ok((view, time))
}

/// The outputs as the complex gives them, by task.
async fn collect(buyer: &Client, job: JobId) -> anyhow::Result<BTreeMap<u32, Output>> {
    let mut results = buyer.results(job, true, Wanted::All).await?;
    let mut outputs = BTreeMap::new();
    while let Some(outcome) = results.next().await? {
        let task = outcome.accepted.task;
        outputs.insert(task, outcome.output.with_context(|| format!("task {task} has no output"))?);
    }
    Ok(outputs)
}

/// The same program on the same inputs in one sandbox here, without any complex.
async fn run_alone(home: &Path, submission: &Submission) -> anyhow::Result<BTreeMap<u32, Output>> {
    let (exe, args) = super::child()?;
    let sandbox = Sandbox::new(SandboxConfig::new(exe, args, home.join("alone")))?;
    let program = sandbox.prepare(Guid::of(PROGRAM), &submission.program).await?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(64) as u16);
    let setup = Setup {
        job: JobId(0),
        spec: submission.prepare()?.spec,
        input_dir: home.join("job"),
        own_dir: None,
        threads,
        idle: false,
        save_every: Span::secs(60),
    };
    let (chamber, mut events) = sandbox.open(&program, setup).await?;
    chamber
        .send((0..TASKS).map(|task| Order { task, file: None, part: Part::default() }).collect())
        .await?;
    let mut outputs = BTreeMap::new();
    while outputs.len() < TASKS as usize {
        match events.next().await {
            Some(Event::Finished(executions)) => {
                outputs.extend(executions.into_iter().map(|done| (done.task, done.output)));
            }
            Some(Event::Saved(_)) => {}
            Some(Event::Asked { .. }) => bail!("the local run asks for peers"),
            Some(Event::Died { reason, .. }) => bail!("the local run died: {reason}"),
            None => bail!("the local run ended early"),
        }
    }
    Ok(outputs)
}

async fn money(world: &World, job: &JobView, talk: &Talk) -> anyhow::Result<Findings> {
    let accounts: Vec<AccountView> = world.operator.accounts().await?;
    let account = |name: &str| {
        accounts
            .iter()
            .find(|account| account.name == name)
            .with_context(|| format!("account {name}"))
    };
    let mut earned = MicroCredits::ZERO;
    for (n, host) in world.hosts.iter().enumerate() {
        // A new account of a test world begins with a grant; the rest was earned.
        let owner = account(&host.owner)?;
        let pay = MicroCredits(owner.received.0 - WELCOME.0);
        let note = match n {
            LIAR => "  lied: nothing",
            MORTAL => "  died",
            _ => "",
        };
        talk.say(&format!("   {:<20} earned {pay}{note}", host.owner));
        if n != LIAR {
            earned.0 += pay.0;
        }
    }
    let liar = account(&world.hosts[LIAR].owner)?;
    let fees = MicroCredits(job.spent.0 - earned.0);
    let status = world.operator.status().await?;
    talk.say(&format!(
        "   {:<20} paid   {}\n   {:<20} got    {fees}\n   all balances of the ledger sum to {} after \
         {} transfers",
        "buyer", job.spent, "fees and rounding", status.ledger_sum, status.transfers
    ));
    Ok(Findings {
        tasks: 0,
        equal: 0,
        liar_barred: String::new(),
        liar_earned: MicroCredits(liar.received.0 - WELCOME.0),
        paid: job.spent,
        earned,
        fees,
        ledger_sum: status.ledger_sum,
        job_secs: 0.0,
        total_secs: 0.0,
    })
}

/// What a new account of a test world begins with: `--welcome` of the world's server.
const WELCOME: MicroCredits = MicroCredits::credits(1_000);

#[cfg(test)]
mod tests {
    #[test]
    fn the_next_steps_stand_under_each_other() {
        let text = super::next_steps("target/release/isos");
        let columns: Vec<_> = text
            .lines()
            .filter_map(|line| {
                ["a world", "a complex", "lend", "run"].iter().find_map(|w| line.find(w))
            })
            .collect();
        assert_eq!(columns, [columns[0]; 4], "{text}");
        assert!(text.contains("\n  target/release/isos dev "), "{text}");
    }
}
