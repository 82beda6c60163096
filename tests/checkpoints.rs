//! Long tasks that save their state: they survive their hosts and move, and who makes a segment up
//! is found by that segment.

use serde_json::Value;

use crate::world::{HostPlan, World, isos, module};

/// All that is said of the only task of a job.
fn told(world: &World, job: u64) -> String {
    world.json(&["explain", &format!("{job}@0")]).to_string()
}

fn submit(world: &World, exponent: &str, verify: &str) -> u64 {
    let mersenne = module("mersenne");
    let options = ["--fuel", "100G", "--verify", verify, "--count", "1"];
    let mut all = vec![mersenne.as_str()];
    all.extend(options);
    all.extend(["--", exponent]);
    world.submit(&all)
}

/// All that is known of the only task's result, but for who gave it.
fn result(world: &World, job: u64) -> Value {
    let output = world.run(&["job", "results", &job.to_string(), "--format", "jsonl"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut line: Value = serde_json::from_str(text.trim()).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    line.as_object_mut().expect("a line is an object").retain(|name, _| name != "host");
    assert!(line["fuel"].as_u64().is_some(), "{line}");
    line
}

#[test]
fn a_task_of_an_agent_that_is_killed_goes_on_there_and_elsewhere_to_the_same_result() {
    let mut world = World::start(&[]);
    let eager = || HostPlan { save_every: Some("100ms"), ..HostPlan::default() };
    world.add_host(eager());
    world.wait_for_hosts(1);
    let job = submit(&world, "11213", "trusted");
    world.wait("a checkpoint", || told(&world, job).contains("has saved"));

    // The same machine, switched off and on.
    world.hosts[0].child.kill().unwrap();
    world.hosts[0].child.wait().unwrap();
    let mut again = isos();
    again
        .args(["join", "--in-front-in-test-world", "--save-every", "100ms", "--home"])
        .arg(&world.hosts[0].home);
    let log = std::fs::File::create(world.folder().join("again.log")).unwrap();
    world.hosts[0].child = again.stderr(log).spawn().unwrap();
    world.wait("it to go on", || told(&world, job).contains("resumed from"));
    world.wait("more checkpoints", || {
        let told = told(&world, job);
        told.contains("resumed from") && told.contains("has saved")
    });

    // It is gone for good; another one takes over.
    world.hosts[0].child.kill().unwrap();
    world.add_host(eager());
    world.wait("the other to take over", || {
        told(&world, job).contains("resumed from") || world.job(job)["state"] != "active"
    });
    let end = world.wait_job(job);
    assert_eq!(end["state"], "done", "{end} {}", told(&world, job));
    let moved = result(&world, job);

    let whole = submit(&world, "11213", "trusted");
    world.wait_job(whole);
    assert_eq!(moved, result(&world, whole), "as if it had never moved");
    assert!(moved.to_string().contains("M11213 is prime"), "{moved}");
    world.assert_money_adds_up();
}

#[test]
fn a_liar_is_found_by_the_segment_that_it_made_up() {
    let mut world = World::start(&[]);
    world.add_host(HostPlan::default());
    world.add_host(HostPlan { lies: true, ..HostPlan::default() });
    world.wait_for_hosts(2);
    let job = submit(&world, "9689", "quorum=2/3");
    world.wait("two answers that differ", || {
        told(&world, job).matches("answered exit code 0").count() == 2
    });
    world.add_host(HostPlan::default());
    let end = world.wait_job(job);
    assert_eq!(end["state"], "done", "{end}");
    let state = |name: &str| world.json(&["host", "show", name])["state"].clone();
    assert_eq!(state("host-2"), "barred");
    assert!(state("host-1") != "barred" && state("host-3") != "barred");
    let earned = |owner: &str| {
        let account = world.json(&["account", "show", owner]);
        account["received"].as_i64().expect("a number") - 1_000_000_000
    };
    world.wait("the bills", || earned("owner-of-host-1") > 0 && earned("owner-of-host-3") > 0);
    assert_eq!(earned("owner-of-host-2"), 0);
    let (worker, referee) = (earned("owner-of-host-1"), earned("owner-of-host-3"));
    assert!(referee * 4 < worker, "{referee} for two segments, {worker} for all");
    world.assert_money_adds_up();
}

#[test]
fn who_makes_a_stretch_up_is_found_by_another_owners_host_that_runs_it_again() {
    let mut world = World::start(&[]);
    let eager = || HostPlan { save_every: Some("100ms"), ..HostPlan::default() };
    world.add_host(HostPlan { lies: true, ..eager() });
    world.wait_for_hosts(1);
    let job = submit(&world, "9689", "checkpoint=32");
    world.wait("a checkpoint", || told(&world, job).contains("has saved"));
    // It has worked up to there, and makes up what follows.
    world.add_host(eager());
    world.add_host(eager());
    let mut checked = false;
    world.wait("the end", || {
        checked |= told(&world, job).contains("checks ");
        world.job(job)["state"] != "active"
    });
    let end = world.job(job);
    assert_eq!((&end["state"], &end["unchecked"]), (&"done".into(), &0.into()), "{end}");
    assert!(checked, "somebody was seen to check a stretch");
    let state = |name: &str| world.json(&["host", "show", name])["state"].clone();
    assert_eq!(state("host-1"), "barred");
    assert!(state("host-2") != "barred" && state("host-3") != "barred");
    let earned = |owner: &str| {
        let account = world.json(&["account", "show", owner]);
        account["received"].as_i64().expect("a number") - 1_000_000_000
    };
    world.wait("the bills", || earned("owner-of-host-2") > 0 && earned("owner-of-host-3") > 0);
    assert_eq!(earned("owner-of-host-1"), 0);

    let whole = submit(&world, "9689", "trusted");
    world.wait_job(whole);
    assert_eq!(result(&world, job), result(&world, whole), "as if nobody had lied");
    world.assert_money_adds_up();
}
