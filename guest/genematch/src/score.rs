//! Letters of proteins as small numbers, and what it costs to exchange, insert and delete them.

/// Letters in the order of the matrix: 20 amino acids, B, Z, X (unknown), `*` (end).
const LETTERS: &[u8; SYMBOLS] = b"ARNDCQEGHILKMFPSTWYVBZX*";
/// Number of letters.
pub(crate) const SYMBOLS: usize = 24;
/// The code that `search` fills short proteins with; not a letter.
pub(crate) const PADDING: u8 = 24;

/// Cost of the first residue in a gap: 11 to open it and 1 for the residue, as BLAST counts.
pub(crate) const GAP_FIRST: i16 = 12;
/// Cost of each further residue in a gap.
pub(crate) const GAP_NEXT: i16 = 1;

/// What it scores to put `PADDING` opposite anything: less than any path can win back.
const PADDING_SCORE: i8 = i8::MIN;

/// The code of a letter, either case; rare letters (U, O, J) count as unknown.
pub(crate) fn encode(letter: u8) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        b'U' | b'O' | b'J' => b'X',
        other => other,
    };
    LETTERS.iter().position(|&known| known == letter).map(|code| code as u8)
}

/// The score of two residues opposite each other.
pub(crate) fn exchange(a: u8, b: u8) -> i8 {
    if a == PADDING || b == PADDING {
        PADDING_SCORE
    } else {
        BLOSUM62[usize::from(a)][usize::from(b)]
    }
}

/// Henikoff and Henikoff, PNAS 89, 1992: half-bit scores from blocks at most 62 % identical.
#[rustfmt::skip]
const BLOSUM62: [[i8; SYMBOLS]; SYMBOLS] = [
    [ 4,-1,-2,-2, 0,-1,-1, 0,-2,-1,-1,-1,-1,-2,-1, 1, 0,-3,-2, 0,-2,-1, 0,-4], // A
    [-1, 5, 0,-2,-3, 1, 0,-2, 0,-3,-2, 2,-1,-3,-2,-1,-1,-3,-2,-3,-1, 0,-1,-4], // R
    [-2, 0, 6, 1,-3, 0, 0, 0, 1,-3,-3, 0,-2,-3,-2, 1, 0,-4,-2,-3, 3, 0,-1,-4], // N
    [-2,-2, 1, 6,-3, 0, 2,-1,-1,-3,-4,-1,-3,-3,-1, 0,-1,-4,-3,-3, 4, 1,-1,-4], // D
    [ 0,-3,-3,-3, 9,-3,-4,-3,-3,-1,-1,-3,-1,-2,-3,-1,-1,-2,-2,-1,-3,-3,-2,-4], // C
    [-1, 1, 0, 0,-3, 5, 2,-2, 0,-3,-2, 1, 0,-3,-1, 0,-1,-2,-1,-2, 0, 3,-1,-4], // Q
    [-1, 0, 0, 2,-4, 2, 5,-2, 0,-3,-3, 1,-2,-3,-1, 0,-1,-3,-2,-2, 1, 4,-1,-4], // E
    [ 0,-2, 0,-1,-3,-2,-2, 6,-2,-4,-4,-2,-3,-3,-2, 0,-2,-2,-3,-3,-1,-2,-1,-4], // G
    [-2, 0, 1,-1,-3, 0, 0,-2, 8,-3,-3,-1,-2,-1,-2,-1,-2,-2, 2,-3, 0, 0,-1,-4], // H
    [-1,-3,-3,-3,-1,-3,-3,-4,-3, 4, 2,-3, 1, 0,-3,-2,-1,-3,-1, 3,-3,-3,-1,-4], // I
    [-1,-2,-3,-4,-1,-2,-3,-4,-3, 2, 4,-2, 2, 0,-3,-2,-1,-2,-1, 1,-4,-3,-1,-4], // L
    [-1, 2, 0,-1,-3, 1, 1,-2,-1,-3,-2, 5,-1,-3,-1, 0,-1,-3,-2,-2, 0, 1,-1,-4], // K
    [-1,-1,-2,-3,-1, 0,-2,-3,-2, 1, 2,-1, 5, 0,-2,-1,-1,-1,-1, 1,-3,-1,-1,-4], // M
    [-2,-3,-3,-3,-2,-3,-3,-3,-1, 0, 0,-3, 0, 6,-4,-2,-2, 1, 3,-1,-3,-3,-1,-4], // F
    [-1,-2,-2,-1,-3,-1,-1,-2,-2,-3,-3,-1,-2,-4, 7,-1,-1,-4,-3,-2,-2,-1,-2,-4], // P
    [ 1,-1, 1, 0,-1, 0, 0, 0,-1,-2,-2, 0,-1,-2,-1, 4, 1,-3,-2,-2, 0, 0, 0,-4], // S
    [ 0,-1, 0,-1,-1,-1,-1,-2,-2,-1,-1,-1,-1,-2,-1, 1, 5,-2,-2, 0,-1,-1, 0,-4], // T
    [-3,-3,-4,-4,-2,-2,-3,-2,-2,-3,-2,-3,-1, 1,-4,-3,-2,11, 2,-3,-4,-3,-2,-4], // W
    [-2,-2,-2,-3,-2,-1,-2,-3, 2,-1,-1,-2,-1, 3,-3,-2,-2, 2, 7,-1,-3,-2,-1,-4], // Y
    [ 0,-3,-3,-3,-1,-2,-2,-3,-3, 3, 1,-2, 1,-1,-2,-2, 0,-3,-1, 4,-3,-2,-1,-4], // V
    [-2,-1, 3, 4,-3, 0, 1,-1, 0,-3,-4, 0,-3,-3,-2, 0,-1,-4,-3,-3, 4, 1,-1,-4], // B
    [-1, 0, 0, 1,-3, 3, 4,-2, 0,-3,-3, 1,-1,-3,-1, 0,-1,-3,-2,-2, 1, 4,-1,-4], // Z
    [ 0,-1,-1,-1,-2,-1,-1,-1,-1,-1,-1,-1,-1,-1,-2, 0, 0,-2,-1,-1,-1,-1,-1,-4], // X
    [-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4,-4, 1], // *
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_symmetric_and_prefers_what_is_equal() {
        for a in 0..SYMBOLS as u8 {
            for b in 0..SYMBOLS as u8 {
                assert_eq!(exchange(a, b), exchange(b, a));
                // X opposite anything scores low by design.
                if a < 20 && a != b {
                    assert!(exchange(a, a) > exchange(a, b));
                }
            }
        }
    }

    #[test]
    fn known_pairs_have_their_published_scores() {
        let score = |a, b| exchange(encode(a).unwrap(), encode(b).unwrap());
        assert_eq!(score(b'W', b'w'), 11);
        assert_eq!(score(b'I', b'V'), 3);
        assert_eq!(score(b'C', b'E'), -4);
        assert_eq!(score(b'U', b'X'), -1);
        assert_eq!(encode(b'1'), None);
    }
}
