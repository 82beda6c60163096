//! The peers' programs, installed from PyPI into a virtual environment below the target folder and
//! nowhere else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::super::process::Process;
use super::super::talk;

/// Every package, the peers' own needs included, with its version.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Making the environment has this long, and so has filling it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What somebody who lacks the peers can do.
pub(super) const WHAT_TO_INSTALL: &str = "install Python 3.10 or later with venv and pip \
    (Debian: python3-venv and python3-pip) and let pip reach PyPI";

/// Python with the peers. Asked for once, it is kept until [`REQUIREMENTS`] change.
pub(super) fn with_peers() -> Result<PathBuf> {
    let folder = target_folder()?.join("bench-peers");
    let (venv, installed) = (folder.join("venv"), folder.join("installed.txt"));
    let python = venv.join("bin/python");
    let before = fs::read_to_string(&installed).unwrap_or_default();
    if before == REQUIREMENTS && python.is_file() {
        return Ok(python);
    }
    talk(&format!("  the peers are installed from PyPI into {} ...", venv.display()));
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let wanted = folder.join("requirements.txt");
    fs::write(&wanted, REQUIREMENTS).with_context(|| format!("write {}", wanted.display()))?;
    let mut make = Command::new("python3");
    finish("python3 -m venv", make.args(["-m", "venv", "--clear"]).arg(&venv), &folder)?;
    let mut fill = Command::new(&python);
    // Wheels alone: nothing is compiled, and no package's own program runs while it is installed.
    fill.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    fill.args(["--no-deps", "--only-binary", ":all:", "--requirement"]).arg(&wanted);
    finish("pip install", &mut fill, &folder)?;
    fs::rename(&wanted, &installed).with_context(|| format!("keep {}", installed.display()))?;
    Ok(python)
}

/// Runs a command to its end; if it fails, the reason is the last line that it wrote.
fn finish(what: &str, command: &mut Command, folder: &Path) -> Result<()> {
    let log = folder.join("errors.log");
    let errors = File::create(&log).with_context(|| format!("write {}", log.display()))?;
    let done = Process::start(what, command.stderr(errors)).and_then(|it| it.finish(PATIENCE));
    done.map(drop).map_err(|error| {
        let said = fs::read_to_string(&log).unwrap_or_default();
        match said.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) => error.context(last.trim().to_owned()),
            None => error,
        }
    })
}

/// The version that [`REQUIREMENTS`] have of a package.
pub(super) fn version(package: &str) -> Result<&'static str> {
    let line = |line: &'static str| line.strip_prefix(package)?.strip_prefix("==");
    REQUIREMENTS.lines().find_map(line).with_context(|| format!("{package} is not installed"))
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
}

/// Where cargo puts what it builds.
fn target_folder() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(crate::root()?)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .context("start cargo metadata")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata failed ({}): {said}", output.status);
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("understand cargo metadata")?;
    Ok(metadata.target_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_one_version() {
        for line in REQUIREMENTS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (package, pinned) = line.split_once("==").unwrap_or_default();
            assert_eq!(version(package).ok(), Some(pinned), "{line}");
        }
        assert!(version("hyper").is_err(), "a part of a name is no name");
    }

    #[test]
    fn what_cannot_be_installed_is_told_with_the_last_line_of_who_tried() {
        let folder = super::super::super::world::Folder::new().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo 'ERROR: no such package' >&2; echo >&2; exit 1"]);
        let error = finish("pip install", &mut shell, &folder.path).unwrap_err();
        let told = format!("{error:#}");
        assert_eq!(told, "ERROR: no such package: pip install failed: exit status: 1");
    }
}
