//! Processes of a benchmark: started, read from `/proc`, ended in good order.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A process that was asked to end has this long.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is asked whether something has come to be for which there is no event.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process and the lines that it prints. Dropping it ends it: first asked, then killed.
pub(super) struct Process {
    what: String,
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a process; its standard output is read as lines.
    pub(super) fn start(what: &str, command: &mut Command) -> Result<Self> {
        Self::spawn(what, command.stdin(Stdio::null()))
    }

    /// As [`Self::start`], but it listens for a [`Self::tell`].
    pub(super) fn start_listening(what: &str, command: &mut Command) -> Result<Self> {
        Self::spawn(what, command.stdin(Stdio::piped()))
    }

    fn spawn(what: &str, command: &mut Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {what}"))?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || read_lines(stdout, &sender));
        Ok(Self { what: what.into(), child, lines })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it an empty line, once.
    pub(super) fn tell(&mut self) -> Result<()> {
        let what = &self.what;
        let mut stdin = self.child.stdin.take().with_context(|| format!("{what} was told"))?;
        stdin.write_all(b"\n").with_context(|| format!("cannot tell {what}"))
    }

    /// The next line that it prints.
    pub(super) fn line(&self, patience: Duration) -> Result<String> {
        let what = &self.what;
        self.lines.recv_timeout(patience).with_context(|| format!("{what} does not answer"))
    }

    /// Kills it, as a power cut would.
    pub(super) fn kill(&mut self) -> Result<()> {
        let what = &self.what;
        self.child.kill().with_context(|| format!("cannot kill {what}"))?;
        self.child.wait().with_context(|| format!("cannot wait for {what}"))?;
        Ok(())
    }

    /// Waits until it ends by itself, which it should, and well.
    pub(super) fn finish(mut self, patience: Duration) -> Result<String> {
        let end = Instant::now() + patience;
        let mut text = String::new();
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            text.push_str(&line);
            text.push('\n');
        }
        let what = &self.what;
        let Some(status) = wait(&mut self.child, end.saturating_duration_since(Instant::now()))?
        else {
            bail!("{what} did not end within {patience:?}");
        };
        if !status.success() {
            bail!("{what} failed: {status}");
        }
        Ok(text)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if !matches!(wait(&mut self.child, GRACE), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read_lines(stdout: ChildStdout, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        if sender.send(line).is_err() {
            return;
        }
    }
}

/// Waits for the end of a process; nothing if it takes too long.
fn wait(child: &mut Child, patience: Duration) -> Result<Option<std::process::ExitStatus>> {
    let mut status = None;
    wait_until(patience, || {
        status = child.try_wait()?;
        Ok(status.is_some())
    })?;
    Ok(status)
}

/// Waits for what has no event; whether it came to be.
pub(super) fn wait_until(patience: Duration, mut so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + patience;
    loop {
        if so()? {
            return Ok(true);
        }
        if Instant::now() > end {
            return Ok(false);
        }
        pause(LOOK_EVERY);
    }
}

/// Lets time pass in which others are measured.
#[expect(clippy::disallowed_methods, reason = "a benchmark of what happens in a while")]
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Who may use which cores, so that a load does not take those of what it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// The first of this process.
    First,
    /// All but the first.
    Others,
}

/// Runs something whose new processes and threads keep to these cores. Changes nothing on a
/// machine with one core.
pub(super) fn on_cores<T>(which: Cores, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let all = sched_getaffinity(None).context("cannot read which cores there are")?;
    let may: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
    let [first, others @ ..] = may.as_slice() else { bail!("this process has no core") };
    if others.is_empty() {
        return run();
    }
    let mut some = CpuSet::new();
    match which {
        Cores::First => some.set(*first),
        Cores::Others => others.iter().for_each(|core| some.set(*core)),
    }
    sched_setaffinity(None, &some).context("cannot choose cores")?;
    let outcome = run();
    sched_setaffinity(None, &all).context("cannot use all cores again")?;
    outcome
}

/// CPU time used so far, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Cpu {
    /// Of the process itself.
    pub(super) own: f64,
    /// Of its children, theirs, and all that have ended.
    pub(super) children: f64,
}

impl Cpu {
    /// Of a process and what it started.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let all = Stat::all()?;
        let stat = all.get(&pid).with_context(|| format!("process {pid} has ended"))?;
        let ticks_per_sec = rustix::param::clock_ticks_per_second() as f64;
        // Who was reaped counts for its parent, so nothing is counted twice.
        let mut children = stat.reaped;
        let mut parents = vec![pid];
        while let Some(parent) = parents.pop() {
            for (child, stat) in all.iter().filter(|(_, stat)| stat.parent == parent) {
                children += stat.own + stat.reaped;
                parents.push(*child);
            }
        }
        Ok(Self { own: stat.own as f64 / ticks_per_sec, children: children as f64 / ticks_per_sec })
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self { own: self.own - before.own, children: self.children - before.children }
    }

    pub(super) fn total(self) -> f64 {
        self.own + self.children
    }
}

