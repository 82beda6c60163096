//! How long files are, and how large: rooms that can be seen at a glance, a repository that clones
//! fast.

use super::finding::Finding;
use super::tree::{self, File, Tree};

/// Lines that a source file may have.
const LINES_MAX: usize = 600;
/// Lines that a file of tests, or one of [`LONGER`], may have.
const LINES_HARD_MAX: usize = 800;
/// Source files above [`LINES_MAX`], each with its reason.
const LONGER: [(&str, &str); 0] = [];
/// Bytes that a file in git may have.
const BYTES_MAX: u64 = 1 << 20;
/// Files above [`BYTES_MAX`], each with its reason.
const LARGER: [(&str, &str); 0] = [];

const WHY_LINES: &str = "a file is a room with one noun in it; nobody overlooks a hall";
const WHY_BYTES: &str = "what git has once it has for ever, in every clone";

/// Checks the lines of a Rust file.
pub(super) fn check_lines(path: &str, lines: usize, findings: &mut Vec<Finding>) {
    let allowed = tree::is_test(path) || LONGER.iter().any(|(longer, _)| *longer == path);
    let max = if allowed { LINES_HARD_MAX } else { LINES_MAX };
    if lines > max {
        findings.push(Finding::new(
            path,
            0,
            format!("{lines} lines, at most {max}"),
            WHY_LINES,
            "split it where its description needs an \"and\"; move tests to tests.rs beside it",
        ));
    }
}

/// Checks the bytes of any file.
pub(super) fn check_bytes(file: &File, findings: &mut Vec<Finding>) {
    if file.bytes > BYTES_MAX && !LARGER.iter().any(|(larger, _)| *larger == file.path) {
        findings.push(Finding::new(
            &file.path,
            0,
            format!("{} bytes, at most {BYTES_MAX}", file.bytes),
            WHY_BYTES,
            "generate it when it is needed, or give a reason in xtask/src/tidy/sizes.rs",
        ));
    }
}

/// Checks that the exceptions are still needed.
pub(super) fn check_allowed(tree: &Tree, findings: &mut Vec<Finding>) {
    let lines = |file: &File| file.text.as_ref().map_or(0, |text| text.lines().count());
    for (path, _) in LONGER {
        if tree.file(path).is_none_or(|file| lines(file) <= LINES_MAX) {
            findings.push(stale(path));
        }
    }
    for (path, _) in LARGER {
        if tree.file(path).is_none_or(|file| file.bytes <= BYTES_MAX) {
            findings.push(stale(path));
        }
    }
}

fn stale(path: &str) -> Finding {
    Finding::new(
        path,
        0,
        "an exception in xtask/src/tidy/sizes.rs that is not needed",
        "an exception that nobody needs hides the next one",
        "remove it there",
    )
}
