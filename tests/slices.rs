//! Slices with real hosts: the same program on each of them, a host that is killed, more and fewer
//! hosts, the end.

use serde_json::Value;

use crate::world::{HostPlan, World, module};

/// Names of a slice's hosts, by rank.
fn hosts(slice: &Value) -> Vec<String> {
    let slivers = slice["slivers"].as_array().unwrap_or_else(|| panic!("no hosts in {slice}"));
    slivers.iter().map(|sliver| sliver["name"].as_str().unwrap().to_owned()).collect()
}

fn index(name: &str) -> usize {
    name.strip_prefix("host-").and_then(|n| n.parse::<usize>().ok()).expect("a name of the test")
        - 1
}

/// What each rank printed, and on which host.
fn told(run: &Value) -> Vec<(String, String)> {
    let text = |it: &Value| it.as_str().unwrap_or_default().trim().to_owned();
    let ranks = run["hosts"].as_array().unwrap_or_else(|| panic!("no hosts in {run}"));
    ranks.iter().map(|rank| (text(&rank["name"]), text(&rank["stdout"]))).collect()
}

#[test]
fn a_program_runs_on_every_host_of_a_slice_which_mends_itself_grows_shrinks_and_ends() {
    let mut world = World::start(&["--slice-away", "4s"]);
    for _ in 0..4 {
        world.add_host(HostPlan::default());
    }
    world.wait_for_hosts(4);
    let rollcall = module("rollcall");

    let (code, why) = world.refused(&["slice", "create", "big", "--hosts", "5"]);
    assert!(code == 6 && why.contains("5 hosts wanted, 4 can be had"), "{code} {why}");
    let (code, why) = world.refused(&["slice", "run", "lab", &rollcall]);
    assert!(code == 4 && why.contains("lab"), "{code} {why}");

    let slice = world.json(&["slice", "create", "lab", "--hosts", "3", "--where", "host.cpus > 0"]);
    let first = hosts(&slice);
    let expected = |hosts: &[String]| -> Vec<(String, String)> {
        let size = hosts.len();
        // 25 primes below 100, by rank.
        let count = |rank: usize| {
            let own = (rank..100).step_by(size);
            own.filter(|n| *n > 1 && (2..*n).all(|d| n % d != 0)).count()
        };
        let line = |rank| format!("rank {rank} of {size}: {} primes below 100", count(rank));
        hosts.iter().enumerate().map(|(rank, host)| (host.clone(), line(rank))).collect()
    };
    let run = world.json(&["slice", "run", "lab", &rollcall, "--", "100"]);
    assert_eq!(told(&run), expected(&first), "{run}");

    // As people see it: each line with its host, and how all of them ended.
    let output = world.run(&["slice", "run", "lab", &rollcall, "--", "100"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for (host, line) in expected(&first) {
        assert!(text.contains(&format!("{host}: {line}")), "{text}");
    }
    assert!(text.contains("3 of 3 hosts ended well"), "{text}");
    let output = world.run(&["slice", "run", "lab", &rollcall, "--", "none"]);
    assert_eq!(output.status.code(), Some(1), "it failed on every host");

    // A host is switched off. What was for it waits, and says for whom.
    let gone = first[1].clone();
    world.hosts[index(&gone)].child.kill().unwrap();
    world.hosts[index(&gone)].child.wait().unwrap();
    world.wait("the host to be missed", || {
        world.json(&["slice", "show", "lab"])["slivers"][1]["away"] != Value::Null
    });
    let output = world.run(&["--json", "slice", "run", "lab", &rollcall, "--", "100"]);
    let run: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let ranks = told(&run["data"]);
    assert_eq!(output.status.code(), Some(3), "{run}");
    assert_eq!((&ranks[0], &ranks[2]), (&expected(&first)[0], &expected(&first)[2]));
    let end = run["data"]["hosts"][1]["end"].as_str().unwrap_or_default();
    assert!(end.contains("was replaced in slice lab: away since"), "{end}");

    // Another has its rank now.
    let slice = world.json(&["slice", "show", "lab"]);
    let second = hosts(&slice);
    assert_eq!((&second[0], &second[2]), (&first[0], &first[2]));
    assert!(!first.contains(&second[1]), "{second:?} after {first:?}");
    assert_eq!(slice["replaced"][0]["rank"], 1, "{slice}");
    let run = world.json(&["slice", "run", "lab", &rollcall, "--", "100"]);
    assert_eq!(told(&run), expected(&second));

    // More hosts, when there are more; and fewer.
    let (code, why) = world.refused(&["slice", "grow", "lab", "--hosts", "4"]);
    assert!(
        code == 6 && why.contains("3 hosts of it already") && why.contains("not connected"),
        "{why}"
    );
    world.add_host(HostPlan::default());
    world.wait_for_hosts(4);
    let grown = hosts(&world.json(&["slice", "grow", "lab", "--hosts", "4"]));
    assert_eq!(grown[..3], second[..]);
    let run = world.json(&["slice", "run", "lab", &rollcall, "--", "100"]);
    assert_eq!(told(&run), expected(&grown));
    let shrunk = hosts(&world.json(&["slice", "shrink", "lab", "--hosts", "2"]));
    assert_eq!(shrunk[..], second[..2]);

    // The server dies and knows all of it.
    world.restart_server();
    world.wait_for_hosts(4);
    let run = world.json(&["slice", "run", "lab", &rollcall, "--", "100"]);
    assert_eq!(told(&run), expected(&shrunk));

    assert_eq!(world.json(&["slice", "list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(world.json(&["slice", "drop", "lab"])["state"], "dropped");
    assert_eq!(world.json(&["slice", "list"]).as_array().map(Vec::len), Some(0));
    assert_eq!(world.refused(&["slice", "show", "lab"]).0, 4);
    let audit = world.json(&["audit"]).to_string();
    for deed in ["slice_made", "sliver_moved", "slice_changed", "slice_ended"] {
        assert!(audit.contains(deed), "{deed} is in the audit log");
    }
    world.wait("the bills", || {
        let accounts = world.json(&["account", "list"]);
        let all = accounts.as_array().expect("a list of accounts");
        all.iter().all(|account| account["held"] == 0)
    });
    world.assert_money_adds_up();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "nobody tells when the ranks have begun")]
fn programs_of_a_slice_address_each_other_and_hear_who_is_gone() {
    let mut world = World::start(&[]);
    for _ in 0..4 {
        world.add_host(HostPlan::default());
    }
    world.wait_for_hosts(4);
    let ring = module("ring");
    let slice = world.json(&["slice", "create", "lab", "--hosts", "4"]);
    let first = hosts(&slice);

    // Each rank has the sum of what all have brought.
    let run = world.json(&["slice", "run", "lab", &ring, "--", "20000", "3"]);
    let total: u64 = (1..=20_000).map(|n| 10 * n + 4 * 2).sum();
    for (rank, (host, line)) in told(&run).into_iter().enumerate() {
        let expected = format!("rank {rank} of 4: 3 x 20000 numbers added up to {total}");
        assert_eq!((&host, line), (&first[rank], expected), "{run}");
    }

    // Away from a slice there is nobody to address.
    let submit = ["submit", &ring, "--count", "1", "--wait"];
    let output = world.run(&submit);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success() && said.contains("isos slice run"), "{said}");

    // A host is lost in the middle of a long run: the others are told so, and end.
    let gone = world.hosts[index(&first[2])].child.id();
    let output = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            world.run(&["--json", "slice", "run", "lab", &ring, "--", "1000", "100000", "20"])
        });
        world.wait("all ranks to run", || {
            let jobs = world.json(&["job", "list"]);
            let all = jobs.as_array().expect("a list of jobs");
            all.iter().any(|job| job["state"] == "active" && job["tasks"]["running"] == 4)
        });
        std::thread::sleep(std::time::Duration::from_secs(5));
        let kill = std::process::Command::new("kill").args(["-9", &gone.to_string()]).status();
        assert!(kill.expect("kill").success());
        run.join().expect("a run that ends")
    });
    assert_eq!(output.status.code(), Some(1), "it failed on every host");
    let run: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let ranks = run["data"]["hosts"].as_array().expect("hosts");
    let said = ranks.iter().map(Value::to_string).collect::<Vec<_>>();
    assert!(said[2].contains("after the ranks had begun to address each other"), "{said:?}");
    for rank in [0, 1, 3] {
        assert!(said[rank].contains("the rank is gone"), "{said:?}");
    }
}
