//! Proteins in FASTA: a line `>name description`, then lines of letters.

use isos_guest::Failure;

use crate::score;

/// Longest protein accepted; bounds the memory of one full alignment to 64 MB.
const MAX_RESIDUES: usize = 8_000;

/// One protein; residues are codes of `score::encode`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Protein {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) residues: Vec<u8>,
}

/// Reads a file of at least one protein.
pub(crate) fn read(path: &str) -> Result<Vec<Protein>, Failure> {
    parse(&isos_guest::read_text(path)?)
        .map_err(|failure| Failure::because(format!("read proteins from {path}"), failure))
}

fn parse(text: &str) -> Result<Vec<Protein>, Failure> {
    let mut proteins: Vec<Protein> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(header) = line.strip_prefix('>') {
            let (name, description) = header.split_once(' ').unwrap_or((header, ""));
            proteins.push(Protein {
                name: name.trim().to_owned(),
                description: description.trim().replace('\t', " "),
                residues: Vec::new(),
            });
            continue;
        }
        for &letter in line.trim().as_bytes() {
            let Some(protein) = proteins.last_mut() else {
                return Err(Failure::new(format!("line {number}: letters before any `>` line")));
            };
            let code = score::encode(letter).ok_or_else(|| {
                let shown = letter.escape_ascii();
                Failure::new(format!("line {number}: `{shown}` is not a letter of a protein"))
            })?;
            if protein.residues.len() == MAX_RESIDUES {
                let name = &protein.name;
                return Err(Failure::new(format!("{name} is longer than {MAX_RESIDUES} residues")));
            }
            protein.residues.push(code);
        }
    }
    match proteins.iter().find(|protein| protein.residues.is_empty()) {
        _ if proteins.is_empty() => Err(Failure::new("there is no protein in it")),
        Some(empty) => Err(Failure::new(format!("{} has no residues", empty.name))),
        None => Ok(proteins),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn names_descriptions_and_wrapped_lines_are_read() {
        let proteins = parse(">P1 first one\nAR\nnd\r\n\n>P2\n*\n").unwrap();
        assert_eq!(proteins.len(), 2);
        assert_eq!(proteins[0].name, "P1");
        assert_eq!(proteins[0].description, "first one");
        assert_eq!(proteins[0].residues, [0, 1, 2, 3]);
        assert_eq!(proteins[1].residues, [23]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(error("ARND\n"), "line 1: letters before any `>` line");
        assert_eq!(error(">P1\nAR7\n"), "line 2: `7` is not a letter of a protein");
        assert_eq!(error(">P1\n>P2\nA"), "P1 has no residues");
        assert_eq!(error(""), "there is no protein in it");
        let long = format!(">P1\n{}", "A".repeat(MAX_RESIDUES + 1));
        assert_eq!(error(&long), "P1 is longer than 8000 residues");
    }
}
