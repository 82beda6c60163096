//! What objects cost: put, got, read with hosts gone, small files; and backups beside restic and
//! borg on the same tree. Every host is a process of the real program, on loopback.

mod backup;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figure::{Bar, Figure};
use super::process::{Cpu, busy_secs, memory_mib, pause, thread_times, wait_until};
use super::programs::Programs;
use super::talk;
use super::world::World;
use tree::noise;

/// The object that is put and got.
const OBJECT_BYTES: usize = 64 << 20;
/// Each is timed so often, and the best is told: others use the machine, too.
const ROUNDS: usize = 3;
/// Small files that are put together, one after the other, and by a command each.
const PACKED: usize = 2_000;
const ALONE: usize = 200;
const COMMANDS: usize = 20;
const SMALL_BYTES: usize = 10 << 10;
/// Hosts have told the complex of their room by then.
const ROOM_PATIENCE: Duration = Duration::from_secs(60);
/// What a put leaves behind (indexes, checks) has gone by then.
const SETTLE: Duration = Duration::from_secs(30);

/// A world with hosts that keep, and how an object is spread over them.
struct Kept {
    world: World,
    m: usize,
    n: usize,
    folder: PathBuf,
}

pub(super) fn run(
    programs: &Programs,
    keepers: &[usize],
    seconds: u64,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    for count in keepers {
        talk(&format!("  {count} keepers"));
        let mut kept = Kept::start(programs, *count)?;
        kept.large(figures)?;
        kept.small(figures)?;
        kept.idle(seconds, figures)?;
        backup::ours(&kept, figures)?;
        kept.with_hosts_gone(figures)?;
    }
    let tree = tree::Tree::new()?;
    backup::peers(&tree, figures)
}

impl Kept {
    fn start(programs: &Programs, count: usize) -> Result<Self> {
        let mut world = World::start(&programs.isos, &[])?;
        world.add_keepers(count, "4GB")?;
        let folder = world.folder().join("bench");
        fs::create_dir_all(&folder)?;
        let probe = folder.join("probe");
        fs::write(&probe, "probe")?;
        let class = class(count);
        let (mut m, mut n) = (0, 0);
        let args = ["put", "--plan", "--class", class, text(&probe)?];
        let there = wait_until(ROOM_PATIENCE, || {
            // Before any host has told of its room there is no plan.
            let Ok(planned) = world.isos(&args) else { return Ok(false) };
            let of = |name: &str| planned["plan"]["code"][name].as_u64().unwrap_or(0) as usize;
            (m, n) = (of("m"), of("n"));
            Ok(n > count / 2)
        })?;
        ensure!(there, "{count} hosts have no room for others within {ROOM_PATIENCE:?}");
        Ok(Self { world, m, n, folder })
    }

    /// What figures begin with.
    fn what(&self, what: &str) -> String {
        format!("{}-of-{} over {}: {what}", self.m, self.n, self.world.agents.len())
    }

    /// CPU seconds of all processes of the world and of all commands so far.
    fn cpu(&self) -> Result<f64> {
        // Whoever was reaped, commands among them, counts for this process.
        Ok(Cpu::of(std::process::id())?.total())
    }

    fn isos(&self, arguments: &[&str]) -> Result<(f64, f64)> {
        let (before, begun) = (self.cpu()?, Instant::now());
        self.world.isos(arguments)?;
        let secs = begun.elapsed().as_secs_f64();
        Ok((secs, self.cpu()? - before))
    }

