//! From files and options here to a job there: hash, name, upload, submit.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use isos_base::api::{JobView, SubmitRequest};
use isos_base::codec;
use isos_base::job::{FileList, JobError, JobSpec, Mount, SharedPaths, Verify};
use isos_base::limits::{FILE_LIST_BYTES_MAX, NAME_CHARS_MAX, OBJECT_BYTES_MAX, PROGRAM_BYTES_MAX};
use isos_base::price::Price;
use isos_base::{Bytes, Fuel, Guid, MicroCredits, Span, TaskRange};
use thiserror::Error;

use crate::client::Client;
use crate::error::ClientError;
use crate::inputs::{Input, Placed, expand};
use crate::objects::{Object, UploadProgress};

/// How many tasks there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tasks {
    /// So many.
    Count(u32),
    /// One for each file that this pattern matches, in the order of the paths.
    Each(String),
}

/// A job as a person asks for it. What is `None` gets the default of [`JobSpec::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The program's file.
    pub program: PathBuf,
    /// A name for people; without it, the program's.
    pub name: Option<String>,
    /// Arguments; `{task}`, `{tasks}` and `{file}` are replaced on the hosts.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// How many tasks there are.
    pub tasks: Tasks,
    /// Files that every task sees.
    pub inputs: Vec<Input>,
    /// Memory of one task.
    pub memory: Option<Bytes>,
    /// Fuel of one task.
    pub fuel: Option<Fuel>,
    /// Wall time of one task.
    pub timeout: Option<Span>,
    /// Output of one task.
    pub output_max: Option<Bytes>,
    /// Where the job may run, in CEL.
    pub constraint: Option<String>,
    /// How results are made sure of.
    pub verify: Option<Verify>,
    /// Executions of a task that may fail through no fault of the program.
    pub attempts_max: Option<u8>,
    /// The most that the job may cost.
    pub price_max: Option<MicroCredits>,
    /// The most that it pays for a gigafuel.
    pub bid: Option<Price>,
    /// Tasks whose lives are traced, in order and apart; the first one if empty. A range may end
    /// behind the last task.
    pub trace: Vec<TaskRange>,
    /// The slice on which it runs, a task on each host.
    pub slice: Option<String>,
}

/// A job ready to go: what to ask for, and the objects it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What to ask for.
    pub spec: JobSpec,
    /// Program, inputs, and the list of files of an `each` job; none twice.
    pub objects: Vec<Object>,
    /// The most that it pays for a gigafuel; without it, what the complex reckons with.
    pub bid: Option<Price>,
}

/// Why a job cannot be asked for as written. Nothing was sent.
#[derive(Debug, Error)]
pub enum SubmissionError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be an input.
    #[error("input {} {why}", path.display())]
    Input {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The pattern of an `each` job.
    #[error("--each {pattern:?} {why}")]
    Each {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// What was given as a program is none.
    #[error("{} is no WebAssembly program: {why}", path.display())]
    Program {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A field is out of its range.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A file cannot be hashed.
    #[error(transparent)]
    Hash(#[from] ClientError),
}

impl SubmissionError {
    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => 4,
            Self::Read { .. } => 1,
            Self::Hash(error) => error.exit_code(),
            Self::Input { .. } | Self::Each { .. } | Self::Program { .. } | Self::Job(_) => 2,
        }
    }
}

impl Submission {
    /// One task of a program with every default.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            name: None,
            args: Vec::new(),
            env: Vec::new(),
            tasks: Tasks::Count(1),
            inputs: Vec::new(),
            memory: None,
            fuel: None,
            timeout: None,
            output_max: None,
            constraint: None,
            verify: None,
            attempts_max: None,
            price_max: None,
            bid: None,
            trace: Vec::new(),
            slice: None,
        }
    }

    /// Reads, hashes and places every file and checks what can be checked here. Blocks while it
    /// reads, so it belongs on a thread of its own.
    ///
    /// # Errors
    /// [`SubmissionError`]; nothing is sent in any case.
    pub fn prepare(&self) -> Result<Prepared, SubmissionError> {
        let mut objects = Objects::default();
        check_program(&self.program)?;
        let program = objects.file(&self.program)?;
        let mut placed = Vec::new();
        for input in &self.inputs {
            placed.extend(input.place()?);
        }
        let inputs = objects.mounts(placed)?;
        let (count, each) = match &self.tasks {
            Tasks::Count(count) => (*count, None),
            Tasks::Each(pattern) => {
                let files = objects.mounts(expand(pattern)?)?;
                check_apart(pattern, &inputs, &files)?;
                let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
                let list = codec::encode(&FileList { files });
                check_list(pattern, list.len())?;
                (count, Some(objects.bytes(list)))
            }
        };
        let defaults = JobSpec::new(program.guid, program.size, count);
        let spec = JobSpec {
            name: self.name.clone().unwrap_or_else(|| program_name(&self.program)),
            args: self.args.clone(),
            env: self.env.clone(),
            inputs,
            each,
            memory: self.memory.unwrap_or(defaults.memory),
            fuel: self.fuel.unwrap_or(defaults.fuel),
            timeout: self.timeout.unwrap_or(defaults.timeout),
            output_max: self.output_max.unwrap_or(defaults.output_max),
            constraint: self.constraint.clone(),
            verify: self.verify.unwrap_or(defaults.verify),
            attempts_max: self.attempts_max.unwrap_or(defaults.attempts_max),
            price_max: self.price_max,
            slice: self.slice.clone(),
            trace: self.trace.iter().map(|it| it.intersect(&TaskRange::new(0, count))).collect(),
            ..defaults
        };
        spec.check()?;
        let objects = objects.by_guid.into_values().collect();
        Ok(Prepared { spec, objects, bid: self.bid })
    }
}

