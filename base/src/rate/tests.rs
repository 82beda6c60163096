//! Buckets against their definition, and attackers who want to be forgotten.

use proptest::prelude::*;

use super::*;

const RATE: Rate = Rate { per_second: 10, burst: 20 };

fn secs(secs: u64) -> Time {
    Time(1_000_000_000) + Span::secs(secs)
}

#[test]
fn a_burst_is_there_at_once_and_then_the_rate() {
    let mut rates = Rates::new(RATE, 8);
    for _ in 0..20 {
        assert_eq!(rates.take(secs(0), "ada", 1), Ok(()));
    }
    assert_eq!(rates.take(secs(0), "ada", 1), Err(Span::millis(100)));
    assert_eq!(rates.take(secs(0), "ada", 5), Err(Span::millis(500)));
    assert_eq!(rates.take(secs(0), "bob", 1), Ok(()), "others are unharmed");
    assert_eq!(rates.take(secs(1), "ada", 10), Ok(()));
    assert_eq!(rates.take(secs(1), "ada", 1), Err(Span::millis(100)));
    assert!((rates.used(secs(2), "ada") - 0.5).abs() < 1e-9);
}

#[test]
fn who_is_told_to_wait_gets_it_after_that_time_and_not_before() {
    let mut rates = Rates::new(Rate { per_second: 3, burst: 3 }, 8);
    rates.take(secs(0), 1, 3).unwrap();
    let wait = rates.take(secs(0), 1, 2).unwrap_err();
    assert_eq!(rates.take(secs(0) + wait - Span(1), 1, 2), Err(Span(1)));
    assert_eq!(rates.take(secs(0) + wait, 1, 2), Ok(()));
}

#[test]
fn more_than_the_burst_is_taken_from_a_full_bucket() {
    let mut rates = Rates::new(RATE, 8);
    assert_eq!(rates.take(secs(0), 1, 1_000), Ok(()));
    assert_eq!(rates.take(secs(1), 1, 1_000), Err(Span::secs(1)));
    assert_eq!(rates.take(secs(2), 1, 1_000), Ok(()));
}

#[test]
fn without_a_limit_nothing_is_kept() {
    let mut rates = Rates::new(Rate::UNLIMITED, 8);
    for caller in 0..1_000 {
        assert_eq!(rates.take(secs(0), caller, u64::MAX), Ok(()));
    }
    assert!(rates.is_empty());
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_for_hours() {
    let mut rates = Rates::new(RATE, 8);
    rates.take(secs(10_000), 1, 20).unwrap();
    assert_eq!(rates.take(secs(0), 1, 1), Err(Span::millis(100)));
}

#[test]
fn who_is_pushed_out_of_the_table_is_not_forgotten() {
    let mut rates = Rates::new(RATE, 4);
    rates.take(secs(0), 0, 20).unwrap();
    // Others without number, who must owe as much to push it out: then they owe as much.
    for other in 1..1_000 {
        let _ = rates.take(secs(0), other, 1);
        assert!(rates.len() <= 4);
    }
    assert!(rates.take(secs(0), 0, 1).is_err());
    assert_eq!(rates.take(secs(2), 2_000, 20), Ok(()), "all is paid after two seconds");
    assert_eq!(rates.len(), 1);
}

#[test]
fn an_owner_is_one_origin() {
    let of = |text: &str| Origin::of(Some(text.parse().unwrap()));
    assert_eq!(of("2001:db8:0:100::1"), of("2001:db8:0:1ff:ffff::2"));
    assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:200::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_eq!(Origin::of(None), Origin::Relayed);
}

/// The definition: a bucket for everybody, for ever.
#[derive(Default)]
struct Model(BTreeMap<u8, (f64, Time)>);

impl Model {
    /// What is in the bucket now.
    fn left(&self, now: Time, caller: u8) -> f64 {
        let Some(&(left, at)) = self.0.get(&caller) else { return RATE.burst as f64 };
        (left + now.since(at).as_secs_f64() * RATE.per_second as f64).min(RATE.burst as f64)
    }

    fn take(&mut self, now: Time, caller: u8, amount: u64) {
        self.0.insert(caller, (self.left(now, caller) - amount as f64, now));
    }
}

proptest! {
    /// Rounding apart, a table with room for all does what the definition says.
    #[test]
    fn with_room_for_all_it_is_a_token_bucket(
        takes in prop::collection::vec((0_u64..400_000, 0_u8..6, 1_u64..8), 1..300),
    ) {
        let (mut rates, mut model, mut now) = (Rates::new(RATE, 6), Model::default(), secs(0));
        for (pause, caller, amount) in takes {
            now += Span(pause);
            let left = model.left(now, caller);
            let taken = rates.take(now, caller, amount);
            if (left - amount as f64).abs() > 1e-3 {
                prop_assert_eq!(taken.is_ok(), left > amount as f64);
            }
            if taken.is_ok() {
                model.take(now, caller, amount);
            }
        }
    }

    /// However small the table is, nobody gets more than from a bucket of their own.
    #[test]
    fn however_small_the_table_nobody_gets_more(
        places in 1_usize..4,
        takes in prop::collection::vec((0_u64..100_000, 0_u8..12, 1_u64..8), 1..400),
    ) {
        let (mut rates, mut model) = (Rates::new(RATE, places), Model::default());
        let mut now = secs(0);
        for (pause, caller, amount) in takes {
            now += Span(pause);
            let left = model.left(now, caller);
            if rates.take(now, caller, amount).is_ok() {
                prop_assert!(left + 1e-3 > amount as f64, "{caller} had {left}, took {amount}");
                model.take(now, caller, amount);
            }
            prop_assert!(rates.len() <= places);
            prop_assert_eq!(rates.by_debt.len(), rates.len());
        }
    }
}
