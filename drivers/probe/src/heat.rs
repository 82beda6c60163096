//! How hot the processor is, from `/sys/class/hwmon` and `/sys/class/thermal`.
//!
//! The hottest of its sensors counts. Drives, batteries and wireless cards have sensors there too,
//! which say nothing about what work does to the machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isos_base::sensors::Reading;

use crate::files;

/// A processor heats up within seconds; some sensors answer slowly.
const EVERY: Duration = Duration::from_secs(2);
/// Sensors of the processor in `hwmon`, by driver.
const DRIVERS: &[&str] = &[
    "coretemp",
    "cpu_thermal",
    "k10temp",
    "k8temp",
    "scpi_sensors",
    "soc_thermal",
    "via_cputemp",
    "zenpower",
];

/// One number of one sensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sensor {
    /// The driver, or the kind of a thermal zone.
    pub(crate) kind: String,
    /// `Tctl`, `Package id 0`; often nothing.
    pub(crate) label: String,
    /// Thousandths of a degree Celsius, as the kernel writes it.
    pub(crate) text: String,
}

/// The hottest that is a temperature at all.
pub(crate) fn hottest(sensors: &[Sensor]) -> Option<f32> {
    let is_die = |sensor: &&Sensor| sensor.label == "Tdie";
    // What these call control temperature may be the true one and twenty.
    let has_die = sensors.iter().any(|sensor| is_die(&sensor));
    let sensors = sensors.iter().filter(|sensor| !(has_die && sensor.label == "Tctl"));
    let degrees = sensors.filter_map(|sensor| sensor.text.trim().parse::<i32>().ok());
    let real = degrees.filter(|it| (-60_000..=150_000).contains(it) && *it != 0);
    real.max().map(|thousandths| thousandths as f32 / 1e3)
}

/// Whether a thermal zone is the processor's, or at least the board's around it.
fn rank(zone: &str) -> Option<u8> {
    let lower = zone.to_ascii_lowercase();
    if lower == "x86_pkg_temp" || lower.contains("cpu") || lower.contains("soc") {
        Some(0)
    } else if lower.starts_with("acpitz") {
        Some(1)
    } else {
        None
    }
}

/// Reads the sensors now and then.
#[derive(Debug)]
pub(crate) struct HeatMeter {
    hwmon: PathBuf,
    thermal: PathBuf,
    last: Option<(Instant, Reading<f32>)>,
}

impl HeatMeter {
    pub(crate) fn new(root: &Path) -> Self {
        let (hwmon, thermal) = (root.join("sys/class/hwmon"), root.join("sys/class/thermal"));
        Self { hwmon, thermal, last: None }
    }

    /// At most two seconds old.
    pub(crate) fn read(&mut self, now: Instant) -> Reading<f32> {
        if let Some((at, reading)) = &self.last
            && now.duration_since(*at) < EVERY
        {
            return reading.clone();
        }
        let reading = self.look();
        self.last = Some((now, reading.clone()));
        reading
    }

    fn look(&self) -> Reading<f32> {
        if let Some(degrees) = hottest(&self.drivers()) {
            return Reading::Known(degrees);
        }
        let zones = self.zones();
        for wanted in [0, 1] {
            let zones: Vec<Sensor> =
                zones.iter().filter(|zone| rank(&zone.kind) == Some(wanted)).cloned().collect();
            if let Some(degrees) = hottest(&zones) {
                return Reading::Known(degrees);
            }
        }
        Reading::Unknown("no sensor of the processor is visible here".into())
    }

    fn drivers(&self) -> Vec<Sensor> {
        let mut sensors = Vec::new();
        for (_, folder) in files::entries(&self.hwmon) {
            let kind = files::line(&folder.join("name")).unwrap_or_default();
            if !DRIVERS.contains(&kind.as_str()) {
                continue;
            }
            for (name, path) in files::entries(&folder) {
                let Some(stem) = name.strip_suffix("_input") else { continue };
                if stem.starts_with("temp")
                    && let Some(text) = files::line(&path)
                {
                    let label = files::line(&folder.join(format!("{stem}_label")));
                    let (kind, label) = (kind.clone(), label.unwrap_or_default());
                    sensors.push(Sensor { kind, label, text });
                }
            }
        }
        sensors
    }

    fn zones(&self) -> Vec<Sensor> {
        files::entries(&self.thermal)
            .filter(|(name, _)| name.starts_with("thermal_zone"))
            .filter_map(|(_, folder)| {
                let kind = files::line(&folder.join("type"))?;
                let text = files::line(&folder.join("temp"))?;
                Some(Sensor { kind, label: String::new(), text })
            })
            .collect()
    }
}
