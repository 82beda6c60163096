//! Stories of a complex whose prices a market makes.

use isos_base::audit::Deed;
use isos_base::market::ReservationState;

use super::*;
use crate::complex::{Pricing, Wish};
use crate::market::{Band, TICK};

const BAND: Band = Band { floor: Price(10), ceiling: Price(10_000) };

pub(super) fn market() -> Config {
    Config { pricing: Pricing::Market(BAND), ..Config::default() }
}

impl World {
    pub(super) fn open(&mut self, name: &str) -> AccountId {
        let welcome = MicroCredits::credits(1_000);
        match self.call(Call::OpenAccount { name: name.into(), welcome }) {
            Ok(Reply::Account(account)) => account,
            other => panic!("no account: {other:?}"),
        }
    }

    pub(super) fn bid(&mut self, account: AccountId, spec: JobSpec, bid: u32) -> JobId {
        let (spec, bid) = (Box::new(spec), Price(bid));
        match self.call(Call::SubmitBid { account, spec, key: None, bid }) {
            Ok(Reply::Job(view)) => view.id,
            other => panic!("not submitted: {other:?}"),
        }
    }

    /// A host that asks so much.
    pub(super) fn join_at(&mut self, n: u8, price: u32) {
        self.come(n, &format!("owner{n}"), |hello| {
            hello.offer.price_min = Price(price);
        });
    }

    /// The market is cleared once.
    pub(super) fn tick(&mut self) {
        self.pass(TICK);
    }

    fn price(&self) -> u32 {
        self.complex.prices().classes[0].price.0
    }
}

#[test]
fn a_lease_costs_what_the_auction_says_not_what_was_bid() {
    let mut world = World::with(market());
    (1..=4).for_each(|n| world.join_at(n, 20 * u32::from(n)));
    let (one, other) = (world.open("one"), world.open("other"));
    let first = world.bid(one, job(4), 500);
    let second = world.bid(other, job(100), 300);
    // Some leases were granted when the market opened, at the opening price.
    world.tick();
    // Eight cores; the ninth unit is bid 300, and nobody asks more than that.
    assert_eq!(world.price(), 300);
    world.run();
    assert_eq!((world.state(first), world.state(second)), (JobState::Done, JobState::Done));
    for lease in world.tables.leases.values() {
        let bid = world.tables.jobs[&lease.job].price;
        assert!(lease.price <= bid, "{} above {}", lease.price.0, bid.0);
    }
    let at_price = |price: u32| world.tables.leases.values().any(|it| it.price == Price(price));
    assert!(at_price(100) && at_price(300), "the opening price, then the auction's");
    let bills = world.tables.bills.values();
    assert!(bills.clone().all(|bill| bill.charged == bill.price.charge(bill.fuel)));
    let charged: i64 = bills.map(|bill| bill.charged.0).sum();
    let spent: i64 = world.tables.jobs.values().map(|job| job.spent.0).sum();
    assert_eq!(charged, spent);
    world.pass(Span::secs(600));
    assert_eq!(world.complex.ledger.holds().count(), 0, "nothing is left aside");
}

#[test]
fn nobody_sells_below_its_ask_and_who_bids_too_little_is_told() {
    let mut world = World::with(market());
    world.join_at(1, 200);
    let buyer = world.buyer();
    let low = world.bid(buyer, job(2), 150);
    (0..8).for_each(|_| world.tick());
    assert!(world.tables.leases.is_empty(), "it asks more than is bid");
    let told = world.complex.explain_job(low).unwrap();
    let why: Vec<_> = told.reasons.iter().map(|reason| reason.why.as_str()).collect();
    let asks = |why: &&str| why.contains("wants 200") || why.contains("the job bids 150");
    assert!(why.iter().any(asks), "{why:?}");
    let Ok(Reply::Job(view)) = world.call(Call::Bid { job: low, bid: Price(400) }) else {
        panic!("the bid is not changed")
    };
    assert_eq!((view.price, view.held), (Price(400), MicroCredits(2 * 400)));
    (0..20).for_each(|_| world.tick());
    world.run();
    assert_eq!(world.state(low), JobState::Done);
    assert!(world.tables.leases.values().all(|it| (200..=400).contains(&it.price.0)));
    world.pass(Span::secs(60));
    assert_eq!(world.complex.ledger.holds().count(), 0);
}

