//! What many idle hosts cost a server: those that poll, and those whose connection is held.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figure::{Bar, Figure};
use super::process::{Cpu, Process, memory_mib, pause};
use super::programs::Programs;
use super::talk;
use super::world::World;

/// All hosts are welcomed within this time: the example itself gives up before.
const JOIN_PATIENCE: Duration = Duration::from_secs(330);
/// How long each host sleeps that is measured asleep, in seconds.
const ASLEEP_FOR: f64 = 125.0;
/// From the end of the crowd to the look at the memory: the transport forgets a host one minute
/// after its last word. First sleeps are spread, so with the crowd there somebody always polls.
const ASLEEP_PAUSE: Duration = Duration::from_secs(70);
/// Beyond the time that it was asked to look for.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// All hosts come from one address and for one account, and may.
const ONE_ADDRESS: [&str; 5] = [
    "--address-handshakes=0",
    "--address-hosts=0",
    "--account-hosts=0",
    "--account-sessions=0",
    "--account-frames=0",
];

pub(super) fn run(
    programs: &Programs,
    hosts: u32,
    seconds: u64,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let idle_hosts = programs.example("idle_hosts")?;
    let crowd = Crowd { isos: &programs.isos, idle_hosts, hosts, seconds, pause: Duration::ZERO };
    let polling = crowd.measure(&["--held-hosts", "0"])?;
    let each_kib = |of: &Measured| (of.memory_after - of.memory_before) * 1024.0 / f64::from(hosts);
    // What a visit leaves behind in the transport is gone.
    let polls = (f64::from(hosts) / ASLEEP_FOR).max(1.0).floor().to_string();
    let asleep = Crowd { seconds: 1, pause: ASLEEP_PAUSE, ..crowd };
    let asleep = asleep.measure(&["--held-hosts", "0", "--polls-per-second", &polls])?;
    let polls = polling.polls.max(1.0);
    let poll_ms = polling.cpu * 1e3 / polls;
    figures.extend([
        Figure::new("server without hosts: memory", polling.memory_before, "MiB"),
        Figure::new(format!("{hosts} polling: memory"), polling.memory_after, "MiB"),
        Figure::new("asleep: memory of a host", each_kib(&asleep), "KiB").bar(Bar::AtMost(1.0)),
        Figure::new("polling: memory of a host", each_kib(&polling), "KiB"),
        Figure::new("polling: CPU of a poll", poll_ms, "ms").bar(Bar::AtMost(1.5)),
        Figure::new("polling: polls", polling.polls / polling.secs, "/s"),
        Figure::new("polling: told to sleep for", polling.sleep_secs, "s"),
        Figure::new("polling: poll, median", polling.median_ms, "ms"),
        Figure::new("polling: poll, 99 %", polling.p99_ms, "ms"),
        Figure::new("polling: failures", polling.failures, ""),
        Figure::new("joining: CPU of a host's first poll", polling.join_cpu_ms, "ms"),
        Figure::new("joining: hosts", f64::from(hosts) / polling.join_secs, "/s"),
    ]);
    let held = crowd.measure(&["--held-hosts", &hosts.to_string()])?;
    figures.extend([
        Figure::new(format!("{} held: memory", held.held), held.memory_after, "MiB"),
        Figure::new("held: memory of a host", each_kib(&held), "KiB"),
        Figure::new("held: CPU of all", held.cpu / held.secs * 100.0, "%"),
        Figure::new("held: failures", held.failures, ""),
    ]);
    Ok(())
}

#[derive(Clone, Copy)]
struct Crowd<'a> {
    isos: &'a Path,
    idle_hosts: &'a Path,
    hosts: u32,
    seconds: u64,
    /// From the end of the crowd to the look at the server's memory, if any.
    pause: Duration,
}

/// What a server and its crowd did.
struct Measured {
    /// MiB of the server.
    memory_before: f64,
    memory_after: f64,
    join_secs: f64,
    join_cpu_ms: f64,
    /// Of the server, while the crowd was idle.
    cpu: f64,
    secs: f64,
    polls: f64,
    failures: f64,
    held: f64,
    sleep_secs: f64,
    median_ms: f64,
    p99_ms: f64,
}

impl Crowd<'_> {
    /// A server with these flags, and the crowd.
    fn measure(&self, flags: &[&str]) -> Result<Measured> {
        let world = World::start(self.isos, &[&ONE_ADDRESS, flags].concat())?;
        let engine = world.engine()?;
        let server = world.server.pid();
        let (memory_before, cpu_start) = (memory_mib(server)?, Cpu::of(server)?);
        let mut command = Command::new(self.idle_hosts);
        let (hosts, seconds) = (self.hosts.to_string(), self.seconds.to_string());
        command.args([&world.ticket, &hosts, &seconds, &engine]);
        let crowd = Process::start("idle_hosts", &mut command)?;
        let welcomed: Value = serde_json::from_str(&crowd.line(JOIN_PATIENCE)?)?;
        let cpu_before = Cpu::of(server)?;
        let line = crowd.line(Duration::from_secs(self.seconds) + END_PATIENCE)?;
        let (cpu, mut memory_after) = (Cpu::of(server)?.since(cpu_before), memory_mib(server)?);
        crowd.finish(END_PATIENCE)?;
        if !self.pause.is_zero() {
            pause(self.pause);
            memory_after = memory_mib(server)?;
        }
        let idle: Value = serde_json::from_str(&line)?;
        for why in idle["whys"].as_array().into_iter().flatten() {
            talk(&format!("  a host failed: {why}"));
        }
        let number = |of: &Value, name: &str| {
            of[name].as_f64().with_context(|| format!("idle_hosts did not say {name}: {of}"))
        };
        Ok(Measured {
            memory_before,
            memory_after,
            join_secs: number(&welcomed, "secs")?,
            join_cpu_ms: cpu_before.since(cpu_start).total() * 1e3 / f64::from(self.hosts),
            cpu: cpu.total(),
            secs: number(&idle, "secs")?,
            polls: number(&idle, "polls")?,
            failures: number(&idle, "failures")?,
            held: number(&idle, "held")?,
            sleep_secs: number(&idle, "asked_sleep_secs")?,
            median_ms: number(&idle, "poll_ms_median")?,
            p99_ms: number(&idle, "poll_ms_p99")?,
        })
    }
}
