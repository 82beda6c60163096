//! Why money and prices are as they are where a market makes prices and rails pay out.

use isos_base::ReservationId;

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

#[test]
fn a_reservation_is_not_kept_and_a_bond_is_forfeited() {
    let mut world = World::with(market());
    world.now = NOON;
    (1..=20).for_each(|n| world.join_at(n, 30));
    world.pass(TICK);
    let buyer = world.open("ada");
    for n in 1..=2 {
        let account = world.complex.account_named(&format!("owner{n}")).unwrap();
        let (amount, why) = (MicroCredits::credits(100), "savings".into());
        world.call(Call::Mint { account, amount, why, key: None, by: account }).unwrap();
        world.call(Call::Firm { account, host: host_id(n), cores: 2 }).unwrap();
    }
    let from = world.now + Span::secs(60);
    let wish =
        Wish { class: None, cores: 3, from, until: from + Span::secs(600), service_ppm: 900_000 };
    world.call(Call::Reserve { account: buyer, wish }).unwrap();
    world.pass(Span::secs(60));
    (1..=20).filter(|n| *n != 2).for_each(|n| world.leave(n));
    world.bid(buyer, job(40), 2_000);
    world.pass(Span::secs(120));
    why_account(
        &world,
        "ada",
        &expect![[r#"
            account ada (121): 997.311800 credits available, 2.688200 held
              job 1: 0.080000 credits are held for it, 0.000704 of them for what runs and what is owed; open are 40 of 40 tasks
                -> what is not used comes back at its end; `isos job cancel 1` ends it now
              reservation 1: 2.608200 credits are held for the premium of 3 cores of x86_64-2g, until 2026-11-17T12:11:30Z
                -> what is not used comes back then; before 2026-11-17T12:01:30Z `isos market reserve --cancel 1` gives it up
              reservation 1: not kept: 4 of 12 core-ticks that were wanted were not there; 0.271200 credits are owed for them, 0.026400 of these from bonds of hosts
                -> nothing: it is paid at 2026-11-17T12:11:30Z, the rest of it from what your own premiums have left there, as far as there are any
              jobs: 1 are not over, of 1000 at the most
              hosts: 0 have joined, of 10000 at the most
        "#]],
    );
    why_account(
        &world,
        "owner1",
        &expect![[r#"
        account owner1 (101): 99.736000 credits available, 0.264000 held
          bond of host aeaqcaibae: 0.264000 credits are held while it stands behind reservation 1, until 2026-11-17T12:11:30Z; it was not there in 8 core-ticks, and where the reservation was short by that it lost 0.026400
            -> what is not lost comes back then; `isos market firm aeaqcaibae --leave` gives notice of ten minutes
          jobs: 0 are not over, of 1000 at the most
          hosts: 1 have joined, of 10000 at the most
    "#]],
    );
    why_host(
        &world,
        1,
        &expect![[r#"
        host aeaqcaibae: asleep
          connection: not connected; last seen 2026-11-17T12:01:30Z
            -> look after it: `isos status` there
          firm: it may be called to stand behind reservations, with 2 cores and a bond
            -> `isos market firm HOST --leave` ends that
          reservation 1: 2 cores stand behind it until 2026-11-17T12:11:30Z, a bond of 0.264000; it was not there in 8 core-ticks, and where the reservation was short by that it lost 0.026400
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
    why_host(
        &world,
        2,
        &expect![[r#"
        host aibaeaqcai: working
          work: 8 tasks at hand, 0us of work
          firm: it may be called to stand behind reservations, with 2 cores and a bond
            -> `isos market firm HOST --leave` ends that
          reservation 1: 2 cores stand behind it until 2026-11-17T12:11:30Z, a bond of 0.264000
          trust: 0 checks passed, 0 results accepted under verification; 100 % of its results are checked now for an error rate of 1e-2
          history: 0 results accepted, 0 rejected, 0 tasks lost
    "#]],
    );
}

fn why_reservation(world: &World, id: u64, expected: &Expect) {
    let explained = world.complex.explain_reservation(ReservationId(id));
    told(&explained.expect("a reservation that is not over"), expected);
}

#[test]
fn a_reservation_says_what_was_promised_who_stands_behind_it_and_what_became_of_it() {
    let mut world = World::with(market());
    world.now = NOON;
    (1..=20).for_each(|n| world.join_at(n, 30));
    world.pass(TICK);
    let buyer = world.open("ada");
    for n in 1..=2 {
        let account = world.complex.account_named(&format!("owner{n}")).unwrap();
        let (amount, why) = (MicroCredits::credits(100), "savings".into());
        world.call(Call::Mint { account, amount, why, key: None, by: account }).unwrap();
        world.call(Call::Firm { account, host: host_id(n), cores: 2 }).unwrap();
    }
    let low = world.bid(buyer, job(3), 40);
    let from = world.now + Span::secs(60);
    let wish =
        Wish { class: None, cores: 3, from, until: from + Span::secs(600), service_ppm: 900_000 };
    world.call(Call::Reserve { account: buyer, wish }).unwrap();
    why_reservation(
        &world,
        1,
        &expect![[r#"
        reservation 1: booked: its window begins at 2026-11-17T12:01:30Z
          promise: 3 cores of x86_64-2g from 2026-11-17T12:01:30Z until 2026-11-17T12:11:30Z, with a chance of 90 %, at 88 micro-credits per gigafuel: 7 are reckoned with for that
          job 1: it bids 40 micro-credits per gigafuel, the reserved price is 88: it has nothing of the reservation
            -> `isos market bid 1 88`
          premium: 2.608200 credits are held: 0.041400 for each core and half minute, but for those that are wanted and not there
            -> `isos market reserve --cancel 1` gives it up, until 2026-11-17T12:01:30Z
    "#]],
    );
    assert_eq!(world.complex.explain_reservation(ReservationId(2)), None);
    world.pass(Span::secs(90));
    why_reservation(
        &world,
        1,
        &expect![[r#"
        reservation 1: kept so far: 0 core-ticks were wanted and there
          promise: 3 cores of x86_64-2g from 2026-11-17T12:01:30Z until 2026-11-17T12:11:30Z, with a chance of 90 %, at 88 micro-credits per gigafuel: 7 are reckoned with for that
          job 1: it bids 40 micro-credits per gigafuel, the reserved price is 88: it has nothing of the reservation
            -> `isos market bid 1 88`
          firm hosts: 2 firm hosts behind it, with 4 cores and bonds of 0.528000 credits; for 3 more nobody stands: no other firm host of x86_64-2g is there, asks 88 or less, and has the credits for a bond; any other host of the class serves it as well, and owes nothing for leaving
            -> owners: `isos market firm HOST --cores 4`
          use: no job of the account has wanted a core of it so far; the promise costs the same
            -> submit one that bids 88 or more
          premium: 2.608200 credits are held: 0.041400 for each core and half minute, but for those that are wanted and not there
            -> what is not used comes back at 2026-11-17T12:11:30Z
    "#]],
    );
    (1..=20).filter(|n| *n != 2).for_each(|n| world.leave(n));
    world.call(Call::Cancel { job: low }).unwrap();
    world.bid(buyer, job(40), 2_000);
    world.pass(Span::secs(120));
    why_reservation(
        &world,
        1,
        &expect![[r#"
            reservation 1: not kept: 4 of 12 core-ticks that were wanted were not there
              promise: 3 cores of x86_64-2g from 2026-11-17T12:01:30Z until 2026-11-17T12:11:30Z, with a chance of 90 %, at 88 micro-credits per gigafuel: 7 are reckoned with for that
              firm hosts: 2 firm hosts behind it, with 4 cores and bonds of 0.501600 credits; for 3 more nobody stands: no other firm host of x86_64-2g is there, asks 88 or less, and has the credits for a bond; any other host of the class serves it as well, and owes nothing for leaving
                -> owners: `isos market firm HOST --cores 4`
              premium: 2.608200 credits are held: 0.041400 for each core and half minute, but for those that are wanted and not there
                -> what is not used comes back at 2026-11-17T12:11:30Z
              compensation: 0.271200 credits are owed for what was not there, 0.026400 of these from bonds of hosts
                -> nothing: it is paid at 2026-11-17T12:11:30Z, the rest of it from what your own premiums have left there, as far as there are any
        "#]],
    );
    world.pass(Span::secs(600));
    let record = &world.tables.reservations[&ReservationId(1)];
    let bonds: Vec<_> = world.tables.bonds.values().cloned().collect();
    told(
        &Complex::explain_ended_reservation(record, &bonds),
        &expect![[r#"
        reservation 1: not kept, over since 2026-11-17T12:11:30Z: 19 of 57 core-ticks that were wanted were not there
          promise: 3 cores of x86_64-2g from 2026-11-17T12:01:30Z until 2026-11-17T12:11:30Z, with a chance of 90 %, at 88 micro-credits per gigafuel: 7 are reckoned with for that
          premium: 1.697400 credits were paid for the promise, 0.432959 of them to hosts that stood behind it
          compensation: 1.288200 credits were paid for what was not there, 0.125400 of them from bonds of hosts
    "#]],
    );
    assert_eq!(world.complex.explain_reservation(record.id), None, "it is the database's to tell");
}
