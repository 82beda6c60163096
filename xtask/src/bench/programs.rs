//! The programs under measure: built in release, or taken from a folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where the programs are.
pub(super) struct Programs {
    /// The product.
    pub(super) isos: PathBuf,
    idle_hosts: Option<PathBuf>,
    busy_hosts: Option<PathBuf>,
    sim: Option<PathBuf>,
}

impl Programs {
    /// Builds the product and what else is needed.
    pub(super) fn build(idle_hosts: bool, busy_hosts: bool, sim: bool) -> Result<Self> {
        let isos = build(&["--package", "isos"], "isos")?;
        // Beside `isos`, so that the libraries of both have the same features and are built once.
        let example = |name: &str| {
            build(&["--package", "isos", "--package", "isos-complex", "--example", name], name)
        };
        Ok(Self {
            isos,
            idle_hosts: idle_hosts.then(|| example("idle_hosts")).transpose()?,
            busy_hosts: busy_hosts.then(|| example("busy_hosts")).transpose()?,
            sim: sim.then(|| build(&["--package", "isos-sim"], "isos-sim")).transpose()?,
        })
    }

    /// Finds them in a folder like `target/release`.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let isos = there("isos").with_context(|| format!("no isos in {}", folder.display()))?;
        Ok(Self {
            isos,
            idle_hosts: there("examples/idle_hosts"),
            busy_hosts: there("examples/busy_hosts"),
            sim: there("isos-sim"),
        })
    }

    pub(super) fn idle_hosts(&self) -> Result<&Path> {
        self.idle_hosts.as_deref().context("there is no examples/idle_hosts in the folder")
    }

    pub(super) fn busy_hosts(&self) -> Result<&Path> {
        self.busy_hosts.as_deref().context("there is no examples/busy_hosts in the folder")
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
