//! Tasks through the server alone: frames, scheduling, a database that has synced before every
//! reply, pay. The hosts are made up, but their connections are real. And what a long queue costs.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::comparison::Run;
use super::database::{Cluster, Database};
use super::figure::{Bar, Figure};
use super::process::{Cpu, Machine, Process, loopback_bytes, memory_mib};
use super::programs::Programs;
use super::talk;
use super::world::World;

/// All hosts are welcomed within this time, and all tasks are done.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: f64 = 1_048_576.0;

/// Hosts that let so many tasks run at a time.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) hosts: u32,
    pub(super) batch: u32,
    tasks: u32,
    /// Tasks per second, by the design.
    bar: Option<f64>,
}

impl Load {
    /// One task at a time, by many hosts.
    pub(super) const BY_1: Self =
        Self { hosts: 192, batch: 1, tasks: 100_000, bar: Some(20_000.0) };
    /// As hosts have them whose tasks are short.
    pub(super) const BY_16: Self =
        Self { hosts: 16, batch: 16, tasks: 400_000, bar: Some(100_000.0) };
    const BY_256: Self = Self { hosts: 16, batch: 256, tasks: 1_000_000, bar: None };

    /// So much of its usual tasks.
    pub(super) fn scaled(self, percent: u32) -> Self {
        Self { tasks: scaled(self.tasks, percent), ..self }
    }
}

/// So many hundredths of the usual tasks.
pub(super) fn scaled(tasks: u32, percent: u32) -> u32 {
    (tasks / 100).saturating_mul(percent).max(1_000)
}

/// Measures the server over its file, or over databases of this PostgreSQL.
pub(super) fn run(
    programs: &Programs,
    percent: u32,
    cluster: Option<&Cluster>,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    for load in [Load::BY_1, Load::BY_16, Load::BY_256] {
        figures.extend(dispatch(programs, load.scaled(percent), cluster)?.figures());
    }
    for tasks in [1_000_000, 10_000_000] {
        figures.extend(queue(programs, tasks, cluster)?);
    }
    Ok(())
}

/// A job that went through the server, and what it cost.
pub(super) struct Dispatched {
    load: Load,
    pub(super) run: Run,
    ack_ms_median: f64,
    ack_ms_p99: f64,
    /// Bytes over the loopback, and what they are.
    wire: f64,
    wire_with: &'static str,
    /// Bytes that what is kept grew, by kind.
    disk: Vec<(&'static str, f64)>,
    /// CPU time of PostgreSQL, where it is known.
    database_secs: Option<f64>,
}

impl Dispatched {
    fn figures(&self) -> Vec<Figure> {
        let Self { load, run, .. } = self;
        let figure = |what: &str, value, unit| {
            Figure::new(format!("by {}: {what}", load.batch), value, unit)
        };
        let each = |all: f64| all / run.tasks;
        let p99 = figure("report until it is durable, 99 %", self.ack_ms_p99, "ms");
        let hosts_secs = run.all_secs - run.server_secs;
        let mut figures = vec![
            Figure {
                bar: load.bar.map(Bar::AtLeast),
                ..figure("tasks", run.tasks / run.secs, "/s")
            },
            figure("report until it is durable, median", self.ack_ms_median, "ms"),
            p99.bar(Bar::AtMost(20.0)),
            figure("CPU of the server", each(run.server_secs * 1e6), "us/task"),
            figure("CPU of the hosts", each(hosts_secs * 1e6), "us/task"),
            figure(self.wire_with, each(self.wire), "B/task"),
        ];
        figures.extend(self.disk.iter().map(|(kind, all)| figure(kind, each(*all), "B/task")));
        let database = self.database_secs.map(|secs| each(secs * 1e6));
        figures.extend(database.map(|us| figure("CPU of PostgreSQL", us, "us/task")));
        figures.push(figure("busy with anything else", run.others_cores, "cores"));
        figures
    }
}

/// Has made-up hosts do a job.
pub(super) fn dispatch(
    programs: &Programs,
    load: Load,
    cluster: Option<&Cluster>,
) -> Result<Dispatched> {
    let Load { hosts, batch, tasks, .. } = load;
    talk(&format!("  {hosts} hosts, {batch} tasks at a time"));
    let database = cluster.map(Cluster::database).transpose()?;
    // All hosts have one account here.
    let flags = ["--held-hosts", "1000", "--account-frames=0"];
    let world = start(programs, &flags, database.as_ref())?;
    let engine = world.engine()?;
    let mut command = Command::new(programs.example("busy_hosts")?);
    let [hosts, batch, tasks_text] = [hosts, batch, tasks].map(|n| n.to_string());
    command.args([&world.ticket, &hosts, &batch, &tasks_text, &engine]);
    let crowd = Process::start("busy_hosts", &mut command)?;
    crowd.line(PATIENCE)?;
    let server = world.server.pid();
    let database_secs = || cluster.map_or(Ok(None), Cluster::cpu_secs);
    let (database_before, disk_before) = (database_secs()?, disk(&world, database.as_ref())?);
    let wire = loopback_bytes()?;
    let (machine, cpu, crowd_cpu) = (Machine::now()?, Cpu::of(server)?, Cpu::of(crowd.pid())?);
    let job = submit(&world, tasks)?;
    let said: Value = serde_json::from_str(&crowd.line(PATIENCE)?)?;
    let crowd_secs = Cpu::of(crowd.pid()).map_or(0.0, |now| now.since(crowd_cpu).total());
    let server_secs = Cpu::of(server)?.since(cpu).total();
    let all_secs = server_secs + crowd_secs;
    let database_secs = database_secs()?.zip(database_before).map(|(now, before)| now - before);
    let others_cores = machine.others_cores(all_secs + database_secs.unwrap_or_default())?;
    let wire = loopback_bytes()? - wire;
    let grown = |((kind, now), (_, before)): ((_, f64), (_, f64))| (kind, now - before);
    let disk = disk(&world, database.as_ref())?.into_iter().zip(disk_before).map(grown).collect();
    let view = world.get(&format!("/v1/jobs/{job}"))?;
    ensure!(view["tasks"]["done"] == tasks, "not all tasks were done: {}", view["tasks"]);
    let time = |name: &str| view[name].as_u64().with_context(|| format!("{name} of {view}"));
    let secs = time("ended")?.saturating_sub(time("submitted")?) as f64 / 1e6;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("{name} of {said}"));
    Ok(Dispatched {
        load,
        run: Run { tasks: tasks.into(), secs, server_secs, all_secs, others_cores },
        ack_ms_median: number("ack_ms_median")?,
        ack_ms_p99: number("ack_ms_p99")?,
        wire,
        // The interface does not tell whose bytes they are.
        wire_with: if cluster.is_some() { "on the wire, SQL included" } else { "on the wire" },
        disk,
        database_secs,
    })
}

