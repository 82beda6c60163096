//! Why money and prices are as they are where a market makes prices and rails pay out.

use super::*;
use crate::complex::tests::market::market;
use crate::market::TICK;

#[test]
fn a_market_says_what_its_classes_cost_and_who_asks_too_much() {
    let mut world = World::with(market());
    world.now = NOON;
    world.join_at(1, 40);
    world.join_at(2, 900);
    let buyer = world.buyer();
    let low = world.bid(buyer, job(50), 60);
    (0..3).for_each(|_| world.pass(TICK));
    told(
        &world.complex.explain_price(),
        &expect![[r#"
        price: 67 micro-credits per gigafuel: 1 of 2 hosts lending something now would work for it, with 2 cores
          x86_64-2g: 67 by the last auction: 4 cores were wanted, 4 offered by 2 hosts; 59 where too few bid or ask; 61 in an account's turn
          auction: each class is cleared again at 2026-11-17T12:02:00Z; a lease keeps the price of its start
            -> `isos market prices` shows all, `isos market bid JOB` bids more
          fee: 2.00 % of what a host earns is the complex's
          1 host: lends 2 cores from 40 micro-credits per gigafuel on
          1 host: lends 2 cores from 900 micro-credits per gigafuel on
            -> not for what their class is at: wait for cheaper hours of their policies
    "#]],
    );
    why_host(
        &world,
        2,
        &expect![[r#"
        host aibaeaqcai: idle
          price: it works from 900 micro-credits per gigafuel on, its class is at 67
            -> lower price_min in its policy, or wait
          work: no task at hand
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
    why(
        &mut world,
        low,
        &expect![[r#"
        job 1: waiting: none of 2 hosts can run it now
          2 hosts (linux x86_64, 2 cores, 4 GiB): the price is 67 micro-credits per gigafuel, the job bids 60
            -> wait for a lower price (`isos market prices`), or `isos market bid 1 67`
    "#]],
    );
}

#[test]
fn credits_are_held_for_a_payout_and_for_cores_that_were_reserved() {
    let rail =
        RailTerms { name: "till".into(), currency: "credit".into(), rate: 1_000_000, unit: 1 };
    let bank = BankConfig { rails: vec![rail], ..BankConfig::default() };
    let mut world = World::with(Config { bank, ..market() });
    world.now = NOON;
    (1..=20).for_each(|n| world.join_at(n, 30));
    world.pass(TICK);
    let account = world.open("ada");
    let call = BankCall::Payout {
        account,
        amount: MicroCredits::credits(5),
        rail: None,
        to: "ada, at the counter".into(),
        key: None,
    };
    assert!(world.call(Call::Bank(call)).is_ok());
    let from = world.now + Span::secs(60);
    let wish =
        Wish { class: None, cores: 2, from, until: from + Span::secs(300), service_ppm: 900_000 };
    assert!(world.call(Call::Reserve { account, wish }).is_ok());
    why_account(
        &world,
        "ada",
        &expect![[r#"
        account ada (121): 993.983600 credits available, 6.016400 held
          payout 1: 5.000000 credits are held for it since 2026-11-17T12:00:30Z: rail till has not answered yet
            -> they come back if the rail refuses; `isos account payouts` says how it stands
          reservation 1: 1.016400 credits are held for the premium of 2 cores of x86_64-2g, until 2026-11-17T12:06:30Z
            -> what is not used comes back then; before 2026-11-17T12:01:30Z `isos market reserve --cancel 1` gives it up
          jobs: 0 are not over, of 1000 at the most
          hosts: 0 have joined, of 10000 at the most
    "#]],
    );
}
