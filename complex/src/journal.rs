//! A journal of everything that a server's machine was told and what it decided, and its replay.
//!
//! Lines of JSON: first what the machine started from, then a line for each batch. The machine is
//! deterministic, so the same start and the same inputs give the same effects, on any machine and
//! at any time: a fault that was seen in the field becomes a test that is a file. Tokens are not
//! written down; what jobs are told on their command lines, and short outputs, are.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use isos_base::record::Snapshot;
use isos_base::wire::{Hello, ToComplex};
use isos_base::{Bytes, Machine, Time};
use isos_kernel::complex::{Complex, Config, Effect, Input, RestoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::mpsc;

/// Batches that wait to be written. A disk that falls further behind ends the journal, not the
/// server.
const BATCHES_MAX: usize = 4_096;
/// The shape of the lines; raised when it changes.
const FORMAT: u32 = 2;
/// A line of a journal that is read: a snapshot of some million hosts.
const LINE_BYTES_MAX: Bytes = Bytes::gib(4);

/// What a server is told of its journal.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Where to write; a number is added if the file is there.
    pub file: PathBuf,
    /// When to stop writing.
    pub max: Bytes,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    isos_journal: u32,
    version: String,
    config: Config,
    started: Time,
    snapshot: Snapshot,
}

/// What the machine was told at one time, and all that it decided.
#[derive(Debug, Serialize, Deserialize)]
struct Batch {
    at: Time,
    inputs: Vec<Input>,
    effects: Vec<Effect>,
}

/// The writing end. Dropped, it ends the journal in good order.
#[derive(Debug)]
pub(crate) struct Journal {
    lines: Option<mpsc::Sender<String>>,
    inputs: Vec<Input>,
    left: Bytes,
}

/// Why a journal cannot be written.
#[derive(Debug, Error)]
#[error("cannot write the journal {}", path.display())]
pub struct JournalError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Journal {
    /// Begins a journal of a machine that is about to be restored from this. Must be called on a
    /// tokio runtime, which then runs the writer.
    pub(crate) fn begin(
        to: &JournalConfig,
        config: &Config,
        started: Time,
        snapshot: &Snapshot,
    ) -> Result<Self, JournalError> {
        let (file, path) = create(&to.file)?;
        let head = Head {
            isos_journal: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            config: config.clone(),
            started,
            snapshot: snapshot.clone(),
        };
        let mut out = BufWriter::new(file);
        let fail = |source| JournalError { path: path.clone(), source };
        serde_json::to_writer(&mut out, &head).map_err(io::Error::from).map_err(fail)?;
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(fail)?;
        let size = out.get_ref().metadata().map_err(fail)?.len();
        let (lines, written) = mpsc::channel(BATCHES_MAX);
        tokio::task::spawn_blocking(move || write(out, written, &path));
        let left = Bytes(to.max.0.saturating_sub(size));
        Ok(Self { lines: Some(lines), inputs: Vec::new(), left })
    }

    /// The machine is about to be told this.
    pub(crate) fn told(&mut self, input: &Input) {
        if self.lines.is_some() {
            self.inputs.push(without_secrets(input.clone()));
        }
    }

    /// Batches that wait for the disk, and how many may; `None` once it has ended.
    pub(crate) fn waiting(&self) -> Option<(usize, usize)> {
        let lines = self.lines.as_ref()?;
        Some((lines.max_capacity() - lines.capacity(), lines.max_capacity()))
    }

    /// This is what it decided.
    pub(crate) fn decided(&mut self, at: Time, effects: &[Effect]) {
        let Some(lines) = &self.lines else { return };
        let inputs = std::mem::take(&mut self.inputs);
        if inputs.is_empty() && effects.is_empty() {
            return;
        }
        let batch = Batch { at, inputs, effects: effects.to_vec() };
        let line = serde_json::to_string(&batch).expect("what the kernel says always encodes");
        let end = match self.left.0.checked_sub(line.len() as u64) {
            None => Some("it is as long as it may be"),
            Some(left) => {
                self.left = Bytes(left);
                lines.try_send(line).is_err().then_some("the disk is too slow, or failed")
            }
        };
        if let Some(why) = end {
            tracing::warn!("the journal ends here: {why}");
            self.lines = None;
        }
    }
}

fn create(path: &Path) -> Result<(File, PathBuf), JournalError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut number = 1;
    let mut name = path.to_owned();
    loop {
        match options.open(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                number += 1;
                name = PathBuf::from(format!("{}.{number}", path.display()));
            }
            Err(source) => return Err(JournalError { path: name, source }),
        }
    }
}

/// Writes lines until the server ends or the disk refuses; flushes whenever nothing waits.
fn write(mut out: BufWriter<File>, mut lines: mpsc::Receiver<String>, path: &Path) {
    let mut work = || -> io::Result<()> {
        while let Some(line) = lines.blocking_recv() {
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")?;
            if lines.is_empty() {
                out.flush()?;
            }
        }
        out.flush()
    };
    if let Err(error) = work() {
        tracing::warn!("the journal {} ends here: {error}", path.display());
    }
}

