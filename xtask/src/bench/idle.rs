//! What an agent without work costs its owner, and its server.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::figure::{Bar, Figure};
use super::process::{busy_secs, loopback_bytes, memory_mib, pause, thread_times};
use super::programs::Programs;
use super::world::World;

/// What a start leaves behind has gone by then.
const SETTLE: Duration = Duration::from_secs(5);

pub(super) fn run(programs: &Programs, seconds: u64, figures: &mut Vec<Figure>) -> Result<()> {
    let mut world = World::start(&programs.isos, &[])?;
    world.add_agents(1)?;
    pause(SETTLE);
    let (agent, server) = (world.agents[0].pid(), world.server.pid());
    let before = (thread_times(agent)?, thread_times(server)?, loopback_bytes()?);
    let start = Instant::now();
    pause(Duration::from_secs(seconds));
    let secs = start.elapsed().as_secs_f64();
    let after = (thread_times(agent)?, thread_times(server)?, loopback_bytes()?);
    let percent = |busy: f64| busy / secs * 100.0;
    let (agent_cpu, server_cpu) = (busy_secs(&before.0, &after.0), busy_secs(&before.1, &after.1));
    let bytes = (after.2 - before.2) / secs;
    figures.extend([
        Figure::new("agent: memory", memory_mib(agent)?, "MiB").bar(Bar::AtMost(30.0)),
        Figure::new("agent: CPU", percent(agent_cpu), "%").bar(Bar::AtMost(0.1)),
        Figure::new("agent: threads", after.0.len() as f64, ""),
        Figure::new("loopback of the whole machine", bytes, "B/s").bar(Bar::AtMost(1_500.0)),
        Figure::new("server: memory", memory_mib(server)?, "MiB"),
        Figure::new("server: CPU", percent(server_cpu), "%"),
    ]);
    Ok(())
}
