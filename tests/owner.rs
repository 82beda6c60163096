//! The owner comes first: work stops within a second, and goes on where it was.

use std::fs;
use std::time::{Duration, Instant};

use crate::world::{ALWAYS, HostPlan, World, hostile, isos, wait_until};

/// Processes whose parent is `parent`, with their state letters.
fn children(parent: u32) -> Vec<(u32, char)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in brackets may hold anything; what follows the last bracket is regular.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut words = rest.split_whitespace();
        let state = words.next().and_then(|word| word.chars().next()).unwrap_or('?');
        if words.next().and_then(|word| word.parse().ok()) == Some(parent) {
            found.push((pid, state));
        }
    }
    found
}

fn busy_world(policy: &str) -> (World, u64) {
    let mut world = World::start(&[]);
    world.add_host(HostPlan { policy: Some(policy.into()), ..HostPlan::default() });
    world.wait_for_hosts(1);
    let program = hostile(world.folder(), "infinite_loop");
    let job = world.submit(&[&program, "--fuel", "1000G", "--timeout", "1h"]);
    let agent = world.hosts[0].child.id();
    world.wait("a running task", || children(agent).iter().any(|(_, state)| *state == 'R'));
    (world, job)
}

#[test]
fn work_is_frozen_within_a_second_of_the_owners_return_and_goes_on_later() {
    let policy = ALWAYS
        .replace("share_in_use = \"100%\"", "share_in_use = \"0%\"")
        .replace("after = \"0s\"", "after = \"1m\"");
    let (world, _) = busy_world(&policy);
    let agent = world.hosts[0].child.id();
    let sensors = world.hosts[0].home.join("sensors.toml");
    let frozen = || {
        let all = children(agent);
        !all.is_empty() && all.iter().all(|(_, state)| *state == 'T')
    };
    fs::write(&sensors, "idle = \"0s\"\n").unwrap();
    let returned = Instant::now();
    assert!(wait_until(Duration::from_secs(10), frozen), "the work is never frozen");
    let took = returned.elapsed();
    assert!(took < Duration::from_secs(1), "frozen after {took:?}");
    fs::write(&sensors, "idle = \"10m\"\n").unwrap();
    world.wait("the work to go on", || children(agent).iter().any(|(_, state)| *state == 'R'));
}

#[test]
fn pause_and_resume_are_obeyed_at_once() {
    let (world, job) = busy_world(ALWAYS);
    let agent = world.hosts[0].child.id();
    let home = world.hosts[0].home.clone();
    let tell = |args: &[&str]| {
        let output = isos().args(args).arg("--home").arg(&home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    tell(&["pause", "2h"]);
    let frozen = || children(agent).iter().all(|(_, state)| *state == 'T');
    assert!(wait_until(Duration::from_secs(1), frozen), "still running a second after `pause`");
    assert!(tell(&["status"]).contains("standing still"));
    let host = world.json(&["explain", "host-1"]);
    assert_eq!(host["verdict"], "quiet", "{host}");
    tell(&["resume"]);
    world.wait("the work to go on", || children(agent).iter().any(|(_, state)| *state == 'R'));
    world.run(&["job", "cancel", &job.to_string()]);
    world.wait("the task to stop", || {
        children(agent).iter().all(|(_, state)| !['R', 'T'].contains(state))
    });
}
