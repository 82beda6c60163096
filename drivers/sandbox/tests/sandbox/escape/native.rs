//! Code that has broken out of WebAssembly: this binary puts up a child's walls around itself and
//! then asks the kernel, without any library in between, for all that it should not get.

#![expect(unsafe_code, reason = "system calls as an attacker makes them; each is refused")]

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode, Output};

use isos_base::checkpoint::object_bytes_max;
use isos_base::job::JobSpec;
use isos_base::{Bytes, Guid, JobId, Span};
use isos_sandbox::{Setup, behind_walls};
use tempfile::TempDir;

use crate::world::Test;

pub(crate) const TESTS: &[Test] = &[
    ("native code behind the walls reaches nothing of the machine", reaches_nothing),
    ("native code in the compiler reaches nothing of the machine", compiler_reaches_nothing),
    ("every system call without a row in the profile is refused", everything_else),
    ("the doors of other instruction sets are walled up, too", other_doors),
    ("native code sees no descriptor of the agent and cannot have many", descriptors),
    ("native code cannot have more memory than the job's", memory),
];

/// The first argument by which this binary knows that it is to attack.
pub(crate) const CHILD: &str = "sandbox-native";

const COMPILE: &str = "compile";
const RUN: &str = "run";

type Call = (&'static str, i64, [i64; 6]);

fn text(text: &'static CStr) -> i64 {
    text.as_ptr() as i64
}

fn system(number: i64, a: [i64; 6]) -> Result<i64, i32> {
    // SAFETY: the numbers and addresses are those of the lists below: addresses of static text or
    // 0, and whatever would do harm is refused, which is what is tested.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result < 0 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(result)
    }
}

