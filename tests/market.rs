//! A complex whose prices are made by a market, as buyers and owners meet it.

use serde_json::Value;

use crate::world::{ALWAYS, HostPlan, World, hostile, isos, module};

/// The only class of hosts that there is.
fn class(world: &World) -> Value {
    let prices = world.json(&["market", "prices"]);
    let classes = prices["classes"].as_array().expect("classes");
    assert!(classes.len() <= 1, "{prices}");
    classes.first().cloned().unwrap_or_default()
}

#[test]
fn owners_ask_buyers_bid_and_what_is_paid_lies_between() {
    let mut world = World::start(&["--market", "--price", "100", "--price-floor", "10"]);
    for ask in [20, 40] {
        let policy = ALWAYS.replace("price_min = 0", &format!("price_min = {ask}"));
        world.add_host(HostPlan { policy: Some(policy), ..HostPlan::default() });
    }
    world.wait_for_hosts(2);
    world.json(&["account", "credit", "operator", "1000", "--why", "to bid with"]);
    let spin = module("spin");
    // Work that lasts for longer than this, and bids more than the price.
    let long = hostile(world.folder(), "infinite_loop");
    let args = ["--count", "100", "--fuel", "1000G", "--verify", "trusted", "--bid", "300"];
    let rich = world.submit(&[&[long.as_str()][..], &args].concat());
    let poor = world.submit(&[&spin, "--verify", "trusted", "--bid", "30"]);
    let asked =
        world.json(&["market", "ask", "--home", &world.hosts[0].home.display().to_string()]);
    assert!(asked.to_string().contains("20"), "{asked}");
    // It is cleared every 30 seconds.
    world.wait("a market with supply and demand", || {
        let class = class(&world);
        class["supply"] == 2 && class["demand"].as_u64() > Some(2)
    });
    let price = class(&world)["price"].as_u64().unwrap();
    assert!((40..=300).contains(&price), "{price}");
    let why = world.json(&["explain", &poor.to_string()]).to_string();
    assert!(why.contains("the job bids 30"), "{why}");
    // Thirty percent of two cores are none that can be promised.
    let (code, error) = world.refused(&["market", "reserve", "1", "--in", "1m", "--for", "10m"]);
    assert_eq!((code, error.contains("cannot be promised")), (6, true), "{error}");
    let (code, error) = world.refused(&["market", "bid", &poor.to_string(), "5"]);
    assert_eq!((code, error.contains("no lower than 10")), (2, true), "{error}");

    // Prices are in the database.
    let before = world.json(&["market", "history"]);
    assert!(!before["ticks"].as_array().unwrap().is_empty(), "{before}");
    world.restart_server();
    let after = world.json(&["market", "history"]);
    assert_eq!(after["ticks"][0], before["ticks"][0]);

    // Whoever bids more than the price gets a core, and pays the price.
    world.wait_for_hosts(2);
    world.run(&["job", "cancel", &rich.to_string()]);
    let bid = world.json(&["market", "bid", &poor.to_string(), "250"]);
    assert!(bid.to_string().contains("250"), "{bid}");
    let done = world.wait_job(poor);
    assert_eq!(done["tasks"]["done"], 1, "{done}");
    let statement = || world.json(&["account", "statement"]);
    let of_poor = |it: &&Value| it["kind"] == "charge" && it["work"]["job"] == poor;
    world.wait("the bill", || {
        statement()["lines"].as_array().unwrap().iter().any(|it| of_poor(&it))
    });
    let statement = statement();
    let bill = statement["lines"].as_array().unwrap().iter().find(of_poor).unwrap();
    let why = bill["reason"].as_str().expect("a bill says what for");
    let (said, _) = why.split_once(" µcr/G").expect("a bill says at what price");
    let paid: u32 = said.rsplit(' ').next().unwrap().parse().expect("a number");
    assert!((20..=250).contains(&paid), "{why}");
}

#[test]
fn a_firm_host_says_what_it_stands_in_for_and_a_reservation_who_stands_behind_it() {
    let mut world = World::start(&["--market", "--price", "100", "--price-floor", "10"]);
    for _ in 0..4 {
        world.add_host(HostPlan::default());
    }
    world.wait_for_hosts(4);
    world.json(&["account", "credit", "owner-of-host-1", "100", "--why", "for a bond"]);
    let ticket = world.ticket("owner-of-host-1", "submit,read");
    let home = world.hosts[0].home.clone();
    let owner = |args: &[&str]| {
        let mut command = isos();
        command.args(["--json", "--server", &ticket, "--home"]).arg(&home).args(args);
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["data"].clone()
    };
    owner(&["market", "firm", "host-1", "--cores", "1"]);
    // Something is offered and wanted, so that there is a market.
    let long = hostile(world.folder(), "infinite_loop");
    world.submit(&[&long, "--count", "8", "--fuel", "1000G", "--bid", "300"]);
    world.wait("a market with supply", || class(&world)["supply"] == 4);
    let made = world.json(&["market", "reserve", "1", "--for", "5m", "--service", "0.5"]);
    let which = format!("reservation:{}", made["id"]);
    let booked = world.json(&["explain", &which]);
    assert!(booked.to_string().contains("1 core of"), "{booked}");
    let stands = || {
        let output = isos().args(["status", "--json", "--home"]).arg(&home).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        status["data"]["stands_in"].clone()
    };
    world.wait("the bond", || stands()["bonds"][0]["reservation"] == made["id"]);
    assert_eq!((&stands()["cores"], &stands()["bonds"][0]["cores"]), (&1.into(), &1.into()));
    let text = isos().args(["status", "--home"]).arg(&home).output().unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("reservation 1: 1 core until") && text.contains("a bond of"), "{text}");
    let why = world.json(&["explain", &which]);
    assert!(why["verdict"].as_str().unwrap().starts_with("kept so far"), "{why}");
    assert!(why.to_string().contains("1 firm host behind it, with 1 core"), "{why}");
    // It is the buyer's, and the operator's.
    let mut command = isos();
    command.args(["--server", &ticket, "--home"]).arg(&home).args(["explain", &which]);
    assert_eq!(command.output().unwrap().status.code(), Some(4));
}
