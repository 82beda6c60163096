//! The one place that writes to standard output: answers there, talk on standard error.
//!
//! A command answers with a [`Report`], a value that knows how to print itself for people, as JSON,
//! and in a few words for scripts; so no command can forget one of the three.

mod format;
mod page;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use serde_json::{Value, json};

pub(crate) use format::{ago, clean, credits, duration, one_line, plural, stamp, stamp_deep};
pub(crate) use page::{Page, Table, Tone};

use crate::cli::Global;
use crate::clock;
use crate::exit::{Code, Refusal, classify};
use isos_base::api::ProblemCode;
use isos_sdk::ClientError;

/// Version of the shape around every JSON answer.
const SCHEMA: u32 = 1;

/// An answer in all three forms.
pub(crate) trait Report {
    /// What it is, for programs: `job`, `host_list`.
    fn kind(&self) -> &'static str;
    /// For people.
    fn text(&self, page: &mut Page);
    /// For programs: times in RFC 3339, money in micro-credits, sizes in bytes.
    fn json(&self) -> Value;
    /// For scripts: ids or amounts, one a line.
    fn quiet(&self, page: &mut Page);
}

/// Which of the three forms is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For scripts.
    Quiet,
}

impl Mode {
    /// What the flags ask for.
    pub(crate) fn of(global: &Global) -> Self {
        match (global.json, global.quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Quiet,
            (false, false) => Self::Text,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    /// On a terminal that can.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl FromStr for Color {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| format!("{text:?} is not auto, always or never"))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// Where answers and messages go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    mode: Mode,
    stdout_color: bool,
    stderr_color: bool,
}

impl Output {
    /// An output of this form.
    pub(crate) fn new(mode: Mode, color: Color) -> Self {
        let decide = |auto: anstream::ColorChoice| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => auto != anstream::ColorChoice::Never,
        };
        Self {
            mode,
            stdout_color: decide(anstream::AutoStream::choice(&io::stdout())),
            stderr_color: decide(anstream::AutoStream::choice(&io::stderr())),
        }
    }

    /// The form.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether somebody watches: a terminal that gets text.
    pub(crate) fn is_watched(&self) -> bool {
        self.mode == Mode::Text && io::stderr().is_terminal()
    }

    /// Whether answers have colours.
    pub(crate) fn has_color(&self) -> bool {
        self.stdout_color
    }

    /// Prints an answer.
    pub(crate) fn show(&self, report: &dyn Report) -> io::Result<()> {
        let text = self.render(report, self.stdout_color);
        write_out(text.as_bytes())
    }

    fn render(&self, report: &dyn Report, color: bool) -> String {
        let mut page = Page::new(clock::now(), color);
        match self.mode {
            Mode::Text => report.text(&mut page),
            Mode::Quiet => report.quiet(&mut page),
            Mode::Json => return document(report),
        }
        page.finish()
    }

    /// An answer as text, for those who say it on the side.
    pub(crate) fn text_of(&self, report: &dyn Report) -> String {
        let mut page = Page::new(clock::now(), self.stderr_color);
        report.text(&mut page);
        page.finish().trim_end().to_owned()
    }

    /// Prints bytes of somebody else's as they are; on a terminal without what could control it.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        if !io::stdout().is_terminal() {
            return write_out(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        let safe = |c: char| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c };
        write_out(text.chars().map(safe).collect::<String>().as_bytes())
    }

    /// Says something on the side: only to people.
    pub(crate) fn note(&self, text: &str) {
        if self.mode == Mode::Text {
            self.talk(text);
        }
    }

    fn talk(&self, text: &str) {
        // Nobody listens on a closed standard error.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says why the command failed, on standard error, and gives the exit code.
    pub(crate) fn error(&self, error: &anyhow::Error) -> Code {
        if is_broken_pipe(error) {
            // Whoever read the answer has read enough.
            return Code::Ok;
        }
        let (code, text) = self.render_error(error);
        self.talk(&text);
        code
    }

    fn render_error(&self, error: &anyhow::Error) -> (Code, String) {
        let (code, word) = classify(error);
        let message = format!("{error:#}");
        let hints = hints(error);
        if self.mode == Mode::Json {
            let error =
                json!({ "code": word, "message": message, "exit": code as u8, "hints": hints });
            return (code, json!({ "error": error }).to_string());
        }
        let page = Page::new(clock::now(), self.stderr_color);
        let label = if code == Code::Interrupted {
            String::new()
        } else {
            format!("{} ", page.paint(Tone::Bad, "error:"))
        };
        let mut text = format!("{label}{}", clean(&message));
        for hint in hints {
            text.push_str(&format!("\n  {hint}"));
        }
        (code, text)
    }
}

/// What to do about an error, where it does not say it itself.
fn hints(error: &anyhow::Error) -> Vec<String> {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return refusal.hints.clone();
    }
    match error.downcast_ref::<ClientError>().and_then(ClientError::problem) {
        Some(ProblemCode::Unauthorised) => {
            vec!["`isos config show --origin` tells which token was used".into()]
        }
        _ => Vec::new(),
    }
}

fn document(report: &dyn Report) -> String {
    let document = json!({ "schema": SCHEMA, "type": report.kind(), "data": report.json() });
    document.to_string() + "\n"
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
pub(crate) mod tests;
