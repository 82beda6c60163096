//! All sensors, read at once.

use std::path::{Path, PathBuf};

use isos_base::sensors::Sensors;

use crate::cpu::LoadMeter;
use crate::heat::HeatMeter;
use crate::input::{InputMeter, Now};
use crate::machine::{MachineFacts, disk};
use crate::network::NetworkMeter;
use crate::power::PowerMeter;
use crate::watch::Watch;
use crate::zone::Zone;
use crate::{memory, overrides};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Where the agent's data is: free space is measured there. Must exist.
    pub disk_path: PathBuf,
    /// A TOML file that replaces readings while it exists, for tests: `idle = "0s"`,
    /// `other_load = 1.5`, `memory_free = "2GiB"`, `disk_free`, `power = "battery 45%"`,
    /// `metered = true`, `temperature = 71.5`, `utc_offset = "+02:00"`; any may be left out or
    /// `"unknown"`. A file with a mistake makes every reading unknown and says why.
    pub sensors_file: Option<PathBuf>,
}

/// The sensors of this machine.
#[derive(Debug)]
pub struct Probe {
    root: PathBuf,
    config: ProbeConfig,
    input: InputMeter,
    load: LoadMeter,
    power: PowerMeter,
    network: NetworkMeter,
    heat: HeatMeter,
    zone: Zone,
}

impl Probe {
    /// Finds the sensors and takes the first look, in about a millisecond.
    #[must_use]
    pub fn new(config: ProbeConfig) -> Self {
        Self::asking(Self::on(Path::new("/"), config, std::env::var("TZ").ok()))
    }

    /// As [`Probe::new`], on a machine whose files of the system (`proc`, `sys`, `dev`, `run`,
    /// `etc/localtime`, `usr/bin/busctl`) lie under `root`: how tests play a machine. What is not
    /// there is missing, as on a machine that has none.
    #[must_use]
    pub fn under(root: &Path, config: ProbeConfig) -> Self {
        Self::asking(Self::on(root, config, None))
    }

    /// What other programs know is asked for now, and answered by the time somebody reads.
    fn asking(mut probe: Self) -> Self {
        let _ = probe.network.read(Now::read().steady);
        probe
    }

    pub(crate) fn on(root: &Path, config: ProbeConfig, zone: Option<String>) -> Self {
        Self {
            root: root.into(),
            config,
            input: InputMeter::new(root),
            load: LoadMeter::new(root),
            power: PowerMeter::new(root),
            network: NetworkMeter::new(root),
            heat: HeatMeter::new(root),
            zone: Zone::new(root, zone),
        }
    }

    /// Reads everything, in tens of microseconds; never waits for another program.
    ///
    /// `own_pids` are the processes that work for us now, with all their children that live: their
    /// load is ours, not the owner's. This process itself, and children that have ended, are
    /// counted without being named. Load is averaged since the last reading, over half a second at
    /// least. A plug is seen at once; the charge of a battery and what desktops say may be 10 and
    /// 60 seconds old.
    pub fn read(&mut self, own_pids: &[u32]) -> Sensors {
        let now = Now::read();
        let mut sensors = Sensors {
            idle: self.input.read(now),
            other_load: self.load.read(own_pids, now.steady),
            memory_free: memory::read(&self.root, "MemAvailable"),
            disk_free: disk(&self.config.disk_path).0,
            power: self.power.read(now.steady),
            metered: self.network.read(now.steady),
            temperature: self.heat.read(now.steady),
            clock: self.zone.read(now.wall, now.steady),
        };
        if let Some(path) = &self.config.sensors_file {
            overrides::apply(path, &mut sensors);
        }
        sensors
    }

    /// A quick eye for the owner's return, for another task or thread than this probe's.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(&self.root, self.config.sensors_file.clone())
    }

    /// What does not change while the agent runs.
    #[must_use]
    pub fn describe(&self) -> MachineFacts {
        MachineFacts::find(&self.root, &self.config.disk_path)
    }
}
