//! One control group of ours: made, limited, removed. The names of its files in both versions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isos_base::Bytes;

/// The beginning of the names of all groups that agents make.
pub(super) const NAME: &str = "isos-";
/// Processes and threads in all children: four chambers of at most 1,024 threads, a compiler.
const PIDS_MAX: u32 = 4_608;
/// Over which a share of the processor is counted.
const PERIOD_MICROS: u64 = 100_000;
/// How long a group is waited for whose last process is on its way out.
const LEAVING_MAX: Duration = Duration::from_millis(500);

/// Which of the two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One tree for all controllers.
    Two,
    /// A tree for each controller.
    One,
}

/// What a group can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ability {
    Cpu,
    Memory,
    Processes,
    Freeze,
}

impl Ability {
    pub(super) const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Processes, Self::Freeze];

    /// The controller; freezing is part of version 2 itself.
    pub(super) const fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Freeze => "",
        }
    }
}

/// A group. Dropping it ends what is still in it and removes it.
#[derive(Debug)]
pub(super) struct Group {
    dir: PathBuf,
    version: Version,
    abilities: Vec<Ability>,
    /// A leaf beside it to which this very process had to move, and where it came from.
    moved: Option<(PathBuf, PathBuf)>,
}

impl Group {
    /// Makes a group under `parent`; one that is `idle` has only time that nobody else wants.
    /// Whoever calls it knows what the controllers of `parent` allow.
    pub(super) fn make(
        parent: &Path,
        name: &str,
        version: Version,
        (abilities, idle): (Vec<Ability>, bool),
        moved: Option<(PathBuf, PathBuf)>,
    ) -> io::Result<Self> {
        let dir = parent.join(name);
        fs::create_dir(&dir)?;
        let mut group = Self { dir, version, abilities, moved };
        let limit = |group: &Self| {
            if group.can(Ability::Processes) {
                group.write("pids.max", PIDS_MAX)?;
            }
            if idle && group.can(Ability::Cpu) {
                group.be_idle()?;
            }
            Ok(())
        };
        match limit(&group) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.abilities.clear();
                Err(error)
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn can(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }

    pub(super) fn abilities(&self) -> Vec<Ability> {
        self.abilities.clone()
    }

    pub(super) fn give_up(&mut self, ability: Ability) {
        self.abilities.retain(|has| *has != ability);
    }

    fn write(&self, file: &str, value: impl ToString) -> io::Result<()> {
        let path = self.dir.join(file);
        // Never `create`: a file that is not there is a limit that is not held.
        let mut file = fs::File::options().write(true).open(path)?;
        io::Write::write_all(&mut file, value.to_string().as_bytes())
    }

    fn has(&self, file: &str) -> bool {
        self.dir.join(file).exists()
    }

    /// Only time that nobody outside wants.
    fn be_idle(&self) -> io::Result<()> {
        match (self.has("cpu.idle"), self.version) {
            (true, _) => self.write("cpu.idle", 1),
            (false, Version::Two) => self.write("cpu.weight", 1),
            (false, Version::One) => self.write("cpu.shares", 2),
        }
    }

    /// How it yields to everything outside, in words.
    pub(super) fn idles_by(&self) -> &'static str {
        match (self.has("cpu.idle"), self.version) {
            (true, _) => "cpu.idle of the group",
            (false, Version::Two) => "cpu.weight 1 of the group",
            (false, Version::One) => "cpu.shares 2 of the group",
        }
    }

    /// Moves a process in.
    pub(super) fn enter(&self, process: u32) -> io::Result<()> {
        self.write("cgroup.procs", process)
    }

    /// So many thousandths of a core, in whichever mix of cores.
    pub(super) fn set_cpu(&self, thousandths: u32) -> io::Result<()> {
        // None cannot be said; what has none is frozen as well.
        let quota = (PERIOD_MICROS * u64::from(thousandths) / 1_000).max(PERIOD_MICROS / 100);
        match self.version {
            Version::Two => self.write("cpu.max", format!("{quota} {PERIOD_MICROS}")),
            Version::One => {
                self.write("cpu.cfs_period_us", PERIOD_MICROS)?;
                self.write("cpu.cfs_quota_us", quota)
            }
        }
    }

