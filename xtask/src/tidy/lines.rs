//! Single lines: words, widths, comments, paths.

use super::finding::Finding;
use super::scan::Line;
use super::tree;

/// Columns of a line of Rust.
const COLUMNS_MAX: usize = 100;
/// Characters from which on a run of one sign in a comment is a banner.
const BANNER_CHARS: usize = 5;

/// Unfinished or forgotten code: word and what to do instead.
const BANNED_CODE: [(&str, &str); 4] = [
    ("todo!", "finish it, or leave it out"),
    ("unimplemented!", "finish it, or leave it out"),
    ("dbg!", "remove it; tracing is for what is worth keeping"),
    ("async_trait", "traits have async functions since Rust 1.75"),
];
/// The same in comments.
const BANNED_COMMENT: [&str; 3] = ["FIXME", "XXX", "TODO"];
/// Folders of some machine. (Written in two parts, so that this file may be checked too.)
const MACHINE_PATHS: [&str; 3] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
/// The folder for temporary files: fine for tests, and a path inside the sandbox.
const TEMPORARY: &str = concat!("/t", "mp/");
/// Where [`TEMPORARY`] names a folder that a guest sees, not one of this machine.
const GUEST_ROOMS: [&str; 5] =
    ["drivers/sandbox/", "guest/", "docs/", "base/src/job", "agent/src/"];

const WHY_DONE: &str = "what is in the repository is finished; what is not is an issue";
const WHY_WIDTH: &str = "two files fit beside each other";
const WHY_BANNER: &str = "a file that needs banners is several files";
const WHY_DOCS: &str = "a newcomer learns from the first line what a room is for";
const WHY_PATHS: &str = "the next machine has other folders";

/// Checks any text of ours.
pub(super) fn check_any(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let in_tests = tree::is_test(path) || path.starts_with("guest/modules/");
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::new(
                path,
                number,
                "white space at the end of the line",
                "it shows up in every later difference",
                "remove it",
            ));
        }
        let temporary = line.contains(TEMPORARY)
            && path.ends_with(".rs")
            && !GUEST_ROOMS.iter().any(|room| path.starts_with(room));
        let machine = MACHINE_PATHS.iter().find(|it| has_path(line, it));
        let named = machine.copied().or(temporary.then_some(TEMPORARY));
        if let Some(named) = named.filter(|_| !in_tests && path != ".gitignore") {
            findings.push(Finding::new(
                path,
                number,
                format!("the folder {named} of some machine"),
                WHY_PATHS,
                "ask for the folder (XDG, tempfile, an argument), or write ~ or FOLDER in docs",
            ));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        let last = text.lines().count();
        findings.push(Finding::new(
            path,
            last,
            "no new line at the end of the file",
            "the next line that is added would change this one",
            "add it",
        ));
    }
}

/// Whether `line` names the folder itself, not a longer path that ends in it (`guest/work/`).
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "~.-_$}*/".contains(c))
    })
}

/// Checks a file of Rust.
pub(super) fn check_rust(path: &str, lines: &[Line], findings: &mut Vec<Finding>) {
    if !lines.first().is_some_and(|line| line.raw.starts_with("//! ")) {
        findings.push(Finding::new(
            path,
            1,
            "the file does not open with //!",
            WHY_DOCS,
            "say in one sentence what it is, then what it is not, and whose idea it follows",
        ));
    }
    for (index, line) in lines.iter().enumerate() {
        check_words(path, index + 1, line, findings);
        check_width(path, index + 1, line, findings);
        if is_banner(&line.comment) {
            findings.push(Finding::new(
                path,
                index + 1,
                "a banner",
                WHY_BANNER,
                "make what it announces a file of its own, or remove the line",
            ));
        }
    }
}

fn check_words(path: &str, number: usize, line: &Line, findings: &mut Vec<Finding>) {
    for (word, instead) in BANNED_CODE {
        if line.code.contains(word) {
            findings.push(Finding::new(path, number, format!("{word:?}"), WHY_DONE, instead));
        }
    }
    for word in BANNED_COMMENT {
        if has_word(&line.comment, word) {
            let mend = "do it, or file an issue";
            findings.push(Finding::new(path, number, format!("{word:?}"), WHY_DONE, mend));
        }
    }
}

/// Whether `word` stands in `text` by itself, not as a part of another word.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// A line may be longer only by a literal or an address that cannot be broken.
fn check_width(path: &str, number: usize, line: &Line, findings: &mut Vec<Finding>) {
    let columns = line.raw.chars().count();
    let breakable = columns - line.literal.min(columns);
    let is_link = line.comment.contains("://");
    if columns > COLUMNS_MAX && !is_link && (line.literal == 0 || breakable > COLUMNS_MAX) {
        findings.push(Finding::new(
            path,
            number,
            format!("{columns} columns, at most {COLUMNS_MAX}"),
            WHY_WIDTH,
            "break the line; `cargo fmt` does it for code, comments are wrapped by hand",
        ));
    }
}

fn is_banner(comment: &str) -> bool {
    let text = comment.trim_start_matches('/').trim_start_matches(['!', '*']).trim();
    let sign = text.chars().next().unwrap_or(' ');
    let run = text.chars().take_while(|c| *c == sign).count();
    // A row of slashes is all taken for the mark of the comment.
    let slashes = comment.chars().take_while(|c| *c == '/').count();
    slashes >= BANNER_CHARS || ("-=*#~_+".contains(sign) && run >= BANNER_CHARS)
}
