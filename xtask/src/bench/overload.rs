//! More than a server can do: requests at twice the rate that it can answer, and a crowd of hosts
//! that all come back at once after a crash.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::figure::{Bar, Figure};
use super::process::{Cores, Cpu, Process, memory_mib, memory_peak_mib, on_cores};
use super::programs::Programs;
use super::talk;
use super::world::World;

/// Connections that find the most that a server can answer.
const PEAK_CONNECTIONS: u32 = 64;
/// Clients that offer too much: about twice as many as a server lets in.
const OVERLOAD_CONNECTIONS: u32 = 2_000;
/// How much is offered, in peaks.
const OVERLOAD: f64 = 2.0;
/// One address and one account ask for everything here, and may.
const NO_LIMITS: [&str; 10] = [
    "--address-requests=0",
    "--address-tokens=0",
    "--address-connections=0",
    "--address-handshakes=0",
    "--address-hosts=0",
    "--account-requests=0",
    "--account-open=0",
    "--account-hosts=0",
    "--account-sessions=0",
    "--account-frames=0",
];
/// The loads that find the peak last so long, in seconds.
const PEAK_SECONDS: u64 = 5;
/// Beyond the time that clients were asked to ask.
const END_PATIENCE: Duration = Duration::from_secs(30);
/// Hosts of one process: each has an endpoint, and that some file descriptors.
const CROWD_HOSTS_MAX: u32 = 2_500;
/// All hosts join within this time, and are back within it.
const HOSTS_PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run(
    programs: &Programs,
    hosts: u32,
    seconds: u64,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    for (what, known) in [("whoami", 0), ("plan", 0), ("plan", hosts)] {
        figures.extend(requests(programs, what, known, seconds)?);
    }
    figures.extend(returning(programs, hosts)?);
    Ok(())
}

/// What one load of requests gave.
struct Asked(Value);

impl Asked {
    fn number(&self, name: &str) -> Result<f64> {
        self.0[name].as_f64().with_context(|| format!("{name} of {}", self.0))
    }

    /// Good answers per second.
    fn rate(&self) -> Result<f64> {
        Ok(self.number("good")? / self.number("secs")?)
    }
}

fn ask(
    programs: &Programs,
    world: &World,
    (what, connections): (&str, u32),
    seconds: u64,
    rate: f64,
) -> Result<Asked> {
    let mut command = Command::new(programs.example("eager_clients")?);
    let (connections, secs, rate) =
        (connections.to_string(), seconds.to_string(), rate.to_string());
    command.args([&world.address, &world.token, what, &connections, &secs, &rate]);
    let clients = on_cores(Cores::Others, || Process::start("eager_clients", &mut command))?;
    let line = clients.line(Duration::from_secs(seconds) + END_PATIENCE)?;
    let asked = Asked(serde_json::from_str(&line)?);
    for why in asked.0["whys"].as_array().into_iter().flatten() {
        talk(&format!("  a request failed: {why}"));
    }
    Ok(asked)
}

/// Hosts that join, are sent to sleep, and stay away.
fn make_known(programs: &Programs, world: &World, hosts: u32) -> Result<()> {
    let mut command = Command::new(programs.example("idle_hosts")?);
    command.args([&world.ticket, &hosts.to_string(), "1", &world.engine()?]);
    let crowd = on_cores(Cores::Others, || Process::start("idle_hosts", &mut command))?;
    crowd.line(HOSTS_PATIENCE + END_PATIENCE)?;
    crowd.finish(END_PATIENCE)?;
    let known = world.get("/v1/hosts?limit=1")?;
    ensure!(known.as_array().is_some_and(|known| !known.is_empty()), "no host is known: {known}");
    Ok(())
}

