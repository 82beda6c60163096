//! Results as one stream: a line of JSON a task, or a tar file. For jobs of more tasks than a
//! folder should have entries.
//!
//! Front to back, in the order of acceptance, in bounded memory: what is kept is which tasks have
//! been written, as ranges. When the connection breaks the stream is asked for again and goes on
//! behind what was written; a file appears under its name when it is whole.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use isos_base::api::JobView;
use isos_base::{JobId, TaskRange, TaskSet};
use serde::Serialize;
use tokio::time::sleep;

use crate::client::Client;
use crate::error::ClientError;
use crate::limits::RETRY_WAITS;
use crate::results::{Outcome, Wanted};
use crate::save::{ResultLine, Saved, blocking};
use crate::ustar;

/// Standard output that a line of JSON carries; more is cut, and the line says so.
pub const LINE_STDOUT_MAX: usize = 64 << 10;
/// Bytes that are collected before they are written.
const PIECE_BYTES: usize = 1 << 20;

/// What the stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// A [`PackedLine`] a task.
    Jsonl,
    /// `job.json`, and `TASK/result.json`, `TASK/stdout`, `TASK/stderr`, `TASK/out/...` a task.
    Tar,
}

/// Where it goes.
pub enum PackTo {
    /// Into this file, which must not be there yet, and is when it is whole.
    File(PathBuf),
    /// Wherever this writes, such as standard output.
    Sink(Box<dyn Write + Send>),
}

/// A task in one line: how it ended, and the beginning of what it printed.
#[derive(Debug, Serialize)]
pub struct PackedLine {
    /// How it ended.
    #[serde(flatten)]
    pub line: ResultLine,
    /// Standard output, at most [`LINE_STDOUT_MAX`] bytes, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// As much of it in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// Whether there was more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stdout_cut: bool,
}

impl PackedLine {
    /// The line of an outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let stdout = outcome.output.as_ref().map(|output| output.stdout.as_slice());
        let head = stdout.map(|bytes| &bytes[..bytes.len().min(LINE_STDOUT_MAX)]);
        let stdout_cut = stdout.is_some_and(|bytes| bytes.len() > LINE_STDOUT_MAX);
        let text = head.and_then(|head| match std::str::from_utf8(head) {
            Ok(text) => Some(text),
            // The cut went through a character.
            Err(error) if stdout_cut && error.error_len().is_none() => {
                std::str::from_utf8(&head[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        });
        Self {
            line: ResultLine::of(outcome),
            stdout: text.map(str::to_owned),
            stdout_base64: head.filter(|_| text.is_none()).map(|head| BASE64.encode(head)),
            stdout_cut,
        }
    }
}

impl Pack {
    fn begin(self, job: &JobView, to: &mut Vec<u8>) {
        if self == Self::Tar {
            ustar::put_file("job.json", &json(job), to);
        }
    }

    fn put(self, outcome: &Outcome, to: &mut Vec<u8>) {
        if self == Self::Jsonl {
            to.extend_from_slice(&json(&PackedLine::of(outcome)));
            return;
        }
        let task = outcome.accepted.task;
        ustar::put_file(&format!("{task}/result.json"), &json(&ResultLine::of(outcome)), to);
        let Some(output) = &outcome.output else { return };
        ustar::put_file(&format!("{task}/stdout"), &output.stdout, to);
        if !output.stderr.is_empty() {
            ustar::put_file(&format!("{task}/stderr"), &output.stderr, to);
        }
        // They are plain and in order: `Output::decode` has checked it.
        for file in &output.files {
            ustar::put_file(&format!("{task}/out/{}", file.path), &file.content, to);
        }
    }

    fn end(self, to: &mut Vec<u8>) {
        if self == Self::Tar {
            to.extend_from_slice(&ustar::END);
        }
    }
}

/// A line.
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("shapes of results are plain data");
    text.push(b'\n');
    text
}

/// A stream on its way into a file or elsewhere.
struct Packer {
    pack: Pack,
    wanted: Wanted,
    /// Where it goes, for messages; the place that the file takes at last.
    path: PathBuf,
    /// The file until then.
    beside: Option<PathBuf>,
    sink: Option<Box<dyn Write + Send>>,
    buffer: Vec<u8>,
    seen: TaskSet,
    saved: Saved,
    lost: Vec<u32>,
}

impl Packer {
    fn open(pack: Pack, wanted: Wanted, to: PackTo) -> Result<Self, ClientError> {
        let (path, beside, sink) = match to {
            PackTo::Sink(sink) => ("-".into(), None, sink),
            PackTo::File(path) => {
                check_results_file(&path)?;
                let beside = part_of(&path);
                // Left by one that was killed. Not opened: it may be a link.
                let _ = fs::remove_file(&beside);
                let file = fs::File::create_new(&beside);
                let file = file.map_err(ClientError::file("create", &beside))?;
                (path, Some(beside), Box::new(file) as Box<dyn Write + Send>)
            }
        };
        let saved = Saved { folder: path.clone(), ..Saved::default() };
        let (buffer, seen, sink) = (Vec::new(), TaskSet::new(), Some(sink));
        Ok(Self { pack, wanted, path, beside, sink, buffer, seen, saved, lost: Vec::new() })
    }

