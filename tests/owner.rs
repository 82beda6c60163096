//! The owner comes first: work stops within a second, and goes on where it was.

use std::fs;
use std::time::{Duration, Instant};

use crate::world::{ALWAYS, HostPlan, World, hostile, isos, wait_until, write};

/// A process: the state letter of its first thread, and the CPU time of all in ticks.
#[derive(Clone, Copy)]
struct Process {
    pid: u32,
    state: char,
    ticks: u64,
}

/// The sandboxed children of an agent that run tasks.
fn sandboxes(agent: u32) -> Vec<Process> {
    children(agent, "run")
}

/// The sandboxed children of an agent with this duty.
fn children(agent: u32, duty: &str) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // The name in brackets may hold anything; what follows the last bracket is regular.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let number = |n: usize| words.get(n).and_then(|word| word.parse::<u64>().ok());
        if number(1) == Some(agent.into()) && line.split('\0').any(|word| word == duty) {
            let state = words[0].chars().next().unwrap_or('?');
            let ticks = number(11).unwrap_or(0) + number(12).unwrap_or(0);
            found.push(Process { pid, state, ticks });
        }
    }
    found
}

/// Whether a sandbox of the agent uses the CPU.
pub(crate) fn works(agent: u32) -> bool {
    let before = sandboxes(agent);
    crate::world::pause(Duration::from_millis(100));
    let after = sandboxes(agent);
    after.iter().any(|now| before.iter().any(|then| then.pid == now.pid && now.ticks > then.ticks))
}

/// Whether all sandboxes of the agent, and there are some, are frozen.
pub(crate) fn frozen(agent: u32) -> bool {
    let before = sandboxes(agent);
    crate::world::pause(Duration::from_millis(50));
    let after = sandboxes(agent);
    // Stopped by a signal it is `T`, frozen with its control group `S` or `D`. None takes time.
    let stands = |now: &Process| {
        let then = before.iter().find(|then| then.pid == now.pid);
        now.state != 'R' && then.is_some_and(|then| then.ticks == now.ticks)
    };
    !after.is_empty() && after.iter().all(stands)
}

fn busy_world(policy: &str) -> (World, u64) {
    busy_world_on(policy, false)
}

fn busy_world_on(policy: &str, no_cgroups: bool) -> (World, u64) {
    let mut world = World::start(&[]);
    let sensors = Some("idle = \"10m\"\n".to_owned());
    let policy = Some(policy.into());
    world.add_host(HostPlan { policy, sensors, no_cgroups, ..HostPlan::default() });
    world.wait_for_hosts(1);
    let program = hostile(world.folder(), "infinite_loop");
    let job = world.submit(&[&program, "--fuel", "1000G", "--timeout", "1h"]);
    let agent = world.hosts[0].child.id();
    world.wait("a running task", || works(agent));
    (world, job)
}

