//! Stories of storage leases: who gets room, who is paid, what is told.

use isos_base::api::{LeaseChange, QuotaView, Standing, StorageRequest};
use isos_base::audit::Deed;
use isos_base::fragment::StorageClass;
use isos_base::price::{MONTH, StoragePrice};
use isos_base::storage::{ShelfReport, StorageState};

use super::*;
use crate::complex::{KeyCall, Leased, StorageCall, StorageReply};

mod mend;
mod prove;
mod random;

const DAY: Span = Span::secs(86_400);
const GIB: u64 = 1 << 30;

impl World {
    /// A host of an owner of its own that offers so many GiB.
    fn keeper(&mut self, n: u8, gib: u64) {
        self.join(n);
        self.shelf(n, |report| report.offer.bytes = Bytes::gib(gib));
    }

    fn shelf(&mut self, n: u8, change: impl FnOnce(&mut ShelfReport)) {
        let known = self.tables.keepers.get(&host_id(n)).map(|keeper| keeper.offer.clone());
        let heard = self.hosts[&n].news.last().map_or(Time(0), |news| news.issued);
        let mut report = ShelfReport { offer: known.unwrap_or_default(), heard };
        change(&mut report);
        let session = self.hosts[&n].session.expect("it is connected");
        let frame = ToComplex::Shelf(Box::new(report));
        self.step(Input::HostSaid { session, frame });
    }

    fn wish(&self, hosts: u16, gib: u64, lasting: Span) -> StorageRequest {
        StorageRequest {
            class: StorageClass::Standard,
            bytes: Bytes::gib(gib),
            hosts,
            on: Vec::new(),
            beside: Vec::new(),
            avoid: Vec::new(),
            until: self.now + lasting,
            holder: PublicKey([200; 32]),
            price_max: None,
            key: None,
        }
    }

    fn storage(&mut self, call: StorageCall) -> Result<Vec<Leased>, Problem> {
        match self.call(Call::Storage(call))? {
            Reply::Storage(StorageReply::Leases(leases)) => Ok(leases),
            other => panic!("another reply: {other:?}"),
        }
    }

    fn rent(&mut self, request: StorageRequest) -> Result<Vec<Leased>, Problem> {
        let account = self.buyer();
        self.storage(StorageCall::Lease { account, request: Box::new(request) })
    }

    fn change(&mut self, changes: Vec<LeaseChange>) -> Result<Vec<Leased>, Problem> {
        let account = self.buyer();
        self.storage(StorageCall::Change { account, changes, price_max: None })
    }

    fn release(&mut self, leases: &[Leased]) -> Result<Vec<Leased>, Problem> {
        let (account, leases) = (self.buyer(), leases.iter().map(|it| it.record.id).collect());
        self.storage(StorageCall::Release { account, leases })
    }

    fn quota(&self) -> QuotaView {
        self.complex.quota(self.now, self.buyer())
    }

    fn free(&self, n: u8) -> u64 {
        self.complex.keeper_view(self.now, host_id(n)).unwrap().free.0 / GIB
    }

    /// Time passes; the hosts that are connected stay so.
    fn days(&mut self, days: u64) {
        self.pass(Span(DAY.0 * days));
    }
}

fn bytes(lease: &Leased, gib: u64) -> LeaseChange {
    LeaseChange { lease: lease.record.id, bytes: Some(Bytes::gib(gib)), until: None }
}

fn until(lease: &Leased, until: Time) -> LeaseChange {
    LeaseChange { lease: lease.record.id, bytes: None, until: Some(until) }
}

#[test]
fn a_gib_for_a_month_costs_its_price_and_the_host_earns_it_less_the_fee() {
    let mut world = World::new();
    world.keeper(1, 10);
    let leases = world.rent(world.wish(1, 2, MONTH)).unwrap();
    let [Leased { record, keeper }] = &leases[..] else { panic!("{leases:?}") };
    assert_eq!((record.host, record.bytes, keeper.owner.0 > 0), (host_id(1), Bytes(2 * GIB), true));
    assert_eq!(world.quota().held, MicroCredits(200_000), "all of it is set aside");
    let told = world.complex.explain_account(world.buyer()).unwrap();
    let told = told.reasons.iter().find(|reason| reason.about == "storage").unwrap();
    assert!(told.why.starts_with("0.200000 credits are held for 2 GiB of at most"), "{}", told.why);
    assert_eq!(world.free(1), 8);
    world.days(31);
    let spent = MicroCredits::credits(1_000).0 - world.balance("buyer");
    assert_eq!((spent, world.balance("owner1")), (200_000, 196_000));
    assert_eq!(world.quota().leases, 0);
    assert_eq!(world.free(1), 10, "the room is back");
    let row = world.tables.storage.values().next().unwrap();
    assert_eq!((row.state, row.charged.0, row.paid.0), (StorageState::Ended, 200_000, 196_000));
    assert_eq!(world.complex.ledger.holds().count(), 0);
}

