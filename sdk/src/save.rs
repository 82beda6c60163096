//! Results in a folder: `DIR/7/stdout`, `DIR/7/stderr` if there is any, `DIR/7/out/...`, and a
//! line a task in `DIR/results.jsonl`.
//!
//! Safe to run again: a task is written beside its place and renamed into it, and the line that
//! says so comes after; what has its line is not written again. `DIR/job.json` says whose results
//! they are, so that two jobs do not mix.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use isos_base::api::JobView;
use isos_base::task::{Digest, Exit, Output};
use isos_base::{Fuel, Guid, HostId, JobId, TaskRange, TaskSet, Time};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::client::Client;
use crate::error::ClientError;
use crate::limits::RETRY_WAITS;
use crate::results::{Outcome, Wanted};

const JOB_FILE: &str = "job.json";
const SUMMARY_FILE: &str = "results.jsonl";

/// A line of `results.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultLine {
    /// Index of the task.
    pub task: u32,
    /// How the program ended; nothing for a task that was given up.
    pub exit: Option<Exit>,
    /// Why the task was given up.
    pub why: Option<String>,
    /// Fuel used.
    pub fuel: Fuel,
    /// The host whose result was accepted.
    pub host: Option<HostId>,
    /// What hosts were compared by.
    pub digest: Option<Digest>,
    /// The output object.
    pub output: Option<Guid>,
    /// Bytes of standard output.
    pub stdout_bytes: u64,
    /// Bytes of standard error.
    pub stderr_bytes: u64,
    /// Files under `out`.
    pub files: u32,
}

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Saved {
    /// The folder, or the file of a stream.
    pub folder: PathBuf,
    /// Tasks that ended with exit code 0.
    pub done: u32,
    /// Tasks whose program failed.
    pub failed: u32,
    /// Tasks that were given up.
    pub given_up: u32,
    /// Tasks that were there from an earlier run.
    pub kept: u32,
    /// Bytes written now.
    pub bytes: u64,
}

/// What makes a job this job, also when another complex counts from 1 again.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Identity {
    id: JobId,
    submitted: Time,
}

/// A folder of results.
#[derive(Debug)]
pub struct ResultsFolder {
    path: PathBuf,
    known: BTreeMap<u32, ResultLine>,
    /// Tasks given up of a job that is over, if all were wanted: those given up all at once have no
    /// line.
    given_up: u32,
    summary: fs::File,
}

impl ResultLine {
    /// The line of an outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let result = outcome.accepted.result.as_ref();
        let output = outcome.output.as_ref();
        Self {
            task: outcome.accepted.task,
            exit: result.ok().map(|result| result.exit),
            why: result.err().cloned(),
            fuel: result.map_or(Fuel(0), |result| result.fuel),
            host: outcome.accepted.host,
            digest: result.ok().map(isos_base::task::TaskResult::digest),
            output: result.ok().map(|result| result.output.guid()),
            stdout_bytes: output.map_or(0, |output| output.stdout.len() as u64),
            stderr_bytes: output.map_or(0, |output| output.stderr.len() as u64),
            files: output.map_or(0, |output| output.files.len() as u32),
        }
    }
}

/// Whether `folder` can take the results of a new job: it does not exist, or has nothing in it.
///
/// # Errors
/// [`ClientError::Folder`] says what is in the way.
pub fn check_results_folder(folder: &Path) -> Result<(), ClientError> {
    let refused = |why: String| ClientError::Folder { folder: folder.into(), why };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(format!("cannot hold results: {error}"))),
    };
    let mut first = None;
    for entry in entries {
        let entry = entry.map_err(ClientError::file("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == JOB_FILE || name == SUMMARY_FILE {
            return Err(refused("holds results of another job: choose another folder".into()));
        }
        first.get_or_insert(name);
    }
    match first {
        None => Ok(()),
        Some(name) => {
            Err(refused(format!("is not empty, it has {name:?}: choose a new or an empty folder")))
        }
    }
}

