//! Licences and banned crates: the part of `deny.toml` that needs no `cargo deny`.
//!
//! `cargo deny check` reads the same file and does more (advisories, other platforms). This check
//! runs everywhere, in a second, over everything that a build here compiles.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::finding::Finding;
use super::layers;
use super::tree::Tree;

const FILE: &str = "deny.toml";

/// What is read of `deny.toml`.
#[derive(Deserialize)]
pub(super) struct Deny {
    pub(super) licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
pub(super) struct Licences {
    pub(super) allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// Checks the dependencies of the workspace and of the guests.
pub(super) fn check(root: &Path, tree: &Tree, findings: &mut Vec<Finding>) -> Result<()> {
    let text = tree.file(FILE).and_then(|file| file.text.as_deref());
    let deny: Deny = toml::from_str(text.context("deny.toml is missing")?).context(FILE)?;
    for manifest in ["Cargo.toml", "guest/Cargo.toml"] {
        let edges = "normal,build,dev";
        let arguments = ["--manifest-path", manifest, "--workspace", "--edges", edges];
        for line in layers::tree(root, &arguments, "{p}\t{l}")? {
            let (package, licence) = line.split_once('\t').unwrap_or((&line, ""));
            check_one(&deny, manifest, package, licence, findings);
        }
    }
    Ok(())
}

/// Checks one dependency, given as cargo prints it: name, version and perhaps its source.
pub(super) fn check_one(
    deny: &Deny,
    manifest: &str,
    package: &str,
    licence: &str,
    findings: &mut Vec<Finding>,
) {
    let name = package.split(' ').next().unwrap_or_default();
    if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == name) {
        findings.push(Finding::new(
            manifest,
            0,
            format!("{package} is compiled, which deny.toml bans: {}", ban.reason),
            "one library for one job, and no C where Rust will do",
            format!("`cargo tree -i {name}` shows who brings it; turn that feature off"),
        ));
    }
    if !is_allowed(licence, &deny.licenses.allow) {
        findings.push(Finding::new(
            manifest,
            0,
            format!("{package} has the licence {licence:?}"),
            "everything that is linked may be passed on under MIT OR Apache-2.0",
            "choose another crate, or allow the licence in deny.toml after reading it",
        ));
    }
}

/// Whether an SPDX expression can be met with these licences. `A/B` is an old way to write `OR`.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let met = parser.any();
    met && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl<'a> Parser<'a> {
    fn next_is(&mut self, word: &str) -> bool {
        let is = self.words.first() == Some(&word);
        if is {
            self.words = &self.words[1..];
        }
        is
    }

    fn word(&mut self) -> &'a str {
        let (word, rest) = self.words.split_first().unwrap_or((&"", &[]));
        self.words = rest;
        word
    }

    /// `A OR B`: one is enough. Both sides are read in any case.
    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.next_is("OR") {
            met |= self.all();
        }
        met
    }

    /// `A AND B`: binds tighter.
    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.next_is("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.next_is("(") {
            let met = self.any();
            return self.next_is(")") && met;
        }
        let mut licence = self.word().to_owned();
        if self.next_is("WITH") {
            licence = format!("{licence} WITH {}", self.word());
        }
        self.allowed.contains(&licence)
    }
}
