//! Load of others: what the processors did, less what we made them do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isos_base::sensors::Reading;

use crate::files;

/// The kernel counts in hundredths of a second; over half a second that is two per cent of a core.
const WINDOW_MIN: Duration = Duration::from_millis(500);

/// Sum over all processors since boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    /// Ticks in which something ran here. Time stolen by a hypervisor is not ours to judge.
    pub(crate) busy: u64,
    /// All ticks: `cpus` per tick of the clock.
    pub(crate) total: u64,
    /// Processors now.
    pub(crate) cpus: u32,
}

/// Reads `/proc/stat`.
pub(crate) fn parse_stat(text: &str) -> Option<CpuTimes> {
    let mut lines = text.lines();
    let fields: Vec<u64> = lines
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let field = |n: usize| fields.get(n).copied().unwrap_or(0);
    if fields.len() < 4 {
        return None;
    }
    let sum = |which: &[usize]| which.iter().fold(0u64, |sum, &n| sum.saturating_add(field(n)));
    let busy = sum(&[0, 1, 2, 5, 6]);
    let cpus = lines.take_while(|line| line.starts_with("cpu")).count();
    Some(CpuTimes {
        busy,
        total: busy.saturating_add(sum(&[3, 4, 7])),
        cpus: u32::try_from(cpus).ok().filter(|&cpus| cpus > 0)?,
    })
}

/// Reads `/proc/<pid>/stat`: ticks of the process and of its children that it has waited for.
pub(crate) fn parse_pid_stat(text: &str) -> Option<u64> {
    // The name, in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    fields.get(11..15)?.iter().try_fold(0u64, |sum, field| sum.checked_add(field.parse().ok()?))
}

/// One look at the counters.
#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    times: CpuTimes,
    /// Our processes.
    own: BTreeMap<u32, u64>,
}

/// Compares looks.
#[derive(Debug)]
pub(crate) struct LoadMeter {
    root: PathBuf,
    last: Option<Sample>,
    load: Reading<f32>,
}

impl LoadMeter {
    /// Takes the first look.
    pub(crate) fn new(root: &Path) -> Self {
        let mut meter = Self {
            root: root.into(),
            last: None,
            load: Reading::Unknown("not measured yet: it takes half a second".into()),
        };
        meter.read(&[], Instant::now());
        meter
    }

    /// Cores kept busy by others since the last look that was half a second ago or more.
    pub(crate) fn read(&mut self, own_pids: &[u32], now: Instant) -> Reading<f32> {
        let recent =
            self.last.as_ref().is_some_and(|last| now.duration_since(last.at) < WINDOW_MIN);
        if recent {
            return self.load.clone();
        }
        let path = self.root.join("proc/stat");
        let times = match files::text(&path).map(|text| parse_stat(&text)) {
            Ok(Some(times)) => times,
            Ok(None) => return Reading::Unknown("/proc/stat is not as expected".into()),
            Err(e) => return Reading::Unknown(format!("cannot read /proc/stat: {e}")),
        };
        let sample = Sample { at: now, times, own: self.own_ticks(own_pids) };
        if let Some(last) = &self.last
            && let Some(load) = other_load(last, &sample)
        {
            self.load = Reading::Known(load);
        }
        self.last = Some(sample);
        self.load.clone()
    }

    /// Ticks of these processes and of ourselves.
    pub(crate) fn own_ticks(&self, pids: &[u32]) -> BTreeMap<u32, u64> {
        let proc = self.root.join("proc");
        // A child's ticks move to its parent when it has ended, so the sum is right only with us.
        pids.iter()
            .copied()
            .chain([std::process::id()])
            .filter_map(|pid| {
                let text = files::text(&proc.join(format!("{pid}/stat"))).ok()?;
                Some((pid, parse_pid_stat(&text)?))
            })
            .collect()
    }
}

/// Cores kept busy by others between two looks; `None` when no time has passed.
fn other_load(last: &Sample, now: &Sample) -> Option<f32> {
    let wall = now.times.total.checked_sub(last.times.total)? as f64 / f64::from(now.times.cpus);
    if wall < 1.0 {
        return None;
    }
    let busy = now.times.busy.saturating_sub(last.times.busy);
    let before: u64 = last.own.values().sum();
    let after: u64 = now
        .own
        .iter()
        // A process that is new to us, but has run for longer than this, did so before.
        .filter(|(pid, ticks)| last.own.contains_key(pid) || **ticks <= busy)
        .map(|(_, ticks)| ticks)
        .sum();
    let others = busy.saturating_sub(after.saturating_sub(before));
    Some((others as f64 / wall).min(f64::from(now.times.cpus)) as f32)
}

#[cfg(test)]
pub(crate) fn other_load_of(
    last: (CpuTimes, &[(u32, u64)]),
    now: (CpuTimes, &[(u32, u64)]),
) -> Option<f32> {
    let sample = |(times, own): (CpuTimes, &[(u32, u64)])| Sample {
        at: Instant::now(),
        times,
        own: own.iter().copied().collect(),
    };
    other_load(&sample(last), &sample(now))
}
