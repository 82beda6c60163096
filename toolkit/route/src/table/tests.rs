//! Tables: who is entered, who yields to whom.

use isos_base::AccountId;
use isos_base::random::Random;
use proptest::prelude::*;

use super::*;
use crate::certificate::Blocks;
use crate::testing;

const SIZE: usize = 4;

fn table() -> Table {
    Table::new(testing::contact(0).position(), SIZE, 2)
}

fn ms(n: u64) -> Span {
    Span::millis(n)
}

/// Hosts of the farthest bucket of [`table`].
fn far(count: usize) -> Vec<Arc<Contact>> {
    let own = testing::contact(0).position();
    let all = (1..).map(|n| Arc::new(testing::contact(n)));
    all.filter(|it| it.position().shared_prefix(own) == 0).take(count).collect()
}

#[test]
fn the_nearest_are_those_of_a_full_sort() {
    let mut table = Table::new(testing::contact(0).position(), 20, 2);
    let all = testing::contacts(1..200);
    for contact in &all {
        table.answered(Time(1), contact, ms(50));
    }
    table.check_invariants();
    let mut random = Random::new(1);
    for n in 0..100 {
        let target = Position::anywhere(&mut random).somewhere_at(n % 9, &mut random);
        let mut known: Vec<Position> = table.entries().map(|it| it.contact.position()).collect();
        known.sort_by_key(|place| place.distance(target));
        known.truncate(20);
        let got = table.closest(target, 20, true);
        assert_eq!(got.iter().map(|it| it.contact.position()).collect::<Vec<_>>(), known);
    }
}

#[test]
fn who_was_only_heard_of_is_told_to_nobody() {
    let mut table = table();
    let all = far(2);
    table.heard(&all[0]);
    table.asked(Time(1), &all[1]);
    assert!(table.closest(all[0].position(), 9, true).is_empty());
    assert_eq!(table.closest(all[0].position(), 9, false).len(), 2);
    assert!(table.answered(Time(2), &all[0], ms(9)));
    assert!(!table.answered(Time(3), &all[0], ms(9)), "proven before");
    assert_eq!(table.closest(all[0].position(), 9, true).len(), 1);
}

#[test]
fn a_full_bucket_of_the_living_is_not_flushed_by_newcomers() {
    let mut table = table();
    let all = far(50);
    for contact in &all {
        table.answered(Time(1), contact, ms(50));
        table.check_invariants();
    }
    let kept: Vec<HostId> = table.bucket(0).iter().map(Entry::host).collect();
    assert_eq!(kept, all[..SIZE].iter().map(|it| it.host()).collect::<Vec<_>>());
}

#[test]
fn who_does_not_answer_twice_makes_room_for_who_was_heard_of_last() {
    let mut table = table();
    let all = far(7);
    all.iter().for_each(|contact| _ = table.answered(Time(1), contact, ms(50)));
    assert!(!table.failed(all[0].position()));
    assert!(table.failed(all[0].position()));
    table.check_invariants();
    let newest = table.bucket(0).last().unwrap();
    assert_eq!((newest.host(), newest.proven), (all[6].host(), false));
    assert_eq!(table.lost().len(), 1, "remembered, should nobody else be left");
    assert!(table.failed(all[6].position()), "who was only heard of is given one try");
}

#[test]
fn an_answer_after_a_failure_counts_from_the_beginning() {
    let mut table = table();
    let all = far(1);
    table.answered(Time(1), &all[0], ms(50));
    for _ in 0..5 {
        assert!(!table.failed(all[0].position()));
        table.answered(Time(1), &all[0], ms(50));
    }
}

#[test]
fn who_is_alike_makes_room_for_who_is_not() {
    let mut table = table();
    let place = testing::contact(0).position();
    let of_one_owner = |n: u32| {
        let blocks = testing::certificate(n).blocks;
        let certificate = testing::certificate_of(n, AccountId(1_000_000), blocks);
        Arc::new(Contact::new(certificate, None, Vec::new()).unwrap())
    };
    let sybils: Vec<_> = (5_000..)
        .map(of_one_owner)
        .filter(|it| it.position().shared_prefix(place) == 0)
        .take(SIZE)
        .collect();
    // Where nobody else is, they have all places.
    sybils.iter().for_each(|contact| _ = table.answered(Time(1), contact, ms(50)));
    assert_eq!(table.bucket(0).len(), SIZE);
    for contact in far(6) {
        table.answered(Time(2), &contact, ms(50));
        table.check_invariants();
    }
    let count = |table: &Table| {
        let of = |entry: &&Entry| entry.contact.certificate().owner == AccountId(1_000_000);
        table.bucket(0).iter().filter(of).count()
    };
    assert_eq!(count(&table), 2, "as many as may be alike");
}

#[test]
fn the_younger_half_gives_way_to_who_is_much_nearer() {
    let mut table = table();
    let all = far(6);
    for (contact, rtt) in all.iter().zip([200, 200, 100, 200]) {
        table.answered(Time(1), contact, ms(rtt));
    }
    table.answered(Time(2), &all[4], ms(120));
    assert!(table.get(all[4].position()).is_none(), "not twice as near");
    table.answered(Time(2), &all[5], ms(20));
    assert!(table.get(all[5].position()).is_some());
    assert!(table.get(all[3].position()).is_none(), "the slowest of the younger half");
    assert!(table.get(all[0].position()).is_some(), "as slow, but old");
}

#[test]
fn blocks_of_addresses_are_counted_like_owners() {
    let block = Blocks { v4: Some([198, 51, 100]), v6: None };
    let near = |n: u32| {
        let certificate = testing::certificate_of(n, AccountId(u64::from(n)), block);
        Arc::new(Contact::new(certificate, None, Vec::new()).unwrap())
    };
    let mut bucket = Bucket::default();
    bucket.entries.extend([1, 2, 3].map(|n| Entry::new(near(n))));
    assert_eq!(bucket.alike(&near(4)), 3);
    assert_eq!(bucket.alike(&testing::contact(4)), 0);
}

#[test]
fn a_host_never_has_itself_in_its_table() {
    let mut table = table();
    table.answered(Time(1), &Arc::new(testing::contact(0)), ms(1));
    assert!(table.is_empty());
}

#[test]
fn the_stalest_is_who_was_only_heard_of_then_who_was_silent_longest() {
    let mut table = table();
    let all = far(3);
    table.answered(Time(5), &all[0], ms(1));
    table.answered(Time(4), &all[1], ms(1));
    table.heard(&all[2]);
    assert_eq!(table.stalest().unwrap().host(), all[2].host());
    table.failed(all[2].position());
    assert_eq!(table.stalest().unwrap().host(), all[1].host());
    table.probed(Time(9), all[1].position());
    assert_eq!(table.stalest().unwrap().host(), all[0].host());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_happens_the_table_keeps_its_rules(
        steps in prop::collection::vec((0..5_u8, 1..40_usize, 1..300_u64), 1..200),
    ) {
        let contacts = testing::contacts(0..40);
        let mut table = Table::new(contacts[0].position(), 3, 2);
        for (now, (what, who, rtt)) in steps.into_iter().enumerate() {
            let (contact, now) = (&contacts[who], Time(now as u64));
            match what {
                0 => table.heard(contact),
                1 => _ = table.asked(now, contact),
                2 => _ = table.answered(now, contact, ms(rtt)),
                3 => _ = table.failed(contact.position()),
                _ => table.banish(contact.position()),
            }
            table.check_invariants();
        }
    }
}