/// The owner returns and leaves again; says who held the work meanwhile.
fn owner_returns(no_cgroups: bool) -> Vec<String> {
    let policy = ALWAYS
        .replace("share_in_use = \"100%\"", "share_in_use = \"0%\"")
        .replace("after = \"0s\"", "after = \"1m\"");
    let (world, _) = busy_world_on(&policy, no_cgroups);
    let agent = world.hosts[0].child.id();
    let sensors = world.hosts[0].home.join("sensors.toml");
    fs::write(&sensors, "idle = \"0s\"\n").unwrap();
    let returned = Instant::now();
    assert!(wait_until(Duration::from_secs(10), || frozen(agent)), "the work is never frozen");
    let took = returned.elapsed();
    assert!(took < Duration::from_secs(1), "frozen after {took:?}");
    let stood = sandboxes(agent);
    fs::write(&sensors, "idle = \"10m\"\n").unwrap();
    world.wait("the work to go on", || works(agent));
    // The same process, with what it had done: nothing was begun again.
    let goes = sandboxes(agent);
    let same = |then: &Process| goes.iter().any(|it| it.pid == then.pid && it.ticks >= then.ticks);
    assert!(stood.iter().all(same), "it began anew");
    let home = world.hosts[0].home.clone();
    let output = isos().args(["status", "--json", "--home"]).arg(&home).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let keepers = status["data"]["agent"]["keepers"].as_array().cloned().unwrap_or_default();
    keepers.iter().map(|keeper| keeper["by"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn work_is_frozen_within_a_second_of_the_owners_return_and_goes_on_where_it_was() {
    owner_returns(false);
}

#[test]
fn without_control_groups_work_is_frozen_as_soon_and_that_is_said() {
    let keepers = owner_returns(true);
    assert!(keepers.iter().any(|by| by.contains("affinity")), "{keepers:?}");
    assert!(keepers.iter().all(|by| !by.contains("cgroup")), "{keepers:?}");
}

/// A program that takes long to compile and does nothing: very many functions without an end.
fn long_to_compile() -> Vec<u8> {
    const FUNCTIONS: u32 = 3_000;
    fn leb(mut n: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    }
    let section =
        |id: u8, content: &[u8]| [&[id][..], &leb(content.len() as u32), content].concat();
    // (param i64), and n = n * 7 again and again.
    let line = [0x20, 0, 0x42, 7, 0x7e, 0x21, 0];
    let body = [&[0][..], &line.repeat(800), &[0x0b]].concat();
    let function = [leb(body.len() as u32), body].concat();
    let count = leb(FUNCTIONS);
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7e, 0]),
        section(3, &[count.as_slice(), &vec![0; FUNCTIONS as usize]].concat()),
        section(10, &[count.as_slice(), &function.repeat(FUNCTIONS as usize)].concat()),
    ]
    .concat()
}

#[test]
fn compiling_stops_within_a_second_of_the_owners_return_and_begins_again_later() {
    let policy = ALWAYS
        .replace("share_in_use = \"100%\"", "share_in_use = \"0%\"")
        .replace("after = \"0s\"", "after = \"1m\"");
    let mut world = World::start(&[]);
    let sensors = Some("idle = \"10m\"\n".to_owned());
    world.add_host(HostPlan { policy: Some(policy), sensors, ..HostPlan::default() });
    world.wait_for_hosts(1);
    let agent = world.hosts[0].child.id();
    let sensors = world.hosts[0].home.join("sensors.toml");
    let compiles = || !children(agent, "compile").is_empty();
    let program = write(world.folder(), "long.wasm", &long_to_compile());
    let job = world.submit(&[&program]);
    world.wait("the compiler", compiles);
    fs::write(&sensors, "idle = \"0s\"\n").unwrap();
    let returned = Instant::now();
    assert!(wait_until(Duration::from_secs(10), || !compiles()), "it compiles on");
    let took = returned.elapsed();
    assert!(took < Duration::from_secs(1), "stopped after {took:?}");
    assert_eq!(world.job(job)["state"], "active", "it was stopped, and had not come to its end");
    fs::write(&sensors, "idle = \"10m\"\n").unwrap();
    world.wait("the compiler again", compiles);
}

#[test]
fn pause_and_resume_are_obeyed_at_once_and_remembered() {
    let (mut world, job) = busy_world(ALWAYS);
    let agent = world.hosts[0].child.id();
    let home = world.hosts[0].home.clone();
    let tell = |args: &[&str]| {
        let output = isos().args(args).arg("--home").arg(&home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    tell(&["pause", "2h"]);
    assert!(
        wait_until(Duration::from_secs(1), || frozen(agent)),
        "still running a second after `pause`"
    );
    assert!(tell(&["status"]).contains("standing still"));
    let host = world.json(&["explain", "host-1"]);
    assert_eq!(host["verdict"], "quiet", "{host}");
    // The word outlives the agent.
    world.between_runs(0, |_| ());
    let agent = world.hosts[0].child.id();
    world.wait("the agent", || {
        let output = isos().args(["status", "--home"]).arg(&home).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("standing still: you paused")
    });
    // Who is refused because an agent runs here changes nothing.
    let before = fs::read_to_string(home.join("policy.toml")).unwrap();
    let mut second = isos();
    let second = second.args(["join", "--policy", "server", "--home"]).arg(&home).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another isos runs"), "{said}");
    assert_eq!(fs::read_to_string(home.join("policy.toml")).unwrap(), before);
    tell(&["resume"]);
    world.wait("the work to go on", || works(agent));
    world.run(&["job", "cancel", &job.to_string()]);
    world.wait("the task to stop", || !works(agent));
}
