//! Short tasks through everything: a server, two agents, sandboxes, verification, payment.

use anyhow::{Context, Result, ensure};

use super::comparison::Run;
use super::figure::{Bar, Figure};
use super::process::{Cpu, Machine};
use super::programs::Programs;
use super::world::World;

const AGENTS: usize = 2;
/// Of tasks that run once, on two cores.
const TASKS_PER_SEC: f64 = 5_000.0;
/// Enough to compile the program and to learn how fast the hosts are.
const WARM_UP_TASKS: u32 = 200;

pub(super) fn run(programs: &Programs, tasks: u32, figures: &mut Vec<Figure>) -> Result<()> {
    let world = warm_world(programs)?;
    let once = measured(&world, "trusted", tasks)?;
    figures.extend(once.figures("quorum 1", Some(Bar::AtLeast(TASKS_PER_SEC))));
    let twice = measured(&world, "quorum=2/2", tasks)?;
    figures.extend(twice.figures("quorum 2", None));
    let kept =
        world.end()? as f64 / f64::from(WARM_UP_TASKS.saturating_add(tasks.saturating_mul(2)));
    figures.push(Figure::new("all: database when the server has ended", kept, "B/task"));
    Ok(())
}

/// One job that is verified by nobody.
pub(super) fn once(programs: &Programs, tasks: u32) -> Result<Run> {
    let Measured { run, .. } = measured(&warm_world(programs)?, "trusted", tasks)?;
    Ok(run)
}

/// A world that has the program compiled, and knows how fast its hosts are.
fn warm_world(programs: &Programs) -> Result<World> {
    let mut world = World::start(&programs.isos, &[])?;
    world.add_agents(AGENTS)?;
    job(&world, "trusted", WARM_UP_TASKS)?;
    Ok(world)
}

/// One job and what it cost.
struct Measured {
    run: Run,
    agents: Cpu,
    transfers: f64,
    database: f64,
    frames: f64,
    returned: f64,
}

impl Measured {
    fn figures(&self, quorum: &str, bar: Option<Bar>) -> Vec<Figure> {
        let Run { tasks, secs, server_secs, all_secs, others_cores } = self.run;
        let each_us = |secs: f64| secs * 1e6 / tasks;
        let figure =
            |what: &str, value, unit| Figure::new(format!("{quorum}: {what}"), value, unit);
        vec![
            Figure { bar, ..figure("tasks", tasks / secs, "/s") },
            figure("CPU of the server", each_us(server_secs), "us/task"),
            figure("CPU of the agents", each_us(self.agents.own), "us/task"),
            figure("CPU of the sandboxes", each_us(self.agents.children), "us/task"),
            figure("cores busy with it", all_secs / secs, "cores"),
            figure("busy with anything else", others_cores, "cores"),
            figure("transfers", self.transfers / tasks, "/task"),
            figure("database and its log", self.database / tasks, "B/task"),
            figure("frames from hosts", self.frames / tasks, "/task"),
            figure("given back untried", self.returned / tasks, "/task"),
        ]
    }
}

fn measured(world: &World, verify: &str, tasks: u32) -> Result<Measured> {
    let read = |name: &str| world.metric(name);
    let agents = || -> Result<Cpu> {
        let each = world.agents.iter().map(|agent| Cpu::of(agent.pid()));
        each.sum::<Result<_>>()
    };
    let server_before = Cpu::of(world.server.pid())?;
    let agents_before = agents()?;
    let transfers = read("isos_transfers_total")?;
    let (database, frames) = (read("isos_database_bytes")?, read("isos_host_frames_total")?);
    let returned = read("isos_tasks_returned_total")?;
    let machine = Machine::now()?;
    let secs = job(world, verify, tasks)?;
    let server_secs = Cpu::of(world.server.pid())?.since(server_before).total();
    let agents = agents()?.since(agents_before);
    let all_secs = server_secs + agents.total();
    let others_cores = machine.others_cores(all_secs)?;
    Ok(Measured {
        run: Run { tasks: tasks.into(), secs, server_secs, all_secs, others_cores },
        agents,
        transfers: read("isos_transfers_total")? - transfers,
        database: read("isos_database_bytes")? - database,
        frames: read("isos_host_frames_total")? - frames,
        returned: read("isos_tasks_returned_total")? - returned,
    })
}

/// Runs a job to its end; seconds from its arrival at the server to its end there.
fn job(world: &World, verify: &str, tasks: u32) -> Result<f64> {
    let program = crate::root()?.join("guest/modules/spin.wasm");
    let program = program.to_str().context("the repository's path is not text")?;
    let count = tasks.to_string();
    // What is held for a job goes by the most that its tasks may use.
    let arguments = ["--fuel", "1G", "--count", &count, "--verify", verify, "--wait"];
    let job = world.isos(&[&["submit", program], &arguments[..]].concat())?;
    let id = &job["id"];
    let id = id.as_u64().with_context(|| format!("no number of the job in {job}"))?;
    let job = world.get(&format!("/v1/jobs/{id}"))?;
    ensure!(job["tasks"]["done"] == tasks, "not all tasks were done: {}", job["tasks"]);
    let time = |name: &str| job[name].as_u64().with_context(|| format!("{name} of {job}"));
    Ok(time("ended")?.saturating_sub(time("submitted")?) as f64 / 1e6)
}

impl std::iter::Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), std::ops::Add::add)
    }
}
