//! Stories of hosts that stand behind reservations with a bond.

use isos_base::market::{BondRecord, BondState, ReservationRecord, ReservationState};
use proptest::prelude::*;

use super::market::market;
use super::*;
use crate::complex::{KeyCall, Wish};
use crate::market::TICK;

/// Half an hour is longer than notice.
const WINDOW: Span = Span::secs(1_800);

impl World {
    fn owner(&self, n: u8) -> AccountId {
        self.complex.account_named(&format!("owner{n}")).unwrap()
    }

    /// A host is firm, and its owner has what covers a bond.
    fn make_firm(&mut self, n: u8, cores: u32) {
        let account = self.owner(n);
        let (amount, why) = (MicroCredits::credits(1_000), "savings".into());
        self.call(Call::Mint { account, amount, why, key: None, by: system::MINT }).unwrap();
        self.call(Call::Firm { account, host: host_id(n), cores }).unwrap();
    }

    fn give_notice(&mut self, n: u8) {
        let account = self.owner(n);
        self.call(Call::EndFirm { account, host: host_id(n) }).unwrap();
    }

    /// Four cores for half an hour, from the next minute on.
    fn promise(&mut self, account: AccountId) -> ReservationRecord {
        let from = self.now + Span::secs(60);
        let wish = Wish { class: None, cores: 4, from, until: from + WINDOW, service_ppm: 900_000 };
        match self.call(Call::Reserve { account, wish }) {
            Ok(Reply::Reserved(made)) => *made,
            other => panic!("not reserved: {other:?}"),
        }
    }

    fn bonds(&self) -> Vec<&BondRecord> {
        self.tables.bonds.values().collect()
    }
}

/// Twenty hosts that ask 30, of which some are firm with both cores; two others have made a price.
fn world(firm: std::ops::RangeInclusive<u8>) -> (World, AccountId) {
    let mut world = World::with(market());
    (1..=20).for_each(|n| world.join_at(n, 30));
    let (one, other) = (world.open("one"), world.open("other"));
    world.bid(other, job(20_000), 300);
    (0..2).for_each(|_| world.tick());
    world.run();
    world.pass(Span::secs(60));
    firm.for_each(|n| world.make_firm(n, 2));
    (world, one)
}

#[test]
fn who_stands_behind_a_promise_that_is_kept_has_its_bond_back_and_a_part_of_the_premium() {
    let (mut world, one) = world(1..=20);
    let made = world.promise(one);
    assert!(made.behind > made.cores && made.standby > MicroCredits::ZERO);
    assert!(made.standby <= made.premium && made.bond.0 > 0 && made.bond.0 * 4 <= made.penalty.0);
    let before: Vec<i64> = (1..=20).map(|n| world.balance(&format!("owner{n}"))).collect();
    world.pass(Span::secs(90));
    let stand: u32 = world.bonds().iter().map(|bond| bond.cores).sum();
    assert_eq!(stand, made.behind, "as many are called as are to stand there");
    let held: i64 = world.bonds().iter().map(|bond| bond.amount.0).sum();
    let ticks = WINDOW.0 / TICK.0;
    assert!(held <= made.bond.0 * i64::from(made.behind) * ticks as i64 && held > 0);
    world.pass(WINDOW + TICK);
    let record = &world.tables.reservations[&made.id];
    assert_eq!(record.state, ReservationState::Over);
    assert!(record.paid > MicroCredits::ZERO && record.forfeited == MicroCredits::ZERO);
    let mut shared = 0;
    for bond in world.bonds() {
        assert_eq!((bond.state, bond.missed, bond.lost.0), (BondState::Returned, 0, 0));
        assert!(bond.stood > 0 && bond.paid > MicroCredits::ZERO, "{bond:?}");
        shared += bond.paid.0;
    }
    assert!(shared <= record.paid.0 && shared > record.paid.0 / 2, "{shared}");
    let gained = |n: u8| world.balance(&format!("owner{n}")) - before[usize::from(n) - 1];
    assert_eq!((1..=20).map(gained).sum::<i64>(), shared, "and nobody gained anything else");
    assert_eq!(world.complex.ledger.holds().count(), 0, "nothing is left aside");
    assert!(world.complex.firm(None).all(|(_, bonds)| bonds.is_empty()));
}

