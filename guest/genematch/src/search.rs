//! Scores of one query against the whole library, sixteen library proteins side by side.
//!
//! The idea is SWIPE's (Rognes, BMC Bioinformatics 12, 2011): vector lanes hold the same cell of
//! sixteen independent tables, so there is nothing to wait for between lanes. `wide` makes SSE2
//! natively and SIMD128 in WebAssembly of it. Lanes are 16 bits wide and saturate; a score that
//! reaches the limit is computed again by `align`, which is exact.

use std::array;
use std::cmp::Reverse;

use wide::i16x16;

use crate::align;
use crate::fasta::Protein;
use crate::score::{self, GAP_FIRST, GAP_NEXT, PADDING, SYMBOLS};

const LANES: usize = 16;

/// The same quantity for sixteen proteins.
type Lanes = i16x16;

/// Sixteen proteins: `columns[j]` has residue `j` of each, `PADDING` where one has ended.
struct Batch {
    members: Vec<usize>,
    columns: Vec<[u8; LANES]>,
}

/// A library, arranged for scoring.
pub(crate) struct Packed<'a> {
    library: &'a [Protein],
    batches: Vec<Batch>,
}

impl<'a> Packed<'a> {
    /// Puts proteins of similar length together, so that little is padding.
    pub(crate) fn new(library: &'a [Protein]) -> Self {
        let mut order: Vec<usize> = (0..library.len()).collect();
        order.sort_by_key(|&index| library[index].residues.len());
        let batches = order.chunks(LANES).map(|members| Batch::new(library, members)).collect();
        Self { library, batches }
    }

    /// Indices and scores of the `top` best proteins, best first, then in library order;
    /// those that score nothing are left out.
    pub(crate) fn best(&self, query: &[u8], top: usize) -> Vec<(usize, i32)> {
        let mut scores: Vec<(usize, i32)> = Vec::with_capacity(self.library.len());
        for batch in &self.batches {
            let lanes = batch.scores(query);
            for (&index, &score) in batch.members.iter().zip(&lanes.to_array()) {
                let score = if score == i16::MAX {
                    align::align(query, &self.library[index].residues).score
                } else {
                    i32::from(score)
                };
                scores.push((index, score));
            }
        }
        scores.retain(|&(_, score)| score > 0);
        scores.sort_by_key(|&(index, score)| (Reverse(score), index));
        scores.truncate(top);
        scores
    }
}

/// Row `i` of the previous column: best score of a path that ends there, and of one that ends
/// there in a gap in the query.
#[derive(Clone, Copy)]
struct Row {
    best: Lanes,
    gap: Lanes,
}

impl Batch {
    fn new(library: &[Protein], members: &[usize]) -> Self {
        let residues = |lane: usize| members.get(lane).map(|&index| &library[index].residues);
        let length = (0..LANES).filter_map(residues).map(Vec::len).max().unwrap_or(0);
        let columns = (0..length)
            .map(|column| {
                array::from_fn(|lane| {
                    residues(lane).and_then(|all| all.get(column)).copied().unwrap_or(PADDING)
                })
            })
            .collect();
        Self { members: members.to_vec(), columns }
    }

    /// Gotoh's recurrence (J. Mol. Biol. 162, 1982), a column of the tables at a time.
    fn scores(&self, query: &[u8]) -> Lanes {
        let (first, next) = (Lanes::splat(GAP_FIRST), Lanes::splat(GAP_NEXT));
        let nothing = Lanes::splat(0);
        let mut best = nothing;
        let start = Row { best: nothing, gap: Lanes::splat(i16::MIN) };
        let mut rows = vec![start; query.len()];
        for column in &self.columns {
            let exchange: [Lanes; SYMBOLS] = array::from_fn(|symbol| {
                Lanes::new(column.map(|residue| i16::from(score::exchange(symbol as u8, residue))))
            });
            let mut diagonal = nothing;
            let mut above = start;
            for (row, &residue) in rows.iter_mut().zip(query) {
                let matched = diagonal.saturating_add(exchange[usize::from(residue)]);
                let gap_in_query = row.gap.saturating_sub(next).max(row.best.saturating_sub(first));
                let gap_in_hit =
                    above.gap.saturating_sub(next).max(above.best.saturating_sub(first));
                let here = matched.max(gap_in_query).max(gap_in_hit).max(nothing);
                best = best.max(here);
                diagonal = row.best;
                *row = Row { best: here, gap: gap_in_query };
                above = Row { best: here, gap: gap_in_hit };
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isos_guest::Rng;

    fn random_protein(rng: &mut Rng, length: usize) -> Protein {
        let residues = (0..length).map(|_| (rng.unit() * 20.0) as u8).collect();
        Protein { name: String::new(), description: String::new(), residues }
    }

    #[test]
    fn sixteen_at_a_time_score_as_one_at_a_time() {
        let mut rng = Rng::new(5);
        let library: Vec<Protein> =
            (0..40).map(|index| random_protein(&mut rng, 1 + index * 3)).collect();
        let packed = Packed::new(&library);
        for length in [1, 17, 90] {
            let query = random_protein(&mut rng, length).residues;
            let found = packed.best(&query, library.len());
            let mut expected: Vec<(usize, i32)> = library
                .iter()
                .enumerate()
                .map(|(index, hit)| (index, align::align(&query, &hit.residues).score))
                .filter(|&(_, score)| score > 0)
                .collect();
            expected.sort_by_key(|&(index, score)| (Reverse(score), index));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_score_beyond_sixteen_bits_is_still_exact() {
        let tryptophans = Protein {
            name: String::new(),
            description: String::new(),
            residues: vec![score::encode(b'W').unwrap(); 3_100],
        };
        let library = [tryptophans];
        let found = Packed::new(&library).best(&library[0].residues, 1);
        assert_eq!(found, [(0, 34_100)]);
    }
}
