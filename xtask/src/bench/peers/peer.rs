//! A process of a peer: one of the scripts beside this file, which talks in lines of JSON.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::process::Process;
use super::super::world::{Folder, last_words};

/// All tasks are done within this time. The scripts end by themselves after 15 minutes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ends when dropped, before the folder that it works in.
pub(super) struct Peer<'a> {
    process: Process,
    log: PathBuf,
    _folder: &'a Folder,
}

impl<'a> Peer<'a> {
    /// Starts one in a folder, its only home.
    pub(super) fn start(what: &str, command: &mut Command, folder: &'a Folder) -> Result<Self> {
        let log = folder.path.join(format!("{what}.log"));
        // Nobody's own settings have a say, and nothing is left elsewhere.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &folder.path).env("TMPDIR", &folder.path).current_dir(&folder.path);
        let process = Process::start_listening(what, command.stderr(File::create(&log)?))?;
        Ok(Self { process, log, _folder: folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The next news with a field of this name.
    pub(super) fn said(&self, name: &str, patience: Duration) -> Result<Value> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.process.line(left).with_context(|| last_words(&self.log))?;
            if let Some(news) = news(&line, name) {
                return Ok(news);
            }
        }
    }

    /// Has it do the tasks that it was started with; seconds that it took.
    pub(super) fn run(&mut self, tasks: u32) -> Result<f64> {
        self.process.tell()?;
        secs(&self.said("done", PATIENCE)?, tasks).with_context(|| last_words(&self.log))
    }
}

/// What a line tells, if it is an object with such a field: peers print other things as well.
fn news(line: &str, name: &str) -> Option<Value> {
    let news: Value = serde_json::from_str(line).ok()?;
    news.get(name).is_some().then_some(news)
}

/// The time that so many tasks took, if all of them were done.
fn secs(news: &Value, tasks: u32) -> Result<f64> {
    ensure!(news["done"] == tasks, "{tasks} tasks were asked for, and these done: {news}");
    let secs = news["secs"].as_f64().filter(|secs| *secs > 0.0);
    secs.with_context(|| format!("no time in {news}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_found_among_the_other_things_that_a_peer_prints() {
        for other in ["", "| Version | v0.27.0 |", "7", "[\"done\"]", r#"{"ready": true}"#] {
            assert_eq!(news(other, "done"), None, "{other}");
        }
        let news = news(r#"{"done": 10000, "secs": 20.5}"#, "done").unwrap();
        assert_eq!(secs(&news, 10_000).unwrap(), 20.5);
    }

    #[test]
    fn tasks_that_failed_make_no_figure() {
        let told = |news: &str| secs(&serde_json::from_str(news).unwrap(), 10_000);
        assert!(told(r#"{"done": 9999, "secs": 20.5}"#).is_err());
        for bad in ["0", "-1", "null", "\"20.5\""] {
            assert!(told(&format!(r#"{{"done": 10000, "secs": {bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_peer_is_told_once_and_waits_for_its_end() {
        let folder = Folder::new().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo '{\"ready\": 1}'; read _; echo '{\"done\": 5, \"secs\": 2}'; cat"]);
        let mut peer = Peer::start("a shell", &mut shell, &folder).unwrap();
        peer.said("ready", PATIENCE).unwrap();
        assert_eq!(peer.run(5).unwrap(), 2.0);
        assert!(peer.process.tell().is_err(), "there is nothing more to tell");
    }
}