#[test]
fn who_is_not_there_when_it_is_wanted_loses_of_its_bond_to_whom_the_promise_was_broken() {
    let (mut world, one) = world(1..=3);
    let made = world.promise(one);
    world.bid(one, job(10), 5_000);
    (1..=20).filter(|n| *n > 3).for_each(|n| world.leave(n));
    world.run();
    world.pass(Span::secs(90));
    assert_eq!(world.bonds().len(), 3, "all that are firm were called");
    let before = world.balance("one");
    (1..=3).for_each(|n| world.leave(n));
    let wanted = world.bid(one, job(10), 5_000);
    world.pass(WINDOW + TICK);
    let record = world.tables.reservations[&made.id].clone();
    assert_eq!((record.state, record.given), (ReservationState::Over, 0));
    let away: i64 = world.bonds().iter().map(|bond| i64::from(bond.cores)).sum();
    let lost: i64 = world.bonds().iter().map(|bond| bond.lost.0).sum();
    assert!(away >= 4 && lost > 0 && record.forfeited.0 == lost);
    // The rest is paid from what the promise has brought the complex itself: there was none before.
    let brought = record.paid.0 - world.bonds().iter().map(|bond| bond.paid.0).sum::<i64>();
    assert_eq!(record.compensated.0, record.forfeited.0 + brought, "{record:?}");
    for bond in world.bonds() {
        assert_eq!(bond.state, BondState::Forfeited);
        assert!(bond.lost <= bond.amount, "{bond:?}");
        // Four cores were short, and more were away: nobody loses for more than was missed.
        let most = made.bond.0 * bond.missed as i64 * 4 / away;
        assert!(bond.lost.0 <= most && bond.lost.0 > most - 200, "{bond:?} of {most}");
        assert!(world.balance(&format!("owner{}", bond.host.0.0[0])) >= 0);
    }
    let (debits, end) = (world.tables.jobs[&wanted].spent.0, world.balance("one"));
    assert_eq!(end - before, record.compensated.0 - record.paid.0 - debits);
    let lapse = world.complex.hosts[&host_id(1)].reliability;
    assert!(lapse.lost > 0, "and it counts as less reliable");
}

/// The owner of a whole class reserves it under another name, and leaves: what he loses of bonds
/// goes to himself, and what others have paid for promises is not his to have.
#[test]
fn who_reserves_his_own_class_and_leaves_gains_nothing_of_what_others_have_paid() {
    let (mut world, honest) = world(1..=20);
    world.promise(honest);
    world.pass(WINDOW + Span::secs(90));
    let left = world.tables.snapshot().brought;
    assert!(left.len() == 1 && left[0].0 == honest && left[0].1 > MicroCredits::ZERO, "{left:?}");
    let shill = world.open("shill");
    let fees = |world: &World| world.complex.account_view(system::FEES).unwrap().available.0;
    let his = |world: &World| {
        let owned: i64 = (1..=20).map(|n| world.balance(&format!("owner{n}"))).sum();
        owned + world.balance("shill")
    };
    let (had, fees_before) = (his(&world), fees(&world));
    let mut made = Vec::new();
    for restarts in [false, true] {
        let away: Vec<u8> = (1..=20).filter(|n| world.hosts[n].session.is_none()).collect();
        away.into_iter().for_each(|n| world.join_at(n, 30));
        (0..3).for_each(|_| world.tick());
        made.push(world.promise(shill));
        world.pass(Span::secs(90));
        (1..=20).for_each(|n| world.leave(n));
        let wanted = world.bid(shill, job(10), 5_000);
        if restarts {
            world.restart();
        }
        world.pass(WINDOW + TICK);
        world.call(Call::Cancel { job: wanted }).unwrap();
    }
    world.pass(Span::secs(60));
    assert_eq!(world.complex.ledger.holds().count(), 0, "nothing is left aside");
    for made in made {
        let record = &world.tables.reservations[&made.id];
        assert!(record.wanted > 0 && record.given == 0, "{record:?}");
    }
    assert!(his(&world) <= had, "{} of {had}", his(&world));
    assert_eq!(his(&world) - had, fees_before - fees(&world), "and nobody else has lost anything");
    assert_eq!(world.tables.snapshot().brought[0], left[0], "it is there for who has paid it");
}

#[test]
fn nobody_loses_for_what_nobody_missed() {
    let (mut world, one) = world(1..=3);
    let made = world.promise(one);
    world.pass(Span::secs(90));
    // Nothing of the account waits, so nothing is short.
    (1..=20).for_each(|n| world.leave(n));
    world.pass(WINDOW + TICK);
    let record = &world.tables.reservations[&made.id];
    assert_eq!((record.wanted, record.forfeited.0, record.compensated.0), (0, 0, 0));
    for bond in world.bonds() {
        assert_eq!((bond.state, bond.lost.0), (BondState::Returned, 0));
        assert!(bond.missed > 0);
    }
}