/// What is tried in both children. Each would work, or fail otherwise, without the walls.
fn attempts(parent: i64) -> Vec<Call> {
    let at_cwd = i64::from(libc::AT_FDCWD);
    let write = i64::from(libc::O_WRONLY | libc::O_CREAT);
    let kill = i64::from(libc::SIGKILL);
    // Calls that newer machines never had.
    #[cfg(target_arch = "x86_64")]
    let old: [Call; 3] = [
        ("open the old way", libc::SYS_open, [text(c"/dev/null"), 0, 0, 0, 0, 0]),
        ("fork", libc::SYS_fork, [0; 6]),
        ("vfork", libc::SYS_vfork, [0; 6]),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let old: [Call; 0] = [];
    let mut calls = vec![
        ("create a file", libc::SYS_openat, [at_cwd, text(c"/tmp/escaped"), write, 0o600, 0, 0]),
        ("write a file", libc::SYS_openat, [at_cwd, text(c"/dev/null"), 1, 0, 0, 0]),
        (
            "empty a file",
            libc::SYS_openat,
            [at_cwd, text(c"/tmp/x"), i64::from(libc::O_TRUNC), 0, 0, 0],
        ),
        ("write its memory", libc::SYS_openat, [at_cwd, text(c"/proc/self/mem"), 2, 0, 0, 0]),
        ("open the new way", libc::SYS_openat2, [at_cwd, text(c"/dev/null"), 0, 0, 0, 0]),
        ("make a folder", libc::SYS_mkdirat, [at_cwd, text(c"/tmp/escaped"), 0o700, 0, 0, 0]),
        ("remove a file", libc::SYS_unlinkat, [at_cwd, text(c"/tmp/escaped"), 0, 0, 0, 0]),
        (
            "make a link",
            libc::SYS_symlinkat,
            [text(c"/etc"), at_cwd, text(c"/tmp/escaped"), 0, 0, 0],
        ),
        ("rename", libc::SYS_renameat2, [at_cwd, text(c"/tmp/a"), at_cwd, text(c"/tmp/b"), 0, 0]),
        ("look for a file", libc::SYS_newfstatat, [at_cwd, text(c"/etc/passwd"), 0, 0, 0, 0]),
        ("list a folder", libc::SYS_getdents64, [0, 0, 0, 0, 0, 0]),
        ("change folder", libc::SYS_chdir, [text(c"/"), 0, 0, 0, 0, 0]),
        ("change root", libc::SYS_chroot, [text(c"/"), 0, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [text(c"none"), text(c"/tmp"), text(c"tmpfs"), 0, 0, 0]),
        ("new namespaces", libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
        ("make a socket", libc::SYS_socket, [2, 1, 0, 0, 0, 0]),
        ("make a local socket", libc::SYS_socketpair, [1, 1, 0, 0, 0, 0]),
        ("connect", libc::SYS_connect, [0, 0, 0, 0, 0, 0]),
        ("send", libc::SYS_sendto, [1, 0, 0, 0, 0, 0]),
        ("clone a process", libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0, 0]),
        ("start a program", libc::SYS_execve, [text(c"/bin/sh"), 0, 0, 0, 0, 0]),
        ("start a program by descriptor", libc::SYS_execveat, [0, text(c""), 0, 0, 0x1000, 0]),
        ("a file in memory to start", libc::SYS_memfd_create, [text(c"x"), 0, 0, 0, 0, 0]),
        ("signal the agent", libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
        ("kill the agent", libc::SYS_kill, [parent, kill, 0, 0, 0, 0]),
        ("kill the agent's thread", libc::SYS_tgkill, [parent, parent, kill, 0, 0, 0]),
        ("kill any thread", libc::SYS_tkill, [parent, kill, 0, 0, 0, 0]),
        ("kill all", libc::SYS_kill, [-1, 0, 0, 0, 0, 0]),
        ("queue a signal", libc::SYS_rt_sigqueueinfo, [parent, 0, 0, 0, 0, 0]),
        ("take hold of the agent", libc::SYS_pidfd_open, [parent, 0, 0, 0, 0, 0]),
        ("take a descriptor of another", libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0, 0]),
        ("trace the agent", libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), parent, 0, 0, 0, 0]),
        ("read the agent's memory", libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0, 0]),
        ("write the agent's memory", libc::SYS_process_vm_writev, [parent, 0, 0, 0, 0, 0]),
        ("compare with the agent", libc::SYS_kcmp, [parent, parent, 0, 0, 0, 0]),
        ("a program for the kernel", libc::SYS_bpf, [0; 6]),
        ("a ring of requests", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
        ("requests that wait", libc::SYS_io_setup, [1, 0, 0, 0, 0, 0]),
        ("count events", libc::SYS_perf_event_open, [0, 0, -1, -1, 0, 0]),
        ("handle its own faults", libc::SYS_userfaultfd, [0; 6]),
        ("a key of the kernel", libc::SYS_add_key, [text(c"user"), text(c"x"), 0, 0, -1, 0]),
        ("load a module", libc::SYS_finit_module, [0, text(c""), 0, 0, 0, 0]),
        ("take the walls' filter off", libc::SYS_seccomp, [0, 0, 0, 0, 0, 0]),
        (
            "set a process option",
            libc::SYS_prctl,
            [i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0],
        ),
        (
            "live on without the agent",
            libc::SYS_prctl,
            [i64::from(libc::PR_SET_PDEATHSIG), 0, 0, 0, 0, 0],
        ),
        ("raise a limit", libc::SYS_setrlimit, [i64::from(libc::RLIMIT_NOFILE), 0, 0, 0, 0, 0]),
        (
            "raise a limit of any",
            libc::SYS_prlimit64,
            [0, i64::from(libc::RLIMIT_DATA), 0, 0, 0, 0],
        ),
        ("come to the front", libc::SYS_setpriority, [0, 0, -20, 0, 0, 0]),
        ("another scheduler", libc::SYS_sched_setscheduler, [0, 0, 0, 0, 0, 0]),
        ("another user", libc::SYS_setuid, [0; 6]),
        ("another session", libc::SYS_setsid, [0; 6]),
        ("control a device", libc::SYS_ioctl, [0, 0x5412, text(c"x"), 0, 0, 0]),
        ("another descriptor", libc::SYS_dup, [1, 0, 0, 0, 0, 0]),
        ("flags of a descriptor", libc::SYS_fcntl, [1, 0, 0, 0, 0, 0]),
        ("a pipe", libc::SYS_pipe2, [0; 6]),
        ("shared memory", libc::SYS_shmget, [0, 4_096, 0o1600, 0, 0, 0]),
        ("set the clock", libc::SYS_clock_settime, [0; 6]),
        ("other memory policy", libc::SYS_mbind, [0; 6]),
        ("the name of the machine", libc::SYS_uname, [0; 6]),
        ("the parent's number", libc::SYS_getppid, [0; 6]),
        ("a timer that signals", libc::SYS_setitimer, [0; 6]),
        ("watch files", libc::SYS_inotify_init1, [0; 6]),
        ("restart the machine", libc::SYS_reboot, [0; 6]),
    ];
    calls.extend(old);
    calls
}

