//! Tasks through the server alone: frames, scheduling, a database that has synced before every
//! reply, pay. The hosts are made up, but their connections are real. And what a long queue costs.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::figure::{Bar, Figure};
use super::process::{Cpu, Process, loopback_bytes, memory_mib};
use super::programs::Programs;
use super::talk;
use super::world::World;

/// All hosts are welcomed within this time, and all tasks are done.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: f64 = 1_048_576.0;

/// Hosts that let so many tasks run at a time.
struct Load {
    hosts: u32,
    batch: u32,
    tasks: u32,
    /// Tasks per second, by the design.
    bar: Option<f64>,
}

const LOADS: [Load; 3] = [
    Load { hosts: 192, batch: 1, tasks: 100_000, bar: Some(20_000.0) },
    Load { hosts: 16, batch: 16, tasks: 400_000, bar: Some(100_000.0) },
    Load { hosts: 16, batch: 256, tasks: 1_000_000, bar: None },
];

pub(super) fn run(programs: &Programs, percent: u32, figures: &mut Vec<Figure>) -> Result<()> {
    for load in LOADS {
        let tasks = (load.tasks / 100).saturating_mul(percent).max(1_000);
        figures.extend(dispatch(programs, &Load { tasks, ..load })?);
    }
    for tasks in [1_000_000, 10_000_000] {
        figures.extend(queue(programs, tasks)?);
    }
    Ok(())
}

fn dispatch(programs: &Programs, load: &Load) -> Result<Vec<Figure>> {
    let Load { hosts, batch, tasks, bar } = *load;
    talk(&format!("  {hosts} hosts, {batch} tasks at a time"));
    let world = World::start(&programs.isos, &["--held-hosts", "1000"])?;
    let engine = world.engine()?;
    let mut command = Command::new(programs.example("busy_hosts")?);
    let [hosts, batch_text, tasks_text] = [hosts, batch, tasks].map(|n| n.to_string());
    command.args([&world.ticket, &hosts, &batch_text, &tasks_text, &engine]);
    let crowd = Process::start("busy_hosts", &mut command)?;
    crowd.line(PATIENCE)?;
    let server = world.server.pid();
    let (disk, wire) = (world.metric("isos_database_bytes")?, loopback_bytes()?);
    let (cpu, crowd_cpu) = (Cpu::of(server)?, Cpu::of(crowd.pid())?);
    let job = submit(&world, tasks)?;
    let said: Value = serde_json::from_str(&crowd.line(PATIENCE)?)?;
    let crowd_used = Cpu::of(crowd.pid()).map_or(0.0, |now| now.since(crowd_cpu).total());
    let used = Cpu::of(server)?.since(cpu).total();
    let (disk, wire) = (world.metric("isos_database_bytes")? - disk, loopback_bytes()? - wire);
    let view = world.get(&format!("/v1/jobs/{job}"))?;
    ensure!(view["tasks"]["done"] == tasks, "not all tasks were done: {}", view["tasks"]);
    let time = |name: &str| view[name].as_u64().with_context(|| format!("{name} of {view}"));
    let secs = time("ended")?.saturating_sub(time("submitted")?) as f64 / 1e6;
    let number = |name: &str| said[name].as_f64().with_context(|| format!("{name} of {said}"));
    let tasks = f64::from(tasks);
    let figure = |what: &str, value, unit| Figure::new(format!("by {batch}: {what}"), value, unit);
    let p99 = figure("report until it is durable, 99 %", number("ack_ms_p99")?, "ms");
    Ok(vec![
        Figure { bar: bar.map(Bar::AtLeast), ..figure("tasks", tasks / secs, "/s") },
        figure("report until it is durable, median", number("ack_ms_median")?, "ms"),
        p99.bar(Bar::AtMost(20.0)),
        figure("CPU of the server", used * 1e6 / tasks, "us/task"),
        figure("CPU of the hosts", crowd_used * 1e6 / tasks, "us/task"),
        figure("on the wire", wire / tasks, "B/task"),
        figure("on the disk, log included", disk / tasks, "B/task"),
    ])
}

/// A job whose tasks all wait: what they cost in memory, and in time when the server is killed.
fn queue(programs: &Programs, tasks: u32) -> Result<Vec<Figure>> {
    let millions = tasks / 1_000_000;
    talk(&format!("  a queue of {millions} million tasks"));
    let mut world = World::start(&programs.isos, &[])?;
    let before = memory_mib(world.server.pid())?;
    submit(&world, tasks)?;
    let after = memory_mib(world.server.pid())?;
    let empty_secs = {
        let mut empty = World::start(&programs.isos, &[])?;
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