#[test]
fn what_could_use_no_reservation_is_not_missed_and_nobody_pays_for_it() {
    let (mut world, one) = world(1..=3);
    let made = world.promise(one);
    world.pass(Span::secs(90));
    (1..=20).for_each(|n| world.leave(n));
    // Whoever is not there could do none of it: too low a bid, too much memory, other hosts.
    world.bid(one, job(10), made.price.0 - 1);
    world.bid(one, JobSpec { memory: Bytes::gib(64), ..job(10) }, 5_000);
    let elsewhere = Some("host.arch == \"aarch64\"".to_owned());
    world.bid(one, JobSpec { constraint: elsewhere, ..job(10) }, 5_000);
    world.pass(Span::secs(600));
    let record = &world.tables.reservations[&made.id];
    assert_eq!((record.state, record.wanted), (ReservationState::Active, 0));
    // This one could.
    world.bid(one, job(10), made.price.0);
    world.pass(WINDOW);
    let record = &world.tables.reservations[&made.id];
    assert!(record.wanted > 0 && record.given == 0 && record.compensated > record.forfeited);
    assert!(record.forfeited > MicroCredits::ZERO);
}

#[test]
fn who_gives_notice_stands_for_ten_minutes_more_and_is_replaced() {
    let (mut world, one) = world(1..=2);
    let made = world.promise(one);
    world.bid(one, job(60_000), 5_000);
    world.pass(Span::secs(90));
    assert_eq!(world.bonds().len(), 2);
    world.give_notice(1);
    world.give_notice(2);
    let said = world.now;
    assert!(world.bonds().iter().all(|bond| bond.until == said + Span::secs(600)));
    let (account, host) = (world.owner(1), host_id(1));
    let again = world.call(Call::EndFirm { account, host }).unwrap_err();
    assert_eq!(again.code, ProblemCode::NotFound, "{again:?}");
    world.pass(Span::secs(630));
    let bonds = world.bonds();
    assert!(bonds.iter().all(|it| it.state == BondState::Returned && it.lost.0 == 0), "{bonds:?}");
    // All are gone, and it is short: but for these two nobody had promised anything.
    world.make_firm(5, 2);
    world.tick();
    assert_eq!(
        world.bonds().last().map(|it| (it.host, it.state)),
        Some((host_id(5), BondState::Standing))
    );
    (1..=20).for_each(|n| world.leave(n));
    world.pass(WINDOW);
    let lost: Vec<_> = world.bonds().iter().map(|bond| bond.lost.0 > 0).collect();
    assert_eq!(lost, [false, false, true]);
    assert_eq!(world.tables.reservations[&made.id].state, ReservationState::Over);
}

#[test]
fn notice_of_who_is_gone_already_is_none() {
    let (mut world, one) = world(1..=1);
    world.promise(one);
    world.bid(one, job(60_000), 5_000);
    world.pass(Span::secs(90));
    (1..=20).for_each(|n| world.leave(n));
    let until = world.bonds()[0].until;
    world.give_notice(1);
    assert_eq!(world.bonds()[0].until, until, "it stands in until it is back");
    let leaves = world.tables.firm[&host_id(1)].leaves;
    assert_eq!(leaves, Some(world.now + Span::secs(600)), "but is called to nothing else");
    world.pass(WINDOW + TICK);
    assert_eq!(world.bonds()[0].state, BondState::Forfeited);
}

#[test]
fn only_its_owner_makes_a_host_firm_and_only_as_far_as_the_bond_is_covered() {
    let (mut world, one) = world(1..=1);
    let (account, host) = (world.owner(2), host_id(1));
    let call = Call::Firm { account, host, cores: 2 };
    assert_eq!(world.call(call).unwrap_err().code, ProblemCode::NotFound);
    let (account, host) = (world.owner(1), host_id(1));
    let call = Call::Firm { account, host, cores: 0 };
    assert_eq!(world.call(call).unwrap_err().code, ProblemCode::Usage);
    let call = Call::EndFirm { account: one, host };
    assert_eq!(world.call(call).unwrap_err().code, ProblemCode::NotFound);
    // It has what its one task has paid, and no more.
    let (account, host) = (world.owner(3), host_id(3));
    world.call(Call::Firm { account, host, cores: 2 }).unwrap();
    let made = world.promise(one);
    world.pass(Span::secs(90));
    let ticks = (WINDOW.0 / TICK.0) as i64;
    let has = world.balance("owner3");
    let covered = has / (made.bond.0 * ticks);
    let bonds = world.bonds();
    assert!(covered < 2 && bonds.iter().filter(|it| it.host == host).count() as i64 <= covered);
    assert!(bonds.iter().any(|it| it.host == host_id(1)));
    let mut fixed = World::new();
    fixed.join(1);
    let (account, host) = (fixed.owner(1), host_id(1));
    let refused = fixed.call(Call::Firm { account, host, cores: 1 }).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Refused);
}