/// In the child that runs, beyond [`attempts`]: no new code, no new threads; and paths by which
/// the one folder that it may read could be left.
fn of_a_running_child() -> Vec<(Call, i32)> {
    let (read, exec) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_EXEC);
    let private = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let thread = i64::from(libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM);
    let (at_cwd, exec, read) = (i64::from(libc::AT_FDCWD), i64::from(exec), i64::from(read));
    let page = (system as *const () as i64) & !4_095;
    let open = |path| [at_cwd, text(path), 0, 0, 0, 0];
    // The folder of inputs is the first descriptor that the child opens.
    let below = |path| [3, text(path), 0, 0, 0, 0];
    vec![
        (("map code", libc::SYS_mmap, [0, 4_096, exec, private, -1, 0]), libc::EPERM),
        (("make code", libc::SYS_mprotect, [page, 4_096, exec | 2, 0, 0, 0]), libc::EPERM),
        (("make code by key", libc::SYS_pkey_mprotect, [page, 4_096, exec, 0, 0, 0]), libc::EPERM),
        (("start a thread", libc::SYS_clone, [thread, 0, 0, 0, 0, 0]), libc::EPERM),
        (("start anything", libc::SYS_clone3, [0, 0, 0, 0, 0, 0]), libc::EPERM),
        (("map a file behind its end", libc::SYS_mmap, [0, 4_096, read, 2, 99, 0]), libc::EBADF),
        (("read of users", libc::SYS_openat, open(c"/etc/passwd")), libc::EACCES),
        (("read its own memory", libc::SYS_openat, open(c"/proc/self/mem")), libc::EACCES),
        (("read its environment", libc::SYS_openat, open(c"/proc/self/environ")), libc::EACCES),
        (("read the root folder", libc::SYS_openat, open(c"/")), libc::EACCES),
        (
            ("read the root by itself", libc::SYS_openat, open(c"/proc/self/root/etc/passwd")),
            libc::EACCES,
        ),
        (("leave by dots", libc::SYS_openat, below(c"../secret")), libc::EACCES),
        (
            ("leave by many dots", libc::SYS_openat, below(c"../../../../../../../etc/passwd")),
            libc::EACCES,
        ),
        (("leave by a link", libc::SYS_openat, below(c"link")), libc::EACCES),
        (("leave by a folder's link", libc::SYS_openat, below(c"folder/passwd")), libc::EACCES),
    ]
}

