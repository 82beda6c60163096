//! What a buyer asks for: a program, its inputs, how many tasks, under which conditions.

mod verify;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::guid::Guid;
use crate::limits;
use crate::ranges::TaskRange;
use crate::slice::{SLICE_HOSTS_MAX, SLICE_NAME, is_slice_name};
use crate::time::Span;
use crate::units::{Bytes, Fuel, MicroCredits};

pub use verify::Verify;

/// An input file as the program sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mount {
    /// Path under `/in`, relative, `/`-separated: `library.fasta`, `genes/x.fa`. A program that
    /// looks for `/genes/x.fa` finds it there too.
    pub path: String,
    /// The content.
    pub guid: Guid,
    /// Its length.
    pub size: Bytes,
}

/// A job as submitted. Sent once to each host that works on it, whatever the number of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// For people; not unique.
    pub name: String,
    /// The WebAssembly program.
    pub program: Guid,
    /// Length of the program.
    pub program_size: Bytes,
    /// Arguments after the program's name; `{task}`, `{tasks}` and `{file}` are replaced.
    pub args: Vec<String>,
    /// Environment, besides `ISOS_TASK` and `ISOS_TASKS`, and on a slice `ISOS_RANK` and
    /// `ISOS_SIZE`.
    pub env: Vec<(String, String)>,
    /// Number of tasks, at least 1.
    pub count: u32,
    /// Only these of the `count` tasks, in order and apart, as when some are run again; all of
    /// them if empty. They keep their indices.
    #[serde(default)]
    pub tasks: Vec<TaskRange>,
    /// The tasks whose lives are traced, in order and apart, at most
    /// [`limits::JOB_TRACED_MAX`]; the first one if empty.
    #[serde(default)]
    pub trace: Vec<TaskRange>,
    /// Files that every task sees.
    pub inputs: Vec<Mount>,
    /// One file for each task: the GUID of a [`FileList`] with `count` entries.
    pub each: Option<Guid>,
    /// Memory of one task.
    pub memory: Bytes,
    /// Fuel of one task.
    pub fuel: Fuel,
    /// Wall time of one task, while it is not suspended.
    pub timeout: Span,
    /// Output of one task.
    pub output_max: Bytes,
    /// CEL over `host`, true where the job may run.
    pub constraint: Option<String>,
    /// How results are made sure of.
    pub verify: Verify,
    /// Executions of a task that may fail through no fault of the program before it is given up.
    pub attempts_max: u8,
    /// The most that the whole job may cost; without it, what the limits above add up to.
    pub price_max: Option<MicroCredits>,
    /// The name of a slice of the account: task n runs on its host of rank n and on no other, so
    /// that there are as many tasks as hosts, and each host's own answer is taken.
    #[serde(default)]
    pub slice: Option<String>,
}

/// The files of an `--each` job, in task order: an object of its own, fetched by hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileList {
    /// One file a task.
    pub files: Vec<Mount>,
}

/// Why a job cannot be accepted as written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JobError {
    /// The verification rule is not one.
    #[error(
        "{text:?} is no verification rule: use credibility=RATE, trusted, quorum=M/N with \
         2 <= M <= N <= {}, or checkpoint=K with K from 1 to {}",
        limits::QUORUM_VOTERS_MAX,
        limits::STRETCHES_CHECKED_MAX
    )]
    Verify {
        /// What was given.
        text: String,
    },
    /// The accepted error rate cannot be promised.
    #[error("{text:?} is no error rate: use a number from 1e-6 to 0.1")]
    ErrorRate {
        /// What was given.
        text: String,
    },
    /// A number is out of range.
    #[error("{field} is {value}, but must be {wanted}")]
    Range {
        /// The field of [`JobSpec`].
        field: &'static str,
        /// What was given.
        value: String,
        /// The range, with its unit.
        wanted: String,
    },
    /// A variable that each task gets from isos itself.
    #[error("isos sets {name} for each task: give the variable another name")]
    Reserved {
        /// Its name.
        name: String,
    },
    /// A task's file is named where no task has one.
    #[error("{{file}} in the arguments stands for a task's own file: give the files with --each")]
    NoFile,
    /// A path that is not relative and plain.
    #[error("input path {path:?} must be relative, without '..' or empty parts")]
    Path {
        /// The offending path.
        path: String,
    },
    /// Two inputs under one path.
    #[error("two inputs would both be /in/{path}")]
    PathTwice {
        /// The path.
        path: String,
    },
    /// An input below another one, which is a file.
    #[error("/in/{path} cannot be a file and a folder")]
    PathThroughFile {
        /// The path of the file.
        path: String,
    },
}