#[test]
fn a_bid_is_refused_where_the_operator_fixes_the_price() {
    let mut world = World::new();
    let running = world.submit(job(5));
    let refused = world.call(Call::Bid { job: running, bid: Price(500) }).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Refused);
    let (account, spec) = (world.buyer(), Box::new(job(1)));
    let low = Call::SubmitBid { account, spec: spec.clone(), key: None, bid: Price(99) };
    assert!(world.call(low).unwrap_err().message.contains("one price, 100"));
    let high = Call::SubmitBid { account, spec, key: None, bid: Price(5_000) };
    let Ok(Reply::Job(view)) = world.call(high) else { panic!("enough is bid") };
    assert_eq!(view.price, Price(100), "and it pays the price");
    assert!(world.complex.market_history(None).is_none());
}

#[test]
fn without_a_bid_a_job_bids_twice_the_price_if_the_account_can_cover_that() {
    let mut world = World::with(market());
    world.join(1);
    let id = world.submit(job(10));
    assert_eq!(world.tables.jobs[&id].price, Price(200));
    // A thousand credits, and this one may cost 999.9 of them at the price of now.
    let dear = JobSpec { fuel: Fuel(1_000_000_000_000), ..job(9_990) };
    let id = world.submit(dear);
    assert_eq!(world.tables.jobs[&id].price, Price(100));
}

#[test]
fn who_bids_less_than_the_price_gets_a_turn_at_the_price_of_the_cheapest() {
    let mut world = World::with(market());
    (1..=10).for_each(|n| world.join_at(n, 20));
    let (rich, rich2, poor) = (world.open("rich"), world.open("rich2"), world.open("poor"));
    world.bid(rich, job(60_000), 900);
    world.bid(rich2, job(60_000), 800);
    let patient = world.bid(poor, job(40), 40);
    world.tick();
    assert!(world.price() >= 800, "{}", world.price());
    // As fast as hosts say that they are, and not so long that the others are done.
    for _ in 0..40 {
        world.now += Span::millis(200);
        (1..=10).for_each(|n| _ = world.work(n, 200));
        world.pass(Span::ZERO);
    }
    let leases = world.tables.leases.values().filter(|it| it.job == patient);
    let prices: Vec<u32> = leases.map(|lease| lease.price.0).collect();
    // Its ask over how reliable a new host counts.
    assert!(
        !prices.is_empty() && prices.iter().all(|price| (20..=40).contains(price)),
        "{prices:?}"
    );
}

#[test]
fn prices_their_past_and_what_is_reserved_survive_the_server() {
    let mut world = World::with(market());
    (1..=20).for_each(|n| world.join_at(n, 30));
    let (one, other) = (world.open("one"), world.open("other"));
    world.bid(one, job(60_000), 500);
    world.bid(other, job(60_000), 400);
    (0..5).for_each(|_| world.tick());
    let from = world.now + Span::secs(600);
    let wish =
        Wish { class: None, cores: 4, from, until: from + Span::secs(300), service_ppm: 900_000 };
    let Ok(Reply::Reserved(made)) = world.call(Call::Reserve { account: one, wish }) else {
        panic!("not reserved")
    };
    assert!(made.behind > made.cores && made.price == Price(world.price()));
    let before = (world.complex.prices(), world.complex.market_history(None).unwrap());
    assert!(before.1.ticks.len() >= 5);
    world.restart();
    assert_eq!(world.complex.market_history(Some("x86_64-2g")).unwrap(), before.1);
    assert_eq!(world.complex.prices().classes[0].price, before.0.classes[0].price);
    let kept: Vec<_> = world.complex.reservations(Some(one)).cloned().collect();
    assert_eq!(kept, [*made]);
}

