//! Units of supply: what a host's cores are in *reference cores*, by what they have shown to do.
//!
//! Prices are for fuel, so a core that does twice as much in a tick offers twice as much. The
//! benchmark is the work itself: fuel, which is counted by the sandbox and the same everywhere,
//! over the time that the host says it took. The reference is the middle one of the hosts that are
//! there. Nothing is billed by it.

/// No core counts as more than so many, or as less than one of so many: time is a host's word.
const TIMES_MAX: u64 = 4;

/// Reference cores of so many cores that each do `rate` fuel in a second, as far as that is known,
/// where the reference does `reference`: rounded, and one at least of any that there are.
#[must_use]
pub fn reference_cores(cores: u32, rate: Option<u64>, reference: u64) -> u32 {
    let reference = reference.max(1);
    let rate = rate.unwrap_or(reference);
    let most = u128::from(cores) * u128::from(TIMES_MAX);
    let least = u128::from(cores.div_ceil(TIMES_MAX as u32));
    let exact = u128::from(cores) * u128::from(rate) + u128::from(reference / 2);
    let units = (exact / u128::from(reference)).clamp(least, most.max(least));
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// Time of a reference core that is as much as so much time of a core.
#[must_use]
pub fn reference_time(micros: u64, rate: Option<u64>, reference: u64) -> u64 {
    let reference = reference.max(1);
    let rate = rate.unwrap_or(reference);
    let (low, high) = (reference.div_ceil(TIMES_MAX), reference.saturating_mul(TIMES_MAX));
    let exact = u128::from(micros) * u128::from(rate.clamp(low, high)) / u128::from(reference);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_core_that_does_twice_as_much_is_two() {
        assert_eq!(reference_cores(4, Some(20), 10), 8);
        assert_eq!(reference_cores(4, Some(5), 10), 2);
        assert_eq!(reference_cores(4, None, 10), 4, "nothing is known");
        assert_eq!(reference_cores(3, Some(14), 10), 4, "4.2");
        assert_eq!(reference_cores(1, Some(1), 1_000_000), 1, "one at least");
        assert_eq!(reference_cores(2, Some(u64::MAX), 10), 8, "four times at the most");
        assert_eq!((reference_cores(0, Some(9), 0), reference_cores(0, None, 9)), (0, 0));
        assert_eq!(reference_time(1_000, Some(15), 10), 1_500);
        assert_eq!(reference_time(1_000, Some(0), 10), 300, "not less than a fourth, rounded up");
    }

    proptest! {
        #[test]
        fn whatever_a_host_claims_its_cores_count_as_a_fourth_to_four_times_what_they_are(
            cores in 0_u32..10_000,
            rate in proptest::option::of(any::<u64>()),
            reference in any::<u64>(),
            micros in 0_u64..1 << 50,
        ) {
            let units = reference_cores(cores, rate, reference);
            prop_assert!(units <= cores * 4 && units * 4 >= cores);
            prop_assert!((units == 0) == (cores == 0));
            let time = reference_time(micros, rate, reference);
            prop_assert!(time <= micros * 4 && time >= micros / 5);
        }
    }
}