/// The kernel looks at no token: whoever made the input has checked it.
fn without_secrets(input: Input) -> Input {
    let hide = |hello: Box<Hello>| Box::new(Hello { token: None, ..*hello });
    match input {
        Input::HostCame { host, session, address, hello, admission, ticket, made } => {
            let hello = hide(hello);
            Input::HostCame { host, session, address, hello, admission, ticket, made }
        }
        Input::HostSaid { session, frame: ToComplex::Hello(hello) } => {
            Input::HostSaid { session, frame: ToComplex::Hello(hide(hello)) }
        }
        other => other,
    }
}

/// Why a journal was not replayed to its end.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file.
    #[error("cannot read the journal {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line that is none.
    #[error("line {line} of the journal makes no sense: {why}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A later program wrote it.
    #[error(
        "the journal has format {found}, this program reads {FORMAT}: use the isos that wrote it"
    )]
    Format {
        /// The file's.
        found: u32,
    },
    /// It begins with what makes no complex.
    #[error("the machine cannot start from what the journal begins with")]
    Restore(#[from] RestoreError),
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The program that wrote the journal.
    pub version: String,
    /// Batches that were replayed.
    pub batches: u64,
    /// Inputs in them.
    pub inputs: u64,
    /// Effects that were the same.
    pub effects: u64,
    /// Whether the last line is cut off: the server was killed.
    pub cut_off: bool,
    /// Where the machine first decided otherwise.
    pub difference: Option<Difference>,
}

/// A decision that is not the recorded one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The line of the journal, from 1.
    pub line: u64,
    /// When.
    pub at: Time,
    /// What the machine was told in this batch, as JSON.
    pub inputs: Vec<String>,
    /// Which effect of the batch, from 1.
    pub effect: usize,
    /// As recorded; nothing if there is one too many now.
    pub recorded: Option<String>,
    /// As decided now; nothing if one is missing.
    pub now: Option<String>,
}

/// Runs a journal again, and stops at the first difference.
///
/// `check` asserts all invariants after each batch, which is slow. `look` is shown each batch: the
/// time, the inputs and the effects, as JSON.
///
/// # Errors
/// [`ReplayError`]. A last line without an end is no error: it was being written.
///
/// # Panics
/// If `check` is set and an invariant does not hold: that is what it is for.
pub fn replay(
    path: &Path,
    check: bool,
    mut look: impl FnMut(Time, &[String], &[String]),
) -> Result<Replayed, ReplayError> {
    let fail = |source| ReplayError::Read { path: path.to_owned(), source };
    let mut lines = Lines { file: BufReader::new(File::open(path).map_err(fail)?), line: 0 };
    let bad = |line, why: &dyn std::fmt::Display| ReplayError::Line { line, why: why.to_string() };
    let Some((first, _)) = lines.next().map_err(fail)? else {
        return Err(bad(1, &"the file is empty"));
    };
    /// Read before the rest, which another format may write otherwise.
    #[derive(Deserialize)]
    struct Format {
        isos_journal: u32,
    }
    let Format { isos_journal: found } =
        serde_json::from_str(&first).map_err(|error| bad(1, &error))?;
    if found != FORMAT {
        return Err(ReplayError::Format { found });
    }
    let head: Head = serde_json::from_str(&first).map_err(|error| bad(1, &error))?;
    let mut effects = Vec::new();
    let mut machine = Complex::restore(head.config, head.started, head.snapshot, &mut effects)?;
    let mut replayed = Replayed {
        version: head.version,
        batches: 0,
        inputs: 0,
        effects: 0,
        cut_off: false,
        difference: None,
    };
    while let Some((text, whole)) = lines.next().map_err(fail)? {
        let batch: Batch = match serde_json::from_str(&text) {
            Ok(batch) => batch,
            Err(_) if !whole => {
                replayed.cut_off = true;
                break;
            }
            Err(error) => return Err(bad(lines.line, &error)),
        };
        let inputs: Vec<String> = batch.inputs.iter().map(json).collect();
        replayed.batches += 1;
        replayed.inputs += inputs.len() as u64;
        for input in batch.inputs {
            machine.apply(batch.at, input);
        }
        machine.finish(&mut effects);
        if check {
            machine.check_invariants();
        }
        let now: Vec<String> = effects.drain(..).map(|effect| json(&effect)).collect();
        let recorded: Vec<String> = batch.effects.iter().map(json).collect();
        look(batch.at, &inputs, &now);
        let same = now.iter().zip(&recorded).take_while(|(now, then)| now == then).count();
        replayed.effects += same as u64;
        if same < now.len().max(recorded.len()) {
            replayed.difference = Some(Difference {
                line: lines.line,
                at: batch.at,
                inputs,
                effect: same + 1,
                recorded: recorded.get(same).cloned(),
                now: now.get(same).cloned(),
            });
            break;
        }
    }
    Ok(replayed)
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("what the kernel says always encodes")
}

/// Lines of bounded length.
struct Lines {
    file: BufReader<File>,
    line: u64,
}

impl Lines {
    /// The next line, and whether it has its end.
    fn next(&mut self) -> io::Result<Option<(String, bool)>> {
        let mut text = String::new();
        let read = io::Read::take(&mut self.file, LINE_BYTES_MAX.0).read_line(&mut text)?;
        self.line += 1;
        Ok((read > 0).then(|| {
            let whole = text.ends_with('\n');
            (text, whole)
        }))
    }
}

#[cfg(test)]
mod tests;
