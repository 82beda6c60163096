//! File and folder names: nouns of the field, not words that mean nothing or something else here.

use super::finding::Finding;
use super::tree;

/// Names not used, and what to think of instead.
const BANNED: [(&str, &str); 9] = [
    ("util", "name what the functions are about"),
    ("utils", "name what the functions are about"),
    ("helper", "name what it does"),
    ("helpers", "name what they do"),
    ("common", "name what is shared"),
    ("misc", "give each thing its own file"),
    ("node", "say host, agent, server or complex"),
    ("worker", "say host, agent or thread"),
    ("manager", "name what it decides or keeps"),
];

const WHY: &str = "one word for each thing, everywhere: docs/glossary.md";

/// Checks each part of a path.
pub(super) fn check(path: &str, findings: &mut Vec<Finding>) {
    if tree::is_foreign(path) {
        return;
    }
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        let words = stem.split(['-', '_']);
        for (banned, instead) in words.filter_map(|word| BANNED.iter().find(|it| it.0 == word)) {
            findings.push(Finding::new(
                path,
                0,
                format!("the name {part:?} has the word {banned:?}"),
                WHY,
                *instead,
            ));
        }
    }
}
