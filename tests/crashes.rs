//! kill -9 at any moment: nothing that was acknowledged is lost, nothing is paid twice.

use std::time::Duration;

use crate::world::{World, module};

fn progress(world: &World, job: u64) -> u64 {
    world.job(job)["tasks"]["done"].as_u64().unwrap_or(0)
}

#[test]
fn a_server_killed_in_mid_job_goes_on_where_it_was() {
    let mut world = World::with_hosts(2);
    let job = world.submit(&[
        &module("montecarlo"),
        "--count",
        "150",
        "--fuel",
        "5G",
        "--verify",
        "quorum=2/2",
    ]);
    for part in 1..=2 {
        world.wait("some results", || progress(&world, job) >= part * 20);
        let before = progress(&world, job);
        world.restart_server();
        assert!(progress(&world, job) >= before, "acknowledged results were lost");
    }
    let end = world.wait_job(job);
    assert_eq!(end["state"], "done", "{end}");
    assert_eq!(end["tasks"]["done"], 150);
    world.assert_money_adds_up();
}

#[test]
fn the_tasks_of_a_killed_agent_go_to_others() {
    let mut world = World::with_hosts(2);
    let job = world.submit(&[&module("montecarlo"), "--count", "150", "--fuel", "5G"]);
    world.wait("some results", || progress(&world, job) >= 20);
    world.hosts[0].child.kill().unwrap();
    let end = world.wait_job(job);
    assert_eq!((&end["state"], &end["tasks"]["done"]), (&"done".into(), &150.into()), "{end}");
    world.assert_money_adds_up();
}

#[test]
fn an_agent_that_comes_back_is_the_same_host() {
    let mut world = World::with_hosts(1);
    let before = world.json(&["host", "list"])[0]["id"].clone();
    world.hosts[0].child.kill().unwrap();
    world.hosts[0].child.wait().unwrap();
    let home = world.hosts[0].home.clone();
    let mut again = crate::world::isos();
    again.args(["join", "--in-front-in-test-world", "--home"]).arg(&home);
    let log = std::fs::File::create(world.folder().join("again.log")).unwrap();
    world.hosts[0].child = again.stderr(log).spawn().unwrap();
    crate::world::pause(Duration::from_millis(500));
    world.wait_for_hosts(1);
    let hosts = world.json(&["host", "list"]);
    assert_eq!(hosts.as_array().unwrap().len(), 1);
    assert_eq!(hosts[0]["id"], before);
}

#[test]
fn a_journal_of_a_server_that_was_killed_is_decided_again_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let file = journal.to_str().unwrap();
    let mut world = World::start(&["--journal", file]);
    (0..2).for_each(|_| _ = world.add_host(crate::world::HostPlan::default()));
    world.wait_for_hosts(2);
    let job = world.submit(&[
        &module("montecarlo"),
        "--count",
        "40",
        "--fuel",
        "5G",
        "--verify",
        "quorum=2/2",
    ]);
    world.wait("some results", || progress(&world, job) >= 10);
    world.restart_server();
    world.wait_job(job);
    world.server.kill().unwrap();
    world.server.wait().unwrap();
    // One for each start: the second begins with what the first has left in the database.
    for file in [file.to_owned(), format!("{file}.2")] {
        let replayed = world.json(&["replay", "--check", &file]);
        assert!(replayed["difference"].is_null(), "{replayed}");
        assert!(replayed["inputs"].as_u64().unwrap() > 10, "{replayed}");
    }
    // In an acknowledgement; the snapshot has the same word for something else.
    let kept = std::fs::read_to_string(file).unwrap();
    let (before, after) = kept.split_at(kept.find("{\"Ack\":").expect("an acknowledgement"));
    let changed = before.to_owned() + &after.replacen("\"earned\":", "\"earned\":1", 1);
    std::fs::write(file, changed).unwrap();
    let output = world.run(&["replay", file]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("is another now") && said.contains("Ack"), "{said}");
}