#[test]
fn leases_of_many_months_are_paid_by_the_month() {
    let mut world = World::new();
    world.keeper(1, 10);
    world.rent(world.wish(1, 1, Span(MONTH.0 * 3))).unwrap();
    world.days(29);
    assert_eq!(world.balance("owner1"), 0);
    world.days(2);
    assert_eq!(world.balance("owner1"), 98_000);
    assert_eq!(world.quota().held, MicroCredits(200_000));
    world.days(60);
    assert_eq!(world.balance("owner1"), 3 * 98_000);
}

#[test]
fn no_two_leases_are_with_one_owner_while_there_are_others() {
    let mut world = World::new();
    for n in 1..=4 {
        world.come(n, "the same", |_| {});
        world.shelf(n, |report| report.offer.bytes = Bytes::gib(9));
    }
    (5..=8).for_each(|n| world.keeper(n, 9));
    let owners = |leases: &[Leased]| {
        let owners: BTreeSet<_> = leases.iter().map(|lease| lease.keeper.owner).collect();
        owners.len()
    };
    let leases = world.rent(world.wish(5, 1, DAY)).unwrap();
    assert_eq!(owners(&leases), 5);
    let all = world.rent(world.wish(8, 1, DAY)).unwrap();
    assert_eq!((owners(&all), all.len()), (5, 8), "then as few as can be");
    let beside: Vec<HostId> = leases.iter().map(|lease| lease.record.host).collect();
    let others = world.rent(StorageRequest { beside: beside.clone(), ..world.wish(3, 1, DAY) });
    assert!(others.unwrap().iter().all(|lease| !beside.contains(&lease.record.host)));
}

#[test]
fn who_does_not_get_what_it_wants_is_told_what_there_is() {
    let mut world = World::new();
    (1..=4).for_each(|n| world.keeper(n, 3));
    world.shelf(2, |report| report.offer.bytes = Bytes::gib(1));
    world.shelf(3, |report| report.offer.price_min = StoragePrice(500_000));
    world.leave(4);
    world.pass(Span::secs(2_000));
    let told = world.rent(world.wish(3, 2, DAY)).unwrap_err();
    assert_eq!(told.code, ProblemCode::Refused);
    expect_test::expect!["3 hosts with 2 GiB each are wanted, 1 are there: of 4 that keep fragments 1 are away, 1 have no such room, 1 ask more than 100000 micro-credits for a GiB and month; ask for fewer or less, or pay more"]
        .assert_eq(&told.message);
    let wish = StorageRequest { price_max: Some(StoragePrice(500_000)), ..world.wish(2, 2, DAY) };
    let leases = world.rent(wish).unwrap();
    let prices: BTreeSet<u32> = leases.iter().map(|lease| lease.record.price.0).collect();
    assert_eq!(prices, [100_000, 500_000].into(), "each at its own");
    let named = StorageRequest { on: vec![host_id(2)], ..world.wish(0, 2, DAY) };
    assert!(world.rent(named).unwrap_err().message.contains("has no room for 2 GiB"));
    let cheap = StorageRequest { price_max: Some(StoragePrice(1)), ..world.wish(1, 1, DAY) };
    assert!(world.rent(cheap).unwrap_err().message.contains("100000 micro-credits a month here"));
}

