//! What hosts know of each other while the server is dead.

use std::time::Duration;

use serde_json::Value;

use crate::world::{HostPlan, World, isos, wait_until};

/// Of hosts: enough for counts that agree, few enough for two cores.
const HOSTS: usize = 8;

/// What an agent says of all hosts.
fn cloud(world: &World, host: usize) -> Value {
    let home = &world.hosts[host].home;
    let output = isos().args(["cloud", "--json", "--home"]).arg(home).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    said["data"].clone()
}

fn counted(said: &Value) -> f64 {
    said["cloud"]["estimate"]["hosts"].as_f64().unwrap_or(0.0)
}

fn is_about(value: f64, wanted: usize) -> bool {
    (value - wanted as f64).abs() < 0.5
}

#[test]
fn hosts_count_themselves_while_the_server_is_dead() {
    let mut world = World::start(&[]);
    for _ in 0..HOSTS {
        world.add_host(HostPlan { gossip_cycle: Some("500ms"), ..HostPlan::default() });
    }
    world.wait_for_hosts(HOSTS);
    let all = |world: &World, wanted| {
        (0..world.hosts.len()).all(|host| is_about(counted(&cloud(world, host)), wanted))
    };
    world.wait("all hosts to count all", || all(&world, HOSTS));
    let said = cloud(&world, 0);
    let cores = &said["cloud"]["estimate"]["attributes"][0];
    assert_eq!(cores["name"], "cores");
    let sum = cores["sum"].as_f64().unwrap();
    let each = cores["most"].as_f64().unwrap();
    assert!((sum - each * HOSTS as f64).abs() < 0.5 * each, "{cores}");

    // The server dies; a host dies with it. The others find out how many are left.
    world.server.kill().unwrap();
    world.server.wait().unwrap();
    let mut dead = world.hosts.pop().unwrap();
    dead.child.kill().unwrap();
    dead.child.wait().unwrap();
    let in_time = wait_until(Duration::from_secs(100), || all(&world, HOSTS - 1));
    assert!(in_time, "{}", cloud(&world, 0));
    let said = cloud(&world, 1);
    assert!(said["complex"]["error"].is_string(), "{}", said["complex"]);

    // One that is started again has nobody to ask but those that it remembers.
    world.between_runs(2, |_| {});
    let back = || is_about(counted(&cloud(&world, 2)), HOSTS - 1);
    assert!(wait_until(Duration::from_secs(100), back), "{}", cloud(&world, 2));
}