#[test]
fn bonds_survive_the_server_and_who_is_not_back_yet_loses_nothing() {
    let (mut world, one) = world(1..=3);
    world.promise(one);
    world.bid(one, job(60_000), 5_000);
    world.pass(Span::secs(90));
    let before: Vec<BondRecord> = world.bonds().into_iter().cloned().collect();
    assert_eq!(before.len(), 3);
    world.restart();
    let bonds = |world: &World| -> Vec<BondRecord> {
        world.complex.firm(None).flat_map(|(_, bonds)| bonds.into_iter().cloned()).collect()
    };
    assert_eq!(bonds(&world), before);
    world.pass(Span::secs(35));
    assert!(bonds(&world).iter().all(|bond| bond.lost.0 == 0), "they are given time");
    assert_eq!(world.complex.firm(Some(one)).count(), 0);
    // The key of a host changes, and what it stands in for is the new one's.
    let (old, new) = (host_id(1), host_id(101));
    let call = KeyCall::RotateHost { old, new, once: None };
    world.call(Call::Keys(call)).unwrap();
    assert!(bonds(&world).iter().all(|bond| bond.host != old));
    assert_eq!((world.tables.firm[&old].cores, world.tables.firm[&new].cores), (0, 2));
    world.restart();
    assert_eq!(world.complex.firm(None).filter(|(firm, _)| firm.host == new).count(), 1);
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Comes(u8),
    Goes(u8),
    Firm(u8, u32),
    Notice(u8),
    Reserves(u32),
    Wants(u32),
    Works,
    Passes(u64),
    Restarts,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (1_u8..9).prop_map(Deed::Comes),
        (1_u8..9).prop_map(Deed::Goes),
        (1_u8..9, 1_u32..4).prop_map(|(n, cores)| Deed::Firm(n, cores)),
        (1_u8..9).prop_map(Deed::Notice),
        (1_u32..3).prop_map(Deed::Reserves),
        (1_u32..6).prop_map(Deed::Wants),
        Just(Deed::Works),
        (1_u64..12).prop_map(Deed::Passes),
        Just(Deed::Restarts),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The machine's invariants are checked after each step; here is what must hold at the end.
    #[test]
    fn whatever_owners_do_bonds_and_premiums_go_where_they_belong(
        deeds in proptest::collection::vec(deed(), 1..60),
    ) {
        let mut world = World::with(market());
        (1..=8).for_each(|n| world.join_at(n, 30));
        let one = world.open("one");
        (1..=8).for_each(|n| world.make_firm(n, 2));
        world.tick();
        for deed in deeds {
            match deed {
                Deed::Comes(n) if world.hosts[&n].session.is_none() => world.join_at(n, 30),
                Deed::Goes(n) => world.leave(n),
                Deed::Firm(n, cores) => {
                    let account = world.owner(n);
                    _ = world.call(Call::Firm { account, host: host_id(n), cores });
                }
                Deed::Notice(n) => {
                    let account = world.owner(n);
                    _ = world.call(Call::EndFirm { account, host: host_id(n) });
                }
                Deed::Reserves(cores) => {
                    let from = world.now + Span::secs(60);
                    let until = from + Span::secs(300);
                    let wish = Wish { class: None, cores, from, until, service_ppm: 600_000 };
                    _ = world.call(Call::Reserve { account: one, wish });
                }
                Deed::Wants(tasks) => _ = world.bid(one, job(tasks), 5_000),
                Deed::Works => (1..=8).for_each(|n| _ = world.work(n, 2)),
                Deed::Passes(ticks) => (0..ticks).for_each(|_| world.tick()),
                Deed::Restarts => world.restart(),
                Deed::Comes(_) => {}
            }
        }
        world.pass(Span::secs(900));
        prop_assert!(world.tables.snapshot().brought.iter().all(|(_, left)| left.0 >= 0));
        for record in world.tables.reservations.values() {
            let bonds: Vec<_> =
                world.tables.bonds.values().filter(|it| it.reservation == record.id).collect();
            let sum = |of: fn(&BondRecord) -> i64| bonds.iter().map(|bond| of(bond)).sum::<i64>();
            prop_assert_eq!(sum(|bond| bond.lost.0), record.forfeited.0);
            prop_assert!(sum(|bond| bond.paid.0) <= record.paid.0);
            prop_assert!(record.forfeited <= record.compensated);
            let owed = i128::from(record.penalty.0) * i128::from(record.wanted - record.given);
            prop_assert!(i128::from(record.compensated.0) <= owed);
            for bond in bonds {
                prop_assert!(bond.state != BondState::Standing, "{:?}", bond);
                prop_assert!(bond.lost <= bond.amount);
                prop_assert_eq!(bond.state == BondState::Forfeited, bond.lost.0 > 0);
            }
        }
        prop_assert_eq!(world.complex.ledger.holds().filter(|it| {
            world.tables.bonds.values().any(|bond| bond.hold == it.id)
        }).count(), 0);
    }
}
