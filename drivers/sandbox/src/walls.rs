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

/// Both duties: memory, threads' waiting, streams, signals of its own, leaving.
const CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// An allow-list; everything else answers "not permitted", so that a library which tries
/// something new falls back instead of dying.
fn seccomp(duty: Duty) -> Result<(), String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut when = |call: i64, argument: u8, mask: u64, value: u64| {
        let op = SeccompCmpOp::MaskedEq(mask);
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
        Ok::<(), seccompiler::BackendError>(())
    };
    let write_flags = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    let plans: &[(i64, u8, i32, i32)] = match duty {
        Duty::Run => &[
            (libc::SYS_openat, 2, write_flags, libc::O_RDONLY),
            (libc::SYS_mmap, 2, libc::PROT_EXEC, 0),
            (libc::SYS_mprotect, 2, libc::PROT_EXEC, 0),
        ],
        Duty::Compile => &[
            (libc::SYS_clone, 0, libc::CLONE_THREAD, libc::CLONE_THREAD),
            (libc::SYS_mmap, 2, 0, 0),
            (libc::SYS_mprotect, 2, 0, 0),
        ],
    };
    for (call, argument, mask, value) in plans {
        when(*call, *argument, *mask as u64, *value as u64).map_err(|e| failed(&e))?;
    }
    // A signal to itself is how a process aborts.
    let own = rustix::process::getpid().as_raw_nonzero().get();
    when(libc::SYS_tgkill, 0, u64::from(u32::MAX), own as u64).map_err(|e| failed(&e))?;
    if duty == Duty::Compile {
        // The C library starts threads with clone3, whose flags no filter can see, and falls back
        // to clone where clone3 does not exist. So for this process it does not.
        rules.insert(libc::SYS_clone3, Vec::new());
        let missing = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        apply(missing, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    }
    apply(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
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
