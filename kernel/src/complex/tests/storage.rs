//! Stories of storage leases: who gets room, who is paid, what is told.

use isos_base::api::{LeaseChange, ProveRequest, QuotaView, Standing, StorageRequest};
use isos_base::audit::Deed;
use isos_base::fragment::{GROUP_BYTES, Groups, Piece, Proof, StorageClass};
use isos_base::price::{MONTH, StoragePrice};
use isos_base::storage::{MendReport, ShelfReport, StorageState};

use super::*;
use crate::complex::{KeyCall, Leased, StorageCall, StorageReply};

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

/// A fragment that a host may have or not.
fn fragment() -> Vec<u8> {
    (0..40_000_u32).map(|at| (at / 7) as u8).collect()
}

impl World {
    /// The buyer wants a proof of that fragment.
    fn prove(&mut self, lease: LeaseId, drawn: u32) -> Result<Vec<Leased>, Problem> {
        let (account, bytes) = (self.buyer(), fragment());
        let (fragment, length) = (Guid::of(&bytes), bytes.len() as u32);
        let request = ProveRequest { lease, fragment, length };
        self.storage(StorageCall::Prove { account, request, drawn })
    }

    /// A host answers what it was asked last, as it pleases.
    fn show(&mut self, n: u8, change: impl FnOnce(&mut Proof)) {
        let session = self.hosts[&n].session.expect("it is connected");
        let asked = self.hosts.get_mut(&n).unwrap().asked.pop().expect("it was asked");
        let bytes = fragment();
        let (_, groups) = Groups::of(&bytes);
        let (first, length) = (asked.group(), bytes.len() as u32);
        let from = (first * GROUP_BYTES) as usize;
        let part = bytes[from..bytes.len().min(from + GROUP_BYTES as usize)].to_vec();
        let piece = Piece { length, groups, first, bytes: part };
        let (lease, fragment) = (asked.lease, asked.fragment);
        let mut proof = Proof { lease, fragment, piece: Some(piece) };
        change(&mut proof);
        let frame = ToComplex::Proved(Box::new(proof));
        self.step(Input::HostSaid { session, frame });
    }

    fn standing(&self, n: u8) -> Standing {
        self.complex.keeper_view(self.now, host_id(n)).unwrap().standing
    }

    fn unproven(&self) -> Vec<(HostId, String)> {
        let deeds = self.tables.audit.values().map(|it| it.deed.clone());
        let why = deeds.filter_map(|deed| match deed {
            Deed::StorageUnproven { host, why, .. } => Some((host, why)),
            _ => None,
        });
        why.collect()
    }
}

fn flip(proof: &mut Proof) {
    proof.piece.as_mut().expect("there is one").bytes[9] ^= 1;
}

#[test]
fn a_host_that_proves_what_it_has_keeps_its_lease() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    for drawn in [0, 1, 2, 1_000_003] {
        assert_eq!(world.prove(lease, drawn).unwrap()[0].record.id, lease);
        assert_eq!(world.hosts[&1].asked.last().unwrap().group(), drawn % 3);
        world.show(1, |_| {});
    }
    world.days(31);
    assert_eq!((world.balance("owner1"), world.unproven()), (98_000, vec![]));
}

#[test]
fn who_has_nothing_to_show_loses_the_lease_and_nothing_that_it_has_earned() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.keeper(n, 10));
    let leases = world.rent(world.wish(2, 1, MONTH)).unwrap();
    let of = |n| leases.iter().find(|it| it.record.host == host_id(n)).unwrap().record.id;
    world.days(15);
    world.prove(of(1), 5).unwrap();
    world.show(1, |proof| proof.piece = None);
    assert_eq!(world.unproven(), [(host_id(1), "the host does not have it".to_owned())]);
    assert_eq!((world.quota().leases, world.quota().held), (1, MicroCredits(100_000)));
    assert_eq!(world.balance("owner1"), 49_000, "half of the month");
    assert_eq!((world.standing(1), world.free(1)), (Standing::Here, 10), "for others it is good");
    assert_eq!(world.hosts[&1].news.last().map(|news| news.lease), Some(of(1)), "it was told");
    assert_eq!(world.prove(of(1), 5).unwrap_err().code, ProblemCode::NotFound);
}