impl ResultsFolder {
    /// Opens or makes the folder for the `wanted` results of `job`. It may hold others of the same
    /// job already.
    ///
    /// # Errors
    /// [`ClientError::Folder`] when it holds those of another job, [`ClientError::File`].
    pub fn open(folder: &Path, job: &JobView, wanted: Wanted) -> Result<Self, ClientError> {
        fs::create_dir_all(folder).map_err(ClientError::file("create", folder))?;
        let path = folder.join(JOB_FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let there: Option<Identity> = serde_json::from_slice(&bytes).ok();
                if there != Some(Identity { id: job.id, submitted: job.submitted }) {
                    let whose = there.map_or("something else".into(), |there| {
                        format!("job {} of {}", there.id, there.submitted)
                    });
                    let why = format!("holds results of {whose}: choose another folder");
                    return Err(ClientError::Folder { folder: folder.into(), why });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_results_folder(folder)?;
            }
            Err(source) => return Err(ClientError::File { action: "read", path, source }),
        }
        let json = serde_json::to_vec_pretty(job).expect("a job is plain data");
        replace(&path, &json)?;
        let path = folder.join(SUMMARY_FILE);
        let known = known(&path)?;
        // Rewritten whole, so that a line cut off by a crash does not spoil the next one.
        replace(&path, &lines(&known))?;
        let summary = fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(ClientError::file("write", &path))?;
        let all = job.state.is_over() && wanted == Wanted::All;
        let given_up = if all { job.tasks.given_up } else { 0 };
        Ok(Self { path: folder.into(), known, given_up, summary })
    }

    /// Whether the very result of this line has been saved, and is there as it was. Blocks while it
    /// reads.
    #[must_use]
    pub fn has(&self, line: &ResultLine, outcome: &Outcome) -> bool {
        let place = self.path.join(line.task.to_string());
        let same = |known: &ResultLine| (known.digest, &known.why) == (line.digest, &line.why);
        self.known.get(&line.task).is_some_and(same)
            && holds(&place, outcome.output.as_ref().unwrap_or(&Output::default()))
    }

    /// Writes one task's result. Blocks while it writes.
    ///
    /// # Errors
    /// [`ClientError::File`]; nothing of the task is in its place then.
    pub fn save(&mut self, outcome: &Outcome) -> Result<ResultLine, ClientError> {
        let line = ResultLine::of(outcome);
        let place = self.path.join(line.task.to_string());
        let beside = self.path.join(format!(".{}.part", line.task));
        remove(&beside)?;
        fs::create_dir(&beside).map_err(ClientError::file("create", &beside))?;
        write_output(&beside, outcome.output.as_ref().unwrap_or(&Output::default()))?;
        remove(&place)?;
        fs::rename(&beside, &place).map_err(ClientError::file("create", &place))?;
        let mut text = serde_json::to_vec(&line).expect("a line is plain data");
        text.push(b'\n');
        let path = self.path.join(SUMMARY_FILE);
        self.summary.write_all(&text).map_err(ClientError::file("write", &path))?;
        self.known.insert(line.task, line.clone());
        Ok(line)
    }

    /// Puts the summary into the order of the tasks and says what there is.
    ///
    /// # Errors
    /// [`ClientError::File`].
    pub fn finish(&self) -> Result<Saved, ClientError> {
        replace(&self.path.join(SUMMARY_FILE), &lines(&self.known))?;
        let mut saved = Saved { folder: self.path.clone(), ..Saved::default() };
        for line in self.known.values() {
            match line.exit {
                Some(exit) if exit.is_success() => saved.done += 1,
                Some(_) => saved.failed += 1,
                None => saved.given_up += 1,
            }
        }
        saved.given_up = saved.given_up.max(self.given_up);
        Ok(saved)
    }
}

impl Client {
    /// Saves the `wanted` results accepted so far under `folder` and calls `progress` with their
    /// number. Begins again, and writes only what is missing, when the connection breaks.
    ///
    /// # Errors
    /// Those of [`ResultsFolder`] and of [`crate::Results::next`]. What was saved stays, and the
    /// next call goes on from there. [`ClientError::Lost`] comes after all others were saved.
    pub async fn save_results(
        &self,
        job: JobId,
        wanted: Wanted,
        folder: &Path,
        mut progress: impl FnMut(u32) + Send,
    ) -> Result<Saved, ClientError> {
        let view = self.job(job).await?;
        let path = folder.to_owned();
        let folder = blocking(move || ResultsFolder::open(&path, &view, wanted)).await?;
        let (mut seen, mut written, mut bytes) = (TaskSet::new(), 0, 0);
        let folder = Arc::new(Mutex::new(folder));
        let mut waits = RETRY_WAITS.into_iter();
        let lost = loop {
            let mut note = |line: &ResultLine, new: bool| {
                if new {
                    written += 1;
                    bytes += line.stdout_bytes + line.stderr_bytes;
                }
                seen.insert(TaskRange::new(line.task, line.task.saturating_add(1)));
                progress(seen.count());
            };
            let error = match self.save_stream(job, wanted, &folder, &mut note).await {
                Ok(lost) => break lost,
                Err(error) => error,
            };
            let passing =
                matches!(error, ClientError::Interrupted { .. } | ClientError::TimedOut { .. });
            let Some(wait) = waits.next().filter(|_| passing) else { return Err(error) };
            sleep(wait).await;
        };
        let saved = blocking(move || lock(&folder).finish()).await?;
        if !lost.is_empty() {
            return Err(ClientError::Lost { job, tasks: lost });
        }
        Ok(Saved { kept: seen.count() - written, bytes, ..saved })
    }