impl Prepared {
    /// Uploads what is missing and submits. With the same `key` it gives the same job, however
    /// often it is called.
    ///
    /// # Errors
    /// [`ClientError`]; what was uploaded before stays.
    pub async fn submit(
        &self,
        client: &Client,
        key: Option<String>,
        progress: impl FnMut(UploadProgress),
    ) -> Result<JobView, ClientError> {
        client.upload_all(&self.objects, progress).await?;
        let request = SubmitRequest { spec: self.spec.clone(), key, bid: self.bid };
        client.submit(&request).await
    }
}

/// Objects to upload, none twice.
#[derive(Debug, Default)]
struct Objects {
    by_guid: BTreeMap<Guid, Object>,
    /// Files that were hashed before, such as one input under two paths.
    by_path: BTreeMap<PathBuf, Guid>,
}

impl Objects {
    fn file(&mut self, path: &Path) -> Result<Object, SubmissionError> {
        if let Some(guid) = self.by_path.get(path) {
            return Ok(self.by_guid[guid].clone());
        }
        let object = Object::of_file(path).map_err(|error| match error {
            ClientError::File { path, source, .. } => SubmissionError::Read { path, source },
            other => other.into(),
        })?;
        if object.size > OBJECT_BYTES_MAX {
            let why = format!("has {}, the limit is {OBJECT_BYTES_MAX}", object.size);
            return Err(SubmissionError::Input { path: path.into(), why });
        }
        self.by_path.insert(path.into(), object.guid);
        self.by_guid.insert(object.guid, object.clone());
        Ok(object)
    }

    fn bytes(&mut self, bytes: Vec<u8>) -> Guid {
        let object = Object::of_bytes(bytes);
        let guid = object.guid;
        self.by_guid.insert(guid, object);
        guid
    }

    fn mounts(&mut self, placed: Vec<Placed>) -> Result<Vec<Mount>, SubmissionError> {
        let mount = |file: Placed| {
            let object = self.file(&file.host)?;
            Ok(Mount { path: file.guest, guid: object.guid, size: object.size })
        };
        placed.into_iter().map(mount).collect()
    }
}

/// A task's own file must not hide a shared one.
fn check_apart(pattern: &str, shared: &[Mount], each: &[Mount]) -> Result<(), SubmissionError> {
    let shared = SharedPaths::of(shared);
    let apart = each.iter().try_for_each(|mount| shared.check_apart(&mount.path));
    apart.map_err(|error| SubmissionError::Each {
        pattern: pattern.into(),
        why: format!("and --input do not fit together: {error}"),
    })
}

/// A list of files must fit where it is read.
fn check_list(pattern: &str, bytes: usize) -> Result<(), SubmissionError> {
    let size = Bytes(bytes as u64);
    if size <= FILE_LIST_BYTES_MAX {
        return Ok(());
    }
    let why = format!("makes a list of {size}, the limit is {FILE_LIST_BYTES_MAX}: split it");
    Err(SubmissionError::Each { pattern: pattern.into(), why })
}

/// Looks at the first bytes, so that a wrong file is found here and not on a host.
fn check_program(path: &Path) -> Result<(), SubmissionError> {
    use std::io::Read;

    let read = |source| SubmissionError::Read { path: path.to_owned(), source };
    let bad = |why: String| SubmissionError::Program { path: path.to_owned(), why };
    // Looked at before it is opened: opening a pipe waits for somebody to write to it.
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return Err(bad("it is no file".into()));
    }
    let file = std::fs::File::open(path).map_err(read)?;
    let size = Bytes(metadata.len());
    if size > PROGRAM_BYTES_MAX {
        return Err(bad(format!("it has {size}, the limit is {PROGRAM_BYTES_MAX}")));
    }
    let mut head = Vec::new();
    file.take(4).read_to_end(&mut head).map_err(read)?;
    match head.as_slice() {
        b"\0asm" => Ok(()),
        b"\x7fELF" => Err(bad("it is a native Linux program; build it for wasm32-wasip1".into())),
        [b'#', b'!', ..] => {
            Err(bad("it is a script; submit its interpreter and the script".into()))
        }
        [] => Err(bad("it is empty".into())),
        _ => Err(bad("it does not begin with \\0asm".into())),
    }
}

/// The file's name without `.wasm`, cut to what a name may have.
fn program_name(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_default().chars().take(NAME_CHARS_MAX).collect()
}