fn reserve(world: &mut World, account: AccountId, cores: u32) -> Result<Reply, Problem> {
    let from = world.now + Span::secs(60);
    let until = from + Span::secs(300);
    let wish = Wish { class: None, cores, from, until, service_ppm: 900_000 };
    world.call(Call::Reserve { account, wish })
}

#[test]
fn whoever_reserved_is_first_in_the_window_and_pays_the_premium() {
    let mut world = World::with(market());
    world.task = Span::secs(1);
    (1..=20).for_each(|n| world.join_at(n, 30));
    let (one, other) = (world.open("one"), world.open("other"));
    let rich = world.open("rich");
    world.bid(rich, job(6_000), 300);
    world.bid(other, job(6_000), 290);
    (0..2).for_each(|_| world.tick());
    let too_much = reserve(&mut world, one, 30).unwrap_err();
    assert!(too_much.message.contains("30 cores"), "{}", too_much.message);
    let Ok(Reply::Reserved(made)) = reserve(&mut world, one, 4) else { panic!("not reserved") };
    let mine = world.bid(one, job(6_000), 1_000);
    let end = made.until + TICK + TICK;
    while world.now < end {
        world.pass(Span::secs(2));
        (1..=20).for_each(|n| _ = world.work(n, 2));
    }
    let record = &world.tables.reservations[&made.id];
    assert_eq!(record.state, ReservationState::Over);
    assert!(record.wanted > 0 && record.given == record.wanted, "{record:?}");
    assert!(record.paid > MicroCredits::ZERO && record.compensated == MicroCredits::ZERO);
    let fees = world.complex.account_view(system::FEES).unwrap();
    assert!(fees.received >= record.paid);
    let leases = world.tables.leases.values();
    assert!(leases.clone().any(|it| it.job == mine && it.price == record.price));
    assert!(world.complex.reservations(None).next().is_none());
}

#[test]
fn a_promise_that_is_broken_is_compensated_and_one_that_is_cancelled_costs_nothing() {
    let mut world = World::with(market());
    (1..=20).for_each(|n| world.join_at(n, 30));
    let (one, other) = (world.open("one"), world.open("other"));
    world.bid(other, job(20_000), 300);
    (0..2).for_each(|_| world.tick());
    world.run();
    // Work has been paid for, so there are fees; and so has a promise that was kept.
    world.pass(Span::secs(60));
    let fees = |world: &World| world.complex.account_view(system::FEES).unwrap().available.0;
    let of_work = fees(&world);
    let Ok(Reply::Reserved(kept)) = reserve(&mut world, one, 2) else { panic!("not reserved") };
    world.pass(Span::secs(600));
    let brought = world.tables.reservations[&kept.id].paid.0;
    assert!(of_work > 0 && brought > 0 && fees(&world) == of_work + brought);
    let before = world.balance("one");
    let Ok(Reply::Reserved(gone)) = reserve(&mut world, one, 2) else { panic!("not reserved") };
    let call = Call::Unreserve { account: other, id: gone.id };
    assert_eq!(world.call(call).unwrap_err().code, ProblemCode::NotFound, "it is not his");
    let call = Call::Unreserve { account: one, id: gone.id };
    assert!(matches!(world.call(call), Ok(Reply::Reserved(_))));
    assert_eq!(world.balance("one"), before);
    let Ok(Reply::Reserved(made)) = reserve(&mut world, one, 2) else { panic!("not reserved") };
    // All hosts leave, and what was promised is wanted.
    (1..=20).for_each(|n| world.leave(n));
    world.bid(one, job(10), 5_000);
    world.pass(Span::secs(600));
    let record = &world.tables.reservations[&made.id];
    assert_eq!((record.state, record.given), (ReservationState::Over, 0));
    assert_eq!((record.wanted, record.ticks * 2), (record.ticks * 2, record.wanted));
    assert!(record.wanted >= 18, "{record:?}");
    assert_eq!(record.paid, MicroCredits::ZERO);
    // What is owed is paid from what promises have brought, and from nothing else: all hosts of a
    // class may be one owner's, who has reserved them under another name.
    let owed = record.penalty.0 * record.wanted as i64;
    assert_eq!(record.compensated.0, owed.min(brought));
    assert_eq!(fees(&world), of_work + brought - record.compensated.0);
    let left = MicroCredits(brought - record.compensated.0);
    assert_eq!(world.tables.snapshot().brought, [(one, left)]);
}

