//! What a job is asked for with: the same fields as flags and in a job file (TOML).
//!
//! Flags override the file; `env` is merged by name and `input` adds to the file's.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use isos_base::job::{RESERVED, Verify};
use isos_base::price::Price;
use isos_base::{Bytes, Fuel, MicroCredits, Span, TaskRange};
use isos_sdk::{Input, Submission, Tasks};
use serde::{Deserialize, Deserializer};

use crate::commands::job::results::Format;
use crate::exit::Refusal;
use crate::selector::TaskPart;
use crate::text;

/// Bytes of a job file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The fields.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobOptions {
    /// The program: a WebAssembly file (WASI)
    #[arg(value_name = "PROGRAM.wasm", required_unless_present = "file")]
    pub(crate) program: Option<PathBuf>,
    /// A name for people [default: the program's]
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// How many tasks; each knows its number by {task} in ARGS and ISOS_TASK [default: 1]
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "each")]
    pub(crate) count: Option<u32>,
    /// A task for each matching file, put under /in and named by {file} in ARGS; quote it
    #[arg(long, value_name = "GLOB")]
    pub(crate) each: Option<String>,
    /// A file or folder that every task sees under /in, or where :PATH says
    #[arg(long, value_name = "PATH[:PATH]")]
    pub(crate) input: Vec<String>,
    /// A variable of the program's environment
    #[arg(long, value_name = "K=V", value_parser = variable)]
    #[serde(deserialize_with = "table")]
    pub(crate) env: Vec<(String, String)>,
    /// Memory of one task, such as 512MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(deserialize_with = "text_or_number")]
    pub(crate) memory: Option<Bytes>,
    /// Work that one task may do, about one per instruction, such as 20G [default: 100G]
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text_or_number")]
    pub(crate) fuel: Option<Fuel>,
    /// Time that one task may take, such as 90s or 1h [default: 10m]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text_or_number")]
    pub(crate) timeout: Option<Span>,
    /// Output of one task: stdout, stderr and /out together [default: 16MiB]
    #[arg(long, value_name = "SIZE")]
    #[serde(deserialize_with = "text_or_number")]
    pub(crate) output: Option<Bytes>,
    /// Where it may run, as CEL: 'host.cpus >= 4 && host.country == "FI"'
    #[arg(long, value_name = "CEL")]
    pub(crate) r#where: Option<String>,
    /// How results are made sure of: trusted, quorum=M/N, checkpoint=K, or credibility=RATE
    /// [default: credibility=1e-2]
    #[arg(long, value_name = "RULE", conflicts_with = "error")]
    #[serde(deserialize_with = "text_or_number")]
    pub(crate) verify: Option<Verify>,
    /// Wrong results among accepted ones, at the most, such as 1e-4: short for --verify
    /// credibility=RATE
    #[arg(long, value_name = "RATE", value_parser = Verify::with_error)]
    #[serde(deserialize_with = "error_rate")]
    pub(crate) error: Option<Verify>,
    /// Give a task up once it failed on so many hosts; so often, where there are fewer [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<u8>,
    /// The most that the whole job may cost
    #[arg(long, value_name = "CREDITS")]
    #[serde(alias = "max-price", deserialize_with = "text_or_number")]
    pub(crate) max_price: Option<MicroCredits>,
    /// The most that it pays for a gigafuel, in micro-credits, where a market makes the price
    /// [default: twice the price of now]
    #[arg(long, value_name = "N")]
    pub(crate) bid: Option<u32>,
    /// Trace these tasks, as in 0..4,17 (see `isos job trace`); at most 64 [default: the first]
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    pub(crate) trace: Vec<TaskPart>,
    /// Wait, and bring the results into this new folder, or file: see --format
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// Results as a folder (dir), a line of JSON a task (jsonl), or one tar file [default: dir]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Arguments of the program; {task}, {tasks} and {file} are replaced
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

