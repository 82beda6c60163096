//! The programs under measure: built in release, or taken from a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Examples and their packages: crowds for a server, and what measures a driver alone.
const EXAMPLES: [(&str, &str); 5] = [
    ("busy_hosts", "isos-complex"),
    ("eager_clients", "isos-complex"),
    ("idle_hosts", "isos-complex"),
    ("packs", "isos-disk"),
    ("returning_hosts", "isos-complex"),
];

/// Where the programs are.
pub(super) struct Programs {
    /// The product.
    pub(super) isos: PathBuf,
    examples: BTreeMap<&'static str, PathBuf>,
    sim: Option<PathBuf>,
}

impl Programs {
    /// Builds the product and what else is needed, these examples among it.
    pub(super) fn build(examples: &[&'static str], sim: bool) -> Result<Self> {
        let isos = build(&["--package", "isos"], "isos")?;
        // Beside `isos`, so that the libraries of both have the same features and are built once.
        let example = |name: &&'static str| {
            let package = EXAMPLES.iter().find(|(example, _)| example == name);
            let (_, package) = package.with_context(|| format!("there is no example {name}"))?;
            let packages = ["--package", "isos", "--package", package, "--example", name];
            Ok((*name, build(&packages, name)?))
        };
        Ok(Self {
            isos,
            examples: examples.iter().map(example).collect::<Result<_>>()?,
            sim: sim.then(|| build(&["--package", "isos-sim"], "isos-sim")).transpose()?,
        })
    }

    /// Finds them in a folder like `target/release`.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let isos = there("isos").with_context(|| format!("no isos in {}", folder.display()))?;
        let example = |(name, _)| Some((name, there(&format!("examples/{name}"))?));
        Ok(Self {
            isos,
            examples: EXAMPLES.into_iter().filter_map(example).collect(),
            sim: there("isos-sim"),
        })
    }

    /// One of [`EXAMPLES`].
    pub(super) fn example(&self, name: &str) -> Result<&Path> {
        let path = self.examples.get(name).map(PathBuf::as_path);
        path.with_context(|| format!("there is no examples/{name} in the folder"))
    }

    pub(super) fn sim(&self) -> Result<&Path> {
        self.sim.as_deref().context("there is no isos-sim in the folder")
    }
}

/// Builds one program with cargo, which says where it is.
fn build(arguments: &[&str], name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(crate::root()?)
        .args(["build", "--release", "--message-format", "json-render-diagnostics"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo did not build {name}");
    let text = String::from_utf8_lossy(&output.stdout);
    let artifacts = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = artifacts
        .filter(|artifact| artifact["target"]["name"] == name)
        .find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    built.with_context(|| format!("cargo built no program {name}"))
}
