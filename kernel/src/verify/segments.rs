//! Tasks that are chains of segments: where two runs part, and which stretches are run again.
//!
//! Refereed delegation (Canetti, Riva and Rothblum): of two replicas that disagree, one segment
//! shows which is wrong, since all roots were given before anybody knew which. A root covers those
//! before it (`isos_base::checkpoint`), so that lists of roots differ from one place on to their
//! ends, and halving finds it.

use isos_base::Guid;

/// The first segment in which two runs differ, from 0. Nothing if one list is the beginning of the
/// other: that alone does not tell an end from a list that was cut.
#[must_use]
pub fn first_difference(one: &[Guid], other: &[Guid]) -> Option<usize> {
    let common = one.len().min(other.len());
    let (mut equal, mut end) = (0, common);
    while equal < end {
        let middle = equal + (end - equal) / 2;
        if one[middle] == other[middle] {
            equal = middle + 1;
        } else {
            end = middle;
        }
    }
    (equal < common).then_some(equal)
}

/// Chooses `count` stretches of these lengths, in work, by a seed that was not known when the roots
/// at their ends were given; rising.
///
/// Each draw is with the same chance for any stretch that is left, or for the one at any point of
/// the work that is left. The first finds who made a short stretch up, such as the last one; the
/// second who left most of the work out and handed over many checkpoints of the rest.
#[must_use]
pub fn choose(seed: Guid, work: &[u64], count: u32) -> Vec<u32> {
    let mut left: Vec<(u32, u64)> = (0..).zip(work.iter().copied()).collect();
    let mut chosen = std::collections::BTreeSet::new();
    for nth in 0..count.min(left.len() as u32) {
        let mut input = [0; 36];
        input[..32].copy_from_slice(&seed.0);
        input[32..].copy_from_slice(&nth.to_le_bytes());
        let hash = Guid::of(&input).0;
        let draw = u128::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
        let all: u128 = left.iter().map(|&(_, work)| u128::from(work)).sum();
        let place = if hash[31] & 1 == 0 || all == 0 {
            (draw % left.len() as u128) as usize
        } else {
            let mut point = draw % all;
            let behind = |&(_, work): &(u32, u64)| {
                let is_here = point < u128::from(work);
                point = point.saturating_sub(u128::from(work));
                is_here
            };
            left.iter().position(behind).expect("the point is within the sum")
        };
        chosen.insert(left.remove(place).0);
    }
    chosen.into_iter().collect()
}

/// The chance that at least one of `looked_at` stretches is a made-up one, if these are so many of
/// all and so large a share of the work: at least `1 - (1 - (bad/all + share)/2)^looked_at`.
#[must_use]
pub fn chance_to_catch(all: u32, bad: u32, share: f64, looked_at: u32) -> f64 {
    if all == 0 || bad == 0 {
        return 0.0;
    }
    if u64::from(looked_at) + u64::from(bad) > u64::from(all) {
        return 1.0;
    }
    let each = (f64::from(bad) / f64::from(all) + share.clamp(0.0, 1.0)) / 2.0;
    1.0 - (0..looked_at).map(|_| 1.0 - each).product::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A chain in which segment `i` does `work[i]`.
    fn chain(work: &[u8]) -> Vec<Guid> {
        let mut before = Guid::of(b"start");
        work.iter()
            .map(|work| {
                let mut bytes = before.0.to_vec();
                bytes.push(*work);
                before = Guid::of(&bytes);
                before
            })
            .collect()
    }

    proptest! {
        #[test]
        fn halving_finds_the_first_segment_that_differs(
            one in prop::collection::vec(0..3u8, 0..40),
            other in prop::collection::vec(0..3u8, 0..40),
            common in prop::collection::vec(0..3u8, 0..40),
        ) {
            let one: Vec<u8> = common.iter().chain(&one).copied().collect();
            let other: Vec<u8> = common.iter().chain(&other).copied().collect();
            let both = one.len().min(other.len());
            let linear = (0..both).find(|&i| one.get(i) != other.get(i));
            prop_assert_eq!(first_difference(&chain(&one), &chain(&other)), linear);
        }

        #[test]
        fn as_many_stretches_are_chosen_as_were_asked_for_or_as_there_are(
            seed: [u8; 32], work in prop::collection::vec(0..1_000u64, 0..40), count in 0..50u32,
        ) {
            let chosen = choose(Guid(seed), &work, count);
            prop_assert_eq!(chosen.len(), work.len().min(count as usize));
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|&stretch| (stretch as usize) < work.len()));
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever a cheat makes up, and however it cuts its work.
        #[test]
        fn a_made_up_stretch_is_found_at_least_as_often_as_is_promised(
            work in prop::collection::vec(prop_oneof![1..10u64, 100..1_000u64], 2..12),
            lies in prop::collection::vec(any::<bool>(), 12), count in 1..6u32,
        ) {
            let bad = work.iter().zip(&lies).filter(|(_, lies)| **lies);
            let (bad, made_up) = (bad.clone().count(), bad.map(|(work, _)| work).sum::<u64>());
            let share = made_up as f64 / work.iter().sum::<u64>() as f64;
            let promised = chance_to_catch(work.len() as u32, bad as u32, share, count);
            const ROUNDS: u32 = 2_000;
            let is_caught = |round: &u32| {
                let chosen = choose(Guid::of(&round.to_le_bytes()), &work, count);
                chosen.iter().any(|&stretch| lies[stretch as usize])
            };
            let caught = (0..ROUNDS).filter(is_caught).count() as f64 / f64::from(ROUNDS);
            // Five standard deviations at the most.
            prop_assert!(caught >= promised - 0.056, "{caught} of {promised}");
        }
    }

    #[test]
    fn stretches_alike_are_looked_at_alike() {
        let mut times = [0u32; 10];
        for seed in 0..5_000u32 {
            for stretch in choose(Guid::of(&seed.to_le_bytes()), &[7; 10], 3) {
                times[stretch as usize] += 1;
            }
        }
        assert!(times.iter().all(|&n| (1_350..1_650).contains(&n)), "{times:?}");
    }

    #[test]
    fn neither_a_short_lie_nor_a_long_one_between_many_checkpoints_is_hard_to_find() {
        let mut work = [1; 10];
        work[3] = 1_000;
        let found = |stretch: u32| {
            let chosen =
                |seed: &u32| choose(Guid::of(&seed.to_le_bytes()), &work, 1).contains(&stretch);
            (0..5_000u32).filter(chosen).count() as f64 / 5_000.0
        };
        assert!((found(3) - 0.55).abs() < 0.03, "{}", found(3));
        assert!((found(9) - 0.05).abs() < 0.015, "{}", found(9));
    }

    #[test]
    fn the_chance_to_catch_a_cheat_is_the_published_one_where_stretches_are_alike() {
        // Half of them made up, five looked at: 97 %; a tenth, twenty: 88 %.
        assert!((chance_to_catch(1_000, 500, 0.5, 5) - 0.97).abs() < 0.01);
        assert!((chance_to_catch(1_000, 100, 0.1, 20) - 0.88).abs() < 0.01);
        assert_eq!(chance_to_catch(10, 0, 0.0, 10), 0.0);
        assert_eq!(chance_to_catch(10, 1, 0.1, 10), 1.0, "all are looked at");
        assert_eq!(chance_to_catch(1, 1, 1.0, 1), 1.0);
    }
}