#[test]
fn hosts_show_what_their_cores_do_and_core_hours_are_reckoned_by_the_middle_one() {
    let mut world = World::with(market());
    world.join(1);
    assert_eq!(world.complex.core_rate(), 10_000_000_000, "nothing is known yet");
    world.submit(job(400));
    // Ten million fuel in a millisecond each.
    world.run();
    world.tick();
    let rate = world.complex.core_rate();
    assert!((9_900_000_000..10_400_000_000).contains(&rate), "{rate}");
    let hour = world.complex.prices().classes[0].core_hour;
    let price = world.complex.prices().classes[0].price;
    assert!(hour.0 > 0 && hour.0 / i64::from(price.0) >= 35_000, "{hour} at {}", price.0);
}

#[test]
fn each_word_that_sets_credits_aside_or_gives_them_back_is_in_the_log_once() {
    let mut world = World::with(market());
    (1..=20).for_each(|n| world.join_at(n, 30));
    let (one, busy) = (world.open("one"), world.open("busy"));
    world.bid(busy, job(6_000), 300);
    let job_id = world.bid(one, job(10), 500);
    (0..2).for_each(|_| world.tick());
    let before = world.tables.audit.len();
    let ask = |world: &mut World, call: Call| drop(world.call(call).unwrap());
    ask(&mut world, Call::Bid { job: job_id, bid: Price(700) });
    let Ok(Reply::Reserved(made)) = reserve(&mut world, one, 2) else { panic!("not reserved") };
    ask(&mut world, Call::Unreserve { account: one, id: made.id });
    assert!(world.call(Call::Unreserve { account: one, id: made.id }).is_err());
    let other = world.bid(one, job(1_000), 20);
    ask(&mut world, Call::Cancel { job: other });
    ask(&mut world, Call::Cancel { job: other });
    let log: Vec<_> = world.tables.audit.values().skip(before).collect();
    assert!(log.iter().all(|record| record.account == Some(one)));
    let deeds: Vec<_> = log.iter().map(|record| &record.deed).collect();
    assert!(
        matches!(
            deeds[..],
            [
                Deed::BidChanged { job, bid: Price(700), .. },
                Deed::CoresReserved { reservation, cores: 2, held, .. },
                Deed::ReservationCancelled { reservation: gone },
                Deed::JobSubmitted { job: submitted, .. },
                Deed::JobCancelled { job: cancelled },
            ] if *job == job_id && reservation == gone && held.0 > 0
                && [submitted, cancelled] == [&other; 2]
        ),
        "{deeds:?}"
    );
}

#[test]
fn a_host_whose_cores_do_twice_as_much_offers_twice_as_many_units() {
    let mut world = World::with(market());
    (1..=3).for_each(|n| world.join_at(n, 20));
    let (one, other) = (world.open("one"), world.open("other"));
    world.bid(one, job(60_000), 300);
    world.bid(other, job(60_000), 200);
    let does = |world: &mut World, n: u8, task: Span| {
        world.task = task;
        world.work(n, 400);
    };
    for _ in 0..60 {
        world.now += Span::millis(10);
        does(&mut world, 1, Span::millis(1));
        does(&mut world, 2, Span::millis(1));
        does(&mut world, 3, Span::micros(500));
    }
    world.tick();
    let class = world.complex.prices().classes.remove(0);
    assert_eq!((class.hosts, class.supply), (3, 8), "two, two, and two that count as four");
    let told = world.complex.explain_host(host_id(3), true).unwrap();
    let speed = told.reasons.iter().find(|reason| reason.about == "speed").unwrap();
    assert!(speed.why.contains("2 of them count as 4 of the reference"), "{}", speed.why);
}