/// Variables that tell each task its number and how many there are, and on a slice its host's rank
/// and how many hosts there are.
pub const RESERVED: [&str; 4] = ["ISOS_TASK", "ISOS_TASKS", "ISOS_RANK", "ISOS_SIZE"];

/// Whether `path` is relative, plain and cannot leave the folder it is put under.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1_024
        && !path.contains(['\0', '\\'])
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// The paths under `/in` of a job's shared inputs.
#[derive(Debug, Default)]
pub struct SharedPaths<'a> {
    files: BTreeSet<&'a str>,
    folders: BTreeSet<&'a str>,
}

impl<'a> SharedPaths<'a> {
    /// The paths of inputs that have been checked.
    #[must_use]
    pub fn of(mounts: &'a [Mount]) -> Self {
        let mut shared = Self::default();
        mounts.iter().for_each(|mount| shared.insert(&mount.path));
        shared
    }

    fn insert(&mut self, path: &'a str) {
        self.files.insert(path);
        self.folders.extend(folders_of(path));
    }

    /// Whether another file at `path` would be apart from all of them: a task's own file may be
    /// where those of other tasks are, but not where a shared one is.
    ///
    /// # Errors
    /// [`JobError::PathTwice`] for the path of a shared input, and [`JobError::PathThroughFile`]
    /// for one below it or above it.
    pub fn check_apart(&self, path: &str) -> Result<(), JobError> {
        if self.files.contains(path) {
            return Err(JobError::PathTwice { path: path.into() });
        }
        let file = folders_of(path).find(|folder| self.files.contains(folder));
        match file.or_else(|| self.folders.get(path).copied()) {
            None => Ok(()),
            Some(both) => Err(JobError::PathThroughFile { path: both.into() }),
        }
    }
}

/// The folders above a plain path, relative as it is.
fn folders_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

impl JobSpec {
    /// A job of `count` tasks of `program` with every default.
    #[must_use]
    pub fn new(program: Guid, program_size: Bytes, count: u32) -> Self {
        Self {
            name: String::new(),
            program,
            program_size,
            args: Vec::new(),
            env: Vec::new(),
            count,
            tasks: Vec::new(),
            trace: Vec::new(),
            inputs: Vec::new(),
            each: None,
            memory: limits::TASK_MEMORY_DEFAULT,
            fuel: limits::TASK_FUEL_DEFAULT,
            timeout: limits::TASK_TIMEOUT_DEFAULT,
            output_max: limits::OUTPUT_BYTES_DEFAULT,
            constraint: None,
            verify: Verify::default(),
            attempts_max: 5,
            price_max: None,
            slice: None,
        }
    }

