//! Whether the network costs money: another program's word, asked for once a minute, and again as
//! soon as the way out of this machine is another one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isos_base::sensors::Reading;

use crate::asked::{Asked, metered};
use crate::files;

/// Of the table of routes, which begins with the way out of this machine.
const ROUTES_BYTES_MAX: u64 = 4 << 10;
/// Who knows whether a network is metered may know it a moment after the kernel has a route.
const SETTLES: Duration = Duration::from_secs(5);

/// Asks, and sees when to ask again.
#[derive(Debug)]
pub(crate) struct NetworkMeter {
    routes: PathBuf,
    known: Option<String>,
    changed: Option<Instant>,
    metered: Asked<bool>,
}

impl NetworkMeter {
    pub(crate) fn new(root: &Path) -> Self {
        let metered = Asked::new(root, metered);
        Self { routes: root.join("proc/net/route"), known: None, changed: None, metered }
    }

    /// The last answer; never waits for one.
    pub(crate) fn read(&mut self, now: Instant) -> Reading<bool> {
        let routes = files::head(&self.routes, ROUTES_BYTES_MAX).ok();
        if routes != self.known {
            self.known = routes;
            self.changed = Some(now);
            self.metered.hurry();
        } else if self.changed.is_some_and(|at| now.duration_since(at) >= SETTLES) {
            self.changed = None;
            self.metered.hurry();
        }
        self.metered.latest(now)
    }
}
