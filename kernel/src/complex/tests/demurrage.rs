//! Stories of credits that lie idle.

use isos_base::record::{EarnedRecord, Reason};

use super::market::market;
use super::*;
use crate::complex::BankCall;
use crate::complex::{BankConfig, RailTerms};

const DAY: Span = Span::secs(86_400);

fn world() -> World {
    let rail =
        RailTerms { name: "till".into(), currency: "credit".into(), rate: 1_000_000, unit: 1 };
    let bank = BankConfig { rails: vec![rail], ..BankConfig::default() };
    World::with(Config { demurrage_bps: 500, bank, price: Price(5_000), ..market() })
}

fn days(world: &mut World, days: u64) {
    for _ in 0..days {
        world.now += DAY;
        world.step(Input::TimerFired);
    }
}

/// A host that works for pay, and what it earned.
fn earn(world: &mut World) -> i64 {
    world.join_at(1, 20);
    let buyer = world.buyer();
    world.bid(buyer, JobSpec { fuel: Fuel(100_000_000), ..job(4_000) }, 9_000);
    world.run();
    world.pass(Span::secs(60));
    world.leave(1);
    world.balance("owner1")
}

fn lost(world: &World) -> i64 {
    let taken = |it: &&isos_base::record::TransferRecord| matches!(it.reason, Reason::Demurrage(_));
    world.tables.transfers.values().filter(taken).map(|it| it.amount.0).sum()
}

#[test]
fn what_was_earned_within_three_months_is_all_there_and_then_a_twentieth_goes_each_month() {
    let mut world = world();
    world.pass(DAY);
    let earned = earn(&mut world);
    assert!(earned > 100_000, "{earned}");
    days(&mut world, 89);
    assert_eq!(world.balance("owner1"), earned);
    // The month of the pay can have 30 days left then.
    days(&mut world, 31);
    let before = world.balance("owner1");
    days(&mut world, 30);
    let part = (before - world.balance("owner1")) as f64 / before as f64;
    assert!((0.047..0.0501).contains(&part), "{part} of {before}");
    assert_eq!(world.balance("owner1") + lost(&world), earned, "and nothing else was taken");
    let owner = world.complex.account_named("owner1").unwrap();
    let told = world.complex.explain_account(owner).unwrap();
    let told = told.reasons.iter().find(|it| it.about == "demurrage").unwrap();
    assert!(told.why.contains("5.00 % of that a month is lost"), "{}", told.why);
}

#[test]
fn what_was_paid_in_or_there_before_is_nobodys_hoard() {
    let mut world = world();
    // The buyer's welcome, at the time when it is switched on.
    let account = world.open("saver");
    let call = BankCall::Deposit {
        account,
        rail: "till".into(),
        id: "1".into(),
        money: MicroCredits::credits(50),
    };
    world.pass(DAY);
    world.call(Call::Bank(call)).unwrap();
    let before = (world.balance("buyer"), world.balance("saver"));
    days(&mut world, 200);
    assert_eq!((world.balance("buyer"), world.balance("saver")), before);
    assert_eq!(lost(&world), 0);
}

#[test]
fn a_day_is_taken_once_also_by_a_server_that_was_killed() {
    let mut world = world();
    world.pass(DAY);
    let earned = earn(&mut world);
    days(&mut world, 150);
    for _ in 0..4 {
        world.restart();
        world.pass(Span::secs(3_600));
    }
    let of_day = |it: &isos_base::record::TransferRecord| match it.reason {
        Reason::Demurrage(day) => Some((day, it.debit)),
        _ => None,
    };
    let mut taken: Vec<_> = world.tables.transfers.values().filter_map(of_day).collect();
    let all = taken.len();
    taken.dedup();
    assert!(all > 10 && taken.len() == all, "each day once: {all}");
    assert_eq!(world.balance("owner1") + lost(&world), earned);
    let kept = world.tables.snapshot().earned.len();
    assert!(kept < 16, "{kept} rows of {}", world.tables.earned.len());
}

#[test]
fn nothing_is_taken_where_the_operator_wants_none_of_it() {
    let mut world = World::with(Config { price: Price(5_000), ..market() });
    let earned = earn(&mut world);
    days(&mut world, 200);
    assert_eq!((world.balance("owner1"), world.tables.earned.len()), (earned, 0));
    assert!(EarnedRecord::is_of_use(0, 600) && !EarnedRecord::is_of_use(596, 600));
}