    /// Checks everything that can be checked without knowing any host.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), JobError> {
        let range = |ok: bool, field, value: &dyn ToString, wanted: String| {
            if ok {
                Ok(())
            } else {
                Err(JobError::Range { field, value: value.to_string(), wanted })
            }
        };
        let upto = |max: &dyn std::fmt::Display| format!("from 1 to {max}");
        let tasks_max = limits::JOB_TASKS_MAX;
        range((1..=tasks_max).contains(&self.count), "count", &self.count, upto(&tasks_max))?;
        self.check_tasks()?;
        self.check_trace()?;
        range(
            self.name.chars().count() <= limits::NAME_CHARS_MAX,
            "name",
            &self.name,
            format!("at most {} characters", limits::NAME_CHARS_MAX),
        )?;
        let program_max = limits::PROGRAM_BYTES_MAX;
        range(
            (1..=program_max.0).contains(&self.program_size.0),
            "program size",
            &self.program_size,
            upto(&program_max),
        )?;
        let memory_max = limits::TASK_MEMORY_MAX;
        range(
            (Bytes::mib(1)..=memory_max).contains(&self.memory),
            "memory",
            &self.memory,
            format!("from 1 MiB to {memory_max}"),
        )?;
        range(
            (1..=1_000_000_000_000_000).contains(&self.fuel.0),
            "fuel",
            &self.fuel,
            "from 1 to 1000T".into(),
        )?;
        let timeout_max = limits::TASK_TIMEOUT_MAX;
        range(
            (Span::millis(10)..=timeout_max).contains(&self.timeout),
            "timeout",
            &self.timeout,
            format!("from 10ms to {timeout_max}"),
        )?;
        let output_max = limits::OUTPUT_BYTES_MAX;
        range(
            (1..=output_max.0).contains(&self.output_max.0),
            "output limit",
            &self.output_max,
            upto(&output_max),
        )?;
        range((1..=100).contains(&self.attempts_max), "attempts", &self.attempts_max, upto(&100))?;
        range(
            self.price_max.is_none_or(|price| price.0 >= 0),
            "max-price",
            &self.price_max.unwrap_or_default(),
            "0 or more".into(),
        )?;
        let text = self.args.iter().map(String::len).sum::<usize>()
            + self.env.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
        range(
            text <= limits::JOB_TEXT_BYTES_MAX,
            "arguments and environment",
            &format!("{text} bytes"),
            format!("at most {} bytes", limits::JOB_TEXT_BYTES_MAX),
        )?;
        let clean = |text: &str| !text.contains('\0');
        range(
            self.args.iter().all(|arg| clean(arg))
                && self
                    .env
                    .iter()
                    .all(|(k, v)| !k.is_empty() && !k.contains('=') && clean(k) && clean(v)),
            "arguments and environment",
            &"text with a NUL byte, or a variable without a name",
            "plain text".into(),
        )?;
        if let Some((name, _)) = self.env.iter().find(|(name, _)| RESERVED.contains(&&**name)) {
            return Err(JobError::Reserved { name: name.clone() });
        }
        if self.each.is_none() && self.args.iter().any(|arg| arg.contains("{file}")) {
            return Err(JobError::NoFile);
        }
        let constraint_chars = self.constraint.as_ref().map_or(0, |text| text.chars().count());
        range(
            constraint_chars <= limits::CONSTRAINT_CHARS_MAX,
            "constraint",
            &format!("{constraint_chars} characters long"),
            format!("at most {} characters", limits::CONSTRAINT_CHARS_MAX),
        )?;
        range(
            self.inputs.len() <= limits::JOB_INPUTS_MAX,
            "inputs",
            &self.inputs.len(),
            format!("at most {}", limits::JOB_INPUTS_MAX),
        )?;
        self.verify.check()?;
        self.check_slice()?;
        self.check_paths()
    }

    fn check_slice(&self) -> Result<(), JobError> {
        let Some(name) = &self.slice else { return Ok(()) };
        let wrong =
            |field, value: String, wanted: String| Err(JobError::Range { field, value, wanted });
        if !is_slice_name(name) {
            return wrong("slice", format!("{name:?}"), SLICE_NAME.into());
        }
        if self.count as usize > SLICE_HOSTS_MAX {
            let wanted = format!("at most {SLICE_HOSTS_MAX} on a slice, a task for each host");
            return wrong("count", self.count.to_string(), wanted);
        }
        if self.verify != Verify::Trusted {
            let wanted = "trusted on a slice, where each host's own answer is wanted";
            return wrong("verify", self.verify.to_string(), wanted.into());
        }
        Ok(())
    }

    fn check_tasks(&self) -> Result<(), JobError> {
        if self.tasks.len() > limits::JOB_RANGES_MAX {
            return Err(JobError::Range {
                field: "tasks",
                value: format!("{} ranges", self.tasks.len()),
                wanted: format!(
                    "at most {} ranges: make several jobs, each of a part of the tasks",
                    limits::JOB_RANGES_MAX
                ),
            });
        }
        self.check_ranges("tasks", &self.tasks)
    }

    fn check_trace(&self) -> Result<(), JobError> {
        self.check_ranges("trace", &self.trace)?;
        let traced = self.trace.iter().map(TaskRange::len).fold(0, u32::saturating_add);
        if traced > limits::JOB_TRACED_MAX {
            return Err(JobError::Range {
                field: "trace",
                value: format!("{traced} tasks"),
                wanted: format!("at most {}", limits::JOB_TRACED_MAX),
            });
        }
        let mut tasks = self.trace.iter().copied().flat_map(TaskRange::tasks);
        match tasks.find(|task| !self.has_task(*task)) {
            None => Ok(()),
            Some(task) => Err(JobError::Range {
                field: "trace",
                value: task.to_string(),
                wanted: "a task that the job has".into(),
            }),
        }
    }

    fn check_ranges(&self, field: &'static str, ranges: &[TaskRange]) -> Result<(), JobError> {
        let mut free = 0;
        for range in ranges {
            if range.is_empty() || range.start < free || range.end > self.count {
                return Err(JobError::Range {
                    field,
                    value: format!("{}..{}", range.start, range.end),
                    wanted: format!(
                        "ranges in order and apart, with an end of at most {}",
                        self.count
                    ),
                });
            }
            free = range.end;
        }
        Ok(())
    }

    /// The tasks whose lives are traced, as ranges in order.
    pub fn traced(&self) -> impl Iterator<Item = TaskRange> + '_ {
        let first = self.trace.is_empty().then(|| self.ranges().next()).flatten();
        let first = first.map(|range| TaskRange::new(range.start, range.start + 1));
        self.trace.iter().copied().chain(first)
    }

    /// Whether a task's life is traced.
    #[must_use]
    pub fn is_traced(&self, task: u32) -> bool {
        self.traced().any(|range| range.tasks().contains(&task))
    }

    /// The tasks that are to run, as ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = TaskRange> + '_ {
        let all = self.tasks.is_empty().then(|| TaskRange::new(0, self.count));
        self.tasks.iter().copied().chain(all)
    }

    /// How many are to run.
    #[must_use]
    pub fn task_count(&self) -> u32 {
        self.ranges().map(|range| range.len()).sum()
    }

    /// Whether a task is to run.
    #[must_use]
    pub fn has_task(&self, task: u32) -> bool {
        if self.tasks.is_empty() {
            return task < self.count;
        }
        let behind = self.tasks.partition_point(|range| range.start <= task);
        behind > 0 && task < self.tasks[behind - 1].end
    }

    fn check_paths(&self) -> Result<(), JobError> {
        let mut seen = SharedPaths::default();
        for mount in &self.inputs {
            if !is_plain_path(&mount.path) {
                return Err(JobError::Path { path: mount.path.clone() });
            }
            seen.check_apart(&mount.path)?;
            seen.insert(&mount.path);
            if mount.size > limits::OBJECT_BYTES_MAX {
                return Err(JobError::Range {
                    field: "input size",
                    value: format!("{} ({})", mount.size, mount.path),
                    wanted: format!("at most {}", limits::OBJECT_BYTES_MAX),
                });
            }
        }
        Ok(())
    }

    /// The arguments of one task: `{task}`, `{tasks}` and `{file}` replaced.
    #[must_use]
    pub fn args_of(&self, task: u32, file: Option<&str>) -> Vec<String> {
        let fill = |arg: &String| {
            if !arg.contains('{') {
                return arg.clone();
            }
            arg.replace("{task}", &task.to_string())
                .replace("{tasks}", &self.count.to_string())
                .replace("{file}", &file.map(|path| format!("/in/{path}")).unwrap_or_default())
        };
        self.args.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests;
