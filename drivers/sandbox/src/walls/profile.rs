//! The system calls that a child may make, one row each, with the reason.
//!
//! `docs/internals/sandbox.md` shows the same rows to people; a test compares the two. What has no
//! row is answered "not permitted".

/// Whether a child may make a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum May {
    /// Refused.
    No,
    /// Whatever the arguments.
    Yes,
    /// Only with these bits in one argument.
    Only(Bits),
    /// Only about the child itself.
    Own,
}

/// What an argument must look like: `value` in the bits of `mask`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    /// Counted from 0.
    pub(super) argument: u8,
    pub(super) mask: i32,
    pub(super) value: i32,
    /// The same in words.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for people; a test compares it with the page")
    )]
    words: &'static str,
}

/// One system call.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) call: i64,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for people; a test compares it with the page")
    )]
    name: &'static str,
    /// In the child that compiles, and in the child that runs.
    pub(super) compile: May,
    pub(super) run: May,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for people; a test compares it with the page")
    )]
    why: &'static str,
}

const fn row(call: i64, name: &'static str, compile: May, run: May, why: &'static str) -> Row {
    Row { call, name, compile, run, why }
}

use May::{No, Only, Own, Yes};

const NO_NEW_CODE: May =
    Only(Bits { argument: 2, mask: libc::PROT_EXEC, value: 0, words: "without `PROT_EXEC`" });
const READ_ONLY: May = Only(Bits {
    argument: 2,
    mask: libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC,
    value: libc::O_RDONLY,
    words: "`O_RDONLY`, without `O_CREAT` and `O_TRUNC`",
});
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;
const THREAD: May = Only(Bits {
    argument: 0,
    mask: libc::CLONE_THREAD | NAMESPACES,
    value: libc::CLONE_THREAD,
    words: "with `CLONE_THREAD`, without new namespaces",
});

/// All of them, by name.
pub(super) const ROWS: &[Row] = &[
    row(libc::SYS_brk, "brk", Yes, Yes, "the allocator's small blocks"),
    row(libc::SYS_clock_gettime, "clock_gettime", Yes, Yes, "limits of time, times of traces"),
    row(libc::SYS_clone, "clone", THREAD, No, "the compiler's threads"),
    row(libc::SYS_close, "close", Yes, Yes, "inputs that were read"),
    row(libc::SYS_exit, "exit", Yes, Yes, "the end of a thread"),
    row(libc::SYS_exit_group, "exit_group", Yes, Yes, "the end of the child"),
    row(libc::SYS_fstat, "fstat", Yes, Yes, "the length of an open input"),
    row(libc::SYS_futex, "futex", Yes, Yes, "threads that wait for each other"),
    row(libc::SYS_getpid, "getpid", Yes, Yes, "`abort`, which signals itself"),
    row(libc::SYS_getrandom, "getrandom", Yes, Yes, "keys of hash maps; no program sees them"),
    row(libc::SYS_gettid, "gettid", Yes, Yes, "`abort`, which signals itself"),
    row(libc::SYS_madvise, "madvise", Yes, Yes, "memory given back, stacks guarded"),
    row(libc::SYS_mmap, "mmap", Yes, NO_NEW_CODE, "memory, stacks; no new code where programs run"),
    row(libc::SYS_mprotect, "mprotect", Yes, NO_NEW_CODE, "memory that grows, guard pages"),
    row(libc::SYS_mremap, "mremap", Yes, Yes, "large blocks that grow"),
    row(libc::SYS_munmap, "munmap", Yes, Yes, "memory given back"),
    row(libc::SYS_openat, "openat", No, READ_ONLY, "inputs; landlock says which"),
    row(libc::SYS_pread64, "pread64", No, Yes, "inputs"),
    row(libc::SYS_read, "read", Yes, Yes, "standard input: the program, or orders"),
    row(
        libc::SYS_restart_syscall,
        "restart_syscall",
        Yes,
        Yes,
        "waiting that `SIGCONT` goes on with",
    ),
    row(libc::SYS_rseq, "rseq", Yes, No, "the C library, in each new thread"),
    row(libc::SYS_rt_sigaction, "rt_sigaction", Yes, Yes, "the engine's traps, `abort`"),
    row(libc::SYS_rt_sigprocmask, "rt_sigprocmask", Yes, Yes, "new threads, `abort`"),
    row(libc::SYS_rt_sigreturn, "rt_sigreturn", Yes, Yes, "the way back from a trap"),
    row(libc::SYS_sched_getaffinity, "sched_getaffinity", Yes, No, "how many threads compile"),
    row(libc::SYS_sched_yield, "sched_yield", Yes, Yes, "threads that wait for each other"),
    row(libc::SYS_set_robust_list, "set_robust_list", Yes, No, "the C library, in each new thread"),
    row(libc::SYS_sigaltstack, "sigaltstack", Yes, Yes, "traps of a stack that is full"),
    row(libc::SYS_tgkill, "tgkill", Own, Own, "`abort`, which signals itself"),
    row(libc::SYS_write, "write", Yes, Yes, "standard output and error"),
];

/// Where a new thread asks for `clone3`, it must hear that there is none, so that it uses `clone`,
/// whose flags a filter can see.
pub(super) const MISSING: i64 = libc::SYS_clone3;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(may: May) -> &'static str {
        match may {
            No => "no",
            Yes => "yes",
            Only(bits) => bits.words,
            Own => "to itself",
        }
    }

    #[test]
    fn the_rows_are_sorted_and_each_call_has_one() {
        assert!(ROWS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let calls: std::collections::BTreeSet<i64> = ROWS.iter().map(|row| row.call).collect();
        assert_eq!(calls.len(), ROWS.len());
        assert!(!calls.contains(&MISSING));
    }

    #[test]
    fn the_documented_profile_is_the_one_in_force() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/internals/sandbox.md");
        let page = std::fs::read_to_string(path).expect("the page about the sandbox");
        let documented: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("| system call |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let in_force: Vec<String> = ROWS
            .iter()
            .map(|row| {
                let (compile, run) = (words(row.compile), words(row.run));
                format!("| `{}` | {compile} | {run} | {} |", row.name, row.why)
            })
            .collect();
        assert_eq!(documented, in_force, "the table of docs/internals/sandbox.md");
    }
}