#[test]
fn wrong_bytes_convict_a_host_and_it_is_paid_nothing_until_it_proves_something() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.keeper(n, 10));
    let leases = world.rent(world.wish(2, 1, MONTH)).unwrap();
    let more = world.rent(StorageRequest { on: vec![host_id(1)], ..world.wish(0, 1, MONTH) });
    let more = more.unwrap()[0].record.id;
    let of = |n| leases.iter().find(|it| it.record.host == host_id(n)).unwrap().record.id;
    world.days(10);
    world.prove(of(1), 1).unwrap();
    world.show(1, flip);
    assert!(world.unproven()[0].1.contains("something else: group 1"), "{:?}", world.unproven());
    assert_eq!(world.standing(1), Standing::Missing);
    assert!(world.rent(world.wish(2, 1, DAY)).is_err(), "nor does it get others");
    world.days(10);
    world.prove(more, 0).unwrap();
    world.show(1, |_| {});
    assert_eq!(world.standing(1), Standing::Here);
    world.days(11);
    let earned = |days| StoragePrice(100_000).earning(Bytes::gib(1), Span(DAY.0 * days)).0;
    let paid = |days| earned(days) * 98 / 100;
    assert!((paid(10) + paid(20)).abs_diff(world.balance("owner1")) <= 2);
    assert_eq!(world.balance("owner2"), paid(30));
}

#[test]
fn nobody_loses_a_lease_by_the_word_of_who_does_not_pay_it() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    let account = world.open("other");
    let request = ProveRequest { lease, fragment: Guid::of(b"x"), length: 1 };
    let ask = |request| StorageCall::Prove { account, request, drawn: 0 };
    assert_eq!(world.storage(ask(request)).unwrap_err().code, ProblemCode::NotFound);
    for length in [0, u32::MAX] {
        let bad = ProveRequest { length, ..request };
        assert_eq!(world.storage(ask(bad)).unwrap_err().code, ProblemCode::Usage);
    }
    // Nor by answers to what was not asked.
    let session = world.hosts[&1].session.unwrap();
    let proof = Proof { lease, fragment: Guid::of(b"x"), piece: None };
    let frame = ToComplex::Proved(Box::new(proof));
    world.step(Input::HostSaid { session, frame });
    assert_eq!((world.quota().leases, world.unproven()), (1, vec![]));
}

#[test]
fn a_part_of_another_length_is_no_proof() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    let (account, fragment) = (world.buyer(), Guid::of(&fragment()));
    let request = ProveRequest { lease, fragment, length: 90_000 };
    world.storage(StorageCall::Prove { account, request, drawn: 0 }).unwrap();
    world.show(1, |_| {});
    assert!(world.unproven()[0].1.contains("another part"), "{:?}", world.unproven());
    assert_eq!(world.standing(1), Standing::Here, "who of them is wrong nobody knows");
}

#[test]
fn a_host_is_asked_when_it_comes_and_who_never_answers_has_nothing() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    world.leave(1);
    world.prove(lease, 1).unwrap();
    world.pass(Span::secs(3_600));
    world.join(1);
    assert!(world.hosts[&1].asked.is_empty(), "it has not said yet that it is a keeper");
    world.shelf(1, |_| {});
    world.show(1, |_| {});
    assert_eq!(world.unproven(), []);
    // Away for so long that the question is forgotten.
    world.leave(1);
    world.prove(lease, 1).unwrap();
    world.days(3);
    world.join(1);
    world.shelf(1, |_| {});
    assert!(world.hosts[&1].asked.is_empty());
    // There, and silent.
    world.prove(lease, 1).unwrap();
    world.prove(lease, 2).unwrap();
    assert_eq!(world.hosts[&1].asked.len(), 1, "one question is enough");
    world.pass(Span::secs(1_200));
    assert_eq!(world.unproven(), [(host_id(1), "the host did not answer".to_owned())]);
}

#[test]
fn who_hangs_up_whenever_it_is_asked_has_nothing() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    world.prove(lease, 1).unwrap();
    for _ in 0..3 {
        assert_eq!((world.quota().leases, world.unproven()), (1, vec![]));
        world.leave(1);
        world.join(1);
        world.shelf(1, |_| {});
    }
    assert_eq!((world.quota().leases, world.unproven().len()), (0, 1));
}

