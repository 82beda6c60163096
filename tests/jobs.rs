//! Real jobs on real hosts: results, verification, money, explanations.

use std::fs;

use crate::world::{HostPlan, World, data, isos, module};

#[test]
fn the_tour_finds_everything_right() {
    let output = isos().args(["tour", "--json"]).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["type"], "tour");
    let findings = &document["data"];
    assert_eq!(findings["tasks"], 200);
    assert_eq!(findings["equal"], 200);
    assert_eq!(findings["liar_earned"], 0);
    assert_eq!(findings["ledger_sum"], 0);
    let (paid, earned) = (findings["paid"].as_i64().unwrap(), findings["earned"].as_i64().unwrap());
    assert_eq!(paid, earned + findings["fees"].as_i64().unwrap());
    assert!(earned > 0);
}

#[test]
fn results_come_back_as_files_and_the_statement_explains_every_micro_credit() {
    let world = World::with_hosts(2);
    let results = world.folder().join("results");
    let output = world.run(&[
        "submit",
        &module("montecarlo"),
        "--count",
        "12",
        "--verify",
        "quorum=2/2",
        "--fuel",
        "5G",
        "--wait",
        "--results",
        results.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for task in 0..12 {
        let text = fs::read_to_string(results.join(task.to_string()).join("stdout")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert!(line.is_object(), "{text}");
    }
    world.assert_money_adds_up();
    let statement = world.json(&["account", "statement", "operator"]);
    let lines = statement["lines"].as_array().unwrap();
    let sum: i64 = lines.iter().map(|line| line["amount"].as_i64().unwrap()).sum();
    let account = &statement["account"];
    assert_eq!(sum, account["available"].as_i64().unwrap() + account["held"].as_i64().unwrap());
    assert!(lines.iter().any(|line| line["kind"] == "charge"), "{statement}");
}

#[test]
fn each_file_of_a_pattern_becomes_a_task() {
    let world = World::with_hosts(1);
    let folder = world.folder().join("queries");
    fs::create_dir(&folder).unwrap();
    let all = fs::read_to_string(data("queries.fasta")).unwrap();
    for (n, protein) in all.split('>').skip(1).take(5).enumerate() {
        fs::write(folder.join(format!("{n}.fasta")), format!(">{protein}")).unwrap();
    }
    let results = world.folder().join("results");
    let output = world.run(&[
        "submit",
        &module("genematch"),
        "--each",
        &format!("{}/*.fasta", folder.display()),
        "--input",
        &data("library.fasta"),
        "--wait",
        "--results",
        results.to_str().unwrap(),
        "--",
        "--queries",
        "{file}",
        "--task",
        "0",
        "--tasks",
        "1",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for n in 0..5 {
        let name = fs::read_to_string(folder.join(format!("{n}.fasta"))).unwrap();
        let name = name[1..].split_whitespace().next().unwrap().to_owned();
        let hits = fs::read_to_string(results.join(n.to_string()).join("stdout")).unwrap();
        assert!(hits.starts_with(&name), "task {n} should speak of {name}: {hits}");
    }
}

#[test]
fn files_of_one_name_in_different_folders_are_not_taken_for_each_other() {
    const RUNS: usize = 4;
    let world = World::with_hosts(2);
    let runs = world.folder().join("runs");
    let all = fs::read_to_string(data("queries.fasta")).unwrap();
    let proteins: Vec<&str> = all.split('>').skip(1).take(RUNS).collect();
    for (n, protein) in proteins.iter().enumerate() {
        let folder = runs.join(n.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("query.fasta"), format!(">{protein}")).unwrap();
    }
    for verify in ["trusted", "quorum=2/2"] {
        let results = world.folder().join(verify.replace('/', "-"));
        let each = format!("{}/*/query.fasta", runs.display());
        let (genematch, library) = (module("genematch"), data("library.fasta"));
        let mut args = vec!["submit", &genematch, "--each", &each, "--input", &library];
        args.extend(["--verify", verify, "--wait", "--results", results.to_str().unwrap(), "--"]);
        args.extend(["--queries", "{file}", "--task", "0", "--tasks", "1"]);
        let output = world.run(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (n, protein) in proteins.iter().enumerate() {
            let name = protein.split_whitespace().next().unwrap();
            let hits = fs::read_to_string(results.join(n.to_string()).join("stdout")).unwrap();
            assert!(hits.starts_with(name), "{verify}: task {n} should speak of {name}: {hits}");
        }
    }
    let hosts = world.json(&["host", "list"]);
    let barred = hosts.as_array().unwrap().iter().filter(|host| host["state"] == "barred").count();
    assert_eq!(barred, 0, "{hosts}");
}

#[test]
fn an_empty_file_is_an_input_like_any_other() {
    let world = World::with_hosts(1);
    let folder = world.folder().join("with-empty");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    let folder = folder.to_str().unwrap();
    let output = world.run(&["submit", &module("spin"), "--input", folder, "--wait"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn tiles_of_a_picture_come_back_from_out() {
    let world = World::with_hosts(1);
    let results = world.folder().join("results");
    let output = world.run(&[
        "submit",
        &module("raytrace"),
        "--count",
        "4",
        "--wait",
        "--results",
        results.to_str().unwrap(),
        "--",
        "--width",
        "64",
        "--height",
        "64",
        "--tile",
        "32",
        "--samples",
        "1",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tiles: Vec<_> = (0..4)
        .flat_map(|task| fs::read_dir(results.join(task.to_string()).join("out")).unwrap())
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(tiles.len(), 4);
    assert!(tiles.iter().all(|tile| tile.starts_with(b"\x89PNG")));
}

#[test]
fn a_job_that_cannot_run_says_why_for_every_class_of_hosts() {
    let world = World::with_hosts(2);
    let job = world.submit(&[&module("spin"), "--count", "2", "--memory", "64GiB"]);
    let why = world.json(&["explain", &job.to_string()]);
    let reasons = why["reasons"].as_array().unwrap();
    assert!(!reasons.is_empty());
    assert!(reasons.iter().all(|reason| reason["why"].as_str().unwrap().contains("64 GiB")));
    assert_eq!(world.run(&["job", "cancel", &job.to_string()]).status.code(), Some(0));
    world.assert_money_adds_up();
}

#[test]
fn hosts_that_only_the_relay_can_reach_work_too() {
    let mut world = World::start(&[]);
    for _ in 0..2 {
        world.add_host(HostPlan { relay_only: true, ..HostPlan::default() });
    }
    world.wait_for_hosts(2);
    let job = world.submit(&[&module("spin"), "--count", "20", "--verify", "quorum=2/2"]);
    assert_eq!(world.wait_job(job)["state"], "done");
    world.assert_money_adds_up();
}

#[test]
fn a_liar_is_barred_and_unpaid() {
    let mut world = World::start(&[]);
    for lies in [false, true, false] {
        world.add_host(HostPlan { lies, ..HostPlan::default() });
    }
    world.wait_for_hosts(3);
    let job = world.submit(&[&module("spin"), "--count", "30", "--verify", "quorum=2/3"]);
    assert_eq!(world.wait_job(job)["state"], "done");
    let liar = world.json(&["host", "show", "host-2"]);
    assert_eq!(liar["state"], "barred", "{liar}");
    let account = world.json(&["account", "show", "owner-of-host-2"]);
    assert_eq!(account["received"], 1_000_000_000, "only the welcome: {account}");
    world.assert_money_adds_up();
}

#[test]
fn the_life_of_a_traced_task_is_one_line_of_time_from_submission_to_the_kept_result() {
    let world = World::with_hosts(2);
    let spin = module("spin");
    let traced = [&*spin, "--count", "20", "--verify", "quorum=2/2", "--trace", "7,12..14"];
    let job = world.submit(&traced);
    world.wait_job(job);
    let trace = world.json(&["job", "trace", &format!("{job}@12")]);
    let micros = |span: &serde_json::Value| {
        let text = span.as_str().expect("a span is text");
        text.parse::<isos_base::Span>().expect("a span").0
    };
    let total = micros(&trace["total"]);
    let tries = trace["tries"].as_array().unwrap();
    assert_eq!(tries.len(), 2, "{trace}");
    assert_ne!(tries[0]["host"], tries[1]["host"], "voters are independent");
    for tried in tries {
        assert_eq!(tried["end"], "result", "{tried}");
        let steps = tried["steps"].as_array().unwrap();
        for place in ["server", "network", "agent", "sandbox"] {
            assert!(steps.iter().any(|step| step["place"] == place), "nothing at {place}: {tried}");
        }
        assert!(steps.iter().any(|step| step["step"] == "run"), "{tried}");
        let ends = steps.iter().map(|step| micros(&step["from"]) + micros(&step["length"]));
        assert!(ends.clone().is_sorted(), "one after another: {tried}");
        assert!(ends.max().unwrap() <= total, "{trace}");
    }
    let first = world.json(&["job", "trace", &job.to_string()]);
    assert_eq!(first["task"], 7, "of a job, the first that is traced");
    let (code, error) = world.refused(&["job", "trace", &format!("{job}@8")]);
    assert_eq!(code, 2);
    assert!(error.contains("these are: 7, 12..14"), "{error}");
    let file = world.folder().join("trace.json");
    let last = format!("{job}@13");
    world.json(&["job", "trace", &last, "--chrome", file.to_str().unwrap()]);
    let chrome: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(chrome["traceEvents"].as_array().unwrap().len() > 20, "{chrome}");
}