#[test]
fn a_request_that_makes_no_sense_changes_nothing() {
    let mut world = World::new();
    world.keeper(1, 3);
    let before = world.tables.clone();
    let wish = world.wish(1, 1, DAY);
    for bad in [
        StorageRequest { bytes: Bytes(1), ..wish.clone() },
        StorageRequest { bytes: Bytes(u64::MAX), ..wish.clone() },
        StorageRequest { hosts: 0, ..wish.clone() },
        StorageRequest { hosts: u16::MAX, ..wish.clone() },
        StorageRequest { on: vec![host_id(1)], ..wish.clone() },
        StorageRequest { on: vec![host_id(1); 2], hosts: 0, ..wish.clone() },
        StorageRequest { on: vec![host_id(9)], hosts: 0, ..wish.clone() },
        StorageRequest { until: world.now, ..wish.clone() },
        StorageRequest { until: Time(u64::MAX), ..wish.clone() },
        StorageRequest { avoid: vec![host_id(9); 300], ..wish.clone() },
        StorageRequest { bytes: Bytes::gib(4), ..wish },
    ] {
        assert!(world.rent(bad.clone()).is_err(), "{bad:?}");
    }
    assert_eq!(world.tables, before);
}

#[test]
fn what_an_account_cannot_pay_is_not_leased() {
    let mut world = World::new();
    world.keeper(1, 100_000);
    // A thousand credits are 10,000 GiB-months.
    let told = world.rent(world.wish(1, 10_001, MONTH)).unwrap_err();
    assert!(told.message.contains("the account lacks 0.1"), "{}", told.message);
    assert_eq!(world.free(1), 100_000);
    let leases = world.rent(world.wish(1, 10_000, MONTH)).unwrap();
    let longer = vec![until(&leases[0], world.now + MONTH + DAY)];
    assert_eq!(world.change(longer).unwrap_err().code, ProblemCode::Refused);
    assert!(world.change(vec![bytes(&leases[0], 5_000)]).is_ok(), "less can be had");
    assert_eq!(world.quota().held, MicroCredits::credits(500));
}

#[test]
fn time_in_which_a_host_is_away_is_paid_by_nobody() {
    let mut world = World::new();
    world.keeper(1, 10);
    let leases = world.rent(world.wish(1, 1, MONTH)).unwrap();
    world.days(10);
    world.leave(1);
    world.days(10);
    assert_eq!(world.quota().away, 1);
    let [lease] = &world.complex.storage_leases(world.now, world.buyer(), LeaseId(0), 9).0[..]
    else {
        panic!("it is still there")
    };
    assert_eq!((lease.keeper.standing, lease.record.id), (Standing::Missing, leases[0].record.id));
    world.join(1);
    world.shelf(1, |_| {});
    assert_eq!(world.quota().away, 0);
    world.days(11);
    // Twenty days, and what the last sign of life is good for.
    let time = Span(DAY.0 * 20 + world.complex.proof().0);
    let earned = StoragePrice(100_000).earning(Bytes::gib(1), time).0;
    let spent = MicroCredits::credits(1_000).0 - world.balance("buyer");
    assert!((earned..=earned + 1).contains(&spent), "{spent} for {earned}");
    assert_eq!(world.balance("owner1"), earned - earned * 200 / 10_000);
}

#[test]
fn a_host_that_sleeps_and_calls_when_it_was_told_to_is_there() {
    let mut world = World::new();
    world.keeper(1, 10);
    world.rent(world.wish(1, 1, DAY)).unwrap();
    for _ in 0..99 {
        world.leave(1);
        world.pass(world.complex.config.sleep_max);
        world.join(1);
    }
    assert_eq!(world.tables.storage.values().next().unwrap().state, StorageState::Ended);
    let whole = StoragePrice(100_000).charge(Bytes::gib(1), DAY);
    assert_eq!(MicroCredits::credits(1_000).0 - world.balance("buyer"), whole.0);
}

#[test]
fn a_server_that_starts_again_takes_nothing_from_anybody() {
    let mut world = World::new();
    world.keeper(1, 10);
    world.rent(world.wish(1, 1, MONTH)).unwrap();
    for _ in 0..29 {
        world.days(1);
        world.restart();
        assert_eq!(world.free(1), 9);
        world.pass(Span::secs(60));
        world.join(1);
    }
    world.days(2);
    assert_eq!(world.balance("owner1"), 98_000);
}