#[test]
fn what_lay_on_hosts_that_are_gone_is_leased_elsewhere_and_somebody_is_told_to_mend_it() {
    let mut world = World::new();
    (1..=8).for_each(|n| world.keeper(n, 10));
    let on: Vec<HostId> = (1..=6).map(host_id).collect();
    let wish = StorageRequest { on, hosts: 0, ..world.wish(0, 1, Span(MONTH.0 * 2)) };
    let leases = world.rent(wish).unwrap();
    let of = |n| leases.iter().find(|it| it.record.host == host_id(n)).unwrap().record.clone();
    let held = world.quota().held;
    (1..=2).for_each(|n| world.leave(n));
    world.pass(Span::secs(80_000));
    assert!(world.hosts.values().all(|host| host.orders.is_empty()), "most come back");
    world.pass(Span::secs(20_000));
    let menders: Vec<u8> =
        world.hosts.iter().filter(|(_, host)| !host.orders.is_empty()).map(|(n, _)| *n).collect();
    let [mender] = menders[..] else { panic!("one mends: {menders:?}") };
    let order = world.hosts[&mender].orders[0].clone();
    assert_eq!(order.lease, of(mender).id);
    let new: BTreeSet<HostId> = order.places.iter().map(|place| place.keeper.host).collect();
    assert_eq!(new, [host_id(7), host_id(8)].into(), "those that have nothing of it");
    assert_eq!(order.hosts.len(), 3, "and three others may have fragments");
    for place in &order.places {
        let grant = &place.grant.grant;
        assert_eq!((grant.holder, grant.until), (host_id(mender).0, of(1).until));
        let row = &world.tables.storage[&grant.lease];
        assert_eq!((row.holder, row.bytes, row.first), (of(1).holder, of(1).bytes, of(1).first));
    }
    assert_eq!((world.quota().leases, world.quota().away), (6, 0));
    assert!(world.quota().held <= held, "nobody pays more for it");
    assert_eq!(world.tables.storage[&of(1).id].state, StorageState::Released);
    let replaced = world.tables.audit.values();
    let replaced = replaced.filter(|it| matches!(it.deed, Deed::StorageReplaced { .. })).count();
    assert_eq!(replaced, 2);
    let report = MendReport { number: order.number, ..MendReport::default() };
    let session = world.hosts[&mender].session.unwrap();
    world.step(Input::HostSaid { session, frame: ToComplex::Mended(report) });
    world.days(10);
    assert!(world.hosts.values().all(|host| host.orders.len() <= 1), "once is enough");
}

#[test]
fn few_that_are_gone_are_not_worth_it_before_a_week() {
    let mut world = World::new();
    (1..=11).for_each(|n| world.keeper(n, 10));
    let on: Vec<HostId> = (1..=10).map(host_id).collect();
    let wish = StorageRequest { on, hosts: 0, ..world.wish(0, 1, Span(MONTH.0 * 2)) };
    world.rent(wish).unwrap();
    world.leave(1);
    let orders = |world: &World| {
        let orders = world.hosts.values().flat_map(|host| &host.orders);
        orders.map(|order| order.number).collect::<BTreeSet<u64>>()
    };
    world.days(6);
    assert_eq!(orders(&world), BTreeSet::new());
    world.days(2);
    assert_eq!(orders(&world).len(), 1);
}

#[test]
fn a_complex_that_was_down_for_days_gives_nobody_up_at_its_start() {
    let mut world = World::new();
    (1..=6).for_each(|n| world.keeper(n, 10));
    let on: Vec<HostId> = (1..=4).map(host_id).collect();
    let wish = StorageRequest { on, hosts: 0, ..world.wish(0, 1, Span(MONTH.0 * 2)) };
    world.rent(wish).unwrap();
    world.restart();
    world.now += Span(DAY.0 * 5);
    for n in 1..=3 {
        world.join(n);
        world.shelf(n, |_| {});
    }
    let open = world.complex.storage_leases(world.now, world.buyer(), LeaseId(0), 9).0;
    assert!(open.iter().any(|lease| lease.record.host == host_id(4)), "it may be on its way");
}

#[test]
fn where_nobody_has_the_room_a_lease_stays_and_is_tried_again() {
    let mut world = World::new();
    (1..=3).for_each(|n| world.keeper(n, 10));
    let leases = world.rent(world.wish(3, 1, Span(MONTH.0 * 2))).unwrap();
    world.leave(1);
    world.days(3);
    let open = world.complex.storage_leases(world.now, world.buyer(), LeaseId(0), 9).0;
    assert_eq!(open.len(), leases.len(), "nothing is given up for nothing");
    world.keeper(4, 10);
    world.days(1);
    let on = |world: &World, n| {
        let open = world.complex.storage_leases(world.now, world.buyer(), LeaseId(0), 9).0;
        open.iter().any(|lease| lease.record.host == host_id(n))
    };
    assert!(on(&world, 4) && !on(&world, 1));
}

#[test]
fn an_order_of_a_mender_that_goes_too_is_given_to_another() {
    let mut world = World::new();
    (1..=6).for_each(|n| world.keeper(n, 10));
    let on: Vec<HostId> = (1..=4).map(host_id).collect();
    let wish = StorageRequest { on, hosts: 0, ..world.wish(0, 1, Span(MONTH.0 * 2)) };
    world.rent(wish).unwrap();
    world.leave(1);
    world.pass(Span::secs(100_000));
    let mender = |world: &World| {
        let with = world.hosts.iter().filter(|(_, host)| !host.orders.is_empty());
        with.map(|(n, _)| *n).collect::<Vec<u8>>()
    };
    let first = mender(&world)[0];
    world.hosts.get_mut(&first).unwrap().orders.clear();
    world.leave(first);
    world.pass(Span::secs(10_000));
    let second = mender(&world)[0];
    assert_ne!(first, second);
    let order = &world.hosts[&second].orders[0];
    assert_eq!(order.places[0].grant.grant.holder, host_id(second).0);
    assert!(order.hosts.iter().all(|it| it.host != host_id(first) && it.host != host_id(second)));
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
