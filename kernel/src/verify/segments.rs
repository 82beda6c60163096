//! Tasks that are chains of segments: where two runs part, and which segments are looked at.
//!
//! Refereed delegation (Canetti, Riva and Rothblum): of two replicas that disagree, one segment
//! shows which is wrong, since all roots were given before anybody knew which. A root covers those
//! before it (`isos_base::checkpoint`), so that lists of roots differ from one place on to their
//! ends, and halving finds it.

use isos_base::Guid;

/// The first segment in which two runs differ, from 0, if they do. A run that has ended where the
/// other one goes on differs from it there.
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
    (equal < one.len().max(other.len())).then_some(equal)
}

/// Chooses `count` of `segments` by a seed that was not known when their roots were given; rising.
#[must_use]
pub fn sample(seed: Guid, segments: u32, count: u32) -> Vec<u32> {
    // Floyd's way: each set of so many has the same chance.
    let mut chosen = std::collections::BTreeSet::new();
    for (nth, last) in (segments - count.min(segments)..segments).enumerate() {
        let mut input = [0; 40];
        input[..32].copy_from_slice(&seed.0);
        input[32..].copy_from_slice(&(nth as u64).to_le_bytes());
        let hash = Guid::of(&input).0;
        let draw = u128::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
        let pick = (draw % (u128::from(last) + 1)) as u32;
        if !chosen.insert(pick) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

/// The chance that at least one of `looked_at` segments is one of `bad` of all `segments`.
#[must_use]
pub fn chance_to_catch(segments: u32, bad: u32, looked_at: u32) -> f64 {
    let good = segments.saturating_sub(bad);
    let missed = (0..looked_at.min(segments))
        .map(|nth| f64::from(good.saturating_sub(nth)) / f64::from(segments - nth));
    1.0 - missed.product::<f64>()
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
            let all = one.len().max(other.len());
            let linear = (0..all).find(|&i| one.get(i) != other.get(i));
            prop_assert_eq!(first_difference(&chain(&one), &chain(&other)), linear);
        }

        #[test]
        fn a_sample_has_as_many_segments_as_were_asked_for_or_as_there_are(
            seed: [u8; 32], segments in 0..200u32, count in 0..250u32,
        ) {
            let sample = sample(Guid(seed), segments, count);
            prop_assert_eq!(sample.len() as u32, count.min(segments));
            prop_assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(sample.iter().all(|&segment| segment < segments));
        }
    }

    #[test]
    fn each_segment_is_looked_at_as_often_as_the_others() {
        let mut times = [0u32; 10];
        for seed in 0..5_000u32 {
            for segment in sample(Guid::of(&seed.to_le_bytes()), 10, 3) {
                times[segment as usize] += 1;
            }
        }
        assert!(times.iter().all(|&n| (1_350..1_650).contains(&n)), "{times:?}");
    }

    #[test]
    fn the_chance_to_catch_a_cheat_is_the_published_one() {
        // Half of the segments faked, five looked at: 97 %; a tenth, twenty: 88 %.
        assert!((chance_to_catch(1_000, 500, 5) - 0.97).abs() < 0.01);
        assert!((chance_to_catch(1_000, 100, 20) - 0.88).abs() < 0.01);
        assert!((chance_to_catch(10, 1, 3) - 0.3).abs() < 1e-12);
        assert_eq!(chance_to_catch(10, 0, 10), 0.0);
        assert_eq!(chance_to_catch(10, 1, 10), 1.0);
    }
}
