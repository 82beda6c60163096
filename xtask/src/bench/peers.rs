//! The same kind of work by other people's programs, in the same run: HyperQueue and Dask beside
//! the server alone and beside short tasks through everything.
//!
//! Ray is not among them: no server of its own is on the way of a task, whose CPU could be held
//! against ours (the program that has tasks hands them to workers that it has leased), and its
//! package alone is 79 MB.

mod peer;
mod python;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::comparison::{Comparison, Part, Row, Run, Whose};
use super::dispatch::{Load, dispatch, scaled};
use super::process::{Cpu, Machine, Process, busy_secs, thread_times};
use super::programs::Programs;
use super::world::Folder;
use super::{real, talk};
use peer::Peer;

/// A part of a peer has this long to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// So many tasks are enough for anybody: the peers keep all of a job in memory.
const TASKS_MAX: u32 = 100_000;
/// Tasks of ours in sandboxes: some seconds of them, as of the peers'.
const SANDBOXED: u32 = 200_000;
/// Runs a program where the network has nothing but a loopback.
const UNSHARE: [&str; 4] = ["--user", "--map-root-user", "--net", "--uts"];

const RUN_HYPERQUEUE: &str = include_str!("peers/run_hyperqueue.py");
const RUN_DASK: &str = include_str!("peers/run_dask.py");

/// What all figures of ours mean.
const OURS: &str = "isos: every result is on the disk (fsync) before its report is acknowledged, \
    and is paid for; nobody verifies it. The hosts of the first part are made up, at the end of \
    real connections. A task of the second is a new instance of a WebAssembly program, in one \
    sandboxed process a job of each of two agents, one core each.";

/// Measures ours, then the peers that can be had here; what was found stays if a later one fails.
pub(super) fn run(
    programs: &Programs,
    tasks: u32,
    percent: u32,
    found: &mut Comparison,
) -> Result<()> {
    let tasks = tasks.min(TASKS_MAX);
    for title in ["the server alone", "work for every task"] {
        found.parts.push(Part { title, rows: Vec::new() });
    }
    let ours = |what: String, run| Row { what, run, by: Whose::Ours, server_only: false };
    for load in [Load::BY_1, Load::BY_16] {
        let run = dispatch(programs, load.scaled(percent), None)?.run;
        let what = format!("isos, {} hosts, by {}", load.hosts, load.batch);
        found.parts[0].rows.push(ours(what, run));
    }
    talk("  two agents and their sandboxes");
    let sandboxed = scaled(SANDBOXED, percent);
    found.parts[1].rows.push(ours("isos, in a sandbox".into(), real::once(programs, sandboxed)?));
    found.notes.push(OURS.into());
    let python = match python::with_peers() {
        Ok(python) => python,
        Err(error) => {
            let what = python::WHAT_TO_INSTALL;
            found.notes.push(format!("No peers: {error:#}. To have them, {what}."));
            return Ok(());
        }
    };
    let peer = |what: String, run| Row { what, run, by: Whose::Peer, server_only: false };
    talk("  Dask");
    let run = dask(&python, tasks)?;
    for part in &mut found.parts {
        part.rows.push(peer("Dask, a function".into(), run));
    }
    let version = python::version("distributed")?;
    found.notes.push(format!(
        "Dask (distributed {version}): a function that does nothing, in one worker process with \
         two threads. Nothing is kept on a disk, nothing sandboxed, verified or paid."
    ));
    if let Err(why) = unshare() {
        found.notes.push(format!(
            "No HyperQueue: its server listens on all addresses, so it runs only in a network of \
             its own, and unshare cannot make one: {why:#}. To have it, install util-linux, and \
             allow user namespaces."
        ));
        return Ok(());
    }
    talk("  HyperQueue");
    let run = hyperqueue(&python, tasks)?;
    let alone = peer("HyperQueue, its server's thread".into(), run);
    found.parts[0].rows.push(Row { server_only: true, ..alone });
    found.parts[1].rows.push(peer("HyperQueue, a process".into(), run));
    let version = python::version("hyperqueue")?;
    found.notes.push(format!(
        "HyperQueue {version}: a process of `true` for every task, two at a time, its output \
         thrown away. Nothing is kept on a disk (what PyPI has is without the journal), nothing \
         sandboxed, verified or paid. Its server alone cannot be had: what compares is its CPU."
    ));
    Ok(())
}

/// One scheduler, one worker with two threads, one client; each a process.
fn dask(python: &Path, tasks: u32) -> Result<Run> {
    let folder = Folder::new()?;
    fs::write(folder.path.join("run_dask.py"), RUN_DASK)?;
    let start = |part: &str, arguments: &[&str]| {
        let mut command = Command::new(python);
        command.arg(folder.path.join("run_dask.py")).args(arguments);
        Peer::start(&format!("Dask's {part}"), &mut command, &folder)
    };
    let scheduler = start("scheduler", &["scheduler"])?;
    let address = scheduler.said("address", START_TIMEOUT)?;
    let address = address["address"].as_str().context("an address is text")?;
    let worker = start("worker", &["worker", address, "worker"])?;
    worker.said("address", START_TIMEOUT)?;
    let mut client = start("client", &["client", address, &tasks.to_string()])?;
    client.said("ready", START_TIMEOUT)?;
    let all = [scheduler.pid(), worker.pid(), client.pid()];
    let cpu = || all.iter().map(|pid| Cpu::of(*pid)).collect::<Result<Vec<_>>>();
    let (machine, before) = (Machine::now()?, cpu()?);
    let secs = client.run(tasks)?;
    let used: Vec<f64> =
        cpu()?.iter().zip(before).map(|(now, before)| now.since(before).total()).collect();
    let all_secs = used.iter().sum();
    let others_cores = machine.others_cores(all_secs)?;
    Ok(Run { tasks: tasks.into(), secs, server_secs: used[0], all_secs, others_cores })
}

/// Server and worker are threads of one process, which starts the others.
fn hyperqueue(python: &Path, tasks: u32) -> Result<Run> {
    let folder = Folder::new()?;
    let (script, home) = (folder.path.join("run_hyperqueue.py"), folder.path.join("tasks"));
    fs::write(&script, RUN_HYPERQUEUE)?;
    fs::create_dir(&home)?;
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg(python).arg(&script).arg(&home).arg(tasks.to_string());
    let mut peer = Peer::start("HyperQueue", &mut command, &folder)?;
    let ready = peer.said("server_threads", START_TIMEOUT)?;
    let server: Vec<u32> = serde_json::from_value(ready["server_threads"].clone())
        .with_context(|| format!("the threads of the server in {ready}"))?;
    ensure!(!server.is_empty(), "HyperQueue's server has no thread");
    let pid = peer.pid();
    let times = || -> Result<BTreeMap<u32, u64>> {
        let mut times = thread_times(pid)?;
        times.retain(|thread, _| server.contains(thread));
        Ok(times)
    };
    let (machine, before, cpu) = (Machine::now()?, times()?, Cpu::of(pid)?);
    let secs = peer.run(tasks)?;
    let all_secs = Cpu::of(pid)?.since(cpu).total();
    let others_cores = machine.others_cores(all_secs)?;
    let server_secs = busy_secs(&before, &times()?);
    Ok(Run { tasks: tasks.into(), secs, server_secs, all_secs, others_cores })
}

/// Whether [`UNSHARE`] is possible here.
fn unshare() -> Result<()> {
    let mut command = Command::new("unshare");
    Process::start("unshare", command.args(UNSHARE).arg("true"))?.finish(START_TIMEOUT)?;
    Ok(())
}
