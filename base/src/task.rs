//! A task on its way through a host: the order, the output, the result that is compared.

use serde::{Deserialize, Serialize};

use crate::guid::Guid;
use crate::time::Span;
use crate::trace::Marks;
use crate::units::Fuel;

/// How a program ended, as far as every honest host agrees on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned or called exit.
    Code(i32),
    /// It trapped: unreachable, division by zero, out of bounds, stack overflow.
    Trap(Trap),
    /// It used all its fuel.
    OutOfFuel,
    /// Its output outgrew the limit.
    OutputTooLarge,
}

/// Kinds of trap, by the name the WebAssembly specification gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trap {
    /// `unreachable` was executed: how Rust panics and C aborts end.
    Unreachable,
    /// A memory or table access out of bounds.
    OutOfBounds,
    /// Integer division by zero or overflow, or a bad conversion.
    Arithmetic,
    /// A call through a table to nothing or to another type.
    BadCall,
    /// The call stack overflowed.
    StackOverflow,
    /// Another trap.
    Other,
}

impl Exit {
    /// Whether the program itself says that all went well.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Trap(Trap::Unreachable) => f.write_str("trap: unreachable (a panic or abort)"),
            Self::Trap(Trap::OutOfBounds) => f.write_str("trap: access out of bounds"),
            Self::Trap(Trap::Arithmetic) => f.write_str("trap: division by zero or overflow"),
            Self::Trap(Trap::BadCall) => f.write_str("trap: call to nothing or to another type"),
            Self::Trap(Trap::StackOverflow) => f.write_str("trap: stack overflow"),
            Self::Trap(Trap::Other) => f.write_str("trap"),
            Self::OutOfFuel => f.write_str("out of fuel (raise --fuel)"),
            Self::OutputTooLarge => f.write_str("output larger than allowed (raise --output)"),
        }
    }
}

/// A failure of the host, not of the program: another host may do better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The wall clock ran out.
    TimedOut,
    /// The host could not give the memory that the job asks for.
    NoMemory,
    /// The sandboxed child process died.
    SandboxDied(String),
    /// The program is not a WebAssembly program that can run here: refused before it started.
    BadProgram(String),
    /// A program or input could not be fetched or kept.
    NoInput(String),
    /// The owner's policy does not allow it any more.
    Policy(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the task ran longer than its timeout (raise --timeout)"),
            Self::NoMemory => f.write_str("the host could not give the memory"),
            Self::SandboxDied(why) => write!(f, "the sandbox died: {why}"),
            Self::BadProgram(why) => write!(f, "not a program that can run: {why}"),
            Self::NoInput(why) => write!(f, "an input could not be had: {why}"),
            Self::Policy(why) => write!(f, "the owner's policy: {why}"),
        }
    }
}

/// What a task leaves: kept and sent as one object whose GUID goes into the result.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Files under `/out`, sorted by path, paths relative and plain.
    pub files: Vec<OutputFile>,
}

/// A file under `/out`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Relative path.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
}

impl Output {
    /// The bytes of the object. Canonical: equal outputs give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain vectors always encode")
    }

    /// Reads an output object and checks that its paths are plain and sorted.
    ///
    /// # Errors
    /// [`BadOutput`] for anything that [`Output::encode`] did not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadOutput> {
        let (output, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| BadOutput)?;
        let sorted = output.files.windows(2).all(|pair| pair[0].path < pair[1].path);
        let plain = output.files.iter().all(|file| crate::job::is_plain_path(&file.path));
        if rest.is_empty() && sorted && plain { Ok(output) } else { Err(BadOutput) }
    }
}

/// The bytes are no output object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a task's output")]
pub struct BadOutput;

/// Where a result's output is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputAt {
    /// Here: at most `limits::OUTPUT_INLINE_MAX` bytes of an encoded [`Output`].
    Inline(Vec<u8>),
    /// An object under its GUID, already handed over.
    Object(Guid, u64),
}

impl OutputAt {
    /// The GUID of the output object.
    #[must_use]
    pub fn guid(&self) -> Guid {
        match self {
            Self::Inline(bytes) => Guid::of(bytes),
            Self::Object(guid, _) => *guid,
        }
    }
}

/// A finished task as a host reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Index of the task in its job.
    pub task: u32,
    /// How it ended.
    pub exit: Exit,
    /// Fuel used.
    pub fuel: Fuel,
    /// What it left.
    pub output: OutputAt,
}

/// What two hosts' results are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub Guid);

impl TaskResult {
    /// BLAKE3 over exit, fuel and the output's GUID, so over every byte that the program left.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = [0u8; 64];
        bytes[..11].copy_from_slice(b"isos-result");
        let (kind, value) = match self.exit {
            Exit::Code(code) => (0u8, code),
            Exit::Trap(trap) => (1, trap as i32),
            Exit::OutOfFuel => (2, 0),
            Exit::OutputTooLarge => (3, 0),
        };
        bytes[15] = kind;
        bytes[16..20].copy_from_slice(&value.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.fuel.0.to_le_bytes());
        bytes[32..].copy_from_slice(&self.output.guid().0);
        Digest(Guid::of(&bytes))
    }
}

/// One execution as the sandbox reports it to its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The task.
    pub task: u32,
    /// How it ended, or why it did not.
    pub end: Result<Exit, Fault>,
    /// Fuel used.
    pub fuel: Fuel,
    /// Time from start to end, suspended time included.
    pub wall: Span,
    /// What it left; empty after a fault.
    pub output: Output,
    /// When it did what, if it is traced.
    pub marks: Option<Marks>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(fuel: u64, stdout: &[u8]) -> TaskResult {
        let output = Output { stdout: stdout.to_vec(), ..Output::default() };
        TaskResult {
            task: 1,
            exit: Exit::Code(0),
            fuel: Fuel(fuel),
            output: OutputAt::Inline(output.encode()),
        }
    }

    #[test]
    fn the_digest_covers_exit_fuel_and_output_but_not_where_it_is() {
        let one = result(5, b"hello");
        let stored = TaskResult { output: OutputAt::Object(one.output.guid(), 8), ..one.clone() };
        assert_eq!(one.digest(), stored.digest());
        assert_ne!(one.digest(), result(6, b"hello").digest());
        assert_ne!(one.digest(), result(5, b"hellp").digest());
        let other = TaskResult { exit: Exit::OutOfFuel, ..one.clone() };
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn an_output_with_paths_that_escape_is_refused() {
        let file = |path: &str| OutputFile { path: path.into(), content: vec![1] };
        let good = Output { files: vec![file("a"), file("b/c")], ..Output::default() };
        assert_eq!(Output::decode(&good.encode()), Ok(good));
        for files in [vec![file("../a")], vec![file("b"), file("a")], vec![file("/etc/x")]] {
            let bad = Output { files, ..Output::default() };
            assert_eq!(Output::decode(&bad.encode()), Err(BadOutput));
        }
        assert_eq!(Output::decode(b"\xff\xff\xff\xff\xff"), Err(BadOutput));
    }
}
