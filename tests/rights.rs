//! Rights given on without asking the complex: narrowed, delegated, taken back.

use std::process::Output;

use serde_json::Value;

use crate::world::{World, isos, module};

/// Runs a command that asks nobody.
fn offline(args: &[&str]) -> Output {
    isos().args(args).output().expect("the program starts")
}

fn line(args: &[&str]) -> String {
    let output = offline(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a command with another's right; its exit code and what it says of an error.
fn with(world: &World, ticket: &str, args: &[&str]) -> (i32, String) {
    let mut command = isos();
    command.args(["--server", ticket, "--home"]).arg(world.folder().join("guest"));
    let output = command.args(args).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it exits"), error)
}

#[test]
fn a_right_is_narrowed_delegated_and_taken_back() {
    let world = World::with_hosts(1);
    let wide = world.ticket("club", "submit,read");
    world.run(&["account", "credit", "club", "5"]);
    let submit = ["submit", &module("spin"), "--count", "2", "--wait"];
    assert_eq!(with(&world, &wide, &submit).0, 0);

    // Whoever submits sees what comes of it, and lends nothing.
    let narrow = line(&["token", "attenuate", &wide, "--rights", "submit"]);
    for allowed in
        [&submit[..], &["job", "list"], &["job", "results", "last"], &["explain", "last"]]
    {
        let (code, error) = with(&world, &narrow, allowed);
        assert_eq!(code, 0, "{allowed:?}: {error}");
    }
    let (code, error) = with(&world, &narrow, &["join", &narrow]);
    assert_eq!((code, error.contains("it allows submit")), (7, true), "{error}");

    let read = line(&["token", "attenuate", &wide, "--rights", "read"]);
    assert_eq!(with(&world, &read, &["job", "list"]).0, 0);
    let (code, error) = with(&world, &read, &submit);
    assert_eq!(code, 7, "{error}");
    assert!(error.contains("does not have the right"), "{error}");

    let file = world.folder().join("club.key");
    let key = line(&["token", "key", file.to_str().unwrap()]);
    assert_eq!(key, line(&["token", "key", file.to_str().unwrap()]), "it is made once");
    let delegated = line(&["token", "attenuate", &wide, "--vouched-by", &key]);
    assert_eq!(with(&world, &delegated, &submit).0, 7, "nobody has vouched");
    let vouch = ["token", "vouch", &delegated, "--who", "anna", "--key", file.to_str().unwrap()];
    let vouched = line(&vouch);
    assert_eq!(with(&world, &vouched, &submit).0, 0, "the club has vouched");

    let said = line(&["--json", "token", "inspect", &vouched]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["data"]["rights"], serde_json::json!(["submit", "read"]));
    assert_eq!(said["data"]["blocks"].as_array().unwrap().len(), 3);
    assert_eq!(said["data"]["blocks"][2]["by"], format!("key {key}"));

    let revoked = world.run(&["token", "revoke", &vouched]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    for refused in [&submit[..], &["job", "list"]] {
        let (code, error) = with(&world, &vouched, refused);
        assert_eq!((code, error.contains("revoked")), (7, true), "{error}");
    }
    assert_eq!(with(&world, &wide, &submit).0, 0, "what it was made from is good");
    world.run(&["token", "revoke", &wide]);
    assert_eq!(with(&world, &read, &["job", "list"]).0, 7, "what is made from it is not");
}

#[test]
fn what_is_no_token_is_told_and_nothing_is_made_of_it() {
    for (args, code, word) in [
        (vec!["token", "inspect", "not a token!"], 2, "no token"),
        (vec!["token", "inspect", "AAAA"], 1, "not one of this complex"),
        (vec!["token", "attenuate", "AAAA"], 2, "--rights, --valid or --vouched-by"),
        (vec!["token", "attenuate", "AAAA", "--rights", "fly"], 2, "join, submit, read"),
        (vec!["token", "vouch", "AAAA", "--who", "x", "--key", "/nowhere/key"], 1, "token key"),
    ] {
        let output = offline(&args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(word), "{args:?}: {error}");
    }
}
