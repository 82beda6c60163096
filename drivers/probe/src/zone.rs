//! Where the clock on the wall stands, daylight saving included.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isos_base::sensors::LocalClock;
use tz::TimeZone;

/// People travel, seldom.
const EVERY: Duration = Duration::from_secs(60);

/// The zone of this machine.
#[derive(Debug)]
pub(crate) struct Zone {
    localtime: PathBuf,
    /// `TZ`, which goes before the machine's zone.
    chosen: Option<String>,
    zone: Option<TimeZone>,
    loaded: Option<Instant>,
}

impl Zone {
    pub(crate) fn new(root: &Path, chosen: Option<String>) -> Self {
        let chosen = chosen.filter(|name| !name.is_empty());
        Self { localtime: root.join("etc/localtime"), chosen, zone: None, loaded: None }
    }

    /// The offset at `time`. Without a readable zone it is UTC, as in every other program.
    pub(crate) fn read(&mut self, time: SystemTime, now: Instant) -> LocalClock {
        if self.loaded.is_none_or(|at| now.duration_since(at) >= EVERY) {
            self.loaded = Some(now);
            self.zone = self.load();
        }
        let secs = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let secs = i64::try_from(secs).unwrap_or(i64::MAX);
        let local = self.zone.as_ref().and_then(|zone| zone.find_local_time_type(secs).ok());
        LocalClock { utc_offset_secs: local.map_or(0, |local| local.ut_offset()) }
    }

    fn load(&self) -> Option<TimeZone> {
        match &self.chosen {
            Some(name) => TimeZone::from_posix_tz(name).ok(),
            None => TimeZone::from_tz_data(&std::fs::read(&self.localtime).ok()?).ok(),
        }
    }
}