/// The main of the attacking child: `run FOLDER` or `compile`, then what it does.
pub(crate) fn main(args: &[String]) -> ExitCode {
    let [duty, folder, action] = args else { return ExitCode::from(2) };
    let parent = i64::from(std::os::unix::process::parent_id());
    let setup = (duty == RUN).then(|| setup(folder));
    let Ok(walls) = behind_walls(setup.as_ref()) else { return ExitCode::from(4) };
    let landlock = walls.iter().all(|wall| wall.name != "landlock" || wall.missing.is_none());
    // Without a filter nothing below may be tried.
    if system(libc::SYS_getppid, [0; 6]) != Err(libc::EPERM) {
        return ExitCode::from(5);
    }
    let mut said = String::new();
    let mut expect = |(name, number, args): Call, wanted: i32| {
        let got = system(number, args);
        if got != Err(wanted) {
            said.push_str(&format!("{name}: {got:?}, not {wanted}\n"));
        }
    };
    match action.as_str() {
        "attempts" => {
            attempts(parent).into_iter().for_each(|call| expect(call, libc::EPERM));
            if duty == RUN {
                // What landlock guards is open where the kernel has none.
                let guarded = |wanted| landlock || wanted != libc::EACCES;
                of_a_running_child()
                    .into_iter()
                    .filter(|(_, wanted)| guarded(*wanted))
                    .for_each(|(call, wanted)| expect(call, wanted));
            } else {
                let spaces = i64::from(libc::CLONE_THREAD | libc::CLONE_NEWNET);
                expect(
                    ("a thread in a new network", libc::SYS_clone, [spaces, 0, 0, 0, 0, 0]),
                    libc::EPERM,
                );
                expect(("start by clone3", libc::SYS_clone3, [0; 6]), libc::ENOSYS);
                expect(
                    ("read", libc::SYS_openat, [-100, text(c"/etc/passwd"), 0, 0, 0, 0]),
                    libc::EPERM,
                );
                expect(("read at a place", libc::SYS_pread64, [0, 0, 0, 0, 0, 0]), libc::EPERM);
            }
        }
        "everything" => {
            let allowed = allowed(duty);
            let numbers = (0..1_000).filter(|number| !allowed.contains(number));
            // The kernel lets the calls of its own probes past every filter; made from elsewhere
            // they end the process.
            let numbers = numbers.filter(|number| !(335..=336).contains(number));
            for number in numbers {
                let wanted = if number == libc::SYS_clone3 && duty == COMPILE {
                    libc::ENOSYS
                } else {
                    libc::EPERM
                };
                expect(("any call", number, [number, -1, -1, -1, -1, -1]), wanted);
            }
            // The same numbers with 32-bit pointers.
            for number in 0..1_000 {
                expect(("any x32 call", number | 0x4000_0000, [-1; 6]), libc::EPERM);
            }
        }
        "int80" => interrupt(),
        "descriptors" => {
            for fd in 0..4_096 {
                let mut stat = [0_u8; 256];
                let open =
                    system(libc::SYS_fstat, [fd, stat.as_mut_ptr() as i64, 0, 0, 0, 0]).is_ok();
                // Three streams, and the folder of inputs.
                let wanted = fd < if duty == RUN { 4 } else { 3 };
                if open != wanted {
                    said.push_str(&format!(
                        "descriptor {fd}: {}\n",
                        if open { "open" } else { "closed" }
                    ));
                }
            }
            if duty == RUN {
                let open = || system(libc::SYS_openat, [3, text(c"input"), 0, 0, 0, 0]);
                let opened = std::iter::repeat_with(open).take(100_000).take_while(Result::is_ok);
                let opened = opened.count();
                if opened != 64 + 512 - 4 {
                    said.push_str(&format!("{opened} descriptors could be opened\n"));
                }
            }
        }
        "memory" => {
            let private = i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let mut mapped = 0;
            while mapped < 1 << 22
                && system(libc::SYS_mmap, [0, 1 << 20, 3, private, -1, 0]).is_ok()
            {
                mapped += 1;
            }
            said.push_str(&mapped.to_string());
        }
        _ => return ExitCode::from(2),
    }
    match std::io::stdout().lock().write_all(said.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(3),
    }
}

