//! Accounts with several keys, from several machines: added, removed, lost and recovered; and what
//! is written down of it.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::world::{HostPlan, World, isos, module, wait_until};

/// A machine of a person: a home of its own, and a ticket if it is named.
fn on(world: &World, machine: &str, ticket: Option<&str>, args: &[&str]) -> Output {
    let mut command = isos();
    command.arg("--home").arg(world.folder().join(machine));
    if let Some(ticket) = ticket {
        command.args(["--server", ticket]);
    }
    command.args(args).output().expect("the program starts")
}

fn ok(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits")
}

fn data(text: &str) -> Value {
    serde_json::from_str::<Value>(text).expect("JSON")["data"].clone()
}

#[test]
fn an_account_has_a_key_on_each_machine_and_loses_what_is_taken_away() {
    let world = World::with_hosts(1);
    let ticket = world.ticket("anna", "submit,read,manage");
    world.run(&["account", "credit", "anna", "5"]);
    ok(on(&world, "laptop", Some(&ticket), &["account", "key", "add", "laptop"]));
    ok(on(&world, "phone", Some(&ticket), &["account", "key", "add", "phone", "--rights", "read"]));
    world.run(&["token", "revoke", &ticket]);

    // From now on no token is needed: the connection is the proof.
    let submit = ["submit", &module("spin"), "--count", "2", "--wait"];
    ok(on(&world, "laptop", None, &submit));
    ok(on(&world, "phone", None, &["job", "list"]));
    let narrow = on(&world, "phone", None, &submit);
    assert_eq!(code(&narrow), 7, "{}", String::from_utf8_lossy(&narrow.stderr));
    let narrow = on(&world, "phone", None, &["account", "key", "remove", "laptop"]);
    assert_eq!(code(&narrow), 7, "{}", String::from_utf8_lossy(&narrow.stderr));
    let keys = data(&ok(on(&world, "laptop", None, &["--json", "account", "key", "list"])));
    let labels: Vec<_> =
        keys["keyring"]["keys"].as_array().unwrap().iter().map(|key| &key["label"]).collect();
    assert_eq!(labels, ["laptop", "phone"]);

    // A program that speaks HTTP gets a token for the key.
    let token = ok(on(&world, "laptop", None, &["account", "login"]));
    let api = world.ready["api"].as_str().unwrap();
    let by_token = || {
        let mut command = isos();
        command.arg("--home").arg(world.folder().join("script"));
        command.args(["--server", api, "--token", &token, "job", "list"]).output().unwrap()
    };
    ok(by_token());

    let made = ["ticket", "--account", "anna", "--rights", "read"];
    let given = data(&ok(on(&world, "laptop", None, &[&["--json"], &made[..]].concat())));
    let given = given["ticket"].as_str().unwrap().to_owned();
    ok(on(&world, "guest", Some(&given), &["job", "list"]));

    // The phone cannot take the laptop away; the laptop can, and itself too.
    ok(on(&world, "laptop", None, &["account", "key", "remove", "phone"]));
    assert_eq!(code(&on(&world, "phone", None, &["job", "list"])), 7);
    let last = on(&world, "laptop", None, &["account", "key", "remove", "laptop"]);
    assert_eq!(code(&last), 6, "{}", String::from_utf8_lossy(&last.stderr));
    ok(on(&world, "laptop", None, &["account", "recovery", "create"]));
    ok(on(&world, "laptop", None, &["account", "key", "remove", "laptop"]));
    assert_eq!(code(&on(&world, "laptop", None, &["job", "list"])), 7);
    assert_eq!(code(&by_token()), 7, "a token of a key goes with it");
    assert_eq!(code(&on(&world, "guest", Some(&given), &["job", "list"])), 7, "and a ticket");
}

#[test]
fn an_account_whose_keys_are_lost_comes_back_by_its_phrase_and_all_is_on_record() {
    let world = World::start(&["--recovery-delay", "3s"]);
    let ticket = world.ticket("anna", "submit,read,manage");
    ok(on(&world, "laptop", Some(&ticket), &["account", "key", "add", "laptop"]));
    let create = ["--quiet", "account", "recovery", "create"];
    let phrase = ok(on(&world, "laptop", None, &create));
    let words: Vec<&str> = phrase.split(' ').collect();
    assert_eq!(words.len(), 12);

    let recover: Vec<&str> = ["account", "recover"].into_iter().chain(words.clone()).collect();
    ok(on(&world, "new", Some(&ticket), &recover));
    let seen = data(&ok(on(&world, "laptop", None, &["--json", "account", "key", "list"])));
    assert!(seen["keyring"]["asked"]["key"].is_string(), "the old machine is told: {seen}");
    assert_eq!(code(&on(&world, "new", None, &["account", "show"])), 7, "not yet");
    assert!(wait_until(Duration::from_secs(60), || {
        code(&on(&world, "new", None, &["account", "show"])) == 0
    }));
    assert_eq!(code(&on(&world, "laptop", None, &["account", "show"])), 7, "the old key");
    let with_ticket = on(&world, "laptop", Some(&ticket), &["account", "show"]);
    assert_eq!(code(&with_ticket), 7, "and the old tickets are good no more");
    let again = on(&world, "thief", Some(&ticket), &recover);
    assert_eq!(code(&again), 7, "a phrase is used up: {}", String::from_utf8_lossy(&again.stderr));

    let log = data(&ok(on(&world, "new", None, &["--json", "audit"]))).to_string();
    for deed in ["account_opened", "token_made", "key_added", "recovery_set", "recovery_asked"] {
        assert!(log.contains(deed), "{deed}: {log}");
    }
    assert!(log.contains("\"recovered\""), "{log}");
    let file = world.folder().join("log.json");
    let file = file.to_str().unwrap();
    ok(on(&world, "new", None, &["audit", "export", file, "--account", "me"]));
    ok(on(&world, "new", None, &["audit", "verify", file]));
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, text.replace("\"laptop\"", "\"lapdog\"")).unwrap();
    let changed = on(&world, "new", None, &["audit", "verify", file]);
    assert_eq!(code(&changed), 12, "{}", String::from_utf8_lossy(&changed.stderr));

    let all = world.folder().join("all.json");
    let all = all.to_str().unwrap();
    let exported = world.run(&["audit", "export", all]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let known = world.ready["key"].as_str().unwrap();
    ok(on(&world, "auditor", None, &["audit", "verify", all, "--complex", known]));
}