#[test]
fn leases_grow_shrink_and_last_longer_together_or_not_at_all() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.keeper(n, 4));
    let leases = world.rent(world.wish(2, 2, MONTH)).unwrap();
    world.days(15);
    let too_much = vec![bytes(&leases[0], 3), bytes(&leases[1], 5)];
    let told = world.change(too_much).unwrap_err();
    assert!(told.message.contains("has room for 2 GiB more"), "{}", told.message);
    assert_eq!((world.free(1), world.free(2)), (2, 2));
    let later = world.now + MONTH;
    world.change(vec![bytes(&leases[0], 1), until(&leases[1], later)]).unwrap();
    // Half a month of four GiB is paid; then half a month of one, and a month of two.
    let owners = world.balance("owner1") + world.balance("owner2");
    assert_eq!(owners, 196_000);
    assert_eq!(world.quota().held, MicroCredits(50_000 + 200_000));
    assert_eq!(world.quota().bytes, Bytes::gib(3));
    let sooner = vec![until(&leases[1], later - DAY)];
    assert_eq!(world.change(sooner).unwrap_err().code, ProblemCode::Usage);
    let twice = vec![bytes(&leases[0], 1), bytes(&leases[0], 2)];
    assert!(world.change(twice).is_err());
    world.days(31);
    assert_eq!(MicroCredits::credits(1_000).0 - world.balance("buyer"), 450_000);
}

#[test]
fn what_was_given_up_comes_back_but_for_the_time_that_passed() {
    let mut world = World::new();
    world.keeper(1, 4);
    let leases = world.rent(world.wish(1, 2, MONTH)).unwrap();
    world.days(3);
    let ended = world.release(&leases).unwrap();
    assert_eq!(ended[0].record.state, StorageState::Released);
    assert_eq!(MicroCredits::credits(1_000).0 - world.balance("buyer"), 20_000);
    assert_eq!((world.quota().held, world.free(1)), (MicroCredits::ZERO, 4));
    assert_eq!(world.release(&leases).unwrap_err().code, ProblemCode::NotFound);
    let account = world.open("other");
    let mine = world.rent(world.wish(1, 1, DAY)).unwrap();
    let leases = mine.iter().map(|it| it.record.id).collect();
    let told = world.storage(StorageCall::Release { account, leases }).unwrap_err();
    assert_eq!(told.code, ProblemCode::NotFound, "it is another's");
}

#[test]
fn the_same_key_leases_once() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.keeper(n, 4));
    let wish = StorageRequest { key: Some("once".into()), ..world.wish(2, 1, DAY) };
    let first = world.rent(wish.clone()).unwrap();
    world.restart();
    (1..=3).for_each(|n| world.join(n));
    let again = world.rent(wish.clone()).unwrap();
    let ids = |leases: &[Leased]| leases.iter().map(|it| it.record.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&again));
    let other = StorageRequest { bytes: Bytes::gib(2), ..wish };
    assert_eq!(world.rent(other).unwrap_err().code, ProblemCode::Usage);
    assert_eq!(world.quota().leases, 2);
    let deeds = world.tables.audit.values();
    let leased = deeds.filter(|it| matches!(it.deed, Deed::StorageLeased { leases: 2, .. }));
    assert_eq!(leased.count(), 1);
}

#[test]
fn work_and_storage_are_numbered_together() {
    let mut world = World::new();
    world.keeper(1, 4);
    let job = world.submit(job(3));
    let last = world.complex.last_lease;
    assert!(last > LeaseId(0), "the host has got work");
    let leases = world.rent(world.wish(1, 1, DAY)).unwrap();
    assert_eq!(leases[0].record.id, LeaseId(last.0 + 1));
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.restart();
    assert!(world.complex.last_lease > last);
}

#[test]
fn a_host_hears_what_has_changed_since_it_heard_last_and_no_more() {
    let mut world = World::new();
    world.keeper(1, 100);
    let told = |world: &mut World| std::mem::take(&mut world.hosts.get_mut(&1).unwrap().news);
    let many: Vec<Leased> =
        (0..10).flat_map(|_| world.rent(world.wish(1, 1, MONTH)).unwrap()).collect();
    let news = told(&mut world);
    assert_eq!(news.len(), 10, "at once, while it is connected");
    let heard = news.last().unwrap().issued;
    world.leave(1);
    world.change(vec![bytes(&many[3], 2)]).unwrap();
    world.release(&many[7..8]).unwrap();
    world.join(1);
    assert_eq!(told(&mut world), [], "it has not said what it knows");
    world.shelf(1, |report| report.heard = heard);
    let news = told(&mut world);
    let about: Vec<_> = news.iter().map(|it| (it.lease, it.bytes.0 / GIB)).collect();
    assert_eq!(about, [(many[3].record.id, 2), (many[7].record.id, 1)]);
    assert!(news[0].until > world.now && news[1].until <= news[1].issued, "one is over");
    let released = many[7].record.id;
    assert!(!world.tables.storage[&released].told);
    world.restart();
    world.join(1);
    world.shelf(1, |report| report.heard = news[1].issued);
    assert!(world.tables.storage[&released].told, "nobody remembers it any more");
    assert_eq!(told(&mut world), []);
    // A shelf that has lost everything hears of what is good.
    world.leave(1);
    world.join(1);
    world.shelf(1, |report| report.heard = Time(0));
    assert_eq!(told(&mut world).len(), 9);
    world.leave(1);
    world.join(1);
    world.shelf(1, |report| report.heard = Time(u64::MAX));
    assert_eq!(told(&mut world).len(), 9, "nor does it believe words that were never said");
}

