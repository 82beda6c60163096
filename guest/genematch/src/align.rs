//! One exact local alignment with its path: Smith and Waterman (J. Mol. Biol. 147, 1981) with
//! Gotoh's affine gaps.
//!
//! Costs one byte of memory a cell and is several times slower than `search`, so it is used for
//! the few hits that are reported. Ties are broken always the same way (first end found, then
//! match before gap), because the answer must be the same everywhere.

use crate::score::{self, GAP_FIRST, GAP_NEXT};

/// The best local alignment; ranges are 0-based and half-open. All zero when nothing matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alignment {
    pub(crate) score: i32,
    pub(crate) query: (usize, usize),
    pub(crate) hit: (usize, usize),
    /// Columns of the alignment, gaps included.
    pub(crate) columns: usize,
    /// Columns with the same residue on both sides.
    pub(crate) identical: usize,
}

// What a cell's byte says: how its best path came here, and how its two gap paths did.
const FROM_MATCH: u8 = 1;
const FROM_GAP_IN_QUERY: u8 = 2;
const FROM_GAP_IN_HIT: u8 = 3;
const FROM: u8 = 3;
const GAP_IN_QUERY_GOES_ON: u8 = 4;
const GAP_IN_HIT_GOES_ON: u8 = 8;

/// Aligns two sequences of codes.
pub(crate) fn align(query: &[u8], hit: &[u8]) -> Alignment {
    let (first, next) = (i32::from(GAP_FIRST), i32::from(GAP_NEXT));
    let width = hit.len();
    let mut trace = vec![0_u8; query.len() * width];
    let mut best_above = vec![0_i32; width];
    // Far below any score, and far from overflow.
    let mut gap_above = vec![i32::MIN / 2; width];
    let mut top = (0, 0, 0);
    for (i, &residue) in query.iter().enumerate() {
        let (mut diagonal, mut left, mut gap_left) = (0, 0, i32::MIN / 2);
        for (j, &other) in hit.iter().enumerate() {
            let mut cell = 0;
            let matched = diagonal + i32::from(score::exchange(residue, other));
            if gap_left - next > left - first {
                cell |= GAP_IN_QUERY_GOES_ON;
            }
            gap_left = (gap_left - next).max(left - first);
            if gap_above[j] - next > best_above[j] - first {
                cell |= GAP_IN_HIT_GOES_ON;
            }
            gap_above[j] = (gap_above[j] - next).max(best_above[j] - first);

            let here = matched.max(gap_left).max(gap_above[j]).max(0);
            cell |= match here {
                0 => 0,
                _ if here == matched => FROM_MATCH,
                _ if here == gap_left => FROM_GAP_IN_QUERY,
                _ => FROM_GAP_IN_HIT,
            };
            trace[i * width + j] = cell;
            if here > top.0 {
                top = (here, i, j);
            }
            diagonal = best_above[j];
            best_above[j] = here;
            left = here;
        }
    }
    let (score, i, j) = top;
    if score == 0 { Alignment::default() } else { walk_back(query, hit, &trace, score, i, j) }
}

/// Follows the bytes from the cell where the best path ends to where it begins.
fn walk_back(
    query: &[u8],
    hit: &[u8],
    trace: &[u8],
    score: i32,
    last_i: usize,
    last_j: usize,
) -> Alignment {
    // Positions count residues not yet walked over, so the cell to look at is one less.
    let (mut i, mut j) = (last_i + 1, last_j + 1);
    let (mut columns, mut identical) = (0, 0);
    while i > 0 && j > 0 {
        match trace[(i - 1) * hit.len() + j - 1] & FROM {
            FROM_MATCH => {
                columns += 1;
                identical += usize::from(query[i - 1] == hit[j - 1]);
                (i, j) = (i - 1, j - 1);
            }
            FROM_GAP_IN_QUERY => loop {
                let goes_on = trace[(i - 1) * hit.len() + j - 1] & GAP_IN_QUERY_GOES_ON != 0;
                (columns, j) = (columns + 1, j - 1);
                if !goes_on {
                    break;
                }
            },
            FROM_GAP_IN_HIT => loop {
                let goes_on = trace[(i - 1) * hit.len() + j - 1] & GAP_IN_HIT_GOES_ON != 0;
                (columns, i) = (columns + 1, i - 1);
                if !goes_on {
                    break;
                }
            },
            _ => break,
        }
    }
    Alignment { score, query: (i, last_i + 1), hit: (j, last_j + 1), columns, identical }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(query: &str, hit: &str) -> Alignment {
        let encode = |text: &str| -> Vec<u8> {
            text.bytes().map(|letter| score::encode(letter).unwrap()).collect()
        };
        align(&encode(query), &encode(hit))
    }

    #[test]
    fn equal_sequences_match_from_end_to_end() {
        let alignment = aligned("HEAGAWGHEE", "HEAGAWGHEE");
        assert_eq!(alignment.score, 8 + 5 + 4 + 6 + 4 + 11 + 6 + 8 + 5 + 5);
        assert_eq!((alignment.query, alignment.hit), ((0, 10), (0, 10)));
        assert_eq!((alignment.columns, alignment.identical), (10, 10));
    }

    #[test]
    fn only_the_similar_part_is_aligned() {
        let alignment = aligned("PPPPWWWWCPPPP", "GGWWWWCGG");
        assert_eq!(alignment.score, 4 * 11 + 9);
        assert_eq!((alignment.query, alignment.hit), ((4, 9), (2, 7)));
    }

    #[test]
    fn a_gap_costs_eleven_and_one_for_each_residue() {
        let alignment = aligned("WWWWWHHHCCCCC", "WWWWWCCCCC");
        assert_eq!(alignment.score, 5 * 11 + 5 * 9 - 11 - 3);
        assert_eq!((alignment.columns, alignment.identical), (13, 10));
        let turned = aligned("WWWWWCCCCC", "WWWWWHHHCCCCC");
        assert_eq!(turned.score, alignment.score);
        assert_eq!((turned.query, turned.hit), (alignment.hit, alignment.query));
    }

    #[test]
    fn nothing_alike_scores_nothing() {
        assert_eq!(aligned("W", "P"), Alignment::default());
        assert_eq!(align(&[], &[1, 2]), Alignment::default());
    }
}
