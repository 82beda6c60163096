//! Mains or battery, from `/sys/class/power_supply`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isos_base::sensors::{Power, Reading};

use crate::files;

/// Batteries answer slowly (some take 20 ms) and change slowly.
const EVERY: Duration = Duration::from_secs(10);
/// Kinds of supplies that are no battery.
const SOCKETS: [&str; 3] = ["Mains", "USB", "Wireless"];

/// One folder of `/sys/class/power_supply`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Supply {
    /// `Mains`, `USB`, `Battery`, `UPS`.
    pub(crate) kind: String,
    /// `Device` for the battery of a mouse.
    pub(crate) scope: String,
    /// Whether mains has current.
    pub(crate) online: bool,
    /// Whether a battery is in its bay.
    pub(crate) present: bool,
    /// `Charging`, `Discharging`, `Full`, `Not charging`, `Unknown`.
    pub(crate) status: String,
    /// Per cent.
    pub(crate) capacity: Option<f32>,
}

/// What a machine with these supplies lives on.
pub(crate) fn judge(supplies: &[Supply]) -> Reading<Power> {
    let is_mains = |supply: &&Supply| SOCKETS.contains(&supply.kind.as_str());
    let batteries: Vec<&Supply> = supplies
        .iter()
        .filter(|supply| ["Battery", "UPS"].contains(&supply.kind.as_str()))
        .filter(|supply| supply.present && supply.scope != "Device")
        .collect();
    let plugged = supplies.iter().filter(is_mains).any(|supply| supply.online);
    let socket = supplies.iter().any(|supply| is_mains(&supply));
    let status = |wanted: &str| batteries.iter().any(|battery| battery.status == wanted);
    // Some batteries report no status; then an empty socket decides.
    let on_battery = !plugged && (status("Discharging") || socket && !status("Charging"));
    if batteries.is_empty() || !on_battery {
        return Reading::Known(Power::Mains);
    }
    let charges: Vec<f32> = batteries
        .iter()
        .filter_map(|battery| battery.capacity)
        .filter(|charge| (0.0..=100.0).contains(charge))
        .collect();
    if charges.is_empty() {
        return Reading::Unknown("on battery, which does not tell its charge".into());
    }
    Reading::Known(Power::Battery(charges.iter().sum::<f32>() / charges.len() as f32))
}

/// Whether the sockets of a machine have current: that answers at once, unlike a battery.
#[derive(Debug)]
pub(crate) struct Sockets {
    folder: PathBuf,
    files: Vec<PathBuf>,
    found: Option<Instant>,
}

impl Sockets {
    pub(crate) fn new(root: &Path) -> Self {
        Self { folder: root.join("sys/class/power_supply"), files: Vec::new(), found: None }
    }

    /// What each of them says now, in no order that matters.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<Option<String>> {
        if self.found.is_none_or(|at| now.duration_since(at) >= EVERY) {
            let all = files::entries(&self.folder).map(|(_, path)| path);
            let sockets = all.filter(|path| {
                files::line(&path.join("type")).is_some_and(|kind| SOCKETS.contains(&kind.as_str()))
            });
            self.files = sockets.map(|path| path.join("online")).collect();
            self.files.sort_unstable();
            self.found = Some(now);
        }
        self.files.iter().map(|path| files::line(path)).collect()
    }
}

/// Reads the supplies now and then, and when a plug is pulled or put in.
#[derive(Debug)]
pub(crate) struct PowerMeter {
    folder: PathBuf,
    sockets: Sockets,
    plugged: Vec<Option<String>>,
    last: Option<(Instant, Reading<Power>)>,
}

impl PowerMeter {
    pub(crate) fn new(root: &Path) -> Self {
        let folder = root.join("sys/class/power_supply");
        Self { folder, sockets: Sockets::new(root), plugged: Vec::new(), last: None }
    }

    /// Where the power comes from, now; a battery's charge is at most ten seconds old.
    pub(crate) fn read(&mut self, now: Instant) -> Reading<Power> {
        let plugged = self.sockets.look(now);
        let same = plugged == self.plugged;
        self.plugged = plugged;
        if let Some((at, reading)) = &self.last
            && same
            && now.duration_since(*at) < EVERY
        {
            return reading.clone();
        }
        let reading = if self.folder.is_dir() {
            judge(&files::entries(&self.folder).map(|(_, path)| supply(&path)).collect::<Vec<_>>())
        } else {
            Reading::Unknown("no /sys/class/power_supply here".into())
        };
        self.last = Some((now, reading.clone()));
        reading
    }
}

fn supply(folder: &Path) -> Supply {
    let field = |name| files::line(&folder.join(name));
    Supply {
        kind: field("type").unwrap_or_default(),
        scope: field("scope").unwrap_or_default(),
        online: field("online").is_some_and(|text| text != "0"),
        present: field("present").is_none_or(|text| text != "0"),
        status: field("status").unwrap_or_default(),
        capacity: field("capacity").and_then(|text| text.parse().ok()),
    }
}