#[test]
fn a_revoked_ticket_reaches_its_host_within_a_minute_and_keeps_it_out() {
    let mut world = World::start(&[]);
    let joined = world.add_host(HostPlan { owner: Some("bert".into()), ..HostPlan::default() });
    let other = HostPlan { owner: Some("carl".into()), ..HostPlan::default() };
    world.add_host(other);
    world.wait_for_hosts(2);
    let job = world.submit(&[&module("spin"), "--count", "60"]);
    let home = world.hosts[joined].home.clone();
    let ticket = std::fs::read_to_string(home.join("state/agent/ticket")).expect("its ticket");
    let revoked = world.run(&["ticket", "revoke", ticket.trim()]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let name = world.hosts[joined].name.clone();
    let is_out = || {
        let host = world.json(&["host", "show", &name]);
        ["asleep", "lost"].contains(&host["state"].as_str().unwrap_or_default())
            && host["tasks"] == 0
    };
    assert!(wait_until(Duration::from_secs(60), is_out), "{}", world.log(&name));
    assert_eq!(world.wait_job(job)["state"], "done", "the other host does the rest");
    let why = world.json(&["explain", &name]).to_string();
    assert!(why.contains("ticket"), "{why}");
    assert!(is_out(), "it has not come back");
}

#[test]
fn a_host_with_another_key_goes_on_and_the_old_key_is_good_for_nothing() {
    let mut world = World::with_hosts(1);
    let done = world.submit(&[&module("spin"), "--count", "3"]);
    assert_eq!(world.wait_job(done)["state"], "done");
    let name = world.hosts[0].name.clone();
    let before = world.json(&["host", "show", &name]);
    let copy = world.folder().join("stolen.key");
    let running = isos()
        .arg("--home")
        .arg(&world.hosts[0].home)
        .args(["host", "rotate-key"])
        .output()
        .unwrap();
    assert!(!running.status.success(), "its agent is running");
    let stolen = copy.clone();
    world.between_runs(0, |home| {
        std::fs::copy(home.join("state/agent/agent.key"), &stolen).unwrap();
        ok(isos().arg("--home").arg(home).args(["host", "rotate-key"]).output().unwrap());
    });
    world.wait_for_hosts(1);
    let after = world.json(&["host", "show", &name]);
    assert_ne!(before["id"], after["id"]);
    assert_eq!((&before["account"], &before["good"]), (&after["account"], &after["good"]));
    let more = world.submit(&[&module("spin"), "--count", "3"]);
    assert_eq!(world.wait_job(more)["state"], "done");
    let log = world.json(&["audit"]).to_string();
    assert!(log.contains("host_key_rotated"), "{log}");
    let old = before["id"].as_str().unwrap();
    let why = world.json(&["explain", old]).to_string();
    assert!(why.contains("replaced"), "{why}");
    // Whoever has the old key is not let in.
    let key = world.hosts[0].home.join("state/agent/agent.key");
    let new = std::fs::read(&key).unwrap();
    world.between_runs(0, |_| {
        std::fs::copy(&copy, &key).unwrap();
    });
    let refused = || world.log(&name).contains("was replaced");
    assert!(wait_until(Duration::from_secs(60), refused), "{}", world.log(&name));
    world.between_runs(0, |_| std::fs::write(&key, new).unwrap());
    world.wait_for_hosts(1);
}

#[test]
fn a_server_with_another_key_is_found_by_old_tickets_as_long_as_it_answers_to_the_old_one() {
    let mut world = World::with_hosts(1);
    let ticket = world.ticket("anna", "submit,read");
    ok(on(&world, "client", Some(&ticket), &["job", "list"]));
    world.rotate_server_key();
    ok(on(&world, "client", Some(&ticket), &["job", "list"]));
    world.wait_for_hosts(1);
    let job = world.submit(&[&module("spin"), "--count", "3"]);
    assert_eq!(world.wait_job(job)["state"], "done");
    let fresh = world.ticket("anna", "submit,read");
    world.forget_earlier_key();
    ok(on(&world, "client", Some(&fresh), &["job", "list"]));
    assert_eq!(code(&on(&world, "client", Some(&ticket), &["job", "list"])), 10);
    // The host was told of the new key while the old one answered.
    world.wait_for_hosts(1);
    let job = world.submit(&[&module("spin"), "--count", "3"]);
    assert_eq!(world.wait_job(job)["state"], "done");
}