    /// One pass over them. Gives the tasks whose outputs are lost.
    async fn save_stream(
        &self,
        job: JobId,
        wanted: Wanted,
        folder: &Arc<Mutex<ResultsFolder>>,
        note: &mut (dyn FnMut(&ResultLine, bool) + Send),
    ) -> Result<Vec<u32>, ClientError> {
        let mut results = self.results(job, true, wanted).await?;
        let mut lost = Vec::new();
        loop {
            let outcome = match results.next().await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => break,
                Err(ClientError::Lost { tasks, .. }) => {
                    lost.extend(tasks);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let folder = folder.clone();
            let work = move || {
                let mut folder = lock(&folder);
                let line = ResultLine::of(&outcome);
                if folder.has(&line, &outcome) {
                    Ok((line, false))
                } else {
                    Ok((folder.save(&outcome)?, true))
                }
            };
            let (line, new) = blocking(work).await?;
            note(&line, new);
        }
        Ok(lost)
    }
}

/// A panic while it is locked is passed on by whoever waits for it.
fn lock(folder: &Mutex<ResultsFolder>) -> MutexGuard<'_, ResultsFolder> {
    folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
) -> Result<T, ClientError> {
    tokio::task::spawn_blocking(work).await.expect("file work does not panic")
}

fn write_output(folder: &Path, output: &Output) -> Result<(), ClientError> {
    let write = |path: &Path, content: &[u8]| {
        fs::write(path, content).map_err(ClientError::file("write", path))
    };
    write(&folder.join("stdout"), &output.stdout)?;
    if !output.stderr.is_empty() {
        write(&folder.join("stderr"), &output.stderr)?;
    }
    for file in &output.files {
        // The path is plain: `Output::decode` has checked it.
        let path = folder.join("out").join(&file.path);
        let parent = path.parent().expect("a path under out has a parent");
        fs::create_dir_all(parent).map_err(ClientError::file("create", parent))?;
        write(&path, &file.content)?;
    }
    Ok(())
}

/// Whether all of an output lies in a folder, byte by byte. What else is there is left alone.
fn holds(folder: &Path, output: &Output) -> bool {
    let same = |path: &Path, content: &[u8]| {
        let len = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
        len.is_some_and(|it| it.len() == content.len() as u64)
            && fs::read(path).is_ok_and(|there| there == content)
    };
    let err = folder.join("stderr");
    let files = || output.files.iter().map(|file| (folder.join("out").join(&file.path), file));
    same(&folder.join("stdout"), &output.stdout)
        && (if output.stderr.is_empty() { !err.exists() } else { same(&err, &output.stderr) })
        && files().all(|(path, file)| same(&path, &file.content))
}

/// The lines that are whole, by task; the last one of a task counts.
fn known(path: &Path) -> Result<BTreeMap<u32, ResultLine>, ClientError> {
    let text = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(ClientError::File { action: "read", path: path.into(), source }),
    };
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice::<ResultLine>(line).ok());
    Ok(lines.map(|line| (line.task, line)).collect())
}

fn lines(known: &BTreeMap<u32, ResultLine>) -> Vec<u8> {
    let mut text = Vec::new();
    for line in known.values() {
        serde_json::to_writer(&mut text, line).expect("a line is plain data");
        text.push(b'\n');
    }
    text
}

fn replace(path: &Path, content: &[u8]) -> Result<(), ClientError> {
    let beside = path.with_extension("part");
    fs::write(&beside, content).map_err(ClientError::file("write", &beside))?;
    fs::rename(&beside, path).map_err(ClientError::file("write", path))
}

fn remove(path: &Path) -> Result<(), ClientError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ClientError::File { action: "remove", path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}
