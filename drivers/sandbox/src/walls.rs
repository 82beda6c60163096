//! The walls that a child puts around itself before it touches a program.
//!
//! WebAssembly is the first wall; these stand for the day it has a hole. Each is best effort: a
//! kernel that lacks one does not stop the work, but the agent is told and can say so. After them
//! the process can compute, read what lies in one folder, and talk on its three standard streams.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::protocol::Wall;
use profile::May;

mod profile;

/// Whether each wall stands, in the order in which they were built.
#[derive(Debug, Default)]
pub(crate) struct Walls(pub(crate) Vec<Wall>);

impl Walls {
    fn note<E: std::fmt::Display>(&mut self, name: &str, result: Result<(), E>) {
        let missing = result.err().map(|error| error.to_string());
        self.0.push(Wall { name: name.into(), missing });
    }

    /// The child dies with the thread of the agent that started it.
    pub(crate) fn die_with(&mut self, agent: u32) {
        let set = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        self.note("die with the agent", set);
        // It may have died before the line above.
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if u32::try_from(parent) != Ok(agent) {
            std::process::exit(0);
        }
    }

    /// Only the three standard streams stay open, whatever the agent had.
    pub(crate) fn close_inherited(&mut self) {
        self.note("closed descriptors", sys::close_from(3));
    }

    /// Limits of the kernel on this process.
    pub(crate) fn limit(&mut self, limits: &[(Resource, u64)]) {
        let mut result = Ok(());
        for (resource, most) in limits {
            // What is already lower stays.
            let now = rustix::process::getrlimit(*resource);
            let most = now.maximum.map_or(*most, |maximum| maximum.min(*most));
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            result = result.and(rustix::process::setrlimit(*resource, limit));
        }
        self.note("resource limits", result);
    }

    /// Only processor and disk time that nobody else wants.
    pub(crate) fn be_idle(&mut self) {
        let nice = rustix::process::setpriority_process(None::<Pid>, 19);
        self.note("idle priority", nice.map_err(std::io::Error::from).and(sys::idle_class()));
    }

    /// No program started from here could gain rights.
    pub(crate) fn no_new_privileges(&mut self) {
        self.note("no new privileges", rustix::thread::set_no_new_privs(true));
    }

    /// Nothing of the file system but reading below one folder (or nothing at all), no network.
    pub(crate) fn landlock(&mut self, readable: impl IntoIterator<Item = impl AsFd>) {
        self.note("landlock", landlock(readable));
    }

    /// Only these system calls, in all threads, from now on.
    pub(crate) fn seccomp(&mut self, duty: Duty) {
        self.note("seccomp", seccomp(duty));
    }
}

fn landlock(readable: impl IntoIterator<Item = impl AsFd>) -> Result<(), String> {
    let abi = ABI::V6;
    let build = || {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        let access = AccessFs::ReadFile | AccessFs::ReadDir;
        let readable = readable.into_iter().map(|folder| PathBeneath::new(folder, access));
        let rules = readable.into_iter().try_fold(rules, RulesetCreatedAttr::add_rule)?;
        rules.restrict_self()
    };
    match build().map_err(|error: landlock::RulesetError| error.to_string())?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("only in part: this kernel is old".into()),
        RulesetStatus::NotEnforced => Err("not available on this kernel".into()),
    }
}

/// What a process is for, so what it must be able to ask of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Start threads, map code it made.
    Compile,
    /// Read below a folder that is already open; no new code, no new threads.
    Run,
}

/// An allow-list; everything else answers "not permitted", so that a library which tries
/// something new falls back instead of dying.
fn seccomp(duty: Duty) -> Result<(), String> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut rules = BTreeMap::new();
    for row in profile::ROWS {
        let may = match duty {
            Duty::Compile => row.compile,
            Duty::Run => row.run,
        };
        let conditions = match may {
            May::No => continue,
            May::Yes => Vec::new(),
            May::Only(bits) => vec![rule(bits.argument, bits.mask as u64, bits.value as u64)?],
            May::Own => vec![rule(0, u64::from(u32::MAX), own as u64)?],
        };
        rules.insert(row.call, conditions);
    }
    if duty == Duty::Compile {
        // The C library starts threads with clone3, whose flags no filter can see, and falls back
        // to clone where clone3 does not exist. So for this process it does not.
        rules.insert(profile::MISSING, Vec::new());
        let missing = BTreeMap::from([(profile::MISSING, Vec::new())]);
        apply(missing, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    }
    apply(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// What one argument must be in the bits of a mask.
fn rule(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, String> {
    let op = SeccompCmpOp::MaskedEq(mask);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| error.to_string())
}

fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<(), String> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| format!("no filter for {}", std::env::consts::ARCH))?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|e| e.to_string())?;
    let program: BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())?;
    // For all threads: those that exist were started by us and wait.
    seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

/// The three kernel calls that no safe crate offers.
mod sys {
    #![expect(unsafe_code, reason = "plain system calls on numbers, without pointers to our data")]

    use std::io;

    fn check(result: i64) -> io::Result<()> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Closes every descriptor from `first` on.
    pub(super) fn close_from(first: u32) -> io::Result<()> {
        // SAFETY: called before this process has opened anything of its own, so no owner of a
        // descriptor is cheated; the call takes three numbers.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
    }

    /// The scheduler's and the disk's idle classes, for this thread and those it starts.
    pub(super) fn idle_class() -> io::Result<()> {
        const IOPRIO_WHO_PROCESS: i32 = 1;
        const IOPRIO_IDLE: i32 = 3 << 13;
        // SAFETY: the parameter is a live, initialised structure of the type that the call reads.
        let class = unsafe {
            let parameter = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter)
        };
        check(class.into())?;
        // SAFETY: three numbers.
        check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) })
    }
}
