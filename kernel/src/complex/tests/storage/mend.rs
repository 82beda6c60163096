//! Stories of hosts that are gone: what takes the place of their leases, and who mends.

use isos_base::storage::{MendOrder, MendReport};

use super::*;

impl World {
    /// Keepers of 10 GiB, of which the first `leased` have a lease of one for two months.
    fn with_keepers(keepers: u8, leased: u8) -> (Self, Vec<Leased>) {
        let mut world = Self::new();
        (1..=keepers).for_each(|n| world.keeper(n, 10));
        let on: Vec<HostId> = (1..=leased).map(host_id).collect();
        let wish = StorageRequest { on, hosts: 0, ..world.wish(0, 1, Span(MONTH.0 * 2)) };
        let leases = world.rent(wish).unwrap();
        (world, leases)
    }

    /// The order that a host was given and has not looked at.
    fn take_order(&mut self) -> Option<(u8, MendOrder)> {
        self.hosts.iter_mut().find_map(|(n, host)| Some((*n, host.orders.pop()?)))
    }

    fn mended(&mut self, mender: u8, order: &MendOrder, is_whole: bool) {
        let report = MendReport { number: order.number, is_whole, ..MendReport::default() };
        let session = self.hosts[&mender].session.unwrap();
        self.step(Input::HostSaid { session, frame: ToComplex::Mended(report) });
    }
}

#[test]
fn what_lay_on_hosts_that_are_gone_is_leased_elsewhere_and_somebody_is_told_to_mend_it() {
    let (mut world, leases) = World::with_keepers(8, 6);
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
    world.mended(mender, &order, true);
    world.days(10);
    assert!(world.hosts.values().all(|host| host.orders.len() <= 1), "once each is enough");
}

#[test]
fn each_holder_mends_what_those_before_it_had_nothing_of() {
    let (mut world, _) = World::with_keepers(5, 4);
    world.leave(1);
    world.pass(Span::secs(100_000));
    let mut mended = BTreeSet::new();
    for before in 0..3 {
        let (mender, order) = world.take_order().expect("a holder is left");
        assert_ne!(mender, 5, "a new place has nothing to mend from");
        assert_eq!(usize::from(order.mended), before);
        let told: BTreeSet<HostId> = order.hosts[..before].iter().map(|it| it.host).collect();
        assert_eq!(told, mended);
        assert_eq!(order.hosts.len(), 2, "the others may have fragments");
        assert_eq!(order.places[0].grant.grant.holder, host_id(mender).0);
        world.mended(mender, &order, true);
        mended.insert(host_id(mender));
    }
    assert!(world.take_order().is_none(), "all have");
    world.days(10);
    assert!(world.take_order().is_none());
}

#[test]
fn what_a_mender_could_not_do_is_left_for_the_others() {
    let (mut world, _) = World::with_keepers(5, 4);
    world.leave(1);
    world.pass(Span::secs(100_000));
    let mut menders = BTreeSet::new();
    while let Some((mender, order)) = world.take_order() {
        assert_eq!(order.mended, 0);
        assert!(menders.insert(mender), "nobody is asked twice");
        world.mended(mender, &order, false);
    }
    assert_eq!(menders, [2, 3, 4].into());
}

#[test]
fn few_that_are_gone_are_not_worth_it_before_a_week() {
    let (mut world, _) = World::with_keepers(11, 10);
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
    let (mut world, _) = World::with_keepers(6, 4);
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
    let (mut world, _) = World::with_keepers(6, 4);
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
fn a_server_that_starts_again_gives_orders_again_that_nobody_has_reported() {
    let (mut world, _) = World::with_keepers(6, 4);
    world.leave(1);
    world.pass(Span::secs(100_000));
    let (_, before) = world.take_order().expect("an order");
    world.restart();
    let come_back = |world: &mut World| {
        for n in 2..=6 {
            world.join(n);
            world.shelf(n, |_| {});
        }
    };
    come_back(&mut world);
    assert!(world.take_order().is_none(), "not before all have had the time to come back");
    world.pass(Span::secs(20_000));
    let lease = |order: &MendOrder| order.places.iter().map(|it| it.grant.grant.lease).collect();
    let mut leases: Vec<Vec<LeaseId>> = vec![lease(&before)];
    while let Some((mender, order)) = world.take_order() {
        assert!(order.number > before.number, "reports of before are for other orders");
        leases.push(lease(&order));
        world.mended(mender, &order, true);
    }
    assert_eq!(leases.len(), 4, "each of the three holders that are left, once: {leases:?}");
    assert!(leases.iter().all(|it| *it == leases[0]));
    // Days later it was filled, or will be by nobody.
    world.days(3);
    world.restart();
    come_back(&mut world);
    world.pass(Span::secs(20_000));
    assert!(world.take_order().is_none());
}

#[test]
fn orders_are_given_again_for_leases_of_a_request_of_their_own_once_an_old_holder_is_back() {
    let mut world = World::new();
    (1..=5).for_each(|n| world.keeper(n, 10));
    for n in 1..=3 {
        let on = vec![host_id(n)];
        let wish = StorageRequest { on, hosts: 0, ..world.wish(0, 1, Span(MONTH.0 * 2)) };
        world.rent(wish).unwrap();
    }
    world.leave(1);
    world.pass(Span::secs(100_000));
    let (_, before) = world.take_order().expect("an order");
    let new = before.places[0].keeper.host;
    world.restart();
    let n = (4..=5).find(|n| host_id(*n) == new).expect("one that had nothing");
    world.join(n);
    world.shelf(n, |_| {});
    world.pass(Span::secs(30_000));
    assert!(world.take_order().is_none(), "a new place has nothing to mend from");
    world.join(2);
    world.shelf(2, |_| {});
    world.pass(Span::secs(30_000));
    let (mender, order) = world.take_order().expect("the order again");
    assert_eq!((mender, order.places[0].keeper.host), (2, new));
}
