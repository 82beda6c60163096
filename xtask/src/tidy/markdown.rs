//! Documents: a title first, and links that lead somewhere.

use super::finding::Finding;
use super::tree::Tree;

const WHY_TITLE: &str = "lists of documents show the first line";
const WHY_LINK: &str = "a link that leads nowhere costs a reader more than none";

/// Checks a document.
pub(super) fn check(tree: &Tree, path: &str, text: &str, findings: &mut Vec<Finding>) {
    if !text.lines().next().unwrap_or_default().starts_with("# ") {
        findings.push(Finding::new(
            path,
            1,
            "the first line is not a title",
            WHY_TITLE,
            "begin with `# ` and what the document is about",
        ));
    }
    for (number, target) in links(text) {
        if let Some(what) = broken(tree, path, text, &target) {
            findings.push(Finding::new(
                path,
                number,
                what,
                WHY_LINK,
                "correct the path (from this file's folder), or remove the link",
            ));
        }
    }
}

/// Targets of `[text](target)` with their lines; code is left out.
pub(super) fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find(')').unwrap_or(rest.len());
            let target = rest[..end].split_whitespace().next().unwrap_or_default();
            found.push((number, target.to_owned()));
            rest = &rest[end..];
        }
    }
    found
}

/// Lines outside of fenced blocks, without what stands between backquotes.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line.split('`').step_by(2).collect()));
        }
    }
    lines
}

/// What is wrong with a link of the document at `path`.
fn broken(tree: &Tree, path: &str, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let resolved = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
    let Some(resolved) = resolved.filter(|resolved| tree.has(resolved)) else {
        return Some(format!("the link {target:?} leads to no file of the repository"));
    };
    if anchor.is_empty() {
        return None;
    }
    let there = if resolved == path { Some(text) } else { tree.file(&resolved)?.text.as_deref() };
    let has_heading = headings(there?).iter().any(|heading| heading == anchor);
    (!has_heading).then(|| format!("the link {target:?} leads to no heading of {resolved}"))
}

/// `file`, as seen from the folder of `path`; nothing if it leaves the repository.
pub(super) fn resolve(path: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The anchors of a document's headings, as the usual viewers make them.
pub(super) fn headings(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if !fenced && title.len() < line.len() && title.starts_with(' ') {
            let kept = title.trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}
