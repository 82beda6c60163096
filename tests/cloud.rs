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

/// What hosts answer that `host` has asked.
fn query(world: &World, host: usize, arguments: &[&str]) -> (Option<i32>, Value) {
    let home = &world.hosts[host].home;
    let mut command = isos();
    command.args(["query", "--json"]).args(arguments).arg("--home").arg(home);
    let output = command.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), said["data"].clone())
}

/// Asks until all that can be asked were, which those that cannot be called may need a second try
/// for: they are asked when they meet somebody.
fn ask_all(world: &World, host: usize, wanted: usize, ends: i32) -> Value {
    let (mut end, mut said) = (None, Value::Null);
    let whole = wait_until(Duration::from_secs(60), || {
        (end, said) = query(world, host, &["host.country == 'FI'", "--by", "uptime"]);
        said["asked"] == wanted
    });
    assert!(whole, "{said}");
    assert_eq!((end, &said["lost"]), (Some(ends), &0.into()), "{said}");
    said
}

#[test]
fn hosts_are_asked_by_hosts_also_while_the_server_is_dead() {
    let mut world = World::start(&[]);
    // Two of them cannot be called: the server's relay is all that they have.
    let reached = HOSTS - 2;
    for n in 0..HOSTS {
        let (relay_only, gossip_cycle) = (n >= reached, Some("500ms"));
        let country = (n % 2 == 0).then_some("FI");
        world.add_host(HostPlan { gossip_cycle, relay_only, country, ..HostPlan::default() });
    }
    world.wait_for_hosts(HOSTS);
    let all = |world: &World, wanted| {
        world.hosts.iter().enumerate().all(|(n, _)| is_about(counted(&cloud(world, n)), wanted))
    };
    world.wait("all hosts to count all", || all(&world, HOSTS));
    for host in [0, HOSTS - 1] {
        let said = ask_all(&world, host, HOSTS, 0);
        assert_eq!(said["matched"], 4, "{said}");
    }

    world.server.kill().unwrap();
    world.server.wait().unwrap();
    // Those that lost the relay are still counted for a while, and so it is known that some were
    // not asked.
    let said = ask_all(&world, 1, reached, 3);
    assert_eq!(said["matched"], 3, "{said}");
    let rows = said["rows"].as_array().unwrap();
    let uptimes: Vec<f64> = rows.iter().map(|row| row["uptime"].as_f64().unwrap()).collect();
    assert!(uptimes.is_sorted_by(|a, b| a >= b) && uptimes[2] > 0.0, "{uptimes:?}");
    let names: Vec<_> = world.hosts.iter().step_by(2).map(|host| host.name.as_str()).collect();
    assert!(rows.iter().all(|row| names.contains(&row["name"].as_str().unwrap())), "{said}");
    let (_, said) = query(&world, 1, &["host.busy", "--count"]);
    assert_eq!((&said["matched"], said["rows"].as_array().map(Vec::len)), (&0.into(), Some(0)));
    let (_, said) = query(&world, 1, &["--sum", "cores", "--ask", "3"]);
    assert!(said["asked"].as_u64().is_some_and(|asked| (1..=3).contains(&asked)), "{said}");
    assert_eq!(query(&world, 1, &["host.memory_fre > 1GiB"]).0, Some(2));
}
