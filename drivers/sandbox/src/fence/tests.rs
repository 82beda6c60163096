//! Where groups are sought, on made-up machines; and what is held, on this one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use tempfile::TempDir;

use super::find::{Mounts, groups, places};
use super::group::{Ability, own_name, sweep};
use super::*;

/// A folder that looks like a tree of groups, as far as files can.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn dir(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn has(&self, path: &str, text: &str) -> &Self {
        let path = self.dir(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn mounts(&self, own: &str) -> Mounts {
        let point = self.0.path().display();
        let mounts = format!("35 24 0:30 / {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
        Mounts::parse(&mounts, &format!("0::{own}\n"))
    }
}

#[test]
fn the_trees_of_both_versions_are_found_with_the_own_folder_in_each() {
    let mounts = "\
        24 1 0:21 / /proc rw - proc proc rw\n\
        30 24 0:25 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        31 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        32 24 0:27 /docker/7 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        33 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let own = "4:pids:/docker/7/a\n3:memory:/../other\n2:cpu,cpuacct:/b\n0::/user.slice/c\n";
    let text = format!("{:?}", Mounts::parse(mounts, own));
    assert!(
        text.contains(
            r#"two: Some(("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/user.slice/c"))"#
        ),
        "{text}"
    );
    assert!(text.contains(r#"("cpu", "/sys/fs/cgroup/cpu/b")"#), "{text}");
    assert!(text.contains(r#"("pids", "/sys/fs/cgroup/pids/a")"#), "{text}");
    assert!(!text.contains("other"), "a path out of what is mounted is not followed: {text}");
}

/// Where groups would be made, and how many limits could be divided there.
fn tried(tree: &Tree, own: &str) -> Vec<(PathBuf, usize)> {
    let own = tree.dir(own);
    let places = places(tree.0.path(), &own);
    places.into_iter().map(|(dir, abilities)| (dir.to_owned(), abilities.len())).collect()
}

#[test]
fn without_controllers_a_group_can_only_freeze() {
    let tree = Tree::new();
    tree.has("own/cgroup.controllers", "").has("own/cgroup.procs", "7\n");
    tree.has("own/cgroup.type", "domain\n").has("own/cgroup.subtree_control", "");
    let made = groups(&tree.mounts("/own"), "isos-1-1-0", true).unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].dir(), tree.dir("own/isos-1-1-0"));
    assert_eq!(made[0].abilities(), [Ability::Freeze]);
}

#[test]
fn a_group_goes_where_controllers_are_on_but_not_past_a_limit_of_others() {
    let tree = Tree::new();
    tree.has("a/cgroup.subtree_control", "cpu memory pids\n").has("a/cgroup.controllers", "");
    tree.has("a/b/cgroup.subtree_control", "").has("a/b/cgroup.procs", "1\n2\n");
    tree.has("a/b/cgroup.controllers", "cpu memory pids\n").has("a/b/cgroup.type", "domain\n");
    tree.has("a/b/cpu.max", "max 100000\n").has("a/b/memory.max", "max\n");
    // Nobody but this process may be moved out of the way in `b`, so `a` is better.
    assert_eq!(tried(&tree, "a/b")[..2], [(tree.dir("a"), 3), (tree.dir("a/b"), 0)]);
    tree.has("a/b/memory.max", "1073741824\n");
    assert_eq!(tried(&tree, "a/b"), [(tree.dir("a/b"), 0)], "a service stays within its memory");
}

#[test]
fn controllers_are_not_turned_on_where_others_would_feel_it() {
    let tree = Tree::new();
    tree.has("cgroup.controllers", "cpu memory pids\n").has("cgroup.subtree_control", "");
    tree.has("cgroup.procs", "").has("someone/cgroup.procs", "9\n");
    let _tried = groups(&tree.mounts("/"), "isos-1-1-0", true);
    assert_eq!(fs::read_to_string(tree.dir("cgroup.subtree_control")).unwrap(), "");
    fs::remove_dir_all(tree.dir("someone")).unwrap();
    let _tried = groups(&tree.mounts("/"), "isos-1-1-0", true);
    let on = fs::read_to_string(tree.dir("cgroup.subtree_control")).unwrap();
    assert_eq!(on, "+cpu +memory +pids");
}

#[test]
fn only_groups_of_agents_that_are_no_more_are_swept() {
    let tree = Tree::new();
    let own = own_name().unwrap();
    // A number that no process has now, or that another one has than then.
    let stale = format!("isos-{}-1-0", std::process::id());
    for name in [own.as_str(), &stale, "isos-4194305-77-0", "isos-notes", "isos-1-2", "other"] {
        fs::create_dir(tree.dir(name)).unwrap();
    }
    sweep(tree.0.path());
    let mut left: Vec<String> = fs::read_dir(tree.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut wanted = vec![own, "isos-1-2".into(), "isos-notes".into(), "other".into()];
    wanted.sort();
    assert_eq!(left, wanted);
}

/// A child that computes for ever, on two threads of processes; ended with the test.
struct Spinner(Child);

impl Spinner {
    fn new() -> Self {
        let script = "while :; do :; done & while :; do :; done";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Self(command.spawn().unwrap())
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// All its processes.
    fn family(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|&pid| fields(pid).get(2) == Some(&u64::from(self.id()))).collect()
    }

    /// Processor time of all, in ticks of ten milliseconds.
    fn ticks(&self) -> u64 {
        self.family().into_iter().map(|pid| fields(pid)[11] + fields(pid)[12]).sum()
    }

    /// Cores that it uses over this time.
    fn cores(&self, time: Duration) -> f64 {
        let (before, began) = (self.ticks(), Instant::now());
        rest(time);
        (self.ticks() - before) as f64 / 100.0 / began.elapsed().as_secs_f64()
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        for pid in self.family() {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Numbers of `/proc/<pid>/stat` behind the name; the state counts as 0.
fn fields(pid: u32) -> Vec<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
}

#[expect(clippy::disallowed_methods, reason = "processes are measured over time")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// A fence with groups that can do this; else the test is left out, loudly, or fails where
/// `ISOS_TEST_GROUPS=required` says that groups are to be had.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn fence_with(ability: Ability, test: &str) -> Option<Fence> {
    let fence = Fence::new(true, true);
    if fence.lock().group(ability).is_some() {
        return Some(fence);
    }
    let why = fence.lock().why_not(ability).unwrap_or_default().to_owned();
    let required = std::env::var("ISOS_TEST_GROUPS").is_ok_and(|it| it == "required");
    assert!(!required, "{test}: no control group for {ability:?} here: {why}");
    eprintln!("LEFT OUT: {test}: no control group for {ability:?} here: {why}");
    None
}

const ONE_CORE: Allowed = Allowed { cores: 1, memory: Bytes::mib(256) };

#[test]
fn a_group_holds_its_share_of_the_processor_at_once_for_what_runs() {
    let Some(fence) = fence_with(Ability::Cpu, "the share of the processor") else { return };
    let spinner = Spinner::new();
    fence.enter(spinner.id());
    // Its child was made by then or is made inside.
    spinner.family().into_iter().for_each(|pid| fence.enter(pid));
    fence.allow(ONE_CORE);
    let used = spinner.cores(Duration::from_millis(1_000));
    assert!(used <= 1.1, "{used} cores of one");
    let quota = fence.lock().group(Ability::Cpu).unwrap().dir().to_owned();
    let text = fs::read_to_string(quota.join("cpu.max"))
        .or_else(|_| fs::read_to_string(quota.join("cpu.cfs_quota_us")))
        .unwrap();
    assert!(text.starts_with("100000"), "{text}");
    fence.allow(Allowed { cores: 2, ..ONE_CORE });
    let cpu = &fence.keepers()[0];
    assert_eq!((cpu.limit.as_str(), &cpu.gap), ("cpu", &None), "{cpu:?}");
}

#[test]
fn a_group_holds_work_to_a_part_of_a_core() {
    let Some(fence) = fence_with(Ability::Cpu, "a part of a core") else { return };
    let spinner = Spinner::new();
    fence.enter(spinner.id());
    spinner.family().into_iter().for_each(|pid| fence.enter(pid));
    fence.allow(ONE_CORE);
    fence.hold_cpu(250);
    let used = spinner.cores(Duration::from_millis(2_000));
    assert!(used <= 0.4, "{used} cores of a quarter of one");
    assert!(fence.holds_parts());
    let quota = fence.lock().group(Ability::Cpu).unwrap().dir().to_owned();
    let text = fs::read_to_string(quota.join("cpu.max"))
        .or_else(|_| fs::read_to_string(quota.join("cpu.cfs_quota_us")))
        .unwrap();
    assert!(text.starts_with("25000"), "{text}");
    // No more than the cores that are allowed, whatever part is held.
    fence.hold_cpu(8_000);
    fence.allow(ONE_CORE);
    assert!(spinner.cores(Duration::from_millis(1_000)) <= 1.1);
}

#[test]
fn a_group_holds_memory_hard() {
    let Some(fence) = fence_with(Ability::Memory, "the limit on memory") else { return };
    fence.allow(Allowed { cores: 1, memory: Bytes::mib(48) });
    // It waits until it is inside, then takes 200 MiB.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read go; x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    fence.enter(child.id());
    io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "it took more than it may: {status}");
    let memory = &fence.keepers()[1];
    assert_eq!((memory.limit.as_str(), &memory.gap), ("memory", &None), "{memory:?}");
}

#[test]
fn a_group_is_frozen_as_one_and_goes_on_where_it_was() {
    let Some(fence) = fence_with(Ability::Freeze, "the freezer") else { return };
    let spinner = Spinner::new();
    fence.enter(spinner.id());
    // Its child was made by then or is made inside.
    spinner.family().into_iter().for_each(|pid| fence.enter(pid));
    fence.allow(Allowed { cores: 2, ..ONE_CORE });
    // On a machine that compiles meanwhile it may be long before they have their turn.
    let goes_on = |before: u64| {
        let began = Instant::now();
        while spinner.ticks() <= before {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not run");
            rest(Duration::from_millis(20));
        }
    };
    goes_on(0);
    fence.freeze(true);
    let began = Instant::now();
    while !spinner.family().is_empty() && spinner.cores(Duration::from_millis(50)) > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(1), "not frozen within a second");
    }
    // A signal to go on, from whomever, wakes nobody.
    for pid in spinner.family() {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    }
    assert!(spinner.cores(Duration::from_millis(200)) < 0.05);
    let stood = spinner.ticks();
    fence.freeze(false);
    goes_on(stood);
}

#[test]
fn groups_are_gone_with_their_fence_with_all_that_was_inside() {
    let fence = Fence::new(true, true);
    let dirs: Vec<PathBuf> = fence.lock().groups.iter().map(|it| it.dir().to_owned()).collect();
    let mut spinner = Spinner::new();
    spinner.family().into_iter().for_each(|pid| fence.enter(pid));
    fence.freeze(true);
    drop(fence);
    assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
    if !dirs.is_empty() {
        assert!(!spinner.0.wait().unwrap().success());
    }
}

#[test]
fn without_groups_work_is_kept_on_its_cores_and_that_is_said() {
    let fence = Fence::new(false, true);
    let spinner = Spinner::new();
    rest(Duration::from_millis(50));
    spinner.family().into_iter().for_each(|pid| fence.enter(pid));
    fence.allow(ONE_CORE);
    let mut cores = Vec::new();
    for pid in spinner.family() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
        cores.push(line.split_whitespace().nth(1).unwrap().to_owned());
    }
    assert!(cores.iter().all(|core| core == &cores[0] && core.parse::<u32>().is_ok()), "{cores:?}");
    let used = spinner.cores(Duration::from_millis(500));
    assert!(used <= 1.1, "{used} cores of one");
    // More is given as soon as there is more.
    fence.allow(Allowed { cores: 1_000, ..ONE_CORE });
    let status = fs::read_to_string(format!("/proc/{}/status", spinner.id())).unwrap();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let list = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Cpus_allowed_list"));
        line.unwrap().to_owned()
    };
    assert_eq!(list(&status), list(&own));
    let keepers = fence.keepers();
    let of = |limit: &str| keepers.iter().find(|keeper| keeper.limit == limit).unwrap();
    assert!(of("cpu").by.contains("affinity"), "{:?}", of("cpu"));
    for limit in ["cpu", "memory", "processes", "suspend"] {
        let gap = of(limit).gap.as_deref().unwrap_or_default();
        assert!(gap.contains("control groups are not wanted"), "{limit}: {gap}");
    }
}

#[test]
fn a_group_that_was_taken_away_is_held_no_longer_and_said() {
    let Some(fence) = fence_with(Ability::Cpu, "a group that goes") else { return };
    let dir = fence.lock().group(Ability::Cpu).unwrap().dir().to_owned();
    assert!(remove_empty(&dir));
    fence.allow(ONE_CORE);
    let cpu = fence.keepers().remove(0);
    assert!(cpu.by.contains("affinity"), "{cpu:?}");
    assert!(cpu.gap.is_some_and(|gap| gap.contains("isos-")));
}

fn remove_empty(dir: &Path) -> bool {
    fs::remove_dir(dir).is_ok()
}
