//! How fast the simulator is.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::figure::Figure;
use super::process::{Cpu, Process};
use super::programs::Programs;

const PATIENCE: Duration = Duration::from_secs(600);
/// The simulator runs each seed twice, to compare the traces.
const RUNS: f64 = 2.0;

pub(super) fn run(programs: &Programs, hosts: u32, figures: &mut Vec<Figure>) -> Result<()> {
    let mut command = Command::new(programs.sim()?);
    command.args(["--seeds", "1", "--hosts", &hosts.to_string()]);
    let before = Cpu::of(std::process::id())?;
    let text = Process::start("isos-sim", &mut command)?.finish(PATIENCE)?;
    // Only children that have ended are counted, and this is the only one that did.
    let secs = Cpu::of(std::process::id())?.since(before).children;
    let events = number_before(&text, " events").with_context(|| format!("no events: {text}"))?;
    let virtual_secs = number_before(&text, " virtual s").unwrap_or_default();
    figures.extend([
        Figure::new(format!("{hosts} hosts: events"), RUNS * events / secs, "/CPU-s"),
        Figure::new("events of a run", events, ""),
        Figure::new("virtual time of a run", virtual_secs, "s"),
        Figure::new("CPU of a run", secs / RUNS, "s"),
    ]);
    Ok(())
}

/// The number in front of these words.
fn number_before(text: &str, words: &str) -> Option<f64> {
    text.split(words).next()?.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_the_word_behind_it() {
        let line = "seed 1  160000 tasks in 812 virtual s, 4211 events, 2 kills";
        assert_eq!(number_before(line, " events"), Some(4211.0));
        assert_eq!(number_before(line, " virtual s"), Some(812.0));
        assert_eq!(number_before(line, " elephants"), None);
    }
}
