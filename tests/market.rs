//! A complex whose prices are made by a market, as buyers and owners meet it.

use serde_json::Value;

use crate::world::{ALWAYS, HostPlan, World, hostile, module};

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
