//! Money that comes in and goes out over the file rail, while the server is killed.

use std::fs;

use serde_json::Value;

use crate::world::{World, isos};

const PAYOUTS: usize = 12;

#[test]
fn what_is_paid_out_is_paid_once_however_often_the_server_is_killed() {
    let till = tempfile::tempdir().unwrap();
    let rail = format!("file={},currency=EUR,rate=0.02,unit=0.01", till.path().display());
    let mut world = World::start(&["--rail", &rail, "--payout-min", "1"]);
    let deposits = till.path().join("deposits");
    let drop_in = |name: &str, text: &str| {
        let hidden = deposits.join(format!("{name}.part"));
        fs::write(&hidden, text).unwrap();
        fs::rename(hidden, deposits.join(format!("{name}.json"))).unwrap();
    };
    let before = balance(&world);
    let wire = r#"{"id": "wire 1", "account": "operator", "amount": "12.50"}"#;
    drop_in("first", wire);
    drop_in("garbage", "{");
    drop_in("nobody", r#"{"id": "wire 2", "account": "no such account", "amount": "1.00"}"#);
    world.wait("the deposit", || balance(&world) == before + 625_000_000);
    // Told once more, it is not credited once more.
    drop_in("again", wire);
    world.wait("what is not taken", || deposits.join("bad/nobody.json").exists());
    world.wait("what is taken", || deposits.join("done/again.json").exists());
    assert!(deposits.join("bad/garbage.json").exists());
    assert_eq!(balance(&world), before + 625_000_000);

    for n in 0..PAYOUTS {
        let (to, key) = (format!("person {n}"), format!("key {n}"));
        let order = ["account", "payout", "10", "--to", &to, "--key", &key];
        world.json(&order);
        if n % 4 == 1 {
            world.restart_server();
            // Whoever has heard no answer asks again with the same key.
            world.json(&order);
        }
    }
    let lines = || {
        let text = fs::read_to_string(till.path().join("payouts.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    world.wait("all payouts", || {
        let payouts = world.json(&["account", "payouts"]);
        let payouts = payouts.as_array().expect("a list");
        payouts.len() == PAYOUTS && payouts.iter().all(|payout| payout["state"] == "paid")
    });
    let mut paid: Vec<String> = lines().iter().map(|line| line["to"].to_string()).collect();
    paid.sort_unstable();
    let mut asked: Vec<String> = (0..PAYOUTS).map(|n| format!("\"person {n}\"")).collect();
    asked.sort_unstable();
    assert_eq!(paid, asked);
    assert!(lines().iter().all(|line| line["amount"] == "0.200000"), "{:?}", lines());
    assert_eq!(balance(&world), before + 625_000_000 - PAYOUTS as i64 * 10_000_000);
    world.assert_money_adds_up();

    let (code, error) = world.refused(&["account", "payout", "0.3", "--to", "x"]);
    assert_eq!((code, error.contains("at least 1.000000")), (6, true), "{error}");
    let (code, error) = world.refused(&["account", "payout", "600", "--to", "x"]);
    assert_eq!((code, error.contains("has 10.100000 EUR")), (6, true), "{error}");
}

/// What the operator's account has.
fn balance(world: &World) -> i64 {
    world.json(&["account", "show"])["available"].as_i64().expect("a number")
}

#[test]
fn credits_are_made_when_two_operators_agree_and_no_sooner() {
    let mut world = World::start(&["--mint-approvals", "2"]);
    let second = world.ticket("ada", "operate");
    let ada = |args: &[&str]| {
        let mut command = isos();
        command.args(["--json", "--server", &second, "--home"]).arg(world.folder().join("ada"));
        let output = command.args(args).output().expect("the program starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().expect("it exits"), error)
    };
    let before = balance(&world);
    world.json(&["account", "credit", "operator", "1000", "--why", "grant 17"]);
    // The first is that of the start: so many must agree.
    assert_eq!(balance(&world), before, "it is a proposal");
    let (code, error) = world.refused(&["bank", "mint", "approve", "2"]);
    assert_eq!((code, error.contains("another")), (6, true), "{error}");
    assert_eq!(ada(&["bank", "mint", "approve", "2"]).0, 0);
    assert_eq!(balance(&world), before + 1_000_000_000);
    let again = ada(&["bank", "mint", "approve", "2"]);
    assert_ne!(again.0, 0, "once");
    let statement = world.json(&["account", "statement"]).to_string();
    assert!(statement.contains("grant 17"), "{statement}");

    // What is refused is never made, and a start with a lower number lowers nothing.
    world.json(&["account", "credit", "operator", "5"]);
    assert_eq!(ada(&["bank", "mint", "refuse", "3"]).0, 0);
    world.json(&["bank", "mint", "approvals", "2"]);
    assert_eq!(ada(&["bank", "mint", "approve", "4"]).0, 0);
    world.restart_server_with(&["--mint-approvals", "1"]);
    world.json(&["account", "credit", "operator", "7"]);
    assert_eq!(balance(&world), before + 1_000_000_000);
    let list = world.json(&["bank", "mint", "list"]);
    let proposals = list["proposals"].as_array().unwrap();
    let states: Vec<_> = proposals.iter().map(|it| &it["state"]).collect();
    assert_eq!(states.len(), 5, "{list}");
    assert_eq!((states[0], states[2]), (&"open".into(), &"refused".into()), "{list}");
    world.assert_money_adds_up();
}
