//! Backups of one tree: a first one, one of the same tree again, and all of it restored; ours onto
//! hosts, restic's and borg's into a folder. CPU is of all processes that take part.
//!
//! The peers are whatever is installed: nothing is fetched, and one that is not there is said.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::tree::Tree;
use super::{Kept, text};
use crate::bench::figure::{Bar, Figure};
use crate::bench::process::{Cpu, Process};
use crate::bench::talk;

/// A command of a peer has this long.
const PATIENCE: Duration = Duration::from_secs(600);
/// Nobody's secret: the repositories vanish.
const PASSWORD: &str = "bench";

/// Seconds, and CPU seconds.
type Took = (f64, f64);

fn rows(name: &str, tree: &Tree, took: &[Took; 3], bars: Option<[f64; 2]>) -> Vec<Figure> {
    let size = format!("{} files, {} MB", tree.files, tree.bytes / 1_000_000);
    let steps = ["first", "nothing new", "restore"];
    let mut figures = Vec::new();
    for (n, (step, (secs, cpu))) in steps.into_iter().zip(took).enumerate() {
        let what = format!("{name}, {size}: {step}");
        let figure = Figure::new(format!("{what}, CPU"), *cpu, "s");
        let bar = bars.and_then(|bars| bars.get(n).copied());
        figures.push(bar.map_or(figure.clone(), |bar| figure.bar(Bar::AtMost(bar))));
        figures.push(Figure::new(what, *secs, "s"));
    }
    figures
}

/// Ours, over the hosts that there are.
pub(super) fn ours(kept: &Kept, figures: &mut Vec<Figure>) -> Result<()> {
    let tree = Tree::new()?;
    let (root, to) = (tree.root(), tree.beside("restored"));
    let class = super::class(kept.world.agents.len());
    let create = ["backup", "create", text(&root)?, "--class", class];
    let first = kept.isos(&create)?;
    let again = kept.isos(&create)?;
    let restored = kept.isos(&["backup", "restore", "--to", text(&to)?])?;
    // The bars of the design are for 38,681 files of 198 MB; CPU goes by the file.
    let part = tree.files as f64 / 38_681.0;
    let bars = (kept.n <= 16).then_some([2.5 * part, 0.8 * part]);
    figures.extend(rows(&kept.what("isos backup"), &tree, &[first, again, restored], bars));
    Ok(())
}

/// Those who are installed.
pub(super) fn peers(tree: &Tree, figures: &mut Vec<Figure>) -> Result<()> {
    for (name, run) in [("restic", restic as fn(&Tree) -> Result<[Took; 3]>), ("borg", borg)] {
        let Some(version) = version(name) else {
            let package = if name == "borg" { "borgbackup" } else { name };
            talk(&format!("  no {name} here: `apt-get install {package}` has it compared"));
            continue;
        };
        talk(&format!("  {version}"));
        let took = run(tree).with_context(|| format!("what {name} does"))?;
        figures.extend(rows(name, tree, &took, None));
    }
    Ok(())
}

fn version(name: &str) -> Option<String> {
    let argument = if name == "borg" { "--version" } else { "version" };
    let output = Command::new(name).arg(argument).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or(name).to_owned())
}

fn restic(tree: &Tree) -> Result<[Took; 3]> {
    let (repo, root, to) = (tree.beside("restic"), tree.root(), tree.beside("by-restic"));
    let run = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--quiet", "--no-cache", "--repo", text(&repo)?]).args(args);
        timed(command.env("RESTIC_PASSWORD", PASSWORD))
    };
    run(&["init"])?;
    let backup = ["backup", text(&root)?];
    let (first, again) = (run(&backup)?, run(&backup)?);
    let restored = run(&["restore", "latest", "--target", text(&to)?])?;
    check(&to, tree)?;
    Ok([first, again, restored])
}

fn borg(tree: &Tree) -> Result<[Took; 3]> {
    let (repo, root, to) = (tree.beside("borg"), tree.root(), tree.beside("by-borg"));
    let home = tree.beside("borg-home");
    fs::create_dir_all(&to)?;
    let run = |args: &[&str]| {
        let mut command = Command::new("borg");
        command.args(args).current_dir(&to);
        command.env("BORG_PASSPHRASE", PASSWORD).env("BORG_REPO", &repo);
        // Its caches and keys vanish with the rest.
        timed(command.env("BORG_BASE_DIR", &home))
    };
    run(&["init", "--encryption", "repokey-blake2"])?;
    let first = run(&["create", "::first", text(&root)?])?;
    let again = run(&["create", "::again", text(&root)?])?;
    let restored = run(&["extract", "::again"])?;
    check(&to, tree)?;
    Ok([first, again, restored])
}

/// How long a command takes; it must end well.
fn timed(command: &mut Command) -> Result<Took> {
    let what = format!("{command:?}");
    let (before, begun) = (Cpu::of(std::process::id())?.children, Instant::now());
    Process::start(&what, command)?.finish(PATIENCE)?;
    let secs = begun.elapsed().as_secs_f64();
    Ok((secs, Cpu::of(std::process::id())?.children - before))
}

/// Whether as much came back as there was.
fn check(to: &Path, tree: &Tree) -> Result<()> {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![to.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files += 1;
                bytes += entry.metadata()?.len();
            } else {
                bail!("{} is neither file nor folder", entry.path().display());
            }
        }
    }
    let same = (files, bytes) == (tree.files, tree.bytes);
    ensure!(same, "{files} files of {bytes} bytes came back, of {}", tree.files);
    Ok(())
}
