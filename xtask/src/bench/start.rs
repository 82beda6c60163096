//! From a command to a world, and the size of the program.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::figure::{Bar, Figure};
use super::process::Process;
use super::programs::Programs;
use super::world::{Folder, isos_command};

const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(programs: &Programs, figures: &mut Vec<Figure>) -> Result<()> {
    let (mut ready, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let folder = Folder::new()?;
        let mut command = isos_command(&programs.isos);
        command.args(["dev", "--hosts", "3", "--json", "--home"]).arg(folder.path.join("home"));
        command.stderr(std::process::Stdio::null());
        let start = Instant::now();
        let world = Process::start("isos dev", &mut command)?;
        world.line(PATIENCE)?;
        ready.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        drop(world);
        gone.push(start.elapsed().as_secs_f64());
    }
    let size = std::fs::metadata(&programs.isos).context("the program is gone")?.len();
    figures.extend([
        Figure::new("isos dev --hosts 3 ready, median", median(&mut ready), "s")
            .bar(Bar::AtMost(3.0)),
        Figure::new("and ended after SIGTERM, median", median(&mut gone), "s"),
        Figure::new("size of the program", size as f64 / 1e6, "MB"),
    ]);
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