#[test]
fn a_host_with_another_key_keeps_its_leases_under_new_grants() {
    let mut world = World::new();
    world.keeper(1, 4);
    let old = world.rent(world.wish(1, 1, MONTH)).unwrap().remove(0).record;
    world.days(10);
    let (from, to) = (host_id(1), host_id(9));
    world.call(Call::Keys(KeyCall::RotateHost { old: from, new: to, once: None })).unwrap();
    let [lease] = &world.complex.storage_leases(world.now, world.buyer(), LeaseId(0), 9).0[..]
    else {
        panic!("it has its lease")
    };
    assert_eq!((lease.record.id, lease.record.host, lease.keeper.host), (old.id, to, to));
    assert!(lease.record.issued > old.issued && lease.record.until == old.until);
    world.restart();
    world.come(9, "owner1", |_| {});
    world.shelf(9, |report| report.heard = Time(0));
    assert_eq!(world.hosts[&9].news.len(), 1);
    world.days(21);
    assert_eq!(world.balance("owner1"), 98_000, "nothing of its time is lost");
}

#[test]
fn a_host_that_knows_no_storage_hears_nothing_of_it() {
    let mut world = World::new();
    world.keeper(1, 4);
    world.rent(world.wish(1, 1, MONTH)).unwrap();
    world.hosts.get_mut(&1).unwrap().news.clear();
    world.leave(1);
    world.join(1);
    let leases = world.complex.storage_leases(world.now, world.buyer(), LeaseId(0), 9).0;
    world.release(&leases).unwrap();
    assert_eq!(world.hosts[&1].news, []);
}

#[test]
fn accounts_and_hosts_have_limits() {
    let small = Config { account_storage_max: Bytes::gib(5), ..Config::default() };
    let mut world = World::with(small);
    world.keeper(1, 100);
    let leases = world.rent(world.wish(1, 4, DAY)).unwrap();
    for refused in [world.rent(world.wish(1, 2, DAY)), world.change(vec![bytes(&leases[0], 6)])] {
        let told = refused.unwrap_err().message;
        assert!(
            told.contains("the limit is 5 GiB") && told.contains("--account-storage"),
            "{told}"
        );
    }
    let none = world.change(Vec::new()).unwrap_err();
    assert_eq!(none.code, ProblemCode::Usage);
    world.shelf(1, |report| {
        report.offer.bytes = Bytes(u64::MAX);
        report.offer.addresses = vec!["127.0.0.1:1".parse().unwrap(); 99];
        report.offer.relay = Some("x".repeat(999));
    });
    let view = world.complex.keeper_view(world.now, host_id(1)).unwrap();
    assert_eq!((view.addresses.len(), view.relay), (8, None));
}

#[test]
fn steady_hosts_are_chosen_more_often() {
    let mut world = World::new();
    (1..=20).for_each(|n| world.keeper(n, 1_000));
    world.days(30);
    (21..=40).for_each(|n| world.keeper(n, 1_000));
    let mut old = 0;
    for _ in 0..50 {
        let leases = world.rent(world.wish(4, 1, DAY)).unwrap();
        old += leases.iter().filter(|it| it.record.host.0.0[0] <= 20).count();
        world.release(&leases).unwrap();
    }
    assert!(old > 150, "{old} of 200");
    let view = world.complex.keepers(world.now, world.buyer(), Bytes::gib(1), None, 100);
    assert_eq!((view.known, view.here, view.hosts.len()), (40, 40, 40));
    assert!(view.hosts.iter().all(|it| it.up_ppm > 400_000));
}