/// A server over its file, or over this database.
fn start(programs: &Programs, flags: &[&str], database: Option<&Database<'_>>) -> Result<World> {
    let mut flags = flags.to_vec();
    flags.extend(database.iter().flat_map(|database| ["--database", database.url()]));
    World::start(&programs.isos, &flags)
}

/// Bytes that are kept now, by kind.
fn disk(world: &World, database: Option<&Database<'_>>) -> Result<Vec<(&'static str, f64)>> {
    let Some(database) = database else {
        return Ok(vec![("on the disk, log included", world.metric("isos_database_bytes")?)]);
    };
    let kept = database.kept()?;
    Ok(vec![("on the disk, without the log", kept.rows), ("written to the log", kept.log)])
}

/// A job whose tasks all wait: what they cost in memory, and in time when the server is killed.
fn queue(programs: &Programs, tasks: u32, cluster: Option<&Cluster>) -> Result<Vec<Figure>> {
    let millions = tasks / 1_000_000;
    talk(&format!("  a queue of {millions} million tasks"));
    let database = || cluster.map(Cluster::database).transpose();
    let (long, none) = (database()?, database()?);
    let mut world = start(programs, &[], long.as_ref())?;
    let before = memory_mib(world.server.pid())?;
    submit(&world, tasks)?;
    let after = memory_mib(world.server.pid())?;
    let empty_secs = {
        let mut empty = start(programs, &[], none.as_ref())?;
        empty.restart()?
    };
    let secs = world.restart()?;
    let status = world.get("/v1/status")?;
    ensure!(status["tasks_open"] == tasks, "tasks were lost: {status}");
    let each = (after - before) * MIB / f64::from(tasks);
    let figure = |what: &str, value, unit| {
        Figure::new(format!("queue of {millions} M: {what}"), value, unit)
    };
    let restart = figure("killed until ready again", secs, "s");
    Ok(vec![
        figure("memory", each, "B/task").bar(Bar::AtMost(64.0)),
        restart.bar(Bar::AtMost(2.0)),
        figure("the same without a job", empty_secs, "s"),
    ])
}

/// Submits a job of trusted tasks that no sandbox will run; its number.
fn submit(world: &World, tasks: u32) -> Result<u64> {
    let program = crate::root()?.join("guest/modules/spin.wasm");
    let program = program.to_str().context("the repository's path is not text")?;
    let count = tasks.to_string();
    let limits = ["--fuel", "1M", "--verify", "trusted"];
    let job = world.isos(&[&["submit", program, "--count", &count][..], &limits].concat())?;
    job["id"].as_u64().with_context(|| format!("no number of the job in {job}"))
}
