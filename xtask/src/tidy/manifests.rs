//! Manifests: every crate takes the workspace's lints and says what it is; crates come from
//! crates.io, under the address that cargo knows by itself.

use super::finding::Finding;
use super::tree::Tree;

/// What a lock file names as the source of every crate that is not ours.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Workspaces of their own have their own lints table.
const OWN_WORKSPACES: [&str; 2] = ["guest/Cargo.toml", "fuzz/Cargo.toml"];

/// The bans for what only decides.
const STRICT: [&str; 5] = [
    "kernel/clippy.toml",
    "base/clippy.toml",
    "sim/clippy.toml",
    "toolkit/route/clippy.toml",
    "toolkit/store/clippy.toml",
];

const WHY_LINTS: &str = "lints are set once, in the workspace, so that no crate is laxer unseen";
const WHY_SOURCE: &str = "the next machine reaches crates.io, and perhaps nothing else";

/// Checks a `Cargo.toml`.
pub(super) fn check(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let parsed: toml::Table = match toml::from_str(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let what = format!("not TOML: {}", error.message());
            findings.push(Finding::new(path, 0, what, "cargo cannot read it", "correct it"));
            return;
        }
    };
    let mut add = |what: &str, why, mend: &str| {
        findings.push(Finding::new(path, 0, what, why, mend));
    };
    let Some(package) = parsed.get("package").and_then(toml::Value::as_table) else { return };
    let inherits = |table: &str| {
        let table = parsed.get(table).and_then(|table| table.get("workspace"));
        table.and_then(toml::Value::as_bool) == Some(true)
    };
    if !inherits("lints") && !OWN_WORKSPACES.contains(&path) {
        add("no lints of the workspace", WHY_LINTS, "add `[lints]` with `workspace = true`");
    }
    let description = package.get("description").and_then(toml::Value::as_str);
    if description.is_none_or(|text| text.trim().is_empty()) {
        add(
            "no description",
            "a crate is an edge; its manifest says of what",
            "add a `description` of one sentence to [package]",
        );
    }
}

/// Checks a `Cargo.lock`.
pub(super) fn check_lock(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        let source = line.strip_prefix("source = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(source) = source.filter(|source| *source != CRATES_IO) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("a crate comes from {source}"),
                WHY_SOURCE,
                "use a version that is published on crates.io",
            ));
        }
    }
}

/// Checks that the rooms that only decide have one and the same strict `clippy.toml`.
pub(super) fn check_clippy(tree: &Tree, findings: &mut Vec<Finding>) {
    let text = |path: &str| tree.file(path).and_then(|file| file.text.as_deref());
    for path in STRICT {
        if text(path).is_none() || text(path) != text(STRICT[0]) {
            findings.push(Finding::new(
                path,
                0,
                format!("not the same as {}", STRICT[0]),
                "clippy reads the file nearest to a crate; a copy that differs is laxer unseen",
                format!("copy {} here", STRICT[0]),
            ));
        }
    }
}

/// Checks that `.cargo/config.toml` sends nobody elsewhere.
pub(super) fn check_cargo_config(tree: &Tree, findings: &mut Vec<Finding>) {
    let configs = tree.files.iter().filter(|file| file.path.ends_with(".cargo/config.toml"));
    for file in configs {
        let lines = file.text.as_deref().unwrap_or_default().lines().enumerate();
        let redirects = ["[source", "[registries", "[registry"];
        for (index, line) in lines {
            if redirects.iter().any(|table| line.trim_start().starts_with(table)) {
                findings.push(Finding::new(
                    &file.path,
                    index + 1,
                    "another source of crates",
                    WHY_SOURCE,
                    "keep it in the configuration of the machine that needs it",
                ));
            }
        }
    }
}
