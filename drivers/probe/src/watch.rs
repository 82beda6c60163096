//! A quick eye for the owner's return, and for a plug that is pulled.
//!
//! The kernel sends no event for a use of a terminal, a keyboard or a mouse to those who may not
//! read what is typed (inotify is silent on devices since Linux 6.8, for that very reason), so this
//! looks, four times a second, at as little as possible.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use isos_base::time::Span;

use crate::input::{InputMeter, Now};
use crate::overrides;
use crate::power::Sockets;

/// How often to call [`Watch::changed`] while work runs, to stop it within a second.
pub const WATCH_EVERY: Span = Span::millis(250);

/// Sees whether something happened since it last looked.
#[derive(Debug)]
pub struct Watch {
    input: InputMeter,
    seen: (Option<SystemTime>, Option<Instant>),
    sockets: Sockets,
    plugged: Vec<Option<String>>,
    sensors_file: Option<PathBuf>,
    content: Option<Vec<u8>>,
}

impl Watch {
    pub(crate) fn new(root: &Path, sensors_file: Option<PathBuf>) -> Self {
        let mut watch = Self {
            input: InputMeter::new(root),
            seen: (None, None),
            sockets: Sockets::new(root),
            plugged: Vec::new(),
            sensors_file,
            content: None,
        };
        let _ = watch.changed();
        watch
    }

    /// Whether a person has used the machine, a plug was pulled or put in, or the sensors file has
    /// changed, since the last call: read the [`crate::Probe`] then. Takes some ten microseconds
    /// and waits for nobody, so it may be called on an async thread; call it every [`WATCH_EVERY`]
    /// while work runs, and not otherwise.
    pub fn changed(&mut self) -> bool {
        let now = Now::read();
        let seen = self.input.traces(now);
        let plugged = self.sockets.look(now.steady);
        let content = self.sensors_file.as_deref().and_then(|path| overrides::load(path).ok()?);
        let changed = (&seen, &plugged, &content) != (&self.seen, &self.plugged, &self.content);
        (self.seen, self.plugged, self.content) = (seen, plugged, content);
        changed
    }

    /// Waits until [`Watch::changed`], or until `timeout` has passed: then `false`. For threads.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        loop {
            if self.changed() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(WATCH_EVERY.to_std()));
        }
    }
}