    /// So much memory, none of it swapped out.
    pub(super) fn set_memory(&self, memory: Bytes) -> io::Result<()> {
        match self.version {
            Version::Two => {
                // A little below the limit work is slowed down rather than killed.
                self.write("memory.high", memory.0 - memory.0 / 32)?;
                if self.has("memory.swap.max") {
                    self.write("memory.swap.max", 0)?;
                }
                self.write("memory.max", memory.0)
            }
            Version::One => {
                // The sum with swap may never be below the limit without it: which is first
                // depends on the way.
                let swap = "memory.memsw.limit_in_bytes";
                let plain = "memory.limit_in_bytes";
                if !self.has(swap) {
                    return self.write(plain, memory.0);
                }
                let raised = self.write(swap, memory.0);
                self.write(plain, memory.0)?;
                raised.or_else(|_| self.write(swap, memory.0))
            }
        }
    }

    /// Freezes all that is inside, now and later, or lets it go on.
    pub(super) fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.write("cgroup.freeze", u8::from(frozen))
    }

    /// Who holds a limit, in words.
    pub(super) fn says(&self, ability: Ability) -> String {
        let file = match (ability, self.version) {
            (Ability::Cpu, Version::Two) => "cpu.max",
            (Ability::Cpu, Version::One) => "cpu.cfs_quota_us",
            (Ability::Memory, Version::Two) => "memory.max",
            (Ability::Memory, Version::One) => "memory.limit_in_bytes",
            (Ability::Processes, _) => "pids.max",
            (Ability::Freeze, _) => "cgroup.freeze",
        };
        let version = if self.version == Version::Two { 2 } else { 1 };
        format!("cgroup v{version} ({file})")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.can(Ability::Freeze) {
            let _may_be_gone = self.freeze(false);
        }
        remove(&self.dir);
        if let Some((leaf, home)) = self.moved.take() {
            // Back to where this process was: only an empty middle can take it.
            let turn_off = home.join("cgroup.subtree_control");
            let _best_effort = fs::write(turn_off, "-cpu -memory -pids");
            let _best_effort = fs::write(home.join("cgroup.procs"), std::process::id().to_string());
            let _best_effort = fs::remove_dir(leaf);
        }
    }
}

/// Ends what is in one of our groups, and removes it.
fn remove(dir: &Path) {
    let began = Instant::now();
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            _ => return,
        }
        for process in processes(dir) {
            kill(process);
        }
        if began.elapsed() > LEAVING_MAX {
            tracing::warn!("{} is not empty and stays", dir.display());
            return;
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a group tells nobody when its last process is gone")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

fn kill(process: u32) {
    let pid = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Who is in a group.
pub(super) fn processes(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// When a process began, in ticks since boot: with its number, it names a process for good.
fn began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

pub(super) fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The name of the next group of this process: `isos-<process>-<when it began>-<which>`.
pub(super) fn own_name() -> io::Result<String> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static MADE: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    let began =
        began(process).ok_or_else(|| io::Error::other("/proc says nothing of this process"))?;
    Ok(format!("{NAME}{process}-{began}-{}", MADE.fetch_add(1, Ordering::Relaxed)))
}

/// Removes what agents that are no more have left under `parent`.
pub(super) fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_left_behind) {
            remove(&entry.path());
        }
    }
}

/// Whether a group has this name whose agent is no more. Any other name is none of our business.
fn is_left_behind(name: &str) -> bool {
    let parse = || {
        let mut parts = name.strip_prefix(NAME)?.splitn(3, '-');
        let process: u32 = parts.next()?.parse().ok()?;
        let began: u64 = parts.next()?.parse().ok()?;
        parts.next()?;
        Some((process, began))
    };
    parse().is_some_and(|(process, then)| began(process) != Some(then))
}