impl JobOptions {
    /// Reads a job file; paths in it are relative to its folder.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = text::read("the job file", path, FILE_BYTES_MAX)?;
        let bad = |why: String| Refusal::usage(format!("job file {}: {why}", path.display()));
        let mut options = Self::parse(&text).map_err(bad)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for place in [&mut options.program, &mut options.results].into_iter().flatten() {
            *place = folder.join(&*place);
        }
        if let Some(each) = &mut options.each {
            *each = below(folder, each);
        }
        for input in &mut options.input {
            *input = below(folder, input);
        }
        Ok(options)
    }

    /// The pure part of [`JobOptions::read`].
    fn parse(text: &str) -> Result<Self, String> {
        let options: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if options.count.is_some() && options.each.is_some() {
            return Err("count and each exclude each other".into());
        }
        if options.verify.is_some() && options.error.is_some() {
            return Err("verify and error exclude each other".into());
        }
        Ok(options)
    }

    /// These options where they say something, those of the file elsewhere.
    pub(crate) fn over(self, file: Self) -> Self {
        let (count, each) = match (self.count, self.each) {
            (None, None) => (file.count, file.each),
            given => given,
        };
        let (verify, error) = match (self.verify, self.error) {
            (None, None) => (file.verify, file.error),
            given => given,
        };
        let mut input = file.input;
        input.extend(self.input);
        let mut env = file.env;
        env.retain(|(name, _)| self.env.iter().all(|(given, _)| given != name));
        env.extend(self.env);
        Self {
            program: self.program.or(file.program),
            name: self.name.or(file.name),
            count,
            each,
            input,
            env,
            memory: self.memory.or(file.memory),
            fuel: self.fuel.or(file.fuel),
            timeout: self.timeout.or(file.timeout),
            output: self.output.or(file.output),
            r#where: self.r#where.or(file.r#where),
            verify,
            error,
            attempts: self.attempts.or(file.attempts),
            max_price: self.max_price.or(file.max_price),
            bid: self.bid.or(file.bid),
            // A format belongs to its place.
            format: if self.results.is_some() { self.format } else { self.format.or(file.format) },
            trace: if self.trace.is_empty() { file.trace } else { self.trace },
            results: self.results.or(file.results),
            args: if self.args.is_empty() { file.args } else { self.args },
        }
    }

    /// What the SDK makes a job of.
    pub(crate) fn submission(self) -> Result<Submission, Refusal> {
        let Some(program) = self.program else {
            return Err(Refusal::usage("no program: name one, here or in the job file"));
        };
        Ok(Submission {
            name: self.name,
            args: self.args,
            env: self.env,
            tasks: match self.each {
                Some(pattern) => Tasks::Each(pattern),
                None => Tasks::Count(self.count.unwrap_or(1)),
            },
            inputs: self.input.iter().map(|text| Input::parse(text)).collect(),
            memory: self.memory,
            fuel: self.fuel,
            timeout: self.timeout,
            output_max: self.output,
            constraint: self.r#where,
            verify: self.verify.or(self.error),
            attempts_max: self.attempts,
            price_max: self.max_price,
            bid: self.bid.map(Price),
            trace: traced(self.trace)?,
            ..Submission::new(program)
        })
    }
}

/// Ranges in order and apart.
fn traced(mut parts: Vec<TaskPart>) -> Result<Vec<TaskRange>, Refusal> {
    parts.sort_by_key(|part| part.0.start);
    if let Some([one, other]) = parts.array_windows().find(|[one, next]| one.0.end > next.0.start) {
        return Err(Refusal::usage(format!("--trace: {} and {} overlap", one.0, other.0)));
    }
    Ok(parts.into_iter().map(|part| part.0).collect())
}

/// `text` below `folder`, as text: it may be a pattern, or end in `:PATH`.
fn below(folder: &Path, text: &str) -> String {
    folder.join(text).to_string_lossy().into_owned()
}

/// `K=V`.
pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, _)) if RESERVED.contains(&name) => {
            Err(format!("isos sets {name} for each task: give the variable another name"))
        }
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("use NAME=VALUE".into()),
    }
}

/// A table of variables, in the order of their names.
fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    let table = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(table.into_iter().collect())
}

/// A quantity as the flag has it, or a plain number.
fn text_or_number<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Whole(u64),
        Number(f64),
    }
    let text = match Value::deserialize(deserializer)? {
        Value::Text(text) => text,
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// An error rate as the flag has it, or a number.
fn error_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Verify>, D::Error> {
    let text: Option<String> = text_or_number(deserializer)?;
    let rate = text.map(|text| Verify::with_error(&text)).transpose();
    rate.map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;