    /// Takes a task, unless an earlier try has brought it.
    fn put(&mut self, outcome: &Outcome) {
        let task = outcome.accepted.task;
        if self.seen.insert(TaskRange::new(task, task.saturating_add(1))) == 0 {
            return;
        }
        self.pack.put(outcome, &mut self.buffer);
        match &outcome.accepted.result {
            Ok(result) if result.exit.is_success() => self.saved.done += 1,
            Ok(_) => self.saved.failed += 1,
            Err(_) => self.saved.given_up += 1,
        }
    }

    /// Writes what was collected.
    async fn write(&mut self) -> Result<(), ClientError> {
        let sink = self.sink.take().expect("it comes back with every write");
        let (mut sink, buffer, path) = (sink, std::mem::take(&mut self.buffer), self.path.clone());
        self.saved.bytes += buffer.len() as u64;
        let write = move || {
            let wrote = sink.write_all(&buffer).and_then(|()| sink.flush());
            wrote.map_err(ClientError::file("write", &path))?;
            Ok((sink, buffer))
        };
        let (sink, mut buffer) = blocking(write).await?;
        buffer.clear();
        // One large output does not keep its memory for ever.
        buffer.shrink_to(2 * PIECE_BYTES);
        (self.sink, self.buffer) = (Some(sink), buffer);
        Ok(())
    }

    /// One pass over the results.
    async fn pass(
        &mut self,
        client: &Client,
        job: JobId,
        progress: &mut (dyn FnMut(u32) + Send),
    ) -> Result<(), ClientError> {
        let mut results = client.results(job, true, self.wanted).await?;
        self.lost.clear();
        loop {
            match results.next().await {
                Ok(Some(outcome)) => self.put(&outcome),
                Ok(None) => return Ok(()),
                Err(ClientError::Lost { tasks, .. }) => self.lost.extend(tasks),
                Err(error) => return Err(error),
            }
            progress(self.seen.count());
            if self.buffer.len() >= PIECE_BYTES {
                self.write().await?;
            }
        }
    }

    /// Writes the rest and gives the file its name.
    async fn finish(mut self) -> Result<Saved, ClientError> {
        self.pack.end(&mut self.buffer);
        self.write().await?;
        drop(self.sink.take());
        if let Some(beside) = &self.beside {
            // Somebody may have made one meanwhile.
            check_results_file(&self.path)?;
            fs::rename(beside, &self.path).map_err(ClientError::file("create", &self.path))?;
            self.beside = None;
        }
        Ok(std::mem::take(&mut self.saved))
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // A part is of no use to anybody, and nobody is left to be told that it stays.
            let _ = fs::remove_file(beside);
        }
    }
}

/// The file beside its place.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// Whether results can go into a new file here: there is none yet, and its folder exists.
///
/// # Errors
/// [`ClientError::Folder`] says what is in the way.
pub fn check_results_file(path: &Path) -> Result<(), ClientError> {
    let refused = |why: &str| ClientError::Folder { folder: path.into(), why: why.into() };
    match fs::symlink_metadata(path) {
        Ok(_) => return Err(refused("is there already: choose another name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(&format!("cannot hold results: {error}"))),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if !folder.unwrap_or(Path::new(".")).is_dir() {
        return Err(refused("would be in a folder that does not exist: make it first"));
    }
    Ok(())
}

impl Client {
    /// Writes the `wanted` results accepted so far as one stream, and calls `progress` with their
    /// number. Tasks that were given up all at once when the job ended have no line and no entry.
    ///
    /// # Errors
    /// Those of [`crate::Results::next`], [`ClientError::Folder`] for a file that is there already,
    /// and [`ClientError::File`]; a file is not in its place then. [`ClientError::Lost`] comes
    /// after all others were written.
    pub async fn pack_results(
        &self,
        job: JobId,
        wanted: Wanted,
        pack: Pack,
        to: PackTo,
        mut progress: impl FnMut(u32) + Send,
    ) -> Result<Saved, ClientError> {
        let view = self.job(job).await?;
        let mut packer = Packer::open(pack, wanted, to)?;
        pack.begin(&view, &mut packer.buffer);
        let mut waits = RETRY_WAITS.into_iter();
        while let Err(error) = packer.pass(self, job, &mut progress).await {
            let passing =
                matches!(error, ClientError::Interrupted { .. } | ClientError::TimedOut { .. });
            let Some(wait) = waits.next().filter(|_| passing) else { return Err(error) };
            sleep(wait).await;
        }
        let lost = std::mem::take(&mut packer.lost);
        let mut saved = packer.finish().await?;
        if view.state.is_over() && wanted == Wanted::All {
            saved.given_up = saved.given_up.max(view.tasks.given_up);
        }
        if lost.is_empty() { Ok(saved) } else { Err(ClientError::Lost { job, tasks: lost }) }
    }
}