impl std::ops::Add for Cpu {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { own: self.own + other.own, children: self.children + other.children }
    }
}

/// What `/proc/PID/stat` says; times in ticks.
struct Stat {
    parent: u32,
    own: u64,
    reaped: u64,
}

impl Stat {
    /// Of every process that can be read.
    fn all() -> Result<BTreeMap<u32, Self>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end between the two reads.
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            if let Some(stat) = Self::parse(&text) {
                all.insert(pid, stat);
            }
        }
        Ok(all)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may hold anything, but ends with the last parenthesis.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |n: usize| fields.get(n)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            reaped: ticks(13)? + ticks(14)?,
        })
    }
}

/// Resident memory in MiB.
pub(super) fn memory_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

/// The most resident memory that it has had, in MiB.
pub(super) fn memory_peak_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} has ended"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().with_context(|| name.to_owned())?;
    Ok(kib / 1024.0)
}

/// Time on a CPU of each thread of a process in nanoseconds: finer than ticks, but threads that
/// have ended are forgotten.
pub(super) fn thread_times(pid: u32) -> Result<BTreeMap<u32, u64>> {
    let mut times = BTreeMap::new();
    let folder = format!("/proc/{pid}/task");
    for entry in fs::read_dir(&folder).with_context(|| format!("process {pid} has ended"))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
        if let Some(time) = text.split_whitespace().next().and_then(|time| time.parse().ok()) {
            times.insert(thread, time);
        }
    }
    Ok(times)
}

/// Seconds on a CPU between two looks at [`thread_times`].
pub(super) fn busy_secs(before: &BTreeMap<u32, u64>, after: &BTreeMap<u32, u64>) -> f64 {
    let new = |(thread, time): (&u32, &u64)| {
        time.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    after.iter().map(new).sum::<u64>() as f64 / 1e9
}

/// Bytes that went over the loopback interface so far, of the whole machine.
pub(super) fn loopback_bytes() -> Result<f64> {
    let text = fs::read_to_string("/proc/net/dev").context("cannot read /proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_whitespace().next()).context("no loopback")?;
    bytes.parse().context("bytes of the loopback")
}

/// The CPU time of the whole machine since a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    begun: Instant,
    busy_secs: f64,
}

impl Machine {
    /// From now on.
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let ticks = busy_ticks(&text).context("no CPU times in /proc/stat")?;
        let busy_secs = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { begun: Instant::now(), busy_secs })
    }

    /// Cores that were busy since then with anything but what used this CPU time.
    pub(super) fn others_cores(self, used_secs: f64) -> Result<f64> {
        let now = Self::now()?;
        let secs = now.begun.duration_since(self.begun).as_secs_f64();
        Ok(((now.busy_secs - self.busy_secs - used_secs) / secs).max(0.0))
    }
}

/// Ticks in which a core worked, in the text of `/proc/stat`: neither idle nor waiting for a disk,
/// and not taken by another machine on the same hardware.
fn busy_ticks(text: &str) -> Option<u64> {
    let fields = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = fields.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, ..] = fields[..] else {
        return None;
    };
    Some(user + nice + system + interrupts + soft_interrupts)
}

/// Processes and threads that wanted to run, on average over the last minute.
pub(super) fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    text.split_whitespace().next().and_then(|load| load.parse().ok()).context("no load average")
}

pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "42 (a (b) c) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 30 4 20 0 1 0 5 6 7";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.parent, stat.own, stat.reaped), (7, 120, 34));
        assert!(Stat::parse("42 (cut off").is_none());
    }

    #[test]
    fn a_core_that_waits_or_was_taken_is_not_busy() {
        let text = "cpu  1 2 4 1000 2000 8 16 4000 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(busy_ticks(text), Some(31));
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None);
    }

    #[test]
    fn a_process_ends_and_its_cpu_is_counted_for_its_parent() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done"]);
        let shell = Process::start("a shell", &mut shell).unwrap();
        let pid = shell.pid();
        assert_eq!(shell.line(Duration::from_secs(30)).unwrap(), "done");
        assert_eq!(shell.finish(Duration::from_secs(30)).unwrap(), "");
        assert!(Cpu::of(pid).is_err());
        assert!(Cpu::of(std::process::id()).unwrap().children > 0.0);
    }
}
