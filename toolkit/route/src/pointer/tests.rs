//! Pointers: signatures, quotas, expiry.

use std::sync::Arc;

use isos_base::random::Random;
use proptest::prelude::*;

use super::*;
use crate::certificate::Blocks;
use crate::testing;

fn pointer(guid: u8, holder: u32, expires: u64) -> Pointer {
    testing::pointer(Guid([guid; 32]), holder, Time(expires))
}

#[test]
fn a_pointer_is_good_only_in_its_holders_words_and_in_time() {
    let mut keys = testing::keys(1);
    let good = pointer(1, 2, 100);
    assert!(good.is_good(&mut keys, Time(99)));
    assert!(!good.is_good(&mut keys, Time(100)));
    let changed = [
        Pointer { guid: Guid([2; 32]), ..good.clone() },
        Pointer { expires: Time(101), ..good.clone() },
        Pointer { load: 1, ..good.clone() },
        Pointer { holder: Arc::new(testing::contact(3)), ..good },
    ];
    assert!(changed.iter().all(|pointer| !pointer.is_good(&mut keys, Time(1))));
}

#[test]
fn a_holder_has_one_pointer_of_a_guid_its_latest() {
    let mut store = Store::default();
    for expires in [100, 300, 200] {
        assert_eq!(store.put(Time(1), pointer(1, 2, expires)), Put::Kept);
        store.check_invariants();
    }
    let got = store.get(Time(2), Guid([1; 32]), 9, &mut Random::new(1));
    assert_eq!(got.iter().map(|pointer| pointer.expires).collect::<Vec<_>>(), [Time(300)]);
    assert!(store.get(Time(300), Guid([1; 32]), 9, &mut Random::new(1)).is_empty());
    store.check_invariants();
    assert!(store.is_empty());
}

#[test]
fn a_guid_that_many_hold_is_full_here() {
    let mut store = Store::default();
    let max = PER_GUID_MAX as u32;
    for holder in 0..max {
        assert_eq!(store.put(Time(1), pointer(1, holder, 100)), Put::Kept);
    }
    assert_eq!(store.put(Time(1), pointer(1, max, 100)), Put::Full);
    assert_eq!(store.put(Time(1), pointer(1, 0, 200)), Put::Kept, "who is here may renew");
    assert_eq!(store.put(Time(1), pointer(2, max, 100)), Put::Kept, "another GUID");
}

#[test]
fn readers_get_a_few_each_time_others() {
    let mut store = Store::default();
    (0..10).for_each(|holder| _ = store.put(Time(1), pointer(1, holder, 100)));
    let mut random = Random::new(7);
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let got = store.get(Time(2), Guid([1; 32]), 3, &mut random);
        assert_eq!(got.len(), 3);
        seen.extend(got.iter().map(|pointer| pointer.holder.host()));
    }
    assert_eq!(seen.len(), 10);
}

#[test]
fn a_guid_that_is_asked_for_too_often_takes_no_further_pointers_for_a_minute() {
    let mut store = Store::default();
    let end = 600_000_000;
    store.put(Time(1), pointer(1, 1, end));
    let mut random = Random::new(7);
    for _ in 0..=ASKED_PER_MINUTE_MAX {
        store.get(Time(2), Guid([1; 32]), 1, &mut random);
    }
    assert_eq!(store.put(Time(3), pointer(1, 2, end)), Put::Full);
    assert_eq!(store.put(Time(60_000_000), pointer(1, 2, end)), Put::Kept);
}

#[test]
fn one_owner_fills_a_part_of_a_router_only() {
    let mut store = Store::default();
    let owner = AccountId(7);
    let holder = |n| {
        let certificate = testing::certificate_of(n, owner, Blocks::default());
        Arc::new(Contact::new(certificate, None, Vec::new()).unwrap())
    };
    let (one, two) = (holder(1), holder(2));
    let sealed = pointer(1, 1, 100).seal;
    let of = |n: usize, holder: &Arc<Contact>| Pointer {
        guid: Guid::of(&n.to_le_bytes()),
        holder: holder.clone(),
        expires: Time(100),
        load: 0,
        seal: sealed,
    };
    for n in 0..PER_OWNER_MAX {
        let by = if n % 2 == 0 { &one } else { &two };
        assert_eq!(store.put(Time(1), of(n, by)), Put::Kept);
    }
    assert_eq!(store.put(Time(1), of(PER_OWNER_MAX, &one)), Put::Quota);
    assert_eq!(store.put(Time(1), pointer(1, 3, 100)), Put::Kept, "another owner");
    store.check_invariants();
}

#[test]
fn a_life_without_end_is_refused() {
    let mut store = Store::default();
    let late = LIFE_MAX.0 + CLOCK_SLACK.0 + 2;
    assert_eq!(store.put(Time(1), pointer(1, 1, late)), Put::Refused);
    assert_eq!(store.put(Time(1), pointer(1, 1, late - 1)), Put::Kept);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_put_and_asked_the_books_add_up(
        steps in prop::collection::vec((0..4_u8, 0..3_u32, 1..60_u64, 0..4_u64), 1..60),
    ) {
        let mut store = Store::default();
        let mut now = Time(0);
        let template = pointer(0, 0, 1);
        let holders = testing::contacts(0..3);
        for (guid, holder, life, wait) in steps {
            now = Time(now.0 + wait);
            store.put(now, Pointer {
                guid: Guid([guid; 32]),
                holder: holders[holder as usize].clone(),
                expires: Time(now.0 + life),
                ..template.clone()
            });
            store.check_invariants();
            prop_assert!(store.next_end().is_some_and(|end| end > now));
        }
    }
}