    fn large(&self, figures: &mut Vec<Figure>) -> Result<()> {
        let (mut put, mut get) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let name = format!("large-{round}");
            let file = self.folder.join(&name);
            fs::write(&file, noise(round as u64, OBJECT_BYTES))?;
            let class = class(self.world.agents.len());
            put.push(self.isos(&["put", text(&file)?, "--class", class])?);
            let to = self.folder.join(format!("{name}.got"));
            get.push(self.isos(&["get", &name, "--to", text(&to)?])?);
            ensure!(fs::read(&file)? == fs::read(&to)?, "{name} came back otherwise");
            fs::remove_file(&to)?;
        }
        // Of ten hosts the bars are Tahoe's, many times over; of many there is none.
        let few = self.world.agents.len() <= 16;
        let bars = if few { (200.0, 400.0, Some(150.0)) } else { (60.0, 300.0, None) };
        let (put_bar, get_bar, core_bar) = bars;
        let rate = |rounds: &[(f64, f64)]| mb() / least(rounds.iter().map(|it| it.0));
        let core = |rounds: &[(f64, f64)]| mb() / least(rounds.iter().map(|it| it.1));
        let of_core = |what: &str, value: f64| {
            let figure = Figure::new(self.what(what), value, "MB/core-s");
            core_bar.map_or(figure.clone(), |bar| figure.bar(Bar::AtLeast(bar)))
        };
        let cores =
            [of_core("put, all processes", core(&put)), of_core("get, all processes", core(&get))];
        figures.extend([
            Figure::new(self.what("put 64 MiB"), rate(&put), "MB/s").bar(Bar::AtLeast(put_bar)),
            Figure::new(self.what("get 64 MiB"), rate(&get), "MB/s").bar(Bar::AtLeast(get_bar)),
        ]);
        figures.extend(cores);
        Ok(())
    }

    fn small(&self, figures: &mut Vec<Figure>) -> Result<()> {
        let folder = self.folder.join("small");
        fs::create_dir_all(&folder)?;
        for n in 0..PACKED {
            fs::write(folder.join(n.to_string()), noise(1_000 + n as u64, SMALL_BYTES))?;
        }
        let class = class(self.world.agents.len());
        let (secs, _) = self.isos(&["put", text(&folder)?, "--class", class])?;
        let packed = PACKED as f64 / secs;
        let files: Vec<PathBuf> = (0..ALONE).map(|n| folder.join(n.to_string())).collect();
        let mut arguments = vec!["put", "--class", class];
        for file in &files {
            arguments.push(text(file)?);
        }
        let alone = ALONE as f64 / self.isos(&arguments)?.0;
        let begun = Instant::now();
        for (n, file) in files.iter().take(COMMANDS).enumerate() {
            let name = format!("command-{n}");
            self.isos(&["put", text(file)?, "--class", class, "--name", &name])?;
        }
        let commands = COMMANDS as f64 / begun.elapsed().as_secs_f64();
        figures.extend([
            Figure::new(self.what("10 KiB files, together"), packed, "/s")
                .bar(Bar::AtLeast(2_000.0)),
            Figure::new(self.what("10 KiB files, an object each"), alone, "/s")
                .bar(Bar::AtLeast(50.0)),
            Figure::new(self.what("10 KiB files, a command each"), commands, "/s"),
        ]);
        Ok(())
    }

    /// What a host spends that keeps all this while nobody asks for it.
    fn idle(&self, seconds: u64, figures: &mut Vec<Figure>) -> Result<()> {
        pause(SETTLE);
        let pid = self.world.agents[0].pid();
        let (before, begun) = (thread_times(pid)?, Instant::now());
        pause(Duration::from_secs(seconds));
        let busy = busy_secs(&before, &thread_times(pid)?);
        let percent = busy / begun.elapsed().as_secs_f64() * 100.0;
        figures.extend([
            Figure::new(self.what("a keeper: memory"), memory_mib(pid)?, "MiB")
                .bar(Bar::AtMost(30.0)),
            Figure::new(self.what("a keeper: CPU"), percent, "%").bar(Bar::AtMost(0.2)),
        ]);
        Ok(())
    }

    /// Reads what was put with as many hosts gone as may be.
    fn with_hosts_gone(&mut self, figures: &mut Vec<Figure>) -> Result<()> {
        let to = self.folder.join("whole.got");
        let (whole, _) = self.isos(&["get", "large-0", "--to", text(&to)?])?;
        fs::remove_file(&to)?;
        let gone = self.n - self.m;
        for agent in self.world.agents.iter_mut().take(gone) {
            agent.kill()?;
        }
        let (secs, _) = self.isos(&["get", "large-0", "--to", text(&to)?])?;
        ensure!(fs::read(&to)? == noise(0, OBJECT_BYTES), "it came back otherwise");
        fs::remove_file(&to)?;
        figures.extend([
            Figure::new(self.what(&format!("get with {gone} hosts dead")), mb() / secs, "MB/s"),
            Figure::new(self.what("of the rate with all"), whole / secs * 100.0, "%")
                .bar(Bar::AtLeast(50.0)),
        ]);
        Ok(())
    }
}

/// What is asked for over so many hosts.
fn class(hosts: usize) -> &'static str {
    if hosts < 32 { "small" } else { "archive" }
}

fn mb() -> f64 {
    OBJECT_BYTES as f64 / 1e6
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

/// A path as an argument.
fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
