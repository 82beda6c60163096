//! Sensors on made-up machines, on garbage, and on this one.

mod cost;
mod idle;
mod overrides;
mod parsers;
mod readings;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::{TempDir, tempdir};

use crate::{Probe, ProbeConfig};

/// A folder that looks like `/` of some machine.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file of the machine, with the folders above it.
    fn has(&self, path: &str, text: &str) -> &Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A terminal on which somebody typed so long ago.
    fn typed(&self, terminal: &str, ago: Duration) -> &Self {
        self.has(terminal, "");
        let then = SystemTime::now() - ago;
        let file = fs::File::options().write(true).open(self.root().join(terminal)).unwrap();
        file.set_times(fs::FileTimes::new().set_accessed(then)).unwrap();
        self
    }

    /// A desktop session of logind.
    fn desktop(&self, remote: bool) -> &Self {
        let remote = u8::from(remote);
        let text = format!("UID=1000\nACTIVE=1\nREMOTE={remote}\nTYPE=wayland\nCLASS=user\n");
        self.has("run/systemd/sessions/2", &text)
    }

    fn probe(&self) -> Probe {
        let config = ProbeConfig {
            disk_path: self.root().into(),
            sensors_file: Some(self.root().join("sensors.toml")),
        };
        Probe::on(self.root(), config, None)
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}
