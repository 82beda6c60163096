//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Each check is a function from text to findings, tested on samples; this file finds the files and
//! prints. A rule that gets in the way is changed here, in its table, with a reason, and nowhere
//! else. The idea is TigerBeetle's `tidy.zig` and rust-analyzer's `tidy.rs`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "findings are its output")]

mod finding;
mod layers;
mod licences;
mod lines;
mod manifests;
mod markdown;
mod names;
mod scan;
mod sizes;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use finding::Finding;

/// Runs all checks and prints what they find; `graph` asks cargo about dependencies too.
pub(crate) fn run(root: &Path, graph: bool) -> Result<ExitCode> {
    let tree = tree::Tree::read(root)?;
    let mut findings = Vec::new();
    for file in &tree.files {
        check_file(&tree, file, &mut findings);
    }
    sizes::check_allowed(&tree, &mut findings);
    manifests::check_cargo_config(&tree, &mut findings);
    manifests::check_clippy(&tree, &mut findings);
    let packages = layers::packages(root)?;
    layers::check_direct(&packages, &mut findings);
    if graph {
        layers::check_graph(root, &packages, &mut findings)?;
        licences::check(root, &tree, &mut findings)?;
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}\n");
    }
    let (files, packages) = (tree.files.len(), packages.len());
    if findings.is_empty() {
        eprintln!("tidy: {files} files and {packages} packages, nothing to mend");
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("tidy: {} findings in {files} files and {packages} packages", findings.len());
        Ok(ExitCode::FAILURE)
    }
}

/// The checks of one file, chosen by its kind.
fn check_file(tree: &tree::Tree, file: &tree::File, findings: &mut Vec<Finding>) {
    names::check(&file.path, findings);
    sizes::check_bytes(file, findings);
    let Some(text) = &file.text else { return };
    if tree::is_foreign(&file.path) {
        return;
    }
    lines::check_any(&file.path, text, findings);
    match file.extension() {
        "rs" => {
            let scanned = scan::scan(text);
            sizes::check_lines(&file.path, scanned.len(), findings);
            lines::check_rust(&file.path, &scanned, findings);
        }
        "md" => markdown::check(tree, &file.path, text, findings),
        "toml" if file.path.ends_with("Cargo.toml") => {
            manifests::check(&file.path, text, findings);
        }
        "lock" => manifests::check_lock(&file.path, text, findings),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
