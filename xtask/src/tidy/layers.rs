//! Who may import whom. The table of ARCHITECTURE.md, and the only place where it is enforced.
//!
//! Direct imports are read from the manifests as cargo understands them; what pure crates reach
//! through others is asked of `cargo tree`, which knows the features that each of them turns on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::finding::Finding;

/// One room: a package, and which of ours it may import.
struct Room {
    package: &'static str,
    may: May,
    /// Whether it decides only: nothing that does I/O may be reached from it.
    pure: bool,
}

enum May {
    Only(&'static [&'static str]),
    Anything,
}

const fn pure(package: &'static str, may: &'static [&'static str]) -> Room {
    Room { package, may: May::Only(may), pure: true }
}

const fn room(package: &'static str, may: &'static [&'static str]) -> Room {
    Room { package, may: May::Only(may), pure: false }
}

const AGENT: [&str; 9] = [
    "isos-base",
    "isos-disk",
    "isos-gossip",
    "isos-kernel",
    "isos-net",
    "isos-peers",
    "isos-probe",
    "isos-sandbox",
    "isos-store",
];

const ROOMS: [Room; 19] = [
    pure("isos-base", &[]),
    pure("isos-kernel", &["isos-base"]),
    pure("isos-gossip", &["isos-base"]),
    pure("isos-peers", &["isos-base"]),
    pure("isos-route", &["isos-base"]),
    pure("isos-sim", &["isos-base", "isos-gossip", "isos-kernel", "isos-route", "isos-store"]),
    pure("isos-store", &["isos-base"]),
    room("isos-backup", &["isos-base", "isos-store"]),
    room("isos-db", &["isos-base"]),
    room("isos-disk", &["isos-base"]),
    room("isos-net", &["isos-base"]),
    room("isos-probe", &["isos-base"]),
    room("isos-sandbox", &["isos-base"]),
    room("isos-sdk", &["isos-base", "isos-net", "isos-store"]),
    room("isos-agent", &AGENT),
    room("isos-complex", &["isos-base", "isos-db", "isos-disk", "isos-kernel", "isos-net"]),
    Room { package: "isos", may: May::Anything, pure: false },
    Room { package: "isos-tests", may: May::Anything, pure: false },
    room("xtask", &[]),
];

/// Nothing of ours imports these.
const TOPS: [&str; 4] = ["isos", "isos-sim", "isos-tests", "xtask"];

/// Crates (`*` at the end: and all that begin so) that only these packages may name.
const OWNED: [(&str, &[&str], &str); 9] = [
    ("wasmtime*", &["isos-sandbox"], "the engine can be replaced in one room"),
    ("wasmparser", &["isos-sandbox"], "the engine's parser changes with the engine"),
    ("iroh*", &["isos-net"], "the transport can be replaced in one room"),
    ("sqlx*", &["isos-db"], "SQL stays in one room"),
    ("axum*", &["isos-complex"], "the HTTP server is the complex's"),
    ("biscuit-auth", &["isos-base"], "tokens are made and checked in one file"),
    ("clap*", &["isos", "isos-sim", "xtask"], "arguments are read where a person types them"),
    ("anyhow", &["isos", "isos-sim", "isos-tests", "xtask"], "elsewhere an error has a name"),
    ("async-trait", &[], "traits have async functions since Rust 1.75"),
];

/// Never reached from a pure package, through however many others.
const IMPURE: [&str; 12] = [
    "async-std",
    "axum*",
    "hyper*",
    "iroh*",
    "mio",
    "quinn*",
    "reqwest",
    "smol",
    "socket2",
    "sqlx*",
    "tokio*",
    "wasmtime*",
];

const WHY_LAYERS: &str = "a lower layer never names a higher one: ARCHITECTURE.md, \"Layers\"";
const WHY_PURE: &str = "what decides is deterministic, so that the simulator runs what hosts run";

/// A package of the workspace, as `cargo metadata` describes it.
#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// One entry of a package's manifest.
#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `None` for an ordinary one, else `dev` or `build`.
    pub(super) kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The packages of the workspace.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("start cargo metadata")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata failed ({}): {said}", output.status);
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("understand cargo metadata")?;
    Ok(metadata.packages)
}

/// Checks what the manifests name.
pub(super) fn check_direct(packages: &[Package], findings: &mut Vec<Finding>) {
    let ours = |name: &str| packages.iter().any(|package| package.name == name);
    for package in packages {
        let Some(room) = ROOMS.iter().find(|room| room.package == package.name) else {
            findings.push(Finding::new(
                &package.name,
                0,
                "the package has no row in the table of rooms",
                WHY_LAYERS,
                "add it to ROOMS in xtask/src/tidy/layers.rs and to ARCHITECTURE.md",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            check_owned(package, dependency, findings);
            // Tests may look at what the room below makes of it, never the other way round.
            if dependency.kind.as_deref() == Some("dev") || !ours(&dependency.name) {
                continue;
            }
            let name = dependency.name.as_str();
            let allowed = match room.may {
                May::Anything => true,
                May::Only(these) => these.contains(&name) && !TOPS.contains(&name),
            };
            if !allowed {
                findings.push(Finding::new(
                    &package.name,
                    0,
                    format!("imports {name}"),
                    WHY_LAYERS,
                    "move the shared shape to base, or pass it through the shell above both",
                ));
            }
        }
    }
}

fn check_owned(package: &Package, dependency: &Dependency, findings: &mut Vec<Finding>) {
    for (pattern, owners, why) in OWNED {
        let named = matches(pattern, &dependency.name);
        if !named || owners.contains(&package.name.as_str()) {
            continue;
        }
        // A test may play the other side, but not with another engine, transport or database.
        let plays = dependency.kind.as_deref() == Some("dev") && pattern == "axum*";
        if !plays {
            let mend = match owners {
                [] => "do without it".to_owned(),
                owners => format!("use what {} offers", owners.join(", ")),
            };
            let what = format!("names {}", dependency.name);
            findings.push(Finding::new(&package.name, 0, what, why, mend));
        }
    }
}

/// Checks what pure packages reach, with the features that they turn on.
pub(super) fn check_graph(
    root: &Path,
    packages: &[Package],
    findings: &mut Vec<Finding>,
) -> Result<()> {
    for room in ROOMS.iter().filter(|room| room.pure) {
        if !packages.iter().any(|package| package.name == room.package) {
            continue;
        }
        let arguments = ["--package", room.package, "--edges", "normal,build"];
        for line in tree(root, &arguments, "{p}")? {
            let reached = line.split(' ').next().unwrap_or_default();
            if IMPURE.iter().any(|pattern| matches(pattern, reached)) {
                findings.push(Finding::new(
                    room.package,
                    0,
                    format!("reaches {reached} (`cargo tree -p {} -i {reached}`)", room.package),
                    WHY_PURE,
                    "turn the feature off that brings it, or do the I/O in a driver",
                ));
            }
        }
    }
    Ok(())
}

/// Lines of `cargo tree`, each once, in order.
pub(super) fn tree(root: &Path, arguments: &[&str], format: &str) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--prefix", "none", "--format", format])
        .args(arguments)
        .current_dir(root)
        .output()
        .context("start cargo tree")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree failed ({}): {said}", output.status);
    let text = String::from_utf8(output.stdout).context("cargo tree prints text")?;
    let mut lines: Vec<String> =
        text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect();
    lines.sort();
    lines.dedup();
    lines.retain(|line| !line.is_empty());
    Ok(lines)
}

/// Whether a name fits a pattern: itself, or all that begin with what stands before a `*`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}
