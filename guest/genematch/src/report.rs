//! One line for each hit.

use std::fmt::Write;

use crate::align::Alignment;
use crate::fasta::Protein;

/// Appends the tab-separated line that the program's head comment describes.
pub(crate) fn write_line(lines: &mut String, query: &Protein, hit: &Protein, found: &Alignment) {
    // Tenths of a per cent, in integers, rounded down: the same everywhere.
    let identity = found.identical * 1000 / found.columns.max(1);
    writeln!(
        lines,
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}.{}\t{}",
        query.name,
        hit.name,
        found.score,
        found.query.0 + 1,
        found.query.1,
        found.hit.0 + 1,
        found.hit.1,
        identity / 10,
        identity % 10,
        hit.description,
    )
    .expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_and_identity_is_in_per_cent() {
        let protein = |name: &str| Protein {
            name: name.to_owned(),
            description: "some enzyme".to_owned(),
            residues: Vec::new(),
        };
        let found = Alignment { score: 41, query: (4, 9), hit: (2, 8), columns: 6, identical: 5 };
        let mut lines = String::new();
        write_line(&mut lines, &protein("Q1"), &protein("H1"), &found);
        assert_eq!(lines, "Q1\tH1\t41\t5\t9\t3\t8\t83.3\tsome enzyme\n");
    }
}