/// The 32-bit door to the kernel.
#[cfg(target_arch = "x86_64")]
fn interrupt() {
    // SAFETY: asks for the process number (20 behind this door), or is killed for it.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") 20_i64 => _, options(nostack));
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn interrupt() {
    std::process::abort();
}

/// The calls of `docs/internals/sandbox.md`, which a test of the crate compares with the code.
fn allowed(duty: &str) -> Vec<i64> {
    const PAGE: &str = include_str!("../../../../../docs/internals/sandbox.md");
    let column = if duty == RUN { 3 } else { 2 };
    let rows = PAGE.lines().skip_while(|line| !line.starts_with("| system call |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter(|line| line.split('|').nth(column).is_some_and(|may| may.trim() != "no"))
        .map(|line| number_of(line.split('`').nth(1).expect("a name")))
        .collect()
}

fn number_of(name: &str) -> i64 {
    match name {
        "brk" => libc::SYS_brk,
        "clock_gettime" => libc::SYS_clock_gettime,
        "clone" => libc::SYS_clone,
        "close" => libc::SYS_close,
        "exit" => libc::SYS_exit,
        "exit_group" => libc::SYS_exit_group,
        "fstat" => libc::SYS_fstat,
        "futex" => libc::SYS_futex,
        "getpid" => libc::SYS_getpid,
        "getrandom" => libc::SYS_getrandom,
        "gettid" => libc::SYS_gettid,
        "madvise" => libc::SYS_madvise,
        "mmap" => libc::SYS_mmap,
        "mprotect" => libc::SYS_mprotect,
        "mremap" => libc::SYS_mremap,
        "munmap" => libc::SYS_munmap,
        "openat" => libc::SYS_openat,
        "pread64" => libc::SYS_pread64,
        "read" => libc::SYS_read,
        "restart_syscall" => libc::SYS_restart_syscall,
        "rseq" => libc::SYS_rseq,
        "rt_sigaction" => libc::SYS_rt_sigaction,
        "rt_sigprocmask" => libc::SYS_rt_sigprocmask,
        "rt_sigreturn" => libc::SYS_rt_sigreturn,
        "sched_getaffinity" => libc::SYS_sched_getaffinity,
        "sched_yield" => libc::SYS_sched_yield,
        "set_robust_list" => libc::SYS_set_robust_list,
        "sigaltstack" => libc::SYS_sigaltstack,
        "tgkill" => libc::SYS_tgkill,
        "write" => libc::SYS_write,
        other => panic!("{other} is new: name its number here"),
    }
}

fn setup(folder: &str) -> Setup {
    let mut spec = JobSpec::new(Guid::of(b""), Bytes(1), 1);
    spec.memory = Bytes::mib(64);
    spec.output_max = Bytes::mib(1);
    Setup {
        job: JobId(1),
        spec,
        input_dir: folder.into(),
        own_dir: None,
        threads: 1,
        idle: false,
        save_every: Span::secs(60),
    }
}

/// Lets the attacker loose and gives what it says: each line is something that went wrong.
fn attack(duty: &str, action: &str) -> Output {
    let folder = TempDir::new().expect("a folder");
    let inputs = folder.path().join("in");
    std::fs::create_dir(&inputs).expect("a folder");
    std::fs::write(inputs.join("input"), b"input").expect("a file");
    std::fs::write(folder.path().join("secret"), b"secret").expect("a file");
    std::os::unix::fs::symlink("/etc/passwd", inputs.join("link")).expect("a link");
    std::os::unix::fs::symlink("/etc", inputs.join("folder")).expect("a link");
    // One that the attacker inherits, were it not for the walls.
    let secret = std::fs::File::open(folder.path().join("secret")).expect("a file");
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).expect("it is open");
    assert!(secret.as_raw_fd() > 2);
    let exe = std::env::current_exe().expect("a running program has a file");
    Command::new(exe).args([CHILD, duty]).arg(&inputs).arg(action).output().expect("a child")
}

fn nothing_wrong(duty: &str, action: &str) {
    let done = attack(duty, action);
    assert!(done.status.success(), "{duty} {action}: {}", done.status);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "", "{duty} {action}");
}

fn reaches_nothing() {
    nothing_wrong(RUN, "attempts");
}

fn compiler_reaches_nothing() {
    nothing_wrong(COMPILE, "attempts");
}

fn everything_else() {
    nothing_wrong(RUN, "everything");
    nothing_wrong(COMPILE, "everything");
}

fn other_doors() {
    use std::os::unix::process::ExitStatusExt;
    for duty in [RUN, COMPILE] {
        assert_eq!(attack(duty, "int80").status.signal(), Some(libc::SIGSYS), "{duty}");
    }
}

fn descriptors() {
    nothing_wrong(RUN, "descriptors");
    nothing_wrong(COMPILE, "descriptors");
}

fn memory() {
    let done = attack(RUN, "memory");
    let mapped: u64 = String::from_utf8_lossy(&done.stdout).parse().expect("a number");
    // The child's own 512 MiB; the task's 64, and twice its files; twice what waits to be sent;
    // four times a checkpoint.
    let saved = 4 * object_bytes_max().0 / (1 << 20);
    let most = 512 + 64 + 2 * 65 + 2 + saved;
    assert!((512..=most).contains(&mapped), "{mapped} MiB");
}
