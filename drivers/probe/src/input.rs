//! How long no person has used this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isos_base::sensors::Reading;
use isos_base::time::Span;

use crate::asked::{Asked, desktop_idle};
use crate::files;
use crate::sources::{Sources, console_in_front, parse_counter, used};

/// Keyboards come and go seldom, and looking for them takes a millisecond.
const FIND_EVERY: Duration = Duration::from_secs(60);

/// Follows the [`Sources`].
#[derive(Debug)]
pub(crate) struct InputMeter {
    root: PathBuf,
    sources: Sources,
    found: Instant,
    started: Instant,
    /// Last values, to see them grow.
    counters: BTreeMap<PathBuf, u64>,
    /// When one was last seen to grow.
    counted: Option<Instant>,
    /// When a terminal was last seen used: it may be closed since.
    typed: Option<SystemTime>,
    desktop: Asked<Option<Duration>>,
}

/// A moment, by both clocks: terminals know the one on the wall, counters the one that never jumps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: SystemTime,
    pub(crate) steady: Instant,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }
}

impl InputMeter {
    pub(crate) fn new(root: &Path) -> Self {
        let now = Now::read();
        let mut meter = Self {
            root: root.into(),
            sources: Sources::find(root),
            found: now.steady,
            started: now.steady,
            counters: BTreeMap::new(),
            counted: None,
            typed: None,
            desktop: Asked::new(root, desktop_idle),
        };
        meter.look(now);
        meter
    }

    /// The idle time: since the latest of all traces of a person.
    pub(crate) fn read(&mut self, now: Now) -> Reading<Span> {
        self.look(now);
        let since = |then| now.wall.duration_since(then).unwrap_or_default();
        let mut idle = self.typed.map(since);
        let mut found = |trace: Duration| idle = Some(idle.map_or(trace, |idle| idle.min(trace)));
        if let Some(counted) = self.counted {
            found(now.steady.duration_since(counted));
        } else if self.sources.desktop {
            // Counters do not say when they last grew: until they do, assume just before we came.
            found(now.steady.duration_since(self.started));
        }
        if self.sources.desktop
            && let Some(unseen) = self.sources.unseen
        {
            match self.desktop.latest(now.steady) {
                Reading::Known(Some(then)) => found(since(UNIX_EPOCH + then)),
                Reading::Known(None) => found(Duration::ZERO),
                Reading::Unknown(reason) => {
                    return Reading::Unknown(format!("{unseen}, and {reason}"));
                }
            }
        }
        idle.map_or_else(
            || Reading::Unknown("no terminal, keyboard or mouse is visible here".into()),
            |idle| Reading::Known(Span::from_std(idle)),
        )
    }

    /// The cheap part: when a person was last seen typing or clicking, by each clock.
    pub(crate) fn traces(&mut self, now: Now) -> (Option<SystemTime>, Option<Instant>) {
        self.look(now);
        (self.typed, self.counted)
    }

    fn look(&mut self, now: Now) {
        if now.steady.duration_since(self.found) >= FIND_EVERY {
            self.sources = Sources::find(&self.root);
            self.found = now.steady;
        }
        // A clock that was set back leaves a trace in the future, which would never age.
        let typed = self.typed.filter(|&typed| typed <= now.wall);
        self.typed = self.terminals_used().max(typed);
        self.count(now.steady);
    }

    fn terminals_used(&self) -> Option<SystemTime> {
        let pseudo = files::entries(&self.root.join("dev/pts"))
            .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_digit()))
            .filter_map(|(_, path)| used(&path));
        pseudo
            .chain(console_in_front(&self.root).and_then(|console| used(&console)))
            .chain(self.sources.consoles.iter().filter_map(|console| used(console)))
            .chain(self.sources.consoles_used)
            .max()
    }

    fn count(&mut self, now: Instant) {
        let mut counters = BTreeMap::new();
        for path in &self.sources.counters {
            let Some(count) = files::text(path).ok().and_then(|text| parse_counter(&text)) else {
                continue;
            };
            // One that was not there before was plugged in by a person, or found at the start.
            if self.counters.get(path).is_some_and(|&before| before != count) {
                self.counted = Some(now);
            }
            counters.insert(path.clone(), count);
        }
        self.counters = counters;
    }
}
