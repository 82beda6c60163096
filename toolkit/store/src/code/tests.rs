//! What coding promises: any m of n, and no wrong byte.

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn coded(m: u16, n: u16, length: usize) -> Coded {
    Coder::new().encode(Code::new(m, n).unwrap(), noise(length))
}

fn gather(coded: &Coded, indexes: impl IntoIterator<Item = u16>) -> Gather {
    let mut gather = Gather::new(coded.code(), coded.length(), coded.names().to_vec());
    for index in indexes {
        gather.offer(index, coded.fragment(index)).unwrap();
    }
    gather
}

#[test]
fn the_first_m_fragments_are_the_segment() {
    let coded = coded(16, 64, 100_001);
    let first: Vec<u8> = (0..16).flat_map(|index| coded.fragment(index)).collect();
    assert_eq!(first[..100_001], noise(100_001));
    assert_eq!(first.len(), 16 * coded.code().fragment_bytes(100_001));
    assert_eq!(gather(&coded, 0..16).decode(&mut Coder::new()), Ok(noise(100_001)));
}

#[test]
fn one_fragment_less_than_enough_is_an_error_with_both_numbers() {
    let gather = gather(&coded(3, 10, 50), [9, 4]);
    let said = gather.decode(&mut Coder::new());
    assert_eq!(said, Err(DecodeError::TooFew { have: 2, need: 3 }));
}

#[test]
fn the_same_fragment_twice_counts_once() {
    let coded = coded(3, 10, 50);
    let mut gather = gather(&coded, [1, 2]);
    assert_eq!(gather.offer(1, coded.fragment(1)), Ok(false));
    assert_eq!(gather.offer(10, coded.fragment(1)), Err(Refused::Index { index: 10, n: 10 }));
    assert_eq!(gather.offer(7, coded.fragment(7)), Ok(true));
}

#[test]
fn copies_are_the_segment_itself() {
    let coded = coded(1, 3, 1_000);
    assert_eq!(coded.fragment(0), coded.fragment(2));
    assert_eq!(gather(&coded, [2]).decode(&mut Coder::new()), Ok(noise(1_000)));
    assert_eq!(coded.names().len(), 3);
}

#[test]
fn a_rebuild_finds_names_that_were_made_up() {
    let coded = coded(3, 6, 1_000);
    let mut names = coded.names().to_vec();
    names[5] = Guid::of(b"something else");
    let mut gather = Gather::new(coded.code(), coded.length(), names);
    for index in [0, 3, 4] {
        gather.offer(index, coded.fragment(index)).unwrap();
    }
    let said = gather.rebuild(&mut Coder::new());
    assert_eq!(said, Err(DecodeError::Inconsistent { index: 5 }));
}

#[test]
fn codes_outside_of_the_limits_do_not_exist() {
    for (m, n) in [(0, 1), (2, 1), (1, 257)] {
        assert_eq!(Code::new(m, n), Err(BadCode { m, n }));
        let bytes = isos_base::codec::encode(&(m, n));
        assert!(isos_base::codec::decode::<Code>(&bytes).is_err());
    }
    assert_eq!(Code::new(16, 64).unwrap().to_string(), "16-of-64");
}

/// A code, the length of a segment, and as many of its fragments as are enough.
fn any_enough() -> impl Strategy<Value = (u16, u16, usize, Vec<u16>)> {
    (1_u16..20, 0_u16..24, 1_usize..6_000).prop_flat_map(|(m, extra, length)| {
        let all: Vec<u16> = (0..m + extra).collect();
        (Just(m), Just(m + extra), Just(length), subsequence(all, usize::from(m)))
    })
}

proptest! {
    #[test]
    fn any_m_of_n_give_the_bytes_back((m, n, length, indexes) in any_enough()) {
        let coded = coded(m, n, length);
        let gather = gather(&coded, indexes);
        let mut coder = Coder::new();
        prop_assert_eq!(gather.decode(&mut coder), Ok(noise(length)));
        prop_assert_eq!(gather.rebuild(&mut coder), Ok(coded));
    }

    #[test]
    fn one_flipped_bit_is_found_and_its_fragment_named(
        (m, n, length, indexes) in any_enough(),
        at: proptest::sample::Index,
        bit in 0_u8..8,
    ) {
        let coded = coded(m, n, length);
        let index = indexes[at.index(indexes.len())];
        let mut bytes = coded.fragment(index).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let others = indexes.into_iter().filter(|other| *other != index);
        let mut gather = gather(&coded, others);
        let said = gather.offer(index, bytes.into());
        prop_assert_eq!(said, Err(Refused::Garbage { index }));
        prop_assert!(!gather.is_enough(), "the wrong fragment does not count");
    }
}
