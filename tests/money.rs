//! What owners and buyers can find out about their money.

use isos_base::Time;
use serde_json::Value;

use crate::world::{HostPlan, World, hostile, isos, module};

/// The `data` of a command on a host's own machine, which knows nothing but its home.
fn at_home(world: &World, host: usize, args: &[&str]) -> Value {
    let output =
        isos().arg("--json").args(args).arg("--home").arg(&world.hosts[host].home).output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["data"].clone()
}

#[test]
fn a_host_that_joined_finds_its_complex_and_what_it_earned() {
    let mut world = World::start(&[]);
    world.add_host(HostPlan { join_only: true, ..HostPlan::default() });
    world.wait_for_hosts(1);
    let job = world.submit(&[&hostile(world.folder(), "infinite_loop"), "--fuel", "1001M"]);
    world.wait_job(job);
    let account = at_home(&world, 0, &["account", "show"]);
    let earned = account["hosts"][0]["earned"].as_i64().unwrap();
    assert!(earned > 0, "{account}");
    assert_eq!(account["hosts"][0]["host"], account["this_host"], "{account}");
    let statement = at_home(&world, 0, &["account", "statement"]);
    let lines = statement["lines"].as_array().unwrap();
    let pay: Vec<_> = lines.iter().filter(|line| line["kind"] == "pay").collect();
    let sum: i64 = pay.iter().map(|line| line["amount"].as_i64().unwrap()).sum();
    // The fee, 2 % by default, is the complex's.
    assert_eq!(sum, earned - earned * 2 / 100, "{statement}");
    assert_eq!(pay[0]["work"]["job"], job, "{statement}");
    let why = pay[0]["reason"].as_str().unwrap();
    assert!(why.contains("1.0G fuel at 100 µcr/G"), "{why}");
    // What is not its own stays closed.
    let home = &world.hosts[0].home;
    for args in [&["job", "list"][..], &["host", "list"], &["account", "show", "operator"]] {
        let output = isos().args(args).arg("--home").arg(home).output().unwrap();
        assert!([Some(4), Some(7)].contains(&output.status.code()), "{args:?}: {output:?}");
    }
}

#[test]
fn last_is_ones_own_job_and_a_list_for_operators_says_whose_each_is() {
    let world = World::start(&[]);
    let mine = world.submit(&[&module("spin")]);
    let ticket = world.ticket("buyer", "submit,read");
    let buyer = |args: &[&str]| {
        let mut command = isos();
        command.args(["--json", "--server", &ticket, "--home"]).arg(world.folder().join("buyer"));
        let output = command.args(args).output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["data"].clone()
    };
    let theirs = buyer(&["submit", &module("spin")])["id"].as_u64().unwrap();
    assert!(theirs > mine);
    assert_eq!(world.json(&["job", "show", "last"])[0]["id"], mine);
    assert_eq!(buyer(&["job", "show", "last"])[0]["id"], theirs);
    let list = String::from_utf8(world.run(&["job", "list"]).stdout).unwrap();
    assert!(list.contains("account") && list.contains("buyer"), "{list}");
}

#[test]
fn a_job_that_failed_says_why_once_with_count_and_examples() {
    let world = World::with_hosts(1);
    let program = hostile(world.folder(), "trap");
    let job = world.submit(&[&program, "--count", "5"]);
    world.wait_job(job);
    let why = world.json(&["explain", &job.to_string()]);
    let told = why.to_string();
    assert!(told.contains("5 tasks (0, 1, 2, ...)") && told.contains("trap"), "{told}");
    let output = world.run(&["job", "logs", &format!("{job}@3")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("task {job}@3: the program failed")), "{said}");
}

#[test]
fn a_statement_is_brought_home_and_checked_by_nobody_but_its_owner() {
    let mut world = World::with_hosts(1);
    let folder = world.folder().to_owned();
    let at = |name: &str| folder.join(name).display().to_string();
    let spin = [hostile(world.folder(), "infinite_loop"), "--fuel".into(), "1001M".into()];
    let submit: Vec<&str> = spin.iter().map(String::as_str).collect();
    world.wait_job(world.submit(&submit));
    let (first, second, changed, csv) = (at("1.json"), at("2.json"), at("3.json"), at("1.csv"));
    world.json(&["account", "export", "--output", &first]);
    // Nobody is asked: no settings, no complex.
    let nowhere = at("nowhere");
    let check = |args: &[&str]| {
        let output = isos().args(["--home", &nowhere, "account", "verify"]).args(args).output();
        let output = output.expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&[&first]).0, Some(0));
    let text = std::fs::read_to_string(&first).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let key = document["signed"]["complex"].as_str().unwrap();
    assert_eq!(check(&[&first, "--complex", key]).0, Some(0));
    let other = isos_base::key::SecretKey::from_bytes(&[9; 32]).public().to_string();
    let (code, error) = check(&[&first, "--complex", &other]);
    assert_eq!((code, error.contains("not by")), (Some(12), true), "{error}");
    // What goes on later goes on from there, over a restart too.
    world.restart_server();
    world.wait_for_hosts(1);
    world.wait_job(world.submit(&submit));
    world.json(&["account", "export", "--output", &second]);
    assert_eq!(check(&[&second, "--since", &first]).0, Some(0));
    assert_eq!(check(&[&first, "--since", &second]).0, Some(12), "it is not the other way round");
    let charge = document["lines"].as_array().unwrap().iter().find(|it| it["kind"] == "charge");
    let hash = charge.expect("it paid")["hash"].as_str().unwrap();
    std::fs::write(&changed, text.replace(hash, &"a".repeat(hash.len()))).unwrap();
    let (code, error) = check(&[&changed]);
    assert_eq!((code, error.contains("chain of hashes")), (Some(12), true), "{error}");
    std::fs::write(&changed, &text[..text.len() / 2]).unwrap();
    assert_eq!(check(&[&changed]).0, Some(2));
    assert_eq!(check(&[&at("none.json")]).0, Some(4));
    world.json(&["account", "export", "--format", "csv", "--output", &csv]);
    let table = std::fs::read_to_string(&csv).unwrap();
    assert!(table.starts_with("seq,at,kind,"), "{table}");
    let (code, _) = world.refused(&["account", "export", "--output", &csv]);
    assert_eq!(code, 1, "a file is never replaced");
    let head = world.json(&["account", "head"]);
    assert!(head["signed"]["seq"].is_u64(), "{head}");
    // A month of it, both ways: the same lines, all of the month.
    let at = |line: &Value| Time(line["at"].as_u64().expect("a time")).to_rfc3339();
    let month = &at(&document["lines"][0])[..7];
    let lines = world.run(&["account", "export", "--month", month]);
    let lines: Vec<Value> = serde_json::from_slice(&lines.stdout).expect("lines of a month");
    assert!(lines.iter().any(|line| line["kind"] == "charge"), "{lines:?}");
    assert!(lines.iter().all(|line| at(line).starts_with(month)));
    let table = world.run(&["account", "export", "--month", month, "--format", "csv"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.lines().count(), 1 + lines.len(), "{table}");
    let none = world.run(&["account", "export", "--month", "1999-01", "--format", "csv"]);
    assert_eq!(String::from_utf8(none.stdout).unwrap().lines().count(), 1, "names alone");
}