/// One kind of request at a server that knows so many hosts.
fn requests(programs: &Programs, what: &str, known: u32, seconds: u64) -> Result<Vec<Figure>> {
    let name = if known > 0 { format!("{what} with {known} known hosts") } else { what.into() };
    talk(&format!("  requests: {name}"));
    // Clients that took the server's cores would slow it down as no clients elsewhere do.
    let flags = [&NO_LIMITS[..], &["--held-hosts=0"]].concat();
    let world = on_cores(Cores::First, || World::start(&programs.isos, &flags))?;
    if known > 0 {
        make_known(programs, &world, known)?;
    }
    let server = world.server.pid();
    // The first load warms up what the second finds warm.
    let (mut peak, mut peak_cores) = (0.0_f64, 0.0);
    for _ in 0..2 {
        let cpu = Cpu::of(server)?;
        let asked = ask(programs, &world, (what, PEAK_CONNECTIONS), PEAK_SECONDS, 0.0)?;
        if asked.rate()? > peak {
            peak = asked.rate()?;
            peak_cores = Cpu::of(server)?.since(cpu).total() / asked.number("secs")?;
        }
    }
    let before = memory_mib(server)?;
    let clients = (what, OVERLOAD_CONNECTIONS);
    let asked = ask(programs, &world, clients, seconds, peak * OVERLOAD)?;
    let after = memory_mib(server)?;
    let offered = peak * OVERLOAD * seconds as f64;
    let share = |count: f64| count / offered * 100.0;
    let others = asked.number("late")? + asked.number("rude")? + asked.number("failed")?;
    let (goodput, unsent) = (asked.rate()?, asked.number("unsent")?);
    let arrived = (offered - unsent) / offered * OVERLOAD;
    let figure = |of: &str, value, unit| Figure::new(format!("{name}: {of}"), value, unit);
    Ok(vec![
        figure("peak", peak, "/s"),
        figure("cores of the server at the peak", peak_cores, "cores"),
        figure("goodput at twice that", goodput, "/s"),
        figure("goodput by the peak", goodput / peak, "").bar(Bar::AtLeast(0.8)),
        figure("refused politely", share(asked.number("polite")?), "%"),
        figure("late, refused rudely, or lost", share(others), "%").bar(Bar::AtMost(1.0)),
        figure("not sent for want of a free connection", share(unsent), "%"),
        figure("arrived, in peaks", arrived, ""),
        figure("good answers, median", asked.number("good_ms_median")?, "ms"),
        figure("good answers, 99 %", asked.number("good_ms_p99")?, "ms").bar(Bar::AtMost(500.0)),
        figure("memory before", before, "MiB"),
        figure("memory after", after, "MiB"),
    ])
}

/// Hosts that have joined, a server that is killed, another at its place, and all come at once.
fn returning(programs: &Programs, hosts: u32) -> Result<Vec<Figure>> {
    talk(&format!("  {hosts} hosts that come back at once"));
    let listen = format!("127.0.0.1:{}", free_port()?);
    // Each host has an address of its own, but all have one account.
    let flags = ["--account-hosts=0", "--account-sessions=0", "--account-frames=0"];
    let mut world = World::start_at(&programs.isos, &flags, &listen)?;
    let engine = world.engine()?;
    let mut crowds = Vec::new();
    for first in (0..hosts).step_by(CROWD_HOSTS_MAX as usize) {
        let count = (hosts - first).min(CROWD_HOSTS_MAX);
        let mut command = Command::new(programs.example("returning_hosts")?);
        command.args([&world.ticket, &first.to_string(), &count.to_string(), &engine]);
        let crowd = Process::start_listening("returning_hosts", &mut command)?;
        crowd.line(HOSTS_PATIENCE)?;
        crowds.push(crowd);
    }
    world.restart()?;
    let server = world.server.pid();
    let (cpu, before, begun) = (Cpu::of(server)?, memory_mib(server)?, Instant::now());
    for crowd in &mut crowds {
        crowd.tell()?;
    }
    let mut said = Vec::new();
    for crowd in &crowds {
        let left = HOSTS_PATIENCE.saturating_sub(begun.elapsed());
        said.push(serde_json::from_str::<Value>(&crowd.line(left)?)?);
    }
    let used = Cpu::of(server)?.since(cpu).total();
    let (after, peak) = (memory_mib(server)?, memory_peak_mib(server)?);
    for why in said.iter().filter_map(|said| said["whys"].as_array()).flatten() {
        talk(&format!("  a host failed: {why}"));
    }
    let each = |name: &str| {
        let of = |said: &Value| said[name].as_f64().with_context(|| format!("{name} of {said}"));
        said.iter().map(of).collect::<Result<Vec<_>>>()
    };
    let sum = |name: &str| Ok::<_, anyhow::Error>(each(name)?.iter().sum::<f64>());
    let most = |name: &str| Ok::<_, anyhow::Error>(each(name)?.into_iter().fold(0.0, f64::max));
    let (back, count) = (sum("back")?, f64::from(hosts));
    let figure =
        |name: &str, value, unit| Figure::new(format!("{hosts} at once: {name}"), value, unit);
    Ok(vec![
        figure("are back", back, "").bar(Bar::AtLeast(count)),
        figure("until the last is back", most("secs")?, "s").bar(Bar::AtMost(60.0)),
        figure("until half of them are", most("median_secs")?, "s"),
        figure("CPU of the server for a host", used * 1e3 / count, "ms"),
        figure("told when to come back", sum("told_when")?, ""),
        figure("turned away at the door", sum("turned_away")?, ""),
        figure("dials without an answer", sum("unanswered")?, ""),
        figure("failures", sum("failures")?, "").bar(Bar::AtMost(0.0)),
        figure("memory before", before, "MiB"),
        figure("memory, most", peak, "MiB"),
        figure("memory when all are back", after, "MiB"),
    ])
}

/// A UDP port that nobody has, for a server whose successor must have it too.
fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("no free UDP port")?;
    Ok(socket.local_addr()?.port())
}
