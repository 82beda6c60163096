//! Keeping children on so many cores: any user may do that to what is theirs.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Threads of a compiler come and go; each look finds those that the last one missed.
const LOOKS: usize = 8;

/// The cores of this process.
fn own() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Keeps all threads of a child on `count` of the cores that this process may use, the same for all
/// children and at least one: the last, since the first are where devices interrupt. Threads that
/// they start stay there too, and no child may ask for others (seccomp).
///
/// # Errors
/// The system refuses, or the child has ended.
pub(super) fn keep_on(child: u32, count: u16) -> io::Result<()> {
    let own = own()?;
    let mut set = CpuSet::new();
    for &cpu in own.iter().rev().take(usize::from(count.max(1))) {
        set.set(cpu);
    }
    let mut known = BTreeSet::new();
    for _ in 0..LOOKS {
        let mut fresh = false;
        for thread in fs::read_dir(format!("/proc/{child}/task"))? {
            let name = thread?.file_name();
            let number = name.to_str().and_then(|name| name.parse::<i32>().ok());
            let Some(thread) = number else { continue };
            if known.insert(thread) {
                fresh = true;
                match sched_setaffinity(Pid::from_raw(thread), &set) {
                    // A thread that has ended needs no core.
                    Err(rustix::io::Errno::SRCH) | Ok(()) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !fresh {
            break;
        }
    }
    Ok(())
}
