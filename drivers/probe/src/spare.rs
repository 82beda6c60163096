//! Memory that a program has used and does not use: given back, so that an agent that waits weighs
//! little.
//!
//! While a program starts, it touches much of its own code once; and what a burst of work took
//! from the allocator stays with it. The owner could use both. What is needed again comes back by
//! itself: code from the page cache, at the price of a fault a page.

use std::path::Path;

use crate::files;

/// A part of the address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: usize,
    length: usize,
}

/// Gives back what is not in use: takes some milliseconds, may be called at any time from any
/// thread, and changes nothing but how much memory the process holds.
pub fn give_back() {
    #[cfg(target_os = "linux")]
    for Part { start, length } in code(&maps(), &own_program()) {
        forget(start, length);
    }
    trim();
}

#[cfg(target_os = "linux")]
fn maps() -> String {
    files::text(Path::new("/proc/self/maps")).unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn own_program() -> String {
    let path = std::fs::read_link("/proc/self/exe");
    path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where the code and the constants of the program lie: what nobody has ever written to. Data that
/// the loader has changed and then made read-only is not among it: that is lost with its pages.
fn code(maps: &str, program: &str) -> Vec<Part> {
    let part = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
        // Device and inode.
        let path = line.splitn(6, ' ').nth(5)?.trim_start();
        let is_pure =
            rights == "r-xp" || (rights == "r--p" && u64::from_str_radix(offset, 16) == Ok(0));
        if program.is_empty() || path != program || !is_pure {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        Some(Part { start, length: end.checked_sub(start)? })
    };
    maps.lines().filter_map(part).collect()
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call about pages that hold what a file holds")]
fn forget(start: usize, length: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the range is a private mapping of a file that was never written to, so whatever is
    // read there later is what is read there now.
    let _ = unsafe { madvise(start as *mut _, length, Advice::LinuxDontNeed) };
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the allocator has no other door")]
fn trim() {
    // SAFETY: it takes the allocator's locks itself, and touches nothing that is in use.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
const fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_to_is_given_back() {
        let maps = "\
            1000-3000 r--p 00000000 fe:00 12    /opt/is os\n\
            3000-8000 r-xp 00002000 fe:00 12    /opt/is os\n\
            8000-9000 r--p 00007000 fe:00 12    /opt/is os\n\
            9000-a000 rw-p 00008000 fe:00 12    /opt/is os\n\
            a000-b000 rw-p 00000000 00:00 0     [heap]\n\
            c000-d000 r-xp 00000000 fe:00 13    /lib/libc.so.6\n\
            nonsense\n";
        let part = |start, length| Part { start, length };
        assert_eq!(code(maps, "/opt/is os"), [part(0x1000, 0x2000), part(0x3000, 0x5000)]);
        assert_eq!(code(maps, ""), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_goes_on_after_it_has_given_back_and_weighs_less() {
        let resident = || {
            let status = files::text(Path::new("/proc/self/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
            line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        assert!(!code(&maps(), &own_program()).is_empty(), "{}", maps());
        let many: Vec<Vec<u8>> = (0..20_000).map(|n| vec![n as u8; 1_000]).collect();
        assert_eq!(many.iter().map(|some| u64::from(some[7])).sum::<u64>(), 2_546_416);
        let before = resident();
        drop(many);
        give_back();
        let after = resident();
        assert!(after + 15_000 < before, "{before} KiB before, {after} after");
    }
}
