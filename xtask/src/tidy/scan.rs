//! Splits Rust source into code, comments and literals, line by line.
//!
//! Enough of the language for the checks: nested block comments, raw strings, lifetimes beside
//! characters. It is not a parser and accepts what no compiler would.

/// One line of a source file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The line as it is.
    pub(super) raw: String,
    /// Its code; what stands inside literals and comments is left out, quotes stay.
    pub(super) code: String,
    /// Its comment, with the slashes.
    pub(super) comment: String,
    /// Characters of the longest piece of a literal on it.
    pub(super) literal: usize,
    /// Whether it belongs to a `#[cfg(test)]` module at the end of the file.
    pub(super) in_tests: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    LineComment,
    /// Nested this deep.
    BlockComment(u32),
    /// In a string; `Some(n)` for a raw one with n hashes.
    Text(Option<usize>),
}

/// The lines of a file.
pub(super) fn scan(text: &str) -> Vec<Line> {
    let mut scanner = Scanner {
        chars: text.chars().collect(),
        at: 0,
        state: State::Code,
        line: Line::default(),
        piece: 0,
        lines: Vec::new(),
    };
    while scanner.at < scanner.chars.len() {
        scanner.step();
    }
    if !scanner.line.raw.is_empty() {
        scanner.end_line();
    }
    let mut lines = scanner.lines;
    mark_tests(&mut lines);
    lines
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    state: State,
    line: Line,
    /// Length of the literal so far, on this line.
    piece: usize,
    lines: Vec<Line>,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Takes `count` characters of the line into its raw text; the caller says where else.
    fn take(&mut self, count: usize) -> String {
        let end = (self.at + count).min(self.chars.len());
        let taken: String = self.chars[self.at..end].iter().collect();
        self.at = end;
        self.line.raw.push_str(&taken);
        taken
    }

    fn end_line(&mut self) {
        self.line.literal = self.line.literal.max(self.piece);
        self.piece = 0;
        if self.state == State::LineComment {
            self.state = State::Code;
        }
        self.lines.push(std::mem::take(&mut self.line));
    }

    fn step(&mut self) {
        if self.peek(0) == '\n' {
            self.at += 1;
            return self.end_line();
        }
        match self.state {
            State::Code => self.step_code(),
            State::LineComment => {
                let taken = self.take(1);
                self.line.comment.push_str(&taken);
            }
            State::BlockComment(depth) => self.step_comment(depth),
            State::Text(hashes) => self.step_text(hashes),
        }
    }

    fn step_code(&mut self) {
        let before = self.line.code.chars().last().unwrap_or(' ');
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.state = State::LineComment,
            ('/', '*') => {
                self.state = State::BlockComment(1);
                let taken = self.take(2);
                self.line.comment.push_str(&taken);
            }
            ('"', _) => self.open(1, None),
            ('r', '"' | '#') if !before.is_alphanumeric() && before != '_' => {
                let hashes = self.chars[self.at + 1..].iter().take_while(|c| **c == '#').count();
                if self.peek(1 + hashes) == '"' {
                    self.open(2 + hashes, Some(hashes));
                } else {
                    self.code(1);
                }
            }
            ('\'', '\\') => {
                // '\n', '\'', '\u{1f}': the quote that ends it comes after the escaped character.
                let rest = &self.chars[self.at + 3..];
                let end = rest.iter().position(|c| *c == '\'' || *c == '\n').unwrap_or(0);
                self.take(end + 4);
                self.line.code.push_str("''");
            }
            ('\'', _) if self.peek(2) == '\'' => {
                self.take(3);
                self.line.code.push_str("''");
            }
            _ => self.code(1),
        }
    }

    fn code(&mut self, count: usize) {
        let taken = self.take(count);
        self.line.code.push_str(&taken);
    }

    fn open(&mut self, count: usize, hashes: Option<usize>) {
        self.code(count);
        self.state = State::Text(hashes);
    }

    fn step_comment(&mut self, depth: u32) {
        let (count, depth) = match (self.peek(0), self.peek(1)) {
            ('/', '*') => (2, depth + 1),
            ('*', '/') => (2, depth - 1),
            _ => (1, depth),
        };
        let taken = self.take(count);
        self.line.comment.push_str(&taken);
        self.state = if depth == 0 { State::Code } else { State::BlockComment(depth) };
    }

    fn step_text(&mut self, hashes: Option<usize>) {
        let closes =
            self.peek(0) == '"' && (1..=hashes.unwrap_or(0)).all(|ahead| self.peek(ahead) == '#');
        if closes {
            self.line.literal = self.line.literal.max(self.piece);
            self.piece = 0;
            self.state = State::Code;
            self.code(1 + hashes.unwrap_or(0));
            return;
        }
        let escaped = hashes.is_none() && self.peek(0) == '\\' && self.peek(1) != '\n';
        let count = if escaped { 2 } else { 1 };
        self.piece += count;
        self.take(count);
    }
}

/// Marks everything from `#[cfg(test)]` before a `mod name {` on: by custom it ends the file.
fn mark_tests(lines: &mut [Line]) {
    let starts = |pair: &[Line]| {
        pair[0].code.trim() == "#[cfg(test)]"
            && pair[1].code.trim_start().starts_with("mod ")
            && pair[1].code.trim_end().ends_with('{')
    };
    if let Some(first) = lines.windows(2).position(starts) {
        lines[first..].iter_mut().for_each(|line| line.in_tests = true);
    }
}
